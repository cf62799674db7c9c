//! What the commands look at in one database, and what they conclude: the inspect and plan half of every task.

use std::collections::{BTreeMap, BTreeSet};

use maint_core::failure::Failure;
use maint_core::pg::connect::Session;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::intents::Intents;
use crate::need::{Decision, Place};
use crate::select::Selection;
use crate::step::{Action, Step, rank};
use crate::{bloat, catalog, indexes, reindex_tables, score, update_statistics, vacuum_analyze};

/// What was decided for one database.
#[derive(Debug, Default)]
pub struct Plan {
    /// To do, in order.
    pub steps: Vec<Step>,
    /// What this role may not do, and what no step takes care of.
    pub findings: Vec<Record>,
}

impl Plan {
    fn from_decisions(decisions: Vec<Decision>, findings: Vec<Record>) -> Self {
        let mut plan = Plan { steps: Vec::new(), findings };
        for decision in decisions {
            match decision {
                Decision::Do(step) => plan.steps.push(step),
                Decision::Denied(step) => {
                    let text = format!("needs {} ({}), but this role may not", step.action.as_str(), step.reason);
                    plan.findings.push(step.record(Kind::Finding, Status::Denied, text));
                }
            }
        }
        plan
    }
}

/// The tables of the database and the settings they are judged by.
#[derive(Debug)]
pub struct Tables {
    all: Vec<catalog::Table>,
    settings: score::Settings,
    findings: Vec<Record>,
}

/// Looks at the tables.
///
/// # Errors
/// The server did not answer, or nothing matches the selection.
pub async fn tables(
    session: &mut Session,
    selection: &Selection,
    place: &Place,
    all_statistics: bool,
) -> Result<Tables, Failure> {
    let settings = catalog::settings(session).await.map_err(Failure::from)?;
    let mut tables = catalog::tables(session, all_statistics).await.map_err(Failure::from)?;
    let names: Vec<(&str, &str)> = tables.iter().map(|table| (table.schema.as_str(), table.name.as_str())).collect();
    selection.check(&names, &format!("database {}", place.database))?;
    tables.retain(|table| selection.includes(&table.schema, &table.name));
    let mut findings = Vec::new();
    let counts: String = sqlx::query_scalar("SELECT pg_catalog.current_setting('track_counts')")
        .fetch_one(session.conn())
        .await
        .map_err(|error| Failure::from(maint_core::pg::Error::from(error)))?;
    if counts != "on" {
        let text = "track_counts is off: the server counts no dead or changed tuples, so no need can be seen";
        findings.push(Record::new(Kind::Finding, &place.database, Status::Unknown, text).field("kind", "blind"));
    }
    Ok(Tables { all: tables, settings, findings })
}

impl Tables {
    /// The plan of `vacuum-analyze`.
    pub fn vacuum(&self, policy: vacuum_analyze::Policy, place: &Place) -> Plan {
        let decisions = vacuum_analyze::plan(&self.all, &self.settings, policy, place);
        Plan::from_decisions(decisions, self.findings.clone())
    }

    /// The plan of `update-statistics`.
    pub fn statistics(&self, policy: update_statistics::Policy, place: &Place) -> Plan {
        let decisions = update_statistics::plan(&self.all, &self.settings, policy, place);
        Plan::from_decisions(decisions, self.findings.clone())
    }

    /// The tables named with `-t` that need nothing: whoever names a table wants to hear of it.
    pub fn calm(&self, selection: &Selection, plan: &Plan) -> Vec<Record> {
        if selection.tables.is_empty() {
            return Vec::new();
        }
        let due = |oid| plan.steps.iter().any(|step| step.oid == oid);
        let denied = |subject: &str| plan.findings.iter().any(|finding| finding.subject == subject);
        let calm = self.all.iter().filter(|table| !due(table.oid) && !denied(&table.subject()));
        calm.map(|table| {
            let need = crate::need::Need::of(table, &self.settings);
            let score = (need.vacuum.max(need.analyze) * 100.0).round() / 100.0;
            Record::new(Kind::Check, table.subject(), Status::Ok, "not due; --every takes it all the same")
                .field("score", score)
                .field("size_bytes", table.size_bytes)
        })
        .collect()
    }
}

/// Looks at the indexes and decides: the plan of `reindex-tables`.
///
/// # Errors
/// The server did not answer, or nothing matches the selection.
pub async fn reindex(
    session: &mut Session,
    selection: &Selection,
    policy: reindex_tables::Policy,
    place: &Place,
    intents: Option<&Intents>,
) -> Result<Plan, Failure> {
    let all = indexes::indexes(session, None).await.map_err(Failure::from)?;
    let names: Vec<(&str, &str)> =
        all.iter().map(|index| (index.table_schema.as_str(), index.table.as_str())).collect();
    selection.check(&names, &format!("database {}, among tables with indexes,", place.database))?;
    let ours = match intents {
        Some(intents) => intents.leftovers(&all),
        None => BTreeSet::new(),
    };
    let means = bloat::means(session).await.map_err(Failure::from)?;
    let mut figures = BTreeMap::new();
    for index in reindex_tables::worth_measuring(&all, selection, policy) {
        let figure = bloat::bloat(session, index, &means).await.map_err(Failure::from)?;
        figures.insert(index.oid, figure);
    }
    let inspected = reindex_tables::Inspected { indexes: all, ours, bloat: figures };
    let (decisions, findings) = reindex_tables::plan(&inspected, selection, policy, place);
    Ok(Plan::from_decisions(decisions, findings))
}

/// One list of everything: vacuum, statistics and indexes, ranked. A table that is vacuumed anyway gathers its missing
/// statistics in the same step.
pub fn merge(vacuum: Plan, statistics: Plan, reindex: Plan) -> Plan {
    let mut steps = vacuum.steps;
    for step in statistics.steps {
        match steps.iter_mut().find(|known| known.oid == step.oid) {
            Some(known) if known.action == Action::Vacuum && !known.options.analyze => {
                known.options.analyze = true;
                known.reason = format!("{}; {}", known.reason, step.reason);
                known.score = known.score.max(step.score);
            }
            Some(_) => {}
            None => steps.push(step),
        }
    }
    steps.extend(reindex.steps);
    rank(&mut steps);
    let mut findings = vacuum.findings;
    let known: BTreeSet<String> = findings.iter().map(|finding| finding.subject.clone()).collect();
    findings.extend(statistics.findings.into_iter().filter(|finding| !known.contains(&finding.subject)));
    findings.extend(reindex.findings);
    Plan { steps, findings }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::step;

    #[test]
    fn a_table_is_listed_once_although_two_tasks_want_it() {
        let vacuum = Plan { steps: vec![step(Action::Vacuum, "t")], findings: Vec::new() };
        let statistics = Plan { steps: vec![step(Action::Analyze, "t")], findings: Vec::new() };
        let merged = merge(vacuum, statistics, Plan::default());
        assert_eq!(merged.steps.len(), 1);
        assert!(merged.steps[0].options.analyze);
    }
}
