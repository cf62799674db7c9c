//! What was verified, and when.
//!
//! Each run adds one page: the objects whose bytes it read and found right, what it found wrong, and which backups there
//! were. Pages are sealed notes, so a page cannot be forged or moved without the password; they are never changed, and
//! when there are many they are written together as one.
//!
//! An object is taken as verified only as long as a listing shows it with the same size. That does not find bytes that
//! change later without the size changing; for that everything is read again after a while.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::store::{Store, StoreError};

/// Where pages are, among the notes.
pub const PREFIX: &str = "verify";

/// With more pages than this they are written together.
const MANY: usize = 12;

/// When an object was read and found right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its size in bytes then.
    #[serde(rename = "b")]
    pub bytes: u64,
    /// When, in seconds since 1970.
    #[serde(rename = "t")]
    pub second: i64,
}

/// A backup that was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownBackup {
    /// Its label.
    pub label: String,
    /// Its root: stays the same when the snapshot is written anew to pin it.
    pub tree: String,
    /// What it is a backup of: `cluster ID`, `set NAME` or `other`.
    pub series: String,
    /// When it was taken.
    pub time: Timestamp,
    /// Whether it was pinned.
    pub pinned: bool,
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether everything that was to be looked at was looked at, at some time within the allowed age.
    pub complete: bool,
    /// How many problems it found.
    pub problems: u64,
    /// How many things it could not tell.
    pub unknown: u64,
    /// The first few problems, for people.
    pub examples: Vec<String>,
    /// Objects that it read.
    pub objects: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// The state of a part's index and packs in which the trees of these backups were found whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    /// SHA-256 over the names and sizes of packs, index objects and snapshots, in hexadecimal.
    pub listing: String,
    /// When, in seconds since 1970.
    pub second: i64,
}

/// One run's page, or several written together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page {
    /// When the run began.
    pub at: Timestamp,
    /// Whether what earlier pages say is all in here.
    #[serde(default)]
    pub complete_ledger: bool,
    /// How the run ended.
    pub outcome: Outcome,
    /// The last run that looked at everything and found nothing wrong.
    #[serde(default)]
    pub last_good: Option<Timestamp>,
    /// Objects that were read and found right, by key.
    #[serde(default)]
    pub seen: BTreeMap<String, Seen>,
    /// Objects that are not to be trusted or are not there any more.
    #[serde(default)]
    pub forget: Vec<String>,
    /// Backups that there were; `None` where the run did not look at all of them.
    #[serde(default)]
    pub backups: Option<Vec<KnownBackup>>,
    /// What was found whole, by part (its directory).
    #[serde(default)]
    pub whole: BTreeMap<String, Whole>,
}

/// All pages, read together.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Verified objects, by key.
    pub seen: BTreeMap<String, Seen>,
    /// The backups that the last complete look saw.
    pub backups: Vec<KnownBackup>,
    /// What was found whole, by part (its directory).
    pub whole: BTreeMap<String, Whole>,
    /// The last run: when it began, and how it ended.
    pub last: Option<(Timestamp, Outcome)>,
    /// When the last run began that looked at everything and found nothing wrong.
    pub last_good: Option<Timestamp>,
    /// Pages that there are.
    pages: Vec<String>,
    /// Pages that could not be read, with the reason: what they said is verified again.
    pub unreadable: Vec<(String, String)>,
}

