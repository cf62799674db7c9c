//! The packed forms of small collections, walked over bytes that are at hand: listpack (from Redis 7.0), ziplist and
//! zipmap (before it) and intset. Every step is checked, for a snapshot without a checksum may hold anything.
//! Formats: `listpack.md`, `ziplist.c`, `zipmap.c` and `intset.c` of the Redis sources.

use super::text::Piece;

/// One element of a packed collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element<'a> {
    Integer(i64),
    Bytes(&'a [u8]),
}

impl Element<'_> {
    pub(super) fn piece(self) -> Piece {
        match self {
            Element::Integer(value) => Piece::of_integer(value),
            Element::Bytes(bytes) => Piece::of_bytes(bytes),
        }
    }
}

type Step<T> = Result<T, &'static str>;

const LISTPACK: &str = "a listpack is broken";
const ZIPLIST: &str = "a ziplist is broken";
const ZIPMAP: &str = "a zipmap is broken";
const INTSET: &str = "an intset is broken";

fn part<'a>(rest: &mut &'a [u8], count: usize, what: &'static str) -> Step<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count).ok_or(what)?;
    *rest = tail;
    Ok(head)
}

fn chunk<const N: usize>(rest: &mut &[u8], what: &'static str) -> Step<[u8; N]> {
    part(rest, N, what)?.first_chunk().copied().ok_or(what)
}

/// Three bytes, little end first, as a signed number.
fn int24([a, b, c]: [u8; 3]) -> i64 {
    i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)
}

/// How many elements a listpack's head tells of; `None` when it holds too many to say.
pub(super) fn listpack_count(head: &[u8], length: u64) -> Step<Option<u64>> {
    let mut rest = head;
    let total = u32::from_le_bytes(chunk(&mut rest, LISTPACK)?);
    let count = u16::from_le_bytes(chunk(&mut rest, LISTPACK)?);
    if u64::from(total) != length {
        return Err(LISTPACK);
    }
    Ok((count != u16::MAX).then_some(u64::from(count)))
}

/// Walks a whole listpack and hands each element over; returns how many there were.
pub(super) fn listpack<'a>(bytes: &'a [u8], mut each: impl FnMut(Element<'a>)) -> Step<u64> {
    let promised = listpack_count(bytes, bytes.len() as u64)?;
    let mut rest = bytes.get(6..).ok_or(LISTPACK)?;
    let mut count = 0;
    loop {
        let before = rest.len();
        let [first] = chunk(&mut rest, LISTPACK)?;
        let element = match first {
            0xFF => break,
            0..=0x7F => Element::Integer(i64::from(first)),
            0x80..=0xBF => Element::Bytes(part(&mut rest, usize::from(first & 0x3F), LISTPACK)?),
            0xC0..=0xDF => {
                let [low] = chunk(&mut rest, LISTPACK)?;
                // Thirteen bits with their sign.
                let value = i16::from_be_bytes([first & 0x1F, low]) << 3 >> 3;
                Element::Integer(i64::from(value))
            }
            0xE0..=0xEF => {
                let [low] = chunk(&mut rest, LISTPACK)?;
                Element::Bytes(part(&mut rest, usize::from(first & 0x0F) << 8 | usize::from(low), LISTPACK)?)
            }
            0xF0 => {
                let length = u32::from_le_bytes(chunk(&mut rest, LISTPACK)?);
                Element::Bytes(part(&mut rest, length as usize, LISTPACK)?)
            }
            0xF1 => Element::Integer(i64::from(i16::from_le_bytes(chunk(&mut rest, LISTPACK)?))),
            0xF2 => Element::Integer(int24(chunk(&mut rest, LISTPACK)?)),
            0xF3 => Element::Integer(i64::from(i32::from_le_bytes(chunk(&mut rest, LISTPACK)?))),
            0xF4 => Element::Integer(i64::from_le_bytes(chunk(&mut rest, LISTPACK)?)),
            0xF5..=0xFE => return Err(LISTPACK),
        };
        let size = (before - rest.len()) as u64;
        back_length_fits(&mut rest, size)?;
        each(element);
        count += 1;
    }
    if !rest.is_empty() || promised.is_some_and(|promised| promised != count) {
        return Err(LISTPACK);
    }
    Ok(count)
}

/// Passes over the field behind an element, which must tell the element's size: seven bits a byte, the high ones first,
/// all but the first byte with the top bit set.
fn back_length_fits(rest: &mut &[u8], size: u64) -> Step<()> {
    let bytes = part(rest, back_length(size) as usize, LISTPACK)?;
    let mut rest = size;
    for (place, byte) in bytes.iter().enumerate().rev() {
        let flag = if place > 0 { 0x80 } else { 0 };
        if u64::from(*byte) != (rest & 0x7F | flag) {
            return Err(LISTPACK);
        }
        rest >>= 7;
    }
    Ok(())
}

