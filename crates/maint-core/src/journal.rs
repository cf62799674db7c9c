//! The journal: one line for every record of a run that changed something, chained so that a later edit is found.
//!
//! A line of `STATE_DIR/journal/journal.ndjson` is `{"seq":N,"prev":"HEX","record":{...},"hash":"HEX"}`, where `seq`
//! counts from 1, `prev` is the hash of the line before (sixty-four zeros before the first), and `hash` is the SHA-256
//! of `PREV LF SEQ LF RECORD`: the previous hash in hex, the number in decimal and the record exactly as it stands in
//! the line.
//!
//! A chain cannot tell that its last lines were cut off, so the file `head` beside it names the last line. It is
//! written after the line is on disk, and never runs ahead of it. Whenever it is ahead, lines are gone, and the next
//! line is chained to the head, not to what is left: the gap stays in the file for [`verify`] to find. For the same
//! reason a journal can be rotated: the next file goes on from the head.
//!
//! There is no key in this: it finds mistakes and careless hands, not somebody who rewrites the whole file and the
//! head.
//!
//! Writers of several processes take turns by `flock` on the file. Nothing in here waits for anything but that lock and
//! the disk.

mod verify;
mod writer;

pub use verify::{Entry, Verified, read, verify, verify_after};
pub use writer::JournalWriter;

use crate::durable::{self, DurableError};
use crate::state_dir::{self, StateDirError};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "journal.ndjson";
const HEAD_NAME: &str = "head";

/// The last line of a chain: what the next one is chained to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The number of the line; 0 before the first.
    pub seq: u64,
    /// Its hash, in hex.
    pub hash: String,
}

impl Head {
    /// What the first line of a new chain is chained to.
    pub fn genesis() -> Self {
        Self { seq: 0, hash: "0".repeat(64) }
    }
}

/// What is wrong with a line, or with the chain at that line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// The line is not what was written.
    Edited,
    /// Lines with these numbers, first to last, are missing before it.
    Removed {
        /// The first missing number.
        first: u64,
        /// The last missing number.
        last: u64,
    },
    /// It stands in the wrong place.
    Reordered {
        /// The number that belongs here.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// The last lines, with these numbers, are missing after it.
    TailRemoved {
        /// The first missing number.
        first: u64,
        /// The last missing number.
        last: u64,
    },
    /// It is only partly there, as after a crash. The next append moves it aside.
    Torn,
    /// The head names another last line.
    HeadDiffers,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edited => f.write_str("it was edited"),
            Self::Removed { first, last } => write!(f, "records {first} to {last} were removed before it"),
            Self::Reordered { expected, found } => {
                write!(f, "lines were reordered: record {expected} belongs here, not {found}")
            }
            Self::TailRemoved { first, last } => write!(f, "the end was removed after it: records {first} to {last}"),
            Self::Torn => f.write_str("it is only partly written; the next run that appends moves it aside"),
            Self::HeadDiffers => f.write_str("the head file names another last record"),
        }
    }
}

