//! Names that people give, as names of files, and back.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// A file name for any text, different for different texts: two targets must not share a
/// file by accident.
pub fn file_name(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-@".contains(&byte) {
            safe.push(char::from(byte));
        } else {
            let _ = write!(safe, "%{byte:02X}");
        }
    }
    // File systems take 255 bytes. A digest in place of the rest keeps the names apart.
    if safe.len() > 200 {
        safe.truncate(120);
        safe.push('~');
        for byte in Sha256::digest(name) {
            let _ = write!(safe, "{byte:02x}");
        }
    }
    safe
}

/// A text without its percent-encoding (RFC 3986, 2.1); a `%` that begins none stays.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| *first == b'%') {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_a_file_of_its_own_and_comes_back() {
        for name in ["api", "http://127.0.0.1:80/a b", "../../etc/passwd", "%41", "ü", "100%"] {
            let file = file_name(name);
            assert!(!file.contains('/') && !file.contains(' '), "{file}");
            assert_eq!(percent_decoded(&file), name);
        }
        assert_eq!(percent_decoded("100%"), "100%");
        let (one, two) = ("x".repeat(300), "x".repeat(301));
        assert!(file_name(&one) != file_name(&two) && file_name(&one).len() < 255);
    }
}
