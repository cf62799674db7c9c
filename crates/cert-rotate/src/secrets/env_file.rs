//! Env files: one variable in them is read or changed, and every other byte stays as it is.
//!
//! There is no standard for these files. What is written here means the same to Docker Compose, systemd, a shell and the
//! dotenv libraries: a value of harmless characters stands as it is, anything else in single quotes, and what single
//! quotes cannot hold is refused. What is read may be quoted either way and may go over several lines, so that a line
//! inside another variable's value is never taken for a variable.

use std::ops::Range;

use zeroize::Zeroizing;

/// A variable cannot be read or written. Never has a value in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// It stands there twice, and the values differ.
    #[error("{key} stands there more than once (line {line}), with different values; remove one")]
    Twice {
        /// The variable.
        key: String,
        /// Of the second, counted from 1.
        line: usize,
    },
    /// Its value is put together from several parts.
    #[error("the value of {key} (line {line}) is quoted in a way that not every program reads alike; write it plainly")]
    Odd {
        /// The variable.
        key: String,
        /// Counted from 1.
        line: usize,
    },
    /// A quote before it is not closed.
    #[error("a quote before {key} is not closed, so that the line for it would be read as something else; close it")]
    Unclosed {
        /// The variable.
        key: String,
    },
    /// No quoting fits everywhere.
    #[error("the value has a quote, a backslash or a control character, which not every program reads alike")]
    Unwritable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoting {
    None,
    Single,
    Double,
    Odd,
}

/// A variable: where its name and its value are, the latter with its quotes.
#[derive(Debug)]
struct Entry {
    key: Range<usize>,
    value: Range<usize>,
    quoting: Quoting,
}

