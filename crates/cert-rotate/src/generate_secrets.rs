//! `generate-secrets`: make what a specification lacks.
//!
//! A secret that is there is never replaced, so the command can stand in every deployment. Nothing of a secret is printed
//! but its name and its fingerprint, from which it cannot be guessed.

use maint_core::cli::{open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::fault::point;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::GenerateSecretsArgs;
use crate::secrets::inspect::{Inspected, inspect, stage};
use crate::secrets::spec::{Apply, SecretSpec, Spec};
use crate::secrets::state::{Fingerprints, Note, Store};
use crate::secrets::{failed, lock, place, undumpable, value};
use crate::work::Work;

/// Makes every secret that is nowhere, and completes those that are not everywhere.
///
/// # Errors
/// The specification does not hold, another run is at work, or the journal cannot be written. What goes wrong with one
/// secret is a record.
pub fn run(args: &GenerateSecretsArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let guard = open_guard(&args.change, &mut work.settings, &work.cancel)?;
    undumpable();
    let spec = Spec::load(&args.spec)?;
    work.subject = spec.path.display().to_string();
    let state = state_directory()?;
    let dry_run = args.change.dry_run;
    let _lock = if dry_run {
        None
    } else {
        work.run.journal_in(&state)?;
        Some(lock(&state, &spec)?)
    };
    let prints = Fingerprints::open(&state, !dry_run)?;
    for (name, secret) in &spec.secrets {
        if let Err(stop) = guard.may_start() {
            work.run.emit(&Record::new(Kind::Step, name, Status::Left, stop.reason()));
            continue;
        }
        let store = Store::of(&state, &spec, name);
        let done = one(name, secret, &store, &prints, dry_run);
        let record = done.unwrap_or_else(|failure| failed(name, &failure));
        work.run.emit(&record.field("kind", secret.kind.as_str()));
    }
    Ok(())
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
enum Todo {
    /// It is everywhere.
    Nothing,
    /// It is nowhere.
    Make,
    /// It is not everywhere.
    Complete,
}

fn plan(seen: &Inspected<'_>) -> Result<Todo, Failure> {
    if !seen.conflicts.is_empty() {
        return Err(Failure::critical(seen.conflicts.join("; "))
            .hint("find out which one is in use, and remove the other: it is made again from that one"));
    }
    let users = seen.found.iter().any(|(destination, _)| destination.form == crate::secrets::spec::Form::User);
    match (&seen.value, &seen.user) {
        _ if seen.missing.is_empty() => Ok(Todo::Nothing),
        (None, _) => Ok(Todo::Make),
        (Some(_), None) if users => Err(Failure::critical("the password is there, but not the role that it is of")
            .hint("write the role beside the password, or remove the password")),
        (Some(_), _) => Ok(Todo::Complete),
    }
}

fn one(
    name: &str,
    secret: &SecretSpec,
    store: &Store,
    prints: &Fingerprints,
    dry_run: bool,
) -> Result<Record, Failure> {
    if store.is_rotating() {
        let message = "it is being rotated; run `cert-rotate secrets rotate` until that is done";
        return Ok(Record::new(Kind::Check, name, Status::Deferred, message));
    }
    if !dry_run {
        store.sweep()?;
        for destination in &secret.destinations {
            place::sweep(destination.place.path())?;
        }
    }
    let seen = inspect(secret)?;
    let todo = plan(&seen)?;
    let places: Vec<String> = seen.missing.iter().map(|destination| destination.place.to_string()).collect();
    let places = places.join(", ");
    let shown = |record: Record, value: &value::Value| match prints.shown(&secret.recipe, value) {
        Some(fingerprint) => record.field("fingerprint", fingerprint),
        None => record,
    };
    let message = match todo {
        Todo::Nothing => "is everywhere it has to be".to_owned(),
        Todo::Make => format!("new, to {places}"),
        Todo::Complete => format!("the one that is there, also to {places}"),
    };
    match (&seen.value, todo) {
        (Some(value), Todo::Nothing) => return Ok(shown(Record::new(Kind::Check, name, Status::Ok, message), value)),
        _ if dry_run => return Ok(Record::new(Kind::Plan, name, Status::Planned, message)),
        _ => {}
    }
    let (value, user) = match &seen.value {
        Some(value) => (value.clone(), seen.user.clone()),
        None => (value::make(&secret.recipe)?, seen.user.clone().or_else(|| first_role(secret))),
    };
    if seen.value.is_none() {
        // Of one that is made again after it was lost, the old note must not tell the age.
        store.set_note(&Note { made: jiff::Timestamp::now(), fingerprint: prints.of(&secret.recipe, &value) })?;
    }
    point("generate-made");
    place::commit(stage(secret, &seen.missing, &value, user.as_deref())?)?;
    let after = inspect(secret)?;
    let whole = after.missing.is_empty() && after.conflicts.is_empty() && after.value.as_ref() == Some(&value);
    let (status, message) = if whole {
        (Status::Ok, message)
    } else {
        (Status::Ineffective, format!("{message}: written, but it does not show"))
    };
    Ok(shown(Record::new(Kind::Step, name, status, message), &value))
}

fn first_role(secret: &SecretSpec) -> Option<String> {
    match &secret.apply {
        Apply::Postgres(postgres) => postgres.roles.first().cloned(),
        _ => None,
    }
}
