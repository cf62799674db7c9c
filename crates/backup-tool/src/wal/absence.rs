//! Whether a file that is not in the archive never was, or is lost.
//!
//! A server archives in order, and histories name what was before them. So a segment is lost when the archive has a later
//! one on a way that leads through it, or a history that left its timeline only later.

use super::archive::{Archive, ArchiveError, Archived};
use super::name::{Segment, WalName};

/// What the absence of a file means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// It never was, as far as can be told.
    End,
    /// It was, and is lost; how we know.
    Lost(String),
}

/// Judges the absence of `name` by what else is in the archive.
///
/// # Errors
/// The archive cannot be listed, or a history or every segment looked at does not open.
pub fn judge(archive: &Archive, name: WalName) -> Result<Absence, ArchiveError> {
    match name {
        WalName::Segment(segment) => judge_segment(archive, segment),
        WalName::History(timeline) => {
            let names = archive.names()?;
            Ok(judge_history(&names, timeline))
        }
        WalName::Partial(_) | WalName::Backup(..) => Ok(Absence::End),
    }
}

fn segments(names: &[Archived]) -> impl DoubleEndedIterator<Item = Segment> {
    names.iter().filter_map(|archived| match archived.name {
        WalName::Segment(segment) => Some(segment),
        _ => None,
    })
}

/// A server archives a timeline's history before its first segment, and none for the timeline it began archiving on. So
/// one is missing when its timeline has segments and an earlier one does too. Without it a server would not find the
/// timeline, would stop where that branched off, and would take the number once more for a timeline of its own.
fn judge_history(names: &[Archived], timeline: u32) -> Absence {
    let has = segments(names).find(|segment| segment.timeline == timeline);
    let earlier = segments(names).any(|segment| segment.timeline < timeline);
    match has {
        Some(segment) if earlier => Absence::Lost(format!("{segment} of its timeline is there")),
        _ => Absence::End,
    }
}

fn judge_segment(archive: &Archive, wanted: Segment) -> Result<Absence, ArchiveError> {
    let names = archive.names()?;
    let Some(size) = segment_bytes(archive, &names)? else { return Ok(Absence::End) };
    let number = wanted.number(size);
    for history in archive.histories_of(&names)? {
        let leads_through = |segment: Segment| history.segment_holding(segment.start(size), size) == segment;
        if !leads_through(wanted) {
            continue;
        }
        let later = segments(&names)
            .filter(|segment| segment.number(size) > number && leads_through(*segment))
            .min_by_key(|segment| segment.number(size));
        if let Some(later) = later {
            return Ok(Absence::Lost(format!("{later} comes after it and is there")));
        }
        if let Some(left_at) = history.left_at(wanted.timeline)
            && wanted.next(size).start(size) <= left_at
        {
            let of = history.timeline;
            return Ok(Absence::Lost(format!("timeline {of} branched off after it, at {left_at}")));
        }
    }
    Ok(Absence::End)
}

