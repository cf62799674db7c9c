//! What this program was rebuilding when it was killed.
//!
//! Before a rebuild starts, its index, table and the indexes that stood there already are written to a file of the
//! database; after the rebuild has been cleaned up, they are struck out. So after a SIGKILL the next run knows which
//! invalid index is its own: one that stands on that table, was not there before, and is named as a rebuild names it.
//! Everything else belongs to somebody, and is reported, not dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use maint_core::durable;
use serde::{Deserialize, Serialize};

use crate::indexes::{Index, has_suffix};

/// The rebuilds under way in one database, by the index's oid.
#[derive(Debug)]
pub struct Intents {
    path: PathBuf,
    open: BTreeMap<u32, Intent>,
}

/// One rebuild under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// `schema.index`, for people.
    pub index: String,
    /// The table.
    pub table_oid: u32,
    /// Every index that stood on the table before, sound ones and leftovers alike.
    pub before: BTreeSet<u32>,
}

/// The file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IntentError {
    /// Reading failed.
    #[error("cannot read {path}, which says what rebuilds were under way: {why}; look at it, then move it away")]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// Writing failed.
    #[error("cannot note the rebuild before it starts: {0}")]
    Write(#[from] durable::DurableError),
}

impl Intents {
    /// Reads what is under way in the database with this oid on this server.
    ///
    /// # Errors
    /// The file exists and cannot be understood.
    pub fn load(state_dir: &Path, server: &str, database_oid: u32) -> Result<Self, IntentError> {
        let path = state_dir.join("pg-maint").join(format!("rebuilding-{server}-{database_oid}.json"));
        let open = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| IntentError::Read { path: path.clone(), why: error.to_string() })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(IntentError::Read { path, why: error.to_string() }),
        };
        Ok(Intents { path, open })
    }

    /// Whether no rebuild is under way.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Notes that a rebuild starts.
    ///
    /// # Errors
    /// The note could not be written: the rebuild must not start.
    pub fn begin(&mut self, index_oid: u32, intent: Intent) -> Result<(), IntentError> {
        self.open.insert(index_oid, intent);
        if let Some(dir) = self.path.parent()
            && !dir.is_dir()
        {
            std::fs::create_dir_all(dir)
                .map_err(|error| IntentError::Read { path: dir.to_owned(), why: error.to_string() })?;
        }
        self.save()
    }

    /// Strikes a rebuild out: nothing of it is left. The file follows with the next [`Intents::begin`] or
    /// [`Intents::save`]; until then it names a rebuild that left nothing to find, which harms nothing.
    pub fn end(&mut self, index_oid: u32) {
        self.open.remove(&index_oid);
    }

    /// The oids of invalid indexes that rebuilds of ours left behind.
    pub fn leftovers(&self, indexes: &[Index]) -> BTreeSet<u32> {
        let ours = |index: &&Index| {
            !index.valid
                && has_suffix(&index.name)
                && self.open.iter().any(|(rebuilt, intent)| {
                    // After the swap it is the old index, under its old oid, that is left.
                    intent.table_oid == index.table_oid
                        && (!intent.before.contains(&index.oid) || *rebuilt == index.oid)
                })
        };
        indexes.iter().filter(ours).map(|index| index.oid).collect()
    }

    /// Strikes out every rebuild whose table has no leftover of ours any more; of one table only, where `indexes` are
    /// only those of one.
    ///
    /// # Errors
    /// As [`Intents::save`].
    pub fn settle(&mut self, indexes: &[Index], only: Option<u32>) -> Result<(), IntentError> {
        let ours = self.leftovers(indexes);
        let held = |table: u32| {
            indexes
                .iter()
                .any(|index| index.table_oid == table && (ours.contains(&index.oid) || index.builder.is_some()))
        };
        let before = self.open.len();
        self.open.retain(|_, intent| only.is_some_and(|table| table != intent.table_oid) || held(intent.table_oid));
        if self.open.len() == before { Ok(()) } else { self.save() }
    }

    /// Writes the file, where there is one or something to write.
    ///
    /// # Errors
    /// It could not be written.
    pub fn save(&self) -> Result<(), IntentError> {
        if self.open.is_empty() && !self.path.exists() {
            return Ok(());
        }
        let bytes = serde_json::to_vec_pretty(&self.open)
            .map_err(|error| IntentError::Read { path: self.path.clone(), why: error.to_string() })?;
        // The note must outlive this program, not the machine: after a power cut the worst is that our own leftover is taken
        // for somebody else's and reported instead of dropped.
        Ok(durable::replace_quickly(&self.path, &bytes, 0o600)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indexes::tests::index;

    fn intents(dir: &Path) -> Intents {
        Intents::load(dir, "7", 5).unwrap()
    }

    #[test]
    fn what_was_begun_is_known_to_the_next_process() {
        let dir = std::env::temp_dir().join(format!("intents-{}", std::process::id()));
        let mut first = intents(&dir);
        let intent = Intent { index: "public.i".into(), table_oid: 1, before: BTreeSet::from([10, 11]) };
        first.begin(10, intent).unwrap();
        let next = intents(&dir);
        let foreign = index(11, "other_ccnew", false);
        let own = index(12, "i_ccnew", false);
        let swapped = index(10, "i_ccold", false);
        let named = index(13, "users_own", false);
        assert_eq!(next.leftovers(&[foreign, own, swapped, named]), BTreeSet::from([10, 12]));
        let mut next = next;
        next.settle(&[], Some(2)).unwrap();
        assert_eq!(intents(&dir).open.len(), 1, "another table's rebuild is not struck out");
        next.settle(&[index(10, "i", true)], None).unwrap();
        assert!(intents(&dir).open.is_empty());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
