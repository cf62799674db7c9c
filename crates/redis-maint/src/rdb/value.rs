//! Values by their type. Each is passed over once, and what the loading server would make of it is worked out on the
//! way: which encoding it would choose, and what that takes. Where the choice hangs on the server's configuration, its
//! defaults are taken. Types: `rdb.h` of Redis 8.6 and of Valkey 9.

use std::io::Read;

use crate::entry::KeyType;

use super::packed::{self, Element, LISTPACK_FRAME};
use super::size::{Generation, Model, Sum, slots, slots_while_loading};
use super::source::{Fault, Outcome, Source};
use super::stream;
use super::text::{Blob, Piece, Scratch};
use super::{Producer, module};

/// Up to so many fields a hash is a listpack (`hash-max-listpack-entries`).
const HASH_ENTRIES: u64 = 512;
/// Up to so many members a sorted set, or from 7.2 on a set, is a listpack.
const SET_ENTRIES: u64 = 128;
/// Up to so many integers a set is an intset (`set-max-intset-entries`).
const INTSET_ENTRIES: u64 = 512;
/// Up to so many bytes an element may stand in a listpack.
const LISTPACK_VALUE: u64 = 64;
/// Up to so many bytes a node of a list holds (`list-max-listpack-size -2`).
const LIST_NODE: u64 = 8192;

/// What is known of a value once it was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) kind: KeyType,
    pub(super) encoding: Option<&'static str>,
    pub(super) length: Option<u64>,
    /// Without what the key takes.
    pub(super) bytes: Option<u64>,
    /// Fields of a hash that have a time to live of their own.
    pub(super) field_expiries: u64,
}

impl Value {
    fn new(kind: KeyType, encoding: &'static str, length: impl Into<Option<u64>>, bytes: u64) -> Self {
        Value { kind, encoding: Some(encoding), length: length.into(), bytes: Some(bytes), field_expiries: 0 }
    }
}

/// Gives a complaint about a packed value its place.
pub(super) fn check<T>(at: u64, step: Result<T, &'static str>) -> Outcome<T> {
    step.map_err(|what| Fault::Bad { at, what })
}

/// Reads the value of the type that stood at `at`.
pub(super) fn load<R: Read>(
    source: &mut Source<R>,
    scratch: &mut Scratch,
    model: Model,
    producer: Producer,
    (at, code): (u64, u8),
) -> Outcome<Value> {
    match code {
        0 => {
            let piece = source.measure()?;
            let (encoding, bytes) = model.string(piece);
            Ok(Value::new(KeyType::String, encoding, piece.length, bytes))
        }
        1 => plain_list(source, model),
        2 => plain_set(source, model),
        3 | 5 => sorted_set(source, model, code == 5),
        4 => plain_hash(source, model, Expiries::None),
        7 => {
            let name = module::type_name(source.number()?);
            source.skip_module_value()?;
            Ok(Value { kind: KeyType::Module(name), encoding: None, length: None, bytes: None, field_expiries: 0 })
        }
        9 | 13 | 16 => packed_hash(source, scratch, model, code),
        10 => ziplist_list(source, scratch, model),
        11 => {
            let blob = source.blob(scratch)?;
            let count = check(blob.at, packed::intset(blob.bytes, blob.length))?;
            Ok(Value::new(KeyType::Set, "intset", count, model.flat(blob.length)))
        }
        12 | 17 => packed_sorted_set(source, scratch, model, code == 12),
        14 | 18 => quicklist(source, scratch, model, code == 14),
        15 => stream::load(source, scratch, model, 1),
        19 => stream::load(source, scratch, model, 2),
        20 => packed_set(source, scratch, model),
        21 => stream::load(source, scratch, model, 3),
        22 if producer == Producer::Valkey => plain_hash(source, model, Expiries::After),
        22 => plain_hash(source, model, Expiries::Before),
        23 if producer == Producer::Redis => expiring_listpack(source, scratch, model),
        24 if producer == Producer::Redis => {
            // The earliest of the fields' times; the fields' own are given as distances from it.
            source.skip(8)?;
            plain_hash(source, model, Expiries::Before)
        }
        25 if producer == Producer::Redis => {
            source.skip(8)?;
            expiring_listpack(source, scratch, model)
        }
        26 if producer == Producer::Redis => stream::load(source, scratch, model, 4),
        _ => Err(Fault::Unknown { at, what: "type of value", code: u64::from(code) }),
    }
}

