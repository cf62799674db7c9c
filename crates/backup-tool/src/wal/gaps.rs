//! Which segments are there, along every way from a backup to the end of the archive, and what is lost where they are not.
//!
//! A recovery follows one way through the timelines, and on it needs every segment from the backup's first one on. What
//! is missing is therefore counted along ways, not by timeline: the segment in which a timeline branched off is needed
//! under the new timeline's name, and what an abandoned timeline lacks behind its last branch concerns only itself.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_count;
use serde::Serialize;

use crate::backup::ClusterBackup;
use crate::lsn::Lsn;
use crate::recovery::question::Question;
use crate::wal::history::History;
use crate::wal::name::{Segment, WalName};
use crate::work::Work;

/// The whole segments of an archive, and the ways through them.
#[derive(Debug, Clone)]
pub struct Shelf {
    size: u64,
    /// Running numbers of the segments of each timeline, as ranges that do not touch, in order.
    runs: BTreeMap<u32, Vec<Range<u64>>>,
    ways: BTreeMap<u32, History>,
}

/// Segments of a timeline that follow each other without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The first.
    pub first: Segment,
    /// The last.
    pub last: Segment,
    /// How many.
    pub segments: u64,
}

/// Segments that a recovery would need and that are not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first that is missing.
    pub first: Segment,
    /// The last that is missing.
    pub last: Segment,
    /// How many.
    pub segments: u64,
    /// The timelines whose way leads through it, by the number of their last one.
    pub ways: Vec<u32>,
    /// Backups that cannot become consistent, because they need what is missing themselves.
    pub backups: Vec<String>,
    /// The first position that no backup from before leads to.
    pub from: Lsn,
    /// What leads to positions behind the gap again; `None`: nothing, up to the end of the archive.
    pub until: Option<Again>,
}

/// The backup with which recovery is possible again behind a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Again {
    /// Its label.
    pub backup: String,
    /// The first position that it leads to.
    pub lsn: Lsn,
    /// The first moment that it leads to.
    pub time: Timestamp,
}

impl Shelf {
    /// The segments among `names`; `size` is that of a segment in bytes.
    pub fn new(names: impl IntoIterator<Item = WalName>, histories: &[History], size: u64) -> Self {
        let mut numbers: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for name in names {
            if let WalName::Segment(segment) = name {
                numbers.entry(segment.timeline).or_default().push(segment.number(size));
            }
        }
        let mut ways: BTreeMap<u32, History> =
            histories.iter().map(|history| (history.timeline, history.clone())).collect();
        let mut runs = BTreeMap::new();
        for (timeline, mut numbers) in numbers {
            numbers.sort_unstable();
            let mut found: Vec<Range<u64>> = Vec::new();
            for number in numbers {
                match found.last_mut() {
                    Some(run) if number < run.end => {}
                    Some(run) if number == run.end => run.end += 1,
                    _ => found.push(number..number + 1),
                }
            }
            ways.entry(timeline).or_insert_with(|| History::first(timeline));
            runs.insert(timeline, found);
        }
        Shelf { size: size.max(1), runs, ways }
    }

    /// Size of a segment in bytes.
    pub fn segment_bytes(&self) -> u64 {
        self.size
    }

    /// The ways, by the number of the timeline at their end.
    pub fn ways(&self) -> impl DoubleEndedIterator<Item = &History> {
        self.ways.values()
    }

    /// The way to a timeline.
    pub fn way(&self, timeline: u32) -> Option<&History> {
        self.ways.get(&timeline)
    }

    /// Whether a segment is there.
    pub fn has(&self, segment: Segment) -> bool {
        self.run_of(segment.timeline, segment.number(self.size)).is_some()
    }

    fn run_of(&self, timeline: u32, number: u64) -> Option<&Range<u64>> {
        let runs = self.runs.get(&timeline)?;
        let after = runs.partition_point(|run| run.start <= number);
        runs.get(after.checked_sub(1)?).filter(|run| run.contains(&number))
    }

    /// The name under which a recovery on `way` wants the segment of a running number.
    pub fn name_on(&self, way: &History, number: u64) -> Segment {
        way.segment_holding(Lsn(number.saturating_mul(self.size)), self.size)
    }

