//! The records of `redis-maint` are what the schema says, and those of a change are in a journal that verifies.

use maint_core::journal::{read, verify};
use serde_json::Value;
use testbed::{RedisVersion, run, run_fed};

use super::{Place, Told, maint, names, set_all};
use crate::contracts::schema::{assert_valid, validator};

#[test]
fn every_record_is_valid() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        let mut client = place.connect();
        set_all(&mut client, &names("cache:", 0..30), "v");
        set_all(&mut client, &names("session:", 0..30), "v");
        set_all(&mut client, &names("user:", 0..60), "v");
        // Keys whose names are text with difficulty, and one without any name.
        set_all(&mut client, &[Vec::new(), b"cache:\xff\x00\n".to_vec(), b"cache:\"%".to_vec()], "v");
        client.call(&["SET", "session:absurd", "v", "EX", "1700000000000"]).unwrap();
        let validator = validator();
        let valid = |args: &[&str], url: &str| -> Vec<Value> {
            assert_valid(&validator, &run(&mut place.tool_at(url, args)).unwrap())
        };
        let url = place.server.url();
        let cleanup = place.policy("[[rule]]\nmatch = \"cache:*\"\n[[rule]]\nmatch = \"nothing:*\"\n");
        let expire = place.dir().join("expire.toml");
        std::fs::write(&expire, "[[rule]]\nmatch = \"session:*\"\nttl = \"1h\"\n").unwrap();
        let expire = expire.to_str().unwrap();
        valid(&["keys", "--with", "type,ttl,encoding,idle,length"], &url);
        valid(&["keys", "--with", "freq"], &url);
        valid(&["keys", "--resume", "no/such/directory/file"], &url);
        let plan = run(&mut place.tool(&["cache-cleanup", "--policy", &cleanup, "--dry-run"])).unwrap();
        assert_valid(&validator, &plan);
        valid(&["expire-keys", "--policy", expire, "--dry-run"], &url);
        let blind = place.user("blind", &["~*", "+@all", "-memory", "-object", "-info"]);
        valid(&["keys", "--with", "idle"], &blind);
        valid(&["cache-cleanup", "--policy", &cleanup, "--dry-run"], &blind);
        client.call(&["SET", "cache:1", "w"]).unwrap();
        client.call(&["DEL", "cache:2"]).unwrap();
        let applied = run_fed(&mut place.tool(&["apply", "-"]), &plan.stdout).unwrap();
        let events = assert_valid(&validator, &applied);
        for status in ["ok", "gone", "skipped"] {
            let is = |event: &Value| event["type"] == "maint.step.v1" && event["data"]["status"] == status;
            assert!(events.iter().any(is), "{version} {status}: {applied}");
        }
        valid(&["expire-keys", "--policy", expire], &url);
        valid(&["cache-cleanup", "--policy", &cleanup], &url);
        valid(&["cache-cleanup"], &url);
        valid(&["config", "show"], &url);
        valid(&["keys"], "redis://127.0.0.1:1/0");
    }
}

#[test]
fn a_change_is_in_the_journal_as_it_was_told() {
    let place = Place::of(testbed::Redis::builder(RedisVersion::V7_0).password("s3cr3t-horse").start().unwrap());
    let mut client = place.connect();
    set_all(&mut client, &names("cache:", 0..2000), "v");
    set_all(&mut client, &names("user:", 0..4000), "v");
    let path = place.dir().join("journal/journal.ndjson");
    place.run(&["keys"]).ends_with(0);
    assert!(!path.exists(), "looking is no entry");
    let policy = "[[rule]]\nmatch = \"cache:*\"\n";
    let plan = place.cleanup(policy, &["--dry-run"]).ends_with(0);
    assert!(!path.exists(), "planning is no entry");
    let told = place.cleanup(policy, &[]).ends_with(0);
    let kept: Vec<Value> = read(&path).unwrap().map(|entry| entry.unwrap().record).collect();
    // Every step and the summary; what was said before the first change began may be there or not.
    let steps = |events: &[Value]| -> Vec<Value> {
        events.iter().filter(|event| event["type"] == "maint.step.v1").cloned().collect()
    };
    assert_eq!(steps(&kept), steps(&told.events));
    assert_eq!(steps(&kept).len(), 2000);
    assert_eq!(kept.last(), told.events.last());
    let first = verify(&path).unwrap();
    let again = place.apply(&plan.out.stdout, &[]);
    assert_eq!(again.steps("gone").len(), 2000, "{}", again.short());
    let second = verify(&path).unwrap();
    assert!(second.lines >= first.lines + 2000);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("horse"), "the password is in the journal");
}

#[test]
fn without_a_journal_nothing_is_changed() {
    let place = Place::new(RedisVersion::V7_0);
    set_all(&mut place.connect(), &names("cache:", 0..20), "v");
    set_all(&mut place.connect(), &names("user:", 0..20), "v");
    // A file where the directory should be stops root as well, whom permissions do not.
    std::fs::write(place.dir().join("journal"), "").unwrap();
    let told = place.cleanup("[[rule]]\nmatch = \"cache:*\"\n", &[]).ends_with(3);
    assert!(told.out.stderr.contains("journal"), "{}", told.out);
    assert_eq!(place.keys().len(), 40);
}

#[test]
fn people_see_sums_and_not_a_line_for_each_of_many_keys() {
    let place = Place::new(RedisVersion::V8_2);
    set_all(&mut place.connect(), &names("cache:", 0..500), "v");
    set_all(&mut place.connect(), &names("user:", 0..600), "v");
    let path = place.policy("[[rule]]\nname = \"old pages\"\nmatch = \"cache:*\"\n");
    for (args, part) in [
        (&["cache-cleanup", "--policy", &path, "--dry-run"][..], "old pages"),
        (&["cache-cleanup", "--policy", &path], "old pages"),
    ] {
        let mut command = testbed::tool("redis-maint", place.dir()).unwrap();
        let out = run(command.env("REDIS_URL", place.server.url()).args(args)).unwrap();
        assert_eq!(out.code, 0, "{out}");
        assert!(out.stdout.contains(part) && out.stdout.lines().count() < 20, "{out}");
    }
    let mut keys = maint(place.dir(), &place.server.url(), &["keys"]);
    assert_eq!(Told::of(run(&mut keys).unwrap()).listed().len(), 600);
}
