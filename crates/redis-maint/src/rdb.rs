//! Snapshot files (RDB), read without a server: versions 1 to 13 of Redis, and version 80 of Valkey.
//!
//! A file is read once, front to back, so that it may come from a pipe. Values are walked over, not kept: memory does not
//! grow with the file nor with its largest value. Nothing is skipped in silence: an opcode or type that is not known ends
//! the reading with its name and place, because behind it nothing could be trusted. The checksum is always verified.
//!
//! The format is that of `src/rdb.c` and `src/rdb.h` of both servers. The bytes that a key will take are computed, as Redis
//! 7.0 with jemalloc counts them in MEMORY USAGE ([`size`]).

use std::io::Read;

use jiff::Timestamp;

use crate::entry::{Entry, Expiry, KeyType};

mod lzf;
pub mod size;
mod source;
mod value;

pub use source::RdbError;
use source::Source;

/// The family that wrote a file: they use some numbers for different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Redis, and Valkey up to 8.
    Redis,
    /// Valkey from 9 on.
    Valkey,
}

/// Whether the file is what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// The end was not reached yet.
    NotReached,
    /// It fits.
    Verified,
    /// The server was told not to write one (`rdbchecksum no`).
    Disabled,
    /// The version is too old to have one (before 5).
    None,
}

/// What a file says of itself, and what was found in it.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The version of the format.
    pub version: u32,
    /// Who wrote it.
    pub family: Family,
    /// What it says of its server: `redis-ver`, `ctime`, `used-mem`, ...
    pub aux: Vec<(String, String)>,
    /// Keys.
    pub keys: u64,
    /// Keys among them whose time was over when the file was written (`ctime`), or at the moment given.
    pub expired: u64,
    /// Fields of hashes with a time to live of their own.
    pub expiring_fields: u64,
    /// Libraries of functions.
    pub functions: u64,
    /// Values of modules, whose size is not known.
    pub module_values: u64,
    /// Whether the checksum fits.
    pub checksum: Checksum,
    /// Bytes read.
    pub bytes: u64,
}

/// Reads a file key by key.
pub struct Scanner<R> {
    source: Source<R>,
    summary: Summary,
    now: Timestamp,
    db: u32,
    done: bool,
}

mod opcode {
    pub(super) const KEY_META_OR_SLOT_IMPORT: u8 = 243;
    pub(super) const SLOT_INFO: u8 = 244;
    pub(super) const FUNCTION2: u8 = 245;
    pub(super) const FUNCTION_PRE_GA: u8 = 246;
    pub(super) const MODULE_AUX: u8 = 247;
    pub(super) const IDLE: u8 = 248;
    pub(super) const FREQ: u8 = 249;
    pub(super) const AUX: u8 = 250;
    pub(super) const RESIZE_DB: u8 = 251;
    pub(super) const EXPIRE_TIME_MS: u8 = 252;
    pub(super) const EXPIRE_TIME: u8 = 253;
    pub(super) const SELECT_DB: u8 = 254;
    pub(super) const EOF: u8 = 255;
}

/// Names of keys and fields of the header are kept whole; longer ones than a server allows are damage.
const LONGEST_NAME: u64 = 512 * 1024 * 1024;
/// Bytes of a field of the header that are kept.
const LONGEST_AUX: u64 = 64 * 1024;

impl<R: Read> Scanner<R> {
    /// Reads the header. `total` is the size of the file where it is known: no length in it may be larger. Keys are
    /// judged as expired at `now`, or at the time that the file names as its own.
    ///
    /// # Errors
    /// It is no snapshot, or one of a version that is not known.
    pub fn open(input: R, total: Option<u64>, now: Timestamp) -> Result<Self, RdbError> {
        let mut source = Source::new(input, total);
        let mut header = [0; 9];
        "the header".clone_into(&mut source.what);
        source.exact(&mut header)?;
        let text = std::str::from_utf8(&header).unwrap_or_default();
        let (family, digits) = match (text.strip_prefix("REDIS"), text.strip_prefix("VALKEY")) {
            (Some(digits), _) => (Family::Redis, digits),
            (_, Some(digits)) => (Family::Valkey, digits),
            _ => return Err(RdbError::NotASnapshot),
        };
        let version: u32 = digits.parse().map_err(|_| RdbError::NotASnapshot)?;
        let known = match family {
            Family::Redis => (1..=13).contains(&version),
            Family::Valkey => version == 80,
        };
        if !known {
            return Err(RdbError::Version { text: text.to_owned() });
        }
        let summary = Summary {
            version,
            family,
            aux: Vec::new(),
            keys: 0,
            expired: 0,
            expiring_fields: 0,
            functions: 0,
            module_values: 0,
            checksum: Checksum::NotReached,
            bytes: 0,
        };
        Ok(Scanner { source, summary, now, db: 0, done: false })
    }