    /// Which running numbers are wanted under which timeline; the last piece has no end.
    fn pieces(&self, way: &History) -> Vec<(u32, Range<u64>)> {
        let mut pieces = Vec::new();
        let mut from = 0;
        for ancestor in &way.ancestors {
            let end = (ancestor.left_at.0 / self.size).max(from);
            pieces.push((ancestor.timeline, from..end));
            from = end;
        }
        pieces.push((way.timeline, from..u64::MAX));
        pieces
    }

    /// The running numbers that are there on a way, as ranges in order, none below `from`.
    pub fn present(&self, way: &History, from: u64) -> Vec<Range<u64>> {
        let mut present: Vec<Range<u64>> = Vec::new();
        for (timeline, piece) in self.pieces(way) {
            for run in self.runs.get(&timeline).into_iter().flatten() {
                let part = run.start.max(piece.start).max(from)..run.end.min(piece.end);
                if part.is_empty() {
                    continue;
                }
                match present.last_mut() {
                    Some(last) if last.end == part.start => last.end = part.end,
                    _ => present.push(part),
                }
            }
        }
        present
    }

    /// The first running number, from `from` on, whose segment is not there on this way.
    pub fn first_missing(&self, way: &History, from: u64) -> u64 {
        match self.present(way, from).first() {
            Some(run) if run.start == from => run.end,
            _ => from,
        }
    }

    /// The running number behind the last segment that is there on this way, from `from` on.
    pub fn end(&self, way: &History, from: u64) -> u64 {
        self.present(way, from).last().map_or(from, |run| run.end)
    }

    /// What follows `segment` for whoever reads a record that goes on in the next segment: the same timeline's next one
    /// or, where that was never archived, the copy that a timeline began with that branched off in it.
    pub fn after(&self, segment: Segment) -> Option<Segment> {
        let next = segment.next(self.size);
        if self.has(next) {
            return Some(next);
        }
        let branched = self.ways.values().filter(|way| way.left_at(segment.timeline).is_some());
        branched.map(|way| self.name_on(way, next.number(self.size))).find(|name| self.has(*name))
    }

    /// Runs of segments that follow each other, a timeline at a time.
    pub fn runs(&self) -> Vec<Run> {
        let run = |timeline: u32, run: &Range<u64>| Run {
            first: Segment::numbered(timeline, run.start, self.size),
            last: Segment::numbered(timeline, run.end.saturating_sub(1), self.size),
            segments: run.end - run.start,
        };
        self.runs.iter().flat_map(|(timeline, runs)| runs.iter().map(move |part| run(*timeline, part))).collect()
    }

    /// What is missing on the ways from the first backup to the end of the archive, in order.
    pub fn gaps(&self, backups: &[&ClusterBackup]) -> Vec<Gap> {
        let mut found: Vec<Gap> = Vec::new();
        for way in self.ways.values() {
            let mut on_way: Vec<&ClusterBackup> = backups.iter().copied().filter(|backup| is_on(way, backup)).collect();
            on_way.sort_by_key(|backup| backup.start_lsn);
            let Some(first) = on_way.first() else { continue };
            let mut expected = first.start_segment.number(self.size);
            for run in self.present(way, expected) {
                if run.start > expected {
                    self.note(&mut found, way, expected..run.start, &on_way);
                }
                expected = run.end;
            }
            // The end of the archive may also lie before a backup's end: its own segments never arrived.
            let needed = on_way.iter().map(|backup| backup.stop_segment.number(self.size) + 1).max().unwrap_or(0);
            if needed > expected {
                self.note(&mut found, way, expected..needed, &on_way);
            }
        }
        found.sort_by_key(|gap| (gap.first.number(self.size), gap.first.timeline));
        found
    }