/// Size of a segment: that of one that is there. `None` when none is.
fn segment_bytes(archive: &Archive, names: &[Archived]) -> Result<Option<u64>, ArchiveError> {
    let mut last = Ok(None);
    // Any will do; one that is damaged must not keep a server from the end of the archive.
    for segment in segments(names).rev().take(3) {
        match archive.fetch(WalName::Segment(segment)) {
            Ok(content) => return Ok(Some(content.len() as u64)),
            Err(error) => last = Err(error),
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::storage::local::Local;
    use crate::store::keys::Keys;
    use crate::wal::header::sample;

    use super::*;

    /// An archive with these files.
    fn archive(names: &[&str], histories: &[(u32, &str)]) -> (tempfile::TempDir, Archive) {
        let directory = tempfile::tempdir().unwrap();
        let local = Local::open(directory.path()).unwrap();
        let archive = Archive::new(Arc::new(local), &Keys::from_master(&[1; 32]), 7);
        for name in names {
            let name: WalName = name.parse().unwrap();
            let (WalName::Segment(segment) | WalName::Partial(segment)) = name else { panic!("{name}") };
            archive.push(name, &sample(segment, 7, 1)).unwrap();
        }
        for (timeline, text) in histories {
            archive.push(WalName::History(*timeline), text.as_bytes()).unwrap();
        }
        (directory, archive)
    }

    fn lost(archive: &Archive, name: &str) -> bool {
        matches!(judge(archive, name.parse().unwrap()).unwrap(), Absence::Lost(_))
    }

    #[test]
    fn after_the_last_segment_is_the_end_and_before_it_a_gap() {
        let (_directory, archive) =
            archive(&["000000010000000000000003", "000000010000000000000005", "000000010000000000000006.partial"], &[]);
        assert!(lost(&archive, "000000010000000000000004"));
        assert!(lost(&archive, "000000010000000000000001"), "it has had its time, and is no end either");
        assert!(!lost(&archive, "000000010000000000000006"), "it was never finished");
        assert!(!lost(&archive, "000000010000000100000000"));
    }

    #[test]
    fn an_empty_archive_has_no_gaps() {
        let (_directory, archive) = archive(&[], &[]);
        assert!(!lost(&archive, "000000010000000000000001"));
        assert!(!lost(&archive, "00000002.history"));
    }

    #[test]
    fn a_segment_that_only_the_old_timeline_would_have_had_is_no_gap() {
        // Left within segment 5: the new timeline begins with a copy of it, the old one never finished it.
        let (_directory, archive) = archive(
            &["000000010000000000000004", "000000020000000000000005", "000000020000000000000006"],
            &[(2, "1\t0/500100\tx\n")],
        );
        assert!(!lost(&archive, "000000010000000000000005"));
        assert!(!lost(&archive, "000000020000000000000004"), "it is before the branch, nobody has it");
        assert!(!lost(&archive, "000000020000000000000007"));
    }

    #[test]
    fn what_a_later_timeline_needs_is_lost_on_the_earlier_one() {
        let (_directory, archive) =
            archive(&["000000010000000000000002", "000000020000000000000005"], &[(2, "1\t0/500100\tx\n")]);
        assert!(lost(&archive, "000000010000000000000003"));
        assert!(lost(&archive, "000000010000000000000004"));
    }

    #[test]
    fn a_history_tells_how_far_a_timeline_went_even_when_nothing_later_is_there() {
        let (_directory, archive) = archive(&["000000010000000000000002"], &[(2, "1\t0/500100\tx\n")]);
        assert!(lost(&archive, "000000010000000000000003"));
        assert!(lost(&archive, "000000010000000000000004"));
        assert!(!lost(&archive, "000000010000000000000005"));
        assert!(!lost(&archive, "000000020000000000000005"), "just promoted, nothing archived yet");
    }

    #[test]
    fn the_first_segment_of_a_timeline_is_lost_when_its_second_is_there() {
        // The old timeline went on beside the new one, and has a segment of the same number with another content.
        let (_directory, archive) = archive(
            &["000000010000000000000004", "000000010000000000000005", "000000020000000000000006"],
            &[(2, "1\t0/500100\tx\n")],
        );
        assert!(lost(&archive, "000000020000000000000005"));
        assert!(!lost(&archive, "000000010000000000000006"));
    }

    #[test]
    fn a_history_is_lost_when_its_timeline_branched_off_and_has_segments() {
        let (_directory, branched) = archive(&["000000010000000000000004", "000000020000000000000005"], &[]);
        assert!(lost(&branched, "00000002.history"));
        assert!(!lost(&branched, "00000003.history"));
        let (_directory, began_on_two) = archive(&["000000020000000000000005"], &[]);
        assert!(!lost(&began_on_two, "00000002.history"));
    }

    #[test]
    fn a_damaged_segment_elsewhere_does_not_hide_the_end() {
        let (directory, archive) = archive(&["000000010000000000000003", "000000010000000000000004"], &[]);
        let key = archive.key_of("000000010000000000000004".parse().unwrap());
        std::fs::write(directory.path().join(key), "damaged").unwrap();
        assert!(!lost(&archive, "000000010000000000000005"));
    }
}
