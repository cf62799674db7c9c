//! What a key will take in memory once the snapshot is loaded: the sum that `MEMORY USAGE key SAMPLES 0` makes, worked
//! out from lengths. It counts what the allocator hands out, so every request is rounded up to a size class of
//! jemalloc, the allocator that Redis and Valkey are built with on Linux.
//!
//! Sources: `object.c` (`objectComputeSize`), `sds.c`, `dict.h`, `quicklist.h`, `server.h`, `stream.h` and `rax.c` of Redis
//! 7.0, 7.4 and 8.2 for the structures, the jemalloc manual for the classes. Structure sizes are those of 64-bit builds.

use super::text::Piece;

/// How finely the allocator divides small sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocator {
    /// The jemalloc that comes with the server's sources: steps of 8 bytes.
    Bundled,
    /// The distribution's own jemalloc, as in the packages of Debian and Ubuntu: steps of 16 bytes.
    System,
}

/// The structures' generation: from which server on they have these sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Generation {
    /// Redis 7.0, which stands for everything older too: older servers' files are loaded by newer ones.
    V70,
    /// Redis 7.2 and 7.4, and Valkey before its version 9.
    V72,
    /// Redis 8.
    V80,
    /// Valkey 9. Only what stands in one piece is known to the byte; tables and streams are estimated.
    Valkey9,
}

/// The model for one key of one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model {
    pub(super) allocator: Allocator,
    pub(super) generation: Generation,
    /// Bytes of the key's name.
    pub(super) name: u64,
    /// Whether the key has a time to live.
    pub(super) expiring: bool,
}

/// The head of every value.
const OBJECT: u64 = 16;
/// A hash table's head.
const DICT: u64 = 56;
/// One entry of a hash table.
const ENTRY: u64 = 24;
/// The longest string that shares one allocation with its head.
const EMBEDDED: u64 = 44;
/// From Redis 8 on that allocation holds the name too: so long may both be together.
const EMBEDDED_WITH_NAME: u64 = 41;
/// In Valkey 9 it holds them up to so many bytes in all.
const EMBEDDED_IN_VALKEY: u64 = 128;

/// A collection's elements, summed up while they pass by.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    /// How many strings.
    pub(super) strings: u64,
    /// Their allocations, each as a string of its own.
    pub(super) apart: u64,
    /// Their bytes in a listpack.
    pub(super) packed: u64,
    /// The longest of them.
    pub(super) longest: u64,
}

impl Sum {
    pub(super) fn add(&mut self, model: Model, piece: Piece) {
        self.strings += 1;
        self.apart = self.apart.saturating_add(model.sds(piece.length));
        self.packed = self.packed.saturating_add(super::packed::listpack_bytes(piece));
        self.longest = self.longest.max(piece.length);
    }
}

impl Model {
    /// What the allocator hands out for a request: eight bytes, steps up to a limit, then four classes per doubling.
    pub(super) fn allocation(self, request: u64) -> u64 {
        let (step, linear) = match self.allocator {
            Allocator::Bundled => (8, 64),
            Allocator::System => (16, 128),
        };
        match request {
            0..=8 => 8,
            _ if request <= linear => request.next_multiple_of(step),
            // Beyond this no server stores anything; the sum must not overflow.
            _ if request > 1 << 60 => request,
            _ => request.next_multiple_of(1 << ((request - 1).ilog2() - 2)),
        }
    }

    /// A string of its own: its head by length, its bytes and the closing zero.
    pub(super) fn sds(self, length: u64) -> u64 {
        self.allocation(sds_bytes(length))
    }

    /// What a key takes beside its value's head: its name and an entry of the database's table; from Redis 8 on the
    /// name, and the time to live, stand in the same allocation as the value's head.
    pub(super) fn key(self) -> u64 {
        if self.generation < Generation::V80 {
            return self.sds(self.name) + ENTRY;
        }
        self.allocation(self.named_head()) - OBJECT
    }

    fn named_head(self) -> u64 {
        let expiry = if self.expiring { 8 } else { 0 };
        (OBJECT + expiry + 1).saturating_add(sds_bytes(self.name))
    }

    /// A string value: its encoding and its bytes.
    pub(super) fn string(self, piece: Piece) -> (&'static str, u64) {
        // The head of three bytes and the closing zero share the allocation.
        let tail = piece.length.saturating_add(3 + 1);
        if piece.integer.is_some() {
            ("int", OBJECT)
        } else if self.embeds_with_name(piece.length) {
            ("embstr", self.allocation(self.embedded_head() + tail).saturating_sub(self.key()))
        } else if self.generation < Generation::V80 && piece.length <= EMBEDDED {
            ("embstr", self.allocation(OBJECT + tail))
        } else {
            ("raw", OBJECT + self.sds(piece.length))
        }
    }

