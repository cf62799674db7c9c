//! The tool, the server or the connection ends in the middle of a cleanup.

use std::time::Duration;

use testbed::{DelayingProxy, Redis, RedisVersion, Running, Signal, wait_until};

use super::{Keys, PATIENCE, Place, Told, names, set_all};

const POLICY: &str = "[[rule]]\nmatch = \"cache:*\"\n";
const COUNT: usize = 2000;

/// A server that loses nothing when it is killed.
fn durable(version: RedisVersion) -> Place {
    let builder = Redis::builder(version).config("appendonly", "yes").config("appendfsync", "always");
    let place = Place::of(builder.start().unwrap());
    let mut client = place.connect();
    set_all(&mut client, &names("cache:", 0..COUNT), "v");
    set_all(&mut client, &names("user:", 0..COUNT), "v");
    place
}

/// A cleanup that has begun to delete and is far from its end.
fn in_the_middle(place: &Place) -> (DelayingProxy, Running) {
    let path = place.policy(POLICY);
    let (proxy, url) = place.slowly(Duration::from_millis(30));
    let running = place.start_at(&url, &["cache-cleanup", "--policy", &path, "--max-latency", "1s"]);
    wait_until("keys are deleted", PATIENCE, || place.server.dbsize().unwrap() < 2 * COUNT as u64).unwrap();
    (proxy, running)
}

#[test]
fn a_killed_cleanup_run_again_ends_as_one_that_was_not() {
    super::at_once(&[RedisVersion::V7_0, RedisVersion::Valkey9], |version| {
        let place = durable(version);
        let (_proxy, running) = in_the_middle(&place);
        running.signal(Signal::KILL);
        Told::of_cut(running.finish(PATIENCE).unwrap()).ends_with(137);
        let size = place.server.dbsize().unwrap();
        assert!(size > COUNT as u64, "{version}: it was done before it was killed");
        let told = place.cleanup(POLICY, &[]).ends_with(0);
        assert_eq!(told.steps("ok").len() as u64, size - COUNT as u64, "{version}");
        assert_eq!(place.keys(), names("user:", 0..COUNT), "{version}");
    });
}

#[test]
fn a_server_that_is_killed_and_comes_back_is_gone_on_with() {
    super::at_once(&[RedisVersion::V6_2, RedisVersion::V8_2], |version| {
        let place = durable(version);
        let (_proxy, running) = in_the_middle(&place);
        place.server.kill9().unwrap();
        place.server.start_again().unwrap();
        // Somebody writes to keys that are still to come.
        let rest: Keys = place.keys().into_iter().filter(|key| key.starts_with(b"cache:")).collect();
        assert!(!rest.is_empty(), "{version}");
        let told = Told::of(running.finish(PATIENCE).unwrap());
        let left = place.keys();
        assert!(left.is_superset(&names("user:", 0..COUNT)), "{version}");
        // A restart makes every key as fresh as one just written, and values are compared by their digest all the same.
        assert_eq!(told.steps("ok").len() + told.steps("gone").len(), COUNT, "{version}: {}", told.short());
        assert_eq!(left, names("user:", 0..COUNT), "{version}: {}", told.short());
        assert_eq!(told.code(), 0, "{version}: {}", told.short());
    });
}

#[test]
fn a_cut_connection_is_made_again_and_nothing_is_taken_twice() {
    super::at_once(&[RedisVersion::V7_0, RedisVersion::Valkey9], |version| {
        let place = durable(version);
        let (proxy, running) = in_the_middle(&place);
        for _ in 0..2 {
            let before = place.server.dbsize().unwrap();
            proxy.cut();
            wait_until("it goes on", PATIENCE, || {
                let size = place.server.dbsize().unwrap();
                size < before || size == COUNT as u64
            })
            .unwrap();
        }
        // Made anew since, under a name that was already taken: not the plan's any more.
        let gone: Keys = names("cache:", 0..COUNT).difference(&place.keys()).take(50).cloned().collect();
        set_all(&mut place.connect(), &gone, "new");
        let told = Told::of(running.finish(PATIENCE).unwrap());
        let mut wanted = names("user:", 0..COUNT);
        wanted.extend(gone);
        assert_eq!(place.keys(), wanted, "{version}: {}", told.short());
        let all = ["ok", "gone", "skipped"].map(|status| told.steps(status).len());
        assert_eq!(all.iter().sum::<usize>(), COUNT, "{version}: {}", told.short());
        assert!(told.code() <= 1, "{version}: {}", told.short());
    });
}

#[test]
fn a_server_that_does_not_come_back_leaves_the_rest_and_is_critical() {
    let place = durable(RedisVersion::V7_0);
    std::fs::write(place.dir().join("maint.toml"), "[redis-maint]\npatience = \"1s\"\n").unwrap();
    let (_proxy, running) = in_the_middle(&place);
    place.server.kill9().unwrap();
    let told = Told::of(running.finish(PATIENCE).unwrap()).ends_with(2);
    assert!(!told.steps("left").is_empty(), "{}", told.short());
    assert_eq!(told.steps("left").len() + told.steps("ok").len() + told.steps("gone").len(), COUNT);
    let critical = told.events.iter().find(|event| event["data"]["status"] == "critical").unwrap();
    assert_eq!(critical["subject"], "server");
}

#[test]
fn a_server_that_is_silent_for_too_long_ends_the_run() {
    let place = durable(RedisVersion::V7_0);
    let config = "[redis-maint]\npatience = \"1s\"\nanswer_timeout = \"1s\"\n";
    std::fs::write(place.dir().join("maint.toml"), config).unwrap();
    let (_proxy, running) = in_the_middle(&place);
    place.server.freeze().unwrap();
    let out = running.finish(PATIENCE);
    place.server.thaw();
    let told = Told::of(out.unwrap()).ends_with(2);
    assert!(!told.steps("left").is_empty(), "{}", told.short());
    // What it had sent last may have been carried out after all; nothing else was.
    let there = place.keys();
    assert!(there.is_superset(&names("user:", 0..COUNT)));
}

#[test]
fn a_walk_survives_a_lost_connection_and_a_restart() {
    let place = durable(RedisVersion::V8_2);
    let (proxy, url) = place.slowly(Duration::from_millis(40));
    let mut wanted = names("user:", 0..COUNT);
    wanted.extend(names("cache:", 0..COUNT));
    for restart in [false, true] {
        place.server.call(&["CONFIG", "RESETSTAT"]).unwrap();
        let running = place.start_at(&url, &["keys", "--names", "--max-latency", "1s"]);
        let scans = || place.server.info("commandstats").unwrap().contains_key("cmdstat_scan");
        wait_until("the walk is under way", PATIENCE, scans).unwrap();
        if restart {
            place.server.kill9().unwrap();
            place.server.start_again().unwrap();
        } else {
            proxy.cut();
        }
        let told = Told::of(running.finish(PATIENCE).unwrap()).ends_with(0);
        let listed = told.listed();
        assert_eq!(listed.len(), wanted.len(), "restart {restart}");
        assert_eq!(listed.into_iter().collect::<Keys>(), wanted);
        assert_eq!(told.section("walk")["restarts"], u64::from(restart), "{}", told.short());
    }
}
