use super::samples::{MB, at, backup};
use super::*;
use crate::wal::name::WalName;

const MIDDLE: u64 = MB / 2;

fn shelf(names: &[(u32, std::ops::Range<u64>)], histories: &[(u32, &str)]) -> Shelf {
    let histories: Vec<History> =
        histories.iter().map(|(timeline, text)| History::parse(*timeline, text).unwrap()).collect();
    let segment = |timeline: u32| move |number| WalName::Segment(Segment::numbered(timeline, number, MB));
    Shelf::new(names.iter().flat_map(|(timeline, run)| run.clone().map(segment(*timeline))), &histories, MB)
}

fn base(label: &str, timeline: u32, segment: u64, stop: i64) -> Base {
    let from = segment * MB + 40;
    Base { id: format!("id-{label}"), backup: backup(label, timeline, from, from + 400, stop) }
}

fn stop(timeline: u32, lsn: u64) -> Stop {
    Stop { timeline, lsn: Lsn(lsn), end: Lsn(lsn + 34), time: None, certain: true }
}

fn moment(seconds: i64) -> Wanted {
    Wanted { point: Point::Time(at(seconds)), exclusive: false, timeline: None }
}

#[test]
fn a_moment_within_a_backup_needs_the_one_before_it() {
    let bases = [base("a", 1, 1, 10), base("b", 1, 3, 20)];
    let shelf = shelf(&[(1, 1..9)], &[]);
    let label = |seconds, lsn| {
        choose(&bases, &shelf, &moment(seconds), &[(1, stop(1, lsn))]).map(|choice| choice.base.backup.label)
    };
    assert_eq!(label(21, 5 * MB).as_deref(), Ok("b"));
    assert_eq!(label(20, 5 * MB).as_deref(), Ok("a"), "a backup that ends at that very moment may hold more");
    assert!(matches!(label(10, 2 * MB), Err(Unreachable::TooEarly { .. })));
}

#[test]
fn a_damaged_backup_is_the_last_resort_and_says_so() {
    let mut bases = [base("a", 1, 1, 10), base("b", 1, 3, 20)];
    let page = crate::backup::DamagedPage { file: "base/1/1".into(), block: 7, why: "checksum".into() };
    bases[1].backup.damaged.push(page);
    let stops = [(1, stop(1, 5 * MB))];
    let choice = choose(&bases, &shelf(&[(1, 1..9)], &[]), &moment(30), &stops).unwrap();
    assert_eq!((choice.base.backup.label.as_str(), choice.remarks.len()), ("a", 0));
    let choice = choose(&bases, &shelf(&[(1, 3..9)], &[]), &moment(30), &stops).unwrap();
    assert_eq!(choice.base.backup.label, "b");
    assert!(choice.remarks[0].contains("1 pages were damaged"), "{:?}", choice.remarks);
}

#[test]
fn a_missing_segment_is_named_with_the_backup_it_is_missed_from() {
    let bases = [base("a", 1, 1, 10)];
    let why = choose(&bases, &shelf(&[(1, 1..4), (1, 5..9)], &[]), &moment(30), &[(1, stop(1, 6 * MB))]).unwrap_err();
    assert!(why.to_string().contains("000000010000000000000004 is missing between the backup a"), "{why}");
    choose(&bases, &shelf(&[(1, 1..4)], &[]), &moment(30), &[(1, stop(1, 3 * MB + MIDDLE))]).unwrap();
}