fn plain_list<R: Read>(source: &mut Source<R>, model: Model) -> Outcome<Value> {
    let count = source.count()?;
    let mut nodes = Nodes::default();
    for _ in 0..count {
        nodes.add(model, source.measure()?);
    }
    Ok(nodes.list(model))
}

/// A list as the loading server builds it: elements fill a node up to its limit.
#[derive(Default)]
struct Nodes {
    elements: u64,
    closed: u64,
    bytes: u64,
    open: u64,
}

impl Nodes {
    fn add(&mut self, model: Model, piece: Piece) {
        let size = packed::listpack_bytes(piece);
        if self.open > 0 && self.open + size > LIST_NODE {
            self.close(model);
        }
        self.elements += 1;
        self.open = self.open.saturating_add(size);
    }

    fn close(&mut self, model: Model) {
        self.closed += 1;
        self.bytes = self.bytes.saturating_add(model.list_node(self.open + LISTPACK_FRAME));
        self.open = 0;
    }

    fn list(mut self, model: Model) -> Value {
        if self.closed == 0 && model.generation >= Generation::V72 && self.open <= LIST_NODE {
            return Value::new(KeyType::List, "listpack", self.elements, model.flat(self.open + LISTPACK_FRAME));
        }
        if self.open > 0 {
            self.close(model);
        }
        Value::new(KeyType::List, "quicklist", self.elements, Model::list(self.bytes))
    }
}

fn ziplist_list<R: Read>(source: &mut Source<R>, scratch: &mut Scratch, model: Model) -> Outcome<Value> {
    let mut nodes = Nodes::default();
    let blob = source.blob(scratch)?;
    if !blob.whole() {
        return Ok(Value::new(KeyType::List, "quicklist", None, Model::list(model.list_node(blob.length))));
    }
    check(blob.at, packed::ziplist(blob.bytes, |element| nodes.add(model, element.piece())))?;
    Ok(nodes.list(model))
}

fn quicklist<R: Read>(source: &mut Source<R>, scratch: &mut Scratch, model: Model, ziplists: bool) -> Outcome<Value> {
    let nodes = source.count()?;
    let (mut elements, mut bytes, mut only) = (Some(0u64), 0u64, None);
    for _ in 0..nodes {
        let at = source.offset();
        let container = if ziplists { 2 } else { source.number()? };
        let (count, length) = match container {
            // One element that is too long for a listpack stands alone.
            1 => (Some(1), source.measure()?.length),
            2 => {
                let blob = source.blob(scratch)?;
                let (count, length) = if ziplists { as_listpack(&blob)? } else { (count(&blob)?, blob.length) };
                only = (length <= LIST_NODE).then_some(length);
                (count, length)
            }
            code => return Err(Fault::Unknown { at, what: "kind of list node", code }),
        };
        elements = elements.zip(count).map(|(sum, count)| sum.saturating_add(count));
        bytes = bytes.saturating_add(model.list_node(length));
    }
    match only {
        Some(length) if nodes == 1 && model.generation >= Generation::V72 => {
            Ok(Value::new(KeyType::List, "listpack", elements, model.flat(length)))
        }
        _ => Ok(Value::new(KeyType::List, "quicklist", elements, Model::list(bytes))),
    }
}

/// Elements of a listpack: walked if it is at hand, else by its head.
fn count(blob: &Blob<'_>) -> Outcome<Option<u64>> {
    check(
        blob.at,
        if blob.whole() {
            packed::listpack(blob.bytes, |_| ()).map(Some)
        } else {
            packed::listpack_count(blob.bytes, blob.length)
        },
    )
}

