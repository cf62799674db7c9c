//! `baseline`: runs against the runs before them, by hand and as the week starts it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testbed::{Nginx, Output, records, run, run_fed, tool};

use super::{is_late, summary};

struct Bed {
    nginx: Nginx,
    state: tempfile::TempDir,
}

impl Bed {
    fn new() -> Bed {
        let server = "location / { return 200; }\nlocation = /bad { return 503; }";
        let nginx = Nginx::builder().workers(1).plain_with("", server).start().unwrap();
        Bed { nginx, state: tempfile::tempdir().unwrap() }
    }

    fn tool(&self, args: &[&str]) -> std::process::Command {
        let mut command = tool("bench-runner", self.state.path()).unwrap();
        command.args(["-o", "ndjson"]).args(args);
        command
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.nginx.http_port())
    }

    /// The records of a valid run.
    fn measured(&self) -> String {
        for _ in 0..5 {
            let limit = ["--threshold", "error_rate<100%"];
            let args = ["api", &self.url(), "--rate", "200", "-d", "1s"];
            let output = run(self.tool(&args).args(limit)).unwrap();
            if !is_late(&summary(&output)) {
                return output.stdout;
            }
        }
        panic!("this machine is too busy for 200 requests a second, five times in a row");
    }

    fn fed(&self, args: &[&str], text: &str) -> (Output, Vec<Value>) {
        let output = run_fed(&mut self.tool(args), text).unwrap();
        let found = records(&output.stdout).unwrap();
        (output, found)
    }

    fn file(&self) -> PathBuf {
        let mut found = fs::read_dir(self.state.path().join("bench-runner/baselines")).unwrap();
        found.next().unwrap().unwrap().path()
    }
}

/// The same run with other times, as JSON has them.
fn slower(text: &str, times: f64) -> String {
    let change = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        if record["type"] == "maint.summary.v1" {
            for name in ["response_p50_seconds", "response_p95_seconds", "response_p99_seconds"] {
                if let Some(value) = record["data"][name].as_f64() {
                    record["data"][name] = (value * times).into();
                }
            }
        }
        format!("{record}\n")
    };
    text.lines().map(change).collect::<Vec<_>>().concat()
}

/// The same run with a limit that does not hold.
fn broken(text: &str) -> String {
    let change = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        record["data"]["status"] = "critical".into();
        format!("{record}\n")
    };
    text.lines().map(change).collect::<Vec<_>>().concat()
}

#[test]
fn a_slower_run_is_told_from_the_usual_ones() {
    let bed = Bed::new();
    let usual = bed.measured();
    let (output, _) = bed.fed(&["baseline", "check", "shop"], &usual);
    assert_eq!(output.code, 3, "there is nothing to compare with: {output}");
    // One real run, told again with the little differences that runs have.
    for times in [1.00, 1.02, 0.99, 1.03, 0.97, 1.01] {
        let (output, _) = bed.fed(&["baseline", "save", "shop"], &slower(&usual, times));
        assert_eq!(output.code, 0, "{output}");
    }
    let (output, all) = bed.fed(&["baseline", "check", "shop"], &slower(&usual, 1.01));
    assert_eq!(output.code, 0, "{output}");
    assert!(all.iter().any(|record| record["subject"] == "response_p95_seconds"), "{output}");
    let (output, all) = bed.fed(&["baseline", "check", "shop"], &slower(&usual, 1.5));
    assert_eq!(output.code, 2, "{output}");
    let p50 = all.iter().find(|record| record["subject"] == "response_p50_seconds").unwrap();
    assert_eq!((&p50["data"]["status"], &p50["data"]["runs"]), (&"critical".into(), &6.into()), "{output}");
    // What was never answered hides a quantile; that is no reason to be content.
    let hidden = usual.replace("\"response_p95_seconds\":", "\"response_p95_hidden\":");
    assert_ne!(hidden, usual);
    let (output, _) = bed.fed(&["baseline", "check", "shop"], &hidden);
    assert_eq!(output.code, 3, "{output}");
    // Nobody minds twice as slow who says so, in either place.
    for tolerant in [["check", "shop", "--tolerance", "200%"], ["--tolerance", "200%", "check", "shop"]] {
        let (output, _) = bed.fed(&[&["baseline"][..], &tolerant].concat(), &slower(&usual, 1.5));
        assert_eq!(output.code, 0, "{output}");
    }
    assert_eq!(fs::read_to_string(bed.file()).unwrap().lines().count(), 6, "a check adds nothing");
    let (output, all) = bed.fed(&["baseline", "list"], "");
    assert_eq!((output.code, &all[0]["subject"], &all[0]["data"]["runs"]), (0, &"shop".into(), &6.into()), "{output}");
}

