//! `reindex-tables`: rebuild what is broken or bloated, concurrently, and clear away what unfinished rebuilds of ours
//! left behind.
//!
//! Leftovers of other programs are reported and, with `--cleanup-leftovers`, dropped; what is being built, backs a
//! constraint or has no identical sound twin is never dropped.

use std::collections::{BTreeMap, BTreeSet};

use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_ratio};

use crate::bloat::Bloat;
use crate::indexes::{Index, State, classify};
use crate::need::{Decision, Place};
use crate::select::Selection;
use crate::step::{Action, Step, VacuumOptions, rank};

/// What the operator asked for.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Bloat from which an index is rebuilt; the score is bloat over this.
    pub bloat: f64,
    /// Smaller indexes are not worth a rebuild for bloat, in bytes.
    pub min_size: u64,
    /// Rebuild every index, bloated or not.
    pub every: bool,
    /// Whether the run may be cut short by its time.
    pub bounded: bool,
    /// Drop what other programs' rebuilds left behind.
    pub cleanup_leftovers: bool,
}

/// A broken index comes before any bloated one.
const BROKEN: f64 = 10.0;
/// Leftovers come first of all: they cost every write, and dropping them is quick.
const LEFTOVER: f64 = 20.0;

/// What the plan is made from.
#[derive(Debug)]
pub struct Inspected {
    /// Every index of the database.
    pub indexes: Vec<Index>,
    /// Leftovers that are known to be our own.
    pub ours: BTreeSet<u32>,
    /// What was found about the bloat of the chosen indexes: a figure, or why there is none.
    pub bloat: BTreeMap<u32, Result<Bloat, String>>,
}

/// Which indexes are worth a look at their bloat: chosen, healthy, large enough, with pages of their own, not of the
/// system's catalogs (those cannot be rebuilt concurrently).
pub fn worth_measuring<'a>(
    indexes: &'a [Index],
    selection: &'a Selection,
    policy: Policy,
) -> impl Iterator<Item = &'a Index> {
    indexes.iter().filter(move |index| {
        chosen(index, selection)
            && index.valid
            && !index.partitioned
            && !index.system
            && !index.exclusion
            && index.size_bytes >= policy.min_size
    })
}

fn chosen(index: &Index, selection: &Selection) -> bool {
    selection.includes(&index.table_schema, &index.table) && !index.toast || index.toast && selection.tables.is_empty()
}

