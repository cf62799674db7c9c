//! Which keys a policy takes: on every version exactly those that the test finds by itself, and no others.

use serde_json::Value;
use testbed::{RedisVersion, Resp, run_fed};

use super::{Keys, Place, decode, idle, make_idle, names, set_all};

/// Keys of every kind, idle time, size and time to live, six of each combination.
fn mixed(client: &mut Resp) -> Keys {
    let mut all = Keys::new();
    let mut quiet = Keys::new();
    let mut commands: Vec<Vec<String>> = Vec::new();
    for number in 0..6 {
        for prefix in ["cache:", "cache:vip:", "session:", "tmp:", "Cache:", "other:"] {
            let key = |rest: &str| format!("{prefix}{number}:{rest}");
            let big = "x".repeat(5000);
            for (rest, words) in [
                ("s", vec!["SET", "KEY", "v"]),
                ("big", vec!["SET", "KEY", &big]),
                ("mortal", vec!["SET", "KEY", "v", "EX", "86000"]),
                ("old", vec!["SET", "KEY", "v", "EX", "3000"]),
                ("l", vec!["RPUSH", "KEY", "a", "b"]),
                ("set", vec!["SADD", "KEY", "a", "b"]),
                ("z", vec!["ZADD", "KEY", "1", "a"]),
                ("h", vec!["HSET", "KEY", "f", &big]),
                ("x", vec!["XADD", "KEY", "*", "f", "v"]),
                ("pinned", vec!["SET", "KEY", "v"]),
            ] {
                let name = key(rest);
                commands.push(words.iter().map(|word| word.replace("KEY", &name)).collect());
                all.insert(name.clone().into_bytes());
                if number % 3 == 0 {
                    quiet.insert(name.into_bytes());
                }
            }
        }
    }
    client.pipeline(commands, drop).unwrap();
    make_idle(client, &quiet, 3_000_000);
    all
}

/// What a test knows of a key, asked of the server itself.
struct Known<'a> {
    key: &'a str,
    kind: String,
    idle: i64,
    bytes: i64,
    left_ms: i64,
}

fn chosen(client: &mut Resp, all: &Keys, choose: impl Fn(&Known) -> bool) -> Keys {
    let mut ask = |words: &[&str]| {
        let mut told = Vec::new();
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let commands = all.iter().map(|key| [&words[..], &[key.as_slice()]].concat());
        client.pipeline(commands, |reply| told.push(reply)).unwrap();
        told.into_iter()
    };
    let mut kinds = ask(&["TYPE"]).map(|reply| reply.text());
    let [mut idles, mut bytes, mut left] = [&["OBJECT", "IDLETIME"][..], &["MEMORY", "USAGE"], &["PTTL"]]
        .map(|words| ask(words).map(|reply| reply.int().unwrap()));
    let chosen = all.iter().filter(|name| {
        choose(&Known {
            key: std::str::from_utf8(name).unwrap(),
            kind: kinds.next().unwrap(),
            idle: idles.next().unwrap(),
            bytes: bytes.next().unwrap(),
            left_ms: left.next().unwrap(),
        })
    });
    chosen.cloned().collect()
}

fn is_cache(known: &Known) -> bool {
    known.key.starts_with("cache:")
}

#[test]
fn a_policy_takes_exactly_the_keys_that_it_describes() {
    type Choose = fn(&Known) -> bool;
    let cases: [(&str, Choose); 9] = [
        ("match = \"cache:*\"", is_cache),
        ("match = [\"tmp:*\", \"?ession:*\"]\nnot = [\"*:pinned\", \"*:[lz]\"]", |k| {
            let named = k.key.starts_with("tmp:") || k.key.starts_with("session:");
            named && !k.key.ends_with(":pinned") && !k.key.ends_with(":l") && !k.key.ends_with(":z")
        }),
        ("match = \"*\"\ntype = \"hash\"", |k| k.kind == "hash"),
        ("match = \"*\"\ntype = \"stream\"\nidle = \"30d\"", |k| k.kind == "stream" && k.idle >= 2_592_000),
        ("match = \"cache:*\"\nidle = \"30d\"", |k| is_cache(k) && k.idle >= 2_592_000),
        ("match = \"*\"\nlarger = \"4KiB\"", |k| k.bytes > 4096),
        ("match = \"[cC]ache:*\"\nno_ttl = true\nlarger = \"1KiB\"\nidle = \"1d\"", |k| {
            k.key.to_lowercase().starts_with("cache:") && k.left_ms == -1 && k.bytes > 1024 && k.idle >= 86_400
        }),
        ("match = \"*\"\nage = \"23h\"\nlifetime = \"24h\"", |k| (0..=3_600_000).contains(&k.left_ms)),
        (
            "match = [\"cache:vip:*\", \"other:*\"]\naction = \"keep\"\n[[rule]]\nmatch = [\"cache:*\", \"other:*\"]",
            |k| is_cache(k) && !k.key.starts_with("cache:vip:"),
        ),
    ];
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        let mut client = place.connect();
        for (text, choose) in cases {
            client.call(&["FLUSHALL"]).unwrap();
            let all = mixed(&mut client);
            let wanted = chosen(&mut client, &all, choose);
            assert!(!wanted.is_empty() && wanted.len() < all.len(), "{version} {text}: {}", wanted.len());
            let told = place.cleanup(&format!("[[rule]]\n{text}\n"), &[]).ends_with(0);
            let stayed: Keys = all.difference(&wanted).cloned().collect();
            assert_eq!(place.keys(), stayed, "{version} {text}");
            assert_eq!(told.steps("ok"), wanted, "{version} {text}");
            assert_eq!(told.section("rule")["labels"]["action"], "delete");
        }
    }
}

