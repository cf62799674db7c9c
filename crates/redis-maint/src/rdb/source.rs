//! The bytes of a snapshot, in order and once. Standard input cannot seek, so nothing here does. The checksum runs over
//! whole buffers as they are left behind, and a number read from the file never decides how much memory is taken: only
//! bytes that really arrived do.

use std::io::{self, Read};

use crc_fast::{CrcAlgorithm, Digest};

/// Bytes read at once. Small enough to stay in the second-level cache, which both parser and checksum go over.
const BUFFER: usize = 256 * 1024;

/// What can go wrong below the level of keys; the scanner adds where it was.
#[derive(Debug)]
pub(super) enum Fault {
    /// The input could not be read.
    Io(io::Error),
    /// The input ended.
    End,
    /// A length or a count, read at `at`, promises more than the rest of the file holds.
    Beyond { at: u64, length: u64 },
    /// The bytes at `at` are not what the format allows.
    Bad { at: u64, what: &'static str },
    /// A code at `at` that no known version of the format has at this place.
    Unknown { at: u64, what: &'static str, code: u64 },
    /// A part at `at` that is known, but not how to get past it.
    Unreadable { at: u64, what: &'static str },
}

pub(super) type Outcome<T> = Result<T, Fault>;

/// The input with its position and running checksum.
pub(super) struct Source<R> {
    input: R,
    buffer: Vec<u8>,
    /// The next byte to hand out.
    at: usize,
    /// One past the last byte that was read.
    end: usize,
    /// Up to here the checksum has seen the buffer.
    summed: usize,
    /// The file's offset of the buffer's first byte.
    start: u64,
    total: Option<u64>,
    digest: Digest,
}

impl<R: Read> Source<R> {
    /// `total` is the length of the input in bytes, where it is known.
    pub(super) fn new(input: R, total: Option<u64>) -> Self {
        Source {
            input,
            buffer: vec![0; BUFFER],
            at: 0,
            end: 0,
            summed: 0,
            start: 0,
            total,
            digest: Digest::new(CrcAlgorithm::Crc64Redis),
        }
    }

    /// How many bytes were handed out.
    pub(super) fn offset(&self) -> u64 {
        self.start + self.at as u64
    }

    /// How many bytes arrived: where the file ends, once it ended.
    pub(super) fn arrived(&self) -> u64 {
        self.start + self.end as u64
    }

    /// A complaint about the byte that comes next.
    pub(super) fn bad<T>(&self, what: &'static str) -> Outcome<T> {
        Err(Fault::Bad { at: self.offset(), what })
    }

    fn refill(&mut self, need: usize) -> Outcome<()> {
        self.digest.update(self.buffer.get(self.summed..self.at).unwrap_or_default());
        self.buffer.copy_within(self.at..self.end, 0);
        self.start += self.at as u64;
        self.end -= self.at;
        self.at = 0;
        self.summed = 0;
        while self.end < need {
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.input.read(room) {
                Ok(0) => return Err(Fault::End),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::Io(error)),
            }
        }
        Ok(())
    }

    /// The next `count` bytes; at most a buffer's length of them.
    pub(super) fn take(&mut self, count: usize) -> Outcome<&[u8]> {
        if self.end - self.at < count {
            self.refill(count)?;
        }
        let from = self.at;
        self.at += count;
        self.buffer.get(from..self.at).ok_or(Fault::End)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        self.take(N)?.first_chunk().copied().ok_or(Fault::End)
    }

    pub(super) fn byte(&mut self) -> Outcome<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Passes over bytes that need not be looked at.
    pub(super) fn skip(&mut self, mut count: u64) -> Outcome<()> {
        loop {
            let here = (self.end - self.at) as u64;
            if count <= here {
                self.at += count as usize;
                return Ok(());
            }
            self.at = self.end;
            count -= here;
            self.refill(1)?;
        }
    }

    /// Appends `count` bytes to `into`, which grows as they arrive.
    pub(super) fn append(&mut self, into: &mut Vec<u8>, mut count: u64) -> Outcome<()> {
        while count > 0 {
            let step = count.min(BUFFER as u64);
            into.extend_from_slice(self.take(step as usize)?);
            count -= step;
        }
        Ok(())
    }

    /// Refuses a number of bytes, or of things of at least one byte, that the rest of the file cannot hold.
    pub(super) fn within(&self, at: u64, length: u64) -> Outcome<u64> {
        match self.total {
            Some(total) if length > total.saturating_sub(self.offset()) => Err(Fault::Beyond { at, length }),
            _ => Ok(length),
        }
    }

    /// The checksum of everything that was handed out so far.
    pub(super) fn checksum(&mut self) -> u64 {
        self.digest.update(self.buffer.get(self.summed..self.at).unwrap_or_default());
        self.summed = self.at;
        self.digest.finalize()
    }

    /// Reads to the end and says how many bytes there were.
    pub(super) fn drain(&mut self) -> Outcome<u64> {
        let from = self.offset();
        loop {
            self.at = self.end;
            match self.refill(1) {
                Ok(()) => {}
                Err(Fault::End) => return Ok(self.arrived() - from),
                Err(fault) => return Err(fault),
            }
        }
    }
}