impl Ledger {
    /// Reads all pages.
    ///
    /// # Errors
    /// They cannot be listed. A page that does not open is no error: it is in [`Ledger::unreadable`].
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        let mut ledger = Ledger { pages: store.notes(PREFIX)?, ..Ledger::default() };
        for key in ledger.pages.clone() {
            match store.note::<Page>(&key) {
                Ok(page) => ledger.turn(page),
                // Another run wrote the pages together meanwhile: what this one said is in a later one.
                Err(StoreError::Storage(error)) if error.is_not_found() => {}
                Err(error) => ledger.unreadable.push((key, error.to_string())),
            }
        }
        Ok(ledger)
    }

    /// Takes a page in, after all earlier ones.
    pub fn turn(&mut self, page: Page) {
        if page.complete_ledger {
            self.seen.clear();
        }
        for key in &page.forget {
            self.seen.remove(key);
        }
        self.seen.extend(page.seen);
        if let Some(backups) = page.backups {
            self.backups = backups;
        }
        for (part, whole) in page.whole {
            // An empty listing takes back what was said before.
            if whole.listing.is_empty() {
                self.whole.remove(&part)
            } else {
                self.whole.insert(part, whole)
            };
        }
        let good = page.outcome.complete && page.outcome.problems == 0 && page.outcome.unknown == 0;
        self.last_good = if good { Some(page.at) } else { page.last_good.or(self.last_good) };
        self.last = Some((page.at, page.outcome));
    }

    /// Whether the object was verified after `since` (seconds since 1970) and has the same size still.
    pub fn knows(&self, key: &str, bytes: u64, since: i64) -> bool {
        self.seen.get(key).is_some_and(|seen| seen.bytes == bytes && seen.second >= since)
    }

    /// Keeps a run's page; when there are many, all of them as one. The earlier ones are removed only after that, and
    /// where they cannot be removed (a repository that only grows) they do no harm.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(mut self, store: &Store, mut page: Page) -> Result<(), StoreError> {
        let key = format!("{PREFIX}/{}", Ulid::generate());
        if self.pages.len() < MANY {
            store.put_note(&key, &page)?;
            return Ok(());
        }
        self.turn(page.clone());
        page.complete_ledger = true;
        page.last_good = self.last_good;
        page.forget = Vec::new();
        page.seen = self.seen;
        page.backups = Some(self.backups);
        page.whole = self.whole;
        store.put_note(&key, &page)?;
        for old in &self.pages {
            if let Err(error) = store.remove_note(old) {
                tracing::info!("an old page of the ledger stays: {error}");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(second: i64, seen: &[(&str, u64)]) -> Page {
        Page {
            at: Timestamp::from_second(second).unwrap(),
            complete_ledger: false,
            outcome: Outcome { complete: true, ..Outcome::default() },
            last_good: None,
            seen: seen.iter().map(|(key, bytes)| ((*key).to_owned(), Seen { bytes: *bytes, second })).collect(),
            forget: Vec::new(),
            backups: None,
            whole: BTreeMap::new(),
        }
    }

    #[test]
    fn an_object_of_another_size_or_seen_too_long_ago_is_not_known() {
        let mut ledger = Ledger::default();
        ledger.turn(page(100, &[("a", 5)]));
        assert!(ledger.knows("a", 5, 100));
        assert!(!ledger.knows("a", 6, 100), "another size");
        assert!(!ledger.knows("a", 5, 101), "too long ago");
        assert!(!ledger.knows("b", 5, 0));
    }

    #[test]
    fn what_a_later_page_forgets_is_not_known_any_more() {
        let mut ledger = Ledger::default();
        ledger.turn(page(1, &[("a", 5), ("b", 5)]));
        ledger.turn(Page { forget: vec!["a".into()], ..page(2, &[]) });
        assert!(!ledger.knows("a", 5, 0));
        assert!(ledger.knows("b", 5, 0));
        // A page that holds everything does not bring it back, although the first page may still be there.
        ledger.turn(Page { complete_ledger: true, ..page(3, &[("b", 5)]) });
        assert!(!ledger.knows("a", 5, 0));
    }

    #[test]
    fn only_a_complete_run_without_problems_is_good() {
        let mut ledger = Ledger::default();
        ledger.turn(page(1, &[]));
        let partial = Outcome { complete: false, ..Outcome::default() };
        ledger.turn(Page { outcome: partial, ..page(2, &[]) });
        let bad = Outcome { complete: true, problems: 1, ..Outcome::default() };
        ledger.turn(Page { outcome: bad, ..page(3, &[]) });
        assert_eq!(ledger.last_good, Timestamp::from_second(1).ok());
        assert_eq!(ledger.last.unwrap().0, Timestamp::from_second(3).unwrap());
    }
}
