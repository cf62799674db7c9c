//! Users who may not do everything: the same safety by another way, or nothing at all.

use testbed::RedisVersion;

use super::{Place, names, set_all};

const POLICY: &str = "[[rule]]\nmatch = \"cache:*\"\n";

fn filled(version: RedisVersion) -> Place {
    let place = Place::new(version);
    let mut client = place.connect();
    set_all(&mut client, &names("cache:", 0..100), "v");
    set_all(&mut client, &names("user:", 0..200), "v");
    place
}

#[test]
fn without_scripting_a_cleanup_does_the_same_by_watching() {
    for version in RedisVersion::ALL {
        let place = filled(version);
        let url = place.user("u", &["~*", "+@all", "-@scripting"]);
        let path = place.policy(POLICY);
        let told = place.run_at(&url, &["cache-cleanup", "--policy", &path]).ends_with(0);
        assert_eq!(told.steps("ok"), names("cache:", 0..100), "{version}");
        assert_eq!(place.keys(), names("user:", 0..200), "{version}");
        let stats = place.server.info("commandstats").unwrap();
        assert!(stats.contains_key("cmdstat_watch") && !stats.contains_key("cmdstat_eval"), "{version}");
    }
}

#[test]
fn with_neither_scripts_nor_transactions_nothing_is_deleted() {
    for version in RedisVersion::ALL {
        let place = filled(version);
        let url = place.user("u", &["~*", "+@all", "-@scripting", "-@transaction"]);
        let path = place.policy(POLICY);
        let told = place.run_at(&url, &["cache-cleanup", "--policy", &path]).ends_with(3);
        assert!(told.out.stderr.contains("+@transaction"), "{version}: {}", told.out);
        assert_eq!(told.steps("left").len(), 100, "{version}: {}", told.short());
        assert_eq!(place.keys().len(), 300, "{version}");
    }
}

#[test]
fn without_the_right_to_delete_every_step_is_denied() {
    for version in RedisVersion::ALL {
        for rules in [&["-unlink"][..], &["-unlink", "-@scripting"]] {
            let place = filled(version);
            let url = place.user("u", &[&["~*", "+@all"], rules].concat());
            let path = place.policy(POLICY);
            let told = place.run_at(&url, &["cache-cleanup", "--policy", &path]).ends_with(3);
            assert_eq!(told.steps("denied").len(), 100, "{version} {rules:?}: {}", told.short());
            assert_eq!(place.keys().len(), 300, "{version}");
        }
    }
}

#[test]
fn only_keys_that_the_user_may_touch_are_deleted() {
    for version in RedisVersion::ALL {
        let place = filled(version);
        set_all(&mut place.connect(), &names("cache:private:", 0..20), "v");
        let url = place.user("u", &["~cache:[0-9]*", "+@all"]);
        let path = place.policy(POLICY);
        let told = place.run_at(&url, &["cache-cleanup", "--policy", &path]).ends_with(3);
        assert_eq!(told.steps("ok"), names("cache:", 0..100), "{version}: {}", told.short());
        assert_eq!(place.keys().len(), 220, "{version}");
    }
}

#[test]
fn a_rule_that_could_not_be_judged_takes_nothing_and_says_so() {
    for version in RedisVersion::ALL {
        let place = filled(version);
        let path = place.policy("[[rule]]\nmatch = \"cache:*\"\nidle = \"1s\"\n");
        for missing in ["-object", "-memory"] {
            let url = place.user("u", &["~*", "+@all", missing]);
            let rule = if missing == "-memory" { "larger = \"1B\"" } else { "idle = \"0s\"" };
            let text = format!("[[rule]]\nmatch = \"cache:*\"\n{rule}\n");
            std::fs::write(&path, text).unwrap();
            let told = place.run_at(&url, &["cache-cleanup", "--policy", &path]).ends_with(3);
            assert!(told.steps("ok").is_empty(), "{version}: {}", told.short());
            let unknown = told.findings("unknown");
            assert!(unknown.iter().any(|finding| finding["keys"] == 100), "{version}: {}", told.short());
            assert_eq!(place.keys().len(), 300, "{version}");
        }
    }
}

#[test]
fn without_dump_keys_in_use_are_left_out() {
    let place = filled(RedisVersion::V7_0);
    let url = place.user("u", &["~*", "+@all", "-dump"]);
    let path = place.policy(POLICY);
    let told = place.run_at(&url, &["cache-cleanup", "--policy", &path]).ends_with(3);
    assert!(told.steps("ok").is_empty());
    assert_eq!(told.findings("denied").len(), 1, "{}", told.short());
    let mut client = place.connect();
    super::make_idle(&mut client, &names("cache:", 0..60), 1000);
    let told = place.run_at(&url, &["cache-cleanup", "--policy", &path]).ends_with(3);
    assert_eq!(told.steps("ok"), names("cache:", 0..60), "{}", told.short());
}
