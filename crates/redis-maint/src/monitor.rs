//! What `performance-monitor` and `check` look at, and how it is judged.
//!
//! [`look`] reads everything of one server into a [`Snapshot`], plain data that is kept until the next look, because
//! most of a server's figures only mean something as a difference. [`judge`] is pure: two snapshots and limits in, records
//! out. What the user may not read is told as that, what a version does not offer is not judged, and neither is guessed.

use serde::{Deserialize, Serialize};

use crate::info::Info;

pub mod histogram;
pub mod judge;
pub mod kept;
pub mod limits;
pub mod look;
pub mod rates;

pub use histogram::Histogram;
pub use limits::Limits;

/// Something that was asked of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part<T> {
    /// The answer.
    Known(T),
    /// The user may not ask; the command.
    Denied(String),
    /// This server does not have it.
    #[default]
    Unsupported,
}

impl<T> Part<T> {
    /// The answer, if there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Part::Known(value) => Some(value),
            _ => None,
        }
    }
}

/// An entry of the slow log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slow {
    /// Counts up over the server's run.
    pub id: u64,
    /// When, in seconds since 1970.
    pub at: u64,
    /// How long the command took, in microseconds.
    pub micros: u64,
    /// The command, and the first key: the other arguments may be anything, secrets too.
    pub command: String,
    /// The name of the client.
    pub client: String,
}

/// A client of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its address.
    pub addr: String,
    /// Its name, if it gave one.
    pub name: String,
    /// Seconds without a command.
    pub idle: u64,
    /// Bytes that wait to be read by it.
    pub output: u64,
    /// Flags: `b` for blocked, `S` for a replica, `O` for a monitor.
    pub flags: String,
}

/// Everything about one server at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The server's address.
    pub address: String,
    /// When it was looked at, in seconds since 1970.
    pub at: f64,
    /// All sections of INFO.
    pub info: Part<Info>,
    /// The latest entries of the slow log.
    pub slow: Part<Vec<Slow>>,
    /// The clients.
    pub clients: Part<Vec<Client>>,
    /// How long each command took, since the server started.
    pub histograms: Part<std::collections::BTreeMap<String, Histogram>>,
    /// The latest event of each kind of the latency monitor: when (seconds since 1970), and how long it took (ms).
    pub events: Part<std::collections::BTreeMap<String, (u64, u64)>>,
    /// The settings.
    pub config: Part<std::collections::BTreeMap<String, String>>,
    /// The median of a few pings, over the network, in seconds.
    pub ping_seconds: f64,
    /// Hits that we ourselves had added to this run of the server by then.
    #[serde(default)]
    pub own_hits: u64,
    /// Misses likewise.
    #[serde(default)]
    pub own_misses: u64,
}

impl Snapshot {
    /// The server's run.
    pub fn run_id(&self) -> Option<&str> {
        self.info.known()?.text("run_id")
    }

    /// A figure of INFO.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.info.known()?.count(name)
    }

    /// A setting.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.config.known()?.get(name).map(String::as_str)
    }

    /// By how much a counter grew since `before`; none when it is another run of the server or the counter was reset.
    pub fn grown(&self, before: Option<&Snapshot>, name: &str) -> Option<u64> {
        let before = before.filter(|before| before.run_id().is_some() && before.run_id() == self.run_id())?;
        self.count(name)?.checked_sub(before.count(name)?)
    }

    /// Seconds since `before`, in the same run of the server.
    pub fn since(&self, before: Option<&Snapshot>) -> Option<f64> {
        let before = before.filter(|before| before.run_id().is_some() && before.run_id() == self.run_id())?;
        Some(self.at - before.at).filter(|seconds| *seconds > 0.0)
    }
}