#[test]
fn a_point_on_two_branches_is_not_chosen_for_the_operator() {
    let bases = [base("a", 1, 1, 10)];
    let shelf = shelf(&[(1, 1..9), (2, 4..9)], &[(2, "1\t0/480000\tx")]);
    let stops = [(1, stop(1, 6 * MB)), (2, stop(2, 5 * MB))];
    let mut wanted = moment(30);
    let Err(Unreachable::Ambiguous { branches, .. }) = choose(&bases, &shelf, &wanted, &stops) else { panic!() };
    assert_eq!(branches.iter().map(|branch| branch.timeline).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(branches[0].from, Some((1, Lsn(0x48_0000))));
    assert_eq!((branches[1].from, branches[1].backup.as_deref()), (None, Some("a")));
    for (timeline, way, setting) in [
        (TimelineChoice::Latest, 2, "2"),
        (TimelineChoice::Numbered(2), 2, "2"),
        (TimelineChoice::Numbered(1), 1, "current"),
        (TimelineChoice::Current, 1, "current"),
    ] {
        wanted.timeline = Some(timeline);
        let choice = choose(&bases, &shelf, &wanted, &stops).unwrap();
        assert_eq!((choice.way.timeline, choice.timeline_setting().as_str()), (way, setting), "{timeline:?}");
    }
    wanted.timeline = Some(TimelineChoice::Numbered(3));
    assert_eq!(choose(&bases, &shelf, &wanted, &stops), Err(Unreachable::NoTimeline(3)));
}

#[test]
fn a_point_before_the_branch_is_on_both_ways_and_one_place() {
    let bases = [base("a", 1, 1, 10)];
    let shelf = shelf(&[(1, 1..9), (2, 4..9)], &[(2, "1\t0/480000\tx")]);
    let shared = stop(1, 3 * MB);
    let choice = choose(&bases, &shelf, &moment(30), &[(1, shared), (2, shared)]).unwrap();
    assert_eq!(choice.way.timeline, 2);
    let names: Vec<String> = choice.segments(&shelf).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["1", "2", "3"].map(|number| format!("00000001000000000000000{number}")));
}

#[test]
fn a_moment_between_two_timelines_is_the_branch_and_says_so() {
    let bases = [base("a", 1, 1, 10)];
    let shelf = shelf(&[(1, 1..4), (2, 4..9)], &[(2, "1\t0/480000\tx")]);
    let between = Stop { certain: false, ..stop(2, 5 * MB) };
    let choice = choose(&bases, &shelf, &moment(30), &[(2, between)]).unwrap();
    assert!(choice.remarks[0].contains("replay stops at the branch"), "{:?}", choice.remarks);
    // A timeline that was in use at that moment is meant rather than one that was not.
    let choice = choose(&bases, &shelf, &moment(30), &[(1, stop(1, 3 * MB)), (2, between)]).unwrap();
    assert_eq!((choice.way.timeline, choice.remarks.len()), (1, 0));
}

#[test]
fn a_backup_from_behind_the_branch_is_no_base_for_the_other_way() {
    let bases = [base("a", 1, 1, 10), base("b", 1, 6, 20)];
    let shelf = shelf(&[(1, 1..9), (2, 4..9)], &[(2, "1\t0/480000\tx")]);
    let choice = choose(&bases, &shelf, &moment(30), &[(2, stop(2, 7 * MB))]).unwrap();
    assert_eq!((choice.base.backup.label.as_str(), choice.way.timeline), ("a", 2));
}

#[test]
fn the_end_is_that_of_the_newest_way_and_the_backups_end_needs_its_own_segments_only() {
    let bases = [base("a", 1, 1, 10), base("b", 1, 6, 20)];
    let both = shelf(&[(1, 1..9), (2, 4..7)], &[(2, "1\t0/480000\tx")]);
    let latest = Wanted::latest(TimelineChoice::Latest);
    let choice = choose(&bases, &both, &latest, &[]).unwrap();
    assert_eq!((choice.base.backup.label.as_str(), choice.way.timeline, choice.end), ("a", 2, 7));
    let current = choose(&bases, &both, &Wanted::latest(TimelineChoice::Current), &[]).unwrap();
    assert_eq!((current.base.backup.label.as_str(), current.way.timeline, current.end), ("b", 1, 9));
    let alone = choose(&bases, &both, &Wanted::immediate(), &[]).unwrap();
    assert_eq!((alone.base.backup.label.as_str(), alone.end), ("b", 7));
    let gap = shelf(&[(1, 1..2), (1, 3..9)], &[]);
    assert!(matches!(choose(&bases[..1], &gap, &latest, &[]), Err(Unreachable::Gap { .. })));
    choose(&bases[..1], &gap, &Wanted::immediate(), &[]).unwrap();
    assert_eq!(choose(&[], &gap, &latest, &[]), Err(Unreachable::NoBackup));
}
