//! Collections too large to be freed at once go in pieces, and nothing of them stays.

use testbed::{RedisVersion, Resp, Signal, wait_until};

use super::{Keys, PATIENCE, Place, Told, make_idle, names, set_all};

/// A little more than 32 MiB, from which on a collection is removed in pieces.
const BYTES: usize = 34 * 1024 * 1024;

fn big(client: &mut Resp, kind: &str, key: &str, elements: usize) {
    let value = "x".repeat(BYTES / elements);
    let commands = (0..elements).map(|number| {
        let unique = format!("{number}:{value}");
        let words: Vec<String> = match kind {
            "list" => vec!["RPUSH".into(), key.into(), unique],
            "set" => vec!["SADD".into(), key.into(), unique],
            "zset" => vec!["ZADD".into(), key.into(), number.to_string(), unique],
            "hash" => vec!["HSET".into(), key.into(), number.to_string(), unique],
            "stream" => vec!["XADD".into(), key.into(), "*".into(), "f".into(), unique],
            _ => vec!["APPEND".into(), key.into(), unique],
        };
        words
    });
    client.pipeline(commands, drop).unwrap();
    let usage = client.call(&["MEMORY", "USAGE", key, "SAMPLES", "0"]).unwrap().int().unwrap();
    assert!(usage > 32 * 1024 * 1024, "{kind}: {usage}");
}

const POLICY: &str =
    "[[rule]]\nmatch = [\"cache:*\", \"{cache}:*\"]\nlarger = \"1MiB\"\n[limits]\nmax_share = \"100%\"\n";

#[test]
fn a_big_collection_of_any_type_is_removed_in_pieces_and_gone_at_the_end() {
    super::at_once(&RedisVersion::ALL, |version| {
        let place = Place::new(version);
        let mut client = place.connect();
        for kind in ["list", "set", "zset", "hash", "stream", "string"] {
            let key = if kind == "list" { "{cache}:list".to_owned() } else { format!("cache:{kind}") };
            big(&mut client, kind, &key, 3000);
            // In use a moment ago, it could not be told from one that replaces it.
            let told = place.cleanup(POLICY, &[]).ends_with(1);
            assert_eq!(told.findings("deferred").len(), 1, "{version} {kind}: {}", told.short());
            assert_eq!(place.keys().len(), 1, "{version} {kind}");
            make_idle(&mut client, &[key.clone().into_bytes()], 5000);
            client.call(&["CONFIG", "RESETSTAT"]).unwrap();
            let told = place.cleanup(POLICY, &[]).ends_with(0);
            assert_eq!(told.steps("ok"), Keys::from([key.into_bytes()]), "{version}: {}", told.short());
            assert_eq!(place.keys(), Keys::new(), "{version} {kind}");
            let stats = place.server.info("commandstats").unwrap();
            let (by, no) = match kind {
                "list" => ("cmdstat_ltrim", false),
                "set" => ("cmdstat_spop", false),
                "zset" => ("cmdstat_zremrangebyrank", false),
                "hash" => ("cmdstat_hdel", false),
                "stream" => ("cmdstat_xtrim", false),
                _ => ("cmdstat_rename", true),
            };
            assert_ne!(stats.contains_key(by), no, "{version} {kind}");
        }
    });
}

#[test]
fn a_big_collection_that_was_changed_since_the_plan_stays_whole() {
    let place = Place::new(RedisVersion::V7_0);
    let mut client = place.connect();
    big(&mut client, "hash", "cache:h", 3000);
    make_idle(&mut client, &[b"cache:h".to_vec()], 5000);
    let plan = place.cleanup(POLICY, &["--dry-run"]).ends_with(0);
    client.call(&["HSET", "cache:h", "0", "new"]).unwrap();
    let told = place.apply(&plan.out.stdout, &[]).ends_with(1);
    assert_eq!(told.steps("skipped").len(), 1, "{}", told.short());
    assert_eq!(client.call(&["HLEN", "cache:h"]).unwrap().int(), Some(3000));
    assert_eq!(place.keys().len(), 1);
}

#[test]
fn what_a_killed_run_left_of_a_collection_is_removed_by_the_next() {
    super::at_once(&[RedisVersion::V6_2, RedisVersion::Valkey9], |version| {
        let place = Place::new(version);
        let mut client = place.connect();
        big(&mut client, "set", "cache:s", 60_000);
        make_idle(&mut client, &[b"cache:s".to_vec()], 5000);
        set_all(&mut client, &names("user:", 0..50), "v");
        let path = place.policy(POLICY);
        let (_proxy, url) = place.slowly(std::time::Duration::from_millis(20));
        let running = place.start_at(&url, &["cache-cleanup", "--policy", &path]);
        let retired = || place.keys().into_iter().find(|key| key.starts_with(b"maint:retired:"));
        wait_until("it is under way", PATIENCE, || retired().is_some()).unwrap();
        running.signal(Signal::KILL);
        Told::of_cut(running.finish(PATIENCE).unwrap()).ends_with(137);
        let left = retired().expect("it was killed before the end");
        assert!(client.call(&[&b"SCARD"[..], &left]).unwrap().int().unwrap() > 0);
        assert!(!place.keys().contains(&b"cache:s"[..]));
        let told = place.cleanup(POLICY, &[]).ends_with(0);
        assert_eq!(told.steps("ok"), Keys::from([left]), "{version}: {}", told.short());
        assert_eq!(place.keys(), names("user:", 0..50), "{version}");
    });
}
