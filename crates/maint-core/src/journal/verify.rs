//! Reading a journal back, and saying whether it is the one that was written.

use super::{Damage, FILE_NAME, HEAD_NAME, Head, JournalError, chain_hash, failed, parse, read_head};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

/// A journal that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many lines it has.
    pub lines: u64,
    /// Its last line.
    pub head: Head,
}

/// One record of a journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// The record.
    pub record: serde_json::Value,
}

/// Checks a journal that starts a chain. See [`verify_after`].
pub fn verify(path: &Path) -> Result<Verified, JournalError> {
    verify_after(path, &Head::genesis())
}

/// Checks every line of a journal that continues a chain after `before`, as a rotated one does, and names the first
/// that is wrong.
///
/// The end is checked against the head file beside `journal.ndjson`; a file of another name has no head of its own, and
/// its end shows in the file that continues it. Waits for a writer in the middle of a line.
pub fn verify_after(path: &Path, before: &Head) -> Result<Verified, JournalError> {
    let file = File::open(path).map_err(failed("open", path))?;
    rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockShared))
        .map_err(|errno| failed("lock", path)(errno.into()))?;
    let mut lines = Lines { input: BufReader::new(file), number: 0, path: path.to_owned(), buffer: Vec::new() };
    let mut head = before.clone();
    let is_current = path.file_name().is_some_and(|name| name == FILE_NAME);
    let named = if is_current { read_head(path)? } else { None };
    let mut named_seen = named.as_ref() == Some(&head);
    while lines.advance()? {
        let damaged = |damage| JournalError::Damaged { path: path.to_owned(), line: lines.number, damage };
        if !lines.is_whole() {
            return Err(damaged(Damage::Torn));
        }
        let line = parse(lines.line()).ok_or_else(|| damaged(Damage::Edited))?;
        if chain_hash(&line.prev, line.seq, line.record.get()) != line.hash {
            return Err(damaged(Damage::Edited));
        }
        let expected = head.seq.saturating_add(1);
        if line.seq != expected {
            let found = line.seq;
            let number = lines.number;
            let damage = if found < expected || lines.has_later(expected)? {
                Damage::Reordered { expected, found }
            } else {
                Damage::Removed { first: expected, last: found - 1 }
            };
            return Err(JournalError::Damaged { path: path.to_owned(), line: number, damage });
        }
        if line.prev != head.hash {
            // The line before agrees with itself, but not with what was chained to it: it was rewritten.
            let line = if lines.number > 1 { lines.number - 1 } else { lines.number };
            return Err(JournalError::Damaged { path: path.to_owned(), line, damage: Damage::Edited });
        }
        let new = Head { seq: line.seq, hash: line.hash.into_owned() };
        head = new;
        named_seen |= named.as_ref() == Some(&head);
    }
    if is_current {
        check_head(path, lines.number, &head, named, named_seen)?;
    }
    Ok(Verified { lines: lines.number, head })
}

fn check_head(path: &Path, lines: u64, last: &Head, named: Option<Head>, seen: bool) -> Result<(), JournalError> {
    let named = match named {
        Some(named) => named,
        // The first line of all is written before there is a head; without a line there is none either.
        None if last.seq <= 1 => return Ok(()),
        None => return Err(JournalError::NoHead { path: path.with_file_name(HEAD_NAME) }),
    };
    // A crash between lines and their head leaves the head behind, which loses nothing: the chain goes through it.
    if seen {
        return Ok(());
    }
    let damage = if named.seq > last.seq {
        Damage::TailRemoved { first: last.seq + 1, last: named.seq }
    } else {
        Damage::HeadDiffers
    };
    Err(JournalError::Damaged { path: path.to_owned(), line: lines, damage })
}

/// The records of a journal, first to last, each checked to be what was written; the order is for [`verify`] to judge.
pub fn read(path: &Path) -> Result<impl Iterator<Item = Result<Entry, JournalError>> + use<>, JournalError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let mut lines = Lines { input: BufReader::new(file), number: 0, path: path.to_owned(), buffer: Vec::new() };
    Ok(std::iter::from_fn(move || match lines.advance() {
        Ok(false) => None,
        Ok(true) => Some(lines.entry()),
        Err(error) => Some(Err(error)),
    }))
}

struct Lines {
    input: BufReader<File>,
    /// Of the current line, from 1.
    number: u64,
    path: PathBuf,
    buffer: Vec<u8>,
}

impl Lines {
    /// Goes to the next line; false at the end.
    fn advance(&mut self) -> Result<bool, JournalError> {
        self.buffer.clear();
        let read = self.input.read_until(b'\n', &mut self.buffer).map_err(failed("read", &self.path))?;
        self.number += u64::from(read > 0);
        Ok(read > 0)
    }

    fn is_whole(&self) -> bool {
        self.buffer.ends_with(b"\n")
    }

    fn line(&self) -> &[u8] {
        self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer)
    }

    fn has_later(&mut self, seq: u64) -> Result<bool, JournalError> {
        while self.advance()? {
            if parse(self.line()).is_some_and(|line| line.seq == seq) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn entry(&self) -> Result<Entry, JournalError> {
        let damaged = |damage| JournalError::Damaged { path: self.path.clone(), line: self.number, damage };
        if !self.is_whole() {
            return Err(damaged(Damage::Torn));
        }
        let line = parse(self.line()).filter(|line| chain_hash(&line.prev, line.seq, line.record.get()) == line.hash);
        let line = line.ok_or_else(|| damaged(Damage::Edited))?;
        let record = serde_json::from_str(line.record.get()).map_err(|_| damaged(Damage::Edited))?;
        Ok(Entry { seq: line.seq, record })
    }
}