    fn note(&self, found: &mut Vec<Gap>, way: &History, missing: Range<u64>, on_way: &[&ClusterBackup]) {
        let first = self.name_on(way, missing.start);
        let last = self.name_on(way, missing.end.saturating_sub(1));
        let own = |backup: &&&ClusterBackup| {
            backup.start_segment.number(self.size) < missing.end
                && backup.stop_segment.number(self.size) >= missing.start
        };
        let again = on_way.iter().find(|backup| backup.start_segment.number(self.size) >= missing.end);
        let gap = Gap {
            first,
            last,
            segments: missing.end - missing.start,
            ways: vec![way.timeline],
            backups: on_way.iter().filter(own).map(|backup| backup.label.clone()).collect(),
            from: Lsn(missing.start.saturating_mul(self.size)),
            until: again.map(|backup| Again {
                backup: backup.label.clone(),
                lsn: backup.stop_lsn,
                time: backup.stop_time,
            }),
        };
        let same = |known: &&mut Gap| {
            (known.first, known.last, &known.backups, &known.until) == (gap.first, gap.last, &gap.backups, &gap.until)
        };
        match found.iter_mut().find(same) {
            Some(known) => known.ways.push(way.timeline),
            None => found.push(gap),
        }
    }
}

/// Whether a way leads through a backup: it was taken on one of its timelines, and complete before the way left that.
pub fn is_on(way: &History, backup: &ClusterBackup) -> bool {
    way.contains(backup.timeline) && way.left_at(backup.timeline).is_none_or(|left_at| backup.stop_lsn <= left_at)
}

/// `wal gaps`.
///
/// # Errors
/// The repository cannot be read.
pub fn run(work: &mut Work<'_>) -> Result<(), Failure> {
    let store = work.store()?;
    let question = Question::of(&store)?;
    work.subject.clone_from(&question.place);
    let backups: Vec<&ClusterBackup> = question.bases.iter().map(|base| &base.backup).collect();
    if backups.is_empty() {
        let message = "no complete backup: archived WAL leads to nothing without one";
        work.run.emit(&Record::new(Kind::Check, &question.place, Status::Warning, message));
        return Ok(());
    }
    let gaps = question.shelf.gaps(&backups);
    for gap in &gaps {
        work.run.emit(&record(gap));
    }
    if gaps.is_empty() {
        let count: u64 = question.shelf.runs().iter().map(|run| run.segments).sum();
        let message = format!("{} segments, none missing on any way from a backup", format_count(count));
        let record = Record::new(Kind::Check, &question.place, Status::Ok, message);
        work.run.emit(&record.field("segments", count).field("gaps", 0));
    }
    Ok(())
}

