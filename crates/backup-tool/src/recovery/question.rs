//! What every question about recovery starts from: the backups of a cluster, its archived WAL, and the ways through it.

use std::collections::HashMap;

use maint_core::failure::Failure;

use crate::recovery::base::Base;
use crate::recovery::programs;
use crate::store::{Store, Stored};
use crate::wal::archive::{self, Archive, Archived};
use crate::wal::dump::Dumper;
use crate::wal::gaps::Shelf;
use crate::wal::header;
use crate::wal::name::{Segment, WalName};
use crate::work::Work;

/// Size of a segment where there is none to ask, in bytes: the server's default.
const DEFAULT_SEGMENT_BYTES: u64 = 16 << 20;

/// A cluster's backups and WAL, as the repository has them.
#[derive(Debug)]
pub struct Question<'a> {
    /// The repository.
    pub store: &'a Store,
    /// Its place, as an operator would name it.
    pub place: String,
    /// The archived WAL.
    pub archive: Archive,
    /// Every archived file, sorted by name.
    pub names: Vec<Archived>,
    /// Its segments, and the ways through them.
    pub shelf: Shelf,
    /// The complete backups of the same cluster, oldest first.
    pub bases: Vec<Base>,
    stored: HashMap<String, Stored>,
    major: Option<i32>,
}

impl<'a> Question<'a> {
    /// Looks at a repository.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn of(store: &'a Store) -> Result<Self, Failure> {
        let place = store.storage().location();
        let backups = store.clusters()?;
        let newest = backups.last().map(|(_, backup)| backup.system_identifier);
        let owner = archive::owner(store.storage().as_ref(), store.keys())?;
        let system = owner.or(newest).unwrap_or(0);
        let archive = Archive::new(store.storage().clone(), store.keys(), system);
        let names = if owner.is_some() { archive.names()? } else { Vec::new() };
        let histories = archive.histories_of(&names)?;
        let mut stored = HashMap::new();
        let mut bases = Vec::new();
        for (snapshot, backup) in backups.into_iter().filter(|(_, backup)| backup.system_identifier == system) {
            bases.push(Base { id: snapshot.id.clone(), backup });
            stored.insert(snapshot.id.clone(), snapshot);
        }
        let (mut size, mut major) =
            bases.last().map(|base| (base.backup.wal_segment_bytes, base.backup.major())).unzip();
        if size.is_none()
            && let Some(header) = newest_header(&archive, &names)?
        {
            (size, major) = (Some(header.segment_bytes), Some(header.major));
        }
        let shelf =
            Shelf::new(names.iter().map(|archived| archived.name), &histories, size.unwrap_or(DEFAULT_SEGMENT_BYTES));
        Ok(Question { store, place, archive, names, shelf, bases, stored, major })
    }

    /// The snapshot of a backup.
    pub fn snapshot(&self, base: &Base) -> Option<&Stored> {
        self.stored.get(&base.id)
    }

    /// Bytes in the archive of some segments, as stored.
    pub fn stored_bytes(&self, segments: &[Segment]) -> u64 {
        let size = |segment: &Segment| {
            let name = WalName::Segment(*segment);
            self.names.binary_search_by(|archived| archived.name.cmp(&name)).ok().and_then(|at| self.names.get(at))
        };
        segments.iter().filter_map(size).map(|archived| archived.stored_bytes).sum()
    }

    /// What reads the log: `pg_waldump` of the cluster's version.
    ///
    /// # Errors
    /// It is not there, or no temporary directory can be made.
    pub fn dumper(&self, work: &Work<'_>) -> Result<Dumper<'_>, Failure> {
        let major = self.major.ok_or_else(|| {
            Failure::usage(format!("{} has neither a backup of a cluster nor archived WAL", self.place)).hint(
                "take a backup with `backup-tool full-backup`, and archive with `backup-tool pitr-backup --setup`",
            )
        })?;
        let program = programs::find(&work.settings, "pg_waldump", major)?;
        let running = (work.runtime.clone(), work.cancel.clone());
        Ok(Dumper::new(&self.archive, &self.shelf, program, running, Some(self.store))?)
    }
}

fn newest_header(archive: &Archive, names: &[Archived]) -> Result<Option<header::Header>, Failure> {
    let segment = names.iter().rev().find_map(|archived| match archived.name {
        WalName::Segment(segment) => Some(segment),
        _ => None,
    });
    let Some(segment) = segment else { return Ok(None) };
    let content = archive.fetch(WalName::Segment(segment))?;
    Ok(header::check(segment, &content).ok())
}
