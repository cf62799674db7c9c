//! `secrets`: rotate and check what a specification names. How they are made is in [`crate::generate_secrets`].
//!
//! - [`spec`] is what the operator wants; [`value`] a secret in memory, [`strength`] how hard it is to guess.
//! - [`place`] reads and writes destinations, [`env_file`] variables among others; [`inspect`] looks at all destinations of
//!   a secret at once.
//! - [`scram`] and [`jwk`] are what others get of a secret.
//! - [`state`] is what is remembered between runs.
//! - [`rotate`] takes the steps of a rotation, with [`server`] and [`consumer`]; [`jwt`] those of keys for tokens.

pub mod check;
pub mod consumer;
pub mod env_file;
pub mod inspect;
pub mod jwk;
pub mod jwt;
pub mod place;
pub mod rotate;
pub mod scram;
pub mod server;
pub mod spec;
pub mod state;
pub mod strength;
pub mod value;

use std::path::Path;

use maint_core::failure::Failure;
use maint_core::lock::{LockError, RunLock};
use maint_core::record::{Kind, Record};
use maint_core::status::{Exit, Status};

use crate::cli::SecretsAction;
use crate::work::Work;
use spec::Spec;

/// Runs one of the commands.
///
/// # Errors
/// As the command.
pub fn run(action: &SecretsAction, work: &mut Work<'_>) -> Result<(), Failure> {
    match action {
        SecretsAction::Rotate(args) => rotate::run(args, work),
        SecretsAction::Check { spec } => check::run(spec, work),
    }
}

/// Makes this run the only one that changes what a specification names.
///
/// # Errors
/// Another run has the lock (exit 75), or the state directory cannot be written.
pub fn lock(state: &Path, spec: &Spec) -> Result<RunLock, Failure> {
    RunLock::acquire(state, &format!("secrets {}", spec.path.display())).map_err(|error| match error {
        LockError::Held { .. } => Failure::not_now(error.to_string()),
        LockError::Io { .. } => Failure::usage(error.to_string()).hint("set MAINT_STATE_DIR to one you may write"),
    })
}

/// Keeps this process out of core files, which would hold what it has in memory. Unlike a limit on their size, that is not
/// passed on to the programs that it starts.
pub fn undumpable() {
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::warn!("cannot forbid core files of this process: {error}");
    }
}

/// What went wrong with one secret.
pub fn failed(name: &str, failure: &Failure) -> Record {
    let status = match failure.exit {
        Exit::NotNow => Status::Deferred,
        Exit::Unknown => Status::Unknown,
        Exit::RolledBack => Status::RolledBack,
        _ => Status::Failed,
    };
    let hint = failure.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
    Record::new(Kind::Step, name, status, format!("{}{hint}", failure.message))
}
