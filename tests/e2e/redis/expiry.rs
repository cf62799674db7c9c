//! `expire-keys`: who gets a time to live, which, and what is said about those that have one.

use testbed::{RedisVersion, Resp};

use super::{Keys, Place, Told, names, set_all};

const POLICY: &str = "[[rule]]\nmatch = \"session:*\"\nttl = \"24h\"\njitter = \"10%\"\n";
const DAY_MS: i64 = 86_400_000;

fn expire(place: &Place, policy: &str, more: &[&str]) -> Told {
    let path = place.policy(policy);
    place.run(&[&["expire-keys", "--policy", &path], more].concat())
}

fn left(client: &mut Resp, keys: &Keys) -> Vec<i64> {
    let mut all = Vec::new();
    client.pipeline(keys.iter().map(|key| [&b"PTTL"[..], key]), |reply| all.push(reply.int().unwrap())).unwrap();
    all
}

#[test]
fn keys_without_a_time_to_live_get_the_rule_s_and_the_others_keep_theirs() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        let mut client = place.connect();
        let (bare, mortal, other) = (names("session:", 0..500), names("session:mortal:", 0..50), names("user:", 0..50));
        for keys in [&bare, &mortal, &other] {
            set_all(&mut client, keys, "v");
        }
        client.pipeline(mortal.iter().map(|key| [&b"EXPIRE"[..], key, b"500"]), drop).unwrap();
        let told = expire(&place, POLICY, &[]).ends_with(0);
        assert_eq!(told.steps("ok"), bare, "{version}");
        let given = left(&mut client, &bare);
        // The least is a tenth less than the most; a minute for a slow test.
        let range = DAY_MS * 9 / 10 - 60_000..=DAY_MS;
        assert!(given.iter().all(|ms| range.contains(ms)), "{version}");
        let spread = given.iter().max().unwrap() - given.iter().min().unwrap();
        assert!(spread > DAY_MS / 20, "{version}: they would all expire at once: {spread}");
        assert!(left(&mut client, &mortal).iter().all(|ms| (1..=500_000).contains(ms)), "{version}");
        assert!(left(&mut client, &other).iter().all(|ms| *ms == -1), "{version}");
        let again = expire(&place, POLICY, &[]).ends_with(0);
        assert!(again.steps("ok").is_empty(), "{version}");
        assert!(left(&mut client, &bare).iter().zip(&given).all(|(now, then)| now <= then), "{version}");
        assert_eq!(place.keys().len(), 600);
    }
}

#[test]
fn a_cap_shortens_what_is_longer() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        let mut client = place.connect();
        let (long, short, bare) =
            (names("session:long:", 0..30), names("session:short:", 0..30), names("session:bare:", 0..30));
        for (keys, ttl) in [(&long, "1000000"), (&short, "500")] {
            client.pipeline(keys.iter().map(|key| [&b"SET"[..], key, b"v", b"EX", ttl.as_bytes()]), drop).unwrap();
        }
        set_all(&mut client, &bare, "v");
        // Without the cap they are only told of.
        let policy = "[[rule]]\nmatch = \"session:*\"\nttl = \"24h\"\n";
        let told = expire(&place, policy, &["--dry-run"]).ends_with(1);
        assert_eq!(told.planned(), bare, "{version}");
        let found = told.findings("warning");
        assert_eq!(found.len(), 1, "{version}: {}", told.short());
        assert_eq!((&found[0]["code"], &found[0]["keys"]), (&"ttl-longer-than-rule".into(), &30.into()));
        let told = expire(&place, &format!("{policy}mode = \"cap\"\n"), &[]).ends_with(0);
        assert_eq!(told.steps("ok"), long.union(&bare).cloned().collect(), "{version}");
        for keys in [&long, &bare] {
            assert!(left(&mut client, keys).iter().all(|ms| (DAY_MS - 60_000..=DAY_MS).contains(ms)), "{version}");
        }
        assert!(left(&mut client, &short).iter().all(|ms| (1..=500_000).contains(ms)), "{version}");
    }
}

