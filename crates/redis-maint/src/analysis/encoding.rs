//! What it would save to store collections as listpacks.
//!
//! Everything here is computed from a group's mean length and mean bytes, not measured: the values themselves are not
//! looked at. The formulas follow Redis 7 on 64 bits with jemalloc (`dict.h`, `t_zset.c`, `listpack.c`,
//! `objectComputeSize` in `object.c`); a server built with another allocator will differ.
//!
//! A hash table costs, for each element, a 24-byte dictEntry, the bucket pointers (8 bytes times buckets, the next power
//! of two of the length) and an sds string for each of its parts: content, 1 byte of header, 1 byte of end, and what the
//! allocator rounds up, 4 bytes in the mean. A sorted set has besides a skip list node of 46 bytes in the mean (40 bytes
//! with three chances in four, 56, 80, ... otherwise). A listpack costs for each part its content, 1 byte of encoding (2
//! from 64 bytes on) and 1 byte of length (2 from 126 on), and 7 bytes in all; it is one allocation.
//!
//! So the content of an element is what is left of its bytes without that overhead, and the saving is the overhead of one
//! form less that of the other. Scores of sorted sets are taken to be whole numbers (9 bytes and 1 of length); scores
//! with long fractions take up to 9 bytes more. Lists are left out: they already are listpacks, chained.

use crate::entry::KeyType;
use crate::patterns::{KindStats, Stats};

/// The server's limits up to which a collection is a listpack, as `CONFIG GET *-max-listpack-*` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListpackLimits {
    /// Of hashes.
    pub hash: ListpackLimit,
    /// Of sorted sets.
    pub zset: ListpackLimit,
    /// Of sets; none before Redis 7.2, where sets are never listpacks.
    pub set: Option<ListpackLimit>,
}

/// The limits of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListpackLimit {
    /// Most elements.
    pub entries: u64,
    /// Most bytes of one element or value.
    pub value: u64,
}

/// A limit to raise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The type.
    pub kind: KeyType,
    /// The name of the limit.
    pub option: String,
    /// What it is now.
    pub from: u64,
    /// What it would have to be.
    pub to: u64,
    /// The keys that would become listpacks, at most.
    pub keys: u64,
    /// What they take now.
    pub bytes: u64,
    /// What they would take less; computed, not measured.
    pub saving_bytes: u64,
}

/// Above this many elements a listpack costs more time than its memory is worth, since every access walks it.
const MAX_ENTRIES: u64 = 1024;
/// Above this many bytes of one value the overhead of a hash table is small beside it.
const MAX_VALUE: u64 = 1024;
/// Above this many bytes a listpack is moved and walked for too long on every change.
const MAX_LISTPACK_BYTES: f64 = 65_536.0;

/// The mean rounding up of one allocation, and the header and end of an sds string.
const STRING_OVERHEAD: f64 = 4.0 + 2.0;
const DICT_ENTRY: f64 = 24.0;
const SKIPLIST_NODE: f64 = 46.0;
/// The `dict` itself.
const DICT: f64 = 56.0;
/// `zset`, `zskiplist` and its head node of 32 levels.
const SKIPLIST: f64 = 16.0 + 32.0 + 640.0;
/// The key's dictEntry and object, beside its name.
const KEY: f64 = 24.0 + 16.0;

/// Limits that, raised, would make listpacks of the group's collections. Only limits that are near: at most four times
/// the entries there are now, or values of up to 1 KiB.
pub fn advise(stats: &Stats, limits: &ListpackLimits) -> Vec<Advice> {
    stats.kinds.iter().filter_map(|row| advise_kind(row, stats, limits)).collect()
}

fn advise_kind(row: &KindStats, stats: &Stats, limits: &ListpackLimits) -> Option<Advice> {
    let (kind, limit) = match (row.kind.as_ref()?, row.encoding.as_deref()?) {
        (kind @ KeyType::Hash, "hashtable") => (kind, limits.hash),
        (kind @ KeyType::SortedSet, "skiplist") => (kind, limits.zset),
        (kind @ KeyType::Set, "hashtable") => (kind, limits.set?),
        _ => return None,
    };
    if row.measured_keys == 0 || row.measured_length == 0 {
        return None;
    }
    let keys = row.measured_keys as f64;
    let length = row.measured_length as f64 / keys;
    let name = stats.name_bytes as f64 / stats.keys.max(1) as f64;
    let (now, then, content) = sizes(kind, row.measured_bytes as f64 / keys, length, name)?;
    let (option, from, to) = if row.max_length > limit.entries {
        let near = length <= 4.0 * limit.entries as f64 && row.max_length <= MAX_ENTRIES;
        near.then(|| ("entries", limit.entries, row.max_length.next_power_of_two()))?
    } else {
        // Some value is longer than the limit; which, and by how much, is not known.
        let to = (limit.value.saturating_mul(2)).max((content.ceil() as u64).next_power_of_two());
        (to <= MAX_VALUE).then_some(("value", limit.value, to))?
    };
    let saving = (now - then) * row.keys as f64;
    (then <= MAX_LISTPACK_BYTES && saving >= 1.0).then(|| Advice {
        kind: kind.clone(),
        option: format!("{kind}-max-listpack-{option}"),
        from,
        to,
        keys: row.keys,
        bytes: row.bytes,
        saving_bytes: saving as u64,
    })
}

