//! bench-runner against a real nginx: every request is accounted for, and what is known in advance is what is measured.
//!
//! On a machine that is busy the generator may find itself late and say so (exit 3, the verdict says why): that is its duty,
//! so these tests hold what was measured, and take that verdict for an answer wherever it is not the question.

mod baseline;
mod capacity;
mod compare;
mod database;
mod micro;
mod page;
mod redis;
mod scenario;
mod search;
mod services;
mod stress;
mod trend;

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::{KeyKind, Leaf, Nginx, NginxBuilder, Output, Pki, RUN_LIMIT, Running, Signal, records, run, start, tool};

/// A server and what asks it.
struct Bed {
    nginx: Nginx,
    state: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        Self::of(Nginx::builder())
    }

    fn of(builder: NginxBuilder) -> Self {
        Bed { nginx: builder.workers(1).start().unwrap(), state: tempfile::tempdir().unwrap() }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.nginx.http_port())
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = tool("bench-runner", self.state.path()).unwrap();
        command.args(["-o", "ndjson", "api"]).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> (Output, Value) {
        let output = run(self.command(args).arg(self.url())).unwrap();
        let summary = summary(&output);
        (output, summary)
    }

    fn start(&self, args: &[&str]) -> Running {
        start(self.command(args).arg(self.url())).unwrap()
    }
}

/// The summary's data, of a run whose books balance.
#[track_caller]
fn summary(output: &Output) -> Value {
    let all = records(&output.stdout).unwrap();
    let data = all.last().unwrap_or_else(|| panic!("nothing was told: {output}"))["data"].clone();
    if data["scheduled"].is_u64() {
        let count = |name: &str| data[name].as_u64().unwrap_or_else(|| panic!("{name}: {data}"));
        let sum = count("completed") + count("failed") + count("timed_out") + count("unfinished");
        assert_eq!(count("scheduled"), sum, "requests were lost count of: {data}");
        assert_eq!(count("completed"), count("good") + count("bad"), "{data}");
    }
    data
}

fn is_late(data: &Value) -> bool {
    data["verdict"].as_str().is_some_and(|verdict| verdict.contains("generator"))
}

/// The same of the record of one route or service, which has a verdict of its own.
fn is_told_late(data: &Value) -> bool {
    data["message"].as_str().is_some_and(|said| said.starts_with("invalid: the generator"))
}

#[track_caller]
fn ended(output: &Output, data: &Value, code: i32) {
    assert!(output.code == code || (output.code == 3 && is_late(data)), "{code} was expected: {output}");
}

fn number(data: &Value, name: &str) -> f64 {
    data[name].as_f64().unwrap_or_else(|| panic!("{name}: {data}"))
}

#[track_caller]
fn near(found: f64, wanted: f64, what: &str) {
    assert!((found / wanted - 1.0).abs() < 0.05, "{what}: {found}, and {wanted} is true");
}

#[test]
fn a_run_tells_what_became_of_every_request() {
    let bed = Bed::new();
    let (output, data) = bed.run(&["--rate", "300", "-d", "2s", "-c", "10", "--threshold", "p(95)<5s"]);
    ended(&output, &data, 0);
    assert_eq!((&data["scheduled"], &data["good"], &data["failed"]), (&600.into(), &600.into(), &0.into()));
    assert_eq!(data["statuses"]["200"], 600);
    assert!(number(&data, "response_p50_seconds") >= number(&data, "service_p50_seconds") * 0.9, "{data}");
    assert_eq!(data["response_p999_seconds"], Value::Null, "600 requests tell nothing of one in a thousand");
    near(number(&data, "requests_per_second"), 300.0, "rate");
    // Over several threads, and at random times: the seed decides, not the threads' luck.
    let poisson =
        ["--rate", "500", "-d", "1s", "-t", "2", "--arrival", "poisson", "--seed", "7", "--threshold", "p(50)<5s"];
    let counts: Vec<Value> = (0..2).map(|_| bed.run(&poisson).1["scheduled"].clone()).collect();
    assert_eq!(counts[0], counts[1]);
    assert!((400.0..600.0).contains(&counts[0].as_f64().unwrap()), "{counts:?}");
    // A closed model asks as fast as it is answered.
    let (output, data) = bed.run(&["-d", "1s", "-c", "4", "--threshold", "error_rate<1%"]);
    ended(&output, &data, 0);
    assert!(number(&data, "good") > 100.0, "{data}");
}