#[test]
fn a_time_to_live_in_the_wrong_unit_is_noticed() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        let mut client = place.connect();
        // A day in milliseconds, taken for seconds; in the last case a moment for a duration.
        for (key, ttl) in [("session:1", "864000000"), ("session:2", "864000000"), ("session:3", "1700000000000")] {
            client.call(&["SET", key, "v", "EX", ttl]).unwrap();
        }
        set_all(&mut client, &names("session:fine:", 0..5), "v");
        let told = expire(&place, POLICY, &[]).ends_with(1);
        let found = told.findings("warning");
        assert_eq!(found.len(), 1, "{version}: {}", told.short());
        assert_eq!(found[0]["code"], "ttl-absurd");
        assert_eq!(found[0]["keys"], 3, "{version}");
        assert_eq!(told.steps("ok"), names("session:fine:", 0..5), "{version}: {}", told.short());
        // They can be capped, and deleted, like any other.
        let told = expire(&place, &format!("{POLICY}mode = \"cap\"\n"), &[]).ends_with(1);
        assert_eq!(told.steps("ok"), names("session:", 1..4), "{version}: {}", told.short());
        client.call(&["SET", "session:1", "v", "EX", "1700000000000"]).unwrap();
        place.cleanup("[[rule]]\nmatch = \"session:1\"\n", &[]).ends_with(0);
        assert!(!place.keys().contains(&b"session:1"[..]), "{version}");
    }
}

#[test]
fn a_plan_of_expiries_takes_no_key_that_got_a_time_to_live_since() {
    for version in RedisVersion::ALL {
        for rules in [&["+@all"][..], &["+@all", "-@scripting"]] {
            let place = Place::new(version);
            let url = place.user("u", &[&["~*"], rules].concat());
            let mut client = place.connect();
            set_all(&mut client, &names("session:", 0..20), "v");
            let plan = expire(&place, POLICY, &["--dry-run"]).ends_with(0);
            client.call(&["EXPIRE", "session:0", "77"]).unwrap();
            client.call(&["DEL", "session:1"]).unwrap();
            // A new value without a time to live is still one that should have one.
            client.call(&["SET", "session:2", "other"]).unwrap();
            let mut tool = place.tool_at(&url, &["apply", "-"]);
            let told = Told::of(testbed::run_fed(&mut tool, &plan.out.stdout).unwrap()).ends_with(1);
            assert_eq!(told.steps("skipped"), names("session:", 0..1), "{version}");
            assert_eq!(told.steps("gone"), names("session:", 1..2), "{version}");
            assert_eq!(told.steps("ok"), names("session:", 2..20), "{version}");
            assert!((1..=77_000).contains(&client.call(&["PTTL", "session:0"]).unwrap().int().unwrap()));
        }
    }
}

#[test]
fn keys_that_expired_and_were_not_removed_yet_are_told_of() {
    let place = Place::new(RedisVersion::V7_0);
    let mut client = place.connect();
    client.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]).unwrap();
    let dead = names("session:", 0..40);
    client.pipeline(dead.iter().map(|key| [&b"SET"[..], key, b"v", b"PX", b"1"]), drop).unwrap();
    set_all(&mut client, &names("session:live:", 0..10), "v");
    testbed::wait_until("they are past it", super::PATIENCE, || {
        client.call(&["EXISTS", "session:39"]).unwrap().int() == Some(0)
    })
    .unwrap();
    let told = expire(&place, POLICY, &["--dry-run"]);
    let record = told.events.iter().find(|event| event["subject"] == "active-expiry").unwrap();
    let removed = record["data"]["removed_keys"].as_u64().unwrap();
    assert!((30..=40).contains(&removed), "{}", told.short());
    assert_eq!(told.planned(), names("session:live:", 0..10));
}
