//! What a walk over keys adds up to.
//!
//! [`Analysis`] takes keys one by one, from a server or from a snapshot, and keeps sums only. Its memory does not grow
//! with the number of keys: up to [`Settings::nodes`] nodes of the pattern tree (about 1.5 KiB each), twice
//! [`Settings::top`] keys, one counter for each minute of the next 30 days (0.7 MB), 16 KiB to count different keys, and
//! at most [`ROWS`] rows in each table. With the default settings that is 16 MB at the very most, and 2 MB for a keyspace
//! of a few hundred patterns.
//!
//! What the sums mean is judged apart from taking them, in [`findings`].

pub mod encoding;
pub mod expiry;
pub mod findings;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::entry::{Entry, Expiry, KeyType};
use crate::patterns::{Learned, Patterns, Sample, Ttl};
use crate::sketch::{self, Distinct, Log2Histogram};
use crate::top::TopN;
use expiry::{Ages, Minutes};

/// Rows that a table has at most; what is beyond is summed up in one row.
pub const ROWS: usize = 1024;

/// What an analysis is told before it sees a key.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The moment of the walk; times to live count from here.
    pub now: Timestamp,
    /// How many of the biggest keys are remembered by name.
    pub top: usize,
    /// Nodes of the pattern tree; see [`Patterns::new`].
    pub nodes: usize,
    /// From how many bytes on a key is big. 1 MiB: sending it keeps a gigabit link busy for 8 ms, and copying it the
    /// server's one thread for about one.
    pub big_bytes: u64,
    /// From how many elements on a collection is big. 10,000: reading or deleting it in one command keeps the server's
    /// one thread busy for a millisecond or more.
    pub big_elements: u64,
}

impl Settings {
    /// The default settings at this moment.
    pub fn at(now: Timestamp) -> Self {
        Settings { now, top: 100, nodes: 10_000, big_bytes: 1 << 20, big_elements: 10_000 }
    }
}

/// Keys and what they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// How many keys.
    pub keys: u64,
    /// Their bytes of memory, as far as known.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, bytes: Option<u64>) {
        self.keys += 1;
        self.bytes += bytes.unwrap_or_default();
    }
}

/// Database and name of a key.
pub type KeyId = (u32, Vec<u8>);

/// The keys of one type. The biggest are those that `redis-cli --memkeys` and `--bigkeys` name; of equals, that of the
/// smaller database and name is taken here, the first seen there.
#[derive(Debug, Clone)]
pub struct TypeStats {
    /// Keys and bytes.
    pub count: Count,
    /// Elements of all keys (bytes of content for strings), as far as known.
    pub length: u64,
    /// The biggest key by bytes.
    pub biggest_by_bytes: TopN<KeyId>,
    /// The biggest key by elements (bytes of content for strings).
    pub biggest_by_length: TopN<KeyId>,
}

impl Default for TypeStats {
    fn default() -> Self {
        TypeStats {
            count: Count::default(),
            length: 0,
            biggest_by_bytes: TopN::new(1),
            biggest_by_length: TopN::new(1),
        }
    }
}

/// What is remembered of one of the biggest keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BigKey {
    /// The type.
    pub kind: Option<KeyType>,
    /// The encoding.
    pub encoding: Option<String>,
    /// Bytes of memory.
    pub bytes: Option<u64>,
    /// Elements, or bytes of a string.
    pub length: Option<u64>,
}

/// A table of counts with a bounded number of rows.
#[derive(Debug, Clone)]
pub struct Table<K> {
    /// The rows.
    pub rows: BTreeMap<K, Count>,
    /// What came when the table was full.
    pub other: Count,
}

impl<K: Ord> Table<K> {
    fn new() -> Self {
        Table { rows: BTreeMap::new(), other: Count::default() }
    }

    fn add(&mut self, key: K, bytes: Option<u64>) {
        let full = self.rows.len() >= ROWS;
        match self.rows.get_mut(&key) {
            Some(row) => row.add(bytes),
            None if full => self.other.add(bytes),
            None => self.rows.entry(key).or_default().add(bytes),
        }
    }
}

/// The sums of a walk.
#[derive(Debug)]
pub struct Analysis {
    settings: Settings,
    patterns: Patterns,
    distinct: Distinct,
    report: Sums,
}

/// The sums that are what they are as soon as a key is added.
#[derive(Debug)]
pub struct Sums {
    /// All keys; one that SCAN gave twice is counted twice (see [`Report::distinct_keys`]).
    pub total: Count,
    /// Keys whose bytes are unknown.
    pub bytes_unknown_keys: u64,
    /// Bytes of all names.
    pub name_bytes: u64,
    /// By type; keys of unknown type are not here.
    pub types: BTreeMap<KeyType, TypeStats>,
    /// By type and encoding.
    pub encodings: Table<(KeyType, String)>,
    /// By database.
    pub databases: Table<u32>,
    /// By time to live.
    pub ttl: Ages,
    /// By time since the last access.
    pub idle: Ages,
    /// Keys by the minute they expire in.
    pub minutes: Minutes,
    /// Bytes of keys, by powers of two.
    pub sizes: Log2Histogram,
    /// The biggest keys by bytes.
    pub top: TopN<KeyId, BigKey>,
    /// The biggest collections by elements.
    pub longest: TopN<KeyId, BigKey>,
    /// The keys of [`Settings::big_bytes`] or [`Settings::big_elements`] and more.
    pub big: Count,
}

