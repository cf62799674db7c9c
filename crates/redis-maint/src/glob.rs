//! Glob patterns as the server matches them.
//!
//! A pattern that selects keys for deletion must mean here exactly what it means to `SCAN ... MATCH`, so the rules are
//! those of the server's `stringmatchlen` (`util.c`, Redis 6.2 to 8, Valkey), surprises included: names are bytes,
//! neither `/` nor a leading dot is special, a class may lack its closing bracket, a range may be reversed, and the
//! end of a range may be the closing bracket itself (`[a-]x` is one class of `]` to `a` and `x`). Ranges compare bytes
//! as signed numbers, as C's `char` is on x86-64; it matters only to a range with an end of 128 or more.
//!
//! Every part of a pattern other than `*` takes exactly one byte. So it is enough to go back to the last star seen:
//! matching takes at most pattern times key steps, also for `a*a*a*a*b`. Newer servers refuse a match that needs more
//! than 1000 stars; that guard is not imitated.

/// A pattern, ready to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    parts: Vec<Part>,
    /// Exactly one star: the commands then skip the matcher, which never lets a star match an empty key.
    single_star: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// This byte.
    Byte(u8),
    /// `?`
    AnyByte,
    /// `[...]`
    Class(ByteSet),
    /// `*`; never two in a row.
    Star,
}

/// A set of bytes: bit `b % 64` of word `b / 64`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct ByteSet([u64; 4]);

impl ByteSet {
    fn insert(&mut self, byte: u8) {
        if let Some(word) = self.0.get_mut(usize::from(byte / 64)) {
            *word |= 1 << (byte % 64);
        }
    }

    fn contains(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte / 64)).is_some_and(|word| word >> (byte % 64) & 1 == 1)
    }

    fn complement(&mut self) {
        for word in &mut self.0 {
            *word = !*word;
        }
    }
}

impl Glob {
    /// The pattern that these bytes write; any bytes write one.
    pub fn new(pattern: &[u8]) -> Self {
        let mut parts = Vec::with_capacity(pattern.len());
        let mut rest = pattern;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            let part = match byte {
                b'*' if parts.last() == Some(&Part::Star) => continue,
                b'*' => Part::Star,
                b'?' => Part::AnyByte,
                b'[' => {
                    let (class, after) = class(rest);
                    rest = after;
                    Part::Class(class)
                }
                b'\\' => match rest.split_first() {
                    Some((&escaped, after)) => {
                        rest = after;
                        Part::Byte(escaped)
                    }
                    None => Part::Byte(b'\\'),
                },
                other => Part::Byte(other),
            };
            parts.push(part);
        }
        Glob { parts, single_star: pattern == b"*" }
    }

    /// Whether `SCAN ... MATCH` would give this key.
    pub fn matches(&self, key: &[u8]) -> bool {
        if key.is_empty() {
            return self.single_star || self.parts.is_empty();
        }
        let (mut part, mut byte) = (0, 0);
        // The part after the last star, and the first byte that the star has not taken.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match (self.parts.get(part), key.get(byte)) {
                (None, None) => return true,
                (Some(Part::Star), _) => {
                    part += 1;
                    if part == self.parts.len() {
                        return true;
                    }
                    retry = Some((part, byte));
                    continue;
                }
                (Some(one), Some(&value)) if one.takes(value) => {
                    part += 1;
                    byte += 1;
                    continue;
                }
                // The key is used up, and what is left of the pattern needs at least one byte.
                (Some(_), None) => return false,
                _ => {}
            }
            let Some((after_star, taken)) = retry else { return false };
            retry = Some((after_star, taken + 1));
            part = after_star;
            byte = taken + 1;
        }
    }

    /// Whether the pattern is only stars, so that it selects every key (but see `matches` for the empty key).
    pub fn is_everything(&self) -> bool {
        self.parts == [Part::Star]
    }

    /// The one key that the pattern matches, when nothing in it is a metacharacter (escaped ones are not).
    pub fn literal(&self) -> Option<Vec<u8>> {
        self.parts.iter().map(|part| if let Part::Byte(byte) = part { Some(*byte) } else { None }).collect()
    }

    /// A pattern that matches exactly these bytes.
    pub fn escape(bytes: &[u8]) -> Vec<u8> {
        let mut pattern = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
                pattern.push(b'\\');
            }
            pattern.push(byte);
        }
        pattern
    }
}

