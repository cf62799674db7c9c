//! Formats that are put together here: old ones that no server at hand writes any more, new ones that none writes yet,
//! and lies.

use super::*;
use crate::entry::KeyType;

fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
    let body = entries.concat();
    let total = (body.len() + 11) as u32;
    [&total.to_le_bytes()[..], &[10, 0, 0, 0], &(entries.len() as u16).to_le_bytes(), &body, &[255]].concat()
}

/// "ab", 7, a 24-bit -2 and a 16-bit 300; and twenty letters behind a long back length.
const ZIPLIST: [&[u8]; 4] =
    [&[0, 2, b'a', b'b'], &[4, 0xF8], &[2, 0xF0, 0xFE, 0xFF, 0xFF], &[0xFE, 5, 0, 0, 0, 0xC0, 44, 1]];

fn listpack(entries: &[&[u8]]) -> Vec<u8> {
    let body: Vec<u8> = entries.iter().flat_map(|entry| [entry, &[entry.len() as u8][..]].concat()).collect();
    let total = (body.len() + 7) as u32;
    [&total.to_le_bytes()[..], &(entries.len() as u16).to_le_bytes(), &body, &[255]].concat()
}

fn zipmap() -> Vec<u8> {
    [&[2, 1, b'a', 2, 3, b'x', b'y'][..], &[0, 0, 0], &[1, b'b', 1, 0, b'z', 255]].concat()
}

/// One key of each type that Redis wrote up to 6.2.
pub(super) fn every_old_format() -> Vec<u8> {
    let body = [
        vec![254, 0],
        pair(1, "list", &[length(2), string("a"), string("b")].concat()),
        pair(2, "set", &[length(2), string("a"), vec![0xC0, 5]].concat()),
        pair(
            3,
            "zset",
            &[length(3), string("a"), vec![3], b"1.5".to_vec(), string("b"), vec![254], string("c"), vec![253]]
                .concat(),
        ),
        pair(4, "hash", &[length(1), string("f"), string("v")].concat()),
        pair(5, "zset2", &[length(1), string("m"), 2.5f64.to_le_bytes().to_vec()].concat()),
        pair(9, "zipmap", &string(zipmap())),
        pair(10, "ziplist", &string(ziplist(&ZIPLIST))),
        pair(11, "intset", &string([&2u32.to_le_bytes()[..], &2u32.to_le_bytes(), &[1, 0, 2, 0]].concat())),
        pair(12, "zsetzl", &string(ziplist(&ZIPLIST))),
        pair(13, "hashzl", &string(ziplist(&ZIPLIST))),
        pair(14, "quick", &[length(2), string(ziplist(&ZIPLIST)), string(ziplist(&ZIPLIST[..1]))].concat()),
        vec![253, 0, 0, 0, 80],
        pair(0, "seconds", &[0xC1, 0x39, 0x30]),
    ]
    .concat();
    redis(9, &body)
}

#[test]
fn every_old_type_is_measured() {
    let (entries, _) = scan(&every_old_format(), None).unwrap();
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| {
            let kind = entry.kind.as_ref().unwrap().as_str();
            (str::from_utf8(&entry.key).unwrap(), kind, entry.encoding.as_deref().unwrap(), entry.length.unwrap())
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("list", "list", "quicklist", 2),
            ("set", "set", "hashtable", 2),
            ("zset", "zset", "listpack", 3),
            ("hash", "hash", "listpack", 1),
            ("zset2", "zset", "listpack", 1),
            ("zipmap", "hash", "listpack", 2),
            ("ziplist", "list", "quicklist", 4),
            ("intset", "set", "intset", 2),
            ("zsetzl", "zset", "listpack", 2),
            ("hashzl", "hash", "listpack", 2),
            ("quick", "list", "quicklist", 5),
            ("seconds", "string", "int", 5),
        ]
    );
    let Some(Entry { expiry: Some(Expiry::At(moment)), .. }) = entries.last() else { panic!("no expiry") };
    assert_eq!(moment.as_second(), 0x5000_0000);
}

#[test]
fn versions_before_the_checksum_are_read_without_one() {
    for version in 1..5 {
        let mut bytes = redis(version, &pair(0, "k", &string("v")));
        bytes.truncate(bytes.len() - 8);
        let (entries, summary) = scan(&bytes, None).unwrap();
        assert_eq!((entries.len(), summary.checksum), (1, Checksum::Absent), "{version}");
    }
    for version in 5..=13 {
        assert_eq!(scan(&redis(version, &[]), None).unwrap().1.checksum, Checksum::Verified, "{version}");
    }
}

