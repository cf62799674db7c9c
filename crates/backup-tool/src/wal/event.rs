//! What the log tells of transactions and named restore points, read from what `pg_waldump` prints.
//!
//! One line is one record (`src/bin/pg_waldump/pg_waldump.c`, versions 13 to 18):
//!
//! ```text
//! rmgr: Transaction len (rec/tot):     34/    34, tx:        725, lsn: 0/0176B000, prev 0/0176AFB8, desc: COMMIT 2026-11-23 15:52:17.502405 UTC
//! rmgr: Transaction len (rec/tot):     42/    42, tx:          0, lsn: 0/0176B1D8, prev 0/0176B0E0, desc: COMMIT_PREPARED 727: 2026-11-23 15:52:17.538047 UTC
//! rmgr: XLOG        len (rec/tot):     98/    98, tx:          0, lsn: 0/0176B378, prev 0/0176B348, desc: RESTORE_POINT before the upgrade
//! ```
//!
//! Times are in UTC when the program runs with `TZ=UTC0`. Of a restore point it prints the name only, so its time is read
//! from the record itself.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::lsn::Lsn;

/// Bytes of a page of the log, and of its header: every page has one, the first of a segment a longer one.
const PAGE: u64 = 8192;
const PAGE_HEADER: u64 = 24;
const SEGMENT_HEADER: u64 = 40;
/// Bytes of a record's header.
const RECORD_HEADER: usize = 24;
/// What follows it in the record of a restore point: a mark of short data, and its length.
const SHORT_DATA: [u8; 2] = [255, 72];
/// Bytes of the whole record of a restore point: time (8) and name (64) behind the headers.
pub const RESTORE_POINT_BYTES: usize = RECORD_HEADER + 2 + 72;
/// Seconds from the Unix epoch to PostgreSQL's, 2000-01-01.
const EPOCH: i64 = 946_684_800;

/// What a record reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A transaction was committed, perhaps one that was prepared before.
    Commit,
    /// A transaction was rolled back. Replay can stop at it as at a commit.
    Abort,
    /// Somebody named this point (`pg_create_restore_point`).
    RestorePoint(String),
}

/// A point in the log at which replay can stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where its record begins.
    pub lsn: Lsn,
    /// Where its record ends.
    pub end: Lsn,
    /// When, by the server's clock; not known of a restore point whose record cannot be read.
    pub time: Option<Timestamp>,
    /// The transaction; 0 for a restore point.
    pub xid: u32,
    /// What it is.
    pub what: What,
}

/// Reads where the record of one line begins and ends; `None` for a line that is no record.
pub fn extent(line: &str, segment_bytes: u64) -> Option<(Lsn, Lsn)> {
    let lengths = line.strip_prefix("rmgr: ")?.split_once("len (rec/tot):")?.1;
    let (_, total) = lengths.split_once(',')?.0.split_once('/')?;
    let rest = line.split_once(", lsn: ")?.1;
    let lsn: Lsn = rest.split_once(',')?.0.parse().ok()?;
    Some((lsn, record_end(lsn, total.trim().parse().ok()?, segment_bytes)))
}

/// Reads one line; `None` for one that reports nothing of this kind.
pub fn parse(line: &str, segment_bytes: u64) -> Option<Event> {
    let (head, text) = line.split_once(", desc: ")?;
    let manager = head.strip_prefix("rmgr: ")?.split_whitespace().next()?;
    let (operation, rest) = text.split_once(' ')?;
    let tx = || head.split_once(", tx:")?.1.split_once(',')?.0.trim().parse().ok();
    let prepared = || rest.split_once(':').and_then(|(xid, rest)| Some((xid.trim().parse().ok()?, rest)));
    let (what, xid, time) = match (manager, operation) {
        ("Transaction", "COMMIT") => (What::Commit, tx()?, Some(time(rest)?)),
        ("Transaction", "ABORT") => (What::Abort, tx()?, Some(time(rest)?)),
        ("Transaction", "COMMIT_PREPARED") => {
            prepared().and_then(|(xid, rest)| Some((What::Commit, xid, Some(time(rest)?))))?
        }
        ("Transaction", "ABORT_PREPARED") => {
            prepared().and_then(|(xid, rest)| Some((What::Abort, xid, Some(time(rest)?))))?
        }
        ("XLOG", "RESTORE_POINT") => (What::RestorePoint(rest.to_owned()), 0, None),
        _ => return None,
    };
    let (lsn, end) = extent(head, segment_bytes).or_else(|| extent(line, segment_bytes))?;
    Some(Event { lsn, end, time, xid, what })
}

/// `2026-11-23 15:52:17.502405 UTC`, and whatever follows.
fn time(text: &str) -> Option<Timestamp> {
    let mut words = text.trim_start().split([' ', ';']);
    let civil: DateTime = format!("{} {}", words.next()?, words.next()?).parse().ok()?;
    if words.next()? != "UTC" {
        return None;
    }
    TimeZone::UTC.to_timestamp(civil).ok()
}

/// Where a record ends that begins at `lsn` and has `length` bytes without the page headers in between.
fn record_end(lsn: Lsn, length: u64, segment_bytes: u64) -> Lsn {
    let mut at = lsn.0;
    let mut left = length;
    loop {
        let page_end = (at / PAGE).saturating_add(1).saturating_mul(PAGE);
        if left <= page_end.saturating_sub(at) {
            return Lsn(at.saturating_add(left));
        }
        left -= page_end - at;
        at = page_end.saturating_add(page_header(page_end, segment_bytes));
    }
}

fn page_header(page: u64, segment_bytes: u64) -> u64 {
    if page.is_multiple_of(segment_bytes.max(1)) { SEGMENT_HEADER } else { PAGE_HEADER }
}

