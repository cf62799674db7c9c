//! One step of work on one relation: what plans are made of, what `apply -` reads, and the only place where its SQL is
//! written.

use maint_core::pg::ident::quote_ident;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use serde::{Deserialize, Serialize};

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// `VACUUM`, with `ANALYZE` when statistics are due as well.
    Vacuum,
    /// `ANALYZE`.
    Analyze,
    /// `REINDEX INDEX CONCURRENTLY`.
    Reindex,
    /// `DROP INDEX CONCURRENTLY` of what an unfinished rebuild left behind.
    DropLeftover,
}

impl Action {
    /// The name as it stands in a record.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Vacuum => "vacuum",
            Action::Analyze => "analyze",
            Action::Reindex => "reindex",
            Action::DropLeftover => "drop-leftover",
        }
    }
}

/// How a vacuum runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VacuumOptions {
    /// Gather statistics in the same pass.
    #[serde(default)]
    pub analyze: bool,
    /// Freeze every tuple that can be frozen.
    #[serde(default)]
    pub freeze: bool,
    /// Give empty pages at the end of the table back to the file system. This takes an ACCESS EXCLUSIVE lock for a
    /// moment, also on standbys, so it is off unless asked for.
    #[serde(default)]
    pub truncate: bool,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// The server the plan was made for (`system_identifier`), when the role may read it.
    #[serde(default)]
    pub server: Option<String>,
    /// The database.
    pub database: String,
    /// The schema of the relation.
    pub schema: String,
    /// The table to vacuum or analyze, or the index to rebuild or drop.
    pub relation: String,
    /// The relation's oid when the plan was made: a namesake created since is not the same relation.
    pub oid: u32,
    /// The oid of the table: the relation itself, or the index's. Two steps on one table never run at once.
    pub table_oid: u32,
    /// The index's table, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The need: 1 is where autovacuum would act, or where an index counts as bloated.
    pub score: f64,
    /// Why.
    pub reason: String,
    /// The relation's size by the catalog, in bytes.
    #[serde(default)]
    pub size_bytes: u64,
    /// How to vacuum.
    #[serde(default)]
    pub options: VacuumOptions,
}

impl Step {
    /// `schema.relation`.
    pub fn subject(&self) -> String {
        format!("{}.{}", self.schema, self.relation)
    }

    /// The relation, quoted for SQL.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote_ident(&self.schema), quote_ident(&self.relation))
    }

    /// The one statement of this step. It is always rendered from the fields: SQL that came in from outside is never
    /// run.
    pub fn sql(&self) -> String {
        let name = self.quoted();
        match self.action {
            Action::Vacuum => {
                let mut options = Vec::new();
                if self.options.freeze {
                    options.push("FREEZE");
                }
                if self.options.analyze {
                    options.push("ANALYZE");
                }
                if !self.options.truncate {
                    options.push("TRUNCATE false");
                }
                if options.is_empty() {
                    format!("VACUUM {name}")
                } else {
                    format!("VACUUM ({}) {name}", options.join(", "))
                }
            }
            Action::Analyze => format!("ANALYZE {name}"),
            Action::Reindex => format!("REINDEX INDEX CONCURRENTLY {name}"),
            Action::DropLeftover => format!("DROP INDEX CONCURRENTLY IF EXISTS {name}"),
        }
    }

    /// The step as a record of the plan; `apply -` reads it back.
    pub fn planned(&self) -> Record {
        self.record(Kind::Plan, Status::Planned, self.reason.clone())
    }

    /// The step as a record of what became of it.
    pub fn record(&self, kind: Kind, status: Status, message: impl Into<String>) -> Record {
        let mut record = Record::new(kind, self.subject(), status, message)
            .label("database", &self.database)
            .label("action", self.action.as_str());
        if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(self) {
            record.fields = fields;
        }
        record.field("sql", self.sql())
    }
}

/// The most needed first; ties by size, the smaller first, because it is done sooner.
pub fn rank(steps: &mut [Step]) {
    steps.sort_by(|a, b| {
        b.score.total_cmp(&a.score).then(a.size_bytes.cmp(&b.size_bytes)).then_with(|| a.subject().cmp(&b.subject()))
    });
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn step(action: Action, relation: &str) -> Step {
        Step {
            action,
            server: Some("7".into()),
            database: "db".into(),
            schema: "public".into(),
            relation: relation.into(),
            oid: 1,
            table_oid: 1,
            table: None,
            score: 1.0,
            reason: "r".into(),
            size_bytes: 0,
            options: VacuumOptions::default(),
        }
    }

    #[test]
    fn sql_quotes_every_name() {
        let mut step = step(Action::Vacuum, "We\"ird Näme.x");
        assert_eq!(step.sql(), r#"VACUUM (TRUNCATE false) "public"."We""ird Näme.x""#);
        step.options = VacuumOptions { analyze: true, freeze: true, truncate: true };
        assert_eq!(step.sql(), r#"VACUUM (FREEZE, ANALYZE) "public"."We""ird Näme.x""#);
        step.action = Action::Reindex;
        assert_eq!(step.sql(), r#"REINDEX INDEX CONCURRENTLY "public"."We""ird Näme.x""#);
    }

    #[test]
    fn a_planned_step_reads_back_as_itself() {
        let step = step(Action::DropLeftover, "i_ccnew");
        let record = step.planned();
        let back: Step = serde_json::from_value(serde_json::Value::Object(record.fields)).unwrap();
        assert_eq!(back, step);
    }

    #[test]
    fn the_most_needed_comes_first_and_the_smaller_of_equals() {
        let mut a = step(Action::Vacuum, "a");
        a.size_bytes = 10;
        let mut b = step(Action::Vacuum, "b");
        b.size_bytes = 5;
        let mut c = step(Action::Vacuum, "c");
        c.score = 2.0;
        let mut steps = vec![a, b, c];
        rank(&mut steps);
        let names: Vec<_> = steps.iter().map(|step| step.relation.as_str()).collect();
        assert_eq!(names, ["c", "b", "a"]);
    }
}
