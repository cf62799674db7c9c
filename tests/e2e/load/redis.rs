//! `redis` against a real Redis: what it has counted is what the tool says, and its stalls are seen.

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use testbed::{Output, RUN_LIMIT, Redis, RedisVersion, run, start, tool};

use super::{ended, near, number, summary};

struct Bed {
    server: Redis,
    state: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        Bed { server: Redis::start(RedisVersion::V7_0).unwrap(), state: tempfile::tempdir().unwrap() }
    }

    fn command(&self, url: &str, args: &[&str]) -> Command {
        let mut command = tool("bench-runner", self.state.path()).unwrap();
        command.args(["-o", "ndjson", "redis", url]).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> (Output, Value) {
        let output = run(&mut self.command(&self.server.url(), args)).unwrap();
        let data = summary(&output);
        (output, data)
    }

    fn call(&self, words: &[&str]) -> String {
        self.server.call(words).unwrap().text()
    }
}

#[test]
fn every_command_that_is_told_of_was_executed() {
    let bed = Bed::new();
    let (output, data) = bed.run(&["-w", "INCR counter", "-c", "8", "-t", "2", "-d", "1s"]);
    ended(&output, &data, 0);
    assert_eq!(bed.call(&["GET", "counter"]), data["good"].to_string(), "{data}");
    // Sixteen at once are one request and sixteen commands.
    let (output, data) = bed.run(&["-w", "INCR batched", "-P", "16", "--rate", "100", "-c", "2", "-d", "1s"]);
    ended(&output, &data, 0);
    assert_eq!((&data["good"], bed.call(&["GET", "batched"])), (&100.into(), "1600".to_owned()), "{data}");
    near(number(&data, "commands_per_second"), 1600.0, "commands");
    // As many keys as were said, with values as long as was said.
    let (output, data) = bed.run(&["-w", "set", "-k", "50", "--size", "1000", "-c", "4", "-d", "1s"]);
    ended(&output, &data, 0);
    assert_eq!(bed.server.dbsize().unwrap(), 2 + 50, "{data}");
    assert_eq!(bed.call(&["STRLEN", "bench-runner:000000000007"]), "1000");
    // Large replies are read whatever pieces they come in.
    let (output, data) = bed.run(&["-w", "get", "-k", "50", "-P", "200", "--rate", "20", "-c", "2", "-d", "1s"]);
    ended(&output, &data, 0);
    assert_eq!((&data["good"], &data["received_bytes"]), (&20.into(), &(20 * 200 * 1009).into()), "{data}");
}

#[test]
fn errors_have_their_word() {
    let bed = Bed::new();
    bed.call(&["SET", "text", "abc"]);
    for (workload, code) in [("INCR text", "ERR"), ("LPUSH text a", "WRONGTYPE"), ("NOSUCH a", "ERR")] {
        let (output, data) = bed.run(&["-w", workload, "--rate", "20", "-c", "1", "-d", "1s"]);
        ended(&output, &data, 2);
        assert_eq!(data["statuses"], serde_json::json!({ code: 20 }), "{workload}: {data}");
    }
    for (url, args, code, said) in [
        ("redis://:wr0ng@127.0.0.1:PORT", &[][..], 2, "cannot be used: refused"),
        ("redis://127.0.0.1:1", &[], 2, "cannot be reached"),
        ("redis://192.0.2.1", &[], 3, "--allow-host 192.0.2.1"),
        ("http://127.0.0.1", &[], 3, "redis://"),
        ("redis://127.0.0.1:PORT", &["-w", " "], 3, "empty"),
    ] {
        let url = url.replace("PORT", &bed.server.port().to_string());
        let output = run(&mut bed.command(&url, args)).unwrap();
        assert_eq!(output.code, code, "{url}: {output}");
        assert!(output.stderr.contains(said) && !output.to_string().contains("wr0ng"), "{url}: {output}");
    }
}

#[test]
fn a_stall_is_told_from_the_planned_start() {
    let bed = Bed::new();
    let args = ["-w", "ping", "--rate", "200", "-c", "4", "-d", "5s", "--threshold", "p(95)<10s"];
    let running = start(&mut bed.command(&bed.server.url(), &args)).unwrap();
    sleep(Duration::from_millis(1500));
    bed.server.freeze().unwrap();
    sleep(Duration::from_millis(1500));
    bed.server.thaw();
    let output = running.finish(RUN_LIMIT).unwrap();
    let data = summary(&output);
    ended(&output, &data, 0);
    assert_eq!(data["good"], 1000, "{data}");
    // A stall of S in T at a constant rate: the quantile q is S - (1 - q) T.
    let p90 = number(&data, "response_p90_seconds");
    assert!((0.9..1.15).contains(&p90), "1.0 s is due: {data}");
}
