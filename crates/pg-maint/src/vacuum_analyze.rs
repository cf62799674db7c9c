//! `vacuum-analyze`: vacuum the tables that need it, the most needed first, and analyze those whose statistics are due.
//!
//! The plan is a pure function of the catalog ([`Table`]) and the [`Policy`]. A table is taken when its score reaches
//! the policy's minimum; with `--every` all are taken, the longest not vacuumed first, so that runs cut short by their
//! time budget come round to every table.

use crate::catalog::{Table, TableKind};
use crate::need::{Decision, Need, Place, decide, step_on};
use crate::score::Settings;
use crate::step::{Action, Step, VacuumOptions, rank};

/// What the operator asked for.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The score from which a table is taken.
    pub min_score: f64,
    /// Take every table, needed or not.
    pub every: bool,
    /// How to vacuum; `analyze` is decided per table.
    pub options: VacuumOptions,
}

/// The steps for `tables`, ranked, and what this role may not do.
pub fn plan(tables: &[Table], settings: &Settings, policy: Policy, place: &Place) -> Vec<Decision> {
    let mut taken: Vec<(&Table, Step)> = Vec::new();
    for table in tables {
        let need = Need::of(table, settings);
        let mut options = policy.options;
        let step = |action, score: f64, reason: String, options| step_on(table, place, action, score, reason, options);
        if table.kind == TableKind::Partitioned {
            continue;
        }
        options.analyze = table.analyzable() && (need.analyze >= policy.min_score || policy.every);
        if need.vacuum >= policy.min_score || policy.every {
            let reason = if policy.every && need.vacuum < policy.min_score {
                "every table was asked for".to_owned()
            } else {
                need.reason(options.analyze)
            };
            taken.push((table, step(Action::Vacuum, need.vacuum.max(need.analyze), reason, options)));
        } else if options.analyze {
            taken.push((table, step(Action::Analyze, need.analyze, need.analyze_reason(), VacuumOptions::default())));
        }
    }
    if policy.every {
        taken.sort_by(|(a, _), (b, _)| a.last_vacuum.unwrap_or(0.0).total_cmp(&b.last_vacuum.unwrap_or(0.0)));
        // Rows of a partitioned table live in its partitions: its own statistics come after theirs.
        let parents = crate::update_statistics::parents(tables, settings, policy.min_score, true, place);
        return decide(taken.into_iter().map(|(table, step)| (table.allowed, step)).chain(parents));
    }
    let mut steps: Vec<Step> = taken.iter().map(|(_, step)| step.clone()).collect();
    rank(&mut steps);
    let allowed = |oid| tables.iter().any(|table| table.oid == oid && table.allowed);
    let parents = crate::update_statistics::parents(tables, settings, policy.min_score, false, place);
    decide(steps.into_iter().map(|step| (allowed(step.oid), step)).chain(parents))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::score::Counters;

    pub(crate) fn place() -> Place {
        Place { server: None, database: "db".into(), version: 150_000 }
    }

    pub(crate) fn table(oid: u32, name: &str, dead: f64, modified: f64) -> Table {
        Table {
            oid,
            schema: "public".into(),
            name: name.into(),
            kind: TableKind::Ordinary,
            allowed: true,
            size_bytes: 8192,
            counters: Counters { tuples: 1000.0, dead, modified, ..Counters::default() },
            toast: None,
            vacuums: 0,
            analyzes: 0,
            last_vacuum: None,
            last_analyze: Some(1.0),
            ancestors: Vec::new(),
            missing: Vec::new(),
            system: false,
        }
    }

    fn policy(every: bool) -> Policy {
        Policy { min_score: 1.0, every, options: VacuumOptions::default() }
    }

    fn names(decisions: &[Decision]) -> Vec<String> {
        let step = |decision: &Decision| match decision {
            Decision::Do(step) => format!("{} {}", step.action.as_str(), step.relation),
            Decision::Denied(step) => format!("denied {}", step.relation),
        };
        decisions.iter().map(step).collect()
    }

    #[test]
    fn only_what_needs_it_the_most_needed_first() {
        let tables = [
            table(1, "calm", 10.0, 0.0),
            table(2, "needy", 500.0, 0.0),
            table(3, "worse", 900.0, 900.0),
            table(4, "stale", 0.0, 300.0),
        ];
        let decisions = plan(&tables, &Settings::default(), policy(false), &place());
        assert_eq!(names(&decisions), ["vacuum worse", "vacuum needy", "analyze stale"]);
        let Decision::Do(worse) = &decisions[0] else { panic!() };
        assert!(worse.options.analyze);
        assert!(worse.reason.contains("900 dead tuples"), "{}", worse.reason);
        let Decision::Do(needy) = &decisions[1] else { panic!() };
        assert!(!needy.options.analyze);
    }

    #[test]
    fn a_table_this_role_may_not_touch_is_listed_and_not_dropped_from_sight() {
        let mut other = table(1, "theirs", 900.0, 0.0);
        other.allowed = false;
        let decisions = plan(&[other], &Settings::default(), policy(false), &place());
        assert_eq!(names(&decisions), ["denied theirs"]);
    }

    #[test]
    fn a_needy_toast_table_takes_its_table_along() {
        let mut wide = table(1, "wide", 0.0, 0.0);
        wide.toast = Some(Counters { tuples: 100.0, dead: 1000.0, ..Counters::default() });
        let decisions = plan(&[wide], &Settings::default(), policy(false), &place());
        assert_eq!(names(&decisions), ["vacuum wide"]);
    }

    #[test]
    fn the_table_of_statistics_has_none_of_its_own() {
        let mut statistic = table(2619, "pg_statistic", 900.0, 900.0);
        statistic.last_analyze = None;
        let decisions = plan(&[statistic], &Settings::default(), policy(true), &place());
        let Decision::Do(step) = &decisions[0] else { panic!() };
        assert!(!step.options.analyze);
    }

    #[test]
    fn with_every_the_longest_not_vacuumed_comes_first() {
        let mut recent = table(1, "recent", 0.0, 0.0);
        recent.last_vacuum = Some(200.0);
        let mut old = table(2, "old", 0.0, 0.0);
        old.last_vacuum = Some(100.0);
        let never = table(3, "never", 0.0, 0.0);
        let decisions = plan(&[recent, old, never], &Settings::default(), policy(true), &place());
        assert_eq!(names(&decisions), ["vacuum never", "vacuum old", "vacuum recent"]);
    }
}
