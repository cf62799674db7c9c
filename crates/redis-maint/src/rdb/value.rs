//! Values: walked over in the form of the file, and described by what they will be on a server that loads them.

use std::io::Read;

use super::Family;
use super::size;
use super::source::{RdbError, Source, Text};
use crate::entry::KeyType;

/// What a value is.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) kind: KeyType,
    pub(super) encoding: Option<&'static str>,
    pub(super) length: Option<u64>,
    /// Bytes of memory without the key; none where a module alone knows.
    pub(super) bytes: Option<u64>,
    pub(super) expiring_fields: u64,
}

impl Walked {
    fn new(kind: KeyType, encoding: &'static str, length: u64, bytes: u64) -> Self {
        Walked { kind, encoding: Some(encoding), length: Some(length), bytes: Some(bytes), expiring_fields: 0 }
    }
}

/// The numbers of the types (`RDB_TYPE_*`).
mod code {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const ZSET: u8 = 3;
    pub(super) const HASH: u8 = 4;
    pub(super) const ZSET_2: u8 = 5;
    pub(super) const MODULE_2: u8 = 7;
    pub(super) const HASH_ZIPMAP: u8 = 9;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const ZSET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    pub(super) const LIST_QUICKLIST: u8 = 14;
    pub(super) const STREAM: u8 = 15;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const ZSET_LISTPACK: u8 = 17;
    pub(super) const LIST_QUICKLIST_2: u8 = 18;
    pub(super) const STREAM_2: u8 = 19;
    pub(super) const SET_LISTPACK: u8 = 20;
    pub(super) const STREAM_3: u8 = 21;
    /// A hash whose fields may expire: of a release candidate of Redis 7.4, or of Valkey 9.
    pub(super) const HASH_22: u8 = 22;
    pub(super) const HASH_LISTPACK_EX_RC: u8 = 23;
    pub(super) const HASH_METADATA: u8 = 24;
    pub(super) const HASH_LISTPACK_EX: u8 = 25;
    pub(super) const STREAM_4: u8 = 26;
}

/// Whether the type can be walked over. 6, a value of a module before 4.0, cannot: only its module knows where it ends.
pub(super) fn is_known(kind: u8, family: Family) -> bool {
    match family {
        Family::Redis => matches!(kind, 0..=5 | 7 | 9..=26),
        Family::Valkey => matches!(kind, 0..=5 | 7 | 9..=22),
    }
}

/// Walks over the value of a known type.
pub(super) fn walk<R: Read>(source: &mut Source<R>, kind: u8, family: Family) -> Result<Walked, RdbError> {
    match kind {
        code::STRING => string(source),
        code::LIST => {
            let length = source.plain_length()?;
            let mut bytes = 0u64;
            for _ in 0..length {
                bytes = bytes.saturating_add(source.skip_string()?.bytes + 2);
            }
            Ok(Walked::new(KeyType::List, "quicklist", length, size::list(chunks(bytes))))
        }
        code::SET => {
            let length = source.plain_length()?;
            let mut texts = 0u64;
            for _ in 0..length {
                texts = texts.saturating_add(size::text(source.skip_string()?.bytes));
            }
            Ok(Walked::new(KeyType::Set, "hashtable", length, size::table(length, texts)))
        }
        code::ZSET | code::ZSET_2 => sorted_set(source, kind == code::ZSET),
        code::HASH | code::HASH_METADATA | code::HASH_22 => hash(source, kind, family),
        code::HASH_ZIPMAP => {
            let (head, bytes) = source.head::<1>()?;
            // 254 says that there are more than can be written in a byte.
            let length = u64::from(head.first().copied().unwrap_or_default());
            let known = (length < 254).then_some(length);
            Ok(Walked { length: known, ..Walked::new(KeyType::Hash, "listpack", 0, size::packed(bytes)) })
        }
        code::LIST_ZIPLIST => {
            let (length, bytes) = ziplist(source)?;
            Ok(Walked { length, ..Walked::new(KeyType::List, "quicklist", 0, size::list(std::iter::once(bytes))) })
        }
        code::SET_INTSET => {
            let (head, bytes) = source.head::<8>()?;
            let both = u64::from_le_bytes(head);
            let (width, length) = (both as u32, (both >> 32) as u32);
            if !matches!(width, 2 | 4 | 8) || u64::from(width) * u64::from(length) + 8 != bytes {
                return Err(source.damaged(format!("a set of {length} numbers of {width} bytes in {bytes} bytes")));
            }
            let size = size::integers(u64::from(length), u64::from(width));
            Ok(Walked::new(KeyType::Set, "intset", u64::from(length), size))
        }
        code::ZSET_ZIPLIST | code::HASH_ZIPLIST => {
            let (length, bytes) = ziplist(source)?;
            Ok(pairs(kind == code::HASH_ZIPLIST, length, bytes))
        }
        code::HASH_LISTPACK | code::ZSET_LISTPACK => {
            let (length, bytes) = listpack(source)?;
            Ok(pairs(kind == code::HASH_LISTPACK, length, bytes))
        }
        code::SET_LISTPACK => {
            let (length, bytes) = listpack(source)?;
            Ok(Walked { length, ..Walked::new(KeyType::Set, "listpack", 0, size::packed(bytes)) })
        }
        code::HASH_LISTPACK_EX_RC | code::HASH_LISTPACK_EX => {
            if kind == code::HASH_LISTPACK_EX {
                let _: [u8; 8] = source.array()?;
            }
            // Field, value and time to live.
            let (length, bytes) = listpack(source)?;
            let length = length.map(|length| length / 3);
            let size = size::packed(bytes) + 24;
            // Which of them expire stands inside; that some do is what this form is for.
            Ok(Walked {
                length,
                expiring_fields: length.unwrap_or(1),
                ..Walked::new(KeyType::Hash, "listpackex", 0, size)
            })
        }
        code::LIST_QUICKLIST | code::LIST_QUICKLIST_2 => quicklist(source, kind == code::LIST_QUICKLIST_2),
        code::STREAM => stream(source, 1),
        code::STREAM_2 => stream(source, 2),
        code::STREAM_3 => stream(source, 3),
        code::STREAM_4 => stream(source, 4),
        code::MODULE_2 => module(source),
        other => Err(source.unknown("type", other)),
    }
}

