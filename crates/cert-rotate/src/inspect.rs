//! `inspect`: what a file says, without a judgement.
//!
//! One record for each certificate, request, revocation list, key and keystore entry. Of a private key only the kind and
//! the fingerprint of its public half are told, which is what it takes to find the certificates that it belongs to. What
//! is damaged is critical: whoever needs the file will find it so.

mod certificate;
mod extensions;
mod others;

use std::path::Path;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::secret::{self, Secret};
use maint_core::status::Status;
use zeroize::Zeroizing;

use crate::cli::InspectArgs;
use crate::read::{self, Entry, Read};
use crate::work::Work;

/// Tells what is in each file.
///
/// # Errors
/// No file is named, or the passphrase cannot be read.
pub fn run(args: &InspectArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    if args.targets.is_empty() {
        return Err(Failure::usage("no file is named").hint("name files, or `-` for stdin"));
    }
    let passphrase = passphrase(args.passphrase_file.as_deref())?;
    for target in &args.targets {
        let found =
            if target == "-" { stdin(passphrase.as_ref()) } else { read::file(Path::new(target), passphrase.as_ref()) };
        match found {
            Ok(found) => tell(&found, work),
            Err(error) => {
                work.run.emit(
                    &Record::new(Kind::Check, target, Status::Unknown, error.to_string()).field("code", "unreadable"),
                );
            }
        }
    }
    Ok(())
}

/// The passphrase in a file, when one is named.
///
/// # Errors
/// The file cannot be read, or others can read it too.
pub(crate) fn passphrase(file: Option<&Path>) -> Result<Option<Secret>, Failure> {
    file.map(secret::from_file).transpose().map_err(|error| Failure::usage(error.to_string()))
}

fn stdin(passphrase: Option<&Secret>) -> Result<Read, read::ReadError> {
    use std::io::Read as _;
    let mut content = Zeroizing::new(Vec::new());
    std::io::stdin().take(read::MAX_BYTES + 1).read_to_end(&mut content).map_err(|error| read::ReadError::Io {
        step: "read",
        path: "stdin".into(),
        error,
    })?;
    read::bytes("stdin", &content, passphrase)
}

fn tell(found: &Read, work: &Work<'_>) {
    let count = found.certificates.len() + found.keys.len() + found.requests.len() + found.crls.len();
    let mut number = 0;
    // A file with one thing in it is that thing; of several, each has its number.
    let mut emit = |record: Record| {
        number += 1;
        let subject = if count == 1 { found.source.clone() } else { format!("{}#{number}", found.source) };
        let record = Record { subject, ..record };
        work.run.emit(&record.field("format", found.format.to_string()));
    };
    for (at, one) in found.certificates.iter().enumerate() {
        emit(in_entry(certificate::record(one, work.now), found, |entry| entry.certificates.contains(&at)));
    }
    for (at, key) in found.keys.iter().enumerate() {
        let of = found.certificates.iter().position(|one| key.is_of(one));
        emit(in_entry(others::key(key, of), found, |entry| entry.key == Some(at)));
    }
    for request in &found.requests {
        emit(others::request(request));
    }
    for list in &found.crls {
        emit(others::crl(list, work.now));
    }
    for problem in &found.problems {
        let (status, code) = if found.locked { (Status::Unknown, "locked") } else { (Status::Critical, "damaged") };
        work.run.emit(&Record::new(Kind::Check, &found.source, status, problem).field("code", code));
    }
    if found.is_empty() {
        let why = "there is no certificate, private key, request, revocation list or keystore in it";
        work.run.emit(&Record::new(Kind::Check, &found.source, Status::Warning, why).field("code", "nothing"));
    }
}

fn in_entry(record: Record, found: &Read, is_its: impl Fn(&Entry) -> bool) -> Record {
    match found.entries.iter().find(|entry| is_its(entry)) {
        Some(entry) => record.field("entry", &entry.alias),
        None => record,
    }
}
