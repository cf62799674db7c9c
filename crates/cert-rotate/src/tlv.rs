//! Just enough DER (X.690) to tell what something is before it is parsed, and to put one header before it.

/// Tag of an INTEGER.
pub(crate) const INTEGER: u8 = 0x02;
/// Tag of a BIT STRING.
pub(crate) const BIT_STRING: u8 = 0x03;
/// Tag of an OCTET STRING.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// Tag of an OBJECT IDENTIFIER.
pub(crate) const OID: u8 = 0x06;
/// Tag of a SEQUENCE.
pub(crate) const SEQUENCE: u8 = 0x30;

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tlv<'a> {
    /// Its tag; only those of one byte are known here.
    pub(crate) tag: u8,
    /// Its content.
    pub(crate) content: &'a [u8],
    /// The value with its header.
    pub(crate) whole: &'a [u8],
}

/// The first value, and what follows it; `None` when the bytes are not DER or end too early.
pub(crate) fn first(input: &[u8]) -> Option<(Tlv<'_>, &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    let whole = input.get(..input.len() - after.len())?;
    Some((Tlv { tag, content, whole }, after))
}

/// The values that stand one after the other in `input`, up to the first that does not hold.
pub(crate) fn all(mut input: &[u8]) -> impl Iterator<Item = Tlv<'_>> {
    std::iter::from_fn(move || {
        let (value, rest) = first(input)?;
        input = rest;
        Some(value)
    })
}

/// The header of a value of `length` bytes.
pub(crate) fn header(tag: u8, length: usize) -> Vec<u8> {
    let mut header = vec![tag];
    if length < 0x80 {
        header.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        let bytes = bytes.get(start..).unwrap_or_default();
        header.push(0x80 | bytes.len() as u8);
        header.extend_from_slice(bytes);
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let mut value = header(SEQUENCE, length);
            value.resize(value.len() + length, 7);
            value.push(9);
            let (read, rest) = first(&value).unwrap();
            assert_eq!((read.tag, read.content.len(), rest), (SEQUENCE, length, &[9][..]));
            assert_eq!(read.whole.len() + 1, value.len());
        }
    }

    #[test]
    fn what_ends_too_early_is_nothing() {
        for input in [&[][..], &[0x30], &[0x30, 1], &[0x30, 0x80], &[0x30, 0x82, 1], &[0x30, 0x84, 255, 255, 255, 255]]
        {
            assert_eq!(first(input), None);
        }
    }
}
