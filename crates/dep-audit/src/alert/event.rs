//! What has happened since the last time: a pure comparison of what was told with what is there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use maint_core::record::Record;
use maint_core::status::Status;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::state::State;
use crate::advisory::Severity;
use crate::finding::{Finding, FindingKind};
use crate::report::Report;

/// What happened to a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum What {
    /// It was never there.
    New,
    /// It was there, was gone, and is there again.
    Reopened,
    /// It has become worse, there is a way out, or nobody lets it pass any more.
    Changed,
    /// It is gone.
    Resolved,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// What.
    pub(super) what: What,
    /// In words.
    pub(super) why: String,
    /// The finding as it is, or as it last was.
    pub(super) finding: Finding,
}

impl Event {
    /// The same for the same event, however often it is told.
    pub(super) fn id(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(serde_json::to_string(&(self.what, &self.why, &self.finding)).unwrap_or_default());
        digest.finalize().iter().take(16).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// As a record; `status` is the policy's word.
    pub(super) fn record(&self, status: Status) -> Record {
        let mut record = self.finding.record(status);
        record.message = format!("{}: {}", self.why, record.message);
        record.field("event", self.what).field("event_id", self.id())
    }
}

/// What makes a finding the same as yesterday's.
pub(super) type Key = (String, String, String, PathBuf);

/// That of a finding.
pub(super) fn key(finding: &Finding) -> Key {
    let name = if finding.id.is_empty() { format!("{:?}", finding.kind) } else { finding.id.clone() };
    let path = finding.lockfile.canonicalize().unwrap_or_else(|_| finding.lockfile.clone());
    (name, finding.package.clone(), finding.version.clone(), path)
}

/// Everything that happened since the state was written, the worst first, then what is gone. A finding is gone when its lock
/// file was looked at and does not have it; of a file that could not be read nothing is gone.
pub(super) fn since(state: &State, report: &Report) -> Vec<Event> {
    let mut events = Vec::new();
    let mut now = BTreeSet::new();
    for finding in report.findings.iter().filter(|finding| finding.kind != FindingKind::Exception) {
        let key = key(finding);
        if !now.insert(key.clone()) {
            continue;
        }
        let told = state.find(&key);
        let happened = match told {
            None => Some((What::New, "new".to_owned())),
            Some(entry) if entry.resolved.is_some() => Some((What::Reopened, "it is there again".to_owned())),
            Some(entry) => change(&entry.finding, finding).map(|why| (What::Changed, why)),
        };
        let was_told = told.is_some_and(|entry| entry.resolved.is_none());
        if let Some((what, why)) = happened
            && (was_told || !finding.is_excepted())
        {
            events.push(Event { what, why, finding: finding.clone() });
        }
    }
    let looked: BTreeSet<PathBuf> =
        report.locks.iter().map(|lock| lock.path.canonicalize().unwrap_or_else(|_| lock.path.clone())).collect();
    for entry in state.open() {
        let key = key(&entry.finding);
        if !now.contains(&key) && looked.contains(&key.3) {
            events.push(Event { what: What::Resolved, why: "it is gone".to_owned(), finding: entry.finding.clone() });
        }
    }
    events
}

/// Whether somebody who was told of it before should hear of it again.
pub(super) fn change(before: &Finding, after: &Finding) -> Option<String> {
    if before.is_excepted() && !after.is_excepted() {
        return Some("nobody lets it pass any more".to_owned());
    }
    if after.severity > before.severity && before.severity != Severity::Unknown {
        return Some("it is worse than was known".to_owned());
    }
    if before.patched.is_empty() && !after.patched.is_empty() {
        return Some("there is a patched release".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::Timestamp;

    use super::*;
    use crate::db::Database;
    use crate::lock::Lock;

    fn report(findings: Vec<Finding>) -> Report {
        let directory = tempfile::tempdir().unwrap();
        let crates = directory.path().join("crates/x");
        std::fs::create_dir_all(&crates).unwrap();
        let text = "```toml\n[advisory]\nid = \"RUSTSEC-2026-0001\"\npackage = \"x\"\ndate = \"2026-01-01\"\n[versions]\npatched = []\n```\n\n# X\n\nMore.\n";
        std::fs::write(crates.join("RUSTSEC-2026-0001.md"), text).unwrap();
        let database = Database::open(directory.path()).unwrap();
        let lock = "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n";
        let stamp = database.stamp.clone();
        Report {
            database,
            stamp,
            age: jiff::SignedDuration::ZERO,
            locks: vec![Lock::parse(Path::new("/nowhere/Cargo.lock"), lock).unwrap()],
            unread: Vec::new(),
            findings,
            notes: Vec::new(),
            unknown_yanked: 0,
            tiers: std::collections::BTreeMap::new(),
        }
    }

    fn finding(id: &str, severity: Severity, patched: &[&str]) -> Finding {
        Finding {
            kind: FindingKind::Vulnerability,
            id: id.into(),
            aliases: Vec::new(),
            title: "t".into(),
            url: None,
            package: "x".into(),
            version: "1.0.0".into(),
            lockfile: "/nowhere/Cargo.lock".into(),
            line: 1,
            tier: None,
            severity,
            patched: patched.iter().map(ToString::to_string).collect(),
            members: Vec::new(),
            excepted: None,
            known: false,
        }
    }

    #[test]
    fn each_thing_is_told_once_whatever_the_days_bring() {
        let (low, high) = (Severity::Low, Severity::High);
        let days = [
            (vec![finding("A", low, &[])], vec![("A", What::New)]),
            (vec![finding("A", low, &[])], vec![]),
            (vec![finding("A", high, &[]), finding("B", low, &[])], vec![("A", What::Changed), ("B", What::New)]),
            (vec![finding("A", low, &[">=2"]), finding("B", low, &[])], vec![("A", What::Changed)]),
            (vec![finding("B", low, &[])], vec![("A", What::Resolved)]),
            (vec![finding("A", low, &[">=2"])], vec![("A", What::Reopened), ("B", What::Resolved)]),
            (vec![], vec![("A", What::Resolved)]),
            (vec![], vec![]),
        ];
        let mut state = State::default();
        for (day, (findings, wanted)) in days.into_iter().enumerate() {
            let events = since(&state, &report(findings.clone()));
            let told: Vec<_> = events.iter().map(|event| (event.finding.id.as_str(), event.what)).collect();
            assert_eq!(told, wanted, "day {day}");
            let again = since(&state, &report(findings));
            assert_eq!(
                events.iter().map(Event::id).collect::<Vec<_>>(),
                again.iter().map(Event::id).collect::<Vec<_>>()
            );
            for event in &events {
                state.take(event, Timestamp::UNIX_EPOCH);
            }
        }
    }

    #[test]
    fn of_a_file_that_nobody_could_read_nothing_is_gone() {
        let mut state = State::default();
        for event in since(&state, &report(vec![finding("A", Severity::Low, &[])])) {
            state.take(&event, Timestamp::UNIX_EPOCH);
        }
        let mut unread = report(Vec::new());
        unread.locks.clear();
        assert_eq!(since(&state, &unread), []);
    }
}