#[test]
fn an_idle_time_that_went_by_is_one_that_was_waited_for() {
    super::at_once(&RedisVersion::ALL, |version| {
        let place = Place::new(version);
        let mut client = place.connect();
        let (old, new) = (names("cache:old:", 0..20), names("cache:new:", 0..20));
        set_all(&mut client, &old, "v");
        testbed::wait_until("the keys are idle", super::PATIENCE, || old.iter().all(|key| idle(&mut client, key) >= 2))
            .unwrap();
        set_all(&mut client, &new, "v");
        set_all(&mut client, &names("other:", 0..20), "v");
        place.cleanup("[[rule]]\nmatch = \"cache:*\"\nidle = \"2s\"\n", &[]).ends_with(0);
        assert!(place.keys().is_superset(&new), "{version}: keys just written were taken");
        assert!(place.keys().is_disjoint(&old), "{version}");
    });
}

#[test]
fn the_first_rule_that_matches_a_key_decides_about_it() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        let mut client = place.connect();
        for prefix in ["a:1:", "a:2:", "a:3:", "b:"] {
            set_all(&mut client, &names(prefix, 0..10), "v");
        }
        // The second rule covers a:2: and does not take it, so the third never sees it.
        let policy = "
            [[rule]]
            name = \"first\"
            match = \"a:1:*\"
            [[rule]]
            match = \"a:2:*\"
            larger = \"1MiB\"
            [[rule]]
            name = \"last\"
            match = \"a:*\"
            [limits]
            max_share = \"90%\"";
        let told = place.cleanup(policy, &[]).ends_with(0);
        let mut stayed = names("a:2:", 0..10);
        stayed.extend(names("b:", 0..10));
        assert_eq!(place.keys(), stayed, "{version}");
        let by_rule = |rule: &str| -> Keys {
            let steps = told.events.iter().filter(|event| event["data"]["rule"] == rule);
            steps.map(super::key_of).collect()
        };
        assert_eq!((by_rule("first"), by_rule("last")), (names("a:1:", 0..10), names("a:3:", 0..10)), "{version}");
    }
}

#[test]
fn max_keys_bounds_a_run_and_the_next_one_goes_on() {
    let place = Place::new(RedisVersion::V7_0);
    set_all(&mut place.connect(), &names("tmp:", 0..100), "v");
    set_all(&mut place.connect(), &names("user:", 0..300), "v");
    let policy = "[[rule]]\nmatch = \"tmp:*\"\n[limits]\nmax_keys = 60";
    let told = place.cleanup(policy, &[]).ends_with(1);
    assert_eq!(told.steps("ok").len(), 60);
    assert_eq!(place.cleanup(policy, &[]).ends_with(0).steps("ok").len(), 40);
    assert_eq!(place.keys(), names("user:", 0..300));
}

#[test]
fn a_dry_run_changes_nothing_at_all() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        let mut client = place.connect();
        let all = mixed(&mut client);
        let look = |client: &mut Resp| -> Vec<(Vec<u8>, i64, i64)> {
            all.iter()
                .map(|key| {
                    let at = client.call(&[&b"PTTL"[..], key]).unwrap().int().unwrap();
                    (key.clone(), idle(client, key), at)
                })
                .collect()
        };
        let before = look(&mut client);
        let dirty = place.server.info("persistence").unwrap()["rdb_changes_since_last_save"].clone();
        let cleanup = place.cleanup("[[rule]]\nmatch = \"cache:*\"\n", &["--dry-run"]).ends_with(0);
        assert_eq!(cleanup.planned().len(), 120, "{version}");
        let expire = place.policy("[[rule]]\nmatch = \"session:*\"\nttl = \"1h\"\nmode = \"cap\"\n");
        let expire = place.run(&["expire-keys", "--policy", &expire, "--dry-run"]).ends_with(0);
        assert_eq!(expire.planned().len(), 54, "{version}: {}", expire.short());
        assert_eq!(place.server.info("persistence").unwrap()["rdb_changes_since_last_save"], dirty, "{version}");
        // Times to live only ran on, and nothing was touched, values that were read for a digest included.
        for (was, is) in before.iter().zip(look(&mut client)) {
            assert_eq!(was.0, is.0);
            assert!(is.1 >= was.1, "{version}: {} was touched", String::from_utf8_lossy(&was.0));
            assert!(was.2 == is.2 || (was.2 - 60_000..=was.2).contains(&is.2), "{version}");
        }
        assert_eq!(place.keys(), all);
        assert!(!place.dir().join("journal").exists(), "a dry run is no entry in the journal");
    }
}

