//! How many warnings each crate may have: a small file that a project keeps with its code, whose numbers only fall.
//!
//! In TOML it is a table `[warnings]` with a number a crate, in JSON an object of the same shape; the file's name decides. A
//! crate that is not in it may have none.

use std::collections::BTreeMap;
use std::path::Path;

use maint_core::durable;
use maint_core::failure::Failure;
use serde::{Deserialize, Serialize};

/// The allowed numbers, by crate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratchet {
    /// The table.
    pub warnings: BTreeMap<String, usize>,
}

/// A crate's number against its ratchet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// More than it may have.
    Above,
    /// As many as it may have.
    Held,
    /// Fewer: the ratchet can be lowered.
    Below,
}

impl Ratchet {
    /// Reads a file; `None` when there is none.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::usage(format!("cannot read the ratchet {}: {error}", path.display()))),
        };
        let read = if is_json(path) {
            serde_json::from_str(&text).map_err(|error| error.to_string())
        } else {
            toml::from_str(&text).map_err(|error| error.to_string().trim_end().replace('\n', " "))
        };
        read.map(Some).map_err(|error| {
            Failure::usage(format!("the ratchet {} does not hold: {error}", path.display()))
                .hint("it is a table [warnings] with a number a crate; bring the committed version back")
        })
    }

    /// Replaces the file durably.
    ///
    /// # Errors
    /// It cannot be written; the old one is still there.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        durable::replace(path, self.text(is_json(path)).as_bytes(), 0o644)
            .map_err(|error| Failure::critical(error.to_string()))
    }

    fn text(&self, json: bool) -> String {
        if json {
            return serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        }
        let mut text = String::from("# Warnings that each crate may have; a number may only fall.\n[warnings]\n");
        for (name, count) in &self.warnings {
            text.push_str(&format!("{name} = {count}\n"));
        }
        text
    }

    /// How many warnings a crate may have.
    pub fn allows(&self, name: &str) -> usize {
        self.warnings.get(name).copied().unwrap_or(0)
    }

    /// A crate's number against what it may have.
    pub fn judge(&self, name: &str, count: usize) -> Verdict {
        match count.cmp(&self.allows(name)) {
            std::cmp::Ordering::Greater => Verdict::Above,
            std::cmp::Ordering::Equal => Verdict::Held,
            std::cmp::Ordering::Less => Verdict::Below,
        }
    }

    /// The ratchet as it may be after these counts: no number higher, no crate new, and those at none or gone from the
    /// workspace left out.
    #[must_use]
    pub fn lowered(&self, counts: &BTreeMap<String, usize>) -> Self {
        let lower = |(name, allowed): (&String, &usize)| {
            let count = (*allowed).min(*counts.get(name)?);
            (count > 0).then(|| (name.clone(), count))
        };
        Ratchet { warnings: self.warnings.iter().filter_map(lower).collect() }
    }

    /// The first ratchet of a workspace: what was counted.
    pub fn first(counts: &BTreeMap<String, usize>) -> Self {
        Ratchet { warnings: counts.iter().filter(|(_, count)| **count > 0).map(|(k, v)| (k.clone(), *v)).collect() }
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratchet(numbers: &[(&str, usize)]) -> Ratchet {
        Ratchet { warnings: counts(numbers) }
    }

    fn counts(numbers: &[(&str, usize)]) -> BTreeMap<String, usize> {
        numbers.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn a_number_falls_and_never_rises_and_no_crate_comes_in() {
        let before = ratchet(&[("a", 5), ("b", 2), ("c", 1), ("gone", 4)]);
        let after = before.lowered(&counts(&[("a", 3), ("b", 9), ("c", 0), ("new", 7)]));
        assert_eq!(after, ratchet(&[("a", 3), ("b", 2)]));
        assert_eq!(after.lowered(&counts(&[("a", 3), ("b", 9)])), after);
    }

    #[test]
    fn a_crate_that_is_not_in_it_may_have_none() {
        let ratchet = ratchet(&[("a", 2)]);
        assert_eq!(ratchet.judge("new", 1), Verdict::Above);
        assert_eq!(ratchet.judge("new", 0), Verdict::Held);
        assert_eq!(ratchet.judge("a", 3), Verdict::Above);
        assert_eq!(ratchet.judge("a", 2), Verdict::Held);
        assert_eq!(ratchet.judge("a", 1), Verdict::Below);
    }

    #[test]
    fn what_is_written_is_read_again_in_both_forms() {
        let dir = tempfile::tempdir().unwrap();
        let ratchet = ratchet(&[("a-b", 2), ("c_d", 7)]);
        for name in ["ratchet.toml", "ratchet.json", "ratchet"] {
            let path = dir.path().join(name);
            assert_eq!(Ratchet::read(&path).unwrap(), None);
            ratchet.write(&path).unwrap();
            assert_eq!(Ratchet::read(&path).unwrap().unwrap(), ratchet, "{name}");
        }
    }

    #[test]
    fn a_ratchet_that_does_not_hold_is_refused_by_name_and_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ratchet.toml");
        for text in ["[warnings]\na = -1\n", "[warning]\na = 1\n", "a = 1\n", "<<<<<<< HEAD\n", "[warnings]\na = 'x'\n"]
        {
            std::fs::write(&path, text).unwrap();
            let failure = Ratchet::read(&path).unwrap_err();
            assert!(failure.message.contains("ratchet.toml"), "{text}: {failure}");
        }
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(Ratchet::read(&path).is_err());
    }
}
