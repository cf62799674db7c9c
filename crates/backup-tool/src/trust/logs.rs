//! The archived write-ahead log: which segments a backup cannot do without, and who is hurt when one is lost.

use std::collections::BTreeSet;

use crate::backup::ClusterBackup;
use crate::wal::archive::Archived;
use crate::wal::name::{Segment, WalName};

/// The whole segments of an archive.
pub fn segments(archived: &[Archived]) -> BTreeSet<Segment> {
    let whole = |archived: &Archived| match archived.name {
        WalName::Segment(segment) => Some(segment),
        _ => None,
    };
    archived.iter().filter_map(whole).collect()
}

/// The segments from where replay of a backup begins to where it is consistent. A backup that claims more than an
/// archive could ever hold has its ends only.
pub fn needed(backup: &ClusterBackup) -> Vec<Segment> {
    const MOST: u64 = 10_000_000;
    let size = backup.wal_segment_bytes;
    let (first, last) = (backup.start_segment.number(size), backup.stop_segment.number(size));
    if last < first || last - first > MOST {
        return vec![backup.start_segment, backup.stop_segment];
    }
    (first..=last).map(|number| Segment::numbered(backup.timeline, number, size)).collect()
}

/// Those of them that are not in the archive.
pub fn missing(backup: &ClusterBackup, there: &BTreeSet<Segment>) -> Vec<Segment> {
    needed(backup).into_iter().filter(|segment| !there.contains(segment)).collect()
}

/// What the loss of an archived file means, for people.
pub fn meaning(name: WalName, backups: &[ClusterBackup]) -> String {
    let (WalName::Segment(segment) | WalName::Partial(segment)) = name else {
        return match name {
            WalName::History(timeline) => {
                format!("nobody can tell any more where timeline {timeline} branched off, so nothing recovers along it")
            }
            _ => "it is only a note for people; no recovery needs it".to_owned(),
        };
    };
    let needs = |backup: &&ClusterBackup| {
        let number = segment.number(backup.wal_segment_bytes);
        backup.timeline == segment.timeline
            && (backup.start_segment.number(backup.wal_segment_bytes)
                ..=backup.stop_segment.number(backup.wal_segment_bytes))
                .contains(&number)
    };
    let hurt: Vec<&str> = backups.iter().filter(needs).map(|backup| backup.label.as_str()).collect();
    if hurt.is_empty() {
        "no recovery can get past it".to_owned()
    } else {
        format!("without it {} cannot be restored at all", hurt.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::tests::cluster;

    fn segment(number: u64) -> Segment {
        Segment::numbered(1, number, 16 << 20)
    }

    #[test]
    fn a_backup_needs_every_segment_from_start_to_stop() {
        let backup = cluster("a", 5, 7);
        let there = BTreeSet::from([segment(4), segment(5), segment(7)]);
        assert_eq!(missing(&backup, &there), [segment(6)]);
        assert_eq!(missing(&backup, &BTreeSet::from([5, 6, 7].map(segment))), []);
    }

    #[test]
    fn a_backup_with_senseless_positions_does_not_need_millions_of_segments() {
        let mut backup = cluster("a", 5, 7);
        backup.stop_segment = Segment { timeline: 1, log: u32::MAX, segment: 0 };
        assert_eq!(needed(&backup).len(), 2);
        backup.stop_segment = segment(4);
        assert_eq!(needed(&backup).len(), 2);
    }

    #[test]
    fn a_lost_segment_names_the_backups_that_cannot_do_without_it() {
        let backups = [cluster("a", 5, 7), cluster("b", 20, 21)];
        assert!(meaning(WalName::Segment(segment(6)), &backups).contains("without it a cannot"));
        assert!(meaning(WalName::Segment(segment(8)), &backups).contains("get past it"));
        let other = Segment { timeline: 2, ..segment(6) };
        assert!(meaning(WalName::Segment(other), &backups).contains("get past it"));
    }
}
