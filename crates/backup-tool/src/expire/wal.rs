//! Which archived WAL may go.
//!
//! A segment is needed when some way through the timelines passes it behind the start of a backup that is kept: then
//! recovery of that backup, to some moment on that way, replays it. What is older on every way may go. History files are
//! small, tell the ways apart, and stay for good.
//!
//! Where the way is not known, nothing is concluded from it: a timeline after the first whose history file is missing, and
//! one that no kept backup leads to but that may be where the cluster is now, keep their files, except for those that are
//! older than the start of every backup.

use crate::backup::ClusterBackup;
use crate::lsn::Lsn;
use crate::wal::history::History;
use crate::wal::name::{Segment, WalName};

/// The archived files of a cluster that no backup in `kept` needs, in the order of `names`. Without a backup nothing goes.
pub fn unneeded(names: &[WalName], ways: &[History], kept: &[&ClusterBackup]) -> Vec<WalName> {
    let Some(size) = kept.first().map(|backup| backup.wal_segment_bytes) else { return Vec::new() };
    // The size of segments can only be changed with the cluster's identity; where it differs, nothing is known.
    if size == 0 || kept.iter().any(|backup| backup.wal_segment_bytes != size) {
        return Vec::new();
    }
    let goes = |name: &WalName| match *name {
        WalName::History(_) => false,
        WalName::Segment(segment) | WalName::Partial(segment) | WalName::Backup(segment, _) => {
            !is_needed(segment, ways, kept, size)
        }
    };
    names.iter().copied().filter(goes).collect()
}

fn is_needed(segment: Segment, ways: &[History], kept: &[&ClusterBackup], size: u64) -> bool {
    let number = segment.number(size);
    let start = |backup: &&ClusterBackup| Segment::holding(backup.timeline, backup.start_lsn, size).number(size);
    if kept.iter().map(start).min().is_some_and(|oldest| number < oldest) {
        return false;
    }
    let needs = |way: &History, backup: &&ClusterBackup| {
        leads_on(way, backup.timeline, backup.start_lsn)
            && way.left_at(segment.timeline).is_none_or(|left_at| segment.start(size) < left_at)
            && number >= start(backup)
    };
    let through = |way: &&History| way.contains(segment.timeline);
    if ways.iter().filter(through).any(|way| kept.iter().any(|backup| needs(way, backup))) {
        return true;
    }
    // Not needed on any way that is known. It may be on one that is not.
    let own = ways.iter().find(|way| way.timeline == segment.timeline);
    let known = segment.timeline == 1 || own.is_some_and(|way| !way.ancestors.is_empty());
    let reached = own.is_some_and(|way| kept.iter().any(|backup| leads_on(way, backup.timeline, backup.start_lsn)));
    let succeeded = kept.iter().any(|backup| backup.timeline > segment.timeline);
    !known || !(reached || succeeded)
}

