//! Lengths and strings, the two things that everything in a snapshot is made of. A length is one, two, five or nine
//! bytes; a string is raw bytes, a small integer or an LZF-compressed run. Most strings are only measured: what a key
//! takes in memory follows from lengths, so the bytes themselves are passed over.

use std::io::Read;

use super::lzf;
use super::source::{Fault, Outcome, Source};

/// Packed values up to this many bytes are read whole and walked; of longer ones only the head is looked at, so that a
/// file cannot decide how much memory is taken.
pub(super) const WALK_LIMIT: u64 = 8 << 20;

/// The longest name of a key that is taken into memory.
pub(super) const NAME_LIMIT: u64 = 8 << 20;

/// What stands in front of a string.
enum Form {
    Raw(u64),
    Integer(i64),
    Lzf { packed: u64, length: u64 },
}

/// A string that was measured and passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its length in bytes.
    pub(super) length: u64,
    /// The integer it reads as, where it is the plain decimal form of one.
    pub(super) integer: Option<i64>,
}

impl Piece {
    /// The integer's text as a string.
    pub(super) fn of_integer(value: i64) -> Self {
        let digits = value.unsigned_abs().checked_ilog10().map_or(1, |power| u64::from(power) + 1);
        Piece { length: digits + u64::from(value < 0), integer: Some(value) }
    }

    /// A string whose bytes are at hand.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Piece { length: bytes.len() as u64, integer: integer(bytes) }
    }
}

/// The integer that the text is the one canonical form of (no sign but `-`, no leading zeros, 64 bits).
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let negative = digits.len() != text.len();
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        let step = i64::from(digit - b'0');
        value = value.checked_mul(10)?;
        value = if negative { value.checked_sub(step) } else { value.checked_add(step) }?;
    }
    Some(value)
}

/// The bytes of a packed value.
pub(super) struct Blob<'a> {
    /// Its length in bytes, unpacked.
    pub(super) length: u64,
    /// The bytes: all of them, or the first few of a value over [`WALK_LIMIT`].
    pub(super) bytes: &'a [u8],
    /// Where in the file it starts, for complaints.
    pub(super) at: u64,
}

impl Blob<'_> {
    /// Whether all bytes are there to be walked.
    pub(super) fn whole(&self) -> bool {
        self.bytes.len() as u64 == self.length
    }
}

/// Room for packed values, used again for each.
#[derive(Default)]
pub(super) struct Scratch {
    packed: Vec<u8>,
    plain: Vec<u8>,
}

impl<R: Read> Source<R> {
    /// A length, or in the error case the code of a special form.
    fn length_or_form(&mut self) -> Outcome<Result<u64, u8>> {
        let first = self.byte()?;
        Ok(Ok(match first >> 6 {
            0 => u64::from(first),
            1 => u64::from(first & 0x3F) << 8 | u64::from(self.byte()?),
            3 => return Ok(Err(first & 0x3F)),
            _ => match first {
                0x80 => u64::from(u32::from_be_bytes(self.array()?)),
                0x81 => u64::from_be_bytes(self.array()?),
                _ => {
                    let at = self.offset() - 1;
                    return Err(Fault::Unknown { at, what: "form of length", code: u64::from(first) });
                }
            },
        }))
    }

    /// A plain number.
    pub(super) fn number(&mut self) -> Outcome<u64> {
        let at = self.offset();
        self.length_or_form()?.map_err(|_| Fault::Bad { at, what: "a number is expected, not a string" })
    }

    /// How many things follow, each at least one byte long.
    pub(super) fn count(&mut self) -> Outcome<u64> {
        let at = self.offset();
        let count = self.number()?;
        self.within(at, count)
    }

