//! `redis-maint` against real servers: the key space as it is, changes that take nothing that changed meanwhile, and what
//! happens when a server, a connection or the tool itself ends in the middle.

mod access;
mod changed;
mod cluster;
mod collections;
mod expiry;
mod faults;
mod guards;
mod memory;
mod monitor;
mod policy;
mod privileges;
mod records;
mod replicas;
mod sentinel;
mod stream;
mod traces;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use testbed::{DelayingProxy, Output, Redis, RedisVersion, Resp, Running, records, run, run_fed, start, tool};

/// Long enough for anything that is waited for, on a machine that has other things to do as well.
const PATIENCE: Duration = Duration::from_mins(1);

type Keys = BTreeSet<Vec<u8>>;

/// A server, and a state directory for the tool.
struct Place {
    server: Redis,
    state: TempDir,
}

impl Place {
    fn new(version: RedisVersion) -> Self {
        Self::of(Redis::start(version).unwrap())
    }

    fn of(server: Redis) -> Self {
        Self { server, state: tempfile::tempdir().unwrap() }
    }

    fn dir(&self) -> &Path {
        self.state.path()
    }

    /// The tool at another address than the server's own: a proxy, another user.
    fn tool_at(&self, url: &str, args: &[&str]) -> Command {
        maint(self.dir(), url, args)
    }

    fn tool(&self, args: &[&str]) -> Command {
        self.tool_at(&self.server.url(), args)
    }

    fn run(&self, args: &[&str]) -> Told {
        Told::of(run(&mut self.tool(args)).unwrap())
    }

    fn run_at(&self, url: &str, args: &[&str]) -> Told {
        Told::of(run(&mut self.tool_at(url, args)).unwrap())
    }

    fn start_at(&self, url: &str, args: &[&str]) -> Running {
        start(&mut self.tool_at(url, args)).unwrap()
    }

    fn apply(&self, plan: &str, args: &[&str]) -> Told {
        Told::of(run_fed(&mut self.tool(&[&["apply", "-"], args].concat()), plan).unwrap())
    }

    /// A policy file with this text.
    fn policy(&self, text: &str) -> String {
        let path = self.dir().join("policy.toml");
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn cleanup(&self, policy: &str, args: &[&str]) -> Told {
        let path = self.policy(policy);
        self.run(&[&["cache-cleanup", "--policy", &path], args].concat())
    }

    fn connect(&self) -> Resp {
        self.server.connect().unwrap()
    }

    fn keys(&self) -> Keys {
        keys_of(&self.server)
    }

    /// A URL of the same server for a user made with these ACL rules.
    fn user(&self, name: &str, rules: &[&str]) -> String {
        self.server.call(&[&["ACL", "SETUSER", name, "on", ">secret"], rules].concat()).unwrap();
        format!("redis://{name}:secret@127.0.0.1:{}/0", self.server.port())
    }

    /// A proxy to the server that holds every reply back, so that there is a middle of a run to do something in.
    fn slowly(&self, delay: Duration) -> (DelayingProxy, String) {
        let proxy = DelayingProxy::start(self.server.port()).unwrap();
        proxy.set_delay(delay);
        let url = format!("redis://127.0.0.1:{}/0", proxy.port());
        (proxy, url)
    }
}

/// `redis-maint` with records as output, told of the server by the environment.
fn maint(state: &Path, url: &str, args: &[&str]) -> Command {
    let mut command = tool("redis-maint", state).unwrap();
    command.env("REDIS_URL", url).args(args).args(["-q", "-o", "ndjson"]);
    command
}

/// What a run said, as text and as records.
struct Told {
    out: Output,
    events: Vec<Value>,
}

impl Told {
    #[track_caller]
    fn of(out: Output) -> Self {
        for word in ["panicked", "RUST_BACKTRACE"] {
            assert!(!out.stderr.contains(word) && !out.stdout.contains(word), "{out}");
        }
        let events = records(&out.stdout).unwrap_or_else(|error| panic!("{error}: {out}"));
        Self { out, events }
    }

    /// Of a run that was killed, which may have left half a line.
    #[track_caller]
    fn of_cut(mut out: Output) -> Self {
        let end = out.stdout.rfind('\n').map_or(0, |at| at + 1);
        out.stdout.truncate(end);
        Self::of(out)
    }

    fn code(&self) -> i32 {
        self.out.code
    }

