//! `stress`: a queue whose breaking point and recovery follow from its rate.

use std::process::Command;

use serde_json::Value;
use testbed::{Nginx, Output, RUN_LIMIT, Signal, records, run, start, tool};

use super::{is_late, number, summary};

struct Bed {
    nginx: Nginx,
    state: tempfile::TempDir,
}

impl Bed {
    fn new() -> Bed {
        let zone = "limit_req_zone $server_port zone=queue:1m rate=400r/s;";
        let server = "location = /queue { limit_req zone=queue burst=100000; try_files /none @page; }\n\
            location = /bad { return 503; }\nlocation @page { return 200; }";
        let nginx = Nginx::builder().workers(1).plain_with(zone, server).start().unwrap();
        Bed { nginx, state: tempfile::tempdir().unwrap() }
    }

    fn command(&self, path: &str, args: &[&str]) -> Command {
        let mut command = tool("bench-runner", self.state.path()).unwrap();
        let url = format!("http://127.0.0.1:{}/{path}", self.nginx.http_port());
        command.args(["-o", "ndjson", "stress", &url]).args(args);
        command
    }

    fn stress(&self, path: &str, args: &[&str]) -> Output {
        run(&mut self.command(path, args)).unwrap()
    }
}

fn check(output: &Output, subject: &str) -> Value {
    let all = records(&output.stdout).unwrap();
    let found = all.iter().find(|record| record["subject"] == subject).unwrap_or_else(|| panic!("{subject}: {output}"));
    found["data"].clone()
}

#[test]
fn a_queue_breaks_above_its_rate_and_is_well_when_it_is_empty() {
    let bed = Bed::new();
    let args = ["--rate", "100", "--peak", "800", "--ramp", "10s", "--hold", "1s", "--recovery", "12s"];
    let output = bed.stress("queue", &args);
    let data = summary(&output);
    assert!(output.code == 0 || (output.code == 3 && is_late(&data)), "{output}");
    // 400 a second are asked for after 3 + 300/70 s; 1.5 s later 80 wait, and the last of them 200 ms.
    let point = number(&data, "breaking_point_per_second");
    assert!((400.0..=640.0).contains(&point), "{output}");
    // (800 - 400)^2 / (2 * 70) + 400 wait at the end, and 300 a second more go than come: 5.1 s.
    let recovery = number(&data, "recovery_seconds");
    assert!((3.0..=8.0).contains(&recovery), "{output}");
    assert_eq!(check(&output, "recovery")["status"], "ok", "{output}");
    // With less time it is not well again, and that is critical.
    let short = ["--rate", "300", "--peak", "1200", "--ramp", "2s", "--hold", "3s", "--recovery", "3s"];
    let output = bed.stress("queue", &short);
    assert_eq!(output.code, 2, "{output}");
    assert_eq!(check(&output, "recovery")["status"], "critical", "{output}");
    assert_eq!(check(&output, "recovery")["seconds"], Value::Null, "{output}");
}

#[test]
fn what_does_not_break_and_what_never_held_are_told_apart() {
    let bed = Bed::new();
    let quick = ["--rate", "50", "--peak", "200", "--ramp", "2s", "--hold", "1s", "--recovery", "3s"];
    let output = bed.stress("queue", &quick);
    assert!(output.code == 0 || (output.code == 3 && is_late(&summary(&output))), "{output}");
    assert!(check(&output, "breaking point")["message"].as_str().unwrap().contains("none up to 200"), "{output}");
    let output = bed.stress("bad", &quick);
    assert_eq!(output.code, 2, "{output}");
    assert_eq!(check(&output, "before")["status"], "critical", "{output}");
    for (path, args, code, said) in [
        ("bad", &[][..], 2, "not one good answer"),
        ("queue", &["--rate", "100", "--peak", "50"], 3, "not above"),
        ("queue", &["--slo", "count>3"], 3, "count>3"),
        ("queue", &["--dry-run", "--rate", "10", "--peak", "50"], 0, "planned"),
        // Nothing is sent: this one would answer nothing well.
        ("bad", &["--dry-run"], 0, "to learn the rates"),
    ] {
        let output = bed.stress(path, args);
        assert_eq!(output.code, code, "{args:?}: {output}");
        assert!(output.to_string().contains(said), "{args:?}: {output}");
    }
    let running = start(&mut bed.command("queue", &quick)).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    running.signal(Signal::INT);
    let output = running.finish(RUN_LIMIT).unwrap();
    assert_eq!(output.code, 130, "{output}");
    assert_eq!(summary(&output)["partial"], true, "{output}");
}
