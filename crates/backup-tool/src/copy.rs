//! `copy`: bring a second repository up to date.
//!
//! The second repository is created with the same master key, so that archived WAL and notes are copied as they are. What
//! was copied is read back and opened before it counts. Nothing is ever removed there: that repository has an `expire` of its
//! own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use maint_core::cli::{open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::guard::Guard;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_bytes;

use crate::cli::{CopyArgs, SECTION};
use crate::storage::local::Local;
use crate::storage::{Object, Storage};
use crate::store::copy::is_repository;
use crate::store::secrets::Credentials;
use crate::store::{Part, Store, StoreError, Stored};
use crate::wal::archive::{Archive, ArchiveError, owner};
use crate::wal::name::WalName;
use crate::work::{Work, open_storage};

/// Notes about the place itself: what was verified in it, what was pruned there, how it grows.
const OF_THE_PLACE: [&str; 4] = ["notes/verify/", "notes/prune/", "notes/expired/", "notes/sizes/"];

/// Copies what is missing.
///
/// # Errors
/// Either repository cannot be read or written, or the second one has nothing to do with the first.
pub fn run(args: &CopyArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let guard = open_guard(&args.change, &mut work.settings, &work.cancel)?;
    work.settings.flag(&SECTION, "second_repository", args.to.as_ref())?;
    let place: Option<String> = work.settings.optional(&SECTION, "second_repository")?;
    let place = place.ok_or_else(|| {
        Failure::usage("no second repository is configured")
            .hint("set `second_repository` in [backup-tool] of maint.toml, or give --to")
    })?;
    let first = work.store()?;
    work.subject.clone_from(&place);
    let Some(second) = second(&first, &place, args.change.dry_run, work)? else {
        plan(&first, None, work)?;
        return Ok(());
    };
    if !first.is_twin_of(&second) {
        return Err(Failure::usage(format!(
            "{place} has another master key than {}, so archived WAL cannot be copied into it",
            first.storage().location()
        ))
        .hint("give an empty place, and `copy` creates the second repository in it"));
    }
    if args.change.dry_run {
        return plan(&first, Some(&second), work);
    }
    work.run.journal_in(&state_directory()?)?;
    let _lock = second.lock("write")?;
    copy_objects(&first, &second, &guard, work)?;
    for part in Part::ALL {
        for snapshot in first.missing_in(&second, part)? {
            let (status, message) = match guard.may_start() {
                Ok(()) => copy_backup(&first, &second, part, &snapshot),
                Err(stop) => (Status::Left, stop.reason().to_owned()),
            };
            work.run.emit(&backup_record(Kind::Step, &snapshot, status, message));
        }
    }
    Ok(())
}

/// The second repository, created where there is none; `None` when it would be created.
fn second(first: &Store, place: &str, dry_run: bool, work: &Work<'_>) -> Result<Option<Store>, Failure> {
    let own = work.settings.optional::<PathBuf>(&SECTION, "second_password_file")?;
    let credentials = match &own {
        Some(path) => Credentials::load(Some(path), None)?,
        None => work.credentials()?,
    };
    let local = !place.starts_with("s3://");
    if local && dry_run && !std::path::Path::new(place).exists() {
        return Ok(None);
    }
    let storage: Arc<dyn Storage> =
        if local && !dry_run { Arc::new(Local::create(place.as_ref())?) } else { open_storage(place)? };
    if is_repository(storage.as_ref())? {
        return Ok(Some(Store::open(storage, &credentials)?));
    }
    if dry_run {
        return Ok(None);
    }
    let second = first.create_twin(storage, &credentials.password()?)?;
    let made = Record::new(Kind::Step, place, Status::Ok, "created the second repository");
    work.run.emit(&made);
    Ok(Some(second))
}

fn plan(first: &Store, second: Option<&Store>, work: &Work<'_>) -> Result<(), Failure> {
    if second.is_none() {
        let will = "would create the second repository";
        work.run.emit(&Record::new(Kind::Plan, work.subject.clone(), Status::Planned, will));
    }
    let objects = differences(first, second)?;
    if !objects.missing.is_empty() {
        let bytes: u64 = objects.missing.iter().map(|object| object.size).sum();
        let message = format!("would copy {} objects, {}", objects.missing.len(), format_bytes(bytes));
        let record = Record::new(Kind::Plan, "WAL and notes", Status::Planned, message);
        work.run.emit(&record.field("objects", objects.missing.len()).field("size_bytes", bytes));
    }
    for part in Part::ALL {
        let missing = match second {
            Some(second) => first.missing_in(second, part)?,
            None => first.snapshots(part)?.into_iter().filter(|stored| !stored.pending && !stored.broken).collect(),
        };
        for snapshot in missing {
            work.run.emit(&backup_record(Kind::Plan, &snapshot, Status::Planned, "would be copied"));
        }
    }
    Ok(())
}

fn backup_record(kind: Kind, stored: &Stored, status: Status, message: impl Into<String>) -> Record {
    Record::new(kind, stored.label(), status, message).field("time", stored.time).field("id", &stored.id)
}