#[test]
fn an_unknown_version_is_refused_by_name() {
    for head in [&b"REDIS0014"[..], b"REDIS0000", b"REDIS00x1", b"VALKEY081", b"VALKEY011"] {
        let error = complaint(&sealed(head.to_vec()));
        assert!(matches!(error, RdbError::UnknownVersion { .. }), "{error}");
    }
    assert!(matches!(complaint(b"PK\x03\x04 something else"), RdbError::NotASnapshot { .. }));
    assert!(matches!(complaint(b"REDIS"), RdbError::Truncated { offset: 5, .. }));
    assert!(matches!(complaint(b""), RdbError::Truncated { offset: 0, .. }));
}

#[test]
fn an_unknown_type_is_refused_by_code_and_offset() {
    for code in [8, 27, 33, 200, 242] {
        let bytes = redis(13, &[pair(0, "a", &string("b")), pair(code, "k", &string("v"))].concat());
        match complaint(&bytes) {
            RdbError::Unknown { offset, what, code: told, .. } => {
                assert_eq!((offset, what, told), (14, "type of value", u64::from(code)));
            }
            other => panic!("{other:?}"),
        }
    }
    let error = complaint(&redis(12, &[243, 0]));
    assert!(matches!(error, RdbError::Unknown { offset: 9, what: "part", code: 243, .. }), "{error}");
}

#[test]
fn what_only_its_writer_can_read_is_refused() {
    for body in [pair(6, "k", &[1, 2, 3]), vec![246, 1, b'x']] {
        let error = complaint(&redis(10, &body));
        assert!(matches!(error, RdbError::Unreadable { offset: 9, .. }), "{error}");
    }
}

#[test]
fn type_22_is_read_as_its_producer_wrote_it() {
    // Redis: the time before each field. Valkey: eight bytes after each value.
    let body =
        pair(22, "h", &[length(2), length(0), string("a"), string("1"), length(77), string("b"), string("2")].concat());
    let (entries, summary) = scan(&redis(12, &body), None).unwrap();
    assert_eq!((entries[0].length, summary.expiring_fields), (Some(2), 1));
    let times = [(-1i64).to_le_bytes(), 77i64.to_le_bytes()];
    let body = pair(
        22,
        "h",
        &[length(2), string("a"), string("1"), times[0].to_vec(), string("b"), string("2"), times[1].to_vec()].concat(),
    );
    let (entries, summary) = scan(&valkey(&body), None).unwrap();
    assert_eq!((entries[0].length, summary.expiring_fields), (Some(2), 1));
    assert!(matches!(complaint(&valkey(&pair(25, "h", &[0; 20]))), RdbError::Unknown { code: 25, .. }));
}

#[test]
fn a_release_candidates_expiring_listpack_is_read() {
    let blob = listpack(&[&[0x81, b'a'], &[1], &[0], &[0x81, b'b'], &[2], &[77]]);
    let (entries, summary) = scan(&redis(12, &pair(23, "h", &string(blob))), None).unwrap();
    assert_eq!((entries[0].length, summary.expiring_fields), (Some(2), 1));
    assert_eq!(entries[0].encoding.as_deref(), Some("listpackex"));
}

#[test]
fn parts_beside_the_keys_are_counted() {
    let slot = [vec![244], length(5), length(1), length(0)].concat();
    let module =
        [vec![247], length(1 << 60), vec![2, 2, 1, 5, 3, 0, 0, 0, 0, 4], vec![0; 8], vec![5], string("x"), vec![0]]
            .concat();
    let (_, summary) = scan(&redis(11, &[slot, module].concat()), None).unwrap();
    assert_eq!(summary.module_data, 1);
    let meta = [&[243, 1, 1, 2, 3, 4, 2, 9, 0][..], &pair(0, "k", &string("v"))].concat();
    let (entries, summary) = scan(&redis(13, &meta), None).unwrap();
    assert_eq!((entries.len(), summary.keys_with_metadata), (1, 1));
    let import = [&[243][..], &string("job"), &[1, 0, 5]].concat();
    assert_eq!(scan(&valkey(&import), None).unwrap().1.slot_imports, 1);
    let script = [&[250][..], &string("lua"), &string("return 1")].concat();
    assert_eq!(scan(&redis(8, &script), None).unwrap().1.scripts, 1);
}

fn stream(producers: u8) -> Vec<u8> {
    let id = 5u128.to_be_bytes();
    [
        &[1, 16][..],
        &id,
        &string(listpack(&[&[1], &[0]])),
        // Entries; the last, the first and the greatest deleted ID; added ones; no groups.
        &[1, 0, 5, 0, 5, 0, 0, 1, 0],
        // Idempotence: seconds, entries, producers, two counters.
        &[60, 60, producers, 0, 0],
    ]
    .concat()
}

