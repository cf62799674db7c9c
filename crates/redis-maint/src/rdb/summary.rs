//! What is known of a snapshot as a whole.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use super::size::Allocator;

/// The longest name of an auxiliary field, in bytes. Real ones are a dozen.
pub(super) const AUXILIARY_NAME: u64 = 1024;
/// The longest value of an auxiliary field, in bytes.
pub(super) const AUXILIARY_VALUE: u64 = 64 * 1024;
/// So many auxiliary fields are kept; a server writes about eight.
const AUXILIARIES: usize = 256;

/// Whose format a snapshot is in. Valkey wrote Redis's own until its version 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Producer {
    /// `REDIS` and four digits.
    #[default]
    Redis,
    /// `VALKEY` and three digits.
    Valkey,
}

impl fmt::Display for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Producer::Redis => "Redis",
            Producer::Valkey => "Valkey",
        })
    }
}

/// What became of the checksum. A wrong one is an error, not a case of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// The end was not reached yet.
    #[default]
    Pending,
    /// It fits the bytes.
    Verified,
    /// The server was told to write none (`rdbchecksum no`): nothing vouches for the bytes.
    Disabled,
    /// The format is older than the checksum: nothing vouches for the bytes.
    Absent,
}

/// One auxiliary field, such as the server's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auxiliary {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// One database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Database {
    /// How many keys the file announces, where it does.
    pub keys_hint: Option<u64>,
    /// How many of them with a time to live.
    pub expiring_hint: Option<u64>,
    /// Keys seen.
    pub keys: u64,
    /// Of these, keys with a time to live.
    pub expiring: u64,
    /// Of these, keys whose time was over already.
    pub expired: u64,
}

/// The file as a whole, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Whose format it is.
    pub producer: Producer,
    /// The format's version.
    pub version: u32,
    /// The auxiliary fields in the file's order; the first 256.
    pub auxiliaries: Vec<Auxiliary>,
    /// Auxiliary fields beyond those.
    pub more_auxiliaries: u64,
    /// When the file says that it was written.
    pub written: Option<Timestamp>,
    /// The moment as of which keys count as expired: as given, else `written`. `None`: none counts as expired.
    pub now: Option<Timestamp>,
    /// The allocator that was asked for; `None`: by the server's version.
    pub allocator: Option<Allocator>,
    /// The databases by number.
    pub databases: BTreeMap<u32, Database>,
    /// Keys of all databases.
    pub keys: u64,
    /// Of these, keys with a time to live.
    pub expiring: u64,
    /// Of these, keys whose time was over already.
    pub expired: u64,
    /// Fields of hashes that have a time to live of their own.
    pub expiring_fields: u64,
    /// Libraries of functions.
    pub functions: u64,
    /// Cached scripts (up to Redis 6).
    pub scripts: u64,
    /// Pieces of data that modules keep beside the keys.
    pub module_data: u64,
    /// Keys that carry metadata of modules.
    pub keys_with_metadata: u64,
    /// Slots that were being imported.
    pub slot_imports: u64,
    /// What became of the checksum.
    pub checksum: Checksum,
    /// Bytes that were read, trailing ones included.
    pub bytes_read: u64,
    /// Bytes behind the end of the snapshot: none in a file; 40 in what `redis-cli --rdb -` writes, which lets the end mark
    /// of replication through; the commands in an append-only file that starts as a snapshot.
    pub trailing_bytes: u64,
}

impl Summary {
    pub(super) fn database(&mut self, number: u32) -> &mut Database {
        self.databases.entry(number).or_default()
    }

    pub(super) fn count(&mut self, database: u32, expiry: Option<Timestamp>, fields: u64) {
        let expiring = u64::from(expiry.is_some());
        let expired = u64::from(expiry.zip(self.now).is_some_and(|(expiry, now)| expiry <= now));
        self.keys += 1;
        self.expiring += expiring;
        self.expired += expired;
        self.expiring_fields = self.expiring_fields.saturating_add(fields);
        let database = self.database(database);
        database.keys += 1;
        database.expiring += expiring;
        database.expired += expired;
    }

    pub(super) fn auxiliary(&mut self, name: String, value: String) {
        if self.auxiliaries.len() < AUXILIARIES {
            self.auxiliaries.push(Auxiliary { name, value });
        } else {
            self.more_auxiliaries += 1;
        }
    }
}
