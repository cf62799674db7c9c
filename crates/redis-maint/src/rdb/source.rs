//! The bytes of a snapshot, with their place and checksum, and the two things that all is made of: lengths and strings.

use std::io::Read;

use super::lzf;

/// Bytes read from the file at once.
const BUFFER: usize = 256 * 1024;
/// Bytes for which room is made at once on the word of a length that may lie.
const STEP: u64 = 1024 * 1024;
/// Compressed values up to this size are unpacked when somebody has to look into them.
const LARGEST_PACKED: u64 = 64 * 1024 * 1024;

/// Why a snapshot cannot be read. Offsets count bytes from the beginning.
#[derive(Debug, thiserror::Error)]
pub enum RdbError {
    /// The first bytes are those of something else.
    #[error("not a snapshot: it does not begin with REDIS or VALKEY and a version")]
    NotASnapshot,
    /// A version that did not exist when this was written.
    #[error("the version {text:?} is not known: REDIS0001 to REDIS0013 and VALKEY080 are")]
    Version {
        /// The header.
        text: String,
    },
    /// The file ends too early.
    #[error("the file ends at byte {offset} in the middle of {what}: it was cut short")]
    Truncated {
        /// Where.
        offset: u64,
        /// In what.
        what: String,
    },
    /// Something impossible stands in the file.
    #[error("damaged at byte {offset}, in {what}: {why}")]
    Damaged {
        /// Where.
        offset: u64,
        /// In what.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// An opcode or type without a meaning.
    #[error("{what} {code} at byte {offset} is not known: a newer server's, or the file is damaged")]
    Unknown {
        /// Opcode or type.
        what: String,
        /// Its number.
        code: u8,
        /// Where.
        offset: u64,
    },
    /// The bytes are not those that were written.
    #[error("the checksum of {bytes} bytes is {computed:016x}, the file says {stored:016x}: it is damaged")]
    Checksum {
        /// What the file says.
        stored: u64,
        /// What its bytes give.
        computed: u64,
        /// How many they are.
        bytes: u64,
    },
    /// There is more after the end.
    #[error("there is something behind the end of the snapshot, at byte {offset}")]
    Trailing {
        /// Where.
        offset: u64,
    },
    /// The system cannot read the file.
    #[error("cannot read on at byte {offset}: {error}")]
    Io {
        /// Where.
        offset: u64,
        /// What it said.
        error: std::io::Error,
    },
}

/// A length, or the way in which a string is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// So many bytes or elements.
    Plain(u64),
    /// An encoding of a string: 0 to 2 are whole numbers of 1, 2 and 4 bytes, 3 is compressed.
    Encoded(u8),
}

/// What a string is, without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    /// Bytes of it as text.
    pub(super) bytes: u64,
    /// Whether it is written as a whole number.
    pub(super) number: Option<i64>,
}

pub(super) struct Source<R> {
    input: R,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    /// Bytes before the buffer.
    before: u64,
    total: Option<u64>,
    digest: crc_fast::Digest,
    /// Where in the buffer the checksum stands.
    summed: usize,
    /// What is being read, for messages.
    pub(super) what: String,
}

