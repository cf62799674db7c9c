//! A name cut into tokens, each with the class its form gives away.
//!
//! Names are cut at the separators people use (`:._/|-`), but what is one thing to people stays one token: the dashes of
//! a uuid or a date, the dots of an address, the dashes of URL-safe base64. Only IPv4 addresses are known as such: in
//! an IPv6 address the colons cannot be told from separators.

/// What a token is, other than a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Decimal digits.
    Int,
    /// Eight or more hexadecimal digits of one case, with a letter among them.
    Hex,
    /// 8-4-4-4-12 hexadecimal digits.
    Uuid,
    /// An IPv4 address.
    Ip,
    /// `2026-01-31`, also with `/`, `.` or `_`, and an ISO 8601 time after it.
    Date,
    /// Sixteen or more letters and digits that look drawn at random: base64, ULIDs and their like.
    Base64,
    /// Control characters, or bytes that are not UTF-8; such a token takes the rest of the name.
    Binary,
}

impl Class {
    /// The placeholder that stands for the class in a template.
    pub fn placeholder(self) -> &'static str {
        match self {
            Class::Int => "{int}",
            Class::Hex => "{hex}",
            Class::Uuid => "{uuid}",
            Class::Ip => "{ip}",
            Class::Date => "{date}",
            Class::Base64 => "{base64}",
            Class::Binary => "{binary}",
        }
    }
}

/// The bytes that names are cut at.
pub(super) const SEPARATORS: [u8; 6] = *b":._/|-";

/// One token and the separator after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// The token with its separator, as it stands in the name.
    pub(super) text: &'a [u8],
    /// The separator, the last byte of the text; the last token of a name may have none.
    pub(super) separator: Option<u8>,
    /// `None` is a word.
    pub(super) class: Option<Class>,
}

/// The tokens of a name; put together, their texts are the name.
#[derive(Debug, Clone)]
pub(super) struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    pub(super) fn of(name: &'a [u8]) -> Self {
        Tokens { rest: name }
    }

    /// What has not been cut yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (length, class) = measure(self.rest);
        let separator = self.rest.get(length).copied();
        let (text, rest) = self.rest.split_at(length + usize::from(separator.is_some()));
        self.rest = rest;
        Some(Token { text, separator, class })
    }
}

const DIGIT: u8 = 1;
const LOWER: u8 = 2;
const UPPER: u8 = 4;
const SEPARATOR: u8 = 8;
/// A letter above f.
const NOT_HEX: u8 = 16;
const CONTROL: u8 = 32;
const NOT_ASCII: u8 = 64;
const OTHER: u8 = 128;

/// What a byte is; the compiler makes a table of it.
fn kind(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => DIGIT,
        b'a'..=b'f' => LOWER,
        b'A'..=b'F' => UPPER,
        b'g'..=b'z' => LOWER | NOT_HEX,
        b'G'..=b'Z' => UPPER | NOT_HEX,
        b':' | b'.' | b'_' | b'/' | b'|' | b'-' => SEPARATOR,
        0..=31 | 127 => CONTROL,
        128..=255 => NOT_ASCII,
        _ => OTHER,
    }
}

/// The length of the token at the start, without its separator, and its class.
fn measure(rest: &[u8]) -> (usize, Option<Class>) {
    let (mut length, mut kinds, mut changes, mut before) = (0, 0, 0, 0);
    for &byte in rest {
        let kind = kind(byte);
        if kind == SEPARATOR {
            break;
        }
        let group = kind & (DIGIT | LOWER | UPPER);
        changes += usize::from(group != before);
        before = group;
        kinds |= kind;
        length += 1;
    }
    let token = rest.get(..length).unwrap_or_default();
    if kinds & CONTROL != 0 || (kinds & NOT_ASCII != 0 && std::str::from_utf8(token).is_err()) {
        return (rest.len(), Some(Class::Binary));
    }
    if let Some(found) = compound(rest, length, kinds) {
        return found;
    }
    let class = if kinds == DIGIT {
        Some(Class::Int)
    } else if kinds & (NOT_HEX | OTHER | NOT_ASCII) == 0 && kinds & (LOWER | UPPER) != LOWER | UPPER && length >= 8 {
        Some(Class::Hex)
    } else if kinds & (OTHER | NOT_ASCII) == 0 && is_random(length, changes, kinds) {
        Some(Class::Base64)
    } else {
        None
    };
    (length, class)
}

/// Whether so many changes between digits, small and capital letters are more than words have.
fn is_random(length: usize, changes: usize, kinds: u8) -> bool {
    let needed_percent = if kinds & DIGIT != 0 { 30 } else { 40 };
    length >= 16 && changes * 100 >= length * needed_percent
}

/// A token that holds bytes which separate elsewhere: the first piece ends at `first`, and is made of `kinds`.
fn compound(rest: &[u8], first: usize, kinds: u8) -> Option<(usize, Option<Class>)> {
    let separator = *rest.get(first)?;
    let is_hex = kinds & (NOT_HEX | OTHER | NOT_ASCII) == 0;
    if separator == b'-' && first == 8 && is_hex && is_uuid(rest) {
        return Some((36, Some(Class::Uuid)));
    }
    if kinds == DIGIT {
        if separator == b'.'
            && first <= 3
            && let Some(length) = ip(rest)
        {
            return Some((length, Some(Class::Ip)));
        }
        if first == 4
            && let Some(length) = date(rest)
        {
            return Some((length, Some(Class::Date)));
        }
    }
    if matches!(separator, b'-' | b'_') && kinds & (OTHER | NOT_ASCII) == 0 {
        return url_safe(rest).map(|length| (length, Some(Class::Base64)));
    }
    None
}

fn ends(rest: &[u8], length: usize) -> bool {
    rest.get(length).is_none_or(|byte| kind(*byte) == SEPARATOR)
}

