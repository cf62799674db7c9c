//! `list`: the backups, oldest first.

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_bytes;

use crate::backup::About;
use crate::cli::ListArgs;
use crate::store::{Part, Stored};
use crate::work::Work;

/// One record a backup.
///
/// # Errors
/// The repository cannot be read.
pub fn run(args: &ListArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let store = work.store()?;
    work.subject = store.storage().location();
    let mut all = Vec::new();
    if args.set.is_none() {
        all.extend(store.snapshots(Part::Clusters)?);
    }
    if !args.clusters {
        all.extend(store.snapshots(Part::Files)?);
    }
    all.retain(|stored| match (&args.set, &stored.about) {
        (Some(wanted), Some(About::Files(backup))) => backup.set == *wanted,
        (Some(_), _) => false,
        (None, _) => true,
    });
    all.sort_by_key(|stored| stored.time);
    for stored in &all {
        work.run.emit(&record(stored));
    }
    Ok(())
}

/// What is worth knowing of a backup at a glance. One that is not whole is listed too, and told from the others by `pending`.
pub fn record(stored: &Stored) -> Record {
    let (status, remark) = match stored {
        Stored { pending: true, .. } => (Status::Ok, "never completed, so no backup; `expire` removes it after a day"),
        Stored { broken: true, .. } => (Status::Critical, "lost data; it cannot be restored whole"),
        Stored { about: None, .. } => (Status::Ok, "written by another program"),
        _ => (Status::Ok, ""),
    };
    let with = |text: String| if remark.is_empty() { text } else { format!("{text}; {remark}") };
    let record = |message: String| {
        Record::new(Kind::Finding, stored.label(), status, message)
            .field("id", &stored.id)
            .field("label", stored.label())
            .field("time", stored.time)
            .field("pinned", stored.pinned)
            .field("pending", stored.pending)
    };
    match &stored.about {
        Some(About::Cluster(backup)) => {
            let damaged = backup.damaged.len();
            let damage = if damaged > 0 { format!(", {damaged} damaged pages") } else { String::new() };
            let mut record = record(with(format!(
                "{} of PostgreSQL {}, {} in {} files{damage}",
                backup.kind.as_str(),
                backup.major(),
                format_bytes(backup.bytes),
                backup.files
            )));
            if damaged > 0 && status == Status::Ok {
                record.status = Status::Warning;
            }
            record
                .field("kind", backup.kind)
                .field("parent", &backup.parent)
                .field("system_identifier", backup.system_identifier.to_string())
                .field("server_version", backup.server_version)
                .field("timeline", backup.timeline)
                .field("start_lsn", backup.start_lsn)
                .field("stop_lsn", backup.stop_lsn)
                .field("start_segment", backup.start_segment)
                .field("stop_segment", backup.stop_segment)
                .field("start_time", backup.start_time)
                .field("stop_time", backup.stop_time)
                .field("size_bytes", backup.bytes)
                .field("stored_bytes", backup.stored_bytes)
                .field("files", backup.files)
                .field("damaged_pages", damaged)
        }
        Some(About::Files(backup)) => {
            let message =
                format!("file set {}, {} in {} entries", backup.set, format_bytes(backup.bytes), backup.entries);
            record(with(message))
                .field("kind", "files")
                .field("set", &backup.set)
                .field("paths", &backup.paths)
                .field("entries", backup.entries)
                .field("size_bytes", backup.bytes)
                .field("stored_bytes", backup.stored_bytes)
        }
        None => {
            record(if remark.is_empty() { "a snapshot".to_owned() } else { remark.to_owned() }).field("kind", "other")
        }
    }
}