#[test]
fn a_stall_is_in_the_percentiles_as_long_as_it_was() {
    const RATE: f64 = 200.0;
    const SECONDS: f64 = 6.0;
    let bed = Bed::new();
    let running = bed.start(&["--rate", "200", "-d", "6s", "-c", "20", "--threshold", "error_rate<1%"]);
    sleep(Duration::from_millis(2000));
    bed.nginx.freeze().unwrap();
    let frozen = Instant::now();
    sleep(Duration::from_millis(1500));
    bed.nginx.thaw();
    let stall = frozen.elapsed().as_secs_f64();
    let output = running.finish(RUN_LIMIT).unwrap();
    let data = summary(&output);
    ended(&output, &data, 0);
    near(number(&data, "scheduled"), RATE * SECONDS, "scheduled");
    assert_eq!(data["good"], data["scheduled"], "{data}");
    // What came while it stood waited for the rest of the stall: its length, less the share that came after.
    for (name, q) in [("response_p90_seconds", 0.90), ("response_p95_seconds", 0.95), ("response_p99_seconds", 0.99)] {
        near(number(&data, name), stall - (1.0 - q) * SECONDS, name);
    }
    // Without the schedule the same run looks fine: only the requests under way saw it.
    assert!(number(&data, "service_p95_seconds") < 0.5, "{data}");
}

#[test]
fn what_was_never_answered_is_in_the_percentiles_as_at_least() {
    let bed = Bed::new();
    let running = bed.start(&["--rate", "200", "-d", "5s", "-c", "20", "--drain", "1s"]);
    sleep(Duration::from_millis(3500));
    bed.nginx.freeze().unwrap();
    let output = running.finish(RUN_LIMIT).unwrap();
    bed.nginx.thaw();
    let data = summary(&output);
    assert_eq!(data["scheduled"], 1000, "{data}");
    let unfinished = number(&data, "unfinished");
    assert!((200.0..400.0).contains(&unfinished), "{data}");
    assert_eq!(data["response_p99_seconds"], Value::Null);
    assert!(number(&data, "response_p99_at_least_seconds") > 1.0, "{data}");
    near(number(&data, "error_ratio"), unfinished / 1000.0, "error ratio");
    ended(&output, &data, 2);
}

#[test]
fn a_server_that_ends_connections_politely_makes_no_errors() {
    let bed = Bed::of(Nginx::builder().plain_with(
        "keepalive_requests 20;\ngzip on;\ngzip_min_length 1;\ngzip_types text/plain;",
        "default_type text/plain;\nlocation / { return 200 \"long enough to be made shorter, shorter, shorter, shorter\"; }",
    ));
    let (output, data) = bed.run(&[
        "--rate",
        "400",
        "-d",
        "2s",
        "-c",
        "5",
        "-H",
        "Accept-Encoding: gzip",
        "--threshold",
        "error_rate<0.1%",
    ]);
    ended(&output, &data, 0);
    assert_eq!((&data["good"], &data["failed"]), (&800.into(), &0.into()), "{data}");
    assert!(number(&data, "reconnects") >= 30.0, "{data}");
    let (_, data) = bed.run(&["--rate", "100", "-d", "1s", "--no-keepalive", "--threshold", "p(95)<5s"]);
    assert_eq!((&data["good"], &data["reconnects"]), (&100.into(), &50.into()), "all but the first 50: {data}");
}