    fn form(&mut self) -> Outcome<Form> {
        let at = self.offset();
        match self.length_or_form()? {
            Ok(length) => Ok(Form::Raw(self.within(at, length)?)),
            Err(0) => Ok(Form::Integer(i64::from(i8::from_le_bytes(self.array()?)))),
            Err(1) => Ok(Form::Integer(i64::from(i16::from_le_bytes(self.array()?)))),
            Err(2) => Ok(Form::Integer(i64::from(i32::from_le_bytes(self.array()?)))),
            Err(3) => {
                let packed = self.count()?;
                let length = self.number()?;
                let packed = self.within(at, packed)?;
                // The densest block writes 264 bytes from three.
                if length > packed.saturating_mul(88) {
                    return Err(Fault::Bad { at, what: lzf::BROKEN });
                }
                Ok(Form::Lzf { packed, length })
            }
            Err(code) => Err(Fault::Unknown { at, what: "form of string", code: u64::from(code) }),
        }
    }

    /// Measures the next string and passes over it.
    pub(super) fn measure(&mut self) -> Outcome<Piece> {
        match self.form()? {
            Form::Integer(value) => Ok(Piece::of_integer(value)),
            Form::Raw(length) if length <= 20 => Ok(Piece::of_bytes(self.take(length as usize)?)),
            Form::Raw(length) => self.skip(length).map(|()| Piece { length, integer: None }),
            Form::Lzf { packed, length } => self.skip(packed).map(|()| Piece { length, integer: None }),
        }
    }

    /// Reads the next string whole; refuses one over `limit` bytes.
    pub(super) fn string(&mut self, limit: u64) -> Outcome<Vec<u8>> {
        let at = self.offset();
        let mut text = Vec::new();
        match self.form()? {
            Form::Integer(value) => text = value.to_string().into_bytes(),
            Form::Raw(length) | Form::Lzf { length, .. } if length > limit => {
                return Err(Fault::Bad {
                    at,
                    what: "a name is longer than the scanner takes into memory (8 MiB for a key)",
                });
            }
            Form::Raw(length) if length <= 4096 => text = self.take(length as usize)?.to_vec(),
            Form::Raw(length) => self.append(&mut text, length)?,
            Form::Lzf { packed, length } => {
                let mut input = Vec::new();
                self.append(&mut input, packed)?;
                unpack(at, &input, &mut text, length)?;
            }
        }
        Ok(text)
    }

    /// A packed value: all of its bytes up to [`WALK_LIMIT`], or its head.
    pub(super) fn blob<'a>(&'a mut self, scratch: &'a mut Scratch) -> Outcome<Blob<'a>> {
        /// Enough for the header of any packed value.
        const HEAD: u64 = 16;
        let at = self.offset();
        scratch.plain.clear();
        match self.form()? {
            Form::Integer(_) => Err(Fault::Bad { at, what: "a packed value is expected, not an integer" }),
            Form::Raw(length) if length <= 128 * 1024 => Ok(Blob { length, bytes: self.take(length as usize)?, at }),
            Form::Raw(length) => {
                let read = if length <= WALK_LIMIT { length } else { HEAD };
                self.append(&mut scratch.plain, read)?;
                self.skip(length - read)?;
                Ok(Blob { length, bytes: &scratch.plain, at })
            }
            Form::Lzf { packed, length } if length <= WALK_LIMIT && packed <= WALK_LIMIT => {
                if packed <= 128 * 1024 {
                    unpack(at, self.take(packed as usize)?, &mut scratch.plain, length)?;
                } else {
                    scratch.packed.clear();
                    self.append(&mut scratch.packed, packed)?;
                    unpack(at, &scratch.packed, &mut scratch.plain, length)?;
                }
                Ok(Blob { length, bytes: &scratch.plain, at })
            }
            Form::Lzf { packed, length } => {
                // The head unpacks from the first bytes; that its last block is cut off there does not matter.
                let read = packed.min(64);
                let _ = lzf::unpack(self.take(read as usize)?, &mut scratch.plain, HEAD as usize);
                self.skip(packed - read)?;
                Ok(Blob { length, bytes: &scratch.plain, at })
            }
        }
    }
}

fn unpack(at: u64, input: &[u8], output: &mut Vec<u8>, length: u64) -> Outcome<()> {
    let limit = usize::try_from(length).unwrap_or(usize::MAX);
    lzf::unpack(input, output, limit).map_err(|what| Fault::Bad { at, what })?;
    if output.len() == limit { Ok(()) } else { Err(Fault::Bad { at, what: lzf::BROKEN }) }
}
