//! How the server is reached and as whom, and what a user that may not do everything is told.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use testbed::{Redis, RedisVersion, run};

use super::{Keys, Place, Told, maint, names, set_all};

#[test]
fn a_server_that_is_down_is_critical_and_a_record_says_so() {
    let place = Place::new(RedisVersion::V7_0);
    let url = place.server.url();
    place.server.kill9().unwrap();
    for args in [&["keys"][..], &["cache-cleanup", "--policy", &place.policy("[[rule]]\nmatch = \"a:*\"\n")]] {
        let told = place.run_at(&url, args).ends_with(2);
        let critical = told.events.iter().find(|event| event["type"] == "maint.check.v1").unwrap();
        assert_eq!(critical["data"]["status"], "critical");
        assert!(told.out.stderr.contains("127.0.0.1") && told.out.stderr.contains("to do:"), "{}", told.out);
    }
}

#[test]
fn what_is_no_address_or_no_such_output_is_a_usage_error() {
    let place = Place::new(RedisVersion::V7_0);
    for url in ["http://127.0.0.1/0", "rdeis://127.0.0.1", "127.0.0.1:6379", "redis://127.0.0.1/-1", "redis://h/x", ""]
    {
        let out = run(&mut maint(place.dir(), "", &["keys", "--url", url])).unwrap();
        assert_eq!(out.code, 3, "{url}: {out}");
        assert!(!out.stderr.is_empty(), "{url}");
    }
    for format in ["prometheus", "nagios"] {
        let mut command = testbed::tool("redis-maint", place.dir()).unwrap();
        let out = run(command.env("REDIS_URL", place.server.url()).args(["keys", "-o", format])).unwrap();
        assert_eq!(out.code, 3, "{out}");
        assert!(out.stderr.contains("table, ndjson or json"), "{out}");
    }
}

#[test]
fn a_wrong_password_is_refused_without_being_shown() {
    const WRONG: &str = "Tr0ub4dor-horse";
    let place = Place::of(Redis::builder(RedisVersion::V8_2).password("right").start().unwrap());
    let port = place.server.port();
    assert_eq!(place.run(&["keys"]).code(), 0);
    let with_name = format!("redis://nobody:{WRONG}@127.0.0.1:{port}/0");
    let urls = [format!("redis://:{WRONG}@127.0.0.1:{port}/0"), with_name, format!("http://:{WRONG}@127.0.0.1:{port}")];
    for url in &urls {
        let mut by_flag = maint(place.dir(), "", &["keys", "-vvv", "--url", url]);
        for command in [&mut by_flag, &mut place.tool_at(url, &["keys", "-vvv"])] {
            let out = run(command).unwrap();
            assert_eq!(out.code, 3, "{out}");
            assert!(!format!("{out}").contains("Tr0ub4dor") && !format!("{out}").contains("horse"), "{out}");
        }
    }
    let bare = format!("redis://127.0.0.1:{port}/0");
    let told = place.run_at(&bare, &["keys"]).ends_with(3);
    assert!(told.out.stderr.contains("REDISCLI_AUTH"), "it says where a password goes: {}", told.out);
    let file = place.dir().join("password");
    fs::write(&file, "right\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    for (name, value) in [("REDISCLI_AUTH", "right"), ("REDIS_PASSWORD_FILE", file.to_str().unwrap())] {
        let out = run(place.tool_at(&bare, &["keys"]).env(name, value)).unwrap();
        assert_eq!(out.code, 0, "{name}: {out}");
    }
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let place = Place::new(RedisVersion::V7_0);
    set_all(&mut place.connect(), &names("k:", 0..5), "v");
    let (good, bad) = (place.server.url(), "redis://127.0.0.1:1/0");
    let told = place.run_at(bad, &["keys", "--url", &good]).ends_with(0);
    assert_eq!(told.listed().len(), 5);
    place.run_at(&good, &["keys", "--url", bad]).ends_with(2);
    let config = place.dir().join("maint.toml");
    fs::write(&config, format!("[redis-maint]\nurl = \"{good}\"\n")).unwrap();
    let mut by_file = place.tool(&["keys"]);
    assert_eq!(run(by_file.env_remove("REDIS_URL")).unwrap().code, 0);
    place.run_at(bad, &["keys"]).ends_with(2);
}

