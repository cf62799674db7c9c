//! `compare`: one server against itself, and against one that is slower.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testbed::{Nginx, Output, RUN_LIMIT, Signal, records, run, start, tool};

use super::summary;

struct Bed {
    nginx: Nginx,
    state: tempfile::TempDir,
}

impl Bed {
    /// `/slow` lets one request through each 5 ms.
    fn new() -> Bed {
        let zone = "limit_req_zone $server_port zone=slow:1m rate=200r/s;";
        let server = "location = /fast { return 200; }\nlocation = /bad { return 503; }\n\
            location = /slow { limit_req zone=slow burst=1000; try_files /none @page; }\nlocation @page { return 200; }";
        let nginx = Nginx::builder().workers(1).plain_with(zone, server).start().unwrap();
        Bed { nginx, state: tempfile::tempdir().unwrap() }
    }

    fn command(&self, before: &str, after: &str, args: &[&str]) -> Command {
        let url = |path: &str| format!("http://127.0.0.1:{}/{path}", self.nginx.http_port());
        let mut command = tool("bench-runner", self.state.path()).unwrap();
        command.args(["-o", "ndjson", "compare", &url(before), &url(after), "-c", "2"]).args(args);
        command
    }

    fn compare(&self, before: &str, after: &str, args: &[&str]) -> (Output, Vec<Value>) {
        let output = run(&mut self.command(before, after, args)).unwrap();
        let all = records(&output.stdout).unwrap();
        (output, all)
    }
}

fn median<'a>(all: &'a [Value], output: &Output) -> &'a Value {
    &all.iter().find(|record| record["subject"] == "response_p50_seconds").unwrap_or_else(|| panic!("{output}"))["data"]
}

#[test]
fn a_slower_one_is_told_whichever_comes_first_and_the_same_is_the_same() {
    let bed = Bed::new();
    let runs = ["-d", "300ms", "-n", "8"];
    let (output, all) = bed.compare("fast", "slow", &runs);
    assert_eq!(output.code, 2, "{output}");
    let data = median(&all, &output);
    assert_eq!(data["status"], "critical", "{output}");
    assert!(data["difference_ratio"].as_f64().unwrap() > 1.0 && data["chance"].as_f64().unwrap() < 0.05, "{output}");
    assert_eq!(
        all.iter().filter(|record| record["data"]["before"].is_object()).count(),
        8,
        "every pair is told: {output}"
    );
    let (output, all) = bed.compare("slow", "fast", &runs);
    assert_eq!(output.code, 0, "{output}");
    assert!(median(&all, &output)["message"].as_str().unwrap().starts_with("better"), "{output}");
    // Five in a hundred may differ by chance, but not by so much.
    let (output, all) = bed.compare("slow", "slow", &["-d", "300ms", "-n", "8", "--tolerance", "50%"]);
    assert_eq!(output.code, 0, "{output}");
    assert!(median(&all, &output)["message"].as_str().unwrap().starts_with("no difference"), "{output}");
}

#[test]
fn what_cannot_be_compared_is_told() {
    let bed = Bed::new();
    for (before, after, args, code, said) in [
        ("fast", "bad", &["-d", "200ms"][..], 2, "not one good answer"),
        ("fast", "slow", &["-n", "7"], 3, "7"),
        ("fast", "slow", &["--tolerance", "much"], 3, "much"),
    ] {
        let (output, _) = bed.compare(before, after, args);
        assert_eq!(output.code, code, "{after} {args:?}: {output}");
        assert!(output.to_string().contains(said), "{after} {args:?}: {output}");
    }
    let running = start(&mut bed.command("fast", "slow", &["-d", "1s"])).unwrap();
    std::thread::sleep(Duration::from_millis(3500));
    running.signal(Signal::INT);
    let output = running.finish(RUN_LIMIT).unwrap();
    assert_eq!(output.code, 130, "{output}");
    assert!(!output.stdout.contains("response_p50_seconds\",\"run"), "nothing is judged: {output}");
    assert_ne!(summary(&output)["status"], "ok", "{output}");
}
