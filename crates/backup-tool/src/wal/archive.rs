//! The archive of one cluster's write-ahead log: sealed objects below `wal/` of a repository.
//!
//! A file is archived once and never changed: archiving it again succeeds when it is the same file and fails when it is
//! not. A repository belongs to the first cluster that archived into it. That cluster is named by an object of its own,
//! which is created before anything else, so that of two clusters that come at the same moment only one can win; the other
//! writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use maint_core::failure::Failure;

use crate::storage::{Put, Storage, StorageError};
use crate::store::keys::Keys;
use crate::wal::header::{self, HeaderError};
use crate::wal::history::{History, HistoryError};
use crate::wal::name::{Segment, WalName};
use crate::wal::object::{Binding, SealError, Sealer};

/// Where archived files lie, below the repository's root.
const ROOT: &str = "wal";
/// The object that names the cluster, and its name as what it is bound to. It belongs to no cluster itself.
const CLUSTER_KEY: &str = "wal/cluster.sealed";
const CLUSTER: Binding<'static> = Binding { system_identifier: 0, name: "cluster" };
/// What the name of every archived object ends with.
const SUFFIX: &str = ".wal";

/// The archive of one cluster.
#[derive(Debug)]
pub struct Archive {
    storage: Arc<dyn Storage>,
    sealer: Sealer,
    system_identifier: u64,
    /// Whether the repository is known to belong to this cluster.
    ours: AtomicBool,
}

/// What became of a file that was archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was stored, durably.
    Stored,
    /// It was there already, whole and the same.
    Already,
}

/// An archived file, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Its name.
    pub name: WalName,
    /// Key of its object.
    pub key: String,
    /// Size of its object in bytes.
    pub stored_bytes: u64,
}

/// Something that could not be done in the archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The storage below it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is no such file in the archive; that the archive itself is there was seen.
    #[error("{name} is not in the archive of {place}")]
    Absent {
        /// The file.
        name: WalName,
        /// The repository.
        place: String,
    },
    /// Nothing was ever archived here.
    #[error("nothing was ever archived in {0}")]
    Empty(String),
    /// An object does not open.
    #[error("{key} in {place} does not open: {source}")]
    Damaged {
        /// The object's key.
        key: String,
        /// The repository.
        place: String,
        /// What is wrong with it.
        source: SealError,
    },
    /// The archive has a file of this name that is another one.
    #[error("{name} is in the archive of {place} already, with other content")]
    Differs {
        /// The file.
        name: WalName,
        /// The repository.
        place: String,
    },
    /// The repository belongs to another cluster.
    #[error("{place} holds the WAL of the cluster with system identifier {theirs}, and this one has {ours}")]
    OtherCluster {
        /// The repository.
        place: String,
        /// The cluster that it belongs to.
        theirs: u64,
        /// The cluster at hand.
        ours: u64,
    },
    /// The file is not the segment that its name says.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The history file does not hold.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The file cannot be sealed.
    #[error("cannot archive {name}: {source}")]
    Seal {
        /// The file.
        name: WalName,
        /// Why not.
        source: SealError,
    },
}

impl ArchiveError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            ArchiveError::Storage(_) => "see that the repository is reachable and has room",
            ArchiveError::Absent { .. } => "`backup-tool wal gaps` shows what else is missing",
            ArchiveError::Empty(_) => "see that this is the right repository, and that its disk is mounted",
            ArchiveError::Damaged { .. } => {
                "restore this object from a copy of the repository; where the server still has the file, remove the \
                 object and it is archived again"
            }
            ArchiveError::Differs { .. } => {
                "two servers archive into one repository, or the server was set back without a new timeline; find out \
                 which, nothing was overwritten"
            }
            ArchiveError::OtherCluster { .. } => "give every cluster a repository of its own; nothing was written",
            ArchiveError::Header(_) => "the file was renamed, or is of another cluster; nothing was written",
            ArchiveError::History(_) => {
                "the server's history file is damaged; take a new full backup once it is mended"
            }
            ArchiveError::Seal { .. } => "the server keeps the file and tries again",
        }
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        let hint = error.hint();
        let refused = matches!(error, ArchiveError::OtherCluster { .. } | ArchiveError::Header(_));
        let failure = if refused { Failure::usage(error.to_string()) } else { Failure::critical(error.to_string()) };
        failure.hint(hint)
    }
}

