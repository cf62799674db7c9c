//! Nothing is taken that is not what the plan saw: keys that were replaced, retyped, used or made anew in between.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use testbed::{Redis, RedisVersion, Resp, wait_until};

use super::{Keys, PATIENCE, Place, idle, make_idle, names, set_all};

const POLICY: &str = "[[rule]]\nmatch = \"cache:*\"\n";

/// Something that happens to a key between the look and the touch.
type Change = fn(&mut Resp, &str);

/// What counts as a change, whatever rule chose the key. Of each kind one key is changed so.
const CHANGES: [(&str, Change); 9] = [
    ("same-length", |c, key| drop(c.call(&["SET", key, "other"]).unwrap())),
    ("longer", |c, key| drop(c.call(&["SET", key, &"x".repeat(900)]).unwrap())),
    ("set-again-by-delete", |c, key| {
        c.call(&["DEL", key]).unwrap();
        c.call(&["SET", key, "fresh"]).unwrap();
    }),
    ("retyped", |c, key| {
        c.call(&["DEL", key]).unwrap();
        c.call(&["RPUSH", key, "value"]).unwrap();
    }),
    ("expiring", |c, key| drop(c.call(&["EXPIRE", key, "5000"]).unwrap())),
    ("one-byte", |c, key| drop(c.call(&["SETRANGE", key, "0", "V"]).unwrap())),
    ("renamed-onto", |c, key| {
        c.call(&["SET", "source", "moved"]).unwrap();
        c.call(&["RENAME", "source", key]).unwrap();
    }),
    ("number", |c, key| drop(c.call(&["SET", key, "12345"]).unwrap())),
    ("restored", |c, key| {
        let mut command: Vec<Vec<u8>> = vec![b"RESTORE".to_vec(), key.into(), b"0".to_vec()];
        c.call(&["SET", "source", "again"]).unwrap();
        command.push(super::bytes_of(&c.call(&["DUMP", "source"]).unwrap()));
        command.push(b"REPLACE".to_vec());
        c.call(&command).unwrap();
        c.call(&["DEL", "source"]).unwrap();
    }),
];

/// Plans a cleanup, changes some keys at once, and applies: with the changed ones kept and the others gone.
#[track_caller]
fn changed_keys_stay(place: &Place, url: &str) {
    let mut client = place.connect();
    client.call(&["FLUSHALL"]).unwrap();
    let mut changed = Keys::new();
    for (name, _) in CHANGES {
        changed.extend(names(&format!("cache:{name}:"), 0..4));
    }
    let mut all = names("cache:still:", 0..100);
    all.extend(changed.iter().cloned());
    let vanished = names("cache:vanished:", 0..10);
    all.extend(vanished.iter().cloned());
    set_all(&mut client, &names("user:", 0..300), "v");
    // Written last, so that the plan sees keys that are as fresh as can be.
    set_all(&mut client, &all, "value");
    let path = place.policy(POLICY);
    let plan = place.run_at(url, &["cache-cleanup", "--policy", &path, "--dry-run"]).ends_with(0);
    assert_eq!(plan.planned(), all);
    for (name, change) in CHANGES {
        for number in 0..4 {
            change(&mut client, &format!("cache:{name}:{number}"));
        }
    }
    client.pipeline(vanished.iter().map(|key| [&b"DEL"[..], key]), drop).unwrap();
    let mut tool = place.tool_at(url, &["apply", "-"]);
    let told = super::Told::of(testbed::run_fed(&mut tool, &plan.out.stdout).unwrap());
    let version = place.server.version();
    let left: Keys = place.keys().into_iter().filter(|key| key.starts_with(b"cache:")).collect();
    assert_eq!(left, changed, "{version}: {}", told.short());
    assert_eq!(told.steps("skipped"), changed, "{version}");
    assert_eq!(told.steps("gone"), vanished, "{version}");
    assert_eq!(told.steps("ok"), names("cache:still:", 0..100), "{version}");
    assert_eq!(told.code(), 1, "{version}: {}", told.short());
}

#[test]
fn what_changed_between_plan_and_apply_is_kept() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        changed_keys_stay(&place, &place.server.url());
    }
}

#[test]
fn what_changed_is_kept_where_the_server_keeps_no_idle_times() {
    for version in RedisVersion::ALL {
        let server = Redis::builder(version).config("maxmemory-policy", "allkeys-lfu").start().unwrap();
        let place = Place::of(server);
        changed_keys_stay(&place, &place.server.url());
    }
}

#[test]
fn what_changed_is_kept_without_the_right_to_run_scripts() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        let url = place.user("noscript", &["~*", "+@all", "-@scripting"]);
        changed_keys_stay(&place, &url);
    }
}