    /// What was found so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The next key; none when the file is read to its end and its checksum fits.
    ///
    /// # Errors
    /// The file is cut short, damaged, or holds something that is not known.
    pub fn next_key(&mut self) -> Result<Option<Entry>, RdbError> {
        let mut expiry = Expiry::Never;
        let (mut idle, mut frequency) = (None, None);
        while !self.done {
            "the next entry".clone_into(&mut self.source.what);
            let code = self.source.byte()?;
            match code {
                opcode::EXPIRE_TIME_MS => expiry = self.moment_ms()?,
                opcode::EXPIRE_TIME => {
                    let seconds = i32::from_le_bytes(self.source.array()?);
                    expiry = Timestamp::from_second(i64::from(seconds)).map_or(Expiry::Never, Expiry::At);
                }
                opcode::IDLE => idle = Some(self.source.plain_length()?),
                opcode::FREQ => frequency = Some(self.source.byte()?),
                opcode::SELECT_DB => {
                    let db = self.source.plain_length()?;
                    self.db = u32::try_from(db).map_err(|_| self.source.damaged("a database number beyond all"))?;
                }
                opcode::RESIZE_DB => self.lengths(2)?,
                opcode::SLOT_INFO => self.lengths(3)?,
                opcode::AUX => self.aux()?,
                opcode::FUNCTION2 => {
                    self.summary.functions += 1;
                    self.source.skip_string()?;
                }
                opcode::MODULE_AUX => {
                    self.lengths(1)?;
                    value::skip_module(&mut self.source)?;
                }
                opcode::KEY_META_OR_SLOT_IMPORT if self.summary.family == Family::Valkey => {
                    self.source.skip_string()?;
                    let ranges = self.source.plain_length()?;
                    for _ in 0..ranges {
                        self.lengths(2)?;
                    }
                }
                opcode::KEY_META_OR_SLOT_IMPORT => {
                    let classes = self.source.plain_length()?;
                    for _ in 0..classes {
                        let _: [u8; 4] = self.source.array()?;
                        value::skip_module(&mut self.source)?;
                    }
                }
                opcode::FUNCTION_PRE_GA => {
                    return Err(self.source.unknown("functions in the format of a release candidate of 7.0", code));
                }
                opcode::EOF => self.end()?,
                kind => return self.key(kind, expiry, idle, frequency).map(Some),
            }
        }
        Ok(None)
    }

    fn lengths(&mut self, count: usize) -> Result<(), RdbError> {
        for _ in 0..count {
            self.source.plain_length()?;
        }
        Ok(())
    }

    fn moment_ms(&mut self) -> Result<Expiry, RdbError> {
        let ms = i64::from_le_bytes(self.source.array()?);
        // A moment that no calendar has is so far away that it never comes, or long past.
        let clamped = ms.clamp(Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond());
        Ok(Timestamp::from_millisecond(clamped).map_or(Expiry::Never, Expiry::At))
    }

    fn aux(&mut self) -> Result<(), RdbError> {
        let name = self.source.short_text(LONGEST_AUX)?;
        let value = self.source.short_text(LONGEST_AUX)?;
        if name == "ctime"
            && let Some(at) = value.parse().ok().and_then(|at| Timestamp::from_second(at).ok())
        {
            self.now = at;
        }
        if self.summary.aux.len() < 64 {
            self.summary.aux.push((name, value));
        }
        Ok(())
    }

    fn key(
        &mut self,
        kind: u8,
        expiry: Expiry,
        idle_seconds: Option<u64>,
        frequency: Option<u8>,
    ) -> Result<Entry, RdbError> {
        "the name of a key".clone_into(&mut self.source.what);
        let at = self.source.offset().saturating_sub(1);
        if !value::is_known(kind, self.summary.family) {
            return Err(RdbError::Unknown { what: "type".to_owned(), code: kind, offset: at });
        }
        let key = self.source.string(LONGEST_NAME)?;
        self.source.what = format!("the value of key {}", shortened(&key));
        let walked = value::walk(&mut self.source, kind, self.summary.family)?;
        self.summary.keys += 1;
        self.summary.expiring_fields += walked.expiring_fields;
        self.summary.module_values += u64::from(matches!(walked.kind, KeyType::Module(_)));
        self.summary.expired += u64::from(matches!(expiry, Expiry::At(moment) if moment <= self.now));
        let bytes = walked.bytes.map(|bytes| bytes + size::key(key.len() as u64));
        Ok(Entry {
            db: self.db,
            key,
            kind: Some(walked.kind),
            encoding: walked.encoding.map(str::to_owned),
            bytes,
            length: walked.length,
            expiry: Some(expiry),
            idle_seconds,
            frequency,
        })
    }

    fn end(&mut self) -> Result<(), RdbError> {
        self.done = true;
        let computed = self.source.checksum();
        if self.summary.version < 5 {
            self.summary.checksum = Checksum::None;
        } else {
            "the checksum".clone_into(&mut self.source.what);
            let stored = u64::from_le_bytes(self.source.array()?);
            self.summary.checksum = match stored {
                0 => Checksum::Disabled,
                stored if stored == computed => Checksum::Verified,
                stored => return Err(RdbError::Checksum { stored, computed, bytes: self.source.offset() }),
            };
        }
        self.summary.bytes = self.source.offset();
        if !self.source.is_at_end()? {
            return Err(RdbError::Trailing { offset: self.summary.bytes });
        }
        Ok(())
    }
}

fn shortened(key: &[u8]) -> String {
    let shown = crate::key::subject(key.get(..60).unwrap_or(key));
    if key.len() > 60 { format!("{shown}...") } else { shown }
}

#[cfg(test)]
mod tests;
