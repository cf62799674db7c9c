//! What a recovery is asked for.

use jiff::Timestamp;

use crate::cli::TargetArgs;
use crate::lsn::Lsn;

/// The point at which replay ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Point {
    /// The end of the archive.
    Latest,
    /// As soon as the cluster is consistent.
    Immediate,
    /// A moment, by the database's clock.
    Time(Timestamp),
    /// A position in the log.
    Lsn(Lsn),
    /// A transaction.
    Xid(u64),
    /// A named restore point.
    Name(String),
}

/// Which timeline to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimelineChoice {
    /// The newest that leads to the point.
    Latest,
    /// The one that the backup was taken on.
    Current,
    /// This one.
    Numbered(u32),
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The point.
    pub point: Point,
    /// Whether to stop just before it.
    pub exclusive: bool,
    /// The timeline; `None` when nobody said, and then the point must be on one way only.
    pub timeline: Option<TimelineChoice>,
}

impl Wanted {
    /// Reads what was asked for on the command line.
    ///
    /// # Errors
    /// A moment or a timeline that cannot be read.
    pub fn parse(args: &TargetArgs) -> Result<Self, String> {
        let _ = args;
        Err("not built yet".into())
    }
}
