//! Each check with a server that is well beside one that is not.

use super::*;
use crate::info::Info;
use crate::monitor::{Client, Histogram, Slow};

const WELL: &str = "run_id:abc\r\nkeyspace_hits:100000\r\nkeyspace_misses:1000\r\nconnected_clients:10\r\nblocked_clients:0\r\n\
    maxclients:1000\r\nrejected_connections:0\r\nused_memory:500000000\r\nmaxmemory:1000000000\r\nmaxmemory_policy:noeviction\r\n\
    allocator_frag_ratio:1.05\r\nallocator_frag_bytes:1000\r\nevicted_keys:5\r\nexpired_keys:7\r\nexpired_stale_perc:0.10\r\n\
    role:master\r\nconnected_slaves:1\r\nmaster_repl_offset:1000\r\nslave0:ip=h,port=1,state=online,offset=900,lag=0\r\nsync_full:1\r\n\
    loading:0\r\nrdb_last_bgsave_status:ok\r\nrdb_last_save_time:999000\r\nrdb_changes_since_last_save:5\r\naof_enabled:0\r\n\
    cmdstat_get:calls=100,usec=100\r\ncmdstat_keys:calls=1,usec=5\r\nerrorstat_ERR:count=4\r\n";

pub(in crate::monitor) fn snapshot(at: f64, text: &str) -> Snapshot {
    let histogram = Histogram { up_to: [(1, 1000)].into() };
    Snapshot {
        address: "h:1".into(),
        at,
        info: Part::Known(Info::parse(text.as_bytes())),
        slow: Part::Known(vec![slow(1)]),
        clients: Part::Known(vec![Client { addr: "c:1".into(), ..Client::default() }]),
        histograms: Part::Known([("get".to_owned(), histogram)].into()),
        events: Part::Known([].into()),
        config: Part::Known([("save".to_owned(), "3600 1".to_owned())].into()),
        ping_seconds: 0.001,
        own_hits: 0,
        own_misses: 0,
    }
}

fn slow(id: u64) -> Slow {
    Slow { id, at: 1_000_000, micros: 20_000, command: "LRANGE q".into(), client: String::new() }
}

/// The status of a check after a look at a server that was well.
fn told(name: &str, after: &Snapshot) -> (Status, String) {
    let before = snapshot(1_000_000.0, WELL);
    let records = judge(Some(&before), after, &Limits::default());
    let record = records.iter().find(|record| record.subject == name).unwrap_or_else(|| panic!("no check {name}"));
    (record.status, record.message.clone())
}

