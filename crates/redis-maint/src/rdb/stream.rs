//! Streams: a radix tree of listpacks, then the counters, then consumer groups with their pending entries.
//! Layout: `rdb.c` of the Redis sources; versions 1 (5.0), 2 (7.0), 3 (7.2) and 4 (8.6).

use std::io::Read;

use crate::entry::KeyType;

use super::packed;
use super::radix::Radix;
use super::size::Model;
use super::source::{Fault, Outcome, Source};
use super::text::Scratch;
use super::value::{Value, check};

pub(super) fn load<R: Read>(
    source: &mut Source<R>,
    scratch: &mut Scratch,
    model: Model,
    version: u8,
) -> Outcome<Value> {
    let mut bytes = model.stream();
    let mut tree = Radix::default();
    for _ in 0..source.count()? {
        let at = source.offset();
        let id = source.string(16)?;
        let Ok(id) = <[u8; 16]>::try_from(id) else {
            return Err(Fault::Bad { at, what: "a stream's ID is not 16 bytes long" });
        };
        tree.add(id);
        let blob = source.blob(scratch)?;
        let counted = if blob.whole() {
            packed::listpack(blob.bytes, |_| ()).map(|_| ())
        } else {
            packed::listpack_count(blob.bytes, blob.length).map(|_| ())
        };
        check(blob.at, counted)?;
        bytes = bytes.saturating_add(model.allocation(blob.length));
    }
    let (keys, nodes) = tree.finish();
    bytes = bytes.saturating_add(model.radix(keys, nodes));
    let length = source.number()?;
    // The last ID; from version 2 on also the first one, the greatest deleted one and the number of all ever added.
    for _ in 0..if version >= 2 { 7 } else { 2 } {
        source.number()?;
    }
    for _ in 0..source.count()? {
        bytes = bytes.saturating_add(group(source, model, version)?);
    }
    if version >= 4 {
        producers(source)?;
    }
    Ok(Value {
        kind: KeyType::Stream,
        encoding: Some("stream"),
        length: Some(length),
        bytes: Some(bytes),
        field_expiries: 0,
    })
}

fn group<R: Read>(source: &mut Source<R>, model: Model, version: u8) -> Outcome<u64> {
    source.measure()?;
    // The last delivered ID, and from version 2 on how many entries were read.
    for _ in 0..if version >= 2 { 3 } else { 2 } {
        source.number()?;
    }
    let mut pending = Radix::default();
    for _ in 0..source.count()? {
        pending.add(source.array()?);
        source.skip(8)?;
        source.number()?;
    }
    let (keys, nodes) = pending.finish();
    let mut bytes = model.group(keys).saturating_add(model.radix(keys, nodes));
    for _ in 0..source.count()? {
        let name = source.measure()?;
        source.skip(if version >= 3 { 16 } else { 8 })?;
        let mut pending = Radix::default();
        for _ in 0..source.count()? {
            pending.add(source.array()?);
        }
        let (keys, nodes) = pending.finish();
        bytes = bytes.saturating_add(model.consumer(name.length)).saturating_add(model.radix(keys, nodes));
    }
    Ok(bytes)
}

/// The idempotent producers of version 4: how long and how many of their IDs are kept, the IDs, and two counters. How
/// kept IDs are laid out differed between release candidates, so a stream that has some is refused.
fn producers<R: Read>(source: &mut Source<R>) -> Outcome<()> {
    source.number()?;
    source.number()?;
    let at = source.offset();
    if source.number()? != 0 {
        return Err(Fault::Unreadable { at, what: "a list of a stream's idempotent producers" });
    }
    source.number()?;
    source.number()?;
    Ok(())
}