/// The journal cannot be written or read, or is not what was written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The record is not one JSON object.
    #[error("not written to the journal: the record is not a JSON object: {reason}")]
    NotARecord {
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be used.
    #[error("cannot {step} {}: {source}", path.display())]
    Io {
        /// What was being done.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory cannot be made.
    #[error(transparent)]
    Directory(#[from] StateDirError),
    /// The head or a torn line cannot be written.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// A line is not what was written.
    #[error("{} line {line}: {damage}", path.display())]
    Damaged {
        /// The journal file.
        path: PathBuf,
        /// The line, from 1; 0 for before the first.
        line: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// The journal has lines, but nothing says which is the last.
    #[error(
        "the head file {} is missing or damaged, so a cut end of the journal would go unseen; restore it from a \
         backup, or move the journal file aside to start a new one",
        path.display()
    )]
    NoHead {
        /// The head file.
        path: PathBuf,
    },
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError::Io { step, path: path.to_owned(), source }
}

/// The journal of one state directory, to be appended to.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    /// The journal under a state directory, made when it is not there; only its owner can read it.
    pub fn open(state_dir: &Path) -> Result<Self, JournalError> {
        let directory = state_dir.join("journal");
        state_dir::ensure(&directory)?;
        let journal = Self { path: directory.join(FILE_NAME) };
        journal.lock()?;
        Ok(journal)
    }

    /// The journal file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one record, a JSON object, and returns its place in the chain once it is on disk.
    ///
    /// On an error the file is as it was before, unless only the last sync failed. Blocks while another process
    /// appends.
    pub fn append(&mut self, record: &str) -> Result<Head, JournalError> {
        self.append_all(&[record])
    }

    /// Appends several records with one sync for all of them; as [`Journal::append`], all of them or none.
    pub fn append_all(&mut self, records: &[impl AsRef<str>]) -> Result<Head, JournalError> {
        let records: Vec<String> = records.iter().map(|record| one_line(record.as_ref())).collect::<Result<_, _>>()?;
        let mut file = self.lock()?;
        let length = self.set_torn_line_aside(&mut file)?;
        let mut head = self.last(&mut file, length)?;
        if head.seq == 0 && length == 0 {
            // From here on a missing head is tampering, even when the power goes between the lines and their head.
            self.write_head(&head)?;
        }
        let mut lines = String::new();
        for record in &records {
            let seq = head.seq.saturating_add(1);
            let hash = chain_hash(&head.hash, seq, record);
            lines += &(render(seq, &head.hash, record, &hash) + "\n");
            head = Head { seq, hash };
        }
        let written = file
            .seek(SeekFrom::Start(length))
            .and_then(|_| file.write_all(lines.as_bytes()))
            .and_then(|()| file.sync_data())
            .map_err(failed("append to", &self.path))
            .and_then(|()| self.write_head(&head));
        if let Err(error) = written {
            // Where only the sync after the head's renaming failed, both are in place, and a cut would look like
            // tampering.
            if !matches!(read_head(&self.path), Ok(Some(named)) if named == head) {
                file.set_len(length)
                    .and_then(|()| file.sync_data())
                    .map_err(failed("undo a failed append to", &self.path))?;
            }
            return Err(error);
        }
        Ok(head)
    }

    /// Opens and locks the file that has the name now: it may be rotated away while we wait for the lock.
    fn lock(&self) -> Result<File, JournalError> {
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&self.path)
                .map_err(failed("open", &self.path))?;
            rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
                .map_err(|errno| failed("lock", &self.path)(errno.into()))?;
            let ours = file.metadata().map_err(failed("look at", &self.path))?;
            match std::fs::metadata(&self.path) {
                Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => return Ok(file),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(failed("look at", &self.path)(e)),
            }
        }
    }

    /// Moves what follows the last line end into a file of its own; returns the length of the whole lines.
    fn set_torn_line_aside(&self, file: &mut File) -> Result<u64, JournalError> {
        let length = file.metadata().map_err(failed("look at", &self.path))?.len();
        let whole = last_line_end(file, length).map_err(failed("read", &self.path))?;
        if whole < length {
            let mut torn = Vec::new();
            file.seek(SeekFrom::Start(whole))
                .and_then(|_| file.read_to_end(&mut torn))
                .map_err(failed("read", &self.path))?;
            let time = Timestamp::now().strftime("%Y%m%dT%H%M%S.%9fZ");
            durable::replace(&self.path.with_file_name(format!("journal.torn-{time}")), &torn, 0o600)?;
            file.set_len(whole).and_then(|()| file.sync_data()).map_err(failed("cut the torn line off", &self.path))?;
        }
        Ok(whole)
    }

    /// What the next line is chained to: the last line, or the head if that is ahead because lines were removed.
    fn last(&self, file: &mut File, length: u64) -> Result<Head, JournalError> {
        let head = read_head(&self.path)?;
        if length == 0 {
            return Ok(head.unwrap_or_else(Head::genesis));
        }
        let start = last_line_end(file, length - 1).map_err(failed("read", &self.path))?;
        let mut line = Vec::new();
        file.seek(SeekFrom::Start(start))
            .and_then(|_| file.take(length - 1 - start).read_to_end(&mut line))
            .map_err(failed("read", &self.path))?;
        let last = parse(&line);
        match (head, last) {
            (Some(head), Some(last)) if last.hash == head.hash => Ok(head),
            // A crash came between lines and their head. Any other line that the head does not know is not ours: verify
            // will say what is wrong with it, and the chain goes on from what we know we wrote.
            (Some(head), Some(_)) => {
                let mut text = String::new();
                file.seek(SeekFrom::Start(0)).map_err(failed("read", &self.path))?;
                // Bytes that are not text were not written here; they end the chain as any other damage does.
                let _ = file.read_to_string(&mut text);
                Ok(beyond(&text, &head).unwrap_or(head))
            }
            (Some(head), None) => Ok(head),
            (None, Some(first)) if first.seq == 1 => Ok(Head { seq: 1, hash: first.hash.into_owned() }),
            (None, _) => Err(JournalError::NoHead { path: self.path.with_file_name(HEAD_NAME) }),
        }
    }

    fn write_head(&self, head: &Head) -> Result<(), JournalError> {
        let path = self.path.with_file_name(HEAD_NAME);
        let text = serde_json::to_string(head).map_err(|e| failed("write", &path)(e.into()))? + "\n";
        Ok(durable::replace(&path, text.as_bytes(), 0o600)?)
    }
}

