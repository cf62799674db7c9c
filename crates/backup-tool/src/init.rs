//! `init`: create the repository.

use std::sync::Arc;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_bytes;

use crate::cli::{InitArgs, SECTION};
use crate::storage::Storage;
use crate::storage::local::Local;
use crate::store::create::chunk_bytes;
use crate::store::{Part, Store};
use crate::work::{Work, open_storage};

/// Creates the repository, and the directory it is in where that is missing.
///
/// # Errors
/// There is one already, the place cannot be written, or there is no password.
pub fn run(args: &InitArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let credentials = work.credentials()?;
    let password = credentials.password()?;
    let storage = place(work)?;
    work.subject = storage.location();
    let chunk = chunk_bytes(args.cluster_size.0);
    let store = Store::create(storage, &password, chunk)?;
    credentials.cache(store.master());
    // It is there when it opens with what the next run will have.
    let opened = Store::open(Arc::clone(store.storage()), &credentials)?;
    for part in Part::ALL {
        opened.snapshots(part)?;
    }
    let message = format!("created; cluster files are divided by {}", format_bytes(chunk.into()));
    let record = Record::new(Kind::Step, work.subject.clone(), Status::Ok, message).field("chunk_bytes", chunk);
    work.run.emit(&record);
    Ok(())
}

fn place(work: &Work<'_>) -> Result<Arc<dyn Storage>, Failure> {
    let Some(place) = work.settings.optional::<String>(&SECTION, "repository")? else { return work.storage() };
    if place.starts_with("s3://") {
        return open_storage(&place);
    }
    Ok(Arc::new(Local::create(place.as_ref())?))
}
