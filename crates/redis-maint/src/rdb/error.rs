//! What can go wrong with a snapshot. Each case says at which byte and in the middle of what, for that is what one needs
//! to look into a file, and what to do where something can be done.

use std::io;

use crate::key;

use super::source::Fault;
use super::summary::Producer;

/// Why a snapshot cannot be read, or not to its end. Offsets are bytes from the start of the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RdbError {
    /// The input itself failed.
    #[error("the snapshot cannot be read at byte {offset}: {source}")]
    Io {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The file is something else.
    #[error("this is no snapshot: it starts with {found:?}, a snapshot starts with REDIS or VALKEY and a version")]
    NotASnapshot {
        /// Its first bytes.
        found: String,
    },
    /// The version of the format is not one of those that are known.
    #[error("the snapshot is of {producer} format version {version}; known are Redis 1 to 13 and Valkey 80")]
    UnknownVersion {
        /// Whose format it is.
        producer: Producer,
        /// Its version, as the file writes it.
        version: String,
    },
    /// The file stops short.
    #[error("the file ends at byte {offset}, {place}: it was cut off, or is still being written; take it anew")]
    Truncated {
        /// Its length in bytes.
        offset: u64,
        /// In the middle of what.
        place: String,
    },
    /// A length reaches beyond the end of the file.
    #[error(
        "byte {offset} promises {length} more bytes or elements, {place}, but the file ends before: it was cut off or is damaged"
    )]
    BeyondEnd {
        /// Where the length stands.
        offset: u64,
        /// What it says.
        length: u64,
        /// In the middle of what.
        place: String,
    },
    /// A code that no known version has.
    #[error(
        "byte {offset}, {place}, names an unknown {what} {code}; the file is damaged or of a newer or foreign server"
    )]
    Unknown {
        /// Where the code stands.
        offset: u64,
        /// What it should name.
        what: &'static str,
        /// The code.
        code: u64,
        /// In the middle of what.
        place: String,
    },
    /// A part that is known, and known not to be readable without the server that wrote it.
    #[error(
        "byte {offset}, {place}, starts {what}, which cannot be read or passed over without the server that wrote it"
    )]
    Unreadable {
        /// Where it stands.
        offset: u64,
        /// What it is.
        what: &'static str,
        /// In the middle of what.
        place: String,
    },
    /// The bytes are not what the format allows.
    #[error("the snapshot is damaged at byte {offset}, {place}: {what}")]
    Damaged {
        /// Where.
        offset: u64,
        /// In the middle of what.
        place: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The file was changed after it was written.
    #[error(
        "the checksum is wrong: the file says {expected:016x}, its bytes make {found:016x}; a part of it was changed since it was written"
    )]
    Checksum {
        /// What the file says.
        expected: u64,
        /// What its bytes make.
        found: u64,
    },
    /// The scan failed before; there is nothing more to be had.
    #[error("the scan of this snapshot failed before")]
    Failed,
}

/// What the scanner is at, for complaints.
pub(super) enum Place {
    Header,
    Between,
    Name,
    Value(Vec<u8>),
    Trailer,
}

impl Place {
    fn text(&self) -> String {
        match self {
            Place::Header => "in the header".to_owned(),
            Place::Between => "between keys".to_owned(),
            Place::Name => "in the name of a key".to_owned(),
            Place::Value(name) => {
                let shown = name.get(..200).unwrap_or(name);
                let rest = if shown.len() < name.len() { "..." } else { "" };
                format!("in the middle of key {}{rest}", key::subject(shown))
            }
            Place::Trailer => "in the checksum at its end".to_owned(),
        }
    }
}

impl RdbError {
    /// Gives a fault its place; `end` is how many bytes of the file arrived.
    pub(super) fn explain(fault: Fault, place: &Place, end: u64) -> Self {
        let place = place.text();
        match fault {
            Fault::Io(source) => RdbError::Io { offset: end, source },
            Fault::End => RdbError::Truncated { offset: end, place },
            Fault::Beyond { at, length } => RdbError::BeyondEnd { offset: at, length, place },
            Fault::Bad { at, what } => RdbError::Damaged { offset: at, place, what },
            Fault::Unknown { at, what, code } => RdbError::Unknown { offset: at, what, code, place },
            Fault::Unreadable { at, what } => RdbError::Unreadable { offset: at, what, place },
        }
    }
}
