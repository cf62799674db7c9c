//! What is asked about each key, and what the answers mean.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use redis::{Cmd, Pipeline, Value};

use crate::entry::{Entry, Expiry, KeyType};
use crate::node::{integer, text};

/// Elements of a collection that MEMORY USAGE looks at by default. The server's own default of 5 takes the first ones it
/// meets and can be wrong by orders of magnitude; a thousand take it some 150 microseconds at most, and collections up to
/// that size are measured exactly.
pub const DEFAULT_SAMPLES: u32 = 1000;

/// Something that can be asked about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// `MEMORY USAGE`: leaves no trace.
    Bytes,
    /// `TYPE`: counts as a hit.
    Type,
    /// `PTTL`: counts as a hit.
    Expiry,
    /// `OBJECT ENCODING`: counts as a hit.
    Encoding,
    /// `OBJECT IDLETIME`: counts as a hit.
    Idle,
    /// `OBJECT FREQ`: counts as a hit.
    Frequency,
    /// `STRLEN`, `LLEN`, ...: counts as a hit, and before 7.2 resets the idle time.
    Length,
}

impl Attribute {
    /// The command, as it stands in messages.
    pub fn command(self) -> &'static str {
        match self {
            Attribute::Bytes => "MEMORY USAGE",
            Attribute::Type => "TYPE",
            Attribute::Expiry => "PTTL",
            Attribute::Encoding => "OBJECT ENCODING",
            Attribute::Idle => "OBJECT IDLETIME",
            Attribute::Frequency => "OBJECT FREQ",
            Attribute::Length => "STRLEN, LLEN, SCARD, ZCARD, HLEN and XLEN",
        }
    }

    /// Whether it shows in the server's keyspace statistics.
    pub fn counts_as_hit(self) -> bool {
        self != Attribute::Bytes
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.command())
    }
}

type Choice = dyn Fn(&[u8]) -> bool + Send + Sync;

/// Chooses names before anything is asked about them.
#[derive(Clone)]
pub struct Filter(Arc<Choice>);

impl Filter {
    /// Only names for which `choice` holds.
    pub fn new(choice: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        Filter(Arc::new(choice))
    }

    /// Whether the name is chosen.
    pub fn takes(&self, key: &[u8]) -> bool {
        (self.0)(key)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}

/// Which keys a walk is for, and what it asks about each.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Only names that match this glob; the server filters.
    pub pattern: Option<Vec<u8>>,
    /// Only names that pass; we filter.
    pub filter: Option<Filter>,
    /// What to ask, [`Attribute::Length`] last.
    pub attributes: Vec<Attribute>,
    /// Elements of a collection that MEMORY USAGE looks at; 0 for all.
    pub samples: u32,
}

impl Ask {
    /// All names, with their bytes.
    pub fn bytes() -> Self {
        Ask { pattern: None, filter: None, attributes: vec![Attribute::Bytes], samples: DEFAULT_SAMPLES }
    }

    /// The same, and `attribute`.
    #[must_use]
    pub fn and(mut self, attribute: Attribute) -> Self {
        if !self.attributes.contains(&attribute) {
            self.attributes.push(attribute);
            self.attributes.sort();
        }
        self
    }

    /// Whether it is asked.
    pub fn asks(&self, attribute: Attribute) -> bool {
        self.attributes.contains(&attribute)
    }

    /// The next step of the walk.
    pub(super) fn next(&self, cursor: u64, count: u32) -> Cmd {
        let mut command = redis::cmd("SCAN");
        command.arg(cursor);
        if let Some(pattern) = &self.pattern {
            command.arg("MATCH").arg(pattern.as_slice());
        }
        command.arg("COUNT").arg(count);
        command
    }
}

/// Adds the question about one key.
pub(super) fn question(attribute: Attribute, entry: &Entry, samples: u32, batch: &mut Pipeline) {
    let key = entry.key.as_slice();
    let simple = |name: &str| redis::cmd(name).arg(key).to_owned();
    let object = |what: &str| redis::cmd("OBJECT").arg(what).arg(key).to_owned();
    batch.add_command(match attribute {
        Attribute::Bytes => redis::cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(samples).to_owned(),
        Attribute::Type => simple("TYPE"),
        Attribute::Expiry => simple("PTTL"),
        Attribute::Encoding => object("ENCODING"),
        Attribute::Idle => object("IDLETIME"),
        Attribute::Frequency => object("FREQ"),
        Attribute::Length => simple(match &entry.kind {
            Some(KeyType::List) => "LLEN",
            Some(KeyType::Set) => "SCARD",
            Some(KeyType::SortedSet) => "ZCARD",
            Some(KeyType::Hash) => "HLEN",
            Some(KeyType::Stream) => "XLEN",
            _ => "STRLEN",
        }),
    });
}

