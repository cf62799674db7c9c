//! A reader of DER (X.690), strict and small.
//!
//! The general parser accepts more than a validator should: bytes after a value, BER's lengths. What decides about trust is
//! read here instead, from slices only, so that nothing can be out of bounds and nothing is copied.

/// What does not hold about an encoding, in words that follow "the certificate is malformed: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) String);

pub(super) type Parsed<T> = Result<T, Malformed>;

/// The shortest way to an error.
pub(super) fn malformed<T>(what: &str) -> Parsed<T> {
    Err(Malformed(what.to_owned()))
}

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// A context-specific tag of a primitive value.
pub(super) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// A context-specific tag of a constructed value.
pub(super) const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// One value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    /// Its tag's byte.
    pub(super) tag: u8,
    /// Its content.
    pub(super) content: &'a [u8],
    /// All of it.
    pub(super) raw: &'a [u8],
}

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Der(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next value.
    pub(super) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value.
    pub(super) fn item(&mut self) -> Parsed<Item<'a>> {
        let whole = self.0;
        let (Some((&tag, rest)), false) = (whole.split_first(), self.peek().is_some_and(|tag| tag & 0x1f == 0x1f))
        else {
            return malformed("a value is missing or has a long tag");
        };
        let (length, rest) = length(rest)?;
        let (Some(content), Some(after)) = (rest.get(..length), rest.get(length..)) else {
            return malformed("a value is longer than what holds it");
        };
        self.0 = after;
        let raw = whole.get(..whole.len() - after.len()).unwrap_or_default();
        Ok(Item { tag, content, raw })
    }

    /// The content of the next value, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Parsed<&'a [u8]> {
        match self.peek() {
            Some(found) if found == tag => self.item().map(|item| item.content),
            Some(found) => Err(Malformed(format!("a value has the tag {found:#04x} where {tag:#04x} belongs"))),
            None => malformed("a value is missing"),
        }
    }

    /// The content of the next value when it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Parsed<Option<&'a [u8]>> {
        if self.peek() == Some(tag) { self.item().map(|item| Some(item.content)) } else { Ok(None) }
    }

    /// A sequence's inside.
    pub(super) fn sequence(&mut self) -> Parsed<Der<'a>> {
        self.expect(SEQUENCE).map(Der)
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Parsed<()> {
        if self.0.is_empty() { Ok(()) } else { malformed("bytes follow a value") }
    }

    /// A boolean with default FALSE, of this tag; an encoded FALSE is no DER, and read as what it says.
    pub(super) fn flag(&mut self, tag: u8) -> Parsed<bool> {
        match self.optional(tag)? {
            None | Some([0]) => Ok(false),
            Some([0xff]) => Ok(true),
            Some(_) => malformed("a boolean is neither true nor false"),
        }
    }
}

/// The one value that `bytes` are.
pub(super) fn only(bytes: &[u8], tag: u8) -> Parsed<&[u8]> {
    let mut der = Der(bytes);
    let content = der.expect(tag)?;
    der.end()?;
    Ok(content)
}

/// A definite length in its shortest form, at most four bytes.
fn length(bytes: &[u8]) -> Parsed<(usize, &[u8])> {
    match bytes.split_first() {
        Some((&short, rest)) if short < 0x80 => Ok((usize::from(short), rest)),
        Some((&long, rest)) if (0x81..=0x84).contains(&long) => {
            let Some((digits, rest)) = rest.split_at_checked(usize::from(long & 0x7f)) else {
                return malformed("a length is cut off");
            };
            let length = digits.iter().fold(0_usize, |sum, &digit| (sum << 8) | usize::from(digit));
            if length < 0x80 || digits.first() == Some(&0) {
                return malformed("a length is not in its shortest form");
            }
            Ok((length, rest))
        }
        _ => malformed("a length is missing, indefinite or too long"),
    }
}

/// A count: an integer that is not negative; what is beyond 32 bits is as good as the largest.
pub(super) fn count(content: &[u8]) -> Parsed<u32> {
    match content {
        [] => malformed("an integer is empty"),
        [first, ..] if first & 0x80 != 0 => malformed("a count is negative"),
        [0, second, ..] if second & 0x80 == 0 => malformed("an integer is not in its shortest form"),
        digits => Ok(digits.iter().fold(0_u32, |sum, &digit| {
            sum.checked_mul(256).and_then(|sum| sum.checked_add(u32::from(digit))).unwrap_or(u32::MAX)
        })),
    }
}

/// The first sixteen named bits of a bit string, the lowest first.
pub(super) fn bits(content: &[u8]) -> Parsed<u16> {
    match content.split_first() {
        Some((0, [])) => Ok(0),
        Some((unused, bytes)) if *unused < 8 && !bytes.is_empty() => {
            let byte = |index: usize| bytes.get(index).map_or(0, |byte| u16::from(byte.reverse_bits()));
            Ok(byte(0) | (byte(1) << 8))
        }
        _ => malformed("a bit string does not hold"),
    }
}

/// An object identifier in numbers and points, for messages.
pub(super) fn dotted(oid: &[u8]) -> String {
    let (mut arcs, mut arc) = (Vec::new(), 0_u64);
    for &byte in oid {
        arc = arc.saturating_mul(128).saturating_add(u64::from(byte & 0x7f));
        if byte & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.push(first.to_string());
                arc -= first * 40;
            }
            arcs.push(arc.to_string());
            arc = 0;
        }
    }
    arcs.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_and_what_follows_stays() {
        let mut der = Der::new(&[0x30, 0x03, 0x02, 0x01, 0x05, 0x05, 0x00]);
        let mut inner = der.sequence().unwrap();
        assert_eq!(count(inner.expect(INTEGER).unwrap()).unwrap(), 5);
        assert!(inner.end().is_ok() && der.end().is_err());
        assert_eq!(der.item().unwrap().raw, [0x05, 0x00]);
    }

    #[test]
    fn what_is_no_der_is_refused() {
        for bad in [
            &[0x30, 0x80, 0x00, 0x00][..],
            &[0x30, 0x81, 0x01, 0x00],
            &[0x30, 0x82, 0x00, 0x80],
            &[0x30, 0x05, 0x00],
            &[0x3f, 0x01, 0x00],
            &[0x30],
            &[0x30, 0x85, 1, 1, 1, 1, 1],
            &[],
        ] {
            assert!(Der::new(bad).item().is_err(), "{bad:x?}");
        }
    }

    #[test]
    fn counts_saturate_and_are_not_negative() {
        assert_eq!(count(&[1, 0, 0, 0, 0, 0]).unwrap(), u32::MAX);
        assert_eq!(count(&[0, 0x80]).unwrap(), 128);
        assert!(count(&[0x80]).is_err() && count(&[]).is_err() && count(&[0, 1]).is_err());
    }

    #[test]
    fn bits_and_identifiers_read_as_they_are_written() {
        assert_eq!(bits(&[7, 0x80]).unwrap(), 1);
        assert_eq!(bits(&[7, 0x00, 0x80]).unwrap(), 1 << 8);
        assert_eq!(dotted(&[0x55, 0x1d, 0x0f]), "2.5.29.15");
        assert_eq!(dotted(&[0x2a, 0x86, 0x48]), "1.2.840");
    }
}
