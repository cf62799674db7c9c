//! Names of keys as text. A key is any sequence of bytes; a record is text. What is valid UTF-8 without control characters stands as it is, anything
//! else is percent-encoded (RFC 3986, section 2.1), and `%` itself is always encoded, so that every subject reads
//! back as exactly one key.

use std::fmt::Write;

/// The key as the subject of a record.
pub fn subject(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len());
    for chunk in key.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '%' || character.is_control() {
                let mut buffer = [0; 4];
                escape(&mut text, character.encode_utf8(&mut buffer).as_bytes());
            } else {
                text.push(character);
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

fn escape(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "%{byte:02X}");
    }
}

/// The key that a subject stands for; a `%` that starts no escape stands for itself.
pub fn from_subject(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut key = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = bytes.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|digits| {
            let hex = |digit: &u8| char::from(*digit).to_digit(16);
            Some((hex(digits.first()?)? * 16 + hex(digits.get(1)?)?) as u8)
        });
        // Without an escape the byte stands for itself.
        key.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stands_as_it_is_and_bytes_are_escaped() {
        assert_eq!(subject("sitzung:ä:1 *[?".as_bytes()), "sitzung:ä:1 *[?");
        assert_eq!(subject(b"bin:\xff\x00\x01N\n"), "bin:%FF%00%01N%0A");
        assert_eq!(subject(b"100%"), "100%25");
        assert_eq!(subject(b""), "");
    }

    #[test]
    fn every_key_reads_back_from_its_subject() {
        let mut keys: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![b'a', byte, b'%', byte]).collect();
        keys.extend([b"%41".to_vec(), b"%".to_vec(), "é%".into(), vec![0xC3]]);
        for key in keys {
            assert_eq!(from_subject(&subject(&key)), key);
        }
    }

    #[test]
    fn a_percent_sign_that_starts_no_escape_stands_for_itself() {
        assert_eq!(from_subject("50%"), b"50%");
        assert_eq!(from_subject("50%zz"), b"50%zz");
        assert_eq!(from_subject("%4"), b"%4");
    }
}
