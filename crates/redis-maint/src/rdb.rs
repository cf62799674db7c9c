//! Snapshot files (RDB), read without a server.
//!
//! [`Scanner`] goes over a file once, front to back, and yields one [`Entry`] per key: what a walk over a live server
//! would have told, at none of its cost. Values are measured, never kept, so the largest value does not decide how much
//! memory a scan takes. It refuses what it does not know, by name and place: a scanner that passes over an unknown part
//! reports numbers that are wrong without saying so. The checksum is always verified.
//!
//! - `source`: the bytes, the position, the checksum
//! - `text`, `lzf`: lengths, strings, compression
//! - `value`, `packed`, `stream`, `module`: the types of values
//! - `size`, `radix`: what a value takes in memory once it is loaded
//! - `error`: what can go wrong, and where
//! - `summary`: what is known of the file as a whole

mod error;
mod lzf;
mod module;
mod packed;
mod radix;
mod size;
mod source;
mod stream;
mod summary;
mod text;
mod value;

#[cfg(test)]
mod tests;

use std::io::Read;

use jiff::Timestamp;

use crate::entry::{Entry, Expiry};

pub use error::RdbError;
pub use size::Allocator;
pub use summary::{Auxiliary, Checksum, Database, Producer, Summary};

use error::Place;
use size::{Generation, Model};
use source::{Fault, Outcome, Source};
use text::{NAME_LIMIT, Scratch};

#[derive(PartialEq, Eq)]
enum State {
    Reading,
    Finished,
    Failed,
}

/// What was told of the next key before its type.
#[derive(Default)]
struct Attributes {
    expiry: Option<Timestamp>,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

/// A scan over one snapshot.
pub struct Scanner<R> {
    source: Source<R>,
    scratch: Scratch,
    summary: Summary,
    model: Model,
    place: Place,
    state: State,
    database: u32,
}

impl<R: Read> Scanner<R> {
    /// Starts a scan: checks what the input is. `total_bytes` is its length, where it is known; with it, a length that
    /// cannot be true is found as soon as it is read. There is no need to buffer the input.
    pub fn open(input: R, total_bytes: Option<u64>) -> Result<Self, RdbError> {
        let mut scanner = Scanner {
            source: Source::new(input, total_bytes),
            scratch: Scratch::default(),
            summary: Summary::default(),
            model: Model { allocator: Allocator::Bundled, generation: Generation::V70, name: 0, expiring: false },
            place: Place::Header,
            state: State::Reading,
            database: 0,
        };
        match scanner.header() {
            Ok(Ok(())) => Ok(scanner),
            Ok(Err(error)) => Err(error),
            Err(fault) => Err(scanner.explain(fault)),
        }
    }

    /// Judges expiry as of this moment instead of the one at which the file was written.
    #[must_use]
    pub fn judged_at(mut self, now: Timestamp) -> Self {
        self.summary.now = Some(now);
        self
    }

    /// Estimates memory for this allocator. Without it, a file of Redis 6.0.16 or 7.0.15, which Debian and Ubuntu packaged
    /// for years, is taken to be theirs with the system's allocator, and any other to have the one from the sources.
    #[must_use]
    pub fn with_allocator(mut self, allocator: Allocator) -> Self {
        self.summary.allocator = Some(allocator);
        self.model.allocator = allocator;
        self
    }

    /// What is known of the file so far; all of it once [`Scanner::next_key`] returned `None`.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The next key, in the file's order. Keys that are expired already are yielded too: `None` only comes after
    /// the end of the file was reached and its checksum found right.
    pub fn next_key(&mut self) -> Result<Option<Entry>, RdbError> {
        match self.state {
            State::Reading => {}
            State::Finished => return Ok(None),
            State::Failed => return Err(RdbError::Failed),
        }
        let outcome = match self.step() {
            Ok(Some(entry)) => Ok(Some(entry)),
            Ok(None) => self.finish(),
            Err(fault) => Err(self.explain(fault)),
        };
        self.summary.bytes_read = self.source.offset();
        match &outcome {
            Ok(Some(_)) => {}
            Ok(None) => self.state = State::Finished,
            Err(_) => self.state = State::Failed,
        }
        outcome
    }

