//! Which backups stay, and why.
//!
//! The rules only ever add reasons to stay; a backup goes when it has none. What none of our rules knows (a snapshot that
//! another program wrote) stays.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::backup::{About, ClusterBackup, Kind};
use crate::store::Stored;
use crate::wal::history::History;

/// A backup that was never seen to be whole is taken for a leftover when it is older than this.
const LEFTOVER: SignedDuration = SignedDuration::from_hours(24);

/// What is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// This many full backups of a cluster, and what was taken since the oldest of them. Never less than one.
    pub keep_full: usize,
    /// What a recovery into the last so many days needs.
    pub keep_days: u32,
    /// This many backups of every file set. Never less than one.
    pub keep_sets: usize,
}

/// What becomes of a snapshot.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The snapshot.
    pub stored: Stored,
    /// Whether it stays.
    pub keep: bool,
    /// Why it stays or goes.
    pub why: &'static str,
}

/// A complete backup of a cluster that is being judged.
struct Candidate<'a> {
    id: &'a str,
    backup: &'a ClusterBackup,
}

/// Judges the snapshots of clusters. `ways` are the timelines of each cluster, by its system identifier.
pub fn judge_clusters(
    all: Vec<Stored>,
    ways: &BTreeMap<u64, Vec<History>>,
    policy: Policy,
    now: Timestamp,
) -> Vec<Verdict> {
    let horizon = before(now, SignedDuration::from_hours(24 * i64::from(policy.keep_days)));
    let mut by_cluster: BTreeMap<u64, Vec<Candidate<'_>>> = BTreeMap::new();
    for stored in all.iter().filter(|stored| is_complete(stored)) {
        if let Some(About::Cluster(backup)) = &stored.about {
            by_cluster.entry(backup.system_identifier).or_default().push(Candidate { id: &stored.id, backup });
        }
    }
    let mut reasons: BTreeMap<String, &'static str> = BTreeMap::new();
    for (system, mut backups) in by_cluster {
        backups.sort_by_key(|candidate| candidate.backup.stop_time);
        let known = ways.get(&system).map(Vec::as_slice).unwrap_or_default();
        for (id, why) in cluster_reasons(&backups, known, policy.keep_full, horizon) {
            reasons.entry(id).or_insert(why);
        }
    }
    all.into_iter()
        .map(|stored| {
            let rule = match &stored.about {
                Some(About::Cluster(_)) => reasons.get(&stored.id).copied(),
                // A file set has no place here, and its rules do not fit.
                _ => Some("nobody here knows what it is"),
            };
            verdict(stored, rule, horizon, now)
        })
        .collect()
}

/// Judges the snapshots of file sets.
pub fn judge_sets(all: Vec<Stored>, policy: Policy, now: Timestamp) -> Vec<Verdict> {
    let horizon = before(now, SignedDuration::from_hours(24 * i64::from(policy.keep_days)));
    let mut newest_first: Vec<&Stored> = all.iter().filter(|stored| is_complete(stored)).collect();
    newest_first.sort_by_key(|stored| std::cmp::Reverse(stored.time));
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut kept = BTreeMap::new();
    for stored in newest_first {
        if let Some(About::Files(backup)) = &stored.about {
            let count = seen.entry(&backup.set).or_default();
            *count += 1;
            if *count <= policy.keep_sets.max(1) {
                kept.insert(stored.id.clone(), "it is one of the newest of its set");
            }
        }
    }
    all.into_iter()
        .map(|stored| {
            let rule = match &stored.about {
                Some(About::Files(_)) => kept.get(&stored.id).copied(),
                _ => Some("nobody here knows what it is"),
            };
            verdict(stored, rule, horizon, now)
        })
        .collect()
}

fn is_complete(stored: &Stored) -> bool {
    !stored.pending && !stored.broken
}

fn before(now: Timestamp, span: SignedDuration) -> Timestamp {
    now.checked_sub(span).unwrap_or(Timestamp::MIN)
}

/// What is said of a snapshot, given why the rules keep it.
fn verdict(stored: Stored, rule: Option<&'static str>, horizon: Timestamp, now: Timestamp) -> Verdict {
    let (keep, why) = if stored.pinned {
        (true, "it is pinned")
    } else if stored.pending && stored.time < before(now, LEFTOVER) {
        (false, "it was begun more than a day ago and never completed")
    } else if stored.pending {
        (true, "it is being taken, or was broken off within the last day")
    } else if stored.broken && stored.time < horizon {
        (false, "data of it is lost, and it is old enough to go")
    } else if stored.broken {
        (true, "data of it is lost, but what is left may be of use")
    } else {
        rule.map_or((false, "no rule keeps it"), |why| (true, why))
    };
    Verdict { stored, keep, why }
}