/// Where the bytes of a record lie: pieces of position and length, without the page headers in between.
pub fn pieces(lsn: Lsn, length: u64, segment_bytes: u64) -> Vec<(Lsn, u64)> {
    let mut pieces = Vec::new();
    let (mut at, mut left) = (lsn.0, length);
    while left > 0 {
        let page_end = (at / PAGE).saturating_add(1).saturating_mul(PAGE);
        let here = left.min(page_end.saturating_sub(at).max(1));
        pieces.push((Lsn(at), here));
        left -= here;
        at = page_end.saturating_add(page_header(page_end, segment_bytes));
    }
    pieces
}

/// Time and name in the record of a restore point.
pub fn restore_point(record: &[u8]) -> Option<(Timestamp, String)> {
    let data = record.get(RECORD_HEADER..)?.strip_prefix(&SHORT_DATA)?;
    let (time, name) = data.split_first_chunk::<8>()?;
    let micros = i64::from_le_bytes(*time).checked_add(EPOCH.checked_mul(1_000_000)?)?;
    let name = name.split(|byte| *byte == 0).next()?;
    Some((Timestamp::from_microsecond(micros).ok()?, String::from_utf8_lossy(name).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn line(manager: &str, tx: u32, lsn: &str, desc: &str) -> String {
        format!(
            "rmgr: {manager:<11} len (rec/tot): {:>6}/{:>6}, tx: {tx:>10}, lsn: {lsn}, prev 0/01, desc: {desc}",
            34, 50
        )
    }

    #[test]
    fn commits_are_read_to_the_microsecond() {
        for desc in [
            "COMMIT 2026-11-23 15:52:17.502405 UTC",
            "COMMIT 2026-11-23 15:52:17.502405 UTC; inval msgs: catcache 21; sync",
            "COMMIT 2026-11-23 15:52:17.502405 UTC; subxacts: 730; inval msgs: catcache 80",
            "COMMIT 2026-11-23 15:52:17.502405 UTC; dropped stats: 2/1663/16384; origin: node 1, lsn 0/0, at 2026-11-23 15:00:00.0 UTC",
        ] {
            let event = parse(&line("Transaction", 725, "0/0176B000", desc), MB).unwrap();
            assert_eq!(event.time.unwrap().to_string(), "2026-11-23T15:52:17.502405Z");
            assert_eq!((event.lsn, event.end, event.xid), (Lsn(0x176_B000), Lsn(0x176_B032), 725));
            assert_eq!(event.what, What::Commit);
        }
    }

    #[test]
    fn a_prepared_transaction_counts_when_it_is_decided_under_its_own_number() {
        let decided = line("Transaction", 0, "0/1", "COMMIT_PREPARED 727: 2026-11-23 15:52:17.538047 UTC");
        let event = parse(&decided, MB).unwrap();
        assert_eq!((event.xid, event.what), (727, What::Commit));
        let undone =
            line("Transaction", 0, "0/1", "ABORT_PREPARED 728: 2026-11-23 15:52:17.538047 UTC; rels: base/5/1");
        assert_eq!(parse(&undone, MB).unwrap().what, What::Abort);
        let prepared =
            line("Transaction", 727, "0/1", "PREPARE gid COMMIT 2026-11-23 15:52:17.5 UTC: 2026-11-23 15:52:17.5 UTC");
        assert_eq!(parse(&prepared, MB), None);
    }

    #[test]
    fn a_restore_points_name_is_taken_whole() {
        let event = parse(&line("XLOG", 0, "1/2", "RESTORE_POINT before, lsn: 0/9, desc: COMMIT"), MB).unwrap();
        assert_eq!(event.what, What::RestorePoint("before, lsn: 0/9, desc: COMMIT".into()));
        assert_eq!(event.lsn, Lsn((1 << 32) + 2));
    }

    #[test]
    fn other_lines_are_nothing() {
        for text in [
            "",
            "first record is after 0/4000000, at 0/4000028, skipping over 40 bytes",
            &line("Heap", 3, "0/1", "INSERT off 3 flags 0x00"),
            &line("Transaction", 3, "0/1", "INVALIDATION ; inval msgs: catcache 21"),
            &line("Transaction", 3, "0/1", "COMMIT 2026-11-23 15:52:17.502405 CET"),
            &line("XLOG", 0, "0/1", "SWITCH "),
            "rmgr: Transaction, desc: COMMIT 2026-11-23 15:52:17.502405 UTC",
        ] {
            assert_eq!(parse(text, MB), None, "{text}");
        }
    }

    #[test]
    fn a_record_ends_behind_the_page_headers_it_runs_over() {
        assert_eq!(record_end(Lsn(8192 + 24), 8168, MB), Lsn(16384));
        assert_eq!(record_end(Lsn(8192 + 24), 8169, MB), Lsn(16384 + 25));
        assert_eq!(record_end(Lsn(MB - 8), 16, MB), Lsn(MB + 48));
        let pieces = pieces(Lsn(MB - 8), 16, MB);
        assert_eq!(pieces, [(Lsn(MB - 8), 8), (Lsn(MB + 40), 8)]);
    }

    #[test]
    fn time_and_name_of_a_restore_point_are_in_its_record() {
        let mut record = vec![0; RECORD_HEADER];
        record.extend(SHORT_DATA);
        record.extend(1_500_000_i64.to_le_bytes());
        record.extend(b"one\ntwo\0three");
        record.resize(RESTORE_POINT_BYTES, 0);
        let (time, name) = restore_point(&record).unwrap();
        assert_eq!(time.to_string(), "2000-01-01T00:00:01.5Z");
        assert_eq!(name, "one\ntwo");
        assert_eq!(restore_point(&record[..20]), None);
        record[24] = 1;
        assert_eq!(restore_point(&record), None);
    }
}