/// A gap as a record.
pub fn record(gap: &Gap) -> Record {
    let what = if gap.segments == 1 { "is missing".into() } else { format!("to {} are missing", gap.last) };
    let until = match &gap.until {
        Some(again) => format!("until {} at {} (backup {})", again.lsn, again.time, again.backup),
        None => "up to the end of the archive".into(),
    };
    let mut message = format!("{what}: nothing from position {} can be recovered {until}", gap.from);
    if !gap.backups.is_empty() {
        message.push_str(&format!("; lost with it: backup {}", gap.backups.join(", ")));
    }
    Record::new(Kind::Check, gap.first.to_string(), Status::Critical, message)
        .field("first", gap.first)
        .field("last", gap.last)
        .field("segments", gap.segments)
        .field("timelines", &gap.ways)
        .field("from", gap.from)
        .field("until", &gap.until)
        .field("backups", &gap.backups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::base::samples::{MB, backup};

    fn shelf(names: &[(u32, Range<u64>)], histories: &[(u32, &str)]) -> Shelf {
        let histories: Vec<History> =
            histories.iter().map(|(timeline, text)| History::parse(*timeline, text).unwrap()).collect();
        let one = |timeline: u32| move |number| WalName::Segment(Segment::numbered(timeline, number, MB));
        let names = names.iter().flat_map(|(timeline, run)| run.clone().map(one(*timeline)));
        Shelf::new(names.rev(), &histories, MB)
    }

    #[test]
    fn runs_are_what_follows_each_other() {
        let runs = shelf(&[(1, 3..6), (1, 7..8), (2, 5..7)], &[(2, "1\t0/580000\tx")]).runs();
        let texts: Vec<String> =
            runs.iter().map(|run| format!("{} {} {}", run.first, run.last, run.segments)).collect();
        assert_eq!(
            texts,
            [
                "000000010000000000000003 000000010000000000000005 3",
                "000000010000000000000007 000000010000000000000007 1",
                "000000020000000000000005 000000020000000000000006 2",
            ]
        );
    }

    #[test]
    fn a_whole_archive_has_no_gaps() {
        let backup = backup("a", 1, 3 * MB + 40, 3 * MB + 400, 10);
        assert_eq!(shelf(&[(1, 3..9)], &[]).gaps(&[&backup]), []);
        // What was archived before the first backup is no matter, nor that nothing follows yet.
        assert_eq!(shelf(&[(1, 0..1), (1, 3..4)], &[]).gaps(&[&backup]), []);
    }

    #[test]
    fn a_gap_says_what_it_costs() {
        let one = backup("one", 1, 3 * MB + 40, 3 * MB + 400, 10);
        let two = backup("two", 1, 5 * MB + 40, 6 * MB + 400, 20);
        let three = backup("three", 1, 8 * MB + 40, 8 * MB + 400, 30);
        let gaps = shelf(&[(1, 3..6), (1, 7..12)], &[]).gaps(&[&one, &two, &three]);
        assert_eq!(gaps.len(), 1);
        assert_eq!(gaps[0].first.to_string(), "000000010000000000000006");
        assert_eq!((gaps[0].first, gaps[0].segments), (gaps[0].last, 1));
        assert_eq!(gaps[0].backups, ["two"]);
        assert_eq!(gaps[0].from, Lsn(6 * MB));
        assert_eq!(gaps[0].until.as_ref().unwrap().backup, "three");
        let gaps = shelf(&[(1, 3..6), (1, 7..12)], &[]).gaps(&[&one]);
        assert_eq!((gaps[0].backups.len(), &gaps[0].until), (0, &None));
    }

    #[test]
    fn a_backup_whose_own_segments_never_arrived_is_a_gap() {
        let one = backup("one", 1, 3 * MB + 40, 5 * MB + 400, 10);
        let gaps = shelf(&[(1, 3..4)], &[]).gaps(&[&one]);
        assert_eq!((gaps[0].segments, &gaps[0].backups[..]), (2, &["one".to_owned()][..]));
    }

    #[test]
    fn a_segment_of_a_branch_is_wanted_under_the_new_name() {
        let one = backup("one", 1, 3 * MB + 40, 3 * MB + 400, 10);
        let history = [(2, "1\t0/580000\tx")];
        assert_eq!(shelf(&[(1, 3..5), (2, 5..7)], &history).gaps(&[&one]), []);
        let gaps = shelf(&[(1, 3..6), (2, 6..7)], &history).gaps(&[&one]);
        assert_eq!(gaps.len(), 1);
        assert_eq!(gaps[0].first.to_string(), "000000020000000000000005");
        assert_eq!(gaps[0].ways, [2]);
    }

    #[test]
    fn a_gap_before_the_branch_is_reported_once_for_both_ways() {
        let one = backup("one", 1, 3 * MB + 40, 3 * MB + 400, 10);
        let gaps = shelf(&[(1, 3..4), (1, 5..8), (2, 6..7)], &[(2, "1\t0/680000\tx")]).gaps(&[&one]);
        assert_eq!(gaps.len(), 1);
        assert_eq!(gaps[0].ways, [1, 2]);
    }

    #[test]
    fn a_record_that_runs_over_the_end_of_a_timeline_goes_on_in_its_successors_copy() {
        let shelf = shelf(&[(1, 3..5), (2, 5..7)], &[(2, "1\t0/580000\tx")]);
        let last: Segment = "000000010000000000000004".parse().unwrap();
        assert_eq!(shelf.after(last).unwrap().to_string(), "000000020000000000000005");
        assert_eq!(shelf.after("000000020000000000000006".parse().unwrap()), None);
    }

    #[test]
    fn two_branches_within_one_segment_leave_no_piece_for_the_middle_one() {
        let shelf = shelf(&[(1, 3..5), (3, 5..7)], &[(3, "1\t0/510000\tx\n2\t0/520000\ty")]);
        let way = shelf.way(3).unwrap();
        assert_eq!(shelf.present(way, 3).into_iter().flatten().collect::<Vec<u64>>(), [3, 4, 5, 6]);
        assert_eq!(shelf.first_missing(way, 3), 7);
        assert_eq!(shelf.first_missing(way, 1), 1);
    }
}
