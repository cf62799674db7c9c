//! `info`: everything about one backup.

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::backup::About;
use crate::cli::BackupArg;
use crate::list;
use crate::store::{Part, Store, StoreError, Stored};
use crate::work::Work;

/// The backup's record, its tablespaces, and its damaged pages.
///
/// # Errors
/// There is no such backup, or the repository cannot be read.
pub fn run(args: &BackupArg, work: &mut Work<'_>) -> Result<(), Failure> {
    let store = work.store()?;
    let (_, stored) = find(&store, &args.backup)?;
    stored.label().clone_into(&mut work.subject);
    let mut record = list::record(&stored);
    if let Some(About::Cluster(backup)) = &stored.about {
        record = record
            .field("data_checksums", backup.data_checksums)
            .field("pages_checked", backup.pages_checked)
            .field("torn_pages", backup.torn_pages)
            .field("from_standby", backup.from_standby)
            .field("wal_segment_bytes", backup.wal_segment_bytes)
            .field("required_settings", backup.required)
            .field("tablespaces", &backup.tablespaces);
        work.run.emit(&record);
        for page in &backup.damaged {
            let subject = format!("{} block {}", page.file, page.block);
            let finding = Record::new(Kind::Finding, subject, Status::Warning, page.why.clone());
            work.run.emit(&finding.field("file", &page.file).field("block", page.block));
        }
        return Ok(());
    }
    work.run.emit(&record);
    Ok(())
}

/// The backup that `text` names, of either part: a label, the beginning of an id, or `latest` (of a cluster).
///
/// # Errors
/// None, or more than one; or they cannot be listed.
pub fn find(store: &Store, text: &str) -> Result<(Part, Stored), StoreError> {
    if text == "latest" {
        return store.cluster(text).map(|(stored, _)| (Part::Clusters, stored));
    }
    let mut found = Vec::new();
    for part in Part::ALL {
        let named = |stored: &Stored| stored.label() == text || (text.len() >= 4 && stored.id.starts_with(text));
        found.extend(store.snapshots(part)?.into_iter().filter(named).map(|stored| (part, stored)));
    }
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(StoreError::Ambiguous(text.to_owned())),
        (None, _) => Err(StoreError::NoBackup(text.to_owned())),
    }
}