#[test]
fn an_old_key_that_was_used_or_replaced_since_is_kept() {
    for version in RedisVersion::ALL {
        for rules in [&["+@all"][..], &["+@all", "-@scripting"]] {
            let place = Place::new(version);
            let url = place.user("u", &[&["~*"], rules].concat());
            let mut client = place.connect();
            set_all(&mut client, &names("user:", 0..100), "v");
            let all = names("cache:", 0..60);
            set_all(&mut client, &all, "value");
            make_idle(&mut client, &all, 100_000);
            let path = place.policy("[[rule]]\nmatch = \"cache:*\"\nidle = \"1d\"\n");
            let plan = place.run_at(&url, &["cache-cleanup", "--policy", &path, "--dry-run"]).ends_with(0);
            let changes: [Change; 4] = [
                |c, key| drop(c.call(&["GET", key]).unwrap()),
                |c, key| drop(c.call(&["SET", key, "value"]).unwrap()),
                |c, key| drop(c.call(&["TOUCH", key]).unwrap()),
                |c, key| drop(c.call(&["APPEND", key, ""]).unwrap()),
            ];
            for (number, change) in (0..).zip(changes).take(3) {
                change(&mut client, &format!("cache:{number}"));
            }
            let mut tool = place.tool_at(&url, &["apply", "-"]);
            let told = super::Told::of(testbed::run_fed(&mut tool, &plan.out.stdout).unwrap()).ends_with(1);
            assert_eq!(told.steps("skipped"), names("cache:", 0..3), "{version}");
            assert_eq!(told.steps("ok"), names("cache:", 3..60), "{version}");
            // Looking at them to compare them was no use of them.
            assert!(idle(&mut client, b"cache:0") < 100);
        }
    }
}

#[test]
fn a_key_replaced_right_after_the_look_is_kept_however_long_it_had_rested() {
    super::at_once(&RedisVersion::ALL, |version| {
        for rested in [0, 3, 4, 10, 12] {
            let place = Place::new(version);
            let mut client = place.connect();
            let all = names("cache:", 0..20);
            set_all(&mut client, &names("user:", 0..100), "v");
            set_all(&mut client, &all, "value");
            make_idle(&mut client, &all, rested);
            let plan = place.cleanup(POLICY, &["--dry-run"]).ends_with(0);
            client.call(&["SET", "cache:0", "other"]).unwrap();
            // The clock of idle times ticks on just now, so that the new value seems to have rested as well.
            wait_until("it ticks", PATIENCE, || idle(&mut client, b"cache:0") >= 1).unwrap();
            let told = place.apply(&plan.out.stdout, &[]).ends_with(1);
            assert_eq!(told.steps("skipped"), names("cache:", 0..1), "{version} {rested}: {}", told.short());
            assert_eq!(told.steps("ok"), names("cache:", 1..20), "{version} {rested}");
        }
    });
}

#[test]
fn a_value_written_while_a_cleanup_runs_is_never_lost() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        let mut client = place.connect();
        let count = if version == RedisVersion::V7_0 { 20_000 } else { 3_000 };
        set_all(&mut client, &names("cache:", 0..count), "old-value");
        set_all(&mut client, &names("user:", 0..2), "v");
        let path = place.policy("[[rule]]\nmatch = \"cache:*\"\n[limits]\nmax_share = \"100%\"");
        let running =
            place.start_at(&place.server.url(), &["cache-cleanup", "--policy", &path, "--max-latency", "5ms"]);
        let done = AtomicBool::new(false);
        let (told, marked) = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                // Every tenth key, again and again in another order, with a value of the same length as the old one. What
                // was deleted before is made anew, which is as good a value as any.
                let mut marked = Keys::new();
                for round in 0.. {
                    for step in 0..count / 10 {
                        let key = format!("cache:{}", (step * 7919 + round * 13) % (count / 10) * 10);
                        client.call(&["SET", &key, "new-value"]).unwrap();
                        marked.insert(key.into_bytes());
                        if done.load(Ordering::SeqCst) {
                            return marked;
                        }
                    }
                }
                marked
            });
            let told = super::Told::of(running.finish(PATIENCE).unwrap());
            done.store(true, Ordering::SeqCst);
            (told, writer.join().unwrap())
        });
        let mut client = place.connect();
        let mut lost = Vec::new();
        client.pipeline(marked.iter().map(|key| [&b"GET"[..], key]), |reply| lost.push(reply.text())).unwrap();
        let lost = lost.iter().filter(|value| *value != "new-value").count();
        assert_eq!(lost, 0, "{version}: of {} marked values: {}", marked.len(), told.short());
        assert!(!told.steps("ok").is_empty() && told.code() <= 1, "{version}: {}", told.short());
        let rest: Keys = place.keys().into_iter().filter(|key| !marked.contains(key)).collect();
        assert_eq!(rest, names("user:", 0..2), "{version}: what nobody wrote to is gone");
    }
}

#[test]
fn a_counter_that_goes_on_counting_loses_no_count() {
    let place = Place::new(RedisVersion::V7_0);
    let mut client = place.connect();
    let all = names("cache:", 0..3000);
    set_all(&mut client, &all, "100");
    set_all(&mut client, &names("user:", 0..4000), "v");
    let path = place.policy(POLICY);
    let (_proxy, url) = place.slowly(Duration::from_millis(20));
    let running = place.start_at(&url, &["cache-cleanup", "--policy", &path, "--max-latency", "1s"]);
    wait_until("it deletes", PATIENCE, || place.server.dbsize().unwrap() < 7000).unwrap();
    // A key that is there counts on from a hundred, one that is gone from nothing; neither may lose its count after that.
    let mut counted = Vec::new();
    client.pipeline(all.iter().map(|key| [&b"INCR"[..], key]), |reply| counted.push(reply.int().unwrap())).unwrap();
    let told = super::Told::of(running.finish(PATIENCE).unwrap());
    for (key, count) in all.iter().zip(counted) {
        let now = client.call(&[&b"GET"[..], key]).unwrap().int();
        assert_eq!(now, Some(count), "{}: {}", String::from_utf8_lossy(key), told.short());
    }
    assert!(!told.steps("skipped").is_empty(), "none was caught in between: {}", told.short());
}