    /// Whether a string shares the allocation with its head and its name.
    fn embeds_with_name(self, length: u64) -> bool {
        match self.generation {
            Generation::V70 | Generation::V72 => false,
            Generation::V80 => {
                let expiry = if self.expiring { 8 } else { 0 };
                self.name.saturating_add(length) <= EMBEDDED_WITH_NAME - expiry
            }
            Generation::Valkey9 => self.embedded_head().saturating_add(length + 4) <= EMBEDDED_IN_VALKEY,
        }
    }

    /// The head and the name in front of an embedded string; Valkey leaves the pointer to the value out.
    fn embedded_head(self) -> u64 {
        self.named_head() - if self.generation == Generation::Valkey9 { 8 } else { 0 }
    }

    /// A value in one allocation beside its head.
    pub(super) fn flat(self, length: u64) -> u64 {
        OBJECT + self.allocation(length)
    }

    /// A hash table for so many entries of `entry` bytes, in so many slots. Valkey's has buckets of 64 bytes, 6.4
    /// entries to each at most, and no other entries; buckets that overflow are chained.
    fn table(self, count: u64, slots: u64, entry: u64) -> u64 {
        if self.generation == Generation::Valkey9 {
            let buckets = (count / 32 * 5 + (count % 32 * 5).div_ceil(32)).max(1).next_power_of_two();
            return DICT + 64 * buckets + count.saturating_mul(2);
        }
        DICT + 8 * slots + count.saturating_mul(entry)
    }

    /// A hash in a hash table of so many slots.
    pub(super) fn hash(self, pairs: u64, slots: u64, sum: Sum) -> u64 {
        OBJECT + self.table(pairs, slots, ENTRY) + sum.apart
    }

    /// A set in a hash table.
    pub(super) fn set(self, members: u64, sum: Sum) -> u64 {
        OBJECT + self.table(members, slots(members), ENTRY) + sum.apart
    }

    /// A sorted set in a skip list beside a hash table, which share the members' strings. A node has a level more with
    /// one chance in four, so the nodes' allocations are summed as expected.
    pub(super) fn skiplist(self, members: u64, sum: Sum) -> u64 {
        const NODE: u64 = 24;
        const LEVEL: u64 = 16;
        let (mut expected, mut share) = (0.0, 0.75);
        for level in 1..=32 {
            expected += share * self.allocation(NODE + LEVEL * level) as f64;
            share /= 4.0;
        }
        let heads = OBJECT + 16 + 32 + self.allocation(NODE + LEVEL * 32);
        let nodes = (members as f64 * expected) as u64;
        // From Redis 8 on the table's entries have no value of their own.
        let entry = if self.generation >= Generation::V80 { 16 } else { ENTRY };
        heads + self.table(members, slots(members), entry) + sum.apart + nodes
    }

    /// A list: the head, and what its nodes take by [`Model::list_node`].
    pub(super) fn list(nodes: u64) -> u64 {
        OBJECT + 40 + nodes
    }

    /// One node of a list with its `length` bytes of elements.
    pub(super) fn list_node(self, length: u64) -> u64 {
        40 + self.allocation(length)
    }

    /// A stream without its listpacks, groups and radix tree.
    pub(super) fn stream(self) -> u64 {
        OBJECT + if self.generation == Generation::V80 { 112 } else { 80 }
    }

    /// A radix tree of stream IDs, which Redis only estimates, far too high, by its keys and nodes. Valkey adds up what the
    /// nodes take: 16 bytes for a leaf, 32 for a run.
    pub(super) fn radix(self, keys: u64, nodes: u64) -> u64 {
        if self.generation == Generation::Valkey9 {
            return nodes.saturating_mul(24) + 40;
        }
        keys.saturating_mul(16).saturating_add(nodes.saturating_mul(4 + 30 * 8))
    }

    /// A consumer group with `pending` entries, without its radix tree.
    pub(super) fn group(self, pending: u64) -> u64 {
        let entry = if self.generation == Generation::V80 { 32 } else { 24 };
        40 + pending.saturating_mul(entry)
    }

    /// A consumer with a name of so many bytes, without its radix tree.
    pub(super) fn consumer(self, name: u64) -> u64 {
        name + if self.generation >= Generation::V72 { 32 } else { 24 }
    }
}

