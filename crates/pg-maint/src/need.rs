//! What the plans of vacuum and of statistics share: the need of a table, where it stands, and what is decided.

use crate::catalog::Table;
use crate::score::{Score, Settings, score};
use crate::step::{Action, Step, VacuumOptions};

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
            analyze: if table.analyzable() { own.analyze } else { 0.0 },
        }
    }

    pub(crate) fn reason(&self, analyze: bool) -> String {
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