/// Pieces of 8 KiB, as a list is loaded.
fn chunks(bytes: u64) -> impl Iterator<Item = u64> {
    const PIECE: u64 = 8192;
    let full = bytes / PIECE;
    // Only sums are taken of them; more than a hundred million pieces do not fit in any memory.
    (0..full.min(100_000_000)).map(|_| PIECE).chain(std::iter::once(bytes % PIECE + 7))
}

fn string<R: Read>(source: &mut Source<R>) -> Result<Walked, RdbError> {
    let text = source.skip_string()?;
    let number = text.number.is_some();
    let encoding = if number {
        "int"
    } else if text.bytes <= 44 {
        "embstr"
    } else {
        "raw"
    };
    Ok(Walked::new(KeyType::String, encoding, text.bytes, size::string(text.bytes, number)))
}

fn sorted_set<R: Read>(source: &mut Source<R>, scores_as_text: bool) -> Result<Walked, RdbError> {
    let length = source.plain_length()?;
    let mut texts = 0u64;
    for _ in 0..length {
        texts = texts.saturating_add(size::text(source.skip_string()?.bytes));
        if scores_as_text {
            // 253 to 255 stand for what has no digits: not a number, and the infinities.
            let digits = source.byte()?;
            if digits < 253 {
                source.skip(u64::from(digits))?;
            }
        } else {
            let _: [u8; 8] = source.array()?;
        }
    }
    Ok(Walked::new(KeyType::SortedSet, "skiplist", length, size::skip_list(length, texts)))
}

fn hash<R: Read>(source: &mut Source<R>, kind: u8, family: Family) -> Result<Walked, RdbError> {
    if kind == code::HASH_METADATA {
        // The earliest time of its fields.
        let _: [u8; 8] = source.array()?;
    }
    let before_each = kind == code::HASH_METADATA || kind == code::HASH_22 && family == Family::Redis;
    let after_each = kind == code::HASH_22 && family == Family::Valkey;
    let length = source.plain_length()?;
    let (mut texts, mut expiring) = (0u64, 0);
    for _ in 0..length {
        if before_each {
            expiring += u64::from(source.plain_length()? != 0);
        }
        let field = source.skip_string()?;
        let value = source.skip_string()?;
        if after_each {
            expiring += u64::from(i64::from_le_bytes(source.array()?) >= 0);
        }
        let both = |text: Text| size::text(text.bytes);
        texts = texts.saturating_add(both(field)).saturating_add(both(value));
    }
    let walked = Walked::new(KeyType::Hash, "hashtable", length, size::table(length, texts));
    Ok(Walked { expiring_fields: expiring, ..walked })
}

fn pairs(is_hash: bool, length: Option<u64>, bytes: u64) -> Walked {
    let kind = if is_hash { KeyType::Hash } else { KeyType::SortedSet };
    let length = length.map(|length| length / 2);
    Walked { length, ..Walked::new(kind, "listpack", 0, size::packed(bytes)) }
}

/// Elements and bytes of a listpack: four bytes of its size, two of its elements (65535 when there are more).
fn listpack<R: Read>(source: &mut Source<R>) -> Result<(Option<u64>, u64), RdbError> {
    let (head, bytes) = source.head::<6>()?;
    let [size @ .., low, high] = head;
    if u64::from(u32::from_le_bytes(size)) != bytes || bytes < 7 {
        return Err(source.damaged(format!("a listpack of {bytes} bytes that says another size of itself")));
    }
    let count = u16::from_le_bytes([low, high]);
    Ok(((count != u16::MAX).then_some(u64::from(count)), bytes))
}

