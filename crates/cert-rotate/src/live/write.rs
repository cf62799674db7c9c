//! Changes of the directory. Each leaves the old state or the new one, wherever it is killed.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use maint_core::durable;
use maint_core::failure::Failure;
use maint_core::fault::point;

use super::access::{Access, create};
use super::{Generation, Live, Meta, State, entries};
use crate::certificate::Certificate;
use crate::key::PrivateKey;

/// Names of directories that are being written or removed begin so.
const UNFINISHED: &str = ".unfinished-";

/// Where the link to a generation points.
pub(super) fn target(name: &str, number: u64) -> PathBuf {
    PathBuf::from(format!("../archive/{name}/{number}"))
}

/// Makes a directory that everybody may pass through, and its parents; what is there keeps its mode. Servers run as users
/// of their own; what must be kept from them is the keys, by the modes of their files.
pub(crate) fn make_public(directory: &Path) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::usage(format!("cannot make the directory {}: {error}", directory.display()));
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_public(parent)?;
    }
    match std::fs::create_dir(directory) {
        // The umask may have closed it.
        Ok(()) => std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).map_err(failed),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

fn sync(directory: &Path) -> Result<(), Failure> {
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(|error| Failure::critical(format!("cannot sync the directory {}: {error}", directory.display())))
}

impl Live {
    /// Writes a new generation, whole or not at all, and returns it. The caller holds the lock.
    ///
    /// # Errors
    /// It cannot be written; what was there is untouched.
    pub fn write(
        &self,
        name: &str,
        chain: &[Certificate],
        key: &PrivateKey,
        meta: &Meta,
        access: &Access,
    ) -> Result<Generation, Failure> {
        let (leaf, above) =
            chain.split_first().ok_or_else(|| Failure::critical(format!("{name}: the chain is empty")))?;
        let archive = self.archive(name);
        make_public(&archive)?;
        self.sweep(name)?;
        let number = self.numbers(name)?.last().map_or(1, |last| last + 1);
        let unfinished = archive.join(format!("{UNFINISHED}{number}"));
        make_public(&unfinished)?;
        let text = |chain: &[Certificate]| chain.iter().map(Certificate::to_pem).collect::<String>();
        let key = key.to_pem();
        let leaf = leaf.to_pem();
        let (above, whole) = (text(above), text(chain));
        let files: [(&str, &str); 4] = [("cert", &leaf), ("chain", &above), ("fullchain", &whole), ("privkey", &key)];
        for (file, content) in files {
            let path = unfinished.join(format!("{file}.pem"));
            create(&path, content.as_bytes(), access.mode(file), access.owner)?;
            point("generation-file");
        }
        create(&unfinished.join("meta.json"), &encode(name, meta)?, 0o644, super::Owner::default())?;
        sync(&unfinished)?;
        point("generation-written");
        let directory = archive.join(number.to_string());
        rename(&unfinished, &directory)?;
        sync(&archive)?;
        // Its entries too, when these directories are new.
        sync(&self.root.join("archive"))?;
        point("generation-named");
        self.generation(name, number)
    }

    /// Makes a generation the one that servers read.
    ///
    /// # Errors
    /// It is not there, or the link cannot be switched; it is the old one then.
    pub fn switch(&self, name: &str, number: u64) -> Result<(), Failure> {
        self.generation(name, number)?;
        let live = self.root.join("live");
        make_public(&live)?;
        let (link, beside) = (self.link(name), live.join(format!(".{name}.new")));
        let failed = |step: &str, error: io::Error| {
            Failure::critical(format!("cannot {step} the link {}: {error}", link.display()))
        };
        remove_if_there(&beside)?;
        symlink(target(name, number), &beside).map_err(|error| failed("make", error))?;
        point("link-made");
        std::fs::rename(&beside, &link).map_err(|error| {
            let failure = failed("switch", error);
            if link.is_dir() && !link.is_symlink() {
                return failure.hint("it is a directory; move it away, or take it over with `cert-rotate import`");
            }
            failure
        })?;
        point("link-switched");
        sync(&live)?;
        match self.current_number(name)? {
            Some(now) if now == number => Ok(()),
            _ => Err(Failure::critical(format!("{} was switched, but shows something else", link.display()))),
        }
    }

    /// Takes the link away: nothing is live any more.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn unlink(&self, name: &str) -> Result<(), Failure> {
        remove_if_there(&self.link(name))?;
        sync(&self.root.join("live"))
    }

    /// Notes what became of a generation.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn mark(&self, name: &str, number: u64, state: State, reason: Option<&str>) -> Result<(), Failure> {
        let reason = reason.map(str::to_owned);
        self.note(name, number, &Meta { state, reason, changed: Some(Timestamp::now()), ..self.meta(name, number) })
    }

    /// Replaces the note about a generation.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note(&self, name: &str, number: u64, meta: &Meta) -> Result<(), Failure> {
        let path = self.archive(name).join(number.to_string()).join("meta.json");
        durable::replace(&path, &encode(name, meta)?, 0o644).map_err(|error| Failure::critical(error.to_string()))
    }

    /// Removes the oldest generations so that of those that were served `keep` remain, and as many of those that never
    /// were; the current one and the one to go back to always stay. Returns the numbers that went.
    ///
    /// # Errors
    /// One cannot be removed.
    pub fn prune(&self, name: &str, keep: usize) -> Result<Vec<u64>, Failure> {
        let current = self.current_number(name)?;
        let back = current.and_then(|current| self.meta(name, current).previous);
        let numbers = self.numbers(name)?;
        let (served, others): (Vec<u64>, Vec<u64>) =
            numbers.into_iter().partition(|number| self.meta(name, *number).state == State::Live);
        let surplus = |numbers: Vec<u64>| {
            let surplus = numbers.len().saturating_sub(keep.max(1));
            numbers.into_iter().take(surplus)
        };
        let going = surplus(served).chain(surplus(others));
        let going: Vec<u64> = going.filter(|number| Some(*number) != current && Some(*number) != back).collect();
        self.remove(name, &going)?;
        Ok(going)
    }

    /// Removes generations. The caller has looked that none of them is live.
    ///
    /// # Errors
    /// One cannot be removed.
    pub fn remove(&self, name: &str, numbers: &[u64]) -> Result<(), Failure> {
        let archive = self.archive(name);
        for number in numbers {
            // Renamed first: what has a number is whole.
            rename(&archive.join(number.to_string()), &archive.join(format!("{UNFINISHED}{number}")))?;
            point("generation-going");
        }
        self.sweep(name)
    }

    /// Removes what a killed run left half written or half removed.
    fn sweep(&self, name: &str) -> Result<(), Failure> {
        let archive = self.archive(name);
        for left in entries(&archive)?.iter().filter(|entry| entry.starts_with(UNFINISHED)) {
            let path = archive.join(left);
            std::fs::remove_dir_all(&path)
                .map_err(|error| Failure::critical(format!("cannot remove {}: {error}", path.display())))?;
        }
        Ok(())
    }
}

fn encode(name: &str, meta: &Meta) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec_pretty(meta)
        .map_err(|error| Failure::critical(format!("{name}: cannot encode the note about a generation: {error}")))
}

fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::rename(from, to)
        .map_err(|error| Failure::critical(format!("cannot rename {} to {}: {error}", from.display(), to.display())))
}

fn remove_if_there(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Failure::critical(format!("cannot remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
