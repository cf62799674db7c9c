//! LZF, the compression of long strings in a snapshot. The stream is a row of blocks: a control byte below 32 stands
//! before one more literal bytes than it says; any other one copies from what was already written, the length in its
//! upper three bits (7 = one more byte of length follows), the distance in the lower five and one more byte.
//! Format: the LibLZF documentation by Marc Lehmann.

/// Why a compressed string cannot be read.
pub(super) const BROKEN: &str = "a compressed string does not unpack";

/// Unpacks `input` until it ends or `limit` bytes were written, and appends to `output`, which must be empty. Memory
/// grows with what is really written, never with a promised length.
pub(super) fn unpack(input: &[u8], output: &mut Vec<u8>, limit: usize) -> Result<(), &'static str> {
    let mut rest = input;
    while let Some((&control, after)) = rest.split_first() {
        if control < 32 {
            let (literal, after) = after.split_at_checked(usize::from(control) + 1).ok_or(BROKEN)?;
            output.extend_from_slice(literal);
            rest = after;
        } else {
            let mut length = usize::from(control >> 5) + 2;
            let mut after = after;
            if length == 9 {
                let (&more, tail) = after.split_first().ok_or(BROKEN)?;
                length += usize::from(more);
                after = tail;
            }
            let (&low, tail) = after.split_first().ok_or(BROKEN)?;
            rest = tail;
            let distance = (usize::from(control & 31) << 8) + usize::from(low) + 1;
            let from = output.len().checked_sub(distance).ok_or(BROKEN)?;
            if distance >= length {
                output.extend_from_within(from..from + length);
            } else {
                // The copy overlaps what it writes: it repeats the last `distance` bytes.
                for at in from..from + length {
                    let byte = output.get(at).copied().ok_or(BROKEN)?;
                    output.push(byte);
                }
            }
        }
        if output.len() >= limit {
            let exact = rest.is_empty() && output.len() == limit;
            output.truncate(limit);
            return if exact { Ok(()) } else { Err(BROKEN) };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(input: &[u8], limit: usize) -> Result<Vec<u8>, &'static str> {
        let mut output = Vec::new();
        unpack(input, &mut output, limit).map(|()| output)
    }

    #[test]
    fn literals_and_copies_are_put_together() {
        assert_eq!(unpacked(&[2, b'a', b'b', b'c', 0x20, 2], 100).unwrap(), b"abcabc");
        assert_eq!(unpacked(&[0, b'x', 0xE0, 0, 0], 100).unwrap(), b"xxxxxxxxxx", "a copy may overlap itself");
        assert_eq!(unpacked(&[], 100).unwrap(), b"");
    }

    #[test]
    fn a_copy_from_before_the_start_is_refused() {
        assert!(unpacked(&[0, b'x', 0x20, 1], 100).is_err());
        assert!(unpacked(&[0x20, 0], 100).is_err());
    }

    #[test]
    fn a_block_that_is_cut_off_is_refused() {
        for cut in [&[5u8, b'a'][..], &[0, b'x', 0xE0], &[0, b'x', 0xE0, 0], &[0, b'x', 0x20]] {
            assert!(unpacked(cut, 100).is_err(), "{cut:?}");
        }
    }

    #[test]
    fn more_than_was_promised_is_refused_and_never_kept() {
        assert!(unpacked(&[0, b'x', 0xE0, 255, 0, 0, b'y'], 20).is_err());
    }
}
