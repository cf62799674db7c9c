//! `update-statistics`: analyze what the planner knows too little about.
//!
//! Besides tables that changed, these are: columns, expression indexes and extended statistics that have no statistics
//! at all; and partitioned tables, which autovacuum never analyzes, although queries on the whole table are planned
//! from the parent's statistics.

use crate::catalog::{Table, TableKind};
use crate::need::{Decision, Need, Place, decide, step_on};
use crate::score::{Settings, score};
use crate::step::{Action, Step, VacuumOptions, rank};

/// What the operator asked for.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The score from which a table is taken.
    pub min_score: f64,
    /// Take every table.
    pub every: bool,
    /// Take only tables whose statistics are missing.
    pub missing_only: bool,
}

/// The score of a table that has no statistics where it should have some: needed, but behind what is far over a
/// threshold.
const MISSING: f64 = 1.0;

/// The steps, ranked; parents after the partitions, whose rows they are made from.
pub fn plan(tables: &[Table], settings: &Settings, policy: Policy, place: &Place) -> Vec<Decision> {
    let mut steps: Vec<Step> = Vec::new();
    for table in tables.iter().filter(|table| table.kind != TableKind::Partitioned) {
        let need = Need::of(table, settings);
        let make = |score: f64, reason: String| {
            step_on(table, place, Action::Analyze, score, reason, VacuumOptions::default())
        };
        if !table.missing.is_empty() {
            steps.push(make(need.analyze.max(MISSING), missing_reason(table)));
        } else if !policy.missing_only && need.analyze >= policy.min_score {
            steps.push(make(need.analyze, need.analyze_reason()));
        } else if policy.every && table.analyzable() {
            steps.push(make(need.analyze, "every table was asked for".to_owned()));
        }
    }
    rank(&mut steps);
    if policy.every {
        let last =
            |oid| tables.iter().find(|table| table.oid == oid).and_then(|table| table.last_analyze).unwrap_or(0.0);
        steps.sort_by(|a, b| last(a.oid).total_cmp(&last(b.oid)));
    }
    let allowed = |oid| tables.iter().any(|table| table.oid == oid && table.allowed);
    let mut parents = parents(tables, settings, policy.min_score, policy.every, place);
    if policy.missing_only {
        parents.retain(|(_, step)| tables.iter().any(|table| table.oid == step.oid && is_missing(table)));
    }
    // Before version 18, analyzing a parent analyzes its partitions too: doing them on their own as well is done twice.
    if place.version < 180_000 {
        let covered = |oid| {
            let table = tables.iter().find(|table| table.oid == oid);
            table.is_some_and(|table| parents.iter().any(|(_, step)| table.ancestors.contains(&step.oid)))
        };
        steps.retain(|step| !covered(step.oid));
    }
    decide(steps.into_iter().map(|step| (allowed(step.oid), step)).chain(parents))
}

