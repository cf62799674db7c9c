//! What was told, in a file.

use std::path::Path;

use jiff::Timestamp;
use maint_core::durable;
use maint_core::failure::Failure;
use serde::{Deserialize, Serialize};

use super::event::{Event, Key, What, change, key};
use crate::finding::Finding;
use crate::report::Report;

/// Of the file; one that is newer is not understood.
const SCHEMA: u32 = 1;

/// So many days of history are kept.
const DAYS: usize = 1_000;

/// Somebody has seen it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ack {
    /// Who.
    pub(super) by: String,
    /// When.
    pub(super) at: Timestamp,
    /// What they said.
    pub(super) note: Option<String>,
}

/// A finding that was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// As it was told last.
    pub(super) finding: Finding,
    /// When it was told first, since it was last gone.
    pub(super) opened: Timestamp,
    /// When it was seen to be gone.
    pub(super) resolved: Option<Timestamp>,
    /// Who has seen it.
    pub(super) ack: Option<Ack>,
}

/// What one run came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Past {
    /// When.
    pub(super) at: Timestamp,
    /// Findings that were new or came back.
    pub(super) opened: usize,
    /// Findings that were gone.
    pub(super) resolved: usize,
    /// Open after it.
    pub(super) open: usize,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    schema: u32,
    /// By when they were told.
    pub(super) entries: Vec<Entry>,
    /// By when they were.
    pub(super) history: Vec<Past>,
}

impl Default for State {
    fn default() -> Self {
        State { schema: SCHEMA, entries: Vec::new(), history: Vec::new() }
    }
}

impl State {
    /// Reads a file; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read or does not hold. It is not begun anew then: everything would be told again.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, Failure> {
        let shown = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::usage(format!("cannot read the state {shown}: {error}"))),
        };
        let state: State = serde_json::from_str(&text).map_err(|error| {
            Failure::usage(format!("the state {shown} does not hold: {error}"))
                .hint("move it away, and everything that is open will be told once more")
        })?;
        if state.schema != SCHEMA {
            return Err(Failure::usage(format!(
                "the state {shown} is of version {}; this program knows {SCHEMA}",
                state.schema
            )));
        }
        Ok(Some(state))
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn save(&self, path: &Path) -> Result<(), Failure> {
        let failed = |why: String| Failure::critical(format!("cannot write the state {}: {why}", path.display()));
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(|error| failed(error.to_string()))?;
        }
        let text = serde_json::to_vec(self).map_err(|error| failed(error.to_string()))?;
        durable::replace(path, &text, 0o600).map_err(|error| failed(error.to_string()))
    }

    /// What was told of a finding.
    pub(super) fn find(&self, wanted: &Key) -> Option<&Entry> {
        self.entries.iter().find(|entry| key(&entry.finding) == *wanted)
    }

    /// Those that are not gone.
    pub(super) fn open(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.resolved.is_none())
    }

    /// Notes that an event was told.
    pub(super) fn take(&mut self, event: &Event, now: Timestamp) {
        let wanted = key(&event.finding);
        let entry = self.entries.iter_mut().find(|entry| key(&entry.finding) == wanted);
        match (entry, event.what) {
            (Some(entry), What::Resolved) => entry.resolved = Some(now),
            (Some(entry), What::Reopened) => {
                *entry = Entry { finding: event.finding.clone(), opened: now, resolved: None, ack: None };
            }
            (Some(entry), _) => {
                entry.finding = event.finding.clone();
                // Who has seen it has not seen this.
                entry.ack = None;
            }
            (None, What::Resolved) => {}
            (None, _) => {
                self.entries.push(Entry { finding: event.finding.clone(), opened: now, resolved: None, ack: None });
            }
        }
    }

    /// Brings what was told up to what is there, where that is no news: the line, the tier, an exception.
    pub(super) fn follow(&mut self, report: &Report) {
        for finding in &report.findings {
            let wanted = key(finding);
            let entry = self.entries.iter_mut().find(|entry| entry.resolved.is_none() && key(&entry.finding) == wanted);
            if let Some(entry) = entry
                && change(&entry.finding, finding).is_none()
            {
                entry.finding = finding.clone();
            }
        }
    }

    /// Notes what a run came to.
    pub(super) fn close(&mut self, now: Timestamp, events: &[Event], undelivered: usize) {
        let count = |wanted: &[What]| events.iter().filter(|event| wanted.contains(&event.what)).count();
        if events.is_empty() && undelivered == 0 && self.history.last().is_some_and(|last| same_day(last.at, now)) {
            return;
        }
        let (opened, resolved) = (count(&[What::New, What::Reopened]), count(&[What::Resolved]));
        let open = self.open().count();
        self.history.push(Past { at: now, opened, resolved, open });
        let extra = self.history.len().saturating_sub(DAYS);
        self.history.drain(..extra);
    }
}

fn same_day(a: Timestamp, b: Timestamp) -> bool {
    a.as_second().div_euclid(86_400) == b.as_second().div_euclid(86_400)
}
