//! How hard a secret is to guess, in bits.
//!
//! Of a secret that was made here the recipe tells. Of one that somebody put there only its characters are known: what is
//! computed is an upper bound (a sentence from a book looks random to it), good for finding what is certainly weak.

use super::spec::Class;

/// Below this many bits a warning is due: NIST SP 800-131A asks for 112.
pub const WARN_BITS: f64 = 112.0;

/// Below this many bits it can be guessed.
pub const CRITICAL_BITS: f64 = 64.0;

/// Words that stand where a secret was to be put in, and passwords that are tried first.
const PLACEHOLDERS: [&str; 14] = [
    "changeme",
    "change_me",
    "change-me",
    "password",
    "passw0rd",
    "secret",
    "example",
    "placeholder",
    "letmein",
    "qwerty",
    "123456",
    "admin",
    "todo",
    "xxxx",
];

/// Of a password that is drawn from these classes: the number of those that have one of each is smaller by a little, which
/// is left out.
pub fn of_password(length: usize, classes: &[Class]) -> f64 {
    let count: usize = classes.iter().map(|class| class.characters().len()).sum();
    length as f64 * (count.max(1) as f64).log2()
}

/// The word in it that everybody would try, if it is more than a third of it: random text has short words by chance.
pub fn placeholder(value: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(value).to_lowercase();
    PLACEHOLDERS.into_iter().find(|word| text.contains(word) && word.len() * 3 > text.len())
}

/// An upper bound for a value that somebody put there: the number of its characters times the entropy of their
/// distribution (Shannon), and never more than its alphabet allows. Steps of the same width (`abcd`, `1111`) count as one
/// character.
pub fn at_most(value: &[u8]) -> f64 {
    let mut kept: Vec<u8> = Vec::with_capacity(value.len());
    let mut step = None;
    for pair in value.windows(2) {
        let &[one, two] = pair else { continue };
        if kept.is_empty() {
            kept.push(one);
        }
        let now = i16::from(two) - i16::from(one);
        if now.abs() > 1 || step != Some(now) {
            kept.push(two);
        }
        step = Some(now);
    }
    if kept.is_empty() {
        kept.extend_from_slice(value);
    }
    let mut counts = [0_u32; 256];
    for byte in &kept {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let length = kept.len() as f64;
    let entropy: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / length;
            -share * share.log2()
        })
        .sum();
    // A short random text cannot show all of its alphabet: it is given the benefit of a few characters more.
    let seen = counts.iter().filter(|count| **count > 0).count() as f64;
    let slack = if seen * 2.0 > length { (alphabet(&kept).log2() - entropy).max(0.0) } else { 0.0 };
    zeroize::Zeroize::zeroize(&mut kept);
    length * (entropy + slack)
}

fn alphabet(bytes: &[u8]) -> f64 {
    let has = |test: fn(&u8) -> bool| bytes.iter().any(test);
    let mut count = 0.0;
    for (size, present) in [
        (26.0, has(u8::is_ascii_lowercase)),
        (26.0, has(u8::is_ascii_uppercase)),
        (10.0, has(u8::is_ascii_digit)),
        (32.0, has(u8::is_ascii_punctuation)),
        (162.0, has(|byte| !byte.is_ascii_graphic())),
    ] {
        if present {
            count += size;
        }
    }
    f64::max(count, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::spec::Recipe;
    use crate::secrets::value::make;

    #[test]
    fn what_is_made_here_is_strong_enough_for_the_bound_to_say_so() {
        for recipe in [Recipe::Hex(16), Recipe::Base64(16), Recipe::Random(16), Recipe::Uuid] {
            for _ in 0..50 {
                let bits = at_most(make(&recipe).unwrap().expose());
                assert!(bits > CRITICAL_BITS, "{recipe:?}: {bits}");
            }
        }
        let classes = vec![Class::Lower, Class::Upper, Class::Digit];
        assert!(of_password(32, &classes) > 190.0);
        assert!(at_most(make(&Recipe::Password { length: 32, classes }).unwrap().expose()) > WARN_BITS);
    }

    #[test]
    fn what_people_type_is_found() {
        for weak in
            ["", "a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abcdefghijklmnopqrstuvwxyz", "hunter2", "tiger-lily"]
        {
            assert!(at_most(weak.as_bytes()) < CRITICAL_BITS, "{weak}: {}", at_most(weak.as_bytes()));
        }
        let bits = at_most(b"Summer2026!");
        assert!(bits < WARN_BITS, "{bits}");
        assert_eq!(placeholder(b"ChangeMe!"), Some("changeme"));
        assert_eq!(placeholder(b"postgres-password"), Some("password"));
        assert_eq!(placeholder(b"9fKqTadminZw83hXbQpLr5vNcYt"), None);
    }
}
