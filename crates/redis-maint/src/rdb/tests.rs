//! Files written by hand for what no server writes any more; those of real servers are in the corpus.

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// A file of this version around `body`, with its checksum.
fn file(header: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = [header.as_bytes(), body, &[255]].concat();
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, &bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

fn read(bytes: &[u8]) -> Result<(Vec<Entry>, Summary), RdbError> {
    let mut scanner = Scanner::open(bytes, Some(bytes.len() as u64), now())?;
    let mut entries = Vec::new();
    while let Some(entry) = scanner.next_key()? {
        entries.push(entry);
    }
    Ok((entries, scanner.summary().clone()))
}

fn text(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn corpus() -> Vec<(String, Vec<u8>)> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/rdb");
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "rdb"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    assert!(files.len() >= 4, "the corpus is there");
    files
}

#[test]
fn strings_numbers_and_times_of_every_kind_are_read() {
    let mut body = vec![250];
    body.extend([text("redis-ver"), text("7.0.15")].concat());
    body.extend([254, 3, 251, 2, 1]);
    body.extend([252]);
    body.extend(1_767_225_601_000i64.to_le_bytes());
    body.extend([248, 10, 0]);
    body.extend([text("a"), text("hello")].concat());
    body.extend([249, 77, 0]);
    body.extend(text("n"));
    body.extend([0xC1, 0x39, 0x30]);
    let (entries, summary) = read(&file("REDIS0009", &body)).unwrap();
    assert_eq!(summary.checksum, Checksum::Verified);
    assert_eq!(summary.aux, [("redis-ver".to_owned(), "7.0.15".to_owned())]);
    assert_eq!((entries[0].db, entries[0].length, entries[0].idle_seconds), (3, Some(5), Some(10)));
    assert_eq!(entries[0].expiry, Some(Expiry::At("2026-01-01T00:00:01Z".parse().unwrap())));
    assert_eq!((entries[1].length, entries[1].frequency), (Some(5), Some(77)));
    assert_eq!(entries[1].encoding.as_deref(), Some("int"));
    assert_eq!(entries[1].expiry, Some(Expiry::Never));
}

#[test]
fn old_forms_are_read() {
    // A list, a set, a sorted set with scores as text, and a hash, as versions 1 to 3 wrote them: without a checksum.
    let mut bytes = b"REDIS0003".to_vec();
    bytes.extend([254, 0]);
    bytes.extend([&[1], &text("l")[..], &[2], &text("x")[..], &text("yy")[..]].concat());
    bytes.extend([&[3], &text("z")[..], &[2], &text("m")[..], &text("1.5")[..], &text("i")[..], &[254]].concat());
    bytes.extend([&[4], &text("h")[..], &[1], &text("f")[..], &text("v")[..]].concat());
    bytes.push(255);
    let (entries, summary) = read(&bytes).unwrap();
    assert_eq!(summary.checksum, Checksum::None);
    let lengths: Vec<_> = entries.iter().map(|entry| entry.length.unwrap()).collect();
    assert_eq!(lengths, [2, 2, 1]);
}

#[test]
fn what_is_not_known_is_refused_by_name_and_place() {
    for (header, kind) in [("REDIS0011", 6u8), ("REDIS0012", 99), ("VALKEY080", 24), ("REDIS0012", 27)] {
        let error = read(&file(header, &[&[kind], &text("k")[..]].concat())).unwrap_err().to_string();
        assert!(error.contains(&format!("type {kind} at byte 9")), "{error}");
    }
    let error = read(&file("REDIS0099", &[])).unwrap_err().to_string();
    assert!(error.contains("REDIS0099"), "{error}");
    assert!(matches!(read(b"SQLite format 3"), Err(RdbError::NotASnapshot)));
}

#[test]
fn a_length_that_lies_costs_nothing() {
    let mut body = vec![0];
    body.extend(text("k"));
    body.extend([0x81]);
    body.extend(u64::MAX.to_be_bytes());
    let bytes = file("REDIS0011", &body);
    assert!(matches!(read(&bytes), Err(RdbError::Damaged { .. })));
    // From a pipe, whose size nobody knows.
    let mut scanner = Scanner::open(&bytes[..], None, now()).unwrap();
    assert!(matches!(scanner.next_key(), Err(RdbError::Truncated { .. })));
}

#[test]
fn a_checksum_that_was_turned_off_is_said() {
    let mut bytes = file("REDIS0011", &[]);
    let at = bytes.len() - 8;
    bytes[at..].fill(0);
    assert_eq!(read(&bytes).unwrap().1.checksum, Checksum::Disabled);
    bytes.push(0);
    assert!(matches!(read(&bytes), Err(RdbError::Trailing { .. })));
}

#[test]
fn files_of_real_servers_are_read_whole() {
    for (name, bytes) in corpus() {
        let (entries, summary) = read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(summary.checksum, Checksum::Verified, "{name}");
        let kinds: std::collections::BTreeSet<String> =
            entries.iter().map(|entry| entry.kind.as_ref().unwrap().to_string()).collect();
        assert_eq!(
            kinds.into_iter().collect::<Vec<_>>(),
            ["hash", "list", "set", "stream", "string", "zset"],
            "{name}"
        );
        let of = |key: &str| {
            entries.iter().find(|entry| entry.key == key.as_bytes()).unwrap_or_else(|| panic!("{name}: {key}"))
        };
        for (key, length) in [
            ("string:raw", 100),
            ("list:small", 3),
            ("set:ints", 5),
            ("set:table", 600),
            ("hash:small", 2),
            ("hash:table", 600),
            ("zset:small", 2),
            ("zset:table", 600),
            ("stream:groups", 5),
        ] {
            assert_eq!(of(key).length, Some(length), "{name}: {key}");
        }
        assert!(matches!(of("string:ttl").expiry, Some(Expiry::At(_))), "{name}");
        assert!(entries.iter().any(|entry| entry.key == b"bin:\xff\x00\n"), "{name}");
        assert!(entries.iter().any(|entry| entry.db == 5), "{name}");
    }
}

#[test]
fn a_file_cut_short_anywhere_is_an_error_with_the_place() {
    for (name, bytes) in corpus() {
        // Every place in the first and last kilobytes, and then some.
        let cuts = (0..bytes.len()).filter(|at| *at < 3000 || bytes.len() - at < 1000 || at % 97 == 0);
        for at in cuts {
            match read(&bytes[..at]) {
                Ok(_) => panic!("{name} cut at {at} was read"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains("byte") || at < 9, "{name} cut at {at}: {text}");
                }
            }
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_an_error() {
    for (name, mut bytes) in corpus() {
        for at in (0..bytes.len()).filter(|at| at % 7 == 0 || *at < 500) {
            bytes[at] ^= 1 << (at % 8);
            assert!(read(&bytes).is_err(), "{name}: bit {} of byte {at}", at % 8);
            bytes[at] ^= 1 << (at % 8);
        }
    }
}

/// xorshift64*, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % most.max(1)
    }
}

#[test]
fn damage_with_a_checksum_that_fits_makes_no_panic() {
    for (_, bytes) in corpus() {
        let mut dice = Dice(7);
        for _ in 0..3000 {
            let mut copy = bytes[..bytes.len() - 8].to_vec();
            for _ in 0..=dice.below(4) {
                let at = 9 + dice.below(copy.len() - 10);
                match dice.below(4) {
                    0 => copy[at] ^= 1 << dice.below(8),
                    1 => copy[at] = [0, 255, 0x80, 0x81, 0xC3, 0x7F][dice.below(6)],
                    2 => drop(copy.drain(at..(at + dice.below(20)).min(copy.len()))),
                    _ => copy.insert(at, dice.below(256) as u8),
                }
                if copy.len() < 30 {
                    break;
                }
            }
            let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, &copy);
            copy.extend(sum.to_le_bytes());
            // Whatever it is now, it is read or refused.
            let _ = read(&copy);
        }
    }
}
