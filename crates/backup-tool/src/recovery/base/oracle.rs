//! What is decided from digests, ways and names must be what trying every backup on every way finds.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::samples::MB;
use super::world::{Dice, Record, Shown, World, at};
use super::{Base, Choice, Unreachable, choose};
use crate::lsn::Lsn;
use crate::recovery::locate::stops;
use crate::recovery::target::{Point, TimelineChoice, Wanted};
use crate::wal::history::History;

fn targets(world: &World, dice: &mut Dice) -> Vec<Wanted> {
    let all: Vec<&Record> = world.timelines.iter().flat_map(|timeline| &timeline.records).collect();
    let times: Vec<Timestamp> = all.iter().filter_map(|record| record.event.as_ref()?.time).collect();
    if times.is_empty() {
        return Vec::new();
    }
    (0..40)
        .map(|_| {
            let jitter = jiff::SignedDuration::from_micros(dice.below(3) as i64 - 1);
            let point = match dice.below(8) {
                0 => Point::Xid(1000 + dice.below(80)),
                1 => Point::Name(format!("p{}", dice.below(7))),
                2 => Point::Lsn(Lsn(dice.of(&all).lsn + dice.below(3) - 1)),
                3 => Point::Time(at(dice.below(120_000))),
                4 => Point::Time(*dice.of(&times)),
                _ => Point::Time(dice.of(&times).checked_add(jitter).unwrap()),
            };
            let timeline = match dice.below(6) {
                0 => Some(TimelineChoice::Latest),
                1 => Some(TimelineChoice::Current),
                2 => Some(TimelineChoice::Numbered(1 + dice.below(5) as u32)),
                _ => None,
            };
            let exclusive = !matches!(point, Point::Name(_)) && dice.below(4) == 0;
            Wanted { point, exclusive, timeline }
        })
        .collect()
}

/// What the counts of a test are of.
#[derive(Debug, Default)]
struct Seen {
    reached: usize,
    refused: usize,
    ambiguous: usize,
}

fn judge(world: &World, wanted: &Wanted, seen: &mut Seen) -> Result<(), String> {
    let found = stops(&world.shelf, &world.bases, wanted, &mut Shown(world)).map_err(|error| error.to_string())?;
    let chosen = choose(&world.bases, &world.shelf, wanted, &found);
    let considered = |way: &&History| match wanted.timeline {
        Some(TimelineChoice::Numbered(number)) => way.timeline == number,
        _ => true,
    };
    let ways: Vec<&History> = world.timelines.iter().map(|timeline| &timeline.history).filter(considered).collect();
    let mut places: Vec<(&History, (u32, u64, bool))> =
        ways.iter().filter_map(|way| Some((*way, world.place(way, wanted)?))).collect();
    if places.iter().any(|(_, place)| place.2) {
        places.retain(|(_, place)| place.2);
    }
    let distinct: BTreeSet<(u32, u64)> = places.iter().map(|(_, place)| (place.0, place.1)).collect();
    let allowed = |base: &&Base, way: &History| {
        wanted.timeline != Some(TimelineChoice::Current) || base.backup.timeline == way.timeline
    };
    let mut tried: Vec<(&Base, &History, (u32, u64))> = Vec::new();
    for (way, place) in &places {
        for base in world.bases.iter().filter(|base| allowed(base, way)) {
            let reached = world.recover(base, way, wanted).filter(|reached| *reached == (place.0, place.1));
            tried.extend(reached.map(|reached| (base, *way, reached)));
        }
    }
    let must_ask = wanted.timeline.is_none() && distinct.len() > 1;
    match chosen {
        Ok(_) if must_ask => Err("should have asked which branch".into()),
        Ok(choice) => {
            seen.reached += 1;
            best(&choice, &tried)
        }
        Err(Unreachable::Ambiguous { branches, .. }) => {
            seen.ambiguous += 1;
            let listed: BTreeSet<(u32, u64)> =
                branches.iter().map(|branch| (branch.stop.timeline, branch.stop.lsn.0)).collect();
            if must_ask && listed == distinct {
                Ok(())
            } else {
                Err(format!("listed {listed:?}, there are {distinct:?}"))
            }
        }
        Err(_) if must_ask => Err("should have listed the branches".into()),
        Err(why) => {
            seen.refused += 1;
            if tried.is_empty() { Ok(()) } else { Err(format!("refused ({why}), yet {} work", tried.len())) }
        }
    }
}

fn best(choice: &Choice, tried: &[(&Base, &History, (u32, u64))]) -> Result<(), String> {
    let stop = choice.stop.ok_or("no stop")?;
    let same = |(base, way, _): &&(&Base, &History, (u32, u64))| {
        base.id == choice.base.id && way.timeline == choice.way.timeline
    };
    let (_, _, reached) = tried.iter().find(same).ok_or_else(|| format!("{} does not lead there", choice.base.id))?;
    if *reached != (stop.timeline, stop.lsn.0) {
        return Err(format!("stops at {reached:?}, not at {stop:?}"));
    }
    let whole = |base: &Base| base.backup.damaged.is_empty();
    if !whole(&choice.base) && tried.iter().any(|(base, ..)| whole(base)) {
        return Err("took a damaged backup".into());
    }
    let newer = |(base, way, _): &&(&Base, &History, (u32, u64))| {
        way.timeline == choice.way.timeline
            && whole(base) == whole(&choice.base)
            && base.backup.stop_lsn > choice.base.backup.stop_lsn
    };
    match tried.iter().find(newer) {
        Some((base, ..)) => Err(format!("{} is newer than {}", base.id, choice.base.id)),
        None => Ok(()),
    }
}

#[test]
fn what_is_chosen_is_what_trying_everything_finds() {
    let mut seen = Seen::default();
    for seed in 1..=600 {
        let world = World::new(seed);
        let mut dice = Dice(seed | 1 << 40);
        for wanted in targets(&world, &mut dice) {
            if let Err(why) = judge(&world, &wanted, &mut seen) {
                panic!("world {seed}, {wanted:?}: {why}");
            }
        }
    }
    // Otherwise the worlds are too simple to show anything.
    assert!(seen.reached > 4000 && seen.refused > 4000 && seen.ambiguous > 200, "{seen:?}");
}

#[test]
fn the_gaps_are_the_files_that_a_server_would_ask_for_in_vain() {
    let mut total = 0;
    for seed in 1..=600 {
        let world = World::new(seed);
        let backups: Vec<_> = world.bases.iter().map(|base| &base.backup).collect();
        let mut expected = BTreeSet::new();
        for timeline in &world.timelines {
            let way = &timeline.history;
            let on_way = || world.bases.iter().filter(|base| World::is_on(way, base)).map(|base| &base.backup);
            let Some(first) = on_way().map(|backup| backup.start_lsn.0 / MB).min() else { continue };
            let needed = on_way().map(|backup| (backup.stop_lsn.0 - 1) / MB).max().unwrap_or(0);
            let there = |number: &u64| world.shelf.has(world.file(way, *number));
            let last = (first..1000).filter(there).max().unwrap_or(0).max(needed);
            expected.extend((first..=last).filter(|number| !there(number)).map(|number| (way.timeline, number)));
        }
        let mut found = BTreeSet::new();
        for gap in world.shelf.gaps(&backups) {
            let numbers = gap.first.number(MB)..=gap.last.number(MB);
            assert_eq!(gap.segments, numbers.clone().count() as u64);
            found.extend(gap.ways.iter().flat_map(|way| numbers.clone().map(|number| (*way, number))));
        }
        assert_eq!(found, expected, "world {seed}");
        total += found.len();
    }
    assert!(total > 500, "{total}");
}
