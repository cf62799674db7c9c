//! Folds names that a walk gives twice.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

/// Names remembered at most: 64-bit hashes, about 64 MiB when full.
const MOST: usize = 4_000_000;

/// The hashes are even already.
#[derive(Default)]
struct Even(u64);

impl Hasher for Even {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// The names seen so far, as hashes. Two names with one hash are taken for one: among four million keys that happens
/// once in more than two million walks.
#[derive(Debug, Default)]
pub struct Seen {
    hashes: HashSet<u64, BuildHasherDefault<Even>>,
    folded: u64,
    full: bool,
}

impl Seen {
    /// Whether the name is new. Once the memory is full, names that were not remembered count as new each time.
    pub fn is_new(&mut self, db: u32, key: &[u8]) -> bool {
        // SipHash with fixed keys: names are no secret, and a flood of colliding ones would only hide themselves.
        let mut hasher = DefaultHasher::new();
        db.hash(&mut hasher);
        key.hash(&mut hasher);
        let hash = hasher.finish();
        let new = if self.hashes.len() < MOST {
            self.hashes.insert(hash)
        } else {
            self.full = true;
            !self.hashes.contains(&hash)
        };
        self.folded += u64::from(!new);
        new
    }

    /// Forgets everything: the walk began anew.
    pub fn clear(&mut self) {
        *self = Seen::default();
    }

    /// Names that came twice.
    pub fn folded(&self) -> u64 {
        self.folded
    }

    /// Whether there were more names than could be remembered, so that some may have come twice unnoticed.
    pub fn is_full(&self) -> bool {
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_new_once_in_each_database() {
        let mut seen = Seen::default();
        assert!(seen.is_new(0, b"a") && seen.is_new(1, b"a") && seen.is_new(0, b"b"));
        assert!(!seen.is_new(0, b"a"));
        assert_eq!(seen.folded(), 1);
    }

    #[test]
    fn a_hundred_thousand_names_are_all_new() {
        let mut seen = Seen::default();
        assert!((0..100_000).all(|number| seen.is_new(0, format!("key:{number}").as_bytes())));
        assert!(!seen.is_full());
    }
}