impl<R: Read> Source<R> {
    pub(super) fn new(input: R, total: Option<u64>) -> Self {
        Source {
            input,
            buffer: vec![0; BUFFER],
            at: 0,
            filled: 0,
            before: 0,
            total,
            digest: crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Redis),
            summed: 0,
            what: String::new(),
        }
    }

    /// Bytes taken so far.
    pub(super) fn offset(&self) -> u64 {
        self.before + self.at as u64
    }

    pub(super) fn damaged(&self, why: impl Into<String>) -> RdbError {
        RdbError::Damaged { offset: self.offset(), what: self.what.clone(), why: why.into() }
    }

    pub(super) fn unknown(&self, what: &str, code: u8) -> RdbError {
        RdbError::Unknown { what: what.to_owned(), code, offset: self.offset().saturating_sub(1) }
    }

    fn truncated(&self) -> RdbError {
        RdbError::Truncated { offset: self.offset(), what: self.what.clone() }
    }

    fn sum(&mut self) {
        self.digest.update(self.buffer.get(self.summed..self.at).unwrap_or_default());
        self.summed = self.at;
    }

    /// The checksum of all bytes taken so far.
    pub(super) fn checksum(&mut self) -> u64 {
        self.sum();
        self.digest.finalize()
    }

    /// Reads on when the buffer is used up. False at the end of the file.
    fn fill(&mut self) -> Result<bool, RdbError> {
        if self.at < self.filled {
            return Ok(true);
        }
        self.sum();
        self.before += self.at as u64;
        (self.at, self.filled, self.summed) = (0, 0, 0);
        loop {
            match self.input.read(&mut self.buffer) {
                Ok(count) => {
                    self.filled = count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(RdbError::Io { offset: self.offset(), error }),
            }
        }
    }

    pub(super) fn is_at_end(&mut self) -> Result<bool, RdbError> {
        Ok(!self.fill()?)
    }

    pub(super) fn byte(&mut self) -> Result<u8, RdbError> {
        if !self.fill()? {
            return Err(self.truncated());
        }
        let byte = self.buffer.get(self.at).copied().unwrap_or_default();
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn exact(&mut self, mut into: &mut [u8]) -> Result<(), RdbError> {
        while !into.is_empty() {
            if !self.fill()? {
                return Err(self.truncated());
            }
            let here = self.buffer.get(self.at..self.filled).unwrap_or_default();
            let count = here.len().min(into.len());
            let (now, rest) = into.split_at_mut(count);
            now.copy_from_slice(here.get(..count).unwrap_or_default());
            into = rest;
            self.at += count;
        }
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RdbError> {
        let mut array = [0; N];
        self.exact(&mut array)?;
        Ok(array)
    }

    /// Passes over `count` bytes.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), RdbError> {
        self.check(count)?;
        let mut left = count;
        while left > 0 {
            if !self.fill()? {
                return Err(self.truncated());
            }
            let step = ((self.filled - self.at) as u64).min(left);
            self.at += step as usize;
            left -= step;
        }
        Ok(())
    }

    /// A length that is more than the file has left: the file was cut short, or no server could have written it.
    fn check(&self, count: u64) -> Result<(), RdbError> {
        match self.total {
            Some(total) if count > total.saturating_sub(self.offset()) => {
                if count <= super::LONGEST_NAME {
                    return Err(RdbError::Truncated { offset: total, what: self.what.clone() });
                }
                Err(self.damaged(format!("a length of {count} bytes, more than the file has left")))
            }
            _ => Ok(()),
        }
    }

    /// `count` bytes. Room is made as they come, not on the word of the length.
    fn bytes(&mut self, count: u64) -> Result<Vec<u8>, RdbError> {
        self.check(count)?;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < count {
            let step = (count - bytes.len() as u64).min(STEP) as usize;
            let from = bytes.len();
            bytes.resize(from + step, 0);
            self.exact(bytes.get_mut(from..).unwrap_or_default())?;
        }
        Ok(bytes)
    }

    pub(super) fn length(&mut self) -> Result<Length, RdbError> {
        let first = self.byte()?;
        Ok(match first >> 6 {
            0 => Length::Plain(u64::from(first & 0x3F)),
            1 => Length::Plain(u64::from(first & 0x3F) << 8 | u64::from(self.byte()?)),
            2 => match first {
                0x80 => Length::Plain(u64::from(u32::from_be_bytes(self.array()?))),
                0x81 => Length::Plain(u64::from_be_bytes(self.array()?)),
                _ => return Err(self.damaged(format!("a length that begins with {first:#04x}"))),
            },
            _ => Length::Encoded(first & 0x3F),
        })
    }

    /// A length that is a number.
    pub(super) fn plain_length(&mut self) -> Result<u64, RdbError> {
        match self.length()? {
            Length::Plain(length) => Ok(length),
            Length::Encoded(code) => Err(self.damaged(format!("the encoding {code} where a number must stand"))),
        }
    }

    fn number(&mut self, code: u8) -> Result<Option<i64>, RdbError> {
        Ok(match code {
            0 => Some(i64::from(i8::from_le_bytes(self.array()?))),
            1 => Some(i64::from(i16::from_le_bytes(self.array()?))),
            2 => Some(i64::from(i32::from_le_bytes(self.array()?))),
            3 => None,
            _ => return Err(self.damaged(format!("the string encoding {code}"))),
        })
    }

    /// Lengths of a compressed string: as it stands in the file, and unpacked.
    fn packed(&mut self) -> Result<(u64, u64), RdbError> {
        Ok((self.plain_length()?, self.plain_length()?))
    }

    /// Passes over a string.
    pub(super) fn skip_string(&mut self) -> Result<Text, RdbError> {
        match self.length()? {
            Length::Plain(bytes) => {
                self.skip(bytes)?;
                Ok(Text { bytes, number: None })
            }
            Length::Encoded(code) => {
                if let Some(number) = self.number(code)? {
                    return Ok(Text { bytes: digits(number), number: Some(number) });
                }
                let (packed, bytes) = self.packed()?;
                self.skip(packed)?;
                Ok(Text { bytes, number: None })
            }
        }
    }

    /// A string of `longest` bytes at most.
    pub(super) fn string(&mut self, longest: u64) -> Result<Vec<u8>, RdbError> {
        match self.length()? {
            Length::Plain(count) if count > longest => Err(self.damaged(format!("a string of {count} bytes"))),
            Length::Plain(count) => self.bytes(count),
            Length::Encoded(code) => {
                if let Some(number) = self.number(code)? {
                    return Ok(number.to_string().into_bytes());
                }
                let (packed, count) = self.packed()?;
                // The format packs at best 264 bytes into 3.
                if count > longest || packed > LARGEST_PACKED || count > packed.saturating_mul(100) {
                    return Err(self.damaged(format!("a compressed string of {count} bytes")));
                }
                let bytes = self.bytes(packed)?;
                let end = count as usize;
                lzf::unpack(&bytes, end)
                    .filter(|text| text.len() == end)
                    .ok_or_else(|| self.damaged("a compressed string that does not unpack"))
            }
        }
    }

    /// The first `N` bytes of a string, and its length: enough to see how many elements a packed collection has.
    pub(super) fn head<const N: usize>(&mut self) -> Result<([u8; N], u64), RdbError> {
        let mut head = [0; N];
        match self.length()? {
            Length::Plain(count) => {
                let part = count.min(N as u64);
                self.check(count)?;
                self.exact(head.get_mut(..part as usize).unwrap_or_default())?;
                self.skip(count - part)?;
                Ok((head, count))
            }
            Length::Encoded(3) => {
                let (packed, count) = self.packed()?;
                if packed > LARGEST_PACKED {
                    self.skip(packed)?;
                    return Err(self.damaged(format!("a packed collection of {packed} compressed bytes")));
                }
                let bytes = self.bytes(packed)?;
                let wanted = (count as usize).min(N);
                let begin = lzf::unpack(&bytes, wanted)
                    .ok_or_else(|| self.damaged("a compressed collection that does not unpack"))?;
                for (to, from) in head.iter_mut().zip(begin) {
                    *to = from;
                }
                Ok((head, count))
            }
            Length::Encoded(code) => {
                Err(self.damaged(format!("the encoding {code} where a packed collection must stand")))
            }
        }
    }

    /// A string of the header, as text.
    pub(super) fn short_text(&mut self, longest: u64) -> Result<String, RdbError> {
        Ok(crate::key::subject(&self.string(longest)?))
    }
}

/// Characters of a number in decimal.
fn digits(number: i64) -> u64 {
    u64::from(number < 0) + u64::from(number.unsigned_abs().checked_ilog10().unwrap_or(0)) + 1
}
