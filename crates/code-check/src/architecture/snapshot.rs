//! What one run saw, as it is kept for the next.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use maint_core::durable;
use maint_core::failure::Failure;
use serde::{Deserialize, Serialize};

/// The form of the file.
pub(super) const VERSION: u32 = 1;

/// A workspace at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Snapshot {
    /// [`VERSION`].
    pub(super) version: u32,
    /// When.
    pub(super) time: Timestamp,
    /// Its crates, by name.
    pub(super) crates: BTreeMap<String, Crate>,
    /// Modules, or crates, that need each other.
    pub(super) circles: BTreeSet<Vec<String>>,
}

/// The size of a crate, and what it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Crate {
    pub(super) files: usize,
    pub(super) modules: usize,
    pub(super) code_lines: usize,
    pub(super) test_code_lines: usize,
    pub(super) public_items: usize,
    pub(super) functions: usize,
    pub(super) unsafe_places: usize,
    /// Other crates of the workspace, but for tests.
    pub(super) needs: BTreeSet<String>,
}

/// Something that is otherwise than it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// What has changed.
    pub(super) subject: String,
    /// How.
    pub(super) message: String,
}

impl Crate {
    /// The numbers, by the names of their fields.
    pub(super) fn numbers(&self) -> [(&'static str, usize); 7] {
        [
            ("files", self.files),
            ("modules", self.modules),
            ("code_lines", self.code_lines),
            ("test_code_lines", self.test_code_lines),
            ("public_items", self.public_items),
            ("functions", self.functions),
            ("unsafe_places", self.unsafe_places),
        ]
    }

    /// In words, how `now` differs.
    pub(super) fn difference(&self, now: &Crate) -> String {
        let pairs = self.numbers().into_iter().zip(now.numbers());
        let parts: Vec<String> = pairs
            .filter(|((_, then), (_, now))| then != now)
            .map(|((name, then), (_, now))| format!("{} {:+}", name.replace('_', " "), now as i64 - then as i64))
            .collect();
        if parts.is_empty() { "as it was".to_owned() } else { parts.join(", ") }
    }
}

impl Snapshot {
    /// Reads a file; `None` when there is none.
    ///
    /// # Errors
    /// It is there and is no snapshot.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let refused = |why: String| {
            Failure::usage(format!("cannot read the snapshot {}: {why}", path.display()))
                .hint("remove it to begin anew, or bring back the one that was there")
        };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refused(error.to_string())),
        };
        let snapshot: Snapshot = serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
        if snapshot.version != VERSION {
            return Err(refused(format!("it has form {}, this program writes form {VERSION}", snapshot.version)));
        }
        Ok(Some(snapshot))
    }

    /// Replaces the file durably.
    ///
    /// # Errors
    /// It cannot be written; the old one is still there.
    pub(super) fn write(&self, path: &Path, mode: u32) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Failure::critical(error.to_string()))? + "\n";
        durable::replace(path, text.as_bytes(), mode).map_err(|error| Failure::critical(error.to_string()))
    }

    /// How many crates need it.
    pub(super) fn fan_in(&self, name: &str) -> usize {
        self.crates.values().filter(|krate| krate.needs.contains(name)).count()
    }

    /// What is otherwise in `now`, but for numbers.
    pub(super) fn changes(&self, now: &Snapshot) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut say = |subject: &str, message: String| changes.push(Change { subject: subject.to_owned(), message });
        let none = Crate::default();
        let names: BTreeSet<&String> = self.crates.keys().chain(now.crates.keys()).collect();
        for name in names {
            let (then, now) = (self.crates.get(name), now.crates.get(name));
            match (then, now) {
                (None, Some(_)) => say(name, "a new crate".to_owned()),
                (Some(_), None) => say(name, "the crate is gone".to_owned()),
                _ => {}
            }
            let (then, now) = (then.unwrap_or(&none), now.unwrap_or(&none));
            for need in now.needs.difference(&then.needs) {
                say(name, format!("needs {need} now"));
            }
            for need in then.needs.difference(&now.needs) {
                say(name, format!("does not need {need} any more"));
            }
        }
        for circle in self.circles.difference(&now.circles) {
            say(circle.first().map_or("", String::as_str), format!("the circle of {} is gone", circle.join(", ")));
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(crates: &[(&str, usize, &[&str])], circles: &[&[&str]]) -> Snapshot {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let one = |(name, code_lines, needs): &(&str, usize, &[&str])| {
            (
                (*name).to_owned(),
                Crate { code_lines: *code_lines, needs: owned(needs).into_iter().collect(), ..Crate::default() },
            )
        };
        Snapshot {
            version: VERSION,
            time: Timestamp::UNIX_EPOCH,
            crates: crates.iter().map(one).collect(),
            circles: circles.iter().map(|circle| owned(circle)).collect(),
        }
    }

    #[test]
    fn crates_needs_and_circles_that_come_and_go_are_changes() {
        let then = snapshot(&[("a", 1, &["b"]), ("b", 1, &[])], &[&["a::x", "a::y"]]);
        let now = snapshot(&[("a", 1, &["c"]), ("c", 1, &[])], &[]);
        let said: Vec<String> =
            then.changes(&now).iter().map(|change| format!("{} {}", change.subject, change.message)).collect();
        assert_eq!(
            said,
            [
                "a needs c now",
                "a does not need b any more",
                "b the crate is gone",
                "c a new crate",
                "a::x the circle of a::x, a::y is gone"
            ]
        );
        assert!(then.changes(&then).is_empty());
    }

    #[test]
    fn numbers_say_by_how_much() {
        let then = snapshot(&[("a", 10, &[])], &[]).crates["a"].clone();
        let now = Crate { code_lines: 7, functions: 2, ..then.clone() };
        assert_eq!(then.difference(&now), "code lines -3, functions +2");
        assert_eq!(then.difference(&then), "as it was");
    }

    #[test]
    fn what_is_no_snapshot_is_refused_by_name_and_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.json");
        assert_eq!(Snapshot::read(&path).unwrap(), None);
        let good = snapshot(&[("a", 1, &["b"])], &[&["x", "y"]]);
        good.write(&path, 0o600).unwrap();
        assert_eq!(Snapshot::read(&path).unwrap().unwrap(), good);
        for text in ["", "{}", "[1", "{\"version\":2,\"time\":\"2026-01-01T00:00:00Z\",\"crates\":{},\"circles\":[]}"] {
            std::fs::write(&path, text).unwrap();
            assert!(Snapshot::read(&path).unwrap_err().message.contains("s.json"), "{text}");
        }
    }
}