/// A ziplist's elements, and the length of the listpack that the loading server turns it into.
fn as_listpack(blob: &Blob<'_>) -> Outcome<(Option<u64>, u64)> {
    if !blob.whole() {
        return Ok((None, blob.length));
    }
    let mut length = LISTPACK_FRAME;
    let each = |element: Element<'_>| length += packed::listpack_bytes(element.piece());
    let count = check(blob.at, packed::ziplist(blob.bytes, each))?;
    Ok((Some(count), length))
}

fn plain_set<R: Read>(source: &mut Source<R>, model: Model) -> Outcome<Value> {
    let count = source.count()?;
    let mut sum = Sum::default();
    let (mut integers, mut width) = (0, 2);
    for _ in 0..count {
        let piece = source.measure()?;
        sum.add(model, piece);
        if let Some(value) = piece.integer {
            integers += 1;
            width = width.max(match value {
                -32_768..=32_767 => 2,
                -2_147_483_648..=2_147_483_647 => 4,
                _ => 8,
            });
        }
    }
    let packs = model.generation >= Generation::V72 && count <= SET_ENTRIES && sum.longest <= LISTPACK_VALUE;
    let (encoding, bytes) = if integers == count && count <= INTSET_ENTRIES {
        ("intset", model.flat(8 + width * count))
    } else if packs {
        ("listpack", model.flat(sum.packed + LISTPACK_FRAME))
    } else {
        ("hashtable", model.set(count, sum))
    };
    Ok(Value::new(KeyType::Set, encoding, count, bytes))
}

fn packed_set<R: Read>(source: &mut Source<R>, scratch: &mut Scratch, model: Model) -> Outcome<Value> {
    let blob = source.blob(scratch)?;
    let count = count(&blob)?;
    Ok(Value::new(KeyType::Set, "listpack", count, model.flat(blob.length)))
}

/// Bytes of a score in a listpack: as an integer if it is one, else as text of at most 17 digits.
fn score_bytes(score: f64) -> u64 {
    let piece = if score.fract() == 0.0 && score.abs() < 1e17 {
        Piece::of_integer(score as i64)
    } else {
        Piece { length: if score.is_finite() { 18 } else { 3 }, integer: None }
    };
    packed::listpack_bytes(piece)
}

fn sorted_set<R: Read>(source: &mut Source<R>, model: Model, binary: bool) -> Outcome<Value> {
    let count = source.count()?;
    let mut sum = Sum::default();
    let mut scores = 0;
    for _ in 0..count {
        sum.add(model, source.measure()?);
        if binary {
            scores += score_bytes(f64::from_le_bytes(source.array()?));
            continue;
        }
        // An old score is text behind a byte of length; 253 to 255 stand for what is no number.
        scores += match source.byte()? {
            253..=255 => score_bytes(f64::INFINITY),
            length => packed::listpack_bytes(Piece::of_bytes(source.take(usize::from(length))?)),
        };
    }
    Ok(if count <= SET_ENTRIES && sum.longest <= LISTPACK_VALUE {
        Value::new(KeyType::SortedSet, "listpack", count, model.flat(sum.packed + scores + LISTPACK_FRAME))
    } else {
        Value::new(KeyType::SortedSet, "skiplist", count, model.skiplist(count, sum))
    })
}

fn packed_sorted_set<R: Read>(
    source: &mut Source<R>,
    scratch: &mut Scratch,
    model: Model,
    ziplist: bool,
) -> Outcome<Value> {
    let blob = source.blob(scratch)?;
    let (elements, length) = if ziplist { as_listpack(&blob)? } else { (count(&blob)?, blob.length) };
    let members = halves(&blob, elements, 2)?;
    Ok(Value::new(KeyType::SortedSet, "listpack", members, model.flat(length)))
}

