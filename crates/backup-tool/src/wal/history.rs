//! Timelines: where each branched off, as the server's history files tell it.
//!
//! `NNNNNNNN.history` lists the timelines before timeline N, oldest first, a line each: number, the position at which it
//! was left, a reason, separated by white space; `#` begins a comment (`src/backend/access/transam/timeline.c`).

use crate::lsn::Lsn;
use crate::wal::name::Segment;

/// A timeline that was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ancestor {
    /// Its number.
    pub timeline: u32,
    /// Where it was left: the first position that is not of it any more.
    pub left_at: Lsn,
}

/// The way to a timeline from the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The timeline at its end.
    pub timeline: u32,
    /// Those before it, oldest first.
    pub ancestors: Vec<Ancestor>,
}

/// A history file that does not hold.
#[derive(Debug, Clone, thiserror::Error)]
#[error("history of timeline {timeline}, line {line}: {why}")]
pub struct HistoryError {
    /// The timeline whose file it is.
    pub timeline: u32,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl History {
    /// The history of a timeline that never branched.
    pub fn first(timeline: u32) -> Self {
        History { timeline, ancestors: Vec::new() }
    }

    /// Reads the content of the history file of `timeline`.
    ///
    /// # Errors
    /// A line that is no entry, or entries that do not rise.
    pub fn parse(timeline: u32, text: &str) -> Result<Self, HistoryError> {
        let mut history = History::first(timeline);
        for (number, line) in text.lines().enumerate() {
            let line_error = |why: String| HistoryError { timeline, line: number + 1, why };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let id = words.next().and_then(|word| word.parse::<u32>().ok()).filter(|id| *id > 0);
            let left_at = words.next().and_then(|word| word.parse::<Lsn>().ok());
            let (Some(id), Some(left_at)) = (id, left_at) else {
                return Err(line_error(format!("expected a timeline and a position, found `{line}`")));
            };
            let last = history.ancestors.last();
            if id >= timeline || last.is_some_and(|last| id <= last.timeline || left_at < last.left_at) {
                return Err(line_error(format!("timeline {id} left at {left_at} cannot come here")));
            }
            history.ancestors.push(Ancestor { timeline: id, left_at });
        }
        Ok(history)
    }

    /// Whether the timeline is on this way.
    pub fn contains(&self, timeline: u32) -> bool {
        self.timeline == timeline || self.ancestors.iter().any(|ancestor| ancestor.timeline == timeline)
    }

    /// Where this way leaves the timeline; `None` for its last one, and for one that it does not pass.
    pub fn left_at(&self, timeline: u32) -> Option<Lsn> {
        self.ancestors.iter().find(|ancestor| ancestor.timeline == timeline).map(|ancestor| ancestor.left_at)
    }

    /// The timeline of this way that the byte at `lsn` belongs to.
    pub fn timeline_at(&self, lsn: Lsn) -> u32 {
        self.ancestors.iter().find(|ancestor| lsn < ancestor.left_at).map_or(self.timeline, |found| found.timeline)
    }

    /// The segment file in which a server on this way finds the segment that holds `lsn`: the newest timeline that has
    /// any part of that segment, because a new timeline begins with a copy of the segment it branched off in.
    pub fn segment_holding(&self, lsn: Lsn, size: u64) -> Segment {
        let end = Lsn((lsn.0 / size.max(1)).saturating_add(1).saturating_mul(size).saturating_sub(1));
        Segment::holding(self.timeline_at(end), lsn, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 16 << 20;

    #[test]
    fn a_file_of_the_server_is_read() {
        let text = "1\t0/3000150\tno recovery target specified\n\n# note\n2\t0/5000000\tbefore 2026-01-01\n";
        let history = History::parse(3, text).unwrap();
        assert_eq!(history.ancestors.len(), 2);
        assert_eq!(history.left_at(1), Some(Lsn(0x0300_0150)));
        assert_eq!(history.timeline_at(Lsn(0x0300_0150)), 2);
        assert_eq!(history.timeline_at(Lsn(0x0300_014F)), 1);
        assert_eq!(history.timeline_at(Lsn(0x0500_0000)), 3);
    }

    #[test]
    fn what_is_no_history_is_refused_with_its_line() {
        for text in ["1", "x\t0/1", "1\t0/1\n1\t0/2", "1\t0/5\n2\t0/4", "3\t0/1"] {
            assert!(History::parse(3, text).is_err(), "{text:?}");
        }
        assert_eq!(History::parse(3, "1\t0/1\nnonsense").unwrap_err().line, 2);
    }

    #[test]
    fn the_segment_of_a_branch_point_is_that_of_the_new_timeline() {
        let history = History::parse(2, "1\t0/3000150\tx").unwrap();
        assert_eq!(history.segment_holding(Lsn(0x0300_0000), SIZE).to_string(), "000000020000000000000003");
        assert_eq!(history.segment_holding(Lsn(0x02FF_FFFF), SIZE).to_string(), "000000010000000000000002");
    }

    #[test]
    fn a_branch_at_a_border_leaves_the_segment_before_it_alone() {
        let history = History::parse(2, "1\t0/3000000\tx").unwrap();
        assert_eq!(history.segment_holding(Lsn(0x02FF_FFFF), SIZE).timeline, 1);
        assert_eq!(history.segment_holding(Lsn(0x0300_0000), SIZE).timeline, 2);
    }
}
