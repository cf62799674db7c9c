//! `sbom`: what is in it, as CycloneDX 1.6: packages, who needs whom, and how far each is used.

use std::collections::BTreeMap;

use maint_core::failure::Failure;
use maint_core::output::Format;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::SbomArgs;
use crate::formats::bill_of_materials;
use crate::graph::Tiers;
use crate::inputs::{locks, nearest};
use crate::work::Work;

/// Writes one bill of all lock files that are named. It is written whole or not at all: what reads it cannot tell that a
/// part is missing.
///
/// # Errors
/// A lock file cannot be read or is empty, or cargo cannot tell how far its packages are used.
pub fn run(args: &SbomArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let own = nearest().ok().and_then(|path| path.canonicalize().ok());
    let mut all = Vec::new();
    let mut tiers = BTreeMap::new();
    let mut unscoped = "cargo is asked in your own workspace, and with --trust in others".to_owned();
    for lock in locks(&args.input)? {
        let lock = lock.map_err(|error| Failure::usage(error.to_string()))?;
        if lock.packages.is_empty() {
            return Err(Failure::usage(format!("there is no package in {}", lock.path.display())));
        }
        let is_own = lock.path.canonicalize().ok().is_some_and(|path| Some(path) == own);
        if args.trust || is_own {
            match Tiers::of(&lock.path.with_file_name("Cargo.toml")) {
                Ok(found) => {
                    tiers.insert(lock.path.clone(), found);
                }
                Err(failure) if args.trust => return Err(failure),
                Err(failure) => {
                    tracing::warn!("without scopes and licences: {}", failure.message);
                    unscoped = failure.message;
                }
            }
        }
        all.push(lock);
    }
    work.subject = match all.as_slice() {
        [one] => one.path.display().to_string(),
        more => format!("{} lock files", more.len()),
    };
    let bill = bill_of_materials(&all, &tiers)?;
    match work.format {
        Format::Document(_) => work.run.document(&bill),
        _ => {
            for lock in &all {
                let packages = lock.packages.len();
                let message = match tiers.get(&lock.path) {
                    Some(_) => format!("{packages} packages, with scopes and licences"),
                    None => format!("{packages} packages, without scopes and licences: {unscoped}"),
                };
                let record = Record::new(Kind::Check, lock.path.display().to_string(), Status::Ok, message);
                work.run.emit(&record.field("packages", packages).field("is_scoped", tiers.contains_key(&lock.path)));
            }
        }
    }
    Ok(())
}
