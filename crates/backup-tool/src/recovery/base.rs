//! Which backup, and which way through the timelines, lead to a point.
//!
//! The newest backup before the point is always the best one: every older one needs all that it needs, and more. What
//! takes thought is the way. After a recovery to an earlier moment there are two pasts, and a point may lie in one of
//! them, in both because it is before they parted, or in each of them another time. The last case is nothing to be
//! decided by a program.

use jiff::Timestamp;
use serde::Serialize;

use crate::backup::ClusterBackup;
use crate::lsn::Lsn;
use crate::recovery::target::{Point, TimelineChoice, Wanted};
use crate::wal::gaps::{Shelf, is_on};
use crate::wal::history::History;
use crate::wal::name::Segment;

/// A complete backup, with the id of its snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// The snapshot's id.
    pub id: String,
    /// What is known of it.
    pub backup: ClusterBackup,
}

/// Where replay on a way would stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stop {
    /// The timeline that the record is on.
    pub timeline: u32,
    /// The record at which replay stops, just before or just after it.
    pub lsn: Lsn,
    /// The end of that record: all before this position is read.
    pub end: Lsn,
    /// The time in that record, where it has one.
    pub time: Option<Timestamp>,
    /// Whether the point is one that this way really passed. A moment between the last commit before a branch and the
    /// first behind it is not: the database was elsewhere, or not running.
    pub certain: bool,
}

/// What leads to the point.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The backup to restore.
    pub base: Base,
    /// The way to replay.
    pub way: History,
    /// Where replay stops; `None` when it goes on to the end of the archive.
    pub stop: Option<Stop>,
    /// The running number behind the last segment that is needed.
    pub end: u64,
    /// What the operator should know.
    pub remarks: Vec<String>,
}

/// One of several timelines that have the point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Branch {
    /// The number to ask for.
    pub timeline: u32,
    /// Where replay would stop.
    pub stop: Stop,
    /// Where it branched off; `None` for one that never did.
    pub from: Option<(u32, Lsn)>,
    /// The backup that leads there; `None` when none does.
    pub backup: Option<String>,
}

/// Why nothing leads to a point.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unreachable {
    /// There is no complete backup at all.
    #[error("there is no complete backup of a cluster")]
    NoBackup,
    /// There is no such timeline.
    #[error("there is no timeline {0} in the archive")]
    NoTimeline(u32),
    /// No backup lies on the way.
    #[error("no backup lies on the way to timeline {0}")]
    NotOnWay(u32),
    /// The point is before the end of the first backup.
    #[error("{point} is not after the end of the first backup on its way, {label}: {time}, {lsn}")]
    TooEarly {
        /// The point.
        point: String,
        /// The first backup's label.
        label: String,
        /// When it ended.
        time: Timestamp,
        /// Where it ended.
        lsn: Lsn,
    },
    /// The archive ends before the point, or has no such point.
    #[error("{0} is not in the archived WAL")]
    NotArchived(String),
    /// Segments on the way are missing.
    #[error("WAL segment {missing} is missing between the backup {label} and {point}")]
    Gap {
        /// The point.
        point: String,
        /// The backup's label.
        label: String,
        /// The first segment that is missing.
        missing: Segment,
    },
    /// The point is on several branches.
    #[error("{point} is on {} branches", branches.len())]
    Ambiguous {
        /// The point.
        point: String,
        /// The branches, newest first.
        branches: Vec<Branch>,
    },
}

impl Choice {
    /// What `recovery_target_timeline` must be. A backup's own timeline is asked for as such, because a server wants no
    /// history file for it then.
    pub fn timeline_setting(&self) -> String {
        if self.way.timeline == self.base.backup.timeline { "current".into() } else { self.way.timeline.to_string() }
    }

    /// The segments that replay needs, under the names it wants them.
    pub fn segments(&self, shelf: &Shelf) -> Vec<Segment> {
        let start = self.base.backup.start_segment.number(shelf.segment_bytes());
        (start..self.end).map(|number| shelf.name_on(&self.way, number)).collect()
    }
}

