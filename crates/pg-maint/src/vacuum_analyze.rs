//! `vacuum-analyze`: vacuum the tables that need it, the most needed first, and analyze those whose statistics are due.
//!
//! The plan is a pure function of the catalog ([`Table`]) and the [`Policy`]. A table is taken when its score reaches
//! the policy's minimum; with `--every` all are taken, the longest not vacuumed first, so that runs cut short by their
//! time budget come round to every table.

use crate::catalog::{Table, TableKind};
use crate::score::{Score, Settings, score};
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

/// Where a step takes place.
#[derive(Debug, Clone)]
pub struct Place {
    /// `system_identifier`, when the role may read it.
    pub server: Option<String>,
    /// The database.
    pub database: String,
    /// `server_version_num`.
    pub version: i32,
}

/// A planned step, or a table that needs work and that this role may not touch.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Do it.
    Do(Step),
    /// Cannot: the privilege is missing.
    Denied(Step),
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
        options.analyze = table.can_be_analyzed() && (need.analyze >= policy.min_score || policy.every);
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

pub(crate) fn decide(steps: impl Iterator<Item = (bool, Step)>) -> Vec<Decision> {
    steps.map(|(allowed, step)| if allowed { Decision::Do(step) } else { Decision::Denied(step) }).collect()
}

pub(crate) fn step_on(
    table: &Table,
    place: &Place,
    action: Action,
    score: f64,
    reason: String,
    options: VacuumOptions,
) -> Step {
    Step {
        action,
        server: place.server.clone(),
        database: place.database.clone(),
        schema: table.schema.clone(),
        relation: table.name.clone(),
        oid: table.oid,
        table_oid: table.oid,
        table: None,
        score: rounded(score),
        reason,
        size_bytes: table.size_bytes,
        options,
    }
}

/// Two digits are what a person compares by; more would make every plan differ from the next.
fn rounded(score: f64) -> f64 {
    if score < 1e6 { (score * 100.0).round() / 100.0 } else { score }
}

/// The need of one table with its TOAST table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    own: Score,
    toast: Score,
    dead: f64,
    modified: f64,
    xid_age: f64,
    /// The need for a vacuum.
    pub(crate) vacuum: f64,
    /// The need for an analyze.
    pub(crate) analyze: f64,
}

impl Need {
    pub(crate) fn of(table: &Table, settings: &Settings) -> Self {
        let own = score(&table.counters, settings);
        let toast = table.toast.as_ref().map(|toast| score(toast, settings)).unwrap_or_default();
        let toast_age = table.toast.as_ref().map_or(0.0, |toast| toast.xid_age);
        Need {
            own,
            toast,
            dead: table.counters.dead,
            modified: table.counters.modified,
            xid_age: table.counters.xid_age.max(toast_age),
            vacuum: own.vacuum().max(toast.vacuum()),
            analyze: if table.can_be_analyzed() { own.analyze } else { 0.0 },
        }
    }

    fn reason(&self, analyze: bool) -> String {
        let mut parts = Vec::new();
        let mut add = |value: f64, text: String| {
            if value >= 1.0 {
                parts.push(text);
            }
        };
        add(self.own.dead, format!("{:.0} dead tuples, {:.1} times the threshold", self.dead, self.own.dead));
        add(self.own.inserted, format!("inserted tuples {:.1} times the threshold", self.own.inserted));
        add(self.own.xid.max(self.toast.xid), format!("transaction age {:.0} forces a freeze", self.xid_age));
        add(self.own.mxid.max(self.toast.mxid), "multixact age forces a freeze".to_owned());
        add(self.toast.dead, format!("dead TOAST tuples {:.1} times the threshold", self.toast.dead));
        add(self.toast.inserted, format!("inserted TOAST tuples {:.1} times the threshold", self.toast.inserted));
        if parts.is_empty() {
            parts.push(format!("score {:.2}", self.vacuum));
        }
        if analyze {
            parts.push(self.analyze_reason());
        }
        parts.join("; ")
    }

    pub(crate) fn analyze_reason(&self) -> String {
        format!("{:.0} tuples changed since the last analyze, {:.1} times the threshold", self.modified, self.analyze)
    }
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
    fn the_catalog_of_statistics_is_vacuumed_and_never_analyzed() {
        for (every, dead, modified, expected) in
            [(false, 900.0, 9e9, true), (true, 0.0, 9e9, true), (false, 0.0, 9e9, false)]
        {
            let decisions =
                plan(&[table(2619, "pg_statistic", dead, modified)], &Settings::default(), policy(every), &place());
            match decisions.as_slice() {
                [Decision::Do(step)] => assert!(expected && step.action == Action::Vacuum && !step.options.analyze),
                other => assert!(!expected && other.is_empty(), "{other:?}"),
            }
        }
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
