//! A position in the write-ahead log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A byte position in the write-ahead log, written as PostgreSQL does: two hexadecimal halves with a slash (`0/1A2B3C4D`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

/// A text that is no position.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{0}` is no position in the write-ahead log: two hexadecimal numbers with a slash, as in 0/1A2B3C4D")]
pub struct LsnError(String);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = LsnError;

    fn from_str(text: &str) -> Result<Self, LsnError> {
        let half = |half: &str| {
            let digits = !half.is_empty() && half.len() <= 8 && half.bytes().all(|byte| byte.is_ascii_hexdigit());
            if digits { u64::from_str_radix(half, 16).ok() } else { None }
        };
        let parsed = text.trim().split_once('/').and_then(|(high, low)| Some((half(high)? << 32) | half(low)?));
        parsed.map(Lsn).ok_or_else(|| LsnError(text.to_owned()))
    }
}

impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_as_it_was_written() {
        for text in ["0/0", "0/1A2B3C4D", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "/", "0/", "1", "0/123456789", "0/+1", "g/0", "0/0/0"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }
}