/// Puts the answer into the entry. False when the key is not there any more.
pub(super) fn answer(attribute: Attribute, value: &Value, now: Timestamp, entry: &mut Entry) -> bool {
    match attribute {
        Attribute::Bytes => match integer(value) {
            Some(bytes) => entry.bytes = u64::try_from(bytes).ok(),
            None => return false,
        },
        Attribute::Type => match text(value).as_deref() {
            None | Some("none") => return false,
            Some(name) => entry.kind = Some(KeyType::parse(name)),
        },
        Attribute::Expiry => match integer(value) {
            Some(-1) => entry.expiry = Some(Expiry::Never),
            Some(left) if left >= 0 => {
                // A moment that no calendar holds comes of a time to live in the wrong unit, and is told as the last one.
                let moment = now.checked_add(SignedDuration::from_millis(left)).unwrap_or(Timestamp::MAX);
                entry.expiry = Some(Expiry::At(moment));
            }
            _ => return false,
        },
        Attribute::Encoding => match text(value) {
            Some(name) => entry.encoding = Some(name),
            None => return false,
        },
        Attribute::Idle => match integer(value) {
            Some(seconds) => entry.idle_seconds = u64::try_from(seconds).ok(),
            None => return false,
        },
        Attribute::Frequency => match integer(value) {
            Some(count) => entry.frequency = u8::try_from(count).ok(),
            None => return false,
        },
        // A key that changed its type in between answers with an error, which is dealt with elsewhere; one that vanished
        // has length 0, which no key has.
        Attribute::Length => match integer(value) {
            Some(length) if length > 0 || entry.kind == Some(KeyType::String) => {
                entry.length = u64::try_from(length).ok();
            }
            _ => return entry.kind == Some(KeyType::Stream),
        },
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(command: &Cmd) -> String {
        String::from_utf8(command.get_packed_command()).unwrap()
    }

    #[test]
    fn the_walk_asks_for_what_matches() {
        let ask = Ask { pattern: Some(b"a:*".to_vec()), ..Ask::bytes() };
        let text = packed(&ask.next(7, 100));
        assert!(text.contains("SCAN") && text.contains("\r\n7\r\n") && text.contains("a:*") && text.contains("100"));
        assert!(!packed(&Ask::bytes().next(0, 10)).contains("MATCH"));
    }

    #[test]
    fn a_key_that_vanished_is_told_by_every_answer() {
        let now = Timestamp::now();
        let mut entry = Entry::named(0, b"k".to_vec());
        for (attribute, value) in [
            (Attribute::Bytes, Value::Nil),
            (Attribute::Type, Value::SimpleString("none".into())),
            (Attribute::Expiry, Value::Int(-2)),
            (Attribute::Encoding, Value::Nil),
            (Attribute::Idle, Value::Nil),
        ] {
            assert!(!answer(attribute, &value, now, &mut entry), "{attribute}");
        }
        assert_eq!(entry, Entry::named(0, b"k".to_vec()));
    }

    #[test]
    fn never_and_a_moment_are_told_apart() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut entry = Entry::named(0, b"k".to_vec());
        assert!(answer(Attribute::Expiry, &Value::Int(-1), now, &mut entry));
        assert_eq!(entry.expiry, Some(Expiry::Never));
        assert!(answer(Attribute::Expiry, &Value::Int(1500), now, &mut entry));
        assert_eq!(entry.expiry, Some(Expiry::At("2026-01-01T00:00:01.5Z".parse().unwrap())));
        // A time to live of millions of years ends at the end of time, and not never.
        assert!(answer(Attribute::Expiry, &Value::Int(i64::MAX), now, &mut entry));
        assert_eq!(entry.expiry, Some(Expiry::At(Timestamp::MAX)));
    }

    #[test]
    fn what_is_asked_is_asked_once_and_lengths_last() {
        let ask = Ask::bytes().and(Attribute::Length).and(Attribute::Type).and(Attribute::Bytes);
        assert_eq!(ask.attributes, [Attribute::Bytes, Attribute::Type, Attribute::Length]);
    }
}