/// Bytes of a string with its head, which grows with the length, and the closing zero.
fn sds_bytes(length: u64) -> u64 {
    let head = match length {
        1..=31 => 1,
        0..=255 => 3,
        256..=65_535 => 5,
        65_536..=0xFFFF_FFFF => 9,
        _ => 17,
    };
    length.saturating_add(head + 1)
}

/// Slots of the table of a small hash once it is loaded. A hash of up to 512 fields starts as a listpack and turns into a
/// table at the first string that is too long, behind `before` fields; then the table is resized for the fields that
/// are still to come. A resize moves one bucket per field that follows and may not be done at the end, in which case
/// both tables stand and both are counted. (`rdb.c` and `dict.c` of Redis 7.0.)
pub(super) fn slots_while_loading(before: u64, fields: u64) -> u64 {
    let mut table = Table { size: slots(before), next: 0, left: 0, used: before };
    table.add();
    let rest = fields.saturating_sub(table.used);
    if rest > 4 {
        table.resize(rest);
    }
    for _ in 0..rest {
        table.add();
    }
    table.size + table.next
}

/// A hash table and, while it is resized, the one it moves to.
struct Table {
    size: u64,
    next: u64,
    /// Buckets that are still to be moved.
    left: u64,
    used: u64,
}

impl Table {
    fn add(&mut self) {
        if self.next > 0 {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                self.size = std::mem::take(&mut self.next);
            }
        }
        if self.used >= self.size {
            self.resize(self.used + 1);
        }
        self.used += 1;
    }

    fn resize(&mut self, entries: u64) {
        let size = slots(entries);
        if self.next == 0 && self.used <= entries && size != self.size {
            self.next = size;
            // Empty buckets are passed over, and of `size` buckets so many are expected to be taken.
            let empty = (1.0 - 1.0 / self.size as f64).powf(self.used as f64);
            self.left = (self.size as f64 * (1.0 - empty)).round().max(1.0) as u64;
        }
    }
}

/// Slots of a hash table with so many entries: the next power of two, at least four.
pub(super) fn slots(count: u64) -> u64 {
    count.checked_next_power_of_two().unwrap_or(count).clamp(4, 1 << 56)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(allocator: Allocator, generation: Generation) -> Model {
        Model { allocator, generation, name: 1, expiring: false }
    }

    #[test]
    fn requests_are_rounded_up_to_the_allocators_classes() {
        let bundled = model(Allocator::Bundled, Generation::V70);
        let system = model(Allocator::System, Generation::V70);
        for (request, fine, coarse) in [
            (1, 8, 8),
            (8, 8, 8),
            (9, 16, 16),
            (17, 24, 32),
            (33, 40, 48),
            (65, 80, 80),
            (113, 128, 128),
            (129, 160, 160),
            (513, 640, 640),
            (4097, 5120, 5120),
            (1 << 20, 1 << 20, 1 << 20),
            ((1 << 20) + 1, 1_310_720, 1_310_720),
        ] {
            assert_eq!((bundled.allocation(request), system.allocation(request)), (fine, coarse), "{request}");
        }
        assert_eq!(bundled.allocation(u64::MAX), u64::MAX);
    }

    /// As `MEMORY USAGE` told them: 7.0.15 of Debian, 8.2.3.
    #[test]
    fn strings_take_what_the_servers_said() {
        let old = model(Allocator::System, Generation::V70);
        let taken = |model: Model, length| {
            let (encoding, bytes) = model.string(Piece { length, integer: None });
            (encoding, bytes + model.key())
        };
        assert_eq!(taken(Model { name: 13, ..old }, 5), ("embstr", 72));
        assert_eq!(taken(Model { name: 10, ..old }, 58), ("raw", 120));
        let new = model(Allocator::Bundled, Generation::V80);
        assert_eq!(taken(Model { name: 5, ..new }, 4), ("embstr", 32));
        assert_eq!(taken(Model { name: 5, ..new }, 36), ("embstr", 64));
        assert_eq!(taken(Model { name: 5, ..new }, 37), ("raw", 72));
        assert_eq!(taken(Model { name: 32, ..new }, 9), ("embstr", 80));
        assert_eq!(taken(Model { name: 32, ..new }, 10), ("raw", 72));
    }

    #[test]
    fn a_hash_that_turns_into_a_table_late_keeps_both_tables_for_a_while() {
        assert_eq!(slots_while_loading(0, 1), 4);
        assert_eq!(slots_while_loading(0, 100), 128);
        // Sixteen slots are full at the last field, which starts the move to 32.
        assert_eq!(slots_while_loading(16, 17), 16 + 32);
        assert_eq!(slots_while_loading(16, 32), 32);
    }
}
