//! `load`: scenarios of several routes.

use std::fs;
use std::time::Instant;

use serde_json::Value;
use testbed::{Nginx, Output, RUN_LIMIT, Signal, records, run, start, tool};

use super::{ended, is_told_late, near, number, summary};

struct Bed {
    nginx: Nginx,
    directory: tempfile::TempDir,
}

impl Bed {
    /// `/good` is answered, `/bad` is not.
    fn new() -> Bed {
        let server = "location = /good { return 200; }\nlocation = /bad { return 503; }";
        let nginx = Nginx::builder().workers(1).plain_with("", server).start().unwrap();
        Bed { nginx, directory: tempfile::tempdir().unwrap() }
    }

    fn file(&self, text: &str) -> String {
        let path = self.directory.path().join("scenario.toml");
        fs::write(&path, text.replace("BASE", &format!("http://127.0.0.1:{}", self.nginx.http_port()))).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = tool("bench-runner", self.directory.path()).unwrap();
        command.args(["load", "-o", "ndjson"]).args(args);
        command
    }

    fn load(&self, text: &str) -> (Output, Value) {
        let output = run(&mut self.command(&[&self.file(text)])).unwrap();
        let data = summary(&output);
        (output, data)
    }
}

const WEIGHTED: &str = "name = \"shop\"\nbase = \"BASE\"\nconnections = 20\narrival = \"uniform\"\n\
    stages = [{ duration = \"1s\", rate = 200 }, { duration = \"1s\", rate = 200 }, { duration = \"1s\", rate = 0 }]\n\
    thresholds = [\"p(95)<5s\", \"error_rate<30%\"]\n\
    [[route]]\nname = \"good\"\nurl = \"/good\"\nweight = 3\nthresholds = [\"error_rate<1%\"]\n\
    [[route]]\nname = \"bad\"\nurl = \"/bad\"\n";

#[test]
fn every_route_gets_its_share_and_answers_for_itself() {
    let bed = Bed::new();
    let (output, data) = bed.load(WEIGHTED);
    ended(&output, &data, 2);
    near(number(&data, "scheduled"), 400.0, "the area under the stages");
    assert_eq!(data["completed"], data["scheduled"], "{data}");
    let all = records(&output.stdout).unwrap();
    let of = |route: &str| {
        let mut found = all.iter().filter(|record| record["subject"] == route);
        found.next().unwrap_or_else(|| panic!("{route}: {output}"))["data"].clone()
    };
    near(number(&of("good"), "scheduled"), 300.0, "three quarters");
    near(number(&of("bad"), "scheduled"), 100.0, "one quarter");
    // Not one good answer, and yet the whole and the other route are within their limits.
    assert!(of("bad")["status"] == "critical" || is_told_late(&of("bad")), "{output}");
    for limit in ["error_rate<1%", "error_rate<30%"] {
        assert_eq!(of(limit)["status"], "ok", "{output}");
    }
    // The healthy twin.
    let (output, data) = bed.load(&WEIGHTED.replace("/bad", "/good"));
    ended(&output, &data, 0);
}

#[test]
fn a_limit_can_end_the_run_and_a_healthy_run_goes_on() {
    let bed = Bed::new();
    let text = "name = \"long\"\nbase = \"BASE\"\nstart_rate = 100\nstages = [{ duration = \"30s\", rate = 100 }]\n\
        thresholds = [{ limit = \"error_rate<5%\", abort_on_fail = true, delay = \"2s\" }]\n[[route]]\nurl = \"/bad\"\n";
    let begun = Instant::now();
    let (output, data) = bed.load(text);
    assert_eq!(output.code, 2, "{output}");
    let seconds = begun.elapsed().as_secs_f64();
    assert!((2.0..15.0).contains(&seconds), "after {seconds} s");
    assert_eq!((&data["partial"], &data["aborted_by"]), (&true.into(), &"error_rate<5%".into()), "{data}");
    let (output, data) = bed.load(&text.replace("/bad", "/good").replace("30s", "4s"));
    ended(&output, &data, 0);
    assert_eq!((&data["partial"], &data["aborted_by"]), (&false.into(), &Value::Null));
}

#[test]
fn a_scenario_that_does_not_hold_sends_nothing_and_says_where() {
    let bed = Bed::new();
    for (from, to, said) in [
        ("connections = 20", "conections = 20", "conections"),
        ("p(95)<5s", "p(95)<5 apples", "p(95)<5 apples"),
        ("weight = 3", "weight = -3", "weight"),
        ("BASE", "http://192.0.2.1/", "--allow-host"),
    ] {
        let path = bed.file(&WEIGHTED.replace(from, to));
        let output = run(&mut bed.command(&[&path])).unwrap();
        assert_eq!(output.code, 3, "{to}: {output}");
        assert!(output.stderr.contains(said), "{to}: {output}");
    }
    let path = bed.file(WEIGHTED);
    let output = run(&mut bed.command(&[&path, "--dry-run"])).unwrap();
    assert_eq!(output.code, 0, "{output}");
    let planned: f64 =
        records(&output.stdout).unwrap().iter().filter_map(|record| record["data"]["requests"].as_f64()).sum();
    near(planned, 400.0, "planned");
    // None named, and none configured.
    let output = run(&mut bed.command(&[])).unwrap();
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stderr.contains("maint.toml"), "{output}");
}

#[test]
fn an_interrupted_scenario_tells_what_there_was() {
    let bed = Bed::new();
    let path = bed
        .file(&WEIGHTED.replace("\"1s\"", "\"20s\"").replace("[\"p(95)<5s\", \"error_rate<30%\"]", "[\"p(95)<5s\"]"));
    let running = start(&mut bed.command(&[&path])).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    running.signal(Signal::INT);
    let output = running.finish(RUN_LIMIT).unwrap();
    assert_eq!(output.code, 130, "{output}");
    let data = summary(&output);
    assert_eq!(data["partial"], true, "{data}");
    assert!(number(&data, "scheduled") > 10.0, "{data}");
}
