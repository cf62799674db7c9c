//! The snapshots: what is known of them, and the few things that change about them.

use jiff::Timestamp;
use rustic_core::TreeId;
use rustic_core::repofile::{DeleteOption, SnapshotFile, SnapshotId};

use super::{Part, Store, StoreError};
use crate::backup::{About, ClusterBackup, FilesBackup};

/// The tag of a snapshot that nobody has seen whole yet.
pub const PENDING: &str = "pending";
/// The tag of a snapshot that lost data.
pub const BROKEN: &str = "broken";

/// A snapshot.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// When it was begun, by this host's clock.
    pub time: Timestamp,
    /// Its root.
    pub tree: TreeId,
    /// What it is; `None` for one that another program wrote.
    pub about: Option<About>,
    /// Whether it is kept whatever the rules say.
    pub pinned: bool,
    /// Whether it was never seen to be whole.
    pub pending: bool,
    /// Whether a repair found that data of it is lost.
    pub broken: bool,
}

impl Stored {
    pub(super) fn new(file: &SnapshotFile) -> Self {
        Stored {
            id: file.id.to_hex().as_str().to_owned(),
            time: file.time.timestamp(),
            tree: file.tree,
            about: file.description.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            pinned: matches!(file.delete, DeleteOption::Never),
            pending: file.tags.contains(PENDING),
            broken: file.tags.contains(BROKEN),
        }
    }

    /// Its label, or the beginning of its id when it has none.
    pub fn label(&self) -> &str {
        match &self.about {
            Some(About::Cluster(backup)) => &backup.label,
            Some(About::Files(backup)) => &backup.label,
            None => self.id.get(..16).unwrap_or(&self.id),
        }
    }
}

impl Store {
    pub(super) fn files(&self, part: Part) -> Result<Vec<SnapshotFile>, StoreError> {
        let repository = self.repository(part)?;
        let mut files = repository.get_all_snapshots().map_err(|error| self.failed("read the snapshots", &error))?;
        files.sort_by(|a, b| a.time.cmp(&b.time));
        Ok(files)
    }

    /// Every snapshot of a part, oldest first, pending ones included.
    ///
    /// # Errors
    /// They cannot be listed, or one of them cannot be read.
    pub fn snapshots(&self, part: Part) -> Result<Vec<Stored>, StoreError> {
        Ok(self.files(part)?.iter().map(Stored::new).collect())
    }

    /// Every complete backup of a cluster, oldest first.
    ///
    /// # Errors
    /// As [`Store::snapshots`].
    pub fn clusters(&self) -> Result<Vec<(Stored, ClusterBackup)>, StoreError> {
        let complete = self.snapshots(Part::Clusters)?.into_iter().filter(|stored| !stored.pending && !stored.broken);
        let cluster = |stored: Stored| match stored.about.clone() {
            Some(About::Cluster(backup)) => Some((stored, backup)),
            _ => None,
        };
        Ok(complete.filter_map(cluster).collect())
    }

    /// Every complete backup of a file set, oldest first.
    ///
    /// # Errors
    /// As [`Store::snapshots`].
    pub fn file_sets(&self) -> Result<Vec<(Stored, FilesBackup)>, StoreError> {
        let complete = self.snapshots(Part::Files)?.into_iter().filter(|stored| !stored.pending && !stored.broken);
        let set = |stored: Stored| match stored.about.clone() {
            Some(About::Files(backup)) => Some((stored, backup)),
            _ => None,
        };
        Ok(complete.filter_map(set).collect())
    }

    /// The backup of a cluster that `text` names: a label, the beginning of an id, or `latest`.
    ///
    /// # Errors
    /// None, or more than one; or they cannot be listed.
    pub fn cluster(&self, text: &str) -> Result<(Stored, ClusterBackup), StoreError> {
        let mut all = self.clusters()?;
        if text == "latest" {
            return all.pop().ok_or_else(|| StoreError::NoBackup(text.to_owned()));
        }
        all.retain(|(stored, backup)| backup.label == text || (text.len() >= 4 && stored.id.starts_with(text)));
        match (all.pop(), all.is_empty()) {
            (Some(found), true) => Ok(found),
            (Some(_), false) => Err(StoreError::Ambiguous(text.to_owned())),
            (None, _) => Err(StoreError::NoBackup(text.to_owned())),
        }
    }

    /// Removes snapshots. What only they refer to stays until `prune`.
    ///
    /// # Errors
    /// They cannot be removed.
    pub fn remove_snapshots(&self, part: Part, ids: &[String]) -> Result<(), StoreError> {
        let ids: Vec<SnapshotId> = ids.iter().filter_map(|id| id.parse::<SnapshotId>().ok()).collect();
        self.repository(part)?.delete_snapshots(&ids).map_err(|error| self.failed("remove a snapshot", &error))
    }

    /// Keeps a snapshot whatever the rules say, or no more. The snapshot gets a new id, as with restic.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn pin(&self, part: Part, id: &str, pinned: bool) -> Result<(), StoreError> {
        self.replace(part, id, |file| file.delete = if pinned { DeleteOption::Never } else { DeleteOption::NotSet })
    }

    /// Writes a changed copy of a snapshot, then removes the one it is a copy of: at every moment there is one of them.
    pub(super) fn replace(
        &self,
        part: Part,
        id: &str,
        change: impl FnOnce(&mut SnapshotFile),
    ) -> Result<(), StoreError> {
        let repository = self.repository(part)?;
        let files = self.files(part)?;
        let file = files.into_iter().find(|file| file.id.to_hex().as_str() == id);
        let mut file = file.ok_or_else(|| StoreError::NoBackup(id.to_owned()))?;
        let old = file.id;
        change(&mut file);
        repository.save_snapshots(vec![file]).map_err(|error| self.failed("write a snapshot", &error))?;
        repository.delete_snapshots(&[old]).map_err(|error| self.failed("remove a snapshot", &error))
    }
}
