//! From when to when the first certificate in a file is valid, and nothing else of it.
//!
//! A directory may hold ten thousand of them. All that a due date needs stands near the beginning of a certificate, so
//! the rest of it is not parsed. What is not in the usual form goes to the parser that reads everything.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use jiff::Timestamp;

use crate::certificate::Certificate;

/// More than this is no certificate's file.
const MAX_BYTES: u64 = 1 << 20;

/// What is read to see whether a file has a certificate at all.
const FIRST: usize = 16 << 10;

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The first and the last second in which a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

impl From<&Certificate> for Validity {
    fn from(leaf: &Certificate) -> Self {
        Validity { not_before: leaf.not_before, not_after: leaf.not_after }
    }
}

/// Reads a file; `None` when there is no certificate in it. `room` is kept between calls.
///
/// # Errors
/// It cannot be read, or what is there of a certificate is damaged; why.
pub(super) fn of_file(path: &Path, room: &mut Vec<u8>) -> Result<Option<Validity>, String> {
    room.clear();
    let mut file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut read = |room: &mut Vec<u8>, limit: u64| {
        (&mut file).take(limit).read_to_end(room).map_err(|error| format!("cannot be read: {error}"))
    };
    let first = read(room, FIRST as u64)?;
    if first == FIRST && (find(room, b"-----BEGIN").is_some() || room.starts_with(&[0x30, 0x82])) {
        read(room, MAX_BYTES)?;
    }
    of_bytes(room)
}

/// As [`of_file`], of a file's content.
pub(super) fn of_bytes(content: &[u8]) -> Result<Option<Validity>, String> {
    let Some(at) = find(content, BEGIN) else {
        // DER that is no certificate may be anything: a key, a request, a picture.
        return Ok(if content.first() == Some(&0x30) {
            quick(content).or_else(|| Certificate::from_der(content).ok().as_ref().map(Validity::from))
        } else {
            None
        });
    };
    let text = content.get(at + BEGIN.len()..).unwrap_or_default();
    if let Some(validity) = decoded(text).as_deref().and_then(quick) {
        return Ok(Some(validity));
    }
    let chain = Certificate::all_from_pem(content.get(at..).unwrap_or_default()).map_err(|error| error.to_string())?;
    chain.first().map(|leaf| Some(Validity::from(leaf))).ok_or_else(|| "the PEM text is cut".to_owned())
}

fn find(content: &[u8], what: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let rest = content.get(from..)?;
        let at = from + rest.iter().position(|byte| *byte == b'-')?;
        if content.get(at..)?.starts_with(what) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// The bytes of a PEM block up to the dash that ends it; `None` when anything is unusual.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    let mut padded = 0;
    for &c in text {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'\n' | b'\r' => continue,
            b'=' => {
                padded += 1;
                continue;
            }
            b'-' => return (padded <= 2).then_some(bytes),
            _ => return None,
        };
        if padded > 0 {
            return None;
        }
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    None
}

/// The validity of a certificate in DER (RFC 5280, 4.1) that is neither cut nor followed by anything.
fn quick(der: &[u8]) -> Option<Validity> {
    let (0x30, certificate, []) = element(der)? else { return None };
    let (0x30, mut tbs, _) = element(certificate)? else { return None };
    if let (0xa0, _, rest) = element(tbs)? {
        tbs = rest;
    }
    // Serial number, signature algorithm, issuer.
    for expected in [0x02, 0x30, 0x30] {
        let (tag, _, rest) = element(tbs)?;
        if tag != expected {
            return None;
        }
        tbs = rest;
    }
    let (0x30, validity, _) = element(tbs)? else { return None };
    let (tag, first, rest) = element(validity)?;
    let not_before = moment(tag, first)?;
    let (tag, last, []) = element(rest)? else { return None };
    Some(Validity { not_before, not_after: moment(tag, last)? })
}

/// The first element of DER (X.690, 8.1): tag, content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(short & 3))?;
            (digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, 4.1.2.5).
fn moment(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let (year, rest) = match tag {
        0x17 => {
            let (year, rest) = number(text, 2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        0x18 => number(text, 4)?,
        _ => return None,
    };
    let (month, rest) = number(rest, 2)?;
    let (day, rest) = number(rest, 2)?;
    let (hour, rest) = number(rest, 2)?;
    let (minute, rest) = number(rest, 2)?;
    let (second, rest) = number(rest, 2)?;
    if rest != b"Z" || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let date = jiff::civil::Date::new(year, month as i8, day as i8).ok()?;
    let days = date.since(jiff::civil::date(1970, 1, 1)).ok()?.get_days();
    let [days, hour, minute, second] = [days, hour.into(), minute.into(), second.into()].map(i64::from);
    let at = days * 86_400 + hour * 3600 + minute * 60 + second;
    // As `Certificate` reads what is beyond the last moment that can be told.
    Timestamp::from_second(at.min(Timestamp::MAX.as_second())).ok()
}

fn number(text: &[u8], digits: usize) -> Option<(i16, &[u8])> {
    let (number, rest) = text.split_at_checked(digits)?;
    let value = number
        .iter()
        .try_fold(0_i16, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i16::from(digit - b'0')))?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(from: i32, until: i32) -> Certificate {
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 2, 28);
        params.not_after = rcgen::date_time_ymd(until, 12, 31);
        let key = rcgen::KeyPair::generate().unwrap();
        Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
    }

    #[test]
    fn what_is_seen_at_a_glance_is_what_the_parser_reads() {
        for (from, until) in [(1950, 1969), (1969, 1970), (1999, 2049), (2024, 2050), (2049, 2051), (2000, 9999)] {
            let certificate = made(from, until);
            assert_eq!(quick(certificate.der()), Some(Validity::from(&certificate)), "{from} {until}");
            let text = format!("a key before it\n{}{}", certificate.to_pem(), made(1999, 2000).to_pem());
            assert_eq!(of_bytes(text.as_bytes()), Ok(Some(Validity::from(&certificate))));
            assert_eq!(of_bytes(certificate.der()), Ok(Some(Validity::from(&certificate))));
        }
    }

    #[test]
    fn what_is_cut_or_damaged_is_an_error_and_no_date() {
        let text = made(2024, 2026).to_pem();
        for length in BEGIN.len()..text.len() - "-----END CERTIFICATE-----\n".len() {
            assert!(of_bytes(&text.as_bytes()[..length]).is_err(), "{length}");
        }
        let lines: Vec<&str> = text.lines().collect();
        let without_a_line = lines.iter().enumerate().filter(|(i, _)| *i != 3).map(|(_, line)| format!("{line}\n"));
        assert!(of_bytes(without_a_line.collect::<String>().as_bytes()).is_err());
        assert!(of_bytes(text.replacen('\n', "\n*", 2).as_bytes()).is_err());
    }

    #[test]
    fn what_is_none_is_none() {
        let key = rcgen::KeyPair::generate().unwrap();
        for content in [b"".as_slice(), b"hello", b"----- -----", key.serialize_pem().as_bytes(), &key.serialize_der()]
        {
            assert_eq!(of_bytes(content), Ok(None));
        }
    }

    #[test]
    fn no_bytes_make_it_stumble() {
        let der = made(2024, 2026).der().to_vec();
        for at in 0..der.len().min(300) {
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = der.clone();
                changed[at] = value;
                let _ = of_bytes(&changed);
                let _ = quick(&changed[..at]);
            }
        }
    }
}
