//! What holds a changing run back: its share, another run, the window, the clock, a signal, a server that forks.

use std::time::Duration;

use testbed::{Redis, RedisVersion, Signal, wait_until};

use super::{Keys, PATIENCE, Place, Told, names, set_all};

fn filled(cache: usize, user: usize) -> Place {
    let place = Place::new(RedisVersion::V7_0);
    let mut client = place.connect();
    set_all(&mut client, &names("cache:", 0..cache), "v");
    set_all(&mut client, &names("user:", 0..user), "v");
    place
}

const POLICY: &str = "[[rule]]\nmatch = \"cache:*\"\n";

#[test]
fn more_than_the_share_needs_a_yes() {
    let place = filled(60, 40);
    let told = place.cleanup(POLICY, &[]).ends_with(3);
    assert!(told.out.stderr.contains("60 of 100 keys") && told.out.stderr.contains("--yes"), "{}", told.out);
    assert_eq!(place.keys().len(), 100);
    // It is no wish to be asked for when only a plan is made, but it is said.
    let told = place.cleanup(POLICY, &["--dry-run"]).ends_with(1);
    assert_eq!(told.planned().len(), 60);
    // Half is not more than half, and a policy may say another share.
    let half = filled(50, 50);
    half.cleanup(POLICY, &[]).ends_with(0);
    let small = format!("{POLICY}[limits]\nmax_share = \"10%\"\n");
    let tenth = filled(11, 89);
    tenth.cleanup(&small, &[]).ends_with(3);
    assert_eq!(tenth.keys().len(), 100);
    place.cleanup(POLICY, &["--yes"]).ends_with(0);
    assert_eq!(place.keys(), names("user:", 0..40));
}

#[test]
fn a_policy_that_would_delete_every_key_is_refused_even_with_a_yes() {
    let place = filled(10, 10);
    for text in ["[[rule]]\nmatch = \"*\"\n", "[[rule]]\nmatch = \"**\"\nnot = \"a\"\n"] {
        place.cleanup(text, &["--yes"]).ends_with(3);
    }
    assert_eq!(place.keys().len(), 20);
}

/// A cleanup that takes some seconds.
fn slow_cleanup(place: &Place, more: &[&str]) -> (testbed::DelayingProxy, testbed::Running) {
    let path = place.policy(POLICY);
    let (proxy, url) = place.slowly(Duration::from_millis(40));
    let args = ["cache-cleanup", "--policy", &path, "--max-latency", "1s", "--yes"];
    let running = place.start_at(&url, &[&args, more].concat());
    (proxy, running)
}

fn wait_for_deletions(place: &Place, before: u64) {
    wait_until("keys are deleted", PATIENCE, || place.server.dbsize().unwrap() < before).unwrap();
}

#[test]
fn a_second_run_on_the_same_server_does_not_start() {
    let place = filled(1000, 10);
    let (proxy, first) = slow_cleanup(&place, &[]);
    wait_for_deletions(&place, 1010);
    let url = format!("redis://127.0.0.1:{}/0", proxy.port());
    let path = place.policy(POLICY);
    place.run_at(&url, &["cache-cleanup", "--policy", &path, "--yes"]).ends_with(75);
    let expire = place.dir().join("expire.toml");
    std::fs::write(&expire, "[[rule]]\nmatch = \"user:*\"\nttl = \"1h\"\n").unwrap();
    place.run_at(&url, &["expire-keys", "--policy", expire.to_str().unwrap()]).ends_with(75);
    // Looking, and planning, is always possible.
    place.run_at(&url, &["keys", "--match", "user:*"]).ends_with(0);
    place.run_at(&url, &["expire-keys", "--policy", expire.to_str().unwrap(), "--dry-run"]).ends_with(0);
    Told::of(first.finish(PATIENCE).unwrap()).ends_with(0);
    place.run_at(&url, &["cache-cleanup", "--policy", &path]).ends_with(0);
}

#[test]
fn outside_the_window_nothing_starts() {
    let place = filled(20, 40);
    let now = jiff_hour();
    let (closed, open) = (
        format!("{:02}:00-{:02}:00 UTC", (now + 5) % 24, (now + 7) % 24),
        format!("{:02}:00-{:02}:00 UTC", (now + 23) % 24, (now + 2) % 24),
    );
    let plan = place.cleanup(POLICY, &["--dry-run", "--window", &closed]).ends_with(0);
    assert_eq!(plan.planned().len(), 20, "a plan may be made at any time");
    place.cleanup(POLICY, &["--window", &closed]).ends_with(75);
    place.apply(&plan.out.stdout, &["--window", &closed]).ends_with(75);
    assert_eq!(place.keys().len(), 60);
    place.cleanup(POLICY, &["--window", &open]).ends_with(0);
    assert_eq!(place.keys(), names("user:", 0..40));
}

