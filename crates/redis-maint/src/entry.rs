//! One key as it was seen: the same plain data whether a live server or a snapshot file told of it.

use std::fmt;

use jiff::Timestamp;

/// The type of a key's value, as `TYPE` names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyType {
    /// `string`, bitmaps and counters included.
    String,
    /// `list`.
    List,
    /// `set`.
    Set,
    /// `zset`.
    SortedSet,
    /// `hash`.
    Hash,
    /// `stream`.
    Stream,
    /// A module's type, by the module's own name for it.
    Module(String),
}

impl KeyType {
    /// The name as the server writes it.
    pub fn as_str(&self) -> &str {
        match self {
            KeyType::String => "string",
            KeyType::List => "list",
            KeyType::Set => "set",
            KeyType::SortedSet => "zset",
            KeyType::Hash => "hash",
            KeyType::Stream => "stream",
            KeyType::Module(name) => name,
        }
    }

    /// The type that the server's name stands for; any name that is not built in is a module's.
    pub fn parse(name: &str) -> Self {
        match name {
            "string" => KeyType::String,
            "list" => KeyType::List,
            "set" => KeyType::Set,
            "zset" => KeyType::SortedSet,
            "hash" => KeyType::Hash,
            "stream" => KeyType::Stream,
            other => KeyType::Module(other.to_owned()),
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When a key expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// It has no time to live.
    Never,
    /// At this moment.
    At(Timestamp),
}

/// One key. A field is `None` when it was not asked for or could not be known; never a guess.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The database number.
    pub db: u32,
    /// The name, as bytes.
    pub key: Vec<u8>,
    /// The type.
    pub kind: Option<KeyType>,
    /// How the server stores it (`OBJECT ENCODING`): `listpack`, `hashtable`, ...
    pub encoding: Option<String>,
    /// Bytes of memory that key and value take.
    pub bytes: Option<u64>,
    /// Elements of a collection, or bytes of a string.
    pub length: Option<u64>,
    /// When it expires.
    pub expiry: Option<Expiry>,
    /// Seconds since it was last read or written, where the server keeps them.
    pub idle_seconds: Option<u64>,
    /// The logarithmic access counter (0 to 255), where the eviction policy is an LFU one.
    pub frequency: Option<u8>,
}

impl Entry {
    /// A key of which only the name is known.
    pub fn named(db: u32, key: Vec<u8>) -> Self {
        Entry {
            db,
            key,
            kind: None,
            encoding: None,
            bytes: None,
            length: None,
            expiry: None,
            idle_seconds: None,
            frequency: None,
        }
    }
}
