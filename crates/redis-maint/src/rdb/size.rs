//! The bytes that values take in memory, as MEMORY USAGE counts them: Redis 7.0 on 64 bits with jemalloc.
//!
//! The sums are those of `objectComputeSize` in `src/object.c`, the rounding that of jemalloc's size classes. Where it counts the
//! levels of a skip list, which are chance, the mean is taken.

/// What jemalloc gives for `bytes`: multiples of 16 up to 128, and then four classes for each doubling.
pub fn allocated(bytes: u64) -> u64 {
    match bytes {
        0..=8 => 8,
        9..=16 => 16,
        17..=128 => bytes.next_multiple_of(16),
        _ => {
            let step = (bytes - 1).checked_ilog2().map_or(32, |log| 1u64 << log.saturating_sub(2));
            bytes.checked_next_multiple_of(step).unwrap_or(bytes)
        }
    }
}

/// A string in a buffer of its own: header by length, text, and a zero.
pub fn text(bytes: u64) -> u64 {
    let header = match bytes {
        0..=31 => 1,
        32..=255 => 3,
        256..=65_535 => 5,
        65_536..=0xFFFF_FFFF => 9,
        _ => 17,
    };
    allocated(header + bytes + 1)
}

const OBJECT: u64 = 16;
const DICT: u64 = 56;
const DICT_ENTRY: u64 = 24;

/// The name of a key and its place in the table of keys.
pub(super) fn key(bytes: u64) -> u64 {
    text(bytes) + DICT_ENTRY
}

/// A string value.
pub(super) fn string(bytes: u64, number: bool) -> u64 {
    if number {
        OBJECT
    } else if bytes <= 44 {
        // Object, header, text and zero in one piece.
        allocated(OBJECT + 3 + bytes + 1)
    } else {
        OBJECT + text(bytes)
    }
}

/// A collection in one piece.
pub(super) fn packed(bytes: u64) -> u64 {
    OBJECT + allocated(bytes)
}

/// A set of whole numbers of `width` bytes.
pub(super) fn integers(length: u64, width: u64) -> u64 {
    OBJECT + 8 + length * width
}

/// A list; `nodes` is what each of its pieces takes.
pub(super) fn list(nodes: impl Iterator<Item = u64>) -> u64 {
    OBJECT + 40 + nodes.map(|bytes| 32 + allocated(bytes)).sum::<u64>()
}

/// Slots of a table for `length` elements.
fn slots(length: u64) -> u64 {
    length.max(4).checked_next_power_of_two().unwrap_or(length)
}

/// A set or hash as a table; `texts` is what its members, fields and values take.
pub(super) fn table(length: u64, texts: u64) -> u64 {
    OBJECT + DICT + 8 * slots(length) + length * DICT_ENTRY + texts
}

/// A sorted set as a table and a skip list. A node has a level more with one chance in four: 48, 64, 80, 96, ... bytes.
pub(super) fn skip_list(length: u64, texts: u64) -> u64 {
    const NODE_HUNDREDTHS: u64 = 5_335;
    OBJECT + 16 + 32 + DICT + 8 * slots(length) + 640 + length * DICT_ENTRY + length * NODE_HUNDREDTHS / 100 + texts
}

/// A stream; `nodes` is what its pieces take. Its tree of pieces and its groups are estimated.
pub(super) fn stream(nodes: &[u64], groups: u64, pending: u64, consumers: u64) -> u64 {
    let pieces = nodes.len() as u64;
    let tree = 24 + pieces * 30;
    OBJECT
        + 104
        + tree
        + nodes.iter().map(|bytes| allocated(*bytes)).sum::<u64>()
        + groups * 120
        + pending * 70
        + consumers * 90
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_as_the_allocator_does() {
        for (bytes, want) in [(1, 8), (9, 16), (24, 32), (128, 128), (129, 160), (257, 320), (1025, 1280), (4097, 5120)]
        {
            assert_eq!(allocated(bytes), want, "{bytes}");
        }
        assert!(allocated(u64::MAX) >= u64::MAX - 1);
    }
}
