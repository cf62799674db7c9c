use std::io::Read;

use super::*;
use crate::entry::KeyType;

/// What was stored in every server, with the lengths it had there.
const STORED: &[(u32, &str, &str, u64)] = &[
    (0, "string:raw", "string", 58),
    (0, "string:embstr", "string", 5),
    (0, "string:int", "string", 5),
    (0, "string:negative", "string", 2),
    (0, "string:big", "string", 16),
    (0, "string:lzf", "string", 600),
    (0, "bin:%FF%00%01N%0A", "string", 1),
    (0, "string:ttl", "string", 1),
    (0, "string:empty", "string", 0),
    (0, "hash:small", "hash", 5),
    (0, "hash:big", "hash", 2),
    (0, "hash:zip", "hash", 60),
    (0, "set:int", "set", 3),
    (0, "set:str", "set", 20),
    (0, "set:large", "set", 2),
    (0, "zset:small", "zset", 3),
    (0, "zset:large", "zset", 2),
    (0, "list:small", "list", 5),
    (0, "list:large", "list", 60),
    (0, "stream:a", "stream", 29),
    (3, "other:db", "string", 1),
];

const SERVERS: [&str; 5] = ["redis-6.2.5", "redis-7.0.15", "redis-7.4.1", "redis-8.2.3", "valkey-9.1.2"];

fn find<'a>(entries: &'a [Entry], name: &str) -> &'a Entry {
    entries.iter().find(|entry| entry.key == name.as_bytes()).unwrap_or_else(|| panic!("{name} is missing"))
}

#[test]
fn every_server_tells_of_what_was_stored_in_it() {
    for server in SERVERS {
        let (entries, summary) = scan(snapshot(server), None).unwrap();
        let mut seen: Vec<_> = entries
            .iter()
            .filter(|entry| !entry.key.starts_with(b"hash:fieldttl"))
            .map(|entry| (entry.db, key::subject(&entry.key), entry.kind.clone().unwrap(), entry.length.unwrap()))
            .collect();
        seen.sort();
        let mut stored: Vec<_> = STORED
            .iter()
            .map(|(db, name, kind, length)| (*db, (*name).to_owned(), KeyType::parse(kind), *length))
            .collect();
        stored.sort();
        assert_eq!(seen, stored, "{server}");
        assert_eq!(summary.checksum, Checksum::Verified, "{server}");
        assert_eq!(summary.keys, entries.len() as u64, "{server}");
        assert_eq!(summary.databases.keys().copied().collect::<Vec<_>>(), [0, 3], "{server}");
        assert_eq!(summary.databases[&0].keys_hint, Some(summary.databases[&0].keys), "{server}");
        assert_eq!((summary.expiring, summary.databases[&0].expiring_hint), (1, Some(1)), "{server}");
        assert_eq!(summary.bytes_read, snapshot(server).len() as u64, "{server}");
        assert!(matches!(find(&entries, "string:ttl").expiry, Some(Expiry::At(_))), "{server}");
        assert_eq!(find(&entries, "string:raw").expiry, Some(Expiry::Never), "{server}");
    }
}

#[test]
fn encodings_are_those_that_the_servers_named() {
    let expected = [
        ("string:raw", "raw", "raw", "raw"),
        ("string:embstr", "embstr", "embstr", "embstr"),
        ("string:big", "int", "int", "int"),
        ("hash:small", "listpack", "listpack", "listpack"),
        ("hash:big", "hashtable", "hashtable", "hashtable"),
        ("set:int", "intset", "intset", "intset"),
        ("set:str", "hashtable", "listpack", "listpack"),
        ("set:large", "hashtable", "hashtable", "hashtable"),
        ("zset:small", "listpack", "listpack", "listpack"),
        ("zset:large", "skiplist", "skiplist", "skiplist"),
        ("list:small", "quicklist", "listpack", "listpack"),
        ("list:large", "quicklist", "quicklist", "quicklist"),
        ("stream:a", "stream", "stream", "stream"),
    ];
    for (name, old, middle, new) in expected {
        for (server, encoding) in [("redis-7.0.15", old), ("redis-7.4.1", middle), ("redis-8.2.3", new)] {
            let (entries, _) = scan(snapshot(server), None).unwrap();
            assert_eq!(find(&entries, name).encoding.as_deref(), Some(encoding), "{server} {name}");
        }
    }
}

#[test]
fn functions_field_expiries_and_the_writer_are_told() {
    for (server, producer, version, functions, fields) in [
        ("redis-6.2.5", Producer::Redis, 9, 0, 0),
        ("redis-7.0.15", Producer::Redis, 10, 1, 0),
        ("redis-7.4.1", Producer::Redis, 12, 1, 3),
        ("redis-8.2.3", Producer::Redis, 12, 1, 3),
        ("valkey-9.1.2", Producer::Valkey, 80, 1, 3),
    ] {
        let (_, summary) = scan(snapshot(server), None).unwrap();
        assert_eq!((summary.producer, summary.version), (producer, version), "{server}");
        assert_eq!((summary.functions, summary.expiring_fields), (functions, fields), "{server}");
        let written = server.split('-').next_back().unwrap();
        assert!(summary.auxiliaries.iter().any(|field| field.value == written), "{server}");
        assert!(summary.written.is_some(), "{server}");
    }
}

