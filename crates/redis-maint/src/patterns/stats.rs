//! What is known of a group of keys: sums that can be taken of parts and added, never the keys themselves.

use crate::entry::KeyType;
use crate::sketch::{Frequent, Log2Histogram};

/// One key, as far as its group is concerned.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample<'a> {
    /// The type.
    pub kind: Option<&'a KeyType>,
    /// The encoding.
    pub encoding: Option<&'a str>,
    /// Bytes of memory.
    pub bytes: Option<u64>,
    /// Elements, or bytes of a string.
    pub length: Option<u64>,
    /// The time to live.
    pub ttl: Option<Ttl>,
}

/// How long a key has to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// For ever.
    Never,
    /// So many seconds, rounded down.
    Seconds(u64),
    /// Its time is over, and the server has not removed it yet.
    Over,
}

/// Keys of one type and encoding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KindStats {
    /// The type, where it is known.
    pub kind: Option<KeyType>,
    /// The encoding, where it is known.
    pub encoding: Option<Box<str>>,
    /// How many keys.
    pub keys: u64,
    /// Their bytes, as far as known.
    pub bytes: u64,
    /// The keys of which both bytes and length are known.
    pub measured_keys: u64,
    /// The bytes of those.
    pub measured_bytes: u64,
    /// The elements of those (bytes of content for strings).
    pub measured_length: u64,
    /// The greatest length seen.
    pub max_length: u64,
}

impl KindStats {
    fn is(&self, kind: Option<&KeyType>, encoding: Option<&str>) -> bool {
        self.kind.as_ref() == kind && self.encoding.as_deref() == encoding
    }
}

/// What makes two values look alike. That they do says nothing about what is in them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    /// The type.
    pub kind: KeyType,
    /// Bytes of memory, those of the name included.
    pub bytes: u64,
    /// Elements, or bytes of a string.
    pub length: u64,
}

/// Times to live of the keys of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TtlStats {
    /// Keys without one.
    pub never_keys: u64,
    /// The bytes of those, as far as known.
    pub never_bytes: u64,
    /// Keys with one that is not over.
    pub limited_keys: u64,
    /// Keys whose time is over.
    pub over_keys: u64,
    /// The shortest time to live of the limited keys, in seconds.
    pub min_seconds: Option<u64>,
    /// The longest.
    pub max_seconds: Option<u64>,
    /// All of them, by powers of two.
    pub seconds: Log2Histogram,
}

/// The sums of a group.
#[derive(Debug, Clone)]
pub struct Stats {
    /// How many keys.
    pub keys: u64,
    /// Bytes of their names.
    pub name_bytes: u64,
    /// Bytes of memory of the keys of which it is known.
    pub bytes: u64,
    /// Keys of which it is not.
    pub bytes_unknown_keys: u64,
    /// Times to live; what is missing to `keys` is unknown.
    pub ttl: TtlStats,
    /// By type and encoding; at most [`Stats::KINDS`] rows, the overflow is in a row with neither.
    pub kinds: Vec<KindStats>,
    /// The biggest key by bytes: of equals the smaller name.
    pub biggest: Option<(Box<[u8]>, u64)>,
    /// Values of [`Stats::ALIKE_MIN_BYTES`] and more that look alike; counts within the bound of [`Frequent`].
    pub alike: Frequent<Fingerprint>,
}

impl Default for Stats {
    fn default() -> Self {
        Stats {
            keys: 0,
            name_bytes: 0,
            bytes: 0,
            bytes_unknown_keys: 0,
            ttl: TtlStats::default(),
            kinds: Vec::new(),
            biggest: None,
            alike: Frequent::new(8),
        }
    }
}

impl Stats {
    /// Rows of `kinds`.
    pub const KINDS: usize = 32;

    /// Below this many bytes, values are of the same size by chance, and little would be gained.
    pub const ALIKE_MIN_BYTES: u64 = 1024;

    /// Counts a key.
    pub fn add(&mut self, key: &[u8], sample: &Sample<'_>) {
        self.keys += 1;
        self.name_bytes += key.len() as u64;
        match sample.bytes {
            Some(bytes) => {
                self.bytes += bytes;
                self.offer_biggest(key, bytes);
                if bytes >= Self::ALIKE_MIN_BYTES
                    && let (Some(kind), Some(length)) = (sample.kind, sample.length)
                {
                    self.alike.add(Fingerprint { kind: kind.clone(), bytes, length });
                }
            }
            None => self.bytes_unknown_keys += 1,
        }
        self.ttl.add(sample.ttl, sample.bytes.unwrap_or_default());
        self.with_row(sample.kind, sample.encoding, |row| {
            row.keys += 1;
            row.bytes += sample.bytes.unwrap_or_default();
            row.max_length = row.max_length.max(sample.length.unwrap_or_default());
            if let (Some(bytes), Some(length)) = (sample.bytes, sample.length) {
                row.measured_keys += 1;
                row.measured_bytes += bytes;
                row.measured_length = row.measured_length.saturating_add(length);
            }
        });
    }

    /// Adds the sums of another group.
    pub fn merge(&mut self, other: Stats) {
        self.keys += other.keys;
        self.name_bytes += other.name_bytes;
        self.bytes += other.bytes;
        self.bytes_unknown_keys += other.bytes_unknown_keys;
        self.ttl.merge(&other.ttl);
        for kind in other.kinds {
            self.with_row(kind.kind.as_ref(), kind.encoding.as_deref(), |row| {
                row.keys += kind.keys;
                row.bytes += kind.bytes;
                row.measured_keys += kind.measured_keys;
                row.measured_bytes += kind.measured_bytes;
                row.measured_length = row.measured_length.saturating_add(kind.measured_length);
                row.max_length = row.max_length.max(kind.max_length);
            });
        }
        if let Some((key, bytes)) = other.biggest {
            self.offer_biggest(&key, bytes);
        }
        self.alike.merge(other.alike);
    }