/// Bytes of a mean key now and as a listpack, without what both have, and the content of an element.
fn sizes(kind: &KeyType, bytes: f64, length: f64, name: f64) -> Option<(f64, f64, f64)> {
    let buckets = (length.ceil() as u64).checked_next_power_of_two()? as f64;
    let (parts, node, fixed) = match kind {
        KeyType::Hash => (2.0, 0.0, DICT),
        KeyType::SortedSet => (1.0, SKIPLIST_NODE, DICT + SKIPLIST),
        _ => (1.0, 0.0, DICT),
    };
    // What the server counts for each element beside its content.
    let overhead = DICT_ENTRY + 8.0 * buckets / length + parts * STRING_OVERHEAD + node;
    let element = (bytes - KEY - name - STRING_OVERHEAD - fixed) / length;
    let content = (element - overhead).max(parts);
    // Sets have had no dictEntry but for collisions since 7.2, yet the server counts one for each element: what is
    // counted is not saved. Of `load` elements a bucket, this share shares its bucket with one before it.
    let load = length / buckets;
    let uncounted = match kind {
        KeyType::Set => DICT_ENTRY - 16.0 * (1.0 - (1.0 - (-load).exp()) / load),
        _ => 0.0,
    };
    let part = content / parts;
    let part_overhead = if part < 64.0 {
        2.0
    } else if part < 126.0 {
        3.0
    } else {
        4.0
    };
    let score = if *kind == KeyType::SortedSet { 10.0 } else { 0.0 };
    let listpack = 7.0 + length * (content + parts * part_overhead + score);
    let now = fixed + length * (content + overhead - uncounted);
    Some((now, size_class(listpack), content))
}

/// What jemalloc takes for so many bytes, as Redis builds it (8-byte quantum): multiples of 8 up to 64, then four sizes
/// to each doubling.
fn size_class(bytes: f64) -> f64 {
    let step = if bytes <= 64.0 { 8.0 } else { 2_f64.powf(bytes.log2().ceil() - 3.0) };
    (bytes / step).ceil() * step
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patterns::Sample;

    const LIMITS: ListpackLimits = ListpackLimits {
        hash: ListpackLimit { entries: 128, value: 64 },
        zset: ListpackLimit { entries: 128, value: 64 },
        set: Some(ListpackLimit { entries: 128, value: 64 }),
    };

    fn stats(kind: &KeyType, encoding: &str, bytes: u64, length: u64) -> Stats {
        let mut stats = Stats::default();
        for _ in 0..1000 {
            let (bytes, length) = (Some(bytes), Some(length));
            stats
                .add(b"user:1234567", &Sample { kind: Some(kind), encoding: Some(encoding), bytes, length, ttl: None });
        }
        stats
    }

    #[test]
    fn sizes_are_rounded_up_as_the_allocator_does() {
        for (bytes, class) in [(1, 8), (8, 8), (9, 16), (57, 64), (65, 80), (128, 128), (129, 160), (1025, 1280)] {
            assert!((size_class(f64::from(bytes)) - f64::from(class)).abs() < 0.001, "{bytes}");
        }
    }

    #[test]
    fn nothing_is_advised_where_a_listpack_is_already_or_can_not_be() {
        let none = |kind, encoding, bytes, length| advise(&stats(kind, encoding, bytes, length), &LIMITS).is_empty();
        assert!(none(&KeyType::Hash, "listpack", 5000, 50));
        assert!(none(&KeyType::List, "quicklist", 5000, 50));
        assert!(none(&KeyType::Hash, "hashtable", 20_000_000, 200_000), "far too long");
        assert!(none(&KeyType::Hash, "hashtable", 2_000_000, 10), "the values are long");
        assert!(none(&KeyType::Hash, "hashtable", 500, 0));
        let old = ListpackLimits { set: None, ..LIMITS };
        assert!(advise(&stats(&KeyType::Set, "hashtable", 9000, 100), &old).is_empty());
    }

    #[test]
    fn the_limit_that_keeps_the_group_out_is_the_one_to_raise() {
        let option = |length| {
            let advice = advise(&stats(&KeyType::Hash, "hashtable", 100 * length, length), &LIMITS);
            advice.first().map(|advice| (advice.option.clone(), advice.from, advice.to))
        };
        assert_eq!(option(100), Some(("hash-max-listpack-value".to_owned(), 64, 128)));
        assert_eq!(option(200), Some(("hash-max-listpack-entries".to_owned(), 128, 256)));
        assert_eq!(option(2000), None);
    }
}