/// The head beside a journal file; `None` if there is none.
fn read_head(journal: &Path) -> Result<Option<Head>, JournalError> {
    let path = journal.with_file_name(HEAD_NAME);
    match std::fs::read(&path) {
        Ok(bytes) => match serde_json::from_slice::<Head>(&bytes) {
            Ok(head) => Ok(Some(head)),
            Err(_) => Err(JournalError::NoHead { path }),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("read", &path)(e)),
    }
}

/// The record on one line. JSON has no line ends but between its tokens, where a blank says the same.
fn one_line(record: &str) -> Result<String, JournalError> {
    let raw: &RawValue =
        serde_json::from_str(record).map_err(|e| JournalError::NotARecord { reason: e.to_string() })?;
    let text = raw.get().replace(['\n', '\r'], " ");
    if text.starts_with('{') {
        Ok(text)
    } else {
        Err(JournalError::NotARecord { reason: "it does not start with a brace".to_owned() })
    }
}

/// The end of a chain that goes on whole after `head`, found in the text of a journal file.
fn beyond(text: &str, head: &Head) -> Option<Head> {
    let mut at: Option<Head> = None;
    for line in text.lines() {
        let line = parse(line.as_bytes())?;
        let follows = |head: &Head| line.prev == head.hash && line.seq == head.seq.saturating_add(1);
        let sound = chain_hash(&line.prev, line.seq, line.record.get()) == line.hash;
        at = match at {
            None if line.hash == head.hash => Some(head.clone()),
            None if !follows(head) => None,
            Some(last) if !follows(&last) => return None,
            _ if !sound => return None,
            _ => Some(Head { seq: line.seq, hash: line.hash.into_owned() }),
        };
    }
    at
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    seq: u64,
    #[serde(borrow)]
    prev: Cow<'a, str>,
    #[serde(borrow)]
    record: &'a RawValue,
    #[serde(borrow)]
    hash: Cow<'a, str>,
}

/// A line without its end; `None` if it is not one that was written here.
fn parse(bytes: &[u8]) -> Option<Line<'_>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let line: Line<'_> = serde_json::from_str(text).ok()?;
    // The hash does not cover blanks or the order of keys around the record.
    (render(line.seq, &line.prev, line.record.get(), &line.hash) == text).then_some(line)
}

fn render(seq: u64, prev: &str, record: &str, hash: &str) -> String {
    format!("{{\"seq\":{seq},\"prev\":\"{prev}\",\"record\":{record},\"hash\":\"{hash}\"}}")
}

fn chain_hash(prev: &str, seq: u64, record: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(prev);
    hasher.update(format!("\n{seq}\n"));
    hasher.update(record);
    let mut hex = String::with_capacity(64);
    for byte in hasher.finalize() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// The offset after the last line end before `length`, read backwards: a journal grows for months.
fn last_line_end(file: &mut File, length: u64) -> io::Result<u64> {
    const BLOCK: u64 = 64 << 10;
    let mut end = length;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        file.take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests;