    fn explain(&self, fault: Fault) -> RdbError {
        RdbError::explain(fault, &self.place, self.source.arrived())
    }

    fn header(&mut self) -> Outcome<Result<(), RdbError>> {
        let head: [u8; 9] = self.source.array()?;
        let (producer, version) = match &head {
            [b'R', b'E', b'D', b'I', b'S', version @ ..] => (Producer::Redis, &version[..]),
            [b'V', b'A', b'L', b'K', b'E', b'Y', version @ ..] => (Producer::Valkey, &version[..]),
            _ => return Ok(Err(RdbError::NotASnapshot { found: String::from_utf8_lossy(&head).into_owned() })),
        };
        let number = version
            .iter()
            .try_fold(0u32, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0')));
        match (producer, number) {
            (Producer::Redis, Some(number @ 1..=13)) | (Producer::Valkey, Some(number @ 80)) => {
                self.summary.producer = producer;
                self.summary.version = number;
                self.model.generation = match (producer, number) {
                    (Producer::Valkey, _) => Generation::Valkey9,
                    (Producer::Redis, 11..) => Generation::V72,
                    _ => Generation::V70,
                };
                self.place = Place::Between;
                Ok(Ok(()))
            }
            _ => {
                let version = String::from_utf8_lossy(version).into_owned();
                Ok(Err(RdbError::UnknownVersion { producer, version }))
            }
        }
    }

    /// Goes on to the next key, or to the end mark.
    fn step(&mut self) -> Outcome<Option<Entry>> {
        self.place = Place::Between;
        let mut attributes = Attributes::default();
        loop {
            let at = self.source.offset();
            let code = self.source.byte()?;
            match code {
                255 => return Ok(None),
                252 => attributes.expiry = Some(milliseconds(i64::from_le_bytes(self.source.array()?))),
                253 => {
                    let seconds = i32::from_le_bytes(self.source.array()?);
                    attributes.expiry = Some(milliseconds(i64::from(seconds) * 1000));
                }
                248 => attributes.idle_seconds = Some(self.source.number()?),
                249 => attributes.frequency = Some(self.source.byte()?),
                243..=254 => self.part(at, code)?,
                6 => return Err(Fault::Unreadable { at, what: "a module's value in the form before Redis 4.0" }),
                _ => return self.key(at, code, &attributes).map(Some),
            }
        }
    }

    /// A part of the file that is no key.
    fn part(&mut self, at: u64, code: u8) -> Outcome<()> {
        match code {
            254 => {
                let number = self.source.number()?;
                match u32::try_from(number) {
                    Ok(number) if i32::try_from(number).is_ok() => self.database = number,
                    _ => return Err(Fault::Bad { at, what: "no server has a database of such a number" }),
                }
                self.summary.database(self.database);
            }
            251 => {
                let (keys, expiring) = (self.source.number()?, self.source.number()?);
                let database = self.summary.database(self.database);
                database.keys_hint = Some(keys);
                database.expiring_hint = Some(expiring);
            }
            250 => self.auxiliary()?,
            247 => {
                self.source.number()?;
                let at = self.source.offset();
                if self.source.number()? != 2 {
                    return Err(Fault::Bad { at, what: "a module's data does not say when it is to be loaded" });
                }
                self.source.number()?;
                self.source.skip_module_value()?;
                self.summary.module_data += 1;
            }
            246 => {
                return Err(Fault::Unreadable { at, what: "a function in the form before the release of Redis 7.0" });
            }
            245 => {
                self.source.measure()?;
                self.summary.functions += 1;
            }
            244 => {
                for _ in 0..3 {
                    self.source.number()?;
                }
            }
            243 if self.summary.producer == Producer::Valkey => {
                self.source.measure()?;
                for _ in 0..self.source.count()? {
                    self.source.number()?;
                    self.source.number()?;
                }
                self.summary.slot_imports += 1;
            }
            243 if self.summary.version >= 13 => {
                for _ in 0..self.source.count()? {
                    self.source.skip(4)?;
                    self.source.skip_module_value()?;
                }
                self.summary.keys_with_metadata += 1;
            }
            _ => return Err(Fault::Unknown { at, what: "part", code: u64::from(code) }),
        }
        Ok(())
    }

    fn auxiliary(&mut self) -> Outcome<()> {
        let name = self.source.string(summary::AUXILIARY_NAME)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        // Until version 9 the text of each script in the cache stood here.
        if name == "lua" {
            self.source.measure()?;
            self.summary.scripts += 1;
            return Ok(());
        }
        let value = self.source.string(summary::AUXILIARY_VALUE)?;
        let value = String::from_utf8_lossy(&value).into_owned();
        match name.as_str() {
            "ctime" => {
                let written = value.parse::<i64>().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
                self.summary.written = written;
                self.summary.now = self.summary.now.or(written);
            }
            "redis-ver" | "valkey-ver" => self.server(&name, &value),
            _ => {}
        }
        self.summary.auxiliary(name, value);
        Ok(())
    }

    /// Fits the memory model to the server that wrote the file.
    fn server(&mut self, name: &str, version: &str) {
        if name == "redis-ver" && version.split('.').next().and_then(|major| major.parse().ok()) >= Some(8u32) {
            self.model.generation = Generation::V80;
        }
        if self.summary.allocator.is_none() && matches!(version, "6.0.16" | "7.0.15") {
            self.model.allocator = Allocator::System;
        }
    }

    fn key(&mut self, at: u64, code: u8, attributes: &Attributes) -> Outcome<Entry> {
        self.place = Place::Name;
        let name = self.source.string(NAME_LIMIT)?;
        self.model.name = name.len() as u64;
        self.model.expiring = attributes.expiry.is_some();
        self.place = Place::Value(name);
        let value = value::load(&mut self.source, &mut self.scratch, self.model, self.summary.producer, (at, code))?;
        let Place::Value(name) = std::mem::replace(&mut self.place, Place::Between) else {
            return self.source.bad("a value ends outside of a key");
        };
        self.summary.count(self.database, attributes.expiry, value.field_expiries);
        let bytes = value.bytes.map(|bytes| bytes.saturating_add(self.model.key()));
        Ok(Entry {
            db: self.database,
            key: name,
            kind: Some(value.kind),
            encoding: value.encoding.map(str::to_owned),
            bytes,
            length: value.length,
            expiry: Some(attributes.expiry.map_or(Expiry::Never, Expiry::At)),
            idle_seconds: attributes.idle_seconds,
            frequency: attributes.frequency,
        })
    }

    /// Behind the end mark: the checksum, and whatever follows it.
    fn finish(&mut self) -> Result<Option<Entry>, RdbError> {
        self.place = Place::Trailer;
        let found = self.source.checksum();
        // Before version 5 there was none.
        let checksum = if self.summary.producer == Producer::Redis && self.summary.version < 5 {
            Checksum::Absent
        } else {
            let stored = self.source.array().map_err(|fault| self.explain(fault))?;
            match u64::from_le_bytes(stored) {
                0 => Checksum::Disabled,
                expected if expected == found => Checksum::Verified,
                expected => return Err(RdbError::Checksum { expected, found }),
            }
        };
        self.summary.trailing_bytes = self.source.drain().map_err(|fault| self.explain(fault))?;
        self.summary.checksum = checksum;
        Ok(None)
    }
}

/// A moment in milliseconds since 1970; one that no calendar has becomes the nearest one that it has.
fn milliseconds(value: i64) -> Timestamp {
    Timestamp::from_millisecond(value).unwrap_or(if value < 0 { Timestamp::MIN } else { Timestamp::MAX })
}
