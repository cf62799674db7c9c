//! `inventory`: which certificates there are, once each, and where each is used.
//!
//! A certificate is known by the SHA-256 of its bytes, so that it is the same one in a file, in a bundle, in a keystore, in
//! a kubeconfig and on a server. Files are read by all processors at once, servers are asked all at once; the judgement is
//! made when everything is known, because reuse of a key can only be seen then.

mod judge;
mod look;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::InventoryArgs;
use crate::endpoint::Endpoint;
use crate::inspect::passphrase;
use crate::read;
use crate::work::Work;

/// How long one server may take to answer.
const ENDPOINT_LIMIT: Duration = Duration::from_secs(10);

/// Looks everywhere, and tells.
///
/// # Errors
/// Nothing is named, or the passphrase cannot be read.
pub fn run(args: &InventoryArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let targets = read::targets(&args.targets)?;
    if targets.is_empty() {
        return Err(Failure::usage("no place is named").hint("name files, directories or HOST:PORT, or `-` for stdin"));
    }
    let passphrase = passphrase(args.passphrase_file.as_deref())?;
    let (files, endpoints) = places(&targets, work);
    let looked = look::files(&files, passphrase.as_ref(), &work.cancel);
    let shown = work.block_on(look::endpoints(endpoints, ENDPOINT_LIMIT));
    for record in judge::all(&looked, &shown, work.now) {
        work.run.emit(&record);
    }
    Ok(())
}

/// A file to be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct File {
    path: PathBuf,
    /// It was named itself, and not found in a directory.
    named: bool,
}

/// What is named, with directories replaced by what is in them. What is neither is told.
fn places(targets: &[String], work: &Work<'_>) -> (Vec<File>, Vec<Endpoint>) {
    let (mut files, mut endpoints) = (BTreeSet::new(), BTreeSet::new());
    let unknown = |target: &str, why: String| {
        work.run.emit(&Record::new(Kind::Check, target, Status::Unknown, why).field("code", "unreadable"));
    };
    for target in targets {
        let path = Path::new(target);
        match (std::fs::metadata(path), target.parse::<Endpoint>()) {
            (Err(error), Ok(endpoint)) if error.kind() == std::io::ErrorKind::NotFound => {
                endpoints.insert(endpoint);
            }
            (Ok(meta), _) => {
                let named = !meta.is_dir();
                let mut visit = |path: &Path| {
                    files.insert(File { path: path.to_owned(), named });
                };
                if let Err(error) = read::walk(path, &mut visit) {
                    unknown(target, error.to_string());
                }
            }
            (Err(error), _) => unknown(target, format!("there is no such file, and it is no HOST:PORT: {error}")),
        }
    }
    (files.into_iter().collect(), endpoints.into_iter().collect())
}