#[test]
fn a_stream_of_redis_8_6_is_read_unless_it_keeps_producers() {
    let entry = only(&redis(13, &pair(26, "s", &stream(0))));
    assert_eq!((entry.kind, entry.length), (Some(KeyType::Stream), Some(1)));
    assert!(matches!(complaint(&redis(13, &pair(26, "s", &stream(1)))), RdbError::Unreadable { .. }));
}

#[test]
fn a_lying_length_costs_nothing() {
    let giant = 1u64 << 60;
    for value in [
        pair(0, "k", &length(giant)),
        pair(0, "k", &[vec![0xC3], length(giant), length(giant)].concat()),
        pair(1, "k", &length(giant)),
        pair(4, "k", &length(giant)),
        pair(16, "k", &length(giant)),
        pair(16, "k", &[vec![0xC3], length(5), length(giant)].concat()),
        pair(21, "k", &length(giant)),
        [&[0][..], &length(giant)].concat(),
    ] {
        let bytes = redis(11, &value);
        assert!(scan(&bytes, Some(bytes.len() as u64)).is_err());
        assert!(scan(&bytes, None).is_err());
    }
    let error = complaint(&redis(10, &pair(0, "k", &length(giant))));
    assert!(matches!(error, RdbError::BeyondEnd { offset: 12, length, .. } if length == giant), "{error}");
}

#[test]
fn times_that_no_calendar_has_become_the_nearest_that_it_has() {
    for (value, nearest) in [(i64::MAX, Timestamp::MAX), (i64::MIN, Timestamp::MIN)] {
        let body = [&[252][..], &value.to_le_bytes(), &pair(0, "k", &string("v"))].concat();
        assert_eq!(only(&redis(10, &body)).expiry, Some(Expiry::At(nearest)));
    }
}

#[test]
fn attributes_belong_to_the_next_key_only() {
    let first = [&[248, 5, 249, 9, 252][..], &7i64.to_le_bytes(), &pair(0, "a", &string("v"))].concat();
    let (entries, _) = scan(&redis(10, &[first, pair(0, "b", &string("v"))].concat()), None).unwrap();
    assert_eq!((entries[0].idle_seconds, entries[0].frequency), (Some(5), Some(9)));
    assert_eq!((entries[1].idle_seconds, entries[1].frequency, entries[1].expiry), (None, None, Some(Expiry::Never)));
}

#[test]
fn a_compressed_name_is_read() {
    let name = [&[0xC3, 5, 10][..], &[0, b'x', 0xE0, 0, 0]].concat();
    let bytes = redis(10, &[&[0][..], &name, &string("v")].concat());
    assert_eq!(only(&bytes).key, b"xxxxxxxxxx");
}

#[test]
fn values_larger_than_any_buffer_are_measured_and_not_kept() {
    let text = vec![b'x'; 3_000_000];
    let entry = only(&redis(10, &pair(0, "k", &string(&text))));
    assert_eq!((entry.length, entry.encoding.as_deref()), (Some(3_000_000), Some("raw")));
    // A listpack of a megabyte is walked, one beyond the limit is judged by its head.
    let element = [&[0xE3, 0xE8][..], &[b'x'; 1000], &[7, 0xEA]].concat();
    for (elements, length) in [(1000u64, Some(1000)), (20_000, Some(20_000)), (70_000, None)] {
        let body = element.repeat(elements as usize);
        let total = body.len() as u32 + 7;
        let count = u16::try_from(elements).unwrap_or(u16::MAX);
        let blob = [&total.to_le_bytes()[..], &count.to_le_bytes(), &body, &[255]].concat();
        let entry = only(&redis(11, &pair(20, "k", &string(blob))));
        assert_eq!(entry.length, length);
        assert!(entry.bytes.unwrap() >= u64::from(total));
    }
}

#[test]
fn a_broken_packed_value_is_refused() {
    let whole = listpack(&[&[1], &[5]]);
    for at in [0, 4, 6, 7, 10] {
        let mut broken = whole.clone();
        broken[at] ^= 0x80;
        let bytes = redis(11, &pair(20, "k", &string(broken)));
        assert!(matches!(complaint(&bytes), RdbError::Damaged { .. }), "byte {at}");
    }
    let odd = redis(11, &pair(16, "k", &string(listpack(&[&[1], &[2], &[3]]))));
    assert!(matches!(complaint(&odd), RdbError::Damaged { offset: 12, .. }));
}
