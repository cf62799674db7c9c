//! Removing a collection of many elements a piece at a time.
//!
//! UNLINK frees memory in a thread of the server's own, but all at once: a collection of gigabytes keeps that thread,
//! and the allocator, busy for as long as it takes. So such a key is first renamed, in the same step that finds it
//! unchanged, and then emptied in small pieces under a name that nobody else uses. A run that is killed in between
//! leaves that name, and the next run finds it by its prefix and goes on.

use std::time::Instant;

use redis::{Cmd, Value};

use crate::node::{Node, integer, text};
use crate::pace::Pace;
use crate::trouble::Trouble;

/// How the names of retired keys begin.
pub const PREFIX: &[u8] = b"maint:retired:";
/// Collections that take more memory than this are removed in pieces, in bytes.
pub const FROM_BYTES: u64 = 32 * 1024 * 1024;
/// Elements a piece.
const PIECE: i64 = 1000;

/// The name that a key gets on its way out: in the same slot as its own. None for a key whose slot cannot be had by
/// another name.
pub fn name_for(key: &[u8]) -> Option<Vec<u8>> {
    let tag = tag_of(key).unwrap_or(key);
    if tag.contains(&b'}') || tag.is_empty() {
        return None;
    }
    let id = ulid::Ulid::generate().to_string();
    Some([PREFIX, b"{", tag, b"}:", id.as_bytes()].concat())
}

fn tag_of(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&byte| byte == b'{')?;
    let rest = key.get(open + 1..)?;
    let close = rest.iter().position(|&byte| byte == b'}')?;
    rest.get(..close).filter(|tag| !tag.is_empty())
}

/// Empties the collection, a piece at a time, in the pace that the server allows. An emptied key is gone.
///
/// # Errors
/// A command failed; what is left is found by the next run.
pub async fn empty(node: &mut Node, key: &[u8], pace: &mut Pace) -> Result<(), Trouble> {
    let kind = text(&node.call(redis::cmd("TYPE").arg(key)).await?).unwrap_or_default();
    loop {
        let started = Instant::now();
        let more = match kind.as_str() {
            "set" => {
                !matches!(node.call(redis::cmd("SPOP").arg(key).arg(PIECE)).await?, Value::Array(items) if items.is_empty())
            }
            "zset" => removed(node, redis::cmd("ZREMRANGEBYRANK").arg(key).arg(0).arg(PIECE - 1)).await?,
            "hash" => fields(node, key).await?,
            "list" => {
                node.call(redis::cmd("LTRIM").arg(key).arg(PIECE).arg(-1)).await?;
                removed(node, redis::cmd("LLEN").arg(key)).await?
            }
            "stream" => {
                let length = integer(&node.call(redis::cmd("XLEN").arg(key)).await?).unwrap_or(0);
                node.call(redis::cmd("XTRIM").arg(key).arg("MAXLEN").arg((length - PIECE).max(0))).await?;
                length > PIECE
            }
            _ => false,
        };
        let pause = pace.after(started.elapsed());
        if !more {
            break;
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    // A stream without entries is still there, and so is what is not a collection.
    node.call(redis::cmd("UNLINK").arg(key)).await?;
    Ok(())
}

async fn removed(node: &mut Node, command: &Cmd) -> Result<bool, Trouble> {
    Ok(integer(&node.call(command).await?).unwrap_or(0) > 0)
}

async fn fields(node: &mut Node, key: &[u8]) -> Result<bool, Trouble> {
    let page = node.call(redis::cmd("HSCAN").arg(key).arg(0).arg("COUNT").arg(PIECE)).await?;
    let Value::Array(parts) = page else { return Err(Trouble::answer("HSCAN", &page)) };
    let Some(Value::Array(items)) = parts.get(1) else { return Ok(false) };
    let mut command = redis::cmd("HDEL");
    command.arg(key);
    for item in items.iter().step_by(2) {
        if let Value::BulkString(field) = item {
            command.arg(field);
        }
    }
    if items.is_empty() { Ok(false) } else { removed(node, &command).await }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::slot_of;

    #[test]
    fn a_retired_key_stays_in_its_slot() {
        for key in [&b"followers:7"[..], b"{user:1}:feed", b"a{b}c{d}", b"bin\xff\x00{x"] {
            let name = name_for(key).unwrap();
            assert!(name.starts_with(PREFIX));
            assert_eq!(slot_of(&name), slot_of(key), "{key:?}");
        }
        // No other name has the slot of these for sure.
        assert_eq!(name_for(b"a}b"), None);
        assert_eq!(name_for(b""), None);
    }
}
