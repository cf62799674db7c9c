//! `wal list`: what is archived, a timeline at a time.

use std::collections::HashMap;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_count};

use crate::cli::WalListArgs;
use crate::recovery::question::Question;
use crate::wal::gaps::Run;
use crate::wal::name::{Segment, WalName};
use crate::work::Work;

/// One record for every run of segments that follow each other, or for every segment.
///
/// # Errors
/// The repository cannot be read.
pub fn run(args: &WalListArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let store = work.store()?;
    let question = Question::of(&store)?;
    work.subject.clone_from(&question.place);
    let stored: HashMap<WalName, u64> =
        question.names.iter().map(|archived| (archived.name, archived.stored_bytes)).collect();
    let bytes = |segment: Segment| stored.get(&WalName::Segment(segment)).copied().unwrap_or(0);
    let size = question.shelf.segment_bytes();
    for run in question.shelf.runs() {
        let mut segments = (0..run.segments).scan(run.first, |next, _| {
            let this = *next;
            *next = this.next(size);
            Some(this)
        });
        if !args.each {
            work.run.emit(&record(&run, size, segments.map(bytes).sum()));
            continue;
        }
        for segment in &mut segments {
            if work.run.reader_is_gone() {
                return Ok(());
            }
            work.run.emit(&record(&Run { first: segment, last: segment, segments: 1 }, size, bytes(segment)));
        }
    }
    Ok(())
}

fn record(run: &Run, size: u64, stored_bytes: u64) -> Record {
    let timeline = run.first.timeline;
    let stored = format_bytes(stored_bytes);
    let message = if run.segments == 1 {
        format!("timeline {timeline}, {stored}")
    } else {
        format!("timeline {timeline}, {} segments without a gap, {stored}", format_count(run.segments))
    };
    Record::new(Kind::Metric, run.first.to_string(), Status::Ok, message)
        .field("timeline", timeline)
        .field("first", run.first)
        .field("last", run.last)
        .field("segments", run.segments)
        .field("from", run.first.start(size))
        .field("until", run.last.next(size).start(size))
        .field("stored_bytes", stored_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_tells_where_it_begins_and_ends_in_the_log() {
        let run = Run {
            first: "0000000200000000000000FE".parse().unwrap(),
            last: "000000020000000100000001".parse().unwrap(),
            segments: 4,
        };
        let record = record(&run, 16 << 20, 1000);
        assert_eq!(record.fields["from"], "0/FE000000");
        assert_eq!(record.fields["until"], "1/2000000");
        assert_eq!(record.fields["timeline"], 2);
        assert!(record.message.contains("4 segments without a gap"), "{}", record.message);
    }
}
