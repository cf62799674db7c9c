//! Names of the files that a server archives (`src/include/access/xlog_internal.h` of PostgreSQL).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::lsn::Lsn;

/// A segment of the write-ahead log: timeline and two numbers, 24 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// Its timeline.
    pub timeline: u32,
    /// Number of its "log": the upper 32 bits of the position.
    pub log: u32,
    /// Its number within the log.
    pub segment: u32,
}

/// A file that a server archives, or asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WalName {
    /// A whole segment.
    Segment(Segment),
    /// The last, unfinished segment of a timeline that was left.
    Partial(Segment),
    /// The note on a backup that began at this offset of a segment.
    Backup(Segment, u32),
    /// From where a timeline branched off.
    History(u32),
}

/// A text that is no name of an archived file.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{0}` is no name of a WAL segment, a partial segment, a backup note or a timeline history")]
pub struct NameError(String);

impl Segment {
    /// The segment that holds the byte at `lsn`; `size` is the segment size in bytes.
    pub fn holding(timeline: u32, lsn: Lsn, size: u64) -> Self {
        Segment::numbered(timeline, lsn.0 / size.max(1), size)
    }

    /// The segment that holds the byte before `lsn`: where a record that ends at `lsn` ends.
    pub fn ending_at(timeline: u32, lsn: Lsn, size: u64) -> Self {
        Segment::holding(timeline, Lsn(lsn.0.saturating_sub(1)), size)
    }

    /// The segment of a running number, counted from position 0.
    pub fn numbered(timeline: u32, number: u64, size: u64) -> Self {
        let per_log = (1_u64 << 32) / size.max(1);
        Segment { timeline, log: (number / per_log.max(1)) as u32, segment: (number % per_log.max(1)) as u32 }
    }

    /// Its running number, counted from position 0.
    pub fn number(self, size: u64) -> u64 {
        u64::from(self.log) * ((1_u64 << 32) / size.max(1)) + u64::from(self.segment)
    }

    /// The position of its first byte.
    pub fn start(self, size: u64) -> Lsn {
        // Saturating: a name may hold any digits.
        Lsn(self.number(size).saturating_mul(size))
    }

    /// The segment after it on the same timeline.
    #[must_use]
    pub fn next(self, size: u64) -> Self {
        Segment::numbered(self.timeline, self.number(size) + 1, size)
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.timeline, self.log, self.segment)
    }
}

impl FromStr for Segment {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.parse()? {
            WalName::Segment(segment) => Ok(segment),
            _ => Err(NameError(text.to_owned())),
        }
    }
}

impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Segment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl WalName {
    /// The timeline it belongs to.
    pub fn timeline(self) -> u32 {
        match self {
            WalName::Segment(segment) | WalName::Partial(segment) | WalName::Backup(segment, _) => segment.timeline,
            WalName::History(timeline) => timeline,
        }
    }
}

impl fmt::Display for WalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalName::Segment(segment) => segment.fmt(f),
            WalName::Partial(segment) => write!(f, "{segment}.partial"),
            WalName::Backup(segment, offset) => write!(f, "{segment}.{offset:08X}.backup"),
            WalName::History(timeline) => write!(f, "{timeline:08X}.history"),
        }
    }
}

/// Eight digits as PostgreSQL writes them: hexadecimal, upper case.
fn eight(text: &str) -> Option<u32> {
    let upper = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
    (text.len() == 8 && text.bytes().all(upper)).then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

fn segment(text: &str) -> Option<Segment> {
    Some(Segment { timeline: eight(text.get(..8)?)?, log: eight(text.get(8..16)?)?, segment: eight(text.get(16..)?)? })
}

impl FromStr for WalName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parsed = match text.split_once('.') {
            None => segment(text).map(WalName::Segment),
            Some((name, "partial")) => segment(name).map(WalName::Partial),
            Some((name, "history")) => eight(name).map(WalName::History),
            Some((name, rest)) => rest
                .strip_suffix(".backup")
                .and_then(eight)
                .and_then(|offset| Some(WalName::Backup(segment(name)?, offset))),
        };
        parsed.ok_or_else(|| NameError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 16 << 20;

    #[test]
    fn names_read_back_as_they_were_written() {
        for text in [
            "000000010000000000000001",
            "0000000A000000FF000000FE.partial",
            "000000010000000000000002.00000028.backup",
            "00000003.history",
        ] {
            assert_eq!(text.parse::<WalName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_names_are_refused() {
        for text in [
            "",
            "../../etc/passwd",
            "00000001000000000000000",
            "00000001000000000000000g",
            "000000010000000000000001.tmp",
            "00000001000000000000000a",
            "1.history",
            "000000010000000000000002.28.backup",
        ] {
            assert!(text.parse::<WalName>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_segment_after_the_last_of_a_log_is_the_first_of_the_next() {
        let last: Segment = "0000000100000000000000FF".parse().unwrap();
        assert_eq!(last.next(SIZE).to_string(), "000000010000000100000000");
        assert_eq!(last.next(SIZE).start(SIZE), Lsn(1 << 32));
    }

    #[test]
    fn a_record_that_ends_at_a_border_ends_in_the_segment_before_it() {
        assert_eq!(Segment::ending_at(1, Lsn(2 * SIZE), SIZE).to_string(), "000000010000000000000001");
        assert_eq!(Segment::holding(1, Lsn(2 * SIZE), SIZE).to_string(), "000000010000000000000002");
    }
}
