//! `check` and `performance-monitor`: what is wrong is found, what is well is not blamed, and what cannot be seen is said.

use std::thread;
use std::time::Duration;

use serde_json::Value;
use testbed::{Redis, RedisVersion};

use super::{PATIENCE, Place, Told, names, set_all};

fn check<'a>(told: &'a Told, name: &str) -> &'a Value {
    let found =
        told.events.iter().find(|event| event["subject"] == name && event["data"]["labels"]["section"] == "check");
    &found.unwrap_or_else(|| panic!("no check {name}: {}", told.short()))["data"]
}

fn status(told: &Told, name: &str) -> String {
    check(told, name)["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_server_that_is_well_is_ok_on_every_version() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        set_all(&mut place.connect(), &names("k", 0..100), "v");
        place.run(&["check"]).ends_with(0);
        let told = place.run(&["check"]).ends_with(0);
        for name in ["hit-rate", "latency", "slow-log", "clients", "memory", "evictions", "replication", "persistence"]
        {
            assert_eq!(status(&told, name), "ok", "{version} {name}");
        }
    }
}

#[test]
fn a_hit_rate_is_judged_by_what_others_did_since_the_last_look() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        let mut client = place.connect();
        let keys = names("k", 0..2000);
        set_all(&mut client, &keys, "v");
        // Far too good in all the time before: it must not count.
        for _ in 0..5 {
            client.pipeline(keys.iter().map(|key| [&b"GET"[..], key]), drop).unwrap();
        }
        place.run(&["check"]).ends_with(0);
        client.pipeline(keys.iter().map(|key| [&b"GET"[..], key]), drop).unwrap();
        client.pipeline((0..222).map(|number| ["GET".to_owned(), format!("none{number}")]), drop).unwrap();
        // Our own walk asks three questions a key and would lift the rate to 97 %.
        place.run(&["keys", "--with", "type,ttl,encoding"]).ends_with(0);
        let told = place.run(&["check"]).ends_with(1);
        let rate = check(&told, "hit-rate");
        assert_eq!((&rate["status"], &rate["lookups"]), (&Value::from("warning"), &Value::from(2222)), "{version}");
        assert!((rate["hit_ratio"].as_f64().unwrap() - 0.9).abs() < 0.001, "{version}: {rate}");
        // A healthy stretch after it is healthy.
        client.pipeline(keys.iter().map(|key| [&b"GET"[..], key]), drop).unwrap();
        let told = place.run(&["check"]).ends_with(0);
        assert_eq!(status(&told, "hit-rate"), "ok", "{version}");
    }
}

#[test]
fn counters_of_a_server_that_restarted_are_not_compared() {
    let place = Place::new(RedisVersion::V7_0);
    place.run(&["check"]).ends_with(0);
    place.server.restart().unwrap();
    let mut client = place.connect();
    client.pipeline((0..3000).map(|number| ["GET".to_owned(), format!("none{number}")]), drop).unwrap();
    let told = place.run(&["check"]).ends_with(0);
    assert!(check(&told, "hit-rate")["message"].as_str().unwrap().contains("no earlier look"));
}

#[test]
fn faults_are_found() {
    for version in RedisVersion::ALL {
        let server = Redis::builder(version).config("slowlog-log-slower-than", "1000").start().unwrap();
        let place = Place::of(server);
        let mut client = place.connect();
        set_all(&mut client, &names("k", 0..100), "v");
        place.run(&["check"]).ends_with(0);
        client.call(&["DEBUG", "SLEEP", "0.02"]).unwrap();
        client.call(&["KEYS", "*"]).unwrap();
        let used = place.server.info("memory").unwrap()["used_memory"].parse::<u64>().unwrap();
        client.call(&["CONFIG", "SET", "maxmemory", &(used + used / 20).to_string()]).unwrap();
        let told = place.run(&["check"]).ends_with(2);
        assert_eq!(status(&told, "slow-log"), "warning", "{version}");
        assert_eq!(status(&told, "costly-commands"), "warning", "{version}");
        assert_eq!(status(&told, "memory"), "critical", "{version}");
        // Seen once, they are not new any more; memory still is what it is.
        let again = place.run(&["check"]).ends_with(2);
        assert_eq!(status(&again, "slow-log"), "ok", "{version}");
        assert_eq!(status(&again, "costly-commands"), "ok", "{version}");
    }
}

#[test]
fn a_slow_command_shows_in_the_latency_of_the_window() {
    for version in [RedisVersion::V7_0, RedisVersion::V8_2, RedisVersion::Valkey9] {
        let place = Place::new(version);
        let mut client = place.connect();
        place.run(&["check"]).ends_with(0);
        client.call(&["DEBUG", "SLEEP", "0.3"]).unwrap();
        let told = place.run(&["check"]);
        assert_eq!(status(&told, "latency"), "warning", "{version}: {}", told.short());
        assert!(check(&told, "latency")["message"].as_str().unwrap().contains("slowest is debug"), "{version}");
    }
}