    #[track_caller]
    fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.out.code, code, "{}", self.short());
        self
    }

    /// The output without what there may be thousands of.
    fn short(&self) -> String {
        let many = |event: &&Value| matches!(kind(event), "maint.step.v1" | "maint.plan.v1") || is_key(event);
        let rest: Vec<String> = self.events.iter().filter(|event| !many(event)).map(Value::to_string).collect();
        format!("exit code {}\n{}\n--- stderr\n{}", self.out.code, rest.join("\n"), self.out.stderr)
    }

    /// The keys of the records of this kind and status.
    fn keys(&self, wanted: &str, status: &str) -> Keys {
        let chosen = self.events.iter().filter(|event| kind(event) == wanted && event["data"]["status"] == status);
        chosen.map(key_of).collect()
    }

    fn planned(&self) -> Keys {
        self.keys("maint.plan.v1", "planned")
    }

    fn steps(&self, status: &str) -> Keys {
        self.keys("maint.step.v1", status)
    }

    /// The keys that `keys` told of, in order.
    fn listed(&self) -> Vec<Vec<u8>> {
        self.events.iter().filter(|event| is_key(event)).map(key_of).collect()
    }

    fn key_records(&self) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(|event| is_key(event))
    }

    /// The record with this section, as `walk`.
    fn section(&self, name: &str) -> &Value {
        let found = self.events.iter().find(|event| event["data"]["labels"]["section"] == name);
        &found.unwrap_or_else(|| panic!("no {name}: {}", self.short()))["data"]
    }

    /// Findings of this status.
    fn findings(&self, status: &str) -> Vec<&Value> {
        let chosen = self.events.iter().filter(|event| kind(event) == "maint.finding.v1");
        chosen.map(|event| &event["data"]).filter(|data| data["status"] == status).collect()
    }

    fn summary(&self) -> &Value {
        let last = self.events.last().unwrap_or_else(|| panic!("no records: {}", self.out));
        assert_eq!(kind(last), "maint.summary.v1");
        &last["data"]
    }
}

/// The same on several versions at once, for tests that mostly wait.
fn at_once(versions: &[RedisVersion], test: impl Fn(RedisVersion) + Sync) {
    thread::scope(|scope| {
        for &version in versions {
            let test = &test;
            scope.spawn(move || test(version));
        }
    });
}

fn kind(event: &Value) -> &str {
    event["type"].as_str().unwrap_or_default()
}

/// Whether it is one of the records of `keys`, one a key.
fn is_key(event: &Value) -> bool {
    kind(event) == "maint.metric.v1" && event["data"]["labels"].is_null() && event["data"]["db"].is_u64()
}

fn key_of(event: &Value) -> Vec<u8> {
    decode(event["subject"].as_str().unwrap_or_default())
}

/// Percent-decoding (RFC 3986), written apart from the tool's own.
fn decode(subject: &str) -> Vec<u8> {
    let mut parts = subject.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(hex, 16).unwrap());
        bytes.extend(rest.as_bytes());
    }
    bytes
}

fn keys_of(server: &Redis) -> Keys {
    let reply = server.call(&["KEYS", "*"]).unwrap();
    reply.array().iter().map(bytes_of).collect()
}

fn bytes_of(reply: &testbed::Reply) -> Vec<u8> {
    match reply {
        testbed::Reply::Bulk(bytes) => bytes.clone(),
        other => panic!("no bytes: {other:?}"),
    }
}

fn names(prefix: &str, numbers: impl IntoIterator<Item = usize>) -> Keys {
    numbers.into_iter().map(|number| format!("{prefix}{number}").into_bytes()).collect()
}

/// Writes strings under these names, all with the same value.
fn set_all<'a>(client: &mut Resp, keys: impl IntoIterator<Item = &'a Vec<u8>>, value: &str) {
    client.pipeline(keys.into_iter().map(|key| [&b"SET"[..], key, value.as_bytes()]), drop).unwrap();
}

/// Makes the server take the keys for untouched since `seconds`.
fn make_idle<'a>(client: &mut Resp, keys: impl IntoIterator<Item = &'a Vec<u8>>, seconds: u32) {
    let (seconds, keys) = (seconds.to_string(), keys.into_iter().collect::<Vec<_>>());
    let (mut values, mut left) = (Vec::new(), Vec::new());
    client.pipeline(keys.iter().map(|key| [&b"DUMP"[..], key]), |reply| values.push(bytes_of(&reply))).unwrap();
    let mut ttl = |reply: testbed::Reply| left.push(reply.int().unwrap().max(0).to_string());
    client.pipeline(keys.iter().map(|key| [&b"PTTL"[..], key]), &mut ttl).unwrap();
    let commands = keys.iter().zip(&left).zip(&values).map(|((key, left), value)| {
        [&b"RESTORE"[..], key, left.as_bytes(), value, b"REPLACE", b"IDLETIME", seconds.as_bytes()]
    });
    client.pipeline(commands, drop).unwrap();
}

fn idle(client: &mut Resp, key: &[u8]) -> i64 {
    client.call(&[&b"OBJECT"[..], b"IDLETIME", key]).unwrap().int().unwrap()
}
