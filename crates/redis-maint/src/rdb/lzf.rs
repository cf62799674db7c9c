//! Unpacks LZF, the compression of strings in snapshots.
//!
//! The format (LibLZF): a control byte below 32 is followed by that many bytes and one more as they are; any other is a
//! copy of earlier output, its three upper bits the length less two (7: another byte of length follows), the lower five
//! and the next byte the distance less one.

/// The first `wanted` bytes of the text, or all of it when it is shorter; none when the packed bytes make no sense.
pub(super) fn unpack(packed: &[u8], wanted: usize) -> Option<Vec<u8>> {
    let mut text: Vec<u8> = Vec::with_capacity(wanted.min(packed.len().saturating_mul(4)));
    let mut rest = packed.iter().copied();
    while text.len() < wanted {
        let Some(control) = rest.next() else { break };
        if control < 32 {
            for _ in 0..=control {
                text.push(rest.next()?);
            }
            continue;
        }
        let mut length = usize::from(control >> 5);
        if length == 7 {
            length += usize::from(rest.next()?);
        }
        let distance = (usize::from(control & 31) << 8 | usize::from(rest.next()?)) + 1;
        let from = text.len().checked_sub(distance)?;
        // The copy may overlap what it makes.
        for at in from..from + length + 2 {
            text.push(text.get(at).copied()?);
        }
    }
    text.truncate(wanted);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_may_overlap_what_they_make() {
        // "a", then 10 bytes from one back.
        assert_eq!(unpack(&[0, b'a', 7 << 5, 1, 0], 100).unwrap(), b"aaaaaaaaaaa");
        assert_eq!(unpack(&[2, b'a', b'b', b'c', 1 << 5, 2], 100).unwrap(), b"abcabc");
        assert_eq!(unpack(&[2, b'a', b'b', b'c', 1 << 5, 2], 4).unwrap(), b"abca");
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(unpack(&[1 << 5, 0], 10), None, "a copy from before the beginning");
        assert_eq!(unpack(&[5, b'a'], 10), None, "cut short");
        assert_eq!(unpack(&[0, b'a', 7 << 5], 10), None, "no length");
        assert_eq!(unpack(&[], 10).unwrap(), b"");
    }
}
