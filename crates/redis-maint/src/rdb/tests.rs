//! Promises of the scanner as a whole: over snapshots of real servers, over formats put together by hand, and over both
//! with damage done to them.

mod corpus;
mod damage;
mod formats;

use super::*;
use crate::key;

use std::io;

use crc_fast::{CrcAlgorithm, checksum};

/// The snapshots in `corpus/rdb` by name; `README.md` there tells how each was made.
const CORPUS: &[(&str, &[u8])] = &[
    ("redis-6.2.5", include_bytes!("../../corpus/rdb/redis-6.2.5.rdb")),
    ("redis-7.0.15", include_bytes!("../../corpus/rdb/redis-7.0.15.rdb")),
    ("redis-7.4.1", include_bytes!("../../corpus/rdb/redis-7.4.1.rdb")),
    ("redis-8.2.3", include_bytes!("../../corpus/rdb/redis-8.2.3.rdb")),
    ("valkey-9.1.2", include_bytes!("../../corpus/rdb/valkey-9.1.2.rdb")),
    ("modules", include_bytes!("../../corpus/rdb/modules.rdb")),
    ("no-checksum", include_bytes!("../../corpus/rdb/no-checksum.rdb")),
    ("lfu", include_bytes!("../../corpus/rdb/lfu.rdb")),
    ("lru", include_bytes!("../../corpus/rdb/lru.rdb")),
    ("expired", include_bytes!("../../corpus/rdb/expired.rdb")),
    ("empty", include_bytes!("../../corpus/rdb/empty.rdb")),
];

fn snapshot(name: &str) -> &'static [u8] {
    CORPUS.iter().find(|(other, _)| *other == name).unwrap().1
}

/// Scans to the end.
fn scan(bytes: &[u8], total: Option<u64>) -> Result<(Vec<Entry>, Summary), RdbError> {
    let mut scanner = Scanner::open(bytes, total)?;
    let mut entries = Vec::new();
    while let Some(entry) = scanner.next_key()? {
        entries.push(entry);
    }
    Ok((entries, scanner.summary().clone()))
}

/// The end mark and the right checksum.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.push(255);
    let sum = checksum(CrcAlgorithm::Crc64Redis, &bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

/// A snapshot of Redis format `version` with this body.
fn redis(version: u32, body: &[u8]) -> Vec<u8> {
    sealed([format!("REDIS{version:04}").as_bytes(), body].concat())
}

/// A snapshot of Valkey 9 with this body.
fn valkey(body: &[u8]) -> Vec<u8> {
    sealed([b"VALKEY080", body].concat())
}

fn length(value: u64) -> Vec<u8> {
    match value {
        0..64 => vec![value as u8],
        64..16_384 => ((value as u16) | 0x4000).to_be_bytes().to_vec(),
        16_384..=0xFFFF_FFFF => [&[0x80][..], &(value as u32).to_be_bytes()].concat(),
        _ => [&[0x81][..], &value.to_be_bytes()].concat(),
    }
}

fn string(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [length(bytes.as_ref().len() as u64), bytes.as_ref().to_vec()].concat()
}

/// A key of this type with this value.
fn pair(code: u8, name: &str, value: &[u8]) -> Vec<u8> {
    [&[code][..], &string(name), value].concat()
}

/// The one key of a snapshot.
fn only(bytes: &[u8]) -> Entry {
    let (mut entries, summary) = scan(bytes, Some(bytes.len() as u64)).unwrap();
    assert_eq!((entries.len(), summary.keys), (1, 1));
    entries.pop().unwrap()
}

/// The complaint about a snapshot.
fn complaint(bytes: &[u8]) -> RdbError {
    scan(bytes, Some(bytes.len() as u64)).expect_err("a complaint")
}
