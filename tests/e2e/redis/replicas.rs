//! Replicas: read from where it was asked for, and never written to.

use testbed::{Redis, RedisVersion};

use super::{Place, names, set_all};

fn calls(server: &Redis, command: &str) -> u64 {
    let stats = server.info("commandstats").unwrap();
    let line = stats.get(&format!("cmdstat_{command}"));
    line.map_or(0, |line| line.split([',', '=']).nth(1).unwrap().parse().unwrap())
}

#[test]
fn a_replica_is_read_from_and_not_written_to() {
    for version in RedisVersion::ALL {
        let primary = Place::new(version);
        let replica = Place::new(version);
        let mut client = primary.connect();
        set_all(&mut client, &names("cache:", 0..200), "v");
        set_all(&mut client, &names("user:", 0..200), "v");
        replica.server.replica_of(&primary.server).unwrap();
        assert_eq!(replica.run(&["keys"]).ends_with(0).listed().len(), 400, "{version}");
        let policy = "[[rule]]\nmatch = \"cache:*\"\n";
        let told = replica.cleanup(policy, &[]).ends_with(3);
        assert!(told.out.stderr.contains("read-only replica"), "{version}: {}", told.out);
        let plan = replica.cleanup(policy, &["--dry-run"]).ends_with(0);
        replica.apply(&plan.out.stdout, &[]).ends_with(3);
        assert_eq!(primary.keys().len(), 400, "{version}");
        // The same plan is as good on the primary: its replica holds the same keys, and knows whose they are.
        let told = primary.apply(&plan.out.stdout, &[]);
        // Where values are allocated by the C library's malloc, the same one may take a few bytes more elsewhere.
        let (done, kept) = (told.steps("ok").len(), told.steps("skipped").len());
        assert_eq!(done + kept, 200, "{version}: {}", told.short());
        assert!(kept == 0 || version == RedisVersion::Valkey9, "{version}: {}", told.short());
    }
}

#[test]
fn keys_are_read_from_the_replica_when_that_is_asked_for() {
    let primary = Place::new(RedisVersion::V7_0);
    let told = primary.run(&["keys", "--replica"]).ends_with(3);
    assert!(told.out.stderr.contains("no replica"), "{}", told.out);
    let replica = Redis::start(RedisVersion::V7_0).unwrap();
    set_all(&mut primary.connect(), &names("k:", 0..500), "v");
    replica.replica_of(&primary.server).unwrap();
    testbed::wait_until("the replica is told of as online", super::PATIENCE, || {
        let info = primary.server.info("replication").unwrap();
        info.get("slave0").is_some_and(|line| line.contains("state=online"))
    })
    .unwrap();
    let before = calls(&primary.server, "scan");
    let told = primary.run(&["keys", "--replica"]).ends_with(0);
    assert_eq!(told.listed().len(), 500);
    assert!(calls(&replica, "scan") > 0 && calls(&primary.server, "scan") == before);
    let told = primary.run(&["keys"]).ends_with(0);
    assert_eq!(told.listed().len(), 500);
    assert!(calls(&primary.server, "scan") > before);
}