/// The ranked steps, and findings that no step takes care of.
pub fn plan(
    inspected: &Inspected,
    selection: &Selection,
    policy: Policy,
    place: &Place,
) -> (Vec<Decision>, Vec<Record>) {
    let mut steps = Vec::new();
    let mut denied = Vec::new();
    let mut findings = Vec::new();
    for index in inspected.indexes.iter().filter(|index| chosen(index, selection)) {
        let state = classify(index, &inspected.indexes, &inspected.ours);
        let finding = |status, message: String| {
            Record::new(Kind::Finding, index.subject(), status, message)
                .label("database", &place.database)
                .field("table", format!("{}.{}", index.table_schema, index.table))
                .field("size_bytes", index.size_bytes)
        };
        let wanted = match state {
            State::Healthy => match bloated(index, inspected, policy) {
                Ok(found) => found.map(|(score, reason)| step(index, place, Action::Reindex, score, reason)),
                Err(why) => {
                    findings.push(
                        finding(Status::Unknown, format!("bloat not known: {why}")).field("kind", "bloat-unknown"),
                    );
                    None
                }
            },
            State::Building { pid } => {
                let text = format!("being built by pid {pid}; left alone");
                findings.push(finding(Status::Deferred, text).field("kind", "building").field("holder_pid", pid));
                None
            }
            State::OurLeftover => Some(step(
                index,
                place,
                Action::DropLeftover,
                LEFTOVER,
                "left behind by a rebuild of ours that did not finish".to_owned(),
            )),
            State::Leftover | State::PromotedLeftover if policy.cleanup_leftovers => {
                Some(step(index, place, Action::DropLeftover, LEFTOVER, leftover_reason(&state).to_owned()))
            }
            State::Leftover | State::PromotedLeftover => {
                let text = format!("{}; --cleanup-leftovers drops it", leftover_reason(&state));
                findings.push(finding(Status::Warning, text).field("kind", "leftover"));
                None
            }
            State::Invalid if index.system || index.exclusion => {
                let text = "invalid, and cannot be rebuilt concurrently: REINDEX INDEX it in a maintenance window";
                findings.push(finding(Status::Skipped, text.to_owned()).field("kind", "invalid"));
                None
            }
            State::Invalid => Some(step(
                index,
                place,
                Action::Reindex,
                BROKEN,
                "invalid: a concurrent build failed, queries do not use it and writes pay for it".to_owned(),
            )),
            State::Incomplete => {
                let text = "incomplete: some partition has no index attached to it; no rebuild changes that";
                findings.push(finding(Status::Warning, text.to_owned()).field("kind", "incomplete"));
                None
            }
        };
        match wanted {
            Some(step) if place.version >= 140_000 && place.version < 140_004 && step.action == Action::Reindex => {
                // Concurrent rebuilds of 14.0 to 14.3 can lose rows from the index without a word (BUG #17485).
                findings.push(finding(
                    Status::Skipped,
                    "PostgreSQL 14.0 to 14.3 corrupt indexes that are rebuilt concurrently: update the server first"
                        .to_owned(),
                ));
            }
            Some(step) if index.toast && !index.allowed => {
                denied.push(Step { reason: format!("{}; an index of TOAST needs a superuser", step.reason), ..step });
            }
            Some(step) if !index.allowed => denied.push(step),
            Some(step) => steps.push(step),
            None => {}
        }
    }
    rank(&mut steps);
    if policy.every {
        // A rebuilt index has a new oid, so the lowest oids are those not rebuilt for longest: runs that are cut short
        // come round to every index. One that is not cut short ends soonest when it starts with the largest. Broken
        // ones still go first.
        let turn = |a: &Step, b: &Step| {
            if policy.bounded { a.oid.cmp(&b.oid) } else { b.size_bytes.cmp(&a.size_bytes) }
        };
        steps.sort_by(|a, b| (b.score >= BROKEN).cmp(&(a.score >= BROKEN)).then_with(|| turn(a, b)));
    }
    rank(&mut denied);
    let decisions = steps.into_iter().map(Decision::Do).chain(denied.into_iter().map(Decision::Denied)).collect();
    (decisions, findings)
}

fn leftover_reason(state: &State) -> &'static str {
    match state {
        State::PromotedLeftover => "leftover of a rebuild that a plain REINDEX made valid: a full duplicate",
        _ => "left behind by somebody's unfinished rebuild",
    }
}

/// Whether an index is due, with score and reason.
fn bloated(index: &Index, inspected: &Inspected, policy: Policy) -> Result<Option<(f64, String)>, String> {
    let every = || policy.every && !index.system && !index.exclusion && !index.partitioned;
    match inspected.bloat.get(&index.oid) {
        Some(Ok(bloat)) if bloat.ratio >= policy.bloat => {
            let margin = bloat.margin.map_or_else(String::new, |margin| format!(" ± {}", format_ratio(margin)));
            let reason = format!(
                "{}{margin} bloat of {} ({})",
                format_ratio(bloat.ratio),
                format_bytes(index.size_bytes),
                bloat.method.as_str()
            );
            Ok(Some((bloat.ratio / policy.bloat, reason)))
        }
        _ if every() => Ok(Some((0.0, "every index was asked for".to_owned()))),
        Some(Err(why)) => Err(why.clone()),
        Some(Ok(_)) | None => Ok(None),
    }
}