#[test]
fn modules_are_passed_over_and_named() {
    let (entries, summary) = scan(snapshot("modules"), None).unwrap();
    assert_eq!(find(&entries, "json").kind, Some(KeyType::Module("ReJSON-RL".to_owned())));
    assert_eq!(find(&entries, "bloom").kind, Some(KeyType::Module("MBbloom--".to_owned())));
    assert_eq!((find(&entries, "json").bytes, find(&entries, "json").length), (None, None));
    assert_eq!(find(&entries, "after").encoding.as_deref(), Some("int"));
    assert_eq!(summary.checksum, Checksum::Verified);
}

#[test]
fn a_checksum_that_was_never_written_is_told() {
    assert_eq!(scan(snapshot("no-checksum"), None).unwrap().1.checksum, Checksum::Disabled);
}

#[test]
fn idle_time_and_frequency_reach_the_entry() {
    let (entries, _) = scan(snapshot("lru"), None).unwrap();
    assert!((2..60).contains(&find(&entries, "old").idle_seconds.unwrap()));
    assert_eq!(find(&entries, "old").frequency, None);
    let (entries, _) = scan(snapshot("lfu"), None).unwrap();
    assert!(find(&entries, "hot").frequency.unwrap() > 5);
    assert_eq!(find(&entries, "hot").idle_seconds, None);
}

#[test]
fn expired_keys_are_yielded_and_counted_apart() {
    let (entries, summary) = scan(snapshot("expired"), None).unwrap();
    assert_eq!((entries.len(), summary.keys, summary.expiring, summary.expired), (3, 3, 2, 1));
    assert_eq!(summary.databases[&0].expired, 1);
    let scan_at = |now| {
        let mut scanner = Scanner::open(snapshot("expired"), None).unwrap().judged_at(now);
        while scanner.next_key().unwrap().is_some() {}
        scanner.summary().expired
    };
    assert_eq!((scan_at(Timestamp::UNIX_EPOCH), scan_at(Timestamp::MAX)), (0, 2));
}

#[test]
fn an_empty_snapshot_has_no_keys() {
    let (entries, summary) = scan(snapshot("empty"), None).unwrap();
    assert!(entries.is_empty() && summary.databases.is_empty());
    assert_eq!(summary.checksum, Checksum::Verified);
}

/// Hands out one byte at a time, and is interrupted before each.
struct Trickle<'a>(&'a [u8], bool);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.0.read(buffer.get_mut(..1).unwrap_or_default())
    }
}

#[test]
fn how_the_bytes_arrive_makes_no_difference() {
    for (name, bytes) in CORPUS {
        let mut scanner = Scanner::open(Trickle(bytes, false), None).unwrap();
        let mut entries = Vec::new();
        while let Some(entry) = scanner.next_key().unwrap() {
            entries.push(entry);
        }
        assert_eq!((entries, scanner.summary().clone()), scan(bytes, None).unwrap(), "{name}");
    }
}

#[test]
fn bytes_behind_the_end_are_counted() {
    let bytes = [snapshot("redis-7.0.15"), b"*1\r\n$4\r\nPING\r\n"].concat();
    let (_, summary) = scan(&bytes, None).unwrap();
    assert_eq!((summary.checksum, summary.trailing_bytes), (Checksum::Verified, 14));
}

#[test]
fn the_same_key_takes_less_with_finer_steps() {
    let sized = |allocator| {
        let mut scanner = Scanner::open(snapshot("redis-7.0.15"), None).unwrap().with_allocator(allocator);
        let mut sum = 0;
        while let Some(entry) = scanner.next_key().unwrap() {
            sum += entry.bytes.unwrap();
        }
        sum
    };
    assert!(sized(Allocator::Bundled) < sized(Allocator::System));
}

/// Skip lists have levels by chance and streams groups, the rest is known to the byte.
#[test]
fn sizes_are_what_the_servers_said_after_loading() {
    let told = include_str!("../../../corpus/rdb/sizes.tsv");
    let mut compared = 0;
    for (column, server) in [(1, "redis-7.0.15"), (2, "redis-7.4.1"), (3, "redis-8.2.3")] {
        let (entries, _) = scan(snapshot(server), None).unwrap();
        for line in told.lines().skip(1) {
            let fields: Vec<_> = line.split('\t').collect();
            let told: u64 = fields[column].parse().unwrap();
            let entry = find(&entries, fields[0]);
            let allowed = if entry.encoding.as_deref() == Some("skiplist") { told / 20 } else { 0 };
            let found = entry.bytes.unwrap();
            assert!(found.abs_diff(told) <= allowed, "{server} {}: {found}, told {told}", fields[0]);
            compared += 1;
        }
    }
    assert_eq!(compared, 3 * 19);
}
