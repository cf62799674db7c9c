//! Made-up pasts with branches, backups and an archive that may have lost files, and a server that recovers in them record
//! by record.

use jiff::Timestamp;

use super::Base;
use super::samples::{MB, backup};
use crate::backup::DamagedPage;
use crate::lsn::Lsn;
use crate::recovery::locate::Log;
use crate::recovery::target::{Point, Wanted};
use crate::wal::digest::Digest;
use crate::wal::dump::DumpError;
use crate::wal::event::{Event, What};
use crate::wal::gaps::Shelf;
use crate::wal::history::{Ancestor, History};
use crate::wal::name::{Segment, WalName};

/// Numbers that look random and are the same every time (xorshift).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    pub(super) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) lsn: u64,
    end: u64,
    /// Transaction ends and restore points; most others are nothing to stop at.
    pub(super) event: Option<Event>,
}

#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) history: History,
    /// Where it began.
    begins: u64,
    pub(super) records: Vec<Record>,
    end: u64,
    xid: u32,
}

/// A past: timelines, backups, and the archive of it.
pub(super) struct World {
    pub(super) timelines: Vec<Timeline>,
    pub(super) bases: Vec<Base>,
    pub(super) shelf: Shelf,
}

pub(super) fn at(micros: u64) -> Timestamp {
    Timestamp::from_microsecond(1_800_000_000_000_000 + micros as i64).unwrap()
}

struct Maker {
    dice: Dice,
    clock: u64,
    timelines: Vec<Timeline>,
    bases: Vec<Base>,
}

impl Maker {
    fn write(&mut self, index: usize, count: u64) {
        for _ in 0..count {
            let timeline = &mut self.timelines[index];
            if self.dice.below(12) == 0 {
                timeline.end = (timeline.end / MB + 1) * MB;
            }
            let lsn = if timeline.end.is_multiple_of(MB) { timeline.end + 40 } else { timeline.end };
            let end = lsn + 30 + self.dice.below(400_000);
            self.clock += 1 + self.dice.below(1000);
            let what = match self.dice.below(10) {
                0 => Some(What::RestorePoint(format!("p{}", self.dice.below(6)))),
                1 => Some(What::Abort),
                2 | 3 => None,
                _ => Some(What::Commit),
            };
            let is_end = matches!(what, Some(What::Commit | What::Abort));
            timeline.xid += u32::from(is_end);
            let xid = if is_end { timeline.xid } else { 0 };
            let event = what.map(|what| Event { lsn: Lsn(lsn), end: Lsn(end), time: Some(at(self.clock)), xid, what });
            timeline.records.push(Record { lsn, end, event });
            timeline.end = end;
        }
    }

    fn back_up(&mut self, index: usize) {
        let start = self.timelines[index].end;
        let count = 1 + self.dice.below(4);
        self.write(index, count);
        self.clock += 1 + self.dice.below(500);
        let timeline = &self.timelines[index];
        let label = format!("b{}", self.bases.len());
        let mut made = backup(&label, timeline.history.timeline, start, timeline.end, 0);
        made.stop_time = at(self.clock);
        if self.dice.below(6) == 0 {
            made.damaged.push(DamagedPage { file: "base/1/1".into(), block: 0, why: "made up".into() });
        }
        self.bases.push(Base { id: label, backup: made });
        self.clock += 1;
    }

    /// A recovery to somewhere on a timeline, or a promotion at its end.
    fn branch(&mut self, index: usize) {
        let number = self.timelines.len() as u32 + 1;
        let parent = &self.timelines[index];
        let own = parent.records.len() as u64;
        let keep = if own == 0 || self.dice.below(3) == 0 { own } else { self.dice.below(own) } as usize;
        let left_at = keep.checked_sub(1).map_or(parent.begins, |last| parent.records[last].end);
        let ends = parent.records[..keep].iter().filter_map(|record| record.event.as_ref());
        let xid = ends.map(|event| event.xid).max().unwrap_or(0).max(parent.xid - parent.records.len() as u32);
        let mut ancestors = parent.history.ancestors.clone();
        ancestors.push(Ancestor { timeline: parent.history.timeline, left_at: Lsn(left_at) });
        let history = History { timeline: number, ancestors };
        self.timelines.push(Timeline { history, begins: left_at, records: Vec::new(), end: left_at, xid });
        self.clock += self.dice.below(20_000);
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let history = History::first(1);
        let first = Timeline { history, begins: 0, records: Vec::new(), end: MB + 40, xid: 1000 };
        let dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut maker = Maker { dice, clock: 0, timelines: vec![first], bases: Vec::new() };
        let (split, lossy) = (maker.dice.below(3) == 0, maker.dice.below(2) == 0);
        let mut current = 0;
        for _ in 0..24 {
            let index = if split { maker.dice.below(maker.timelines.len() as u64) as usize } else { current };
            match maker.dice.below(6) {
                0 if maker.timelines.len() < 5 => {
                    maker.branch(index);
                    current = maker.timelines.len() - 1;
                }
                0 | 1 => maker.back_up(index),
                _ => {
                    let count = maker.dice.below(8);
                    maker.write(index, count);
                }
            }
        }
        let Maker { mut dice, timelines, mut bases, .. } = maker;
        // Some have expired.
        bases.retain(|_| dice.below(5) > 0);
        let mut names = Vec::new();
        for timeline in &timelines {
            for number in timeline.begins / MB..timeline.end / MB {
                if !lossy || dice.below(8) > 0 {
                    names.push(WalName::Segment(Segment::numbered(timeline.history.timeline, number, MB)));
                }
            }
        }
        let histories: Vec<History> = timelines.iter().map(|timeline| timeline.history.clone()).collect();
        World { shelf: Shelf::new(names, &histories, MB), timelines, bases }
    }

