//! `wal points`: the moments that can be recovered, read from the log itself: every commit, and every named restore point.

use std::ops::ControlFlow;

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::WalPointsArgs;
use crate::lsn::Lsn;
use crate::recovery::question::Question;
use crate::recovery::target::written;
use crate::wal::digest::{Digest, Named};
use crate::wal::dump::Dumper;
use crate::wal::event::{Event, What};
use crate::wal::gaps::Shelf;
use crate::wal::name::Segment;
use crate::work::Work;

/// One record for every commit and every restore point in the time that was asked for, a timeline at a time, in the order
/// of the log.
///
/// # Errors
/// The repository cannot be read, or `pg_waldump` is missing.
pub fn run(args: &WalPointsArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let store = work.store()?;
    let question = Question::of(&store)?;
    work.subject.clone_from(&question.place);
    if question.shelf.runs().is_empty() {
        return Ok(());
    }
    let mut dumper = question.dumper(work)?;
    for run in question.shelf.runs() {
        let mut segment = run.first;
        for _ in 0..run.segments {
            if let ControlFlow::Break(()) = one(args, work, &question.shelf, &mut dumper, segment)? {
                return Ok(());
            }
            segment = segment.next(question.shelf.segment_bytes());
        }
    }
    Ok(())
}

fn one(
    args: &WalPointsArgs,
    work: &Work<'_>,
    shelf: &Shelf,
    dumper: &mut Dumper<'_>,
    segment: Segment,
) -> Result<ControlFlow<()>, Failure> {
    let digest = dumper.digest(segment)?;
    if let Some(said) = &digest.broken {
        let message = format!("the log does not go on to the end of this segment: {said}");
        work.run.emit(&Record::new(Kind::Finding, segment.to_string(), Status::Warning, message));
    }
    let from = own_from(shelf, segment);
    let emit = |event: &Event| {
        if event.lsn >= from && asked_for(args, event) {
            work.run.emit(&record(timeline_of(shelf, segment, event.lsn), event));
        }
    };
    if args.named {
        digest.named.iter().map(restore_point).for_each(|event| emit(&event));
    } else if touches(args, &digest) {
        dumper.each(segment, &mut |event| emit(&event))?;
    }
    Ok(if work.run.reader_is_gone() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
}

fn restore_point(named: &Named) -> Event {
    let what = What::RestorePoint(named.name.clone());
    Event { lsn: named.lsn, end: named.end, time: named.time, xid: 0, what }
}

/// From where on the records of a segment are news: a timeline begins with a copy of the segment it branched off in, and
/// what is copied was listed with the timeline before, where that has the segment too.
fn own_from(shelf: &Shelf, segment: Segment) -> Lsn {
    let Some(way) = shelf.way(segment.timeline) else { return Lsn(0) };
    let size = shelf.segment_bytes();
    let copied = way.ancestors.iter().rev().find(|ancestor| {
        ancestor.left_at > segment.start(size) && shelf.has(Segment { timeline: ancestor.timeline, ..segment })
    });
    copied.map_or(Lsn(0), |ancestor| ancestor.left_at)
}

fn timeline_of(shelf: &Shelf, segment: Segment, lsn: Lsn) -> u32 {
    shelf.way(segment.timeline).map_or(segment.timeline, |way| way.timeline_at(lsn))
}

/// Whether anything in a segment can be in the time that was asked for.
fn touches(args: &WalPointsArgs, digest: &Digest) -> bool {
    let named = digest.named.iter().any(|named| in_time(args, named.time));
    let ends = match (digest.earliest, digest.latest) {
        (Some(earliest), Some(latest)) => {
            args.since.is_none_or(|since| latest >= since) && args.until.is_none_or(|until| earliest <= until)
        }
        _ => false,
    };
    named || ends
}

fn in_time(args: &WalPointsArgs, time: Option<Timestamp>) -> bool {
    // A restore point of unknown time is shown whatever was asked for.
    time.is_none_or(|time| args.since.is_none_or(|since| time >= since) && args.until.is_none_or(|until| time <= until))
}

fn asked_for(args: &WalPointsArgs, event: &Event) -> bool {
    let kind = match event.what {
        What::Commit => !args.named,
        What::RestorePoint(_) => true,
        What::Abort => false,
    };
    kind && in_time(args, event.time)
}

fn record(timeline: u32, event: &Event) -> Record {
    let (subject, message) = match (&event.what, event.time) {
        (What::RestorePoint(name), Some(time)) => (name.clone(), format!("restore point, {}", written(time))),
        (What::RestorePoint(name), None) => (name.clone(), "restore point".to_owned()),
        (_, Some(time)) => (event.lsn.to_string(), format!("commit of transaction {}, {}", event.xid, written(time))),
        (_, None) => (event.lsn.to_string(), format!("commit of transaction {}", event.xid)),
    };
    let mut record = Record::new(Kind::Metric, subject, Status::Ok, message)
        .field("lsn", event.lsn)
        .field("timeline", timeline)
        .field("time", event.time);
    if let What::RestorePoint(name) = &event.what {
        record = record.field("name", name);
    } else {
        record = record.field("xid", event.xid);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::history::History;
    use crate::wal::name::WalName;

    fn args() -> WalPointsArgs {
        WalPointsArgs { since: None, until: None, named: false }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn commit(seconds: i64) -> Event {
        Event { lsn: Lsn(0x1000), end: Lsn(0x1022), time: Some(at(seconds)), xid: 700, what: What::Commit }
    }

    #[test]
    fn a_span_of_time_includes_its_ends() {
        let args = WalPointsArgs { since: Some(at(10)), until: Some(at(20)), named: false };
        let asked: Vec<bool> = [9, 10, 20, 21].map(|seconds| asked_for(&args, &commit(seconds))).into();
        assert_eq!(asked, [false, true, true, false]);
        let digest = |from, to| Digest::of(&[commit(from), commit(to)]);
        assert!(touches(&args, &digest(1, 10)) && touches(&args, &digest(12, 30)) && touches(&args, &digest(1, 30)));
        assert!(!touches(&args, &digest(1, 9)) && !touches(&args, &digest(21, 22)));
        assert!(!touches(&args, &Digest::default()));
    }

    #[test]
    fn a_rollback_is_no_point_and_a_name_is_one_always() {
        let mut event = commit(5);
        event.what = What::Abort;
        assert!(!asked_for(&args(), &event));
        event.what = What::RestorePoint("x".into());
        assert!(asked_for(&WalPointsArgs { named: true, ..args() }, &event));
        assert!(!asked_for(&WalPointsArgs { named: true, ..args() }, &commit(5)));
    }

    #[test]
    fn what_a_branch_copied_is_listed_once() {
        let size = 1 << 20;
        let history = History::parse(2, "1\t0/580000\tx").unwrap();
        let segment = |timeline| Segment::numbered(timeline, 5, size);
        let both = [1, 2].map(|timeline| WalName::Segment(segment(timeline)));
        let shelf = Shelf::new(both, std::slice::from_ref(&history), size);
        assert_eq!(own_from(&shelf, segment(2)), Lsn(0x58_0000));
        assert_eq!(own_from(&shelf, segment(1)), Lsn(0));
        let only = Shelf::new([both[1]], &[history], size);
        assert_eq!(own_from(&only, segment(2)), Lsn(0));
        assert_eq!(timeline_of(&only, segment(2), Lsn(0x57_0000)), 1);
        assert_eq!(timeline_of(&only, segment(2), Lsn(0x58_0000)), 2);
    }

    #[test]
    fn a_commit_says_how_to_ask_for_it() {
        let record = record(3, &commit(1_800_000_000));
        assert_eq!(record.fields["lsn"], "0/1000");
        assert_eq!(record.fields["timeline"], 3);
        assert_eq!(record.fields["xid"], 700);
        assert_eq!(record.fields["time"], "2027-01-15T08:00:00Z");
        assert!(!record.fields.contains_key("name"));
    }
}
