//! The runs of a baseline: a file that only grows, one line of JSON a run.

use std::path::PathBuf;

use jiff::Timestamp;
use maint_core::cli::state_directory;
use maint_core::durable;
use maint_core::failure::Failure;
use maint_core::names::{file_name, percent_decoded};
use serde::{Deserialize, Serialize};

use crate::TOOL;
use crate::metrics::Metrics;

/// The form of the lines.
pub(super) const VERSION: u32 = 1;

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) version: u32,
    pub(super) time: Timestamp,
    /// What was under load.
    pub(super) subject: String,
    pub(super) metrics: Metrics,
}

/// The runs of one baseline, the oldest first.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: String,
    path: PathBuf,
    pub(super) entries: Vec<Entry>,
}

fn directory() -> Result<PathBuf, Failure> {
    Ok(state_directory()?.join(TOOL).join("baselines"))
}

impl Series {
    /// Reads it; without any run where it does not exist yet.
    pub(super) fn open(name: &str) -> Result<Self, Failure> {
        let path = directory()?.join(format!("{}.ndjson", file_name(name)));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Failure::usage(format!("cannot read {}: {error}", path.display()))),
        };
        let mut entries = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let wrong = |why: String| Failure::usage(format!("{}, line {}: {why}", path.display(), index + 1));
            let entry: Entry = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
            if entry.version != VERSION {
                return Err(wrong(format!("it was written by another version of {TOOL} (form {})", entry.version)));
            }
            entries.push(entry);
        }
        Ok(Series { name: name.to_owned(), path, entries })
    }

    /// Whether a run of `subject` can be compared with these.
    pub(super) fn fits(&self, subject: &str) -> Result<(), Failure> {
        match self.entries.last() {
            Some(last) if last.subject != subject => Err(Failure::usage(format!(
                "the baseline {} is of {}, and this run is of {subject}",
                self.name, last.subject
            ))
            .hint("give it another name")),
            _ => Ok(()),
        }
    }

    /// Adds a run, whole or not at all.
    pub(super) fn add(&mut self, entry: Entry) -> Result<(), Failure> {
        self.entries.push(entry);
        let mut text = String::new();
        for entry in &self.entries {
            let line = serde_json::to_string(entry).map_err(|error| Failure::critical(error.to_string()))?;
            text.push_str(&line);
            text.push('\n');
        }
        maint_core::state_dir::ensure(&directory()?).map_err(|error| Failure::usage(error.to_string()))?;
        durable::replace(&self.path, text.as_bytes(), 0o644)
            .map_err(|error| Failure::critical(format!("cannot write {}: {error}", self.path.display())))
    }

    /// What baselines there are.
    pub(super) fn names() -> Result<Vec<String>, Failure> {
        let directory = directory()?;
        let listed = match std::fs::read_dir(&directory) {
            Ok(listed) => listed,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Failure::usage(format!("cannot read {}: {error}", directory.display()))),
        };
        let mut names: Vec<String> = listed
            .flatten()
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".ndjson")?.to_owned()))
            .map(|name| percent_decoded(&name))
            .collect();
        names.sort();
        Ok(names)
    }
}