/// Copies one backup. It is only begun when the first repository has all of it, and only counts when the second one has: the
/// engine passes over what it does not find.
fn copy_backup(first: &Store, second: &Store, part: Part, snapshot: &Stored) -> (Status, String) {
    let copied = (|| {
        let lost = first.inventory(part)?.lost(snapshot);
        if lost.count > 0 {
            return Ok((Status::Critical, format!("not copied: data of {} files is lost; see `repair`", lost.count)));
        }
        first.copy_snapshot(second, part, snapshot)?;
        let there = second.snapshots(part)?;
        let is_copy = |stored: &&Stored| stored.time == snapshot.time && stored.tree == snapshot.tree;
        let Some(copy) = there.iter().find(is_copy) else {
            return Ok((Status::Ineffective, "copied without an error, but it is not there".to_owned()));
        };
        let lost = second.inventory(part)?.lost(copy);
        if lost.count > 0 {
            second.remove_snapshots(part, std::slice::from_ref(&copy.id))?;
            return Ok((Status::Failed, format!("the copy lacked data of {} files and was removed", lost.count)));
        }
        Ok::<_, StoreError>((Status::Ok, "copied; all that it names is there".to_owned()))
    })();
    copied.unwrap_or_else(|error| (Status::Failed, error.to_string()))
}

/// How the WAL and the notes of two repositories differ.
struct Differences {
    /// What the second one lacks, in the order in which it is to come.
    missing: Vec<Object>,
    /// What it has in another size.
    other: Vec<String>,
}

fn differences(first: &Store, second: Option<&Store>) -> Result<Differences, Failure> {
    let mut there: BTreeMap<String, u64> = BTreeMap::new();
    let mut missing = Vec::new();
    let mut other = Vec::new();
    for root in ["wal", "notes"] {
        if let Some(second) = second {
            there.extend(second.storage().list(root)?.into_iter().map(|object| (object.key, object.size)));
        }
        for object in first.storage().list(root)? {
            if OF_THE_PLACE.iter().any(|prefix| object.key.starts_with(prefix)) {
                continue;
            }
            match there.get(&object.key) {
                None => missing.push(object),
                Some(size) if *size != object.size => other.push(object.key),
                Some(_) => {}
            }
        }
    }
    // What says whose WAL it is comes first, then the histories, then segments, oldest first.
    let rank = |key: &str| match key.split('/').collect::<Vec<_>>()[..] {
        ["wal", _] => 0,
        ["wal", _, "history", ..] => 1,
        ["wal", ..] => 2,
        _ => 3,
    };
    missing.sort_by(|a, b| rank(&a.key).cmp(&rank(&b.key)).then_with(|| a.key.cmp(&b.key)));
    Ok(Differences { missing, other })
}

fn copy_objects(first: &Store, second: &Store, guard: &Guard, work: &Work<'_>) -> Result<(), Failure> {
    refuse_another_cluster(first, second)?;
    let Differences { missing, other } = differences(first, Some(second))?;
    for key in other {
        let why = "the second repository has an object of this name and of another size; it was not touched";
        work.run.emit(&Record::new(Kind::Finding, key, Status::Critical, why));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let (mut copied, mut bytes, mut trouble) = (0_u64, 0_u64, None);
    for object in &missing {
        if let Err(stop) = guard.may_start() {
            trouble = Some((Status::Left, stop.reason().to_owned()));
            break;
        }
        match copy_object(first, second, &object.key) {
            Ok(()) => {
                copied += 1;
                bytes += object.size;
            }
            // One damaged object must not keep the others from being safe in two places.
            Err(error) => {
                work.run.emit(&Record::new(Kind::Finding, object.key.clone(), Status::Failed, error.message.clone()));
                trouble = Some((Status::Failed, "not all of them could be copied".to_owned()));
            }
        }
    }
    let whole = format!("copied {copied} of {} objects, {}; each was opened there", missing.len(), format_bytes(bytes));
    let (status, message) = match trouble {
        None => (Status::Ok, whole),
        Some((status, why)) => (status, format!("{whole}; {why}")),
    };
    let record = Record::new(Kind::Step, "WAL and notes", status, message);
    work.run.emit(&record.field("objects", copied).field("size_bytes", bytes));
    Ok(())
}

fn refuse_another_cluster(first: &Store, second: &Store) -> Result<(), Failure> {
    let (ours, theirs) =
        (owner(first.storage().as_ref(), first.keys())?, owner(second.storage().as_ref(), second.keys())?);
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours != theirs => {
            Err(ArchiveError::OtherCluster { place: second.storage().location(), theirs, ours }.into())
        }
        _ => Ok(()),
    }
}

/// Copies one object and opens it where it is now. One that does not open is removed there: it must not stand in the way of
/// a good one.
fn copy_object(first: &Store, second: &Store, key: &str) -> Result<(), Failure> {
    let body = match first.storage().get(key) {
        Ok(body) => body,
        // Expired since it was listed.
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    second.storage().put_new(key, &[body])?;
    let opened = open(second, key);
    if opened.is_err() {
        second.storage().remove(key)?;
    }
    opened
}

fn open(store: &Store, key: &str) -> Result<(), Failure> {
    if let Some(note) = key.strip_prefix("notes/") {
        store.note::<serde_json::Value>(note)?;
        return Ok(());
    }
    let mut names = key.split('/').skip(1);
    let system = names.next().and_then(|name| name.parse::<u64>().ok());
    let file = names.last().and_then(|name| name.strip_suffix(".wal")).and_then(|name| name.parse::<WalName>().ok());
    match (system, file) {
        (Some(system), Some(name)) => {
            Archive::new(Arc::clone(store.storage()), store.keys(), system).fetch(name)?;
        }
        // The object that names the cluster.
        _ => {
            owner(store.storage().as_ref(), store.keys())?;
        }
    }
    Ok(())
}
