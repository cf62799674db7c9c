//! What a walk leaves behind on the server: nothing, or exactly what it says; and that it sees what redis-cli sees.

use std::collections::BTreeMap;

use testbed::redis::workload::fill;
use testbed::{Redis, RedisVersion};

use super::{Place, bytes_of, idle, make_idle, names, set_all};

fn hits(server: &Redis) -> (u64, u64) {
    let stats = server.info("stats").unwrap();
    let number = |name: &str| stats[name].parse().unwrap();
    (number("keyspace_hits"), number("keyspace_misses"))
}

#[test]
fn a_walk_leaves_no_trace_in_statistics_and_idle_times() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        let mut client = place.connect();
        let keys = names("k:", 0..500);
        set_all(&mut client, &keys, "v");
        make_idle(&mut client, &keys, 1000);
        let before = hits(&place.server);
        for args in [&["keys"][..], &["keys", "--names"], &["keys", "--samples", "0"]] {
            let told = place.run(args).ends_with(0);
            assert_eq!(told.section("walk")["hits_added"], 0, "{version}");
        }
        assert_eq!(hits(&place.server), before, "{version}");
        assert!(keys.iter().all(|key| idle(&mut client, key) >= 1000), "{version}");
    }
}

#[test]
fn the_hits_that_questions_cost_are_told_exactly() {
    super::at_once(&RedisVersion::ALL, |version| {
        let place = Place::new(version);
        let mut client = place.connect();
        let keys = names("k:", 0..1000);
        set_all(&mut client, &keys, "v");
        client.call(&["RPUSH", "list", "a", "b"]).unwrap();
        make_idle(&mut client, &keys, 1000);
        for with in ["type", "ttl", "encoding", "idle", "type,ttl,encoding,idle", "length"] {
            let before = hits(&place.server);
            let told = place.run(&["keys", "--with", with]).ends_with(0);
            let after = hits(&place.server);
            let walk = told.section("walk");
            assert_eq!(walk["hits_added"], after.0 - before.0, "{version} {with}");
            assert_eq!(walk["misses_added"], after.1 - before.1, "{version} {with}");
            assert!(after.0 > before.0, "{version} {with}");
            let resets = with == "length" && !matches!(version, RedisVersion::V8_2 | RedisVersion::Valkey9);
            if !resets {
                assert!(keys.iter().all(|key| idle(&mut client, key) >= 1000), "{version} {with}");
            }
        }
    });
}

/// Type, encoding and so on of each key, by name.
#[test]
fn what_is_told_about_a_key_is_what_the_server_says() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        let mut client = place.connect();
        client.call(&["SET", "s", "hello"]).unwrap();
        client.call(&["RPUSH", "l", "a", "b", "c"]).unwrap();
        client.call(&["SADD", "set", "1", "2"]).unwrap();
        client.call(&["ZADD", "z", "1", "a"]).unwrap();
        client.call(&["HSET", "h", "f", "v", "g", "w"]).unwrap();
        client.call(&["XADD", "x", "*", "f", "v"]).unwrap();
        client.call(&["SET", "mortal", "v", "EX", "5000"]).unwrap();
        make_idle(&mut client, &[b"s".to_vec(), b"mortal".to_vec()], 777);
        let told = place.run(&["keys", "--with", "type,ttl,encoding,idle,length"]).ends_with(0);
        assert_eq!(told.listed().len(), 7);
        for event in told.key_records() {
            let (key, data) = (event["subject"].as_str().unwrap(), &event["data"]);
            let mut ask = |args: &[&str]| client.call(args).unwrap();
            assert_eq!(data["type"], ask(&["TYPE", key]).text(), "{version} {key}");
            assert_eq!(data["encoding"], ask(&["OBJECT", "ENCODING", key]).text(), "{version} {key}");
            let usage = ask(&["MEMORY", "USAGE", key, "SAMPLES", "1000"]).int().unwrap();
            assert_eq!(data["memory_bytes"], usage, "{version} {key}");
            let length = match key {
                "s" => 5,
                "l" => 3,
                "set" | "h" => 2,
                _ => 1,
            };
            assert_eq!(data["length"], length, "{version} {key}");
            if key == "mortal" {
                let left = data["ttl_seconds"].as_f64().unwrap();
                assert!((4800.0..=5000.0).contains(&left), "{version} {left}");
                assert!(data["expires"].as_str().unwrap().ends_with('Z'));
            } else {
                assert!(data["ttl_seconds"].is_null() && data["expires"] == "never", "{version} {data}");
            }
            let expected = if matches!(key, "s" | "mortal") { 777..=900 } else { 0..=120 };
            assert!(expected.contains(&data["idle_seconds"].as_i64().unwrap()), "{version} {data}");
        }
    }
}