#[test]
fn a_replica_without_its_primary_is_critical() {
    let primary = Redis::start(RedisVersion::V7_0).unwrap();
    let replica = Place::new(RedisVersion::V7_0);
    replica.server.replica_of(&primary).unwrap();
    let told = replica.run(&["check"]).ends_with(0);
    assert_eq!(status(&told, "replication"), "ok");
    primary.kill9().unwrap();
    let gone = std::time::Instant::now();
    while replica.server.info("replication").unwrap()["master_link_status"] != "down" {
        assert!(gone.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(status(&replica.run(&["check"]).ends_with(2), "replication"), "critical");
}

#[test]
fn what_the_user_may_not_see_is_unknown_and_not_ok() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        let url = place.user("u", &["~*", "+@all", "-slowlog", "-config", "-latency"]);
        let told = place.run_at(&url, &["check"]).ends_with(3);
        for name in ["slow-log", "settings", "latency-events"] {
            assert_eq!(status(&told, name), "denied", "{version} {name}");
        }
        assert_eq!(status(&told, "memory"), "ok", "{version}");
        let url = place.user("v", &["+ping"]);
        let told = place.run_at(&url, &["check"]).ends_with(3);
        assert_eq!(status(&told, "info"), "denied", "{version}");
    }
}

#[test]
fn the_slow_log_s_values_are_never_told() {
    let server = Redis::builder(RedisVersion::V7_0).config("slowlog-log-slower-than", "0").start().unwrap();
    let place = Place::of(server);
    place.run(&["check"]);
    place.server.call(&["SET", "token:1", "s3cret-value"]).unwrap();
    let told = place.run(&["check"]);
    assert!(!told.out.stdout.contains("s3cret") && !told.out.stderr.contains("s3cret"), "{}", told.out);
    for file in std::fs::read_dir(place.dir().join("redis-maint")).unwrap() {
        let kept = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!kept.contains("s3cret"), "{kept}");
    }
}

#[test]
fn the_monitor_tells_rates_and_goes_on_until_it_is_counted_out() {
    let place = Place::new(RedisVersion::V7_0);
    let told = place.run(&["performance-monitor", "--interval", "200ms", "--count", "3"]);
    let intervals = told.events.iter().filter(|event| event["data"]["labels"]["section"] == "interval");
    let rates: Vec<f64> = intervals.map(|event| event["data"]["operations_per_second"].as_f64().unwrap()).collect();
    assert_eq!(rates.len(), 3, "{}", told.short());
    assert!(rates.iter().all(|rate| *rate > 0.0));
    place.run(&["performance-monitor", "--interval", "1ms"]).ends_with(3);
}

#[test]
fn a_check_is_one_line_for_nagios_and_text_for_prometheus() {
    let place = Place::new(RedisVersion::V7_0);
    let as_format = |format: &str| {
        let mut command = testbed::tool("redis-maint", place.dir()).unwrap();
        testbed::run(command.env("REDIS_URL", place.server.url()).args(["check", "-q", "-o", format])).unwrap()
    };
    let nagios = as_format("nagios");
    assert_eq!(nagios.code, 0, "{nagios}");
    assert!(nagios.stdout.starts_with("REDIS-MAINT OK") && nagios.stdout.trim_end().lines().count() == 1, "{nagios}");
    let prometheus = as_format("prometheus");
    assert!(prometheus.stdout.contains("# TYPE") && prometheus.stdout.contains("used_bytes"), "{prometheus}");
}

#[test]
fn the_hottest_keys_are_those_that_are_used_most() {
    for version in RedisVersion::ALL {
        let server = Redis::builder(version).config("maxmemory-policy", "allkeys-lfu").start().unwrap();
        let place = Place::of(server);
        let mut client = place.connect();
        set_all(&mut client, &names("k", 0..500), "v");
        client.pipeline((0..20_000).map(|_| ["GET", "k7"]), drop).unwrap();
        client.pipeline((0..2_000).map(|_| ["GET", "k9"]), drop).unwrap();
        let told = place.run(&["performance-monitor", "--hot-keys", "2"]).ends_with(0);
        let hot = told.events.iter().filter(|event| event["data"]["labels"]["section"] == "hot-key");
        let subjects: Vec<&str> = hot.map(|event| event["subject"].as_str().unwrap()).collect();
        assert_eq!(subjects, ["k7", "k9"], "{version}: {}", told.short());
    }
}

#[test]
fn without_counters_of_use_no_key_is_called_hot() {
    let place = Place::new(RedisVersion::V7_0);
    set_all(&mut place.connect(), &names("k", 0..50), "v");
    let told = place.run(&["performance-monitor", "--hot-keys", "2"]).ends_with(3);
    assert!(told.out.stdout.contains("LFU"), "{}", told.short());
}