/// Whether the way passes this position of the timeline.
fn leads_on(way: &History, timeline: u32, lsn: Lsn) -> bool {
    way.contains(timeline) && way.left_at(timeline).is_none_or(|left_at| lsn < left_at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::backup::Kind;
    use crate::expire::sample::{SIZE, backup};
    use crate::wal::history::Ancestor;

    fn segment(timeline: u32, number: u64) -> WalName {
        WalName::Segment(Segment::numbered(timeline, number, SIZE))
    }

    fn range(timeline: u32, numbers: std::ops::Range<u64>) -> Vec<WalName> {
        numbers.map(|number| segment(timeline, number)).collect()
    }

    #[test]
    fn what_is_older_than_the_oldest_kept_backup_goes_with_its_notes_and_histories_stay() {
        let first = backup(Kind::Full, 1, 5, 9);
        let second = backup(Kind::Full, 1, 8, 2);
        let mut names = range(1, 1..10);
        let note = |number| WalName::Backup(Segment::numbered(1, number, SIZE), 40);
        names.extend([note(3), note(5), WalName::Partial(Segment::numbered(1, 2, SIZE)), WalName::History(2)]);
        let gone = unneeded(&names, &[History::first(1)], &[&second, &first]);
        let mut wanted = range(1, 1..5);
        wanted.extend([note(3), WalName::Partial(Segment::numbered(1, 2, SIZE))]);
        assert_eq!(gone, wanted);
    }

    #[test]
    fn without_a_backup_nothing_goes() {
        assert_eq!(unneeded(&range(1, 1..10), &[History::first(1)], &[]), []);
    }

    #[test]
    fn a_branch_needs_what_lies_before_it_on_its_way_and_not_the_end_it_left() {
        // Timeline 2 left timeline 1 within segment 6. The only backup is on timeline 2.
        let ways = [History::first(1), History { timeline: 2, ancestors: vec![left(1, 6)] }];
        let names = [range(1, 3..9), range(2, 6..12)].concat();
        let on_two = backup(Kind::Full, 2, 8, 2);
        assert_eq!(unneeded(&names, &ways, &[&on_two]), [range(1, 3..9), range(2, 6..8)].concat());
        // With one from before the branch, both ways from there are needed.
        let on_one = backup(Kind::Full, 1, 4, 5);
        assert_eq!(unneeded(&names, &ways, &[&on_one, &on_two]), range(1, 3..4));
    }

    #[test]
    fn a_timeline_whose_history_is_lost_keeps_its_files() {
        let kept = backup(Kind::Full, 1, 4, 5);
        let names = [range(1, 3..6), range(2, 3..9)].concat();
        assert_eq!(unneeded(&names, &[History::first(1), History::first(2)], &[&kept]), [segment(1, 3), segment(2, 3)]);
    }

    #[test]
    fn the_timeline_that_the_cluster_may_be_on_keeps_its_files() {
        // Set back to before the only backup that is left: no way leads from it to timeline 2.
        let kept = backup(Kind::Full, 1, 4, 5);
        let ways = [History::first(1), History { timeline: 2, ancestors: vec![left(1, 3)] }];
        assert_eq!(unneeded(&range(2, 3..9), &ways, &[&kept]), [segment(2, 3)]);
    }

    #[test]
    fn with_segments_of_two_sizes_nothing_goes() {
        let one = backup(Kind::Full, 1, 4, 5);
        let other = ClusterBackup { wal_segment_bytes: 64 << 20, ..one.clone() };
        assert_eq!(unneeded(&range(1, 1..9), &[History::first(1)], &[&one, &other]), []);
    }

    fn left(timeline: u32, number: u64) -> Ancestor {
        Ancestor { timeline, left_at: Lsn(number * SIZE + 0x150) }
    }

    /// Numbers that look random and are the same in every run (splitmix64).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (z ^ (z >> 31)) % bound.max(1)
        }
    }

    /// A cluster's life: timelines that leave earlier ones at some position, each with a first and a last byte.
    struct Tree {
        ways: Vec<History>,
        /// By timeline: first and last position.
        spans: Vec<(u32, u64, u64)>,
    }

    fn tree(dice: &mut Dice) -> Tree {
        let mut tree = Tree { ways: vec![History::first(1)], spans: vec![(1, SIZE, (3 + dice.below(12)) * SIZE + 7)] };
        for timeline in 2..=(1 + dice.below(6) as u32) {
            let from = tree.ways[dice.below(tree.ways.len() as u64) as usize].clone();
            let (_, begin, end) = tree.spans.iter().copied().find(|(of, ..)| *of == from.timeline).unwrap();
            // Sometimes at the border of a segment, where the new timeline has no copy of what lies before it.
            let mut left_at = begin + 1 + dice.below(end - begin);
            if dice.below(3) == 0 {
                left_at = (left_at / SIZE).max(begin / SIZE + 1) * SIZE;
            }
            let mut way = History { timeline, ancestors: from.ancestors };
            way.ancestors.push(Ancestor { timeline: from.timeline, left_at: Lsn(left_at) });
            tree.ways.push(way);
            tree.spans.push((timeline, left_at, left_at + (1 + dice.below(8)) * SIZE));
        }
        tree
    }

    /// What replay of a backup along a way reads, byte by byte: for every position, the file that the server opens.
    fn replayed(backup: &ClusterBackup, way: &History, end: u64) -> BTreeSet<WalName> {
        let passes = way.contains(backup.timeline)
            && way.left_at(backup.timeline).is_none_or(|left_at| backup.stop_lsn <= left_at);
        if !passes {
            return BTreeSet::new();
        }
        let mut read = BTreeSet::new();
        for number in backup.start_lsn.0 / SIZE..=end / SIZE {
            // The file of the newest timeline that has part of the segment; and while that one is not archived yet, of the
            // timeline that the position is on.
            let within = [number * SIZE, number * SIZE + 0x150, (number + 1) * SIZE - 1];
            for position in within.into_iter().filter(|position| *position >= backup.start_lsn.0) {
                read.insert(segment(way.timeline_at(Lsn(position)), number));
            }
            read.insert(WalName::Segment(way.segment_holding(Lsn(number * SIZE), SIZE)));
        }
        read
    }

    #[test]
    fn in_any_tree_of_timelines_no_backup_loses_what_it_replays_and_the_rest_goes() {
        let mut dice = Dice(1);
        let mut removed = 0;
        for round in 0..3000 {
            let tree = tree(&mut dice);
            let mut names = Vec::new();
            for (timeline, begin, end) in &tree.spans {
                names.extend(range(*timeline, begin / SIZE..end / SIZE + 1));
            }
            let backups: Vec<ClusterBackup> = (0..=dice.below(5))
                .map(|days| {
                    let (timeline, begin, end) = tree.spans[dice.below(tree.spans.len() as u64) as usize];
                    let mut one = backup(Kind::Full, timeline, 0, days as i64);
                    one.start_lsn = Lsn(begin + dice.below(end - begin));
                    one.stop_lsn = Lsn(one.start_lsn.0 + dice.below(end - one.start_lsn.0));
                    one
                })
                .collect();
            let kept: Vec<&ClusterBackup> = backups.iter().filter(|_| dice.below(3) > 0).collect();
            let gone: BTreeSet<WalName> = unneeded(&names, &tree.ways, &kept).into_iter().collect();
            let mut needed = BTreeSet::new();
            for way in &tree.ways {
                let (_, _, end) = tree.spans.iter().copied().find(|(of, ..)| *of == way.timeline).unwrap();
                for backup in &kept {
                    needed.extend(replayed(backup, way, end));
                }
            }
            let lost: Vec<_> = gone.intersection(&needed).map(ToString::to_string).collect();
            assert!(lost.is_empty(), "round {round}: {lost:?} of {:?}", tree.ways);
            // What is older than the start of every kept backup is of no use to any of them.
            let oldest = kept.iter().map(|backup| backup.start_lsn.0 / SIZE).min();
            for name in &names {
                let WalName::Segment(one) = name else { continue };
                let useless = oldest.is_some_and(|oldest| one.number(SIZE) < oldest);
                assert!(!useless || gone.contains(name), "round {round}: {name} stays");
            }
            removed += gone.len();
        }
        assert!(removed > 3000, "the trees give something to remove: {removed}");
    }
}
