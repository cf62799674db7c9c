//! What a segment contains, in short: enough to find a moment, a transaction or a name without reading the segment again.
//! Single commits are left out: a busy server writes tens of thousands of them into one segment.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lsn::Lsn;
use crate::wal::event::{Event, What};

/// What a segment contains, in short.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Transactions that were committed in it.
    pub commits: u64,
    /// The earliest time of the end of a transaction.
    pub earliest: Option<Timestamp>,
    /// The latest one.
    pub latest: Option<Timestamp>,
    /// The last commit.
    pub last_commit: Option<Commit>,
    /// The lowest and the highest number of a transaction that ended.
    pub xids: Option<(u32, u32)>,
    /// Named restore points.
    pub named: Vec<Named>,
    /// What `pg_waldump` said where the segment does not go on to its end.
    pub broken: Option<String>,
}

/// A commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Where its record begins.
    pub lsn: Lsn,
    /// When.
    pub time: Timestamp,
    /// The transaction.
    pub xid: u32,
}

/// A named restore point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Where its record begins.
    pub lsn: Lsn,
    /// Where its record ends.
    pub end: Lsn,
    /// When it was made.
    pub time: Option<Timestamp>,
}

impl Digest {
    /// Takes one more event into account.
    pub fn add(&mut self, event: &Event) {
        if let What::RestorePoint(name) = &event.what {
            self.named.push(Named { name: name.clone(), lsn: event.lsn, end: event.end, time: event.time });
            return;
        }
        self.earliest = self.earliest.into_iter().chain(event.time).min();
        self.latest = self.latest.into_iter().chain(event.time).max();
        let (low, high) = self.xids.unwrap_or((event.xid, event.xid));
        self.xids = Some((low.min(event.xid), high.max(event.xid)));
        if let (What::Commit, Some(time)) = (&event.what, event.time) {
            self.commits += 1;
            self.last_commit = Some(Commit { lsn: event.lsn, time, xid: event.xid });
        }
    }

    /// What these events amount to.
    #[cfg(test)]
    pub(crate) fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut digest = Digest::default();
        events.into_iter().for_each(|event| digest.add(event));
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(lsn: u64, seconds: i64, xid: u32, what: What) -> Event {
        let time = Timestamp::from_second(seconds).ok();
        Event { lsn: Lsn(lsn), end: Lsn(lsn + 34), time, xid, what }
    }

    #[test]
    fn a_digest_knows_the_extremes_of_commits_that_are_not_in_order() {
        let digest = Digest::of(&[
            event(1, 50, 9, What::Commit),
            event(2, 40, 7, What::Commit),
            event(3, 60, 8, What::Abort),
            event(4, 70, 0, What::RestorePoint("p".into())),
        ]);
        assert_eq!((digest.commits, digest.xids), (2, Some((7, 9))));
        assert_eq!(digest.earliest.unwrap().as_second(), 40);
        assert_eq!(digest.latest.unwrap().as_second(), 60);
        assert_eq!(digest.last_commit.unwrap().xid, 7);
        assert_eq!(digest.named.len(), 1);
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
    }
}