fn step(index: &Index, place: &Place, action: Action, score: f64, reason: String) -> Step {
    Step {
        action,
        server: place.server.clone(),
        database: place.database.clone(),
        schema: index.schema.clone(),
        relation: index.name.clone(),
        oid: index.oid,
        table_oid: index.table_oid,
        table: Some(format!("{}.{}", index.table_schema, index.table)),
        score: (score * 100.0).round() / 100.0,
        reason,
        size_bytes: index.size_bytes,
        options: VacuumOptions::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bloat::Method;
    use crate::indexes::tests::index;
    use crate::vacuum_analyze::tests::place;

    fn policy() -> Policy {
        Policy { bloat: 0.3, min_size: 8 << 20, every: false, bounded: false, cleanup_leftovers: false }
    }

    fn inspected(indexes: Vec<Index>, bloat: &[(u32, f64)]) -> Inspected {
        let figure = |ratio| Ok(Bloat { ratio, margin: None, method: Method::Exact });
        Inspected {
            indexes,
            ours: BTreeSet::new(),
            bloat: bloat.iter().map(|(oid, ratio)| (*oid, figure(*ratio))).collect(),
        }
    }

    fn names(decisions: &[Decision]) -> Vec<String> {
        let name = |decision: &Decision| match decision {
            Decision::Do(step) => format!("{} {}", step.action.as_str(), step.relation),
            Decision::Denied(step) => format!("denied {}", step.relation),
        };
        decisions.iter().map(name).collect()
    }

    #[test]
    fn broken_before_bloated_and_healthy_never() {
        let all = vec![index(1, "fine", true), index(2, "fat", true), index(3, "broken", false)];
        let (decisions, findings) =
            plan(&inspected(all, &[(1, 0.1), (2, 0.6)]), &Selection::default(), policy(), &place());
        assert_eq!(names(&decisions), ["reindex broken", "reindex fat"]);
        let Decision::Do(fat) = &decisions[1] else { panic!() };
        assert!((fat.score - 2.0).abs() < 1e-9);
        assert!(findings.is_empty());
    }

    #[test]
    fn a_foreign_leftover_is_reported_and_dropped_only_when_asked() {
        let all = || vec![index(1, "i", true), index(2, "i_ccnew", false)];
        let (decisions, findings) = plan(&inspected(all(), &[]), &Selection::default(), policy(), &place());
        assert!(decisions.is_empty());
        assert_eq!(findings[0].status, Status::Warning);
        let asked = Policy { cleanup_leftovers: true, ..policy() };
        let (decisions, _) = plan(&inspected(all(), &[]), &Selection::default(), asked, &place());
        assert_eq!(names(&decisions), ["drop-leftover i_ccnew"]);
    }

    #[test]
    fn every_index_gets_its_turn_when_time_is_short_and_the_largest_first_when_it_is_not() {
        let mut all = vec![index(7, "young", true), index(3, "old", true)];
        all[0].size_bytes *= 2;
        let every = Policy { every: true, ..policy() };
        let (decisions, _) = plan(&inspected(all.clone(), &[]), &Selection::default(), every, &place());
        assert_eq!(names(&decisions), ["reindex young", "reindex old"]);
        let bounded = Policy { bounded: true, ..every };
        let (decisions, _) = plan(&inspected(all, &[]), &Selection::default(), bounded, &place());
        assert_eq!(names(&decisions), ["reindex old", "reindex young"]);
    }

    #[test]
    fn our_own_leftover_is_dropped_unasked() {
        let mut seen = inspected(vec![index(1, "i", true), index(2, "i_ccnew", false)], &[]);
        seen.ours.insert(2);
        let (decisions, _) = plan(&seen, &Selection::default(), policy(), &place());
        assert_eq!(names(&decisions), ["drop-leftover i_ccnew"]);
    }

    #[test]
    fn a_build_in_progress_is_left_alone_and_said() {
        let mut building = index(2, "i_ccnew", false);
        building.builder = Some(42);
        let (decisions, findings) =
            plan(&inspected(vec![index(1, "i", true), building], &[]), &Selection::default(), policy(), &place());
        assert!(decisions.is_empty());
        assert!(findings[0].message.contains("pid 42"));
        assert_eq!(findings[0].status, Status::Deferred);
    }

    #[test]
    fn versions_that_corrupt_are_refused() {
        let old = Place { version: 140_003, ..place() };
        let (decisions, findings) =
            plan(&inspected(vec![index(3, "broken", false)], &[]), &Selection::default(), policy(), &old);
        assert!(decisions.is_empty());
        assert_eq!(findings[0].status, Status::Skipped);
    }

    #[test]
    fn an_unknown_bloat_is_said_and_not_taken_for_none() {
        let mut seen = inspected(vec![index(1, "i", true)], &[]);
        seen.bloat.insert(1, Err("no statistics".into()));
        let (decisions, findings) = plan(&seen, &Selection::default(), policy(), &place());
        assert!(decisions.is_empty());
        assert_eq!(findings[0].status, Status::Unknown);
    }

    #[test]
    fn an_exclusion_constraint_is_not_rebuilt_concurrently() {
        let mut exclusion = index(1, "x", false);
        exclusion.exclusion = true;
        let (decisions, findings) = plan(&inspected(vec![exclusion], &[]), &Selection::default(), policy(), &place());
        assert!(decisions.is_empty());
        assert_eq!(findings[0].status, Status::Skipped);
    }
}
