//! A cluster: the keys of all nodes or none at all, and a failover in the middle.

use std::path::Path;

use testbed::{Redis, RedisCluster, RedisVersion, run, start, wait_until};

use super::{Keys, PATIENCE, Told, keys_of, maint, names};

/// Writes the keys to the primaries that serve them, as a cluster of three has the slots at first.
fn set_in(cluster: &RedisCluster, keys: &Keys, value: &str) {
    let mut slots = Vec::new();
    let mut ask = cluster.nodes()[0].connect().unwrap();
    let commands = keys.iter().map(|key| [&b"CLUSTER"[..], b"KEYSLOT", key]);
    ask.pipeline(commands, |reply| slots.push(usize::try_from(reply.int().unwrap()).unwrap())).unwrap();
    for (index, node) in cluster.nodes().iter().take(3).enumerate() {
        let own = index * 16_384 / 3..(index + 1) * 16_384 / 3;
        let here = keys.iter().zip(&slots).filter(|(_, slot)| own.contains(slot)).map(|(key, _)| key);
        super::set_all(&mut node.connect().unwrap(), here, value);
    }
}

/// What all primaries hold together.
fn keys_in(cluster: &RedisCluster) -> Keys {
    cluster.nodes().iter().filter(|node| is_primary(node)).flat_map(keys_of).collect()
}

fn is_primary(node: &Redis) -> bool {
    node.pid().is_some() && node.call(&["ROLE"]).unwrap().array()[0].text() == "master"
}

fn told(state: &Path, url: &str, args: &[&str]) -> Told {
    Told::of(run(&mut maint(state, url, args)).unwrap())
}

fn policy(state: &Path) -> String {
    let path = state.join("policy.toml");
    std::fs::write(&path, "[[rule]]\nmatch = [\"cache:*\", \"{*}:cache\"]\n").unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_keys_of_all_nodes_come_once_and_are_cleaned_up_on_all() {
    super::at_once(&[RedisVersion::V6_2, RedisVersion::Valkey9], |version| {
        let cluster = RedisCluster::start(version, 3, 0).unwrap();
        let state = tempfile::tempdir().unwrap();
        let tagged: Keys = (0..60).map(|number| format!("{{user:{number}}}:cache").into_bytes()).collect();
        let (cache, user) = (names("cache:", 0..300), names("user:", 0..600));
        let all: Keys = cache.iter().chain(&user).chain(&tagged).cloned().collect();
        set_in(&cluster, &all, "v");
        let urls = cluster.urls();
        for args in [&["keys"][..], &["keys", "--cluster"]] {
            let told = told(state.path(), &urls[1], args).ends_with(0);
            assert_eq!(told.listed().len(), all.len(), "{version}");
            assert_eq!(told.listed().into_iter().collect::<Keys>(), all, "{version}");
        }
        // Several seeds, of which the first is not there.
        let seeds = format!("redis://127.0.0.1:1,127.0.0.1:{}/0", cluster.nodes()[2].port());
        assert_eq!(told(state.path(), &seeds, &["keys", "--cluster"]).ends_with(0).listed().len(), all.len());
        let args = ["cache-cleanup", "--policy", &policy(state.path())];
        let done = told(state.path(), &urls[0], &args).ends_with(0);
        assert_eq!(done.steps("ok"), cache.union(&tagged).cloned().collect(), "{version}: {}", done.short());
        assert_eq!(keys_in(&cluster), user, "{version}");

        // A part of the keyspace that nobody serves: half of the truth is none.
        for node in cluster.nodes() {
            let _ = node.call(&["CLUSTER", "DELSLOTS", "16000"]);
        }
        set_in(&cluster, &names("cache:", 0..0), "v");
        let refused = told(state.path(), &urls[2], &["keys"]).ends_with(2);
        assert!(refused.listed().is_empty(), "{version}: {}", refused.short());
        told(state.path(), &urls[2], &args).ends_with(2);
        assert_eq!(keys_in(&cluster), user, "{version}");
    });
}

#[test]
fn a_node_that_is_down_ends_the_run_before_anything_is_deleted() {
    let cluster = RedisCluster::start(RedisVersion::V7_0, 3, 0).unwrap();
    let state = tempfile::tempdir().unwrap();
    let all: Keys = names("cache:", 0..100).union(&names("user:", 0..200)).cloned().collect();
    set_in(&cluster, &all, "v");
    let before = keys_of(&cluster.nodes()[0]);
    cluster.nodes()[1].kill9().unwrap();
    for args in [&["keys"][..], &["cache-cleanup", "--policy", &policy(state.path())]] {
        let told = told(state.path(), &cluster.urls()[0], args).ends_with(2);
        assert!(told.listed().is_empty() && told.steps("ok").is_empty());
    }
    assert_eq!(keys_of(&cluster.nodes()[0]), before);
}

#[test]
fn a_failover_in_the_middle_of_a_cleanup_loses_nothing_and_leaves_nothing() {
    let cluster = RedisCluster::start(RedisVersion::V8_2, 3, 1).unwrap();
    let state = tempfile::tempdir().unwrap();
    let (cache, user) = (names("cache:", 0..6000), names("user:", 0..6100));
    set_in(&cluster, &cache.union(&user).cloned().collect(), "v");
    let args = ["cache-cleanup", "--policy", &policy(state.path()), "--max-latency", "1us"];
    let running = start(&mut maint(state.path(), &cluster.urls()[1], &args)).unwrap();
    let size = || keys_in(&cluster).len();
    wait_until("keys are deleted", PATIENCE, || size() < 12_100).unwrap();
    assert!(size() > 6100, "it was done before the failover");
    // The replica of the first primary takes over, in good order.
    cluster.failover(3).unwrap();
    let told = Told::of(running.finish(PATIENCE).unwrap()).ends_with(0);
    assert_eq!(keys_in(&cluster), user, "{}", told.short());
    assert_eq!(told.steps("ok").len() + told.steps("gone").len(), 6000, "{}", told.short());
}

#[test]
fn replicas_of_a_cluster_are_read_from_when_that_is_asked_for() {
    let cluster = RedisCluster::start(RedisVersion::V7_0, 3, 1).unwrap();
    let state = tempfile::tempdir().unwrap();
    let all = names("k:", 0..500);
    set_in(&cluster, &all, "v");
    for replica in &cluster.nodes()[3..] {
        wait_until("the replica has them", PATIENCE, || replica.dbsize().unwrap() > 100).unwrap();
    }
    let scans = |node: &Redis| node.info("commandstats").unwrap().contains_key("cmdstat_scan");
    let told = told(state.path(), &cluster.urls()[0], &["keys", "--replica", "--with", "type"]).ends_with(0);
    assert_eq!(told.listed().into_iter().collect::<Keys>(), all);
    // A user whom the servers do not tell what they are sees the same.
    for node in cluster.nodes() {
        node.call(&["ACL", "SETUSER", "u", "on", ">secret", "~*", "+@all", "-info"]).unwrap();
    }
    let url = format!("redis://u:secret@127.0.0.1:{}/0", cluster.nodes()[1].port());
    let blind = Told::of(run(&mut maint(state.path(), &url, &["keys", "--cluster", "--replica"])).unwrap());
    assert_eq!(blind.ends_with(0).listed().into_iter().collect::<Keys>(), all);
    let read: Vec<bool> = cluster.nodes().iter().map(scans).collect();
    assert_eq!(read, [false, false, false, true, true, true]);
}
