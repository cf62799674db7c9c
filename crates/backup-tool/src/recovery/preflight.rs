//! (provisional)
use maint_core::failure::Failure;

use super::base::{Base, Choice};
use super::target::Wanted;
use crate::backup::ClusterBackup;
use crate::store::{Store, Stored};
use crate::wal::archive::Archive;
use crate::wal::gaps::Shelf;
use crate::wal::name::Segment;
use crate::work::Work;

/// (provisional)
pub struct Prepared {
    /// The snapshot.
    pub stored: Stored,
    /// The backup.
    pub backup: ClusterBackup,
    /// The way.
    pub choice: Choice,
    /// The segments.
    pub segments: Vec<Segment>,
}

/// (provisional)
///
/// # Errors
/// Some.
pub fn prepare(_work: &Work<'_>, store: &Store, _wanted: &Wanted, named: Option<&str>) -> Result<Prepared, Failure> {
    let (stored, backup) = store.cluster(named.unwrap_or("latest"))?;
    let archive = Archive::new(store.storage().clone(), store.keys(), backup.system_identifier);
    let names = archive.names()?;
    let histories = archive.histories_of(&names)?;
    let shelf = Shelf::new(names.iter().map(|archived| archived.name), &histories, backup.wal_segment_bytes);
    let way =
        shelf.way(backup.timeline).cloned().unwrap_or_else(|| crate::wal::history::History::first(backup.timeline));
    let end = shelf.end(&way, backup.start_segment.number(backup.wal_segment_bytes));
    let choice =
        Choice { base: Base { id: stored.id.clone(), backup: backup.clone() }, way, stop: None, end, remarks: vec![] };
    let segments = choice.segments(&shelf);
    Ok(Prepared { stored, backup, choice, segments })
}