    fn timeline(&self, number: u32) -> &Timeline {
        &self.timelines[number as usize - 1]
    }

    /// Every record on a way, in order, with its timeline.
    fn records(&self, way: &History) -> Vec<(u32, &Record)> {
        let bounded = way.ancestors.iter().map(|ancestor| (ancestor.timeline, ancestor.left_at.0));
        let mut records = Vec::new();
        for (number, end) in bounded.chain([(way.timeline, u64::MAX)]) {
            let own = self.timeline(number).records.iter().filter(|record| record.end <= end);
            records.extend(own.map(|record| (number, record)));
        }
        records
    }

    /// The file that a server on a way reads a segment from.
    pub(super) fn file(&self, way: &History, number: u64) -> Segment {
        let on_way = way.ancestors.iter().map(|ancestor| ancestor.timeline).chain([way.timeline]);
        let newest = on_way.filter(|timeline| self.timeline(*timeline).begins / MB <= number).max().unwrap_or(1);
        Segment::numbered(newest, number, MB)
    }

    pub(super) fn is_on(way: &History, base: &Base) -> bool {
        let (timeline, stop) = (base.backup.timeline, base.backup.stop_lsn);
        timeline == way.timeline || way.ancestors.iter().any(|one| one.timeline == timeline && stop <= one.left_at)
    }

    /// Whether the server stops at this record.
    fn stops_at(wanted: &Wanted, record: &Record) -> bool {
        let end = record.event.as_ref().filter(|event| !matches!(event.what, What::RestorePoint(_)));
        match &wanted.point {
            Point::Time(time) => end
                .and_then(|event| event.time)
                .is_some_and(|found| if wanted.exclusive { found >= *time } else { found > *time }),
            Point::Lsn(lsn) => record.lsn >= lsn.0,
            Point::Xid(xid) => end.is_some_and(|event| u64::from(event.xid) == *xid),
            Point::Name(name) => {
                record.event.as_ref().is_some_and(|event| event.what == What::RestorePoint(name.clone()))
            }
            Point::Latest | Point::Immediate => false,
        }
    }

    /// Restores a backup and replays a way: the timeline and position of the record at which the server stops in a good
    /// state.
    pub(super) fn recover(&self, base: &Base, way: &History, wanted: &Wanted) -> Option<(u32, u64)> {
        let backup = &base.backup;
        let late = match wanted.point {
            Point::Time(time) => backup.stop_time >= time,
            Point::Lsn(lsn) => backup.stop_lsn > lsn,
            _ => false,
        };
        if !World::is_on(way, base) || late {
            return None;
        }
        let mut next = backup.start_lsn.0 / MB;
        for (timeline, record) in self.records(way).into_iter().filter(|(_, record)| record.lsn >= backup.start_lsn.0) {
            while next <= (record.end - 1) / MB {
                if !self.shelf.has(self.file(way, next)) {
                    return None;
                }
                next += 1;
            }
            if World::stops_at(wanted, record) {
                return (record.lsn >= backup.stop_lsn.0).then_some((timeline, record.lsn));
            }
        }
        None
    }

    /// Where a way has the point, as far as the archive shows, and whether the timeline was in use then.
    pub(super) fn place(&self, way: &History, wanted: &Wanted) -> Option<(u32, u64, bool)> {
        let start =
            self.bases.iter().filter(|base| World::is_on(way, base)).map(|base| base.backup.start_lsn.0).min()?;
        let log = self.records(way);
        let seen = |record: &&(u32, &Record)| {
            let file = self.file(way, record.1.lsn / MB);
            let next = (record.1.end - 1) / MB;
            let whole = next == record.1.lsn / MB || self.shelf.after(file).is_some();
            record.1.lsn >= start / MB * MB && self.shelf.has(file) && whole
        };
        let (timeline, record) = log.iter().filter(seen).find(|(_, record)| World::stops_at(wanted, record))?;
        let used = match wanted.point {
            Point::Time(time) => {
                let own = |(number, other): &(u32, &Record)| {
                    let ends = other.event.as_ref().is_some_and(|event| event.xid != 0);
                    number == timeline && ends && other.lsn < record.lsn
                };
                *timeline == 1
                    || log.iter().filter(seen).any(own)
                    || self.bases.iter().any(|base| base.backup.timeline == *timeline && base.backup.stop_time < time)
            }
            _ => true,
        };
        Some((*timeline, record.lsn, used))
    }
}

/// The archive as its reader would show it.
pub(super) struct Shown<'a>(pub(super) &'a World);

impl Log for Shown<'_> {
    fn digest(&mut self, segment: Segment) -> Result<Digest, DumpError> {
        Ok(Digest::of(&self.events(segment)?))
    }

    fn events(&mut self, segment: Segment) -> Result<Vec<Event>, DumpError> {
        Ok(self.records(segment).iter().filter_map(|record| record.event.clone()).collect())
    }

    fn first_record(&mut self, segment: Segment, from: Lsn) -> Result<Option<(Lsn, Lsn)>, DumpError> {
        let found = self.records(segment).into_iter().find(|record| record.lsn >= from.0);
        Ok(found.map(|record| (Lsn(record.lsn), Lsn(record.end))))
    }
}

impl Shown<'_> {
    fn records(&self, segment: Segment) -> Vec<&Record> {
        let World { shelf, .. } = self.0;
        assert!(shelf.has(segment), "{segment} was read and is not there");
        let number = segment.number(MB);
        let goes_on = shelf.after(segment).is_some();
        let records = self.0.records(&self.0.timeline(segment.timeline).history).into_iter().map(|(_, record)| record);
        records.filter(|record| record.lsn / MB == number && (goes_on || record.end <= (number + 1) * MB)).collect()
    }
}