fn status(name: &str, change: &[(&str, &str)]) -> Status {
    let text = change.iter().fold(WELL.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    told(name, &snapshot(1_000_060.0, &text)).0
}

#[test]
fn a_server_that_is_well_is_ok_in_every_check() {
    let before = snapshot(1_000_000.0, WELL);
    let records = judge(Some(&before), &snapshot(1_000_060.0, WELL), &Limits::default());
    assert!(records.len() >= 14, "{}", records.len());
    for record in records {
        assert_eq!(record.status, Status::Ok, "{}: {}", record.subject, record.message);
    }
}

#[test]
fn a_hit_rate_is_that_of_the_time_between_two_looks() {
    let low = [("keyspace_hits:100000", "keyspace_hits:109000"), ("keyspace_misses:1000", "keyspace_misses:2000")];
    assert_eq!(status("hit-rate", &low), Status::Warning);
    let high = [("keyspace_hits:100000", "keyspace_hits:109600"), ("keyspace_misses:1000", "keyspace_misses:1400")];
    assert_eq!(status("hit-rate", &high), Status::Ok);
    let lower = [("keyspace_hits:100000", "keyspace_hits:101000"), ("keyspace_misses:1000", "keyspace_misses:2000")];
    assert_eq!(status("hit-rate", &lower), Status::Critical);
    // Few lookups say nothing, however bad they look.
    assert_eq!(status("hit-rate", &[("keyspace_misses:1000", "keyspace_misses:1900")]), Status::Ok);
}

#[test]
fn our_own_hits_do_not_hide_a_bad_rate() {
    // 90 % over 10,000 lookups of others; a walk of ours added 190,000 hits.
    let text = WELL
        .replace("keyspace_hits:100000", "keyspace_hits:299000")
        .replace("keyspace_misses:1000", "keyspace_misses:2000");
    let mut after = snapshot(1_000_060.0, &text);
    assert_eq!(told("hit-rate", &after).0, Status::Ok);
    after.own_hits = 190_000;
    let (status, message) = told("hit-rate", &after);
    assert_eq!(status, Status::Warning);
    assert!(message.contains("90.0 %") && message.contains("10,000"), "{message}");
}

#[test]
fn counters_of_another_run_of_the_server_are_not_compared() {
    let text = WELL.replace("run_id:abc", "run_id:def").replace("keyspace_misses:1000", "keyspace_misses:900000");
    let (status, message) = told("hit-rate", &snapshot(1_000_060.0, &text));
    assert_eq!(status, Status::Ok);
    assert!(message.contains("no earlier look"), "{message}");
}

#[test]
fn slow_commands_show_in_the_window_alone() {
    let mut after = snapshot(1_000_060.0, WELL);
    let histogram = Histogram { up_to: [(1, 1000), (524_288, 1010)].into() };
    after.histograms = Part::Known([("get".to_owned(), histogram)].into());
    assert_eq!(told("latency", &after).0, Status::Warning);
    let blocking = Histogram { up_to: [(8_388_608, 10)].into() };
    let calm = Histogram { up_to: [(1, 2000)].into() };
    after.histograms = Part::Known([("get".to_owned(), calm), ("blpop".to_owned(), blocking)].into());
    assert_eq!(told("latency", &after).0, Status::Ok);
}

#[test]
fn only_new_entries_of_the_slow_log_count_and_lost_ones_are_told() {
    let mut after = snapshot(1_000_060.0, WELL);
    after.slow = Part::Known(vec![slow(2), slow(1)]);
    assert_eq!(told("slow-log", &after).0, Status::Warning);
    after.slow = Part::Known(vec![Slow { client: "redis-maint".into(), ..slow(2) }, slow(1)]);
    assert_eq!(told("slow-log", &after).0, Status::Ok);
    after.slow = Part::Known(vec![slow(500), slow(499)]);
    assert!(told("slow-log", &after).1.contains("497 more"), "{}", told("slow-log", &after).1);
}

#[test]
fn every_fault_is_found() {
    for (name, from, to, want) in [
        ("costly-commands", "cmdstat_keys:calls=1,usec=5", "cmdstat_keys:calls=2,usec=9", Status::Warning),
        ("errors", "errorstat_ERR:count=4\r\n", "errorstat_ERR:count=4\r\nerrorstat_OOM:count=1\r\n", Status::Critical),
        ("clients", "connected_clients:10", "connected_clients:750", Status::Warning),
        ("clients", "connected_clients:10", "connected_clients:950", Status::Critical),
        ("rejected-connections", "rejected_connections:0", "rejected_connections:1", Status::Critical),
        ("memory", "used_memory:500000000", "used_memory:850000000", Status::Warning),
        ("memory", "used_memory:500000000", "used_memory:950000000", Status::Critical),
        ("evictions", "evicted_keys:5", "evicted_keys:6", Status::Warning),
        ("expiry", "expired_stale_perc:0.10", "expired_stale_perc:40.0", Status::Warning),
        ("replication", "lag=0", "lag=30", Status::Warning),
        ("replication", "role:master", "role:slave\r\nmaster_link_status:down", Status::Critical),
        ("full-syncs", "sync_full:1", "sync_full:2", Status::Warning),
        ("persistence", "rdb_last_bgsave_status:ok", "rdb_last_bgsave_status:err", Status::Critical),
        ("persistence", "loading:0", "loading:1", Status::Critical),
        ("persistence", "rdb_last_save_time:999000", "rdb_last_save_time:900000", Status::Warning),
        ("append-only-file", "aof_enabled:0", "aof_enabled:1\r\naof_last_write_status:err", Status::Critical),
    ] {
        assert_eq!(status(name, &[(from, to)]), want, "{name}: {to}");
    }
    // A cache that is full and makes room is no emergency.
    let full = [("used_memory:500000000", "used_memory:990000000"), ("noeviction", "allkeys-lru")];
    assert_eq!(status("memory", &full), Status::Warning);
}

#[test]
fn what_may_not_be_asked_is_denied_and_what_a_version_lacks_is_not() {
    let mut after = snapshot(1_000_060.0, WELL);
    after.info = Part::Denied("the 'info' command".into());
    after.histograms = Part::Unsupported;
    assert_eq!(told("info", &after).0, Status::Denied);
    assert_eq!(told("latency", &after).0, Status::Ok);
    let records = judge(None, &after, &Limits::default());
    assert!(records.iter().all(|record| record.subject != "memory" && record.subject != "hit-rate"));
}

#[test]
fn output_buffers_name_the_client_that_does_not_read() {
    let mut after = snapshot(1_000_060.0, WELL);
    let client = Client { addr: "c:1".into(), name: "feed".into(), output: 100 << 20, ..Client::default() };
    after.clients = Part::Known(vec![client]);
    let (status, message) = told("output-buffers", &after);
    assert_eq!(status, Status::Warning);
    assert!(message.contains("feed"), "{message}");
}