/// The same of a ziplist: size, offset of its last element, elements.
fn ziplist<R: Read>(source: &mut Source<R>) -> Result<(Option<u64>, u64), RdbError> {
    let (head, bytes) = source.head::<10>()?;
    let [size @ .., _, _, _, _, low, high] = head;
    if u64::from(u32::from_le_bytes(size)) != bytes || bytes < 11 {
        return Err(source.damaged(format!("a ziplist of {bytes} bytes that says another size of itself")));
    }
    let count = u16::from_le_bytes([low, high]);
    Ok(((count != u16::MAX).then_some(u64::from(count)), bytes))
}

fn quicklist<R: Read>(source: &mut Source<R>, second: bool) -> Result<Walked, RdbError> {
    let nodes = source.plain_length()?;
    let (mut length, mut bytes) = (Some(0u64), size::list(std::iter::empty()));
    for _ in 0..nodes {
        // 1 is one large element on its own, 2 a listpack.
        let container = if second { source.plain_length()? } else { 2 };
        let (count, node) = match container {
            1 => (Some(1), source.skip_string()?.bytes),
            2 if second => listpack(source)?,
            2 => ziplist(source)?,
            other => return Err(source.damaged(format!("a piece of a list of kind {other}"))),
        };
        length = length.zip(count).map(|(all, more)| all.saturating_add(more));
        bytes = bytes.saturating_add(32 + size::allocated(node));
    }
    Ok(Walked { length, ..Walked::new(KeyType::List, "quicklist", 0, bytes) })
}

fn stream<R: Read>(source: &mut Source<R>, version: u8) -> Result<Walked, RdbError> {
    let numbers = |source: &mut Source<R>, count: usize| -> Result<(), RdbError> {
        for _ in 0..count {
            source.plain_length()?;
        }
        Ok(())
    };
    let pieces = source.plain_length()?;
    let mut bytes = 0u64;
    let mut count = 0u64;
    for _ in 0..pieces {
        source.skip_string()?;
        let (_, piece) = listpack(source)?;
        bytes = bytes.saturating_add(size::allocated(piece));
        count += 1;
    }
    let length = source.plain_length()?;
    // The last id; from version 2 on the first, the highest deleted, and how many were ever added.
    numbers(source, if version >= 2 { 7 } else { 2 })?;
    let groups = source.plain_length()?;
    let (mut pending_entries, mut all_consumers) = (0u64, 0u64);
    for _ in 0..groups {
        source.skip_string()?;
        numbers(source, if version >= 2 { 3 } else { 2 })?;
        let pending = source.plain_length()?;
        for _ in 0..pending {
            source.skip(24)?;
            numbers(source, 1)?;
        }
        let consumers = source.plain_length()?;
        for _ in 0..consumers {
            source.skip_string()?;
            source.skip(if version >= 3 { 16 } else { 8 })?;
            let theirs = source.plain_length()?;
            for _ in 0..theirs {
                source.skip(16)?;
            }
        }
        pending_entries = pending_entries.saturating_add(pending);
        all_consumers = all_consumers.saturating_add(consumers);
    }
    if version >= 4 {
        // Producers that may send twice: how long and how many of their ids are remembered, and the ids.
        numbers(source, 2)?;
        let remembered = source.plain_length()?;
        if remembered > 0 {
            return Err(source.damaged("ids of idempotent producers, which this program cannot walk over"));
        }
        numbers(source, 2)?;
    }
    let fixed = size::stream(&[], groups, pending_entries, all_consumers);
    Ok(Walked::new(KeyType::Stream, "stream", length, fixed.saturating_add(bytes).saturating_add(count * 30)))
}

fn module<R: Read>(source: &mut Source<R>) -> Result<Walked, RdbError> {
    let id = source.plain_length()?;
    skip_module(source)?;
    let kind = KeyType::Module(module_name(id));
    Ok(Walked { kind, encoding: None, length: None, bytes: None, expiring_fields: 0 })
}

/// Walks over what a module wrote: pieces that each say what they are, up to a zero.
pub(super) fn skip_module<R: Read>(source: &mut Source<R>) -> Result<(), RdbError> {
    loop {
        match source.plain_length()? {
            0 => return Ok(()),
            1 | 2 => {
                source.plain_length()?;
            }
            3 => source.skip(4)?,
            4 => source.skip(8)?,
            5 => {
                source.skip_string()?;
            }
            other => return Err(source.damaged(format!("a piece of a module's value of kind {other}"))),
        }
    }
}

/// Nine characters of six bits each; the last ten bits are the version of the module's format.
fn module_name(id: u64) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letters = (0..9).map(|at| (id >> (10 + 6 * (8 - at)) & 63) as usize);
    letters.filter_map(|letter| ALPHABET.get(letter)).map(|byte| char::from(*byte)).collect()
}
