//! Base64 (RFC 4648, 4 and 5), for text that may be a private key: it goes into memory that is wiped, and never moved.

use zeroize::Zeroizing;

/// Decodes lines. Spaces are passed over and padding may be missing at the end; both are common and harm nobody.
///
/// # Errors
/// Which line (counted from 0) has something in it that is no base64, or where it ends too early.
pub(crate) fn decode(lines: &[&[u8]]) -> Result<Zeroizing<Vec<u8>>, usize> {
    let length: usize = lines.iter().map(|line| line.len()).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(length / 4 * 3 + 3));
    let (mut held, mut bits, mut padded, mut symbols) = (0_u32, 0, false, 0_usize);
    for (number, line) in lines.iter().enumerate() {
        for byte in *line {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b' ' | b'\t' | b'\r' => continue,
                b'=' => {
                    padded = true;
                    continue;
                }
                _ => return Err(number),
            };
            if padded {
                return Err(number);
            }
            symbols += 1;
            held = held << 6 | u32::from(value);
            bits += 6;
            if bits >= 8 {
                bits -= 8;
                bytes.push((held >> bits) as u8);
                held &= (1 << bits) - 1;
            }
        }
    }
    // A lone symbol is six bits of something, and bits that are left over are of something else.
    if symbols % 4 == 1 || held != 0 {
        return Err(lines.len().saturating_sub(1));
    }
    Ok(bytes)
}

/// With the alphabet of RFC 4648, 4, and padding.
pub(crate) fn encode(bytes: &[u8]) -> Zeroizing<String> {
    encode_with(bytes, b'+', b'/', true)
}

/// With the alphabet of RFC 4648, 5, and without padding, as JSON Web Keys have it.
pub(crate) fn encode_url(bytes: &[u8]) -> Zeroizing<String> {
    encode_with(bytes, b'-', b'_', false)
}

fn encode_with(bytes: &[u8], plus: u8, slash: u8, padded: bool) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len().div_ceil(3) * 4));
    for group in bytes.chunks(3) {
        let held = group.iter().fold(0_u32, |held, byte| held << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            if place > group.len() {
                if padded {
                    text.push('=');
                }
                continue;
            }
            let symbol = match (held >> (18 - 6 * place)) as u8 & 63 {
                value @ 0..=25 => b'A' + value,
                value @ 26..=51 => b'a' + value - 26,
                value @ 52..=61 => b'0' + value - 52,
                62 => plus,
                _ => slash,
            };
            text.push(char::from(symbol));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{decode, encode, encode_url};

    #[test]
    fn the_vectors_of_the_standard_hold() {
        for (text, plain) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(&**decode(&[text.as_bytes()]).unwrap(), plain.as_bytes());
            assert_eq!(*encode(plain.as_bytes()), text);
        }
        assert_eq!(*encode_url(&[0xfb, 0xef, 0xff, 0xfe]), "--___g");
        assert_eq!(&**decode(&[b"Zm9 v\r", b"Y", b"mE"]).unwrap(), b"fooba");
    }

    #[test]
    fn damage_is_told_with_its_line() {
        assert_eq!(decode(&[b"Zm9v", b"Zm*v", b"Zm9v"]).unwrap_err(), 1);
        assert_eq!(decode(&[b"Zm9v", b"Z"]).unwrap_err(), 1);
        assert_eq!(decode(&[b"Zg==", b"Zg=="]).unwrap_err(), 1);
        assert_eq!(decode(&[b"Zh=="]).unwrap_err(), 0);
    }
}