/// The clusters that have files in the archive of a repository.
///
/// # Errors
/// The storage cannot be listed.
pub fn systems(storage: &dyn Storage) -> Result<Vec<u64>, ArchiveError> {
    let mut found: Vec<u64> =
        storage.list(ROOT)?.iter().filter_map(|object| object.key.split('/').nth(1)?.parse().ok()).collect();
    found.dedup();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The cluster that a repository's archive belongs to; `None` when nothing was ever archived in it.
///
/// # Errors
/// It cannot be read, or does not open.
pub fn owner(storage: &dyn Storage, keys: &Keys) -> Result<Option<u64>, ArchiveError> {
    read_owner(storage, &Sealer::new(keys))
}

fn read_owner(storage: &dyn Storage, sealer: &Sealer) -> Result<Option<u64>, ArchiveError> {
    let object = match storage.get(CLUSTER_KEY) {
        Ok(object) => object,
        Err(error) if error.is_not_found() => {
            // A root that is gone has no such object either; listing it is an error.
            storage.list(ROOT)?;
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let damaged = |source| ArchiveError::Damaged { key: CLUSTER_KEY.into(), place: storage.location(), source };
    let plain = sealer.open(CLUSTER, object).map_err(damaged)?;
    let number = std::str::from_utf8(&plain).ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| damaged(SealError::Content("it names no cluster")))
}

impl Archive {
    /// The archive in `storage` of the cluster with this system identifier. Nothing is read or written yet.
    pub fn new(storage: Arc<dyn Storage>, keys: &Keys, system_identifier: u64) -> Self {
        Archive { storage, sealer: Sealer::new(keys), system_identifier, ours: AtomicBool::new(false) }
    }

    /// The cluster's identity.
    pub fn system_identifier(&self) -> u64 {
        self.system_identifier
    }

    /// The keys, for what is kept beside the archive.
    pub(crate) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Key of the object of a file.
    pub fn key_of(&self, name: WalName) -> String {
        let system = self.system_identifier;
        match name {
            WalName::Segment(segment) | WalName::Partial(segment) | WalName::Backup(segment, _) => {
                let Segment { timeline, log, .. } = segment;
                format!("{ROOT}/{system}/{timeline:08X}/{log:08X}/{name}{SUFFIX}")
            }
            WalName::History(_) => format!("{ROOT}/{system}/history/{name}{SUFFIX}"),
        }
    }

    /// Archives a file. When it returns, the file is in the archive, durably and whole.
    ///
    /// # Errors
    /// The file is not what its name says or not of this cluster; the repository belongs to another cluster; it has
    /// another file of this name; or it cannot be written. Nothing was changed in any of these cases.
    pub fn push(&self, name: WalName, content: &[u8]) -> Result<Pushed, ArchiveError> {
        self.check(name, content)?;
        self.claim()?;
        let text = name.to_string();
        let sealed = self
            .sealer
            .seal(Binding { system_identifier: self.system_identifier, name: &text }, content)
            .map_err(|source| ArchiveError::Seal { name, source })?;
        match self.storage.put_new(&self.key_of(name), &sealed)? {
            Put::Created => Ok(Pushed::Stored),
            // Opened whole: the server forgets the file on our word, so a damaged object is no reason to say yes.
            Put::Exists if self.fetch(name)? == content => Ok(Pushed::Already),
            Put::Exists => Err(ArchiveError::Differs { name, place: self.storage.location() }),
        }
    }

    /// Whether the content can be what the name says, and of this cluster.
    fn check(&self, name: WalName, content: &[u8]) -> Result<(), ArchiveError> {
        match name {
            WalName::Segment(segment) | WalName::Partial(segment) => {
                let found = header::check(segment, content)?.system_identifier;
                if found != self.system_identifier {
                    return Err(ArchiveError::Header(HeaderError {
                        segment,
                        field: "its system identifier",
                        found: found.to_string(),
                        expected: self.system_identifier.to_string(),
                    }));
                }
            }
            WalName::History(timeline) => {
                History::parse(timeline, &String::from_utf8_lossy(content))?;
            }
            WalName::Backup(..) => {}
        }
        Ok(())
    }

    /// Makes sure that the repository belongs to this cluster, claiming it when it belongs to none.
    ///
    /// # Errors
    /// It belongs to another cluster, or that cannot be told.
    pub fn claim(&self) -> Result<(), ArchiveError> {
        if self.ours.load(Ordering::Relaxed) {
            return Ok(());
        }
        if read_owner(self.storage.as_ref(), &self.sealer)?.is_none() {
            let others = systems(self.storage.as_ref())?.into_iter().find(|other| *other != self.system_identifier);
            if let Some(theirs) = others {
                return Err(self.other(theirs));
            }
            let plain = self.system_identifier.to_string();
            let sealed = self.sealer.seal(CLUSTER, plain.as_bytes()).map_err(|source| ArchiveError::Damaged {
                key: CLUSTER_KEY.into(),
                place: self.storage.location(),
                source,
            })?;
            self.storage.put_new(CLUSTER_KEY, &sealed)?;
        }
        // Read also what was just written: another cluster may have been first.
        self.require()
    }

    /// Makes sure that the repository belongs to this cluster, without writing.
    ///
    /// # Errors
    /// It belongs to another or to none, or that cannot be told.
    pub fn require(&self) -> Result<(), ArchiveError> {
        match read_owner(self.storage.as_ref(), &self.sealer)? {
            Some(owner) if owner == self.system_identifier => {
                self.ours.store(true, Ordering::Relaxed);
                Ok(())
            }
            Some(theirs) => Err(self.other(theirs)),
            None => Err(ArchiveError::Empty(self.storage.location())),
        }
    }

    fn other(&self, theirs: u64) -> ArchiveError {
        ArchiveError::OtherCluster { place: self.storage.location(), theirs, ours: self.system_identifier }
    }

    /// The file, verified to the last bit.
    ///
    /// # Errors
    /// [`ArchiveError::Absent`] when it is not there; anything else says that it could not be told, or is damaged.
    pub fn fetch(&self, name: WalName) -> Result<Vec<u8>, ArchiveError> {
        let key = self.key_of(name);
        let place = self.storage.location();
        let object = match self.storage.get(&key) {
            Ok(object) => object,
            Err(error) if error.is_not_found() => {
                // A root that is gone has no such object either; listing it is an error.
                self.storage.list(&self.history_prefix())?;
                return Err(ArchiveError::Absent { name, place });
            }
            Err(error) => return Err(error.into()),
        };
        let text = name.to_string();
        self.sealer
            .open(Binding { system_identifier: self.system_identifier, name: &text }, object)
            .map_err(|source| ArchiveError::Damaged { key, place, source })
    }

    /// Everything in the archive, sorted by name: segments, then unfinished ones, backup notes, and histories.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn names(&self) -> Result<Vec<Archived>, ArchiveError> {
        let mut found = Vec::new();
        for object in self.storage.list(&format!("{ROOT}/{}", self.system_identifier))? {
            let file = object.key.rsplit('/').next().unwrap_or_default();
            let name = file.strip_suffix(SUFFIX).and_then(|name| name.parse::<WalName>().ok());
            if let Some(name) = name.filter(|name| self.key_of(*name) == object.key) {
                found.push(Archived { name, key: object.key, stored_bytes: object.size });
            } else {
                tracing::warn!("{} in {} is no archived file", object.key, self.storage.location());
            }
        }
        found.sort_by_key(|archived| archived.name);
        Ok(found)
    }

    /// The history of every timeline in the archive, sorted by timeline. One that has segments and no history file is
    /// taken for one that never branched, as the server does.
    ///
    /// # Errors
    /// The archive cannot be listed, or a history file does not open or does not hold.
    pub fn histories(&self) -> Result<Vec<History>, ArchiveError> {
        self.histories_of(&self.names()?)
    }

    /// As [`Archive::histories`], of a listing that is at hand.
    ///
    /// # Errors
    /// A history file does not open or does not hold.
    pub fn histories_of(&self, names: &[Archived]) -> Result<Vec<History>, ArchiveError> {
        let mut found = BTreeMap::new();
        for archived in names {
            let timeline = archived.name.timeline();
            match archived.name {
                WalName::History(_) => {
                    let content = self.fetch(archived.name)?;
                    found.insert(timeline, History::parse(timeline, &String::from_utf8_lossy(&content))?);
                }
                _ => {
                    found.entry(timeline).or_insert_with(|| History::first(timeline));
                }
            }
        }
        Ok(found.into_values().collect())
    }

    fn history_prefix(&self) -> String {
        format!("{ROOT}/{}/history", self.system_identifier)
    }

    /// Removes a file from the archive, for good.
    ///
    /// # Errors
    /// It is not there ([`ArchiveError::Absent`]), or cannot be removed.
    pub fn remove(&self, name: WalName) -> Result<(), ArchiveError> {
        self.storage.remove(&self.key_of(name)).map_err(|error| {
            if error.is_not_found() {
                return ArchiveError::Absent { name, place: self.storage.location() };
            }
            error.into()
        })
    }
}

#[cfg(test)]
mod tests;