fn is_uuid(rest: &[u8]) -> bool {
    rest.get(..36).is_some_and(|text| {
        text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    }) && ends(rest, 36)
}

fn ip(rest: &[u8]) -> Option<usize> {
    let mut length = 0;
    for part in 0..4 {
        let digits = rest.get(length..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(rest.get(length..length + digits)?).ok()?;
        number.parse::<u8>().ok()?;
        length += digits;
        if part < 3 {
            (rest.get(length) == Some(&b'.')).then_some(())?;
            length += 1;
        }
    }
    ends(rest, length).then_some(length)
}

fn date(rest: &[u8]) -> Option<usize> {
    let (date, after) = rest.split_at_checked(10)?;
    let [y @ .., first, m1, m2, second, d1, d2] = date else { return None };
    let number = |tens: &u8, ones: &u8| {
        (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| (tens - b'0') * 10 + (ones - b'0'))
    };
    let separated = first == second && matches!(first, b'-' | b'/' | b'.' | b'_');
    let plausible = matches!(y, [b'1', b'9', ..] | [b'2', b'0' | b'1', ..])
        && (1..=12).contains(&number(m1, m2)?)
        && (1..=31).contains(&number(d1, d2)?);
    if !separated || !plausible {
        return None;
    }
    let time = match after {
        [b'T', clock @ ..] => {
            let clock = clock.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b':' | b'.' | b'Z' | b'+'));
            1 + clock.count()
        }
        _ => 0,
    };
    // The separator after a time belongs to the name.
    let taken = after.get(..time)?;
    let trailing = taken.iter().rev().take_while(|byte| kind(**byte) == SEPARATOR).count();
    let length = 10 + time - trailing;
    ends(rest, length).then_some(length)
}

/// Base64 in the alphabet for URLs (RFC 4648, section 5), whose last two characters are `-` and `_`.
fn url_safe(rest: &[u8]) -> Option<usize> {
    let (mut length, mut kinds, mut changes, mut before) = (0, 0, 0, 0);
    for &byte in rest {
        let kind = kind(byte);
        if kind & (OTHER | CONTROL | NOT_ASCII) != 0 {
            return None;
        }
        if kind == SEPARATOR && !matches!(byte, b'-' | b'_') {
            break;
        }
        let group = kind & (DIGIT | LOWER | UPPER | SEPARATOR);
        changes += usize::from(group != before);
        before = group;
        kinds |= kind;
        length += 1;
    }
    let all = DIGIT | LOWER | UPPER;
    // Drawn at random, neighbours are of different kinds in 64 of 100 places.
    (length >= 20 && kinds & all == all && changes * 100 >= length * 45).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(name: impl AsRef<[u8]>) -> String {
        let name = name.as_ref();
        let tokens: Vec<_> = Tokens::of(name).collect();
        let whole: Vec<u8> = tokens.iter().flat_map(|token| token.text.iter().copied()).collect();
        assert_eq!(whole, name, "nothing is lost");
        let text = |token: &Token<'_>| match token.class {
            None => crate::key::subject(token.text),
            Some(class) => {
                format!(
                    "{}{}",
                    class.placeholder(),
                    token.separator.map_or(String::new(), |s| char::from(s).to_string())
                )
            }
        };
        tokens.iter().map(text).collect()
    }

    #[test]
    fn tokens_are_classed_by_their_form() {
        for (name, expected) in [
            ("user:123", "user:{int}"),
            ("user:123:profile", "user:{int}:profile"),
            ("session:550e8400-e29b-41d4-a716-446655440000", "session:{uuid}"),
            ("session:550e8400-e29b-41d4-a716-446655440000-x", "session:{uuid}-x"),
            ("rate:10.0.0.1:17", "rate:{ip}:{int}"),
            ("rate:10.0.0.256:17", "rate:{int}.{int}.{int}.{int}:{int}"),
            ("v1.2.3", "v1.{int}.{int}"),
            ("stats:2026-01-31", "stats:{date}"),
            ("stats/2026/01/31/x", "stats/{date}/x"),
            ("stats:2026-01-31T10:20:30Z", "stats:{date}"),
            ("stats:2026-01-31T10:x", "stats:{date}:x"),
            ("stats:2026-13-31", "stats:{int}-{int}-{int}"),
            ("blob:deadbeef", "blob:{hex}"),
            ("blob:DEADBEEF01", "blob:{hex}"),
            ("blob:cafe", "blob:cafe"),
            ("blob:Deadbeef", "blob:Deadbeef"),
            ("ulid:01ARZ3NDEKTSV4RRFFQ69G5FAV", "ulid:{base64}"),
            ("token:dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "token:{base64}"),
            ("token:dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk:x", "token:{base64}:x"),
            ("cache:customer_profile_settings", "cache:customer_profile_settings"),
            ("UserProfileRepository", "UserProfileRepository"),
            ("a::b:", "a::b:"),
            ("sitzung:ä:1", "sitzung:ä:{int}"),
            ("", ""),
        ] {
            assert_eq!(template(name), expected, "{name}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_take_the_rest_of_the_name() {
        assert_eq!(template(b"bin:\xff\x00\x01N\n*[?"), "bin:{binary}");
        assert_eq!(template(b"bin:\xff:a:b"), "bin:{binary}");
        assert_eq!(template(b"a\nb:c"), "{binary}");
    }

    #[test]
    fn any_bytes_can_be_cut() {
        let mut state = 9_u64;
        for _ in 0..100_000 {
            let name: Vec<u8> = (0..state % 45)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    b"0123456789abcdefT--..::_Zz\xff"[(state >> 40) as usize % 27]
                })
                .collect();
            state = state.wrapping_add(12345);
            template(name);
        }
    }
}