/// Chooses backup and way. `stops` says where replay would stop on each way, by the way's last timeline; a way without
/// one does not lead to the point. For the end of the archive, and of the backup, there are none to say.
///
/// # Errors
/// Nothing leads to the point, or several things do.
pub fn choose(bases: &[Base], shelf: &Shelf, wanted: &Wanted, stops: &[(u32, Stop)]) -> Result<Choice, Unreachable> {
    if bases.is_empty() {
        return Err(Unreachable::NoBackup);
    }
    let search = Search { bases, shelf, wanted };
    let ways: Vec<&History> = match wanted.timeline {
        Some(TimelineChoice::Numbered(number)) => {
            vec![shelf.way(number).ok_or(Unreachable::NoTimeline(number))?]
        }
        _ => shelf.ways().rev().collect(),
    };
    if matches!(wanted.point, Point::Latest | Point::Immediate) {
        return search.to_an_end(&ways);
    }
    let stop_on = |way: &History| stops.iter().find(|(timeline, _)| *timeline == way.timeline).map(|(_, stop)| *stop);
    let mut reached: Vec<(&History, Stop)> = ways.iter().filter_map(|way| Some((*way, stop_on(way)?))).collect();
    if reached.iter().any(|(_, stop)| stop.certain) {
        reached.retain(|(_, stop)| stop.certain);
    }
    if wanted.timeline.is_none() {
        search.refuse_several(&reached)?;
    }
    let mut found: Option<Choice> = None;
    let mut why: Option<Unreachable> = None;
    for (way, stop) in &reached {
        match search.on_way(way, *stop) {
            Ok(choice) => {
                let better = found.as_ref().is_none_or(|known| search.is_better(&choice, known));
                found = if better { Some(choice) } else { found };
            }
            Err(error) => why = Some(worth_saying(why, error)),
        }
    }
    found.ok_or_else(|| why.unwrap_or_else(|| Unreachable::NotArchived(wanted.point.to_string())))
}

/// Of two reasons, the one that says more: a gap can be closed, an earlier backup cannot be made.
fn worth_saying(known: Option<Unreachable>, new: Unreachable) -> Unreachable {
    let rank = |why: &Unreachable| match why {
        Unreachable::Gap { .. } => 2,
        Unreachable::TooEarly { .. } => 1,
        _ => 0,
    };
    known.filter(|known| rank(known) >= rank(&new)).unwrap_or(new)
}

struct Search<'a> {
    bases: &'a [Base],
    shelf: &'a Shelf,
    wanted: &'a Wanted,
}

