//! `convert`: between PEM, DER and PKCS #12, and from JKS.
//!
//! Everything that is read goes into the one file that is written, in the order that servers want it: the key's certificate
//! first, then its issuers. A key is only ever written beside a certificate that is its own, since nothing that takes such a
//! file says which of the two is wrong. The new file is read again before it counts as written.

mod arrange;
mod write;

use std::collections::BTreeSet;
use std::path::Path;

use maint_core::cli::{open_guard, state_directory};
use maint_core::confirm::confirm;
use maint_core::durable;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::secret::Secret;
use maint_core::status::Status;

use crate::certificate::sha256;
use crate::cli::{ConvertArgs, ConvertTo};
use crate::inspect::passphrase;
use crate::read::{self, Read};
use crate::work::Work;
use arrange::Contents;

/// Converts.
///
/// # Errors
/// The inputs do not hold or do not fit together, or the file cannot be written.
pub fn run(args: &ConvertArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    work.subject = args.into.display().to_string();
    let to = match args.to {
        Some(to) => to,
        None => by_name(&args.into)?,
    };
    let contents = gather(args)?;
    let new_passphrase = passphrase(args.new_passphrase_file.as_deref())?;
    let bytes = write::encode(&contents, to, new_passphrase.as_ref())?;
    // A store may be encrypted, but its passphrase was chosen by a person.
    let mode = if contents.keys.is_empty() && to != ConvertTo::P12 { 0o644 } else { 0o600 };
    let record = |kind, status, message: String| {
        let record = Record::new(kind, args.into.display().to_string(), status, message);
        let record = record.field("format", to.to_string()).field("mode", format!("{mode:04o}"));
        record.field("certificates", contents.titles()).field("private_keys_count", contents.keys.len())
    };
    if args.change.dry_run {
        let replaces = if args.into.exists() { ", in place of the file that is there" } else { "" };
        work.run.emit(&record(Kind::Plan, Status::Planned, format!("{}{replaces}", contents.summary())));
        return Ok(());
    }
    if args.into.exists() {
        if same(&args.into, new_passphrase.as_ref(), &contents) {
            work.run.emit(&record(Kind::Step, Status::Ok, "nothing to do: it holds just that already".to_owned()));
            return Ok(());
        }
        confirm(&format!("replace {}", args.into.display()), args.change.yes)
            .map_err(|error| Failure::usage(error.to_string()))?;
    }
    work.run.journal_in(&state_directory()?)?;
    durable::replace(&args.into, &bytes, mode).map_err(|error| Failure::critical(error.to_string()))?;
    let (status, message) = if same(&args.into, new_passphrase.as_ref(), &contents) {
        (Status::Ok, contents.summary())
    } else {
        (Status::Ineffective, "written, but it reads differently".to_owned())
    };
    work.run.emit(&record(Kind::Step, status, message));
    Ok(())
}

fn by_name(path: &Path) -> Result<ConvertTo, Failure> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "pem" | "crt" | "key" => Ok(ConvertTo::Pem),
        "der" => Ok(ConvertTo::Der),
        "p12" | "pfx" => Ok(ConvertTo::P12),
        _ => Err(Failure::usage(format!("the name {} does not say which kind of file it is to be", path.display()))
            .hint("give --to pem, --to der or --to p12")),
    }
}

fn gather(args: &ConvertArgs) -> Result<Contents, Failure> {
    if args.inputs.is_empty() {
        return Err(Failure::usage("no file to convert is named"));
    }
    let secret = passphrase(args.passphrase_file.as_deref())?;
    let mut all = Vec::new();
    for path in &args.inputs {
        let read = read::file(path, secret.as_ref())?;
        if let Some(problem) = read.problems.first() {
            let failure = Failure::critical(format!("{}: {problem}", path.display()));
            return Err(if read.locked { failure.hint("give --passphrase-file") } else { failure });
        }
        if read.is_empty() {
            return Err(Failure::critical(format!("there is nothing to convert in {}", path.display())));
        }
        all.push(read);
    }
    arrange::arrange(all)
}

/// Whether the file holds just that.
fn same(path: &Path, passphrase: Option<&Secret>, contents: &Contents) -> bool {
    let Ok(read) = read::file(path, passphrase) else { return false };
    let Read { certificates, keys, crls, requests, problems, .. } = &read;
    let public =
        |keys: &[crate::key::PrivateKey]| keys.iter().map(|key| sha256(&key.public())).collect::<BTreeSet<_>>();
    // A keystore may keep its certificates in an order of its own.
    let set = |certificates: &[crate::certificate::Certificate]| {
        certificates.iter().map(crate::certificate::Certificate::sha256).collect::<BTreeSet<_>>()
    };
    problems.is_empty()
        && set(certificates) == set(&contents.certificates)
        && public(keys) == public(&contents.keys)
        && *crls == contents.crls
        && *requests == contents.requests
}