#[test]
fn what_proves_nothing_never_becomes_a_baseline() {
    let bed = Bed::new();
    let usual = bed.measured();
    let (output, _) = bed.fed(&["baseline", "save", "shop"], &usual);
    assert_eq!(output.code, 0, "{output}");
    let before = fs::read(bed.file()).unwrap();
    let others = [
        usual.replace("\"verdict\":\"valid\"", "\"verdict\":\"the generator is late\""),
        usual.replace("\"partial\":false", "\"partial\":true"),
        usual.replace(&bed.url(), "http://127.0.0.1:1/"),
        broken(&usual),
        "not JSON\n".to_owned(),
        String::new(),
    ];
    for other in others {
        assert_ne!(other, usual);
        let (output, _) = bed.fed(&["baseline", "save", "shop"], &other);
        assert_eq!(output.code, 3, "{other}: {output}");
        assert_eq!(fs::read(bed.file()).unwrap(), before, "{other}");
    }
    // A damaged file is named with its line, and stays as it is.
    fs::write(bed.file(), "{\"version\": 1}\n").unwrap();
    let (output, _) = bed.fed(&["baseline", "save", "shop"], &usual);
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stderr.contains("line 1"), "{output}");
    assert_eq!(fs::read(bed.file()).unwrap(), b"{\"version\": 1}\n");
}

/// A day of the project's own week, for bench-runner's step.
fn step(bed: &Bed, config: &Path, day: &str, command: &str) -> Value {
    let programs = PathBuf::from(bed.tool(&[]).get_program()).parent().unwrap().to_owned();
    let mut week = tool("xtask", bed.state.path()).unwrap();
    week.arg("--config").arg(config).args(["weekly", "--day", day, "-o", "ndjson", "--bin-dir"]).arg(programs);
    let output = run(&mut week).unwrap();
    let all = records(&output.stdout).unwrap();
    let subject = format!("{day}/{command}");
    let step = all.iter().find(|record| record["subject"] == subject).unwrap_or_else(|| panic!("{output}"));
    step["data"]["status"].clone()
}

#[test]
fn monday_keeps_a_baseline_and_thursday_loads() {
    let bed = Bed::new();
    let scenario = bed.state.path().join("scenario.toml");
    let text = |path: &str| {
        format!(
            "name = \"shop\"\nbase = \"http://127.0.0.1:{}\"\nconnections = 10\nstages = [{{ duration = \"1s\", rate = 100 }}]\n\
             thresholds = [\"p(95)<5s\", \"error_rate<5%\"]\n[[route]]\nurl = \"{path}\"\n",
            bed.nginx.http_port()
        )
    };
    fs::write(&scenario, text("/")).unwrap();
    let config = bed.state.path().join("maint.toml");
    fs::write(&config, format!("[bench-runner]\nscenario = {scenario:?}\n")).unwrap();
    let (monday, thursday) = ("bench-runner baseline", "bench-runner load");
    // A generator that was late says so, which is as good an answer on a busy machine.
    let good = |status: &Value| status == "ok" || status == "unknown";
    let first = step(&bed, &config, "monday", monday);
    assert!(good(&first), "{first}");
    if first == "ok" {
        assert_eq!(fs::read_to_string(bed.file()).unwrap().lines().count(), 1);
    }
    let loaded = step(&bed, &config, "thursday", thursday);
    assert!(good(&loaded), "{loaded}");
    // A service that answers with errors is found by both, and changes nothing.
    fs::write(&scenario, text("/bad")).unwrap();
    assert_eq!(step(&bed, &config, "thursday", thursday), "failed");
    assert_eq!(step(&bed, &config, "monday", monday), "failed");
    if first == "ok" {
        assert_eq!(fs::read_to_string(bed.file()).unwrap().lines().count(), 1);
    }
    fs::remove_file(&scenario).unwrap();
    assert_eq!(step(&bed, &config, "monday", monday), "unknown");
}