#[test]
fn a_plan_that_was_filtered_on_its_way_does_exactly_what_came_through() {
    for version in RedisVersion::ALL {
        for laid_out in [false, true] {
            let place = Place::new(version);
            let mut client = place.connect();
            let mut all = names("cache:", 0..50);
            all.extend([b"cache:\xff\x00\n%41".to_vec(), b"cache:\"'*[".to_vec()]);
            set_all(&mut client, &all, "v");
            let big = names("cache:big:", 0..30);
            set_all(&mut client, &big, &"x".repeat(3000));
            set_all(&mut client, &names("user:", 0..200), "v");
            let plan = place.cleanup("[[rule]]\nmatch = \"cache:*\"\n", &["--dry-run"]).ends_with(0);
            let filter = "select(.data.memory_bytes > 2000 or (.subject // \"\" | contains(\"%00\")))";
            let mut jq = std::process::Command::new("jq");
            let args: &[&str] = if laid_out { &[filter] } else { &["-c", filter] };
            let filtered = run_fed(jq.args(args), &plan.out.stdout).unwrap();
            assert_eq!(filtered.code, 0, "{filtered}");
            assert_eq!(filtered.stdout.lines().any(|line| line == "{"), laid_out);
            let told = place.apply(&filtered.stdout, &[]).ends_with(0);
            let mut gone = big.clone();
            gone.insert(b"cache:\xff\x00\n%41".to_vec());
            assert_eq!(told.steps("ok"), gone, "{version}");
            all.remove(&b"cache:\xff\x00\n%41"[..]);
            all.extend(names("user:", 0..200));
            assert_eq!(place.keys(), all, "{version}");
        }
    }
}

#[test]
fn a_plan_that_does_not_read_well_changes_nothing() {
    let place = Place::new(RedisVersion::V7_0);
    let mut client = place.connect();
    set_all(&mut client, &names("tmp:", 0..20), "v");
    set_all(&mut client, &names("user:", 0..80), "v");
    let all = place.keys();
    let plan = place.cleanup("[[rule]]\nmatch = \"tmp:*\"\n", &["--dry-run"]).out.stdout;
    let lines: Vec<&str> = plan.lines().collect();
    let mut without: Value = serde_json::from_str(lines.iter().find(|l| l.contains("maint.plan.v1")).unwrap()).unwrap();
    without["data"].as_object_mut().unwrap().remove("expires");
    for bad in [
        format!("{plan}{{\"half\": "),
        format!("{plan}not json\n"),
        format!("{plan}{{\"type\":\"maint.plan.v1\",\"data\":{{\"action\":\"flush\"}}}}\n"),
        format!("{plan}{without}\n"),
        plan.replace("\"action\":\"delete\"", "\"action\":\"rename\""),
    ] {
        let told = place.apply(&bad, &[]).ends_with(3);
        assert!(told.out.stderr.contains("record"), "{}", told.out);
        assert_eq!(place.keys(), all);
    }
    // A plan of another server is refused too, unless one insists.
    let other = Place::new(RedisVersion::V7_0);
    set_all(&mut other.connect(), &names("tmp:", 0..20), "v");
    let told = other.apply(&plan, &[]).ends_with(3);
    assert!(told.out.stderr.contains("another server"), "{}", told.out);
    assert_eq!(other.keys().len(), 20);
    assert_eq!(place.apply(&plan, &[]).ends_with(0).steps("ok"), names("tmp:", 0..20));
    assert_eq!(decode("a%25"), b"a%");
}

#[test]
fn a_bad_policy_is_refused_with_its_place_before_anything_happens() {
    let place = Place::new(RedisVersion::V7_0);
    set_all(&mut place.connect(), &names("k:", 0..10), "v");
    for (text, part) in [
        ("", "no [[rule]]"),
        ("[[rule]]\nmatch = \"a:*\"\nidel = \"1d\"", "policy.toml:3"),
        ("[[rule]]\nmatch = \"*\"", "every key"),
        ("[[rule]]\nmatch = [\"a\", \"**\"]", "every key"),
        ("[[rule]]\nmatch = \"a:*\"\nage = \"1d\"", "lifetime"),
        ("[[rule]]\nmatch = \"a:*\"\nttl = \"1d\"", "nothing to do"),
    ] {
        let told = place.cleanup(text, &[]).ends_with(3);
        assert!(told.out.stderr.contains(part), "{text}: {}", told.out);
    }
    place.run(&["cache-cleanup"]).ends_with(3);
    place.run(&["cache-cleanup", "--policy", "/no/such/policy.toml"]).ends_with(3);
    assert_eq!(place.keys().len(), 10);
}