#[test]
fn errors_that_come_fast_are_errors() {
    let limit = "limit_req_zone $binary_remote_addr zone=all:1m rate=100r/s;\nlimit_req_status 503;";
    let bed = Bed::of(Nginx::builder().plain_with(limit, "limit_req zone=all nodelay;\nlocation / { try_files /none =404; }\nerror_page 404 =200 /ok;\nlocation = /ok { return 200; }"));
    let (output, data) = bed.run(&["--rate", "400", "-d", "2s", "--threshold", "error_rate<5%"]);
    assert!(number(&data, "bad") > 300.0, "{data}");
    assert_eq!(data["statuses"]["503"], data["bad"], "{data}");
    ended(&output, &data, 2);
    assert!(data["response_bad_p50_seconds"].is_number(), "{data}");
}

#[test]
fn a_server_that_dies_and_one_that_is_not_there_are_down() {
    let bed = Bed::new();
    let running = bed.start(&["--rate", "200", "-d", "3s", "--drain", "1s"]);
    sleep(Duration::from_millis(1000));
    bed.nginx.stop().unwrap();
    let output = running.finish(RUN_LIMIT).unwrap();
    let data = summary(&output);
    assert_eq!(data["scheduled"], 600, "{data}");
    assert!(number(&data, "failed") + number(&data, "timed_out") + number(&data, "unfinished") > 200.0, "{data}");
    ended(&output, &data, 2);
    let gone = run(bed.command(&["-d", "1s"]).arg(bed.url())).unwrap();
    assert!(gone.code == 2 && gone.stderr.contains("cannot be reached"), "{gone}");
}

#[test]
fn a_certificate_is_checked() {
    let pki = Pki::new().unwrap();
    let root = pki.root("root", KeyKind::P256).unwrap();
    let pair = pki.leaf(&Leaf::of(&["localhost"]), &root).unwrap();
    let bed = Bed::of(Nginx::builder().site("localhost", &[(&pair.chain, &pair.key)]));
    let url = format!("https://localhost:{}/", bed.nginx.port());
    let args = ["--rate", "100", "-d", "1s", "-c", "5", "--threshold", "error_rate<1%", url.as_str()];
    let trusted = run(bed.command(&args).env("SSL_CERT_FILE", &root.cert)).unwrap();
    let data = summary(&trusted);
    ended(&trusted, &data, 0);
    assert_eq!(data["good"], 100, "{data}");
    let distrusted = run(&mut bed.command(&args)).unwrap();
    assert!(distrusted.code == 2 && distrusted.stderr.contains("certificate"), "{distrusted}");
}

#[test]
fn a_generator_that_cannot_keep_up_is_never_green() {
    let bed = Bed::new();
    let hopeless = ["--rate", "3000000", "-d", "1s", "--drain", "1s", "-c", "200", "--threshold", "p(1)<100s"];
    let (output, data) = bed.run(&hopeless);
    assert!(output.code == 3 || output.code == 2, "{output}");
    assert_eq!(data["scheduled"], 3_000_000, "{data}");
    assert!(data["response_p50_seconds"].is_null() && data["response_p50_at_least_seconds"].is_number(), "{data}");
}

#[test]
fn an_interruption_ends_the_run_with_what_there_is() {
    let bed = Bed::new();
    let running = bed.start(&["--rate", "200", "-d", "60s"]);
    sleep(Duration::from_millis(1500));
    running.signal(Signal::INT);
    let output = running.finish(Duration::from_secs(20)).unwrap();
    assert_eq!(output.code, 130, "{output}");
    let data = summary(&output);
    assert_eq!(data["partial"], true, "{data}");
    assert!(number(&data, "good") > 100.0 && number(&data, "scheduled") < 1000.0, "{data}");
}

#[test]
fn what_is_asked_wrongly_is_asked_of_nobody() {
    let bed = Bed::new();
    let refused = |args: &[&str], why: &str| {
        let output = run(&mut bed.command(args)).unwrap();
        assert!(output.code == 3 && output.stderr.contains(why), "{args:?}: {output}");
    };
    refused(&["http://192.0.2.1/"], "--allow-host");
    refused(&["ftp://127.0.0.1/"], "http");
    refused(&["--rate=-1", &bed.url()], "rate");
    refused(&["--threshold", "p(95)", &bed.url()], "threshold");
    refused(&["-H", "no colon", &bed.url()], "NAME: VALUE");
    refused(&["-b", "@/no/such/file", &bed.url()], "cannot read the body");
}
