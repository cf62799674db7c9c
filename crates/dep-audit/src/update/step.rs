//! One step of an update: packages that are moved together, because one cannot move without the other. What plans are made
//! of, and what `--apply PLAN` reads.

use std::path::PathBuf;

use jiff::Timestamp;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_seconds;
use semver::Version;
use serde::{Deserialize, Serialize};

/// One package's move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Move {
    /// The crate.
    #[serde(rename = "crate")]
    pub(crate) package: String,
    /// What is locked.
    pub(crate) from: Version,
    /// What shall be.
    pub(crate) to: Version,
    /// When that was published, where the index says so.
    #[serde(default)]
    pub(crate) published: Option<Timestamp>,
    /// The compiler that it needs, where the workspace says that it is for an older one.
    #[serde(default)]
    pub(crate) needs_rust: Option<Version>,
}

/// What is moved and what for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// The lock file.
    pub(crate) lockfile: PathBuf,
    /// The package that it is about.
    #[serde(flatten)]
    pub(crate) target: Move,
    /// What must move first because it would not accept the new version: the outermost first.
    #[serde(default)]
    pub(crate) first: Vec<Move>,
    /// Advisories that it is out of afterwards; `yanked` where the version was taken back; empty for a plain update.
    #[serde(default)]
    pub(crate) fixes: Vec<String>,
    /// It is younger than the cooldown, which is waived because it ends a finding.
    #[serde(default)]
    pub(crate) waived: bool,
}

impl Step {
    /// `crate@version`, as it is locked now.
    pub(crate) fn subject(&self) -> String {
        format!("{}@{}", self.target.package, self.target.from)
    }

    /// The step as words.
    pub(crate) fn told(&self, now: Timestamp) -> String {
        let mut text = format!("{} {} -> {}", self.target.package, self.target.from, self.target.to);
        if let Some(age) = age_seconds(self.target.published, now) {
            let waived = if self.waived { ", the cooldown is waived" } else { "" };
            text.push_str(&format!(" (published {} ago{waived})", format_seconds(age)));
        }
        for mv in &self.first {
            text.push_str(&format!(", after {} {} -> {}", mv.package, mv.from, mv.to));
        }
        if let Some(rust) = self.moves().filter_map(|mv| mv.needs_rust.as_ref()).max() {
            text.push_str(&format!("; needs Rust {rust}, newer than the workspace says"));
        }
        if !self.fixes.is_empty() {
            text.push_str(&format!("; ends {}", self.fixes.join(", ")));
        }
        text
    }

    /// As a record of a plan.
    pub(crate) fn planned(&self, now: Timestamp) -> Record {
        self.record(Kind::Plan, Status::Planned, self.told(now), now)
    }

    /// As a record.
    pub(crate) fn record(&self, kind: Kind, status: Status, message: String, now: Timestamp) -> Record {
        let mut record = Record::new(kind, self.subject(), status, message);
        if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(self) {
            for (name, value) in fields {
                record = record.field(&name, value);
            }
        }
        record.field("age_seconds", age_seconds(self.target.published, now))
    }

    /// Every move, in the order in which they are made.
    pub(crate) fn moves(&self) -> impl Iterator<Item = &Move> {
        self.first.iter().chain(std::iter::once(&self.target))
    }
}

/// How long ago something was published; what lies in the future was published just now.
pub(crate) fn age_seconds(published: Option<Timestamp>, now: Timestamp) -> Option<f64> {
    published.map(|published| now.duration_since(published).as_secs_f64().max(0.0))
}
