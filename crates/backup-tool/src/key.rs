//! `key`: the passwords of the repository.
//!
//! A password opens a key, one in each of the two restic repositories, and every key holds the same master key. Changing a
//! password therefore encrypts nothing anew, and the cached master key stays valid.

use maint_core::cli::{open_guard, state_directory};
use maint_core::confirm::confirm;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::secret::{self, Secret};
use maint_core::status::Status;

use crate::cli::{NewPasswordArgs, SECTION};
use crate::store::{Part, Store};
use crate::work::Work;

/// Lists the keys of both parts.
///
/// # Errors
/// The repository cannot be opened or read.
pub fn list(work: &mut Work<'_>) -> Result<(), Failure> {
    let store = work.store()?;
    work.subject = store.storage().location();
    for part in Part::ALL {
        for key in store.password_keys(part)? {
            let subject = format!("{}/{}", part.directory(), key.id.get(..16).unwrap_or(&key.id));
            let by = key.hostname.as_deref().map(|host| format!(", made on {host}")).unwrap_or_default();
            let record = Record::new(Kind::Finding, subject, Status::Ok, format!("a password's key{by}"))
                .field("id", &key.id)
                .field("created", key.created)
                .field("hostname", key.hostname)
                .field("username", key.username);
            work.run.emit(&record);
        }
    }
    Ok(())
}

/// Adds a password.
///
/// # Errors
/// The new password cannot be read, or the repository cannot be opened or written.
pub fn add(args: &NewPasswordArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    let new = new_password(args)?;
    let store = work.store()?;
    work.subject = store.storage().location();
    if args.change.dry_run {
        for part in Part::ALL {
            work.run.emit(&record(Kind::Plan, part, Status::Planned, "would add a key for the new password"));
        }
        return Ok(());
    }
    work.run.journal_in(&state_directory()?)?;
    let _lock = store.lock("keys")?;
    for part in Part::ALL {
        let message = ensure(&store, part, &new)?;
        work.run.emit(&record(Kind::Step, part, Status::Ok, message));
    }
    Ok(())
}

/// Makes sure that the password opens the part: adds a key unless it does already (a run that was broken off), and tries it.
fn ensure(store: &Store, part: Part, password: &Secret) -> Result<&'static str, Failure> {
    if store.key_of_password(part, password)?.is_some() {
        return Ok("the new password opens it already");
    }
    store.add_password(part, password)?;
    match store.key_of_password(part, password)? {
        Some(_) => Ok("added a key for the new password; it opens"),
        None => Err(Failure::critical(format!(
            "a key for the new password was added to {}/{}, but the password does not open it",
            store.storage().location(),
            part.directory()
        ))
        .hint("the old password is valid still; try again")),
    }
}

/// Replaces the password in use.
///
/// The old keys go only after the new password has opened both parts, and that of the clusters last, because it is the one
/// that opens the repository: at every moment one of the two passwords opens it, and a run that was broken off is finished
/// by running it again.
///
/// # Errors
/// As [`add`]; or nobody agreed.
pub fn rotate(args: &NewPasswordArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    let new = new_password(args)?;
    let old = work.credentials()?.password()?;
    if old.expose() == new.expose() {
        return Err(Failure::usage("the new password is the one in use").hint("choose another one"));
    }
    let store = work.store()?;
    work.subject = store.storage().location();
    if args.change.dry_run {
        for part in Part::ALL {
            let will = "would add a key for the new password, try it, and remove that of the password in use";
            work.run.emit(&record(Kind::Plan, part, Status::Planned, will));
        }
        return Ok(());
    }
    let what = format!("Replace the password of {}?", work.subject);
    confirm(&what, args.change.yes).map_err(|refused| Failure::usage(refused.to_string()))?;
    work.run.journal_in(&state_directory()?)?;
    let _lock = store.lock("keys")?;
    for part in Part::ALL {
        let message = ensure(&store, part, &new)?;
        work.run.emit(&record(Kind::Step, part, Status::Ok, message));
    }
    for part in [Part::Files, Part::Clusters] {
        let mut removed = 0;
        // A password may have been added twice.
        while let Some(id) = store.key_of_password(part, &old)? {
            store.remove_key(part, &id)?;
            removed += 1;
        }
        if store.key_of_password(part, &new)?.is_none() {
            return Err(Failure::critical(format!("the new password does not open {} any more", part.directory())));
        }
        let message =
            if removed > 0 { "removed the key of the old password" } else { "the old password has no key here" };
        work.run.emit(&record(Kind::Step, part, Status::Ok, message).field("removed_keys", removed));
    }
    let configured: Option<String> = work.settings.optional(&SECTION, "password_file")?;
    let next = format!(
        "the old password opens nothing any more: put the new one into {}",
        configured.as_deref().unwrap_or("password_file")
    );
    work.run.emit(&Record::new(Kind::Finding, work.subject.clone(), Status::Warning, next));
    Ok(())
}

fn new_password(args: &NewPasswordArgs) -> Result<Secret, Failure> {
    let password = secret::from_file(&args.new_password_file).map_err(|error| Failure::usage(error.to_string()))?;
    if password.expose().is_empty() {
        return Err(Failure::usage(format!("{} is empty", args.new_password_file.display())));
    }
    Ok(password)
}

fn record(kind: Kind, part: Part, status: Status, message: &str) -> Record {
    Record::new(kind, part.directory(), status, message)
}