#[test]
fn how_often_a_key_is_used_is_told_under_an_lfu_policy_and_its_idle_time_is_not() {
    for version in RedisVersion::ALL {
        let server = Redis::builder(version).config("maxmemory-policy", "allkeys-lfu").start().unwrap();
        let place = Place::of(server);
        let mut client = place.connect();
        set_all(&mut client, &names("k:", 0..100), "v");
        let told = place.run(&["keys", "--with", "freq"]).ends_with(0);
        assert!(told.key_records().all(|event| event["data"]["frequency"].is_u64()), "{version}");
        let told = place.run(&["keys", "--with", "idle"]).ends_with(3);
        assert_eq!(told.listed().len(), 100, "{version}: the names come all the same");
        assert_eq!(told.findings("unknown").len(), 1, "{version} {}", told.short());
        assert_eq!(told.findings("denied").len(), 0, "{version}");
    }
}

#[test]
fn the_sums_and_the_biggest_are_those_of_redis_cli() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        fill(&place.server, 3000, 7).unwrap();
        let told = place.run(&["keys", "--with", "type,length"]).ends_with(0);
        let (mut bytes, mut biggest) = (BTreeMap::new(), BTreeMap::new());
        for event in told.key_records() {
            let data = &event["data"];
            let kind = data["type"].as_str().unwrap().to_owned();
            let sum: &mut (u64, u64) = bytes.entry(kind.clone()).or_default();
            sum.0 += 1;
            sum.1 += data["memory_bytes"].as_u64().unwrap();
            let most: &mut (u64, u64) = biggest.entry(kind).or_default();
            most.0 = most.0.max(data["memory_bytes"].as_u64().unwrap());
            most.1 = most.1.max(data["length"].as_u64().unwrap());
        }
        let memory = place.server.cli(&["--memkeys", "--memkeys-samples", "1000"]).unwrap();
        let lengths = place.server.cli(&["--bigkeys"]).unwrap();
        for (kind, (count, sum)) in &bytes {
            // "8 lists with 1040 bytes (00.08% of keys, avg size 130.00)"
            let line = |text: &str, word: &str| {
                let found = text.lines().map(str::trim_start).find(|line| {
                    let words: Vec<&str> = line.split(' ').collect();
                    words.get(1).is_some_and(|name| name.starts_with(kind.as_str())) && words.get(2) == Some(&"with")
                });
                let line = found.unwrap_or_else(|| panic!("{version} {kind} {word}: {text}"));
                let number = |at: usize| line.split(' ').nth(at).unwrap().parse::<u64>().unwrap();
                (number(0), number(3))
            };
            assert_eq!(line(&memory, "bytes"), (*count, *sum), "{version} {kind}");
            assert_eq!(line(&lengths, "length").0, *count, "{version} {kind}");
            // "Biggest   list found "queue:1" has 1040 bytes"
            let most = |text: &str| {
                let found = text.lines().find(|line| {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    words.first() == Some(&"Biggest") && words.get(1) == Some(&kind.as_str()) && words.contains(&"has")
                });
                let line = found.unwrap_or_else(|| panic!("{version} {kind}: {text}"));
                line.rsplit_once("has ").unwrap().1.split(' ').next().unwrap().parse::<u64>().unwrap()
            };
            assert_eq!(most(&memory), biggest[kind].0, "{version} {kind}");
            assert_eq!(most(&lengths), biggest[kind].1, "{version} {kind}");
        }
    }
}

#[test]
fn the_bytes_of_a_key_are_those_of_memory_usage() {
    let place = Place::new(RedisVersion::V7_0);
    fill(&place.server, 2000, 3).unwrap();
    let mut client = place.connect();
    let told = place.run(&["keys", "--samples", "0"]).ends_with(0);
    for event in told.key_records() {
        let key = super::key_of(event);
        let usage = client.call(&[&b"MEMORY"[..], b"USAGE", &key, b"SAMPLES", b"0"]).unwrap().int().unwrap();
        assert_eq!(event["data"]["memory_bytes"], usage);
    }
    assert!(!bytes_of(&client.call(&["GET", "whale:export"]).unwrap()).is_empty());
}