/// The value of a variable; `None` when it is not there, and empty when it is.
///
/// # Errors
/// It is there twice or cannot be understood.
pub fn get(text: &[u8], key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, EnvError> {
    let mut found: Option<Zeroizing<Vec<u8>>> = None;
    for entry in entries(text).iter().filter(|entry| text.get(entry.key.clone()) == Some(key.as_bytes())) {
        let line = || text.iter().take(entry.key.start).filter(|byte| **byte == b'\n').count() + 1;
        let Some(value) = plain(text.get(entry.value.clone()).unwrap_or_default(), entry.quoting) else {
            return Err(EnvError::Odd { key: key.to_owned(), line: line() });
        };
        if found.as_ref().is_some_and(|found| *found != value) {
            return Err(EnvError::Twice { key: key.to_owned(), line: line() });
        }
        found = Some(value);
    }
    Ok(found)
}

/// The text with a variable set: where it is, or in a line at the end. Everything else is the same, byte for byte.
///
/// # Errors
/// The value cannot be written so that every program reads it alike, or what is before it would change its meaning.
pub fn set(text: &[u8], key: &str, value: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvError> {
    let quoted = quote(value)?;
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() + key.len() + quoted.len() + 4));
    let mut from = 0;
    for entry in entries(text).iter().filter(|entry| text.get(entry.key.clone()) == Some(key.as_bytes())) {
        out.extend_from_slice(text.get(from..entry.value.start).unwrap_or_default());
        out.extend_from_slice(&quoted);
        from = entry.value.end;
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
    if from == 0 {
        let end: &[u8] = if text.windows(2).any(|pair| pair == b"\r\n") { b"\r\n" } else { b"\n" };
        if !out.is_empty() && !out.ends_with(b"\n") {
            out.extend_from_slice(end);
        }
        out.extend_from_slice(key.as_bytes());
        out.push(b'=');
        out.extend_from_slice(&quoted);
        out.extend_from_slice(end);
    }
    let read = get(&out, key)?;
    if read.is_some_and(|read| read.as_slice() == value) {
        Ok(out)
    } else {
        Err(EnvError::Unclosed { key: key.to_owned() })
    }
}

fn quote(value: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvError> {
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._,+=/:@%".contains(byte);
    if value.iter().all(harmless) {
        return Ok(Zeroizing::new(value.to_vec()));
    }
    if std::str::from_utf8(value).is_err() || value.iter().any(|byte| byte.is_ascii_control() || b"'\\".contains(byte))
    {
        return Err(EnvError::Unwritable);
    }
    let mut quoted = Zeroizing::new(Vec::with_capacity(value.len() + 2));
    quoted.push(b'\'');
    quoted.extend_from_slice(value);
    quoted.push(b'\'');
    Ok(quoted)
}

/// What a program that reads the file gets.
fn plain(raw: &[u8], quoting: Quoting) -> Option<Zeroizing<Vec<u8>>> {
    let inner = || raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
    match quoting {
        Quoting::Odd => None,
        Quoting::None => Some(Zeroizing::new(raw.to_vec())),
        Quoting::Single => Some(Zeroizing::new(inner().to_vec())),
        Quoting::Double => {
            let mut out = Zeroizing::new(Vec::with_capacity(raw.len()));
            let mut bytes = inner().iter();
            while let Some(byte) = bytes.next() {
                match (byte, if *byte == b'\\' { bytes.next() } else { None }) {
                    (_, Some(b'n')) => out.push(b'\n'),
                    (_, Some(escaped @ (b'"' | b'\\' | b'$' | b'`'))) => out.push(*escaped),
                    (_, Some(other)) => out.extend_from_slice(&[b'\\', *other]),
                    (byte, None) => out.push(*byte),
                }
            }
            Some(out)
        }
    }
}

fn entries(text: &[u8]) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut at = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    while at < text.len() {
        let end = match entry(text, at) {
            Some(entry) => {
                let end = entry.value.end;
                found.push(entry);
                end
            }
            None => at,
        };
        at = line_end(text, end) + 1;
    }
    found
}

/// The position of the end of the line, or of the text.
fn line_end(text: &[u8], from: usize) -> usize {
    skip(text, from, |byte| byte != b'\n')
}

fn skip(text: &[u8], from: usize, accepts: impl Fn(u8) -> bool) -> usize {
    from + text.get(from..).unwrap_or_default().iter().take_while(|byte| accepts(**byte)).count()
}

/// The variable whose line begins there, if one does.
fn entry(text: &[u8], start: usize) -> Option<Entry> {
    let blank = |byte| byte == b' ' || byte == b'\t';
    let mut at = skip(text, start, blank);
    if text.get(at..)?.starts_with(b"export") && text.get(at + 6).copied().is_some_and(blank) {
        at = skip(text, at + 6, blank);
    }
    let key = at..skip(text, at, |byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    let sign = skip(text, key.end, blank);
    if key.is_empty() || text.get(sign) != Some(&b'=') {
        return None;
    }
    let from = skip(text, sign + 1, blank);
    if let Some(quote @ (b'\'' | b'"')) = text.get(from).copied()
        && let Some(end) = closing(text, from + 1, quote)
    {
        let after = text.get(end);
        let alone = after.is_none_or(u8::is_ascii_whitespace);
        let quoting = match quote {
            _ if !alone => Quoting::Odd,
            b'\'' => Quoting::Single,
            _ => Quoting::Double,
        };
        let end = if alone { end } else { trimmed(text, from, line_end(text, end)) };
        return Some(Entry { key, value: from..end, quoting });
    }
    let line = line_end(text, from);
    let whole = text.get(from..line).unwrap_or_default();
    // A comment after a value begins with a blank; `a#b` is a value.
    let comment =
        whole.windows(2).position(|pair| pair.first().copied().is_some_and(blank) && pair.get(1) == Some(&b'#'));
    let comment = if whole.first() == Some(&b'#') && from > sign + 1 { Some(0) } else { comment };
    let end = trimmed(text, from, comment.map_or(line, |comment| from + comment));
    let value = text.get(from..end).unwrap_or_default();
    let odd = value.contains(&b'"') || value.contains(&b'\'');
    Some(Entry { key, value: from..end, quoting: if odd { Quoting::Odd } else { Quoting::None } })
}

/// After the closing quote; none if there is none.
fn closing(text: &[u8], from: usize, quote: u8) -> Option<usize> {
    let mut at = from;
    loop {
        match text.get(at)? {
            b'\\' if quote == b'"' => at += 2,
            byte if *byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// The end of a range without white space before it.
fn trimmed(text: &[u8], from: usize, end: usize) -> usize {
    from + text.get(from..end).unwrap_or_default().trim_ascii_end().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, key: &str) -> Option<String> {
        get(text.as_bytes(), key).unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    fn write(text: &str, key: &str, value: &str) -> String {
        String::from_utf8(set(text.as_bytes(), key, value.as_bytes()).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn values_are_read_as_other_programs_read_them() {
        for (line, value) in [
            ("A=b", "b"),
            ("A=", ""),
            ("A= b c \t# comment", "b c"),
            ("A=b#c", "b#c"),
            ("A= # comment", ""),
            ("export A=b\r", "b"),
            ("  A = 'b # c' # d", "b # c"),
            (r#"A="b\"c\\d\$e\nf\x""#, "b\"c\\d$e\nf\\x"),
            ("A='two\nlines'", "two\nlines"),
            ("A=d2=", "d2="),
        ] {
            assert_eq!(read(&format!("X=1\n{line}\nY=2\n"), "A").as_deref(), Some(value), "{line}");
            assert_eq!(read(&format!("X=1\n{line}\nY=2\n"), "Y").as_deref(), Some("2"), "{line}");
        }
        for text in ["", "#A=b\n", "AB=c\nB=A=b\n", "X='\nA=b\n'\n", "X=\"\nA=b\\\"\n\"", "A b\n"] {
            assert_eq!(read(text, "A"), None, "{text}");
        }
    }

    #[test]
    fn only_the_value_changes() {
        let text = "\u{feff}# head\r\n\r\nexport A = \"old\" # why\r\nB='x\r\nA=no'\r\n\tC=1";
        let expected = "\u{feff}# head\r\n\r\nexport A = new # why\r\nB='x\r\nA=no'\r\n\tC=1";
        assert_eq!(write(text, "A", "new"), expected);
        assert_eq!(write(text, "C", "2"), text.replace("C=1", "C=2"));
        assert_eq!(write(text, "D", "2"), format!("{text}\r\nD=2\r\n"));
        assert_eq!(write("", "D", "2"), "D=2\n");
        assert_eq!(write("A=\nB=1\n", "A", "x"), "A=x\nB=1\n");
        assert_eq!(write("A=#x\nA='#x'\n", "A", "y"), "A=y\nA=y\n");
        let bytes = set(b"X=\xff\xfe\nA=1\n", "A", b"2").unwrap();
        assert_eq!(*bytes, b"X=\xff\xfe\nA=2\n");
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for value in ["plain", "with space", "SCRAM-SHA-256$4096:a$b:c", "#hash", "d=", "ä\"`$(x)!~*", "a#b", ""] {
            assert_eq!(read(&write("B=1\n", "A", value), "A").as_deref(), Some(value));
        }
        assert_eq!(write("", "A", "$x"), "A='$x'\n");
        for value in ["it's", "a\\b", "a\nb", "a\rb"] {
            assert_eq!(set(b"", "A", value.as_bytes()), Err(EnvError::Unwritable), "{value:?}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_refused_by_name() {
        assert_eq!(get(b"A=1\nB=2\nA=2\n", "A"), Err(EnvError::Twice { key: "A".into(), line: 3 }));
        assert_eq!(read("A=1\nA='1'\n", "A").as_deref(), Some("1"));
        assert_eq!(set(b"B='x\n", "A", b"$").unwrap_err(), EnvError::Unclosed { key: "A".into() });
        for text in ["A='x'y\n", "A=x'y'\n", "A=\"x\n"] {
            assert_eq!(get(text.as_bytes(), "A"), Err(EnvError::Odd { key: "A".into(), line: 1 }), "{text}");
        }
    }

    #[test]
    fn no_bytes_make_it_fall() {
        let mut seed = 7_u32;
        let mut written = 0;
        for _ in 0..20_000 {
            let mut text = Vec::new();
            for _ in 0..24 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push(b"A= '\"\\\n\r#x\xff"[(seed >> 16) as usize % 11]);
            }
            let Ok(after) = set(&text, "A", b"new value") else { continue };
            written += 1;
            assert_eq!(get(&after, "A").unwrap().unwrap().as_slice(), b"new value", "{text:?}");
        }
        assert!(written > 10_000, "{written}");
    }
}