impl Part {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Part::Byte(one) => *one == byte,
            Part::AnyByte => true,
            Part::Class(class) => class.contains(byte),
            Part::Star => false,
        }
    }
}

/// Reads a class whose opening bracket has been read; gives what follows it.
fn class(pattern: &[u8]) -> (ByteSet, &[u8]) {
    let mut set = ByteSet::default();
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    loop {
        rest = match rest {
            [b'\\', escaped, rest @ ..] => {
                set.insert(*escaped);
                rest
            }
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            [] => break,
            [start, b'-', end, rest @ ..] => {
                let (start, end) = ((*start).cast_signed(), (*end).cast_signed());
                for value in start.min(end)..=start.max(end) {
                    set.insert(value.cast_unsigned());
                }
                rest
            }
            [one, rest @ ..] => {
                set.insert(*one);
                rest
            }
        };
    }
    if negated {
        set.complement();
    }
    (set, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> bool {
        Glob::new(pattern.as_ref()).matches(key.as_ref())
    }

    #[test]
    fn stars_question_marks_and_plain_bytes_match_as_on_the_server() {
        for (pattern, key) in [
            ("session:*", "session:"),
            ("session:*", "session:1:a/b.c"),
            ("*:1", "a:b:1"),
            ("a*b*c", "a-b-b-c"),
            ("a?c", "abc"),
            ("**a**", "bab"),
            ("*", "x"),
            ("*?*", "x"),
            (".*", ".hidden"),
            ("*.*", ".hidden"),
            ("?*", "/"),
            ("*aab", "aaab"),
        ] {
            assert!(matches(pattern, key), "{pattern} should match {key}");
        }
        for (pattern, key) in [
            ("session:*", "sessions:1"),
            ("a?c", "ac"),
            ("a?c", "abbc"),
            ("abc", "ABC"),
            ("abc", "abcd"),
            ("abcd", "abc"),
            ("*a", "ab"),
            ("??", "x"),
            ("a*?", "a"),
            ("", "a"),
        ] {
            assert!(!matches(pattern, key), "{pattern} should not match {key}");
        }
    }

    #[test]
    fn classes_match_as_on_the_server() {
        for (pattern, key) in [
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            ("[\\]]", "]"),
            ("[\\^a]", "^"),
            ("[a^]", "^"),
            ("[!a]", "!"),
            ("[-a]", "-"),
            ("[abc", "c"),
            ("x[a-c", "xb"),
            ("[a-", "-"),
            ("[a-", "a"),
            ("[\\", "\\"),
            ("[^", "z"),
            // The bracket is the end of the range, and the class goes on to the end of the pattern.
            ("[a-]x", "x"),
            ("[a-]x", "^"),
            ("[^]", "a"),
            ("[a-\\]", "]"),
            ("[a][b]", "ab"),
        ] {
            assert!(matches(pattern, key), "{pattern} should match {key}");
        }
        for (pattern, key) in [
            ("h[ae]llo", "hillo"),
            ("h[^a]llo", "hallo"),
            ("h[a-c]llo", "hdllo"),
            ("[]", "]"),
            ("[]a]", "]a"),
            ("[", "["),
            ("[!a]", "b"),
            ("[a-]x", "ax"),
            ("[a\\-c]", "b"),
            ("[abc", "abc"),
        ] {
            assert!(!matches(pattern, key), "{pattern} should not match {key}");
        }
    }

    #[test]
    fn a_backslash_takes_the_meaning_from_what_follows() {
        assert!(matches("a\\*b", "a*b") && !matches("a\\*b", "aab"));
        assert!(matches("\\[a]", "[a]") && matches("\\a", "a") && matches("\\\\", "\\"));
        assert!(matches("a\\", "a\\"), "at the end it stands for itself");
    }

    #[test]
    fn bytes_that_are_not_text_match_as_signed_bytes() {
        assert!(matches(b"bin:\xff?\x01*", b"bin:\xff\x00\x01N\n*[?"));
        assert!(matches(b"[\x80-\xff]", b"\x90") && !matches(b"[\x80-\xff]", b"a"));
        assert!(matches(b"[a-\xff]", b"A") && matches(b"[a-\xff]", b"\xff"));
        assert!(!matches(b"[a-\xff]", b"z") && !matches(b"[a-\xff]", b"\x80"));
    }

    #[test]
    fn only_the_single_star_selects_the_empty_key() {
        assert!(matches("*", "") && matches("", ""));
        assert!(!matches("**", "") && !matches("?", "") && !matches("[^a]", ""));
    }

    #[test]
    fn a_pattern_says_whether_it_is_everything_or_one_key() {
        for everything in ["*", "**"] {
            assert!(Glob::new(everything.as_bytes()).is_everything());
        }
        for some in ["", "?*", "a*", "*[^a]*", "\\*"] {
            assert!(!Glob::new(some.as_bytes()).is_everything(), "{some}");
        }
        assert_eq!(Glob::new(b"a\\*b]").literal(), Some(b"a*b]".to_vec()));
        assert_eq!(Glob::new(b"").literal(), Some(Vec::new()));
        for pattern in ["a*", "a?", "[a]"] {
            assert_eq!(Glob::new(pattern.as_bytes()).literal(), None, "{pattern}");
        }
    }

    #[test]
    fn an_escaped_key_is_matched_by_its_pattern_and_no_other_is() {
        let mut random = Random(7);
        for _ in 0..20_000 {
            let (key, other) = (random.bytes(b"ab*?[]\\^-\xff", 6), random.bytes(b"ab*?[]\\^-\xff", 6));
            let pattern = Glob::new(&Glob::escape(&key));
            assert_eq!(pattern.literal().as_ref(), Some(&key));
            assert!(pattern.matches(&key));
            assert_eq!(pattern.matches(&other), key == other, "{key:?} {other:?}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let key = vec![b'a'; 4000];
        let pattern: Vec<u8> = b"a*".iter().copied().cycle().take(400).chain(*b"b").collect();
        let started = std::time::Instant::now();
        assert!(!matches(&pattern, &key));
        assert!(started.elapsed() < std::time::Duration::from_secs(5));
    }

    #[test]
    fn random_patterns_match_what_the_plain_rules_say() {
        let mut random = Random(42);
        let mut matched = 0;
        for _ in 0..300_000 {
            let pattern = random.bytes(b"ab*?[]\\^-c*", 8);
            let key = random.bytes(b"abc]-\\^", 6);
            let expected = if key.is_empty() { pattern.is_empty() || pattern == b"*" } else { slow(&pattern, &key) };
            assert_eq!(matches(&pattern, &key), expected, "{:?} {:?}", lossy(&pattern), lossy(&key));
            matched += u32::from(expected);
        }
        assert!(matched > 5_000, "the test must also see matches, saw {matched}");
    }

    /// The rules read straight off the pattern, going through every way a star can stretch.
    fn slow(pattern: &[u8], key: &[u8]) -> bool {
        match pattern {
            [] => key.is_empty(),
            [b'*', rest @ ..] => (0..=key.len()).any(|taken| slow(rest, &key[taken..])),
            [b'?', rest @ ..] => !key.is_empty() && slow(rest, &key[1..]),
            [b'[', rest @ ..] => {
                let Some(&byte) = key.first() else { return false };
                let negated = rest.first() == Some(&b'^');
                let mut at = usize::from(negated);
                let mut found = false;
                while at < rest.len() && rest[at] != b']' {
                    if rest[at] == b'\\' && at + 1 < rest.len() {
                        found |= rest[at + 1] == byte;
                        at += 2;
                    } else if at + 2 < rest.len() && rest[at + 1] == b'-' {
                        let (low, high) = (rest[at].min(rest[at + 2]), rest[at].max(rest[at + 2]));
                        found |= (low..=high).contains(&byte);
                        at += 3;
                    } else {
                        found |= rest[at] == byte;
                        at += 1;
                    }
                }
                found != negated && slow(&rest[(at + 1).min(rest.len())..], &key[1..])
            }
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] => key.first() == Some(byte) && slow(rest, &key[1..]),
        }
    }

    fn lossy(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Marsaglia's xorshift: the same sequence every time.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as usize % limit
        }

        fn bytes(&mut self, alphabet: &[u8], limit: usize) -> Vec<u8> {
            let length = self.below(limit + 1);
            (0..length).map(|_| alphabet[self.below(alphabet.len())]).collect()
        }
    }
}