/// Why complete backups of one cluster stay; those that are not named need not. `backups` are sorted by their end.
fn cluster_reasons(
    backups: &[Candidate<'_>],
    ways: &[History],
    keep_full: usize,
    horizon: Timestamp,
) -> Vec<(String, &'static str)> {
    let mut reasons = Vec::new();
    // Those with pages that were broken on disk are no ground to stand on, as long as there are others.
    let good = |candidate: &&Candidate<'_>| candidate.backup.damaged.is_empty();
    let full = |candidate: &&Candidate<'_>| candidate.backup.kind == Kind::Full;
    let mut fulls: Vec<_> = backups.iter().filter(good).filter(full).collect();
    if fulls.is_empty() {
        fulls = backups.iter().filter(full).collect();
    }
    if fulls.is_empty() {
        fulls = backups.iter().collect();
    }
    let oldest_kept = fulls.iter().rev().take(keep_full.max(1)).next_back().map(|candidate| candidate.backup.stop_time);
    for candidate in backups {
        let id = candidate.id.to_owned();
        if oldest_kept.is_some_and(|oldest| candidate.backup.stop_time >= oldest) {
            let newest = if candidate.backup.kind == Kind::Full {
                "it is one of the newest full backups"
            } else {
                "it was taken since the oldest full backup that is kept"
            };
            reasons.push((id, newest));
        } else if candidate.backup.stop_time >= horizon {
            reasons.push((id, "it was taken within the days that are kept"));
        }
    }
    // A moment after the horizon may lie before the first backup after it: the one before it is needed as well, on every
    // way on which there is such a moment.
    let is_old = |candidate: &&Candidate<'_>| candidate.backup.stop_time < horizon;
    for timeline in timelines(backups, ways).into_iter().filter(|timeline| goes_on(*timeline, backups, horizon)) {
        let own = History::first(timeline);
        let way = ways.iter().find(|way| way.timeline == timeline).unwrap_or(&own);
        let base = backups.iter().filter(is_old).filter(good).rfind(|candidate| is_on(candidate.backup, way));
        reasons.extend(base.map(|base| (base.id.to_owned(), "recovery into the days that are kept begins with it")));
    }
    reasons
}

fn timelines(backups: &[Candidate<'_>], ways: &[History]) -> Vec<u32> {
    let archived = ways.iter().map(|way| way.timeline);
    let mut all: Vec<u32> = archived.chain(backups.iter().map(|candidate| candidate.backup.timeline)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Whether the cluster may have been on the timeline after the horizon. It has left it before when a backup of a later
/// timeline is older than that, and none of this one is younger: a server takes a number only once, so numbers rise.
fn goes_on(timeline: u32, backups: &[Candidate<'_>], horizon: Timestamp) -> bool {
    let younger =
        |candidate: &Candidate<'_>| candidate.backup.timeline == timeline && candidate.backup.stop_time >= horizon;
    let succeeded =
        |candidate: &Candidate<'_>| candidate.backup.timeline > timeline && candidate.backup.stop_time < horizon;
    backups.iter().any(younger) || !backups.iter().any(succeeded)
}

/// Whether recovery along the way can begin with the backup.
fn is_on(backup: &ClusterBackup, way: &History) -> bool {
    way.contains(backup.timeline) && way.left_at(backup.timeline).is_none_or(|left_at| backup.stop_lsn <= left_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expire::sample::{backup, cluster, days_ago, file_set, now};

    const POLICY: Policy = Policy { keep_full: 2, keep_days: 10, keep_sets: 2 };

    fn kept(verdicts: &[Verdict]) -> Vec<String> {
        verdicts.iter().filter(|verdict| verdict.keep).map(|verdict| verdict.stored.label().to_owned()).collect()
    }

    fn judge(all: &[Stored], ways: &[History], policy: Policy) -> Vec<String> {
        kept(&judge_clusters(all.to_vec(), &BTreeMap::from([(7, ways.to_vec())]), policy, now()))
    }

    fn full(days: i64) -> Stored {
        cluster(backup(Kind::Full, 1, 1000 - days as u64, days))
    }

    fn incremental(days: i64) -> Stored {
        cluster(backup(Kind::Incremental, 1, 1000 - days as u64, days))
    }

    #[test]
    fn the_newest_full_backups_stay_with_what_was_taken_since() {
        let all = [full(50), incremental(45), full(40), incremental(35), full(30), incremental(25)];
        let policy = Policy { keep_days: 0, ..POLICY };
        assert_eq!(judge(&all, &[History::first(1)], policy), ["40F", "35I", "30F", "25I"]);
    }

    #[test]
    fn what_recovery_into_the_last_days_needs_stays() {
        let all = [full(50), full(20), full(12), full(8), full(4), full(2)];
        assert_eq!(judge(&all, &[History::first(1)], POLICY), ["12F", "8F", "4F", "2F"]);
    }

    #[test]
    fn a_damaged_backup_is_no_ground_for_others_to_go() {
        let damaged = |days: i64| {
            let mut one = backup(Kind::Full, 1, 1000 - days as u64, days);
            let page = crate::backup::DamagedPage { file: "base/1/1".into(), block: 0, why: "checksum".into() };
            one.damaged.push(page);
            cluster(one)
        };
        let all = [full(50), full(40), damaged(30), damaged(20), damaged(1)];
        let policy = Policy { keep_full: 1, ..POLICY };
        assert_eq!(judge(&all, &[History::first(1)], policy), ["40F", "30F", "20F", "1F"]);
        // And when there are no others, they are all there is.
        assert_eq!(judge(&[damaged(50), damaged(40)], &[], policy), ["40F"]);
    }

    #[test]
    fn the_last_backup_never_goes() {
        let none = Policy { keep_full: 0, keep_days: 0, keep_sets: 0 };
        assert_eq!(judge(&[full(400), full(300)], &[History::first(1)], none), ["300F"]);
        assert_eq!(judge(&[incremental(300)], &[History::first(1)], none), ["300I"]);
        let sets = judge_sets(vec![file_set("etc", 400), file_set("etc", 300), file_set("home", 900)], none, now());
        assert_eq!(kept(&sets), ["300-etc", "900-home"]);
    }

    #[test]
    fn a_pin_wins() {
        let mut pinned = full(500);
        pinned.pinned = true;
        let all = [pinned, full(50), full(4), full(2)];
        assert_eq!(judge(&all, &[History::first(1)], POLICY), ["500F", "50F", "4F", "2F"]);
    }

    #[test]
    fn a_leftover_goes_after_a_day_and_counts_for_nothing() {
        let pending = |hours: i64| {
            let mut one = full(0);
            one.pending = true;
            one.about = None;
            one.time = now() - SignedDuration::from_hours(hours);
            one.id = format!("{hours:064}");
            one
        };
        let all = vec![full(50), full(40), pending(25), pending(23)];
        let verdicts = judge_clusters(all, &BTreeMap::new(), Policy { keep_full: 1, ..POLICY }, now());
        let keep: Vec<bool> = verdicts.iter().map(|verdict| verdict.keep).collect();
        assert_eq!(keep, [false, true, false, true]);
    }

    #[test]
    fn what_another_program_wrote_stays() {
        let mut foreign = full(900);
        foreign.about = None;
        let verdicts = judge_clusters(vec![foreign.clone()], &BTreeMap::new(), POLICY, now());
        assert!(verdicts[0].keep);
        assert!(judge_sets(vec![foreign], POLICY, now())[0].keep);
    }

    #[test]
    fn every_set_and_every_cluster_is_judged_for_itself() {
        let sets: Vec<_> = [("etc", 5), ("etc", 4), ("etc", 3), ("home", 90)].map(|(set, d)| file_set(set, d)).into();
        assert_eq!(kept(&judge_sets(sets, POLICY, now())), ["4-etc", "3-etc", "90-home"]);
        let mut other = backup(Kind::Full, 1, 1, 300);
        other.system_identifier = 8;
        let all = [cluster(other), full(60), full(50), full(40)];
        assert_eq!(judge(&all, &[History::first(1)], POLICY), ["300F", "50F", "40F"]);
    }

    #[test]
    fn a_branch_that_is_alive_keeps_the_backup_before_it() {
        // Timeline 2 left timeline 1 after the first backup; the second one lies on the abandoned end.
        let way = History::parse(2, "1\t0/1F000000\tx").unwrap();
        let first = cluster(backup(Kind::Full, 1, 0x10, 60));
        let second = cluster(backup(Kind::Full, 1, 0x20, 40));
        let policy = Policy { keep_full: 1, ..POLICY };
        let ways = [History::first(1), way];
        assert_eq!(judge(&[first.clone(), second.clone()], &ways, policy), ["60F", "40F"]);
        // Once a backup of the branch is as old as the days that are kept, neither is needed.
        let third = cluster(backup(Kind::Full, 2, 0x30, 30));
        assert_eq!(judge(&[first.clone(), second.clone(), third], &ways, policy), ["30F"]);
        let third = cluster(backup(Kind::Full, 2, 0x30, 5));
        assert_eq!(judge(&[first, second, third], &ways, policy), ["60F", "40F", "5F"]);
    }

    #[test]
    fn a_broken_backup_stays_for_the_days_that_are_kept_and_counts_for_nothing() {
        let broken = |days: i64| {
            let mut one = full(days);
            one.broken = true;
            one.time = days_ago(days);
            one
        };
        let all = [full(60), full(50), broken(20), broken(5)];
        assert_eq!(judge(&all, &[History::first(1)], Policy { keep_full: 1, ..POLICY }), ["50F", "5F"]);
    }
}