/// Analyzes of partitioned parents: never analyzed, columns without statistics, or enough rows changed in the
/// partitions since.
///
/// A change is counted in the partition, and the counter starts again when the partition is analyzed; so a partition
/// that was analyzed after the parent has changed by a threshold of its own since, and counts as such.
pub(crate) fn parents(
    tables: &[Table],
    settings: &Settings,
    min_score: f64,
    every: bool,
    place: &Place,
) -> Vec<(bool, Step)> {
    let mut found = Vec::new();
    for parent in tables.iter().filter(|table| table.kind == TableKind::Partitioned) {
        let leaves = || {
            let own = |table: &&Table| table.ancestors.contains(&parent.oid) && table.kind != TableKind::Partitioned;
            tables.iter().filter(own)
        };
        let rows: f64 = leaves().map(|leaf| leaf.counters.tuples.max(leaf.counters.modified).max(0.0)).sum();
        if leaves().next().is_none() || (rows <= 0.0 && !every) {
            continue;
        }
        let (tuples, modified) = leaves().fold((0.0, 0.0), |(tuples, modified), leaf| {
            let since = if leaf.last_analyze > parent.last_analyze { leaf.counters.tuples.max(0.0) * 0.1 } else { 0.0 };
            (tuples + leaf.counters.tuples.max(0.0), modified + leaf.counters.modified + since)
        });
        let mut counters = parent.counters.clone();
        (counters.tuples, counters.modified) = (tuples, modified);
        let need = score(&counters, settings).analyze;
        let reason = if parent.counters.tuples < 0.0 && parent.last_analyze.is_none() {
            Some("partitioned table without statistics of its own; autovacuum never gathers them".to_owned())
        } else if !parent.missing.is_empty() {
            Some(missing_reason(parent))
        } else if need >= min_score {
            Some(format!("about {modified:.0} tuples changed in its partitions, {need:.1} times the threshold"))
        } else if every {
            Some("every table was asked for".to_owned())
        } else {
            None
        };
        if let Some(reason) = reason {
            let score = if is_missing(parent) { need.max(MISSING) } else { need };
            let mut step = step_on(parent, place, Action::Analyze, score, reason, VacuumOptions::default());
            step.size_bytes = leaves().map(|leaf| leaf.size_bytes).sum();
            found.push((parent.allowed, step));
        }
    }
    // A parent of parents covers those below it (before version 18), and is better done last in any case.
    found.sort_by_key(|(_, step)| {
        let depth = tables.iter().find(|table| table.oid == step.oid).map_or(0, |table| table.ancestors.len());
        std::cmp::Reverse(depth)
    });
    found
}

fn is_missing(table: &Table) -> bool {
    !table.missing.is_empty()
        || table.kind == TableKind::Partitioned && table.counters.tuples < 0.0 && table.last_analyze.is_none()
}

fn missing_reason(table: &Table) -> String {
    let shown: Vec<&str> = table.missing.iter().take(3).map(String::as_str).collect();
    let more = table.missing.len().saturating_sub(3);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("no statistics for {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vacuum_analyze::tests::{place, table};

    fn policy() -> Policy {
        Policy { min_score: 1.0, every: false, missing_only: false }
    }

    fn names(decisions: &[Decision]) -> Vec<&str> {
        decisions
            .iter()
            .map(|decision| match decision {
                Decision::Do(step) | Decision::Denied(step) => step.relation.as_str(),
            })
            .collect()
    }

    fn family() -> Vec<Table> {
        let mut parent = table(1, "parent", 0.0, 0.0);
        parent.kind = TableKind::Partitioned;
        parent.counters.tuples = -1.0;
        parent.last_analyze = None;
        let mut leaf = table(2, "leaf", 0.0, 0.0);
        leaf.ancestors = vec![1];
        vec![parent, leaf]
    }

    #[test]
    fn a_parent_without_statistics_is_taken_although_its_partitions_are_fresh() {
        assert_eq!(names(&plan(&family(), &Settings::default(), policy(), &place())), ["parent"]);
    }

    #[test]
    fn a_parent_with_fresh_statistics_is_left_alone() {
        let mut tables = family();
        tables[0].counters.tuples = 1000.0;
        tables[0].last_analyze = Some(2.0);
        assert!(plan(&tables, &Settings::default(), policy(), &place()).is_empty());
        tables[1].counters.modified = 900.0;
        assert_eq!(names(&plan(&tables, &Settings::default(), policy(), &place())), ["parent"]);
    }

    #[test]
    fn before_18_a_parent_covers_its_partitions_and_since_18_it_does_not_count_on_it() {
        let mut tables = family();
        tables[1].counters.modified = 900.0;
        assert_eq!(names(&plan(&tables, &Settings::default(), policy(), &place())), ["parent"]);
        let newer = Place { version: 180_000, ..place() };
        assert_eq!(names(&plan(&tables, &Settings::default(), policy(), &newer)), ["leaf", "parent"]);
    }

    #[test]
    fn missing_statistics_are_a_need_even_when_nothing_changed() {
        let mut lonely = table(1, "lonely", 0.0, 0.0);
        lonely.missing = vec!["column a".into()];
        let decisions = plan(&[lonely, table(2, "fine", 0.0, 0.0)], &Settings::default(), policy(), &place());
        assert_eq!(names(&decisions), ["lonely"]);
    }
}
