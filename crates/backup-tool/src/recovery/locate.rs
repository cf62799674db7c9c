//! Where replay would stop on each way through the timelines.
//!
//! The rules are the server's (`recoveryStopsBefore` and `recoveryStopsAfter` in
//! `src/backend/access/transam/xlogrecovery.c`): for a moment it stops at the first end of a transaction, commit or
//! rollback, whose time is later (or not earlier, when the moment itself is excluded); for a position at the first record
//! that begins there or behind; for a transaction and for a name at the first that matches.
//!
//! Times of commits rise along a way except for jitter between neighbours, so a moment is found by halving; only names and
//! transactions need all segments looked at, which is remembered.

use std::ops::Range;

use jiff::Timestamp;

use crate::lsn::Lsn;
use crate::recovery::base::{Base, Stop};
use crate::recovery::target::{Point, Wanted};
use crate::wal::digest::Digest;
use crate::wal::dump::{DumpError, Dumper};
use crate::wal::event::{Event, What};
use crate::wal::gaps::{Shelf, is_on};
use crate::wal::history::History;
use crate::wal::name::Segment;

/// What segments contain: read from an archive, or made up in a test.
pub trait Log {
    /// In short.
    fn digest(&mut self, segment: Segment) -> Result<Digest, DumpError>;
    /// Every end of a transaction and every restore point.
    fn events(&mut self, segment: Segment) -> Result<Vec<Event>, DumpError>;
    /// The first record of a segment that begins at `from` or behind it.
    fn first_record(&mut self, segment: Segment, from: Lsn) -> Result<Option<(Lsn, Lsn)>, DumpError>;
}

impl Log for Dumper<'_> {
    fn digest(&mut self, segment: Segment) -> Result<Digest, DumpError> {
        Dumper::digest(self, segment)
    }

    fn events(&mut self, segment: Segment) -> Result<Vec<Event>, DumpError> {
        let mut events = Vec::new();
        self.each(segment, &mut |event| events.push(event))?;
        Ok(events)
    }

    fn first_record(&mut self, segment: Segment, from: Lsn) -> Result<Option<(Lsn, Lsn)>, DumpError> {
        Dumper::first_record(self, segment, from)
    }
}

/// Finds where replay stops on every way that has a backup, by the way's last timeline. A way that does not lead to the
/// point is left out. There is nothing to find for the end of the archive, and of the backup.
///
/// # Errors
/// WAL cannot be read.
pub fn stops(shelf: &Shelf, bases: &[Base], wanted: &Wanted, log: &mut dyn Log) -> Result<Vec<(u32, Stop)>, DumpError> {
    let mut found = Vec::new();
    for way in shelf.ways() {
        let on_way = bases.iter().filter(|base| is_on(way, &base.backup));
        let Some(from) = on_way.map(|base| base.backup.start_segment.number(shelf.segment_bytes())).min() else {
            continue;
        };
        let mut search = Search { shelf, way, present: shelf.present(way, from), log };
        let stop = match &wanted.point {
            Point::Latest | Point::Immediate => None,
            Point::Time(time) => search.moment(*time, wanted.exclusive, bases)?,
            Point::Lsn(lsn) => search.position(*lsn)?,
            Point::Xid(xid) => search.transaction(*xid as u32)?,
            Point::Name(name) => search.name(name)?,
        };
        found.extend(stop.map(|stop| (way.timeline, stop)));
    }
    Ok(found)
}

/// The last end of a transaction on a way, in the segments of `present`.
///
/// # Errors
/// WAL cannot be read.
pub fn last_moment(
    shelf: &Shelf,
    way: &History,
    present: Range<u64>,
    log: &mut dyn Log,
) -> Result<Option<Timestamp>, DumpError> {
    for number in present.rev() {
        if let Some(latest) = log.digest(shelf.name_on(way, number))?.latest {
            return Ok(Some(latest));
        }
    }
    Ok(None)
}

struct Search<'a> {
    shelf: &'a Shelf,
    way: &'a History,
    present: Vec<Range<u64>>,
    log: &'a mut dyn Log,
}