#[test]
fn a_unix_socket_serves_as_well() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        set_all(&mut place.connect(), &names("k:", 0..50), "v");
        let url = format!("unix://{}", place.server.socket().display());
        assert_eq!(place.run_at(&url, &["keys"]).ends_with(0).listed().len(), 50, "{version}");
        let policy = place.policy("[[rule]]\nmatch = \"k:1*\"\n");
        let told = place.run_at(&url, &["cache-cleanup", "--policy", &policy]).ends_with(0);
        assert_eq!(told.steps("ok").len(), 11, "{version}");
    }
}

#[test]
fn a_certificate_is_checked_against_the_authority_that_is_given() {
    let place = Place::of(Redis::builder(RedisVersion::V7_0).tls().start().unwrap());
    set_all(&mut place.connect(), &names("k:", 0..50), "v");
    let tls = place.server.tls().unwrap();
    let ca = tls.ca.to_str().unwrap();
    let told = place.run_at(&tls.url(), &["keys", "--tls-ca", ca]).ends_with(0);
    assert_eq!(told.listed().len(), 50);
    let by_variable = run(place.tool_at(&tls.url(), &["keys"]).env("REDIS_TLS_CA", ca)).unwrap();
    assert_eq!(by_variable.code, 0, "{by_variable}");
    let unknown = place.run_at(&tls.url(), &["keys"]).ends_with(2);
    assert!(unknown.out.stderr.to_lowercase().contains("certificate"), "{}", unknown.out);
    let insecure = place.run_at(&format!("{}#insecure", tls.url()), &["keys"]).ends_with(3);
    assert!(insecure.out.stderr.contains("tls_ca"), "{}", insecure.out);
    let missing = place.run_at(&tls.url(), &["keys", "--tls-ca", "/no/such/ca.pem"]).ends_with(3);
    assert!(missing.out.stderr.contains("/no/such/ca.pem"), "{}", missing.out);
}

fn listed(told: &Told) -> Keys {
    told.listed().into_iter().collect()
}

#[test]
fn a_user_who_may_not_ask_for_memory_gets_names_and_is_told_what_is_missing() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        set_all(&mut place.connect(), &names("k:", 0..300), "v");
        let url = place.user("blind", &["~*", "+@all", "-memory"]);
        let told = place.run_at(&url, &["keys"]).ends_with(3);
        assert_eq!(listed(&told), names("k:", 0..300), "{version}");
        let findings = told.findings("denied");
        assert_eq!(findings.len(), 1, "{version}: {}", told.short());
        assert!(findings[0]["message"].as_str().unwrap().contains("MEMORY USAGE"), "{version}");
        // Names alone need no such right.
        place.run_at(&url, &["keys", "--names"]).ends_with(0);
    }
}

#[test]
fn keys_that_the_user_may_not_read_are_told_and_not_guessed() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        let mut client = place.connect();
        set_all(&mut client, &names("cache:", 0..200), "v");
        set_all(&mut client, &names("secret:", 0..100), "v");
        let url = place.user("cache", &["~cache:*", "+@all"]);
        let told = place.run_at(&url, &["keys"]).ends_with(3);
        let findings = told.findings("denied");
        assert_eq!(findings.len(), 1, "{version}: {}", told.short());
        assert_eq!(findings[0]["denied"], 100, "{version}");
        let measured = told.key_records().filter(|event| event["data"]["memory_bytes"].is_u64());
        assert_eq!(measured.map(super::key_of).collect::<Keys>(), names("cache:", 0..200), "{version}");
        // Within its own part the user sees everything.
        let own = place.run_at(&url, &["keys", "--match", "cache:*"]).ends_with(0);
        assert_eq!(listed(&own), names("cache:", 0..200), "{version}");
    }
}

#[test]
fn a_user_without_info_reads_and_cleans_all_the_same() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        set_all(&mut place.connect(), &names("k:", 0..300), "v");
        let url = place.user("plain", &["~*", "+@all", "-info"]);
        assert_eq!(place.run_at(&url, &["keys"]).ends_with(0).listed().len(), 300, "{version}");
        let policy = place.policy("[[rule]]\nmatch = \"k:1*\"\n");
        let told = place.run_at(&url, &["cache-cleanup", "--policy", &policy]);
        assert_eq!(told.steps("ok").len(), 111, "{version}: {}", told.short());
        // That nobody looked after forks and replicas is said.
        assert_eq!(told.findings("denied").len(), 1, "{version}: {}", told.short());
    }
}

#[test]
fn a_user_who_may_not_list_names_is_refused() {
    let place = Place::new(RedisVersion::V7_0);
    let url = place.user("nobody", &["~*", "+@all", "-scan"]);
    let told = place.run_at(&url, &["keys"]).ends_with(3);
    assert!(told.out.stderr.contains("scan"), "{}", told.out);
}