/// Everything a walk added up to.
#[derive(Debug)]
pub struct Report {
    /// What the analysis was told.
    pub settings: Settings,
    /// The sums over all keys.
    pub sums: Sums,
    /// The groups of keys whose names follow the same pattern. Keys of all databases are grouped together.
    pub learned: Learned,
    /// How many different keys were seen, within a standard error of [`Distinct::STANDARD_ERROR`].
    pub distinct_keys: u64,
}

impl Analysis {
    /// An analysis of nothing yet.
    pub fn new(settings: Settings) -> Self {
        let report = Sums {
            total: Count::default(),
            bytes_unknown_keys: 0,
            name_bytes: 0,
            types: BTreeMap::new(),
            encodings: Table::new(),
            databases: Table::new(),
            ttl: Ages::default(),
            idle: Ages::default(),
            minutes: Minutes::default(),
            sizes: Log2Histogram::default(),
            top: TopN::new(settings.top),
            longest: TopN::new(settings.top),
            big: Count::default(),
        };
        Analysis { patterns: Patterns::new(settings.nodes), distinct: Distinct::default(), report, settings }
    }

    /// Adds a key.
    pub fn add(&mut self, entry: &Entry) {
        let ttl = entry.expiry.map(|expiry| time_to_live(expiry, self.settings.now));
        let bytes = entry.bytes;
        self.distinct.add(sketch::hash(&entry.key) ^ u64::from(entry.db).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        self.patterns.add(
            &entry.key,
            &Sample {
                kind: entry.kind.as_ref(),
                encoding: entry.encoding.as_deref(),
                bytes,
                length: entry.length,
                ttl,
            },
        );
        let sums = &mut self.report;
        sums.total.add(bytes);
        sums.bytes_unknown_keys += u64::from(bytes.is_none());
        sums.name_bytes += entry.key.len() as u64;
        sums.databases.add(entry.db, bytes);
        sums.ttl.add_ttl(ttl, bytes);
        sums.idle.add_seconds(entry.idle_seconds, bytes);
        if let Some(Ttl::Seconds(seconds)) = ttl {
            sums.minutes.add(seconds, bytes);
        }
        if let Some(bytes) = bytes {
            sums.sizes.add(bytes);
        }
        if let Some(kind) = &entry.kind {
            sums.add_kind(kind, entry);
        }
        sums.add_big(entry, &self.settings);
    }

    /// The report, when every key was added.
    pub fn finish(self) -> Report {
        Report {
            settings: self.settings,
            sums: self.report,
            learned: self.patterns.finish(),
            distinct_keys: self.distinct.estimate(),
        }
    }
}

impl Sums {
    fn add_kind(&mut self, kind: &KeyType, entry: &Entry) {
        if !self.types.contains_key(kind) && self.types.len() < ROWS {
            self.types.insert(kind.clone(), TypeStats::default());
        }
        if let Some(stats) = self.types.get_mut(kind) {
            stats.count.add(entry.bytes);
            stats.length = stats.length.saturating_add(entry.length.unwrap_or_default());
            for (top, weight) in
                [(&mut stats.biggest_by_bytes, entry.bytes), (&mut stats.biggest_by_length, entry.length)]
            {
                if let Some(weight) = weight
                    && top.admits(weight)
                {
                    top.offer((entry.db, entry.key.clone()), weight, ());
                }
            }
        }
        if let Some(encoding) = &entry.encoding {
            self.encodings.add((kind.clone(), encoding.clone()), entry.bytes);
        }
    }

    fn add_big(&mut self, entry: &Entry, settings: &Settings) {
        let elements = entry.length.filter(|_| entry.kind.as_ref().is_some_and(|kind| *kind != KeyType::String));
        if entry.bytes.is_some_and(|bytes| bytes >= settings.big_bytes)
            || elements.is_some_and(|elements| elements >= settings.big_elements)
        {
            self.big.add(entry.bytes);
        }
        for (top, weight) in [(&mut self.top, entry.bytes), (&mut self.longest, elements)] {
            if let Some(weight) = weight
                && top.admits(weight)
            {
                let big = BigKey {
                    kind: entry.kind.clone(),
                    encoding: entry.encoding.clone(),
                    bytes: entry.bytes,
                    length: entry.length,
                };
                top.offer((entry.db, entry.key.clone()), weight, big);
            }
        }
    }
}

/// How long after `now` a key has to live.
fn time_to_live(expiry: Expiry, now: Timestamp) -> Ttl {
    match expiry {
        Expiry::Never => Ttl::Never,
        Expiry::At(moment) if moment <= now => Ttl::Over,
        Expiry::At(moment) => Ttl::Seconds(moment.duration_since(now).as_secs().unsigned_abs()),
    }
}