/// Bytes of the field behind an element of `size` bytes that lets a listpack be walked backwards.
fn back_length(size: u64) -> u64 {
    match size {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

/// Bytes that an element takes in a listpack.
pub(super) fn listpack_bytes(piece: Piece) -> u64 {
    let size = match piece.integer {
        Some(0..=127) => 1,
        Some(-4096..=4095) => 2,
        Some(-32_768..=32_767) => 3,
        Some(-8_388_608..=8_388_607) => 4,
        Some(value) if i32::try_from(value).is_ok() => 5,
        Some(_) => 9,
        None => {
            piece.length
                + match piece.length {
                    0..=63 => 1,
                    64..=4095 => 2,
                    _ => 5,
                }
        }
    };
    size + back_length(size)
}

/// Bytes of a listpack's head and end.
pub(super) const LISTPACK_FRAME: u64 = 7;

/// Walks a whole ziplist and hands each element over; returns how many there were.
pub(super) fn ziplist<'a>(bytes: &'a [u8], mut each: impl FnMut(Element<'a>)) -> Step<u64> {
    let mut rest = bytes;
    let total = u32::from_le_bytes(chunk(&mut rest, ZIPLIST)?);
    let _tail: [u8; 4] = chunk(&mut rest, ZIPLIST)?;
    let promised = u16::from_le_bytes(chunk(&mut rest, ZIPLIST)?);
    if total as usize != bytes.len() {
        return Err(ZIPLIST);
    }
    let mut count: u64 = 0;
    loop {
        let [first] = chunk(&mut rest, ZIPLIST)?;
        match first {
            0xFF => break,
            0xFE => {
                part(&mut rest, 4, ZIPLIST)?;
            }
            _ => {}
        }
        let [code] = chunk(&mut rest, ZIPLIST)?;
        let element = match code {
            0..=0x3F => Element::Bytes(part(&mut rest, usize::from(code), ZIPLIST)?),
            0x40..=0x7F => {
                let [low] = chunk(&mut rest, ZIPLIST)?;
                Element::Bytes(part(&mut rest, usize::from(code & 0x3F) << 8 | usize::from(low), ZIPLIST)?)
            }
            0x80 => {
                let length = u32::from_be_bytes(chunk(&mut rest, ZIPLIST)?);
                Element::Bytes(part(&mut rest, length as usize, ZIPLIST)?)
            }
            0xC0 => Element::Integer(i64::from(i16::from_le_bytes(chunk(&mut rest, ZIPLIST)?))),
            0xD0 => Element::Integer(i64::from(i32::from_le_bytes(chunk(&mut rest, ZIPLIST)?))),
            0xE0 => Element::Integer(i64::from_le_bytes(chunk(&mut rest, ZIPLIST)?)),
            0xF0 => Element::Integer(int24(chunk(&mut rest, ZIPLIST)?)),
            0xFE => Element::Integer(i64::from(i8::from_le_bytes(chunk(&mut rest, ZIPLIST)?))),
            0xF1..=0xFD => Element::Integer(i64::from(code & 0x0F) - 1),
            _ => return Err(ZIPLIST),
        };
        each(element);
        count += 1;
    }
    if !rest.is_empty() || (promised != u16::MAX && u64::from(promised) != count) {
        return Err(ZIPLIST);
    }
    Ok(count)
}

/// Walks a zipmap and hands names and values over in turn; returns how many pairs there were.
pub(super) fn zipmap<'a>(bytes: &'a [u8], mut each: impl FnMut(Element<'a>)) -> Step<u64> {
    let mut rest = bytes;
    let [promised] = chunk(&mut rest, ZIPMAP)?;
    let mut count: u64 = 0;
    while let Some(length) = zipmap_length(&mut rest)? {
        each(Element::Bytes(part(&mut rest, length, ZIPMAP)?));
        let length = zipmap_length(&mut rest)?.ok_or(ZIPMAP)?;
        let [unused] = chunk(&mut rest, ZIPMAP)?;
        each(Element::Bytes(part(&mut rest, length, ZIPMAP)?));
        part(&mut rest, usize::from(unused), ZIPMAP)?;
        count += 1;
    }
    if !rest.is_empty() || (promised < 254 && u64::from(promised) != count) {
        return Err(ZIPMAP);
    }
    Ok(count)
}

fn zipmap_length(rest: &mut &[u8]) -> Step<Option<usize>> {
    match chunk(rest, ZIPMAP)? {
        [255] => Ok(None),
        [254] => Ok(Some(u32::from_le_bytes(chunk(rest, ZIPMAP)?) as usize)),
        [length] => Ok(Some(usize::from(length))),
    }
}

/// How many integers an intset of `length` bytes holds, by its head.
pub(super) fn intset(head: &[u8], length: u64) -> Step<u64> {
    let mut rest = head;
    let width = u32::from_le_bytes(chunk(&mut rest, INTSET)?);
    let count = u32::from_le_bytes(chunk(&mut rest, INTSET)?);
    if !matches!(width, 2 | 4 | 8) || 8 + u64::from(width) * u64::from(count) != length {
        return Err(INTSET);
    }
    Ok(u64::from(count))
}