    /// Mean bytes of the keys of which they are known.
    pub fn mean_bytes(&self) -> Option<u64> {
        self.bytes.checked_div(self.keys - self.bytes_unknown_keys)
    }

    fn offer_biggest(&mut self, key: &[u8], bytes: u64) {
        let bigger = match &self.biggest {
            None => true,
            Some((known, most)) => bytes > *most || (bytes == *most && key < known.as_ref()),
        };
        if bigger {
            self.biggest = Some((key.into(), bytes));
        }
    }

    /// Changes the row of this type and encoding, a new one if need be.
    fn with_row(&mut self, kind: Option<&KeyType>, encoding: Option<&str>, change: impl FnOnce(&mut KindStats)) {
        if let Some(row) = self.kinds.iter_mut().find(|row| row.is(kind, encoding)) {
            return change(row);
        }
        let full = self.kinds.len() + 1 >= Self::KINDS;
        let (kind, encoding) = if full { (None, None) } else { (kind, encoding) };
        if full && let Some(row) = self.kinds.iter_mut().find(|row| row.is(None, None)) {
            return change(row);
        }
        let mut row = KindStats { kind: kind.cloned(), encoding: encoding.map(Into::into), ..KindStats::default() };
        change(&mut row);
        self.kinds.push(row);
    }
}

impl TtlStats {
    fn add(&mut self, ttl: Option<Ttl>, bytes: u64) {
        match ttl {
            None => {}
            Some(Ttl::Never) => {
                self.never_keys += 1;
                self.never_bytes += bytes;
            }
            Some(Ttl::Over) => self.over_keys += 1,
            Some(Ttl::Seconds(seconds)) => {
                self.limited_keys += 1;
                self.min_seconds = Some(self.min_seconds.map_or(seconds, |min| min.min(seconds)));
                self.max_seconds = self.max_seconds.max(Some(seconds));
                self.seconds.add(seconds);
            }
        }
    }

    fn merge(&mut self, other: &TtlStats) {
        self.never_keys += other.never_keys;
        self.never_bytes += other.never_bytes;
        self.limited_keys += other.limited_keys;
        self.over_keys += other.over_keys;
        self.min_seconds = match (self.min_seconds, other.min_seconds) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.max_seconds = self.max_seconds.max(other.max_seconds);
        self.seconds.merge(&other.seconds);
    }

    /// Keys of which it is known whether they have a time to live.
    pub fn known_keys(&self) -> u64 {
        self.never_keys + self.limited_keys + self.over_keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_parts_are_the_sums_of_the_whole() {
        let kinds = [KeyType::String, KeyType::Hash, KeyType::Module("json".into())];
        let (mut whole, mut left, mut right) = (Stats::default(), Stats::default(), Stats::default());
        for i in 0..3000_u64 {
            let key = format!("key:{i}");
            let sample = Sample {
                kind: kinds.get(i as usize % 4),
                encoding: (i % 2 == 0).then_some("raw"),
                bytes: (i % 5 > 0).then_some(i % 700),
                length: (i % 3 > 0).then_some(i % 11),
                ttl: [None, Some(Ttl::Never), Some(Ttl::Over), Some(Ttl::Seconds(i))][i as usize / 4 % 4],
            };
            whole.add(key.as_bytes(), &sample);
            if i % 7 < 3 { &mut left } else { &mut right }.add(key.as_bytes(), &sample);
        }
        left.merge(right);
        left.kinds.sort_by(|a, b| (&a.kind, &a.encoding).cmp(&(&b.kind, &b.encoding)));
        whole.kinds.sort_by(|a, b| (&a.kind, &a.encoding).cmp(&(&b.kind, &b.encoding)));
        assert_eq!(left.kinds, whole.kinds);
        assert_eq!(left.ttl, whole.ttl);
        assert_eq!(
            (left.keys, left.bytes, left.bytes_unknown_keys, left.name_bytes, &left.biggest),
            (whole.keys, whole.bytes, whole.bytes_unknown_keys, whole.name_bytes, &whole.biggest)
        );
        assert_eq!(whole.bytes_unknown_keys, 600);
        assert_eq!(whole.ttl.known_keys(), (0..3000).filter(|i| i / 4 % 4 > 0).count() as u64);
    }

    #[test]
    fn of_equally_big_keys_the_smaller_name_is_given() {
        let mut stats = Stats::default();
        for key in [b"b", b"a", b"c"] {
            stats.add(key, &Sample { bytes: Some(10), ..Sample::default() });
        }
        assert_eq!(stats.biggest, Some((b"a".as_slice().into(), 10)));
        assert_eq!(stats.mean_bytes(), Some(10));
        assert_eq!(Stats::default().mean_bytes(), None);
    }

    #[test]
    fn types_without_end_take_no_memory_without_end() {
        let mut stats = Stats::default();
        for i in 0..1000 {
            let kind = KeyType::Module(format!("module{i}"));
            stats.add(b"k", &Sample { kind: Some(&kind), ..Sample::default() });
        }
        assert_eq!(stats.kinds.len(), Stats::KINDS);
        assert_eq!(stats.kinds.iter().map(|row| row.keys).sum::<u64>(), 1000);
    }
}