/// How many groups of `size` the elements of a listpack make.
fn halves(blob: &Blob<'_>, elements: Option<u64>, size: u64) -> Outcome<Option<u64>> {
    match elements {
        Some(count) if count % size != 0 => {
            Err(Fault::Bad { at: blob.at, what: "a packed collection misses the last element of a pair" })
        }
        other => Ok(other.map(|count| count / size)),
    }
}

/// Where a hash keeps its fields' own times to live.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expiries {
    None,
    /// As a number before each field, 0 for none (Redis).
    Before,
    /// As eight bytes after each value, -1 for none (Valkey).
    After,
}

fn plain_hash<R: Read>(source: &mut Source<R>, model: Model, expiries: Expiries) -> Outcome<Value> {
    let count = source.count()?;
    let mut sum = Sum::default();
    let (mut expiring, mut packed_first) = (0, 0);
    for _ in 0..count {
        if expiries == Expiries::Before && source.number()? != 0 {
            expiring += 1;
        }
        sum.add(model, source.measure()?);
        sum.add(model, source.measure()?);
        if expiries == Expiries::After && i64::from_le_bytes(source.array()?) != -1 {
            expiring += 1;
        }
        packed_first += u64::from(sum.longest <= LISTPACK_VALUE);
    }
    let packs = expiries == Expiries::None && count <= HASH_ENTRIES && sum.longest <= LISTPACK_VALUE;
    let (encoding, bytes) = if packs {
        ("listpack", model.flat(sum.packed + LISTPACK_FRAME))
    } else {
        let slots = if count <= HASH_ENTRIES { slots_while_loading(packed_first, count) } else { slots(count) };
        ("hashtable", model.hash(count, slots, sum).saturating_add(expiring * 8))
    };
    Ok(Value { field_expiries: expiring, ..Value::new(KeyType::Hash, encoding, count, bytes) })
}

/// A hash in one piece: a zipmap (code 9), a ziplist (13) or a listpack.
fn packed_hash<R: Read>(source: &mut Source<R>, scratch: &mut Scratch, model: Model, code: u8) -> Outcome<Value> {
    let blob = source.blob(scratch)?;
    if code == 16 || !blob.whole() {
        let elements = if code == 16 { count(&blob)? } else { None };
        let fields = halves(&blob, elements, 2)?;
        return Ok(Value::new(KeyType::Hash, "listpack", fields, model.flat(blob.length)));
    }
    let mut sum = Sum::default();
    let each = |element: Element<'_>| sum.add(model, element.piece());
    let fields = if code == 9 {
        check(blob.at, packed::zipmap(blob.bytes, each))?
    } else {
        let elements = check(blob.at, packed::ziplist(blob.bytes, each))?;
        halves(&blob, Some(elements), 2)?.unwrap_or_default()
    };
    Ok(if fields > HASH_ENTRIES || (code == 9 && sum.longest > LISTPACK_VALUE) {
        Value::new(KeyType::Hash, "hashtable", fields, model.hash(fields, slots(fields), sum))
    } else {
        Value::new(KeyType::Hash, "listpack", fields, model.flat(sum.packed + LISTPACK_FRAME))
    })
}

/// A hash of name, value and time in turn, 0 for no time.
fn expiring_listpack<R: Read>(source: &mut Source<R>, scratch: &mut Scratch, model: Model) -> Outcome<Value> {
    let blob = source.blob(scratch)?;
    let (mut place, mut expiring) = (0, 0);
    let elements = if blob.whole() {
        let count = packed::listpack(blob.bytes, |element| {
            place = (place + 1) % 3;
            expiring += u64::from(place == 0 && element != Element::Integer(0));
        });
        Some(check(blob.at, count)?)
    } else {
        count(&blob)?
    };
    let fields = halves(&blob, elements, 3)?;
    let value = Value::new(KeyType::Hash, "listpackex", fields, model.flat(blob.length) + 40);
    Ok(Value { field_expiries: expiring, ..value })
}
