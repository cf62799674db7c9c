//! `capacity URL`: servers whose capacity is known, and what cannot be searched.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testbed::{Nginx, Output, RUN_LIMIT, Signal, records, run, shared, start, tool};

use super::{number, summary};

/// A bucket that refuses what is more than 500 a second, a queue that lets 400 a second through, and what is never good.
fn nginx() -> Nginx {
    let zones = "limit_req_zone $server_port zone=refuse:1m rate=500r/s;\nlimit_req_zone $server_port zone=queue:1m rate=400r/s;";
    let page = "try_files /none @page;";
    let server = format!(
        "location = /refuse {{ limit_req zone=refuse burst=20 nodelay; limit_req_status 503; {page} }}\n\
         location = /queue {{ limit_req zone=queue burst=100000; {page} }}\n\
         location = /bad {{ return 503; }}\nlocation @page {{ return 200; }}"
    );
    Nginx::builder().workers(1).plain_with(zones, &server).start().unwrap()
}

fn capacity(state: &std::path::Path, url: &str, args: &[&str]) -> Command {
    let mut command = tool("bench-runner", state).unwrap();
    command.args(["-o", "ndjson", "capacity", url]).args(args);
    command
}

/// The range of the capacity: what holds, and what does not.
fn found(output: &Output) -> (f64, f64) {
    assert_eq!(output.code, 0, "{output}");
    let data = summary(output);
    (number(&data, "capacity_per_second"), number(&data, "too_high_per_second"))
}

#[track_caller]
fn within(output: &Output, truth: f64) {
    let (low, high) = found(output);
    // Three per cent, and the same once more for the width of the range that was asked for.
    assert!(low < high && high / low < 1.031, "{output}");
    assert!(low > truth * 0.97 * 0.97 && low < truth * 1.03, "{low} to {high}, and {truth} is true: {output}");
}

fn data<'a>(all: &'a [Value], subject: &str) -> &'a Value {
    &all.iter().find(|record| record["subject"] == subject).unwrap_or_else(|| panic!("{subject}: {all:#?}"))["data"]
}

#[test]
fn the_capacity_of_a_server_that_refuses_and_of_one_that_queues_is_found() {
    let state = tempfile::tempdir().unwrap();
    let nginx = nginx();
    let url = |path: &str| format!("http://127.0.0.1:{}/{path}", nginx.http_port());
    let args = ["-c", "8", "--probe", "3s", "--slo", "p(95)<200ms,error_rate<5%"];
    // Of 526 a second, 500 are answered: that is an error rate of 5 %.
    within(&run(&mut capacity(state.path(), &url("refuse"), &args)).unwrap(), 500.0 / 0.95);
    // Nothing is refused and p(95) is low for long when 410 a second queue up before 400: it is the queue that tells.
    let output = run(&mut capacity(state.path(), &url("queue"), &args)).unwrap();
    within(&output, 400.0);
    let all = records(&output.stdout).unwrap();
    assert!(
        all.iter().any(|record| record["data"]["message"].as_str().is_some_and(|said| said.contains("queue grows")))
    );
    // More connections give nothing more there: what waits its turn is nearly all.
    assert!(number(data(&all, "alpha"), "value") > 0.9, "{output}");
}

#[test]
fn the_capacity_of_a_database_is_found() {
    let state = tempfile::tempdir().unwrap();
    let server = shared(15).unwrap();
    let script = state.path().join("sleep.sql");
    fs::write(&script, "SELECT pg_sleep(0.02);\n").unwrap();
    let script = script.to_str().unwrap();
    let db = server.fresh_db("capacity").unwrap();
    // Four at a time, 20 ms and what the server needs beside: as much as goes when everybody asks again at once.
    let mut most = tool("bench-runner", state.path()).unwrap();
    most.args(["-o", "ndjson", "database", &server.url(&db), "-w", script, "-c", "4", "-d", "3s"]);
    let truth = number(&summary(&run(&mut most).unwrap()), "requests_per_second");
    assert!((150.0..=200.0).contains(&truth), "{truth}");
    let output =
        run(&mut capacity(state.path(), &server.url(&db), &["-w", script, "-c", "4", "--probe", "3s"])).unwrap();
    within(&output, truth);
    // The four do not hinder each other.
    let all = records(&output.stdout).unwrap();
    assert!(number(data(&all, "alpha"), "value") < 0.1, "{output}");
}

#[test]
fn what_cannot_be_found_is_told() {
    let state = tempfile::tempdir().unwrap();
    let nginx = nginx();
    let url = |path: &str| format!("http://127.0.0.1:{}/{path}", nginx.http_port());
    let quick = ["-c", "1", "--probe", "1s", "--precision", "50%"];
    for (url, args, code, said) in [
        (url("bad"), &[][..], 2, "not one good answer"),
        (url("refuse"), &["--at-least", "100000"], 2, "less than 100000"),
        (url("queue"), &["--slo", "p(50)<1us"], 2, "not even"),
        (url("queue"), &["--slo", "rate>5"], 3, "rate>5"),
        (url("queue"), &["--slo", "p(95)"], 3, "p(95)"),
        (url("queue"), &["-w", "get"], 3, "--workload"),
        ("http://127.0.0.1:1/".to_owned(), &[], 2, "cannot be reached"),
        ("http://192.0.2.1/".to_owned(), &[], 3, "--allow-host"),
    ] {
        let args: Vec<&str> = quick.iter().chain(args).copied().collect();
        let output = run(&mut capacity(state.path(), &url, &args)).unwrap();
        assert_eq!(output.code, code, "{url} {args:?}: {output}");
        assert!(output.to_string().contains(said), "{url} {args:?}: {output}");
    }
    // Ended in the middle it claims nothing.
    let running = start(&mut capacity(state.path(), &url("queue"), &["-c", "4"])).unwrap();
    std::thread::sleep(Duration::from_millis(4500));
    running.signal(Signal::INT);
    let output = running.finish(RUN_LIMIT).unwrap();
    assert_eq!(output.code, 130, "{output}");
    assert!(
        summary(&output)["capacity_per_second"].is_null() || !output.to_string().contains("\"verified\":true"),
        "{output}"
    );
}