/// The hour of the day, UTC.
fn jiff_hour() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 3600 % 24
}

#[test]
fn when_the_time_is_up_the_rest_is_left_and_said() {
    let place = filled(6000, 10);
    let plan = place.cleanup(POLICY, &["--dry-run"]);
    let (_proxy, url) = place.slowly(Duration::from_millis(100));
    let mut tool = place.tool_at(&url, &["apply", "-", "--max-latency", "1s", "--yes", "--max-duration", "3s"]);
    let told = Told::of(testbed::run_fed(&mut tool, &plan.out.stdout).unwrap()).ends_with(1);
    let (done, left) = (told.steps("ok"), told.steps("left"));
    assert!(!done.is_empty() && !left.is_empty(), "{}", told.short());
    let mut all = done.clone();
    all.extend(left.iter().cloned());
    assert_eq!(all, names("cache:", 0..6000), "every step is told of");
    let there: Keys = place.keys().into_iter().filter(|key| key.starts_with(b"cache:")).collect();
    assert_eq!(there, left);
}

#[test]
fn an_interrupted_cleanup_tells_what_it_left() {
    let place = filled(1500, 10);
    let (_proxy, running) = slow_cleanup(&place, &[]);
    wait_for_deletions(&place, 1510);
    running.signal(Signal::INT);
    let told = Told::of(running.finish(PATIENCE).unwrap()).ends_with(130);
    let there: Keys = place.keys().into_iter().filter(|key| key.starts_with(b"cache:")).collect();
    assert_eq!(told.steps("left"), there, "{}", told.short());
    assert_eq!(told.steps("ok").len() + there.len(), 1500);
    assert!(!there.is_empty(), "it was done before the signal");
    place.cleanup(POLICY, &["--yes"]).ends_with(0);
    assert_eq!(place.keys(), names("user:", 0..10));
}

#[test]
fn a_signal_while_it_plans_changes_nothing() {
    let place = filled(5000, 10);
    let (_proxy, running) = slow_cleanup(&place, &[]);
    let scans = || place.server.info("commandstats").unwrap().contains_key("cmdstat_scan");
    wait_until("the walk is under way", PATIENCE, scans).unwrap();
    running.signal(Signal::INT);
    Told::of(running.finish(PATIENCE).unwrap()).ends_with(130);
    assert_eq!(place.keys().len(), 5010);
}

#[test]
fn deletions_wait_until_a_fork_has_ended() {
    super::at_once(&RedisVersion::ALL, |version| {
        let place = Place::of(Redis::builder(version).config("rdb-key-save-delay", "2000").start().unwrap());
        let mut client = place.connect();
        set_all(&mut client, &names("cache:", 0..400), "v");
        set_all(&mut client, &names("user:", 0..400), "v");
        client.call(&["BGSAVE"]).unwrap();
        let forks = || place.server.info("persistence").unwrap()["rdb_bgsave_in_progress"] == "1";
        assert!(forks());
        let path = place.policy(POLICY);
        let running = place.start_at(&place.server.url(), &["cache-cleanup", "--policy", &path]);
        let mut during = 800;
        // The last size seen before the fork was seen to go on.
        wait_until("the fork has ended", PATIENCE, || {
            let size = place.server.dbsize().unwrap();
            if forks() {
                during = size;
                return false;
            }
            true
        })
        .unwrap();
        assert_eq!(during, 800, "{version}: keys were deleted during the fork");
        let told = Told::of(running.finish(PATIENCE).unwrap()).ends_with(0);
        assert_eq!(told.steps("ok").len(), 400, "{version}");
    });
}

#[test]
fn a_fork_that_does_not_end_leaves_the_steps_and_says_why() {
    let place = Place::of(Redis::builder(RedisVersion::V7_0).config("rdb-key-save-delay", "200000").start().unwrap());
    let mut client = place.connect();
    set_all(&mut client, &names("cache:", 0..100), "v");
    set_all(&mut client, &names("user:", 0..200), "v");
    std::fs::write(place.dir().join("maint.toml"), "[redis-maint]\nwait = \"500ms\"\n").unwrap();
    client.call(&["BGSAVE"]).unwrap();
    let told = place.cleanup(POLICY, &[]).ends_with(1);
    assert_eq!(told.steps("left").len(), 100, "{}", told.short());
    assert!(told.out.stdout.contains("written by a fork"));
    assert_eq!(place.keys().len(), 300);
}