impl Search<'_> {
    /// Whether a backup may only be followed on its own timeline.
    fn own_only(&self) -> bool {
        self.wanted.timeline == Some(TimelineChoice::Current)
    }

    /// Whether a later find is to be taken instead: one way is as good as another, but a damaged backup is not.
    fn is_better(&self, new: &Choice, known: &Choice) -> bool {
        let whole = |choice: &Choice| choice.base.backup.damaged.is_empty();
        let newer = self.own_only() && new.base.backup.stop_time > known.base.backup.stop_time;
        if whole(new) == whole(known) { newer } else { whole(new) }
    }

    /// The backups that a way leads through, newest first.
    fn bases_on(&self, way: &History) -> Vec<&Base> {
        let usable =
            |base: &&Base| is_on(way, &base.backup) && (!self.own_only() || base.backup.timeline == way.timeline);
        let mut bases: Vec<&Base> = self.bases.iter().filter(usable).collect();
        bases.sort_by_key(|base| std::cmp::Reverse((base.backup.stop_lsn, base.backup.stop_time)));
        bases
    }

    fn before(&self, base: &Base, stop: Stop) -> bool {
        let backup = &base.backup;
        let moment = match self.wanted.point {
            Point::Time(time) => backup.stop_time < time,
            Point::Lsn(lsn) => backup.stop_lsn <= lsn,
            _ => true,
        };
        moment && backup.stop_lsn <= stop.lsn
    }

    fn on_way(&self, way: &History, stop: Stop) -> Result<Choice, Unreachable> {
        let on_way = self.bases_on(way);
        let Some(oldest) = on_way.last() else { return Err(Unreachable::NotOnWay(way.timeline)) };
        let end = number_behind(stop.end, self.shelf.segment_bytes());
        let before: Vec<&Base> = on_way.iter().copied().filter(|base| self.before(base, stop)).collect();
        if before.is_empty() {
            return Err(Unreachable::TooEarly {
                point: self.wanted.point.to_string(),
                label: oldest.backup.label.clone(),
                time: oldest.backup.stop_time,
                lsn: oldest.backup.stop_lsn,
            });
        }
        let mut choice = self.first_whole(way, &before, end, self.wanted.point.to_string())?;
        if !stop.certain {
            choice.remarks.push(format!(
                "nothing was committed on this way between its branch to timeline {} and that moment: replay stops at \
                 the branch",
                stop.timeline
            ));
        }
        choice.stop = Some(stop);
        Ok(choice)
    }

    /// The first of `bases` from which all segments below `end` are there; damaged ones are tried last.
    fn first_whole(&self, way: &History, bases: &[&Base], end: u64, point: String) -> Result<Choice, Unreachable> {
        let mut gap = None;
        let damaged = |base: &&&Base| !base.backup.damaged.is_empty();
        for base in bases.iter().filter(|base| !damaged(base)).chain(bases.iter().filter(damaged)) {
            let end = end.max(base.backup.stop_segment.number(self.shelf.segment_bytes()) + 1);
            let missing = self.shelf.first_missing(way, base.backup.start_segment.number(self.shelf.segment_bytes()));
            if missing >= end {
                let mut remarks = Vec::new();
                if damaged(&base) {
                    let pages = base.backup.damaged.len();
                    remarks.push(format!(
                        "{pages} pages were damaged on disk when this backup was taken; no other leads there"
                    ));
                }
                return Ok(Choice { base: (*base).clone(), way: way.clone(), stop: None, end, remarks });
            }
            gap.get_or_insert_with(|| (base.backup.label.clone(), self.shelf.name_on(way, missing)));
        }
        match gap {
            Some((label, missing)) => Err(Unreachable::Gap { point, label, missing }),
            None => Err(Unreachable::NotOnWay(way.timeline)),
        }
    }

    /// The end of the archive on the newest way that has a backup, or the end of the newest backup.
    fn to_an_end(&self, ways: &[&History]) -> Result<Choice, Unreachable> {
        let point = || self.wanted.point.to_string();
        let with_bases: Vec<(&History, Vec<&Base>)> =
            ways.iter().map(|way| (*way, self.bases_on(way))).filter(|(_, bases)| !bases.is_empty()).collect();
        let newest = |(_, bases): &&(&History, Vec<&Base>)| bases.first().map(|base| base.backup.stop_time);
        let one = if self.own_only() { with_bases.iter().max_by_key(newest) } else { with_bases.first() };
        let Some((way, bases)) = one else {
            return Err(ways.first().map_or(Unreachable::NoBackup, |way| Unreachable::NotOnWay(way.timeline)));
        };
        if self.wanted.point == Point::Immediate {
            return self.first_whole(way, bases, 0, point());
        }
        let oldest = bases.last().map_or(0, |base| base.backup.start_segment.number(self.shelf.segment_bytes()));
        self.first_whole(way, bases, self.shelf.end(way, oldest), point())
    }

    fn refuse_several(&self, reached: &[(&History, Stop)]) -> Result<(), Unreachable> {
        let mut branches: Vec<Branch> = Vec::new();
        for (way, stop) in reached {
            if branches.iter().any(|known| (known.stop.timeline, known.stop.lsn) == (stop.timeline, stop.lsn)) {
                continue;
            }
            let parent = way.ancestors.iter().take_while(|ancestor| ancestor.timeline < stop.timeline).last();
            branches.push(Branch {
                timeline: way.timeline,
                stop: *stop,
                from: parent.map(|ancestor| (ancestor.timeline, ancestor.left_at)),
                backup: self.on_way(way, *stop).ok().map(|choice| choice.base.backup.label),
            });
        }
        if branches.len() < 2 {
            return Ok(());
        }
        Err(Unreachable::Ambiguous { point: self.wanted.point.to_string(), branches })
    }
}

/// The running number behind the segment that holds the byte before `end`.
pub fn number_behind(end: Lsn, size: u64) -> u64 {
    end.0.div_ceil(size.max(1))
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