impl Search<'_> {
    fn digest(&mut self, number: u64) -> Result<Digest, DumpError> {
        self.log.digest(self.shelf.name_on(self.way, number))
    }

    fn events(&mut self, number: u64) -> Result<Vec<Event>, DumpError> {
        self.log.events(self.shelf.name_on(self.way, number))
    }

    fn numbers(&self) -> Vec<u64> {
        self.present.iter().flat_map(Clone::clone).collect()
    }

    fn stop(&self, event: &Event) -> Stop {
        let Event { lsn, end, time, .. } = *event;
        Stop { timeline: self.way.timeline_at(lsn), lsn, end, time, certain: true }
    }

    /// The first number, of those present, whose segment has an end of a transaction that `is_past`; segments without any
    /// are passed over.
    fn first_past(&mut self, is_past: &dyn Fn(Timestamp) -> bool) -> Result<Option<u64>, DumpError> {
        let numbers = self.numbers();
        let (mut low, mut high) = (0, numbers.len());
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let mut at = middle;
            let mut latest = None;
            for number in numbers.get(middle..high).unwrap_or_default() {
                latest = self.digest(*number)?.latest;
                if latest.is_some() {
                    break;
                }
                at += 1;
            }
            match latest {
                Some(latest) if is_past(latest) => {
                    found = numbers.get(at).copied();
                    high = middle;
                }
                Some(_) => low = at + 1,
                None => high = middle,
            }
        }
        Ok(found)
    }

    fn moment(&mut self, time: Timestamp, exclusive: bool, bases: &[Base]) -> Result<Option<Stop>, DumpError> {
        let is_past = |found: Timestamp| if exclusive { found >= time } else { found > time };
        let Some(number) = self.first_past(&is_past)? else { return Ok(None) };
        let events = self.events(number)?;
        let ends = |event: &&Event| !matches!(event.what, What::RestorePoint(_)) && event.time.is_some_and(is_past);
        let Some(mut stop) = events.iter().find(ends).map(|event| self.stop(event)) else { return Ok(None) };
        stop.certain = self.passed(stop, time, bases)?;
        Ok(Some(stop))
    }

    /// Whether the timeline of `stop` was being written at that moment already.
    fn passed(&mut self, stop: Stop, time: Timestamp, bases: &[Base]) -> Result<bool, DumpError> {
        let before = self.way.ancestors.iter().take_while(|ancestor| ancestor.timeline != stop.timeline).last();
        let Some(begins) = before.map(|ancestor| ancestor.left_at) else { return Ok(true) };
        let own = |base: &Base| base.backup.timeline == stop.timeline && base.backup.stop_time < time;
        if bases.iter().any(own) {
            return Ok(true);
        }
        let size = self.shelf.segment_bytes();
        let first = begins.0 / size;
        for number in self.numbers().into_iter().filter(|number| *number >= first && *number <= stop.lsn.0 / size) {
            let is_own = |event: &&Event| event.lsn >= begins && !matches!(event.what, What::RestorePoint(_));
            if self.digest(number)?.latest.is_some()
                && let Some(earliest) = self.events(number)?.iter().find(is_own)
            {
                return Ok(earliest.lsn < stop.lsn);
            }
        }
        Ok(false)
    }

    fn position(&mut self, lsn: Lsn) -> Result<Option<Stop>, DumpError> {
        let size = self.shelf.segment_bytes();
        // A gap in front of the position is for the choice of a backup to find; the record itself must be there.
        for number in self.numbers().into_iter().filter(|number| *number >= lsn.0 / size) {
            if let Some((found, end)) = self.log.first_record(self.shelf.name_on(self.way, number), lsn)? {
                let timeline = self.way.timeline_at(found);
                return Ok(Some(Stop { timeline, lsn: found, end, time: None, certain: true }));
            }
        }
        Ok(None)
    }

    fn transaction(&mut self, xid: u32) -> Result<Option<Stop>, DumpError> {
        for number in self.numbers() {
            let digest = self.digest(number)?;
            if digest.xids.is_none_or(|(low, high)| xid < low || xid > high) {
                continue;
            }
            let is_it = |event: &&Event| event.xid == xid && !matches!(event.what, What::RestorePoint(_));
            if let Some(event) = self.events(number)?.iter().find(is_it) {
                return Ok(Some(self.stop(event)));
            }
        }
        Ok(None)
    }

    fn name(&mut self, name: &str) -> Result<Option<Stop>, DumpError> {
        for number in self.numbers() {
            let digest = self.digest(number)?;
            if let Some(named) = digest.named.iter().find(|named| named.name == name) {
                let timeline = self.way.timeline_at(named.lsn);
                let stop = Stop { timeline, lsn: named.lsn, end: named.end, time: named.time, certain: true };
                return Ok(Some(stop));
            }
        }
        Ok(None)
    }
}
