//! Whatever is done to a snapshot, the scan says so and never panics.

use super::*;

#[test]
fn a_snapshot_that_is_cut_off_at_any_byte_is_an_error() {
    for (name, bytes) in CORPUS {
        for end in 0..bytes.len() {
            let cut = &bytes[..end];
            for total in [None, Some(end as u64), Some(bytes.len() as u64)] {
                match scan(cut, total) {
                    Err(RdbError::Truncated { offset, .. }) => assert_eq!(offset, end as u64, "{name}"),
                    Err(RdbError::BeyondEnd { .. }) if total == Some(end as u64) => {}
                    other => panic!("{name} cut at {end}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_an_error() {
    for (name, bytes) in CORPUS.iter().filter(|(name, _)| *name != "no-checksum") {
        let mut bytes = bytes.to_vec();
        for at in 0..bytes.len() {
            let bit = 1 << (at % 8);
            bytes[at] ^= bit;
            assert!(scan(&bytes, Some(bytes.len() as u64)).is_err(), "{name}, byte {at}");
            bytes[at] ^= bit;
        }
    }
}

/// A small generator whose numbers are the same in every run (xorshift64, George Marsaglia).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Does some damage behind the header.
fn damage(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.below(3) {
        let at = 9 + random.below(bytes.len().saturating_sub(9));
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), random.next() as u8),
            2 => {
                let from = random.below(other.len());
                let to = (from + random.below(40)).min(other.len());
                let at = at.min(bytes.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            3 => {
                let end = (at + random.below(20)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            // A length that lies.
            4 => {
                let lie = length(random.next() >> random.below(64));
                let at = at.min(bytes.len());
                let end = (at + lie.len()).min(bytes.len());
                bytes.splice(at..end, lie);
            }
            5 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = [0, 1, 0x7F, 0x80, 0x81, 0xC3, 0xFE, 0xFF][random.below(8)];
                }
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
}

/// With the checksum made anew, so that the parser sees all of it. `RDB_FUZZ_ROUNDS` sets the rounds per file.
#[test]
fn no_damage_makes_the_scan_panic() {
    let rounds = std::env::var("RDB_FUZZ_ROUNDS").map_or(400, |rounds| rounds.parse().unwrap());
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let old = formats::every_old_format();
    let files: Vec<&[u8]> = CORPUS.iter().map(|(_, bytes)| *bytes).chain([&old[..]]).collect();
    let (mut reached, mut refused) = (0, 0);
    for file in &files {
        for _ in 0..rounds {
            let mut bytes = file[..file.len() - 9].to_vec();
            let other = files[random.below(files.len())];
            damage(&mut random, &mut bytes, other);
            let bytes = sealed(bytes);
            match scan(&bytes, [None, Some(bytes.len() as u64)][random.below(2)]) {
                Ok(_) => reached += 1,
                Err(RdbError::Io { .. } | RdbError::Failed | RdbError::NotASnapshot { .. }) => panic!("{bytes:?}"),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(reached > 0 && refused > 0, "{reached} {refused}");
}

#[test]
fn a_failed_scan_stays_failed() {
    let bytes = snapshot("redis-7.0.15");
    let mut scanner = Scanner::open(&bytes[..200], None).unwrap();
    while scanner.next_key().is_ok() {}
    assert!(matches!(scanner.next_key(), Err(RdbError::Failed)));
}

#[test]
fn a_wrong_checksum_names_both() {
    let mut bytes = redis(10, &pair(0, "k", &string("value")));
    let end = bytes.len();
    bytes[end - 1] ^= 1;
    let expected = u64::from_le_bytes(bytes[end - 8..].try_into().unwrap());
    match complaint(&bytes) {
        RdbError::Checksum { expected: told, found } => {
            assert_eq!((told, found), (expected, expected ^ 1 << 56));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cut_off_file_names_the_key_it_ends_in() {
    let bytes = redis(10, &pair(0, "the key", &string("some value")));
    let error = scan(&bytes[..25], None).unwrap_err().to_string();
    assert!(error.starts_with("the file ends at byte 25, in the middle of key the key"), "{error}");
}
