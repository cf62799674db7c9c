//! What is found in a lock file, and how it is told.

use std::path::PathBuf;

use jiff::civil::Date;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use serde::{Deserialize, Serialize};

use crate::advisory::Severity;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// An advisory: it can be attacked.
    Vulnerability,
    /// An advisory: it can break memory safety from safe code.
    Unsound,
    /// An advisory: nobody looks after it.
    Unmaintained,
    /// An advisory: worth knowing.
    Notice,
    /// The version was taken back.
    Yanked,
    /// The toolchain has an advisory.
    Toolchain,
    /// Nothing is known of it: it does not come from the registry.
    Unscanned,
    /// An exception that does not hold, or that nothing needs.
    Exception,
}

/// Who lets a finding pass, why, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excepted {
    /// The reason.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// The last day (UTC).
    pub until: Date,
    /// That day is over: the finding counts again.
    pub expired: bool,
}

/// How far what is locked is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Built by default on this platform.
    Active,
    /// Built with some feature, or for some other platform.
    Gated,
    /// In the lock file alone: nothing builds it.
    LockOnly,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// The advisory's id; empty where there is none.
    pub id: String,
    /// Its other names.
    pub aliases: Vec<String>,
    /// What it is about, in one line.
    pub title: String,
    /// Where more is to be read.
    pub url: Option<String>,
    /// The crate.
    #[serde(rename = "crate")]
    pub package: String,
    /// Its version.
    pub version: String,
    /// The lock file.
    pub lockfile: PathBuf,
    /// The line of the package in it.
    pub line: usize,
    /// How far it is used; `None` where nobody looked (a lock file alone).
    pub tier: Option<Tier>,
    /// How bad.
    pub severity: Severity,
    /// Requirements that patched versions meet.
    pub patched: Vec<String>,
    /// Members of the workspace through which it comes.
    pub members: Vec<String>,
    /// Who lets it pass; `None` where nobody does.
    pub excepted: Option<Excepted>,
    /// It stands in the baseline that the run was given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub known: bool,
}

impl Finding {
    /// What it is about: `crate@version`.
    pub fn subject(&self) -> String {
        if self.version.is_empty() { self.package.clone() } else { format!("{}@{}", self.package, self.version) }
    }

    /// Whether somebody lets it pass today.
    pub fn is_excepted(&self) -> bool {
        self.excepted.as_ref().is_some_and(|by| !by.expired)
    }

    /// As a record; `status` is the policy's word.
    pub fn record(&self, status: Status) -> Record {
        let message = match &self.excepted {
            None => self.title.clone(),
            Some(by) if by.expired => {
                format!("{}; the exception of {} ended with {}: {}", self.title, by.owner, by.until, by.reason)
            }
            Some(by) => format!("{}; let pass by {} until {}: {}", self.title, by.owner, by.until, by.reason),
        };
        let mut record = Record::new(Kind::Finding, self.subject(), status, message);
        if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(self) {
            for (name, value) in fields {
                record = record.field(&name, value);
            }
        }
        record
    }
}
