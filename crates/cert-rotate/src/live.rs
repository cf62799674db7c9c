//! The directory that servers read.
//!
//! ```text
//! live/NAME -> ../archive/NAME/GENERATION        the one symbolic link that is switched
//! archive/NAME/GENERATION/{cert,chain,fullchain,privkey}.pem
//! archive/NAME/GENERATION/meta.json              where it came from and what became of it
//! ```
//!
//! Key and certificate can only change together, because what changes is the one link before both of them. A server that
//! opens the two files one after the other while the link is switched could still read one of each: it reads them when it
//! is told to, which is after the switch.
//!
//! A directory with a number is always whole: it is written under another name and renamed. One run at a time changes the
//! directory ([`Live::lock`]).

mod access;
mod install;
mod write;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::lock::{LockError, RunLock};
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::key::PrivateKey;

pub(crate) use access::number;
pub use access::{Access, Owner};
pub use install::{Kept, Original, check, install, keep, put_back};
pub(crate) use write::make_public;

/// One state of a certificate: its directory and what is in it.
#[derive(Debug, Clone)]
pub struct Generation {
    /// Counted from 1.
    pub number: u64,
    /// Its directory.
    pub directory: PathBuf,
    /// The chain, leaf first.
    pub chain: Vec<Certificate>,
}

impl Generation {
    /// The leaf.
    pub fn leaf(&self) -> Option<&Certificate> {
        self.chain.first()
    }
}

/// What became of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Written; it was not shown to be served yet.
    Staged,
    /// It was shown to be served. Whether it still is, is said by the link.
    Live,
    /// It did not pass the checks before deployment and was never live.
    Rejected,
    /// It was live and was taken back.
    RolledBack,
}

impl State {
    /// As records have it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Staged => "staged",
            State::Live => "live",
            State::Rejected => "rejected",
            State::RolledBack => "rolled-back",
        }
    }
}

/// Where a generation came from and what became of it: `meta.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// What became of it.
    pub state: State,
    /// The issuer's name in the configuration, or the program that it was taken over from.
    pub issuer: String,
    /// Address of the authority or of the account there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// When it was written here.
    pub made: Timestamp,
    /// The generation that was live before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<u64>,
    /// When its state changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Timestamp>,
    /// Why it was rejected or taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Meta {
    /// Of a generation that is about to be written.
    pub fn staged(issuer: &str, now: Timestamp) -> Self {
        Meta {
            state: State::Staged,
            issuer: issuer.to_owned(),
            account: None,
            made: now,
            previous: None,
            changed: None,
            reason: None,
        }
    }
}

/// The tool's directory.
#[derive(Debug, Clone)]
pub struct Live {
    root: PathBuf,
}

impl Live {
    /// Below `root`; nothing is touched.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Live { root: root.into() }
    }

    /// The tool's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `live/NAME`: what a server's configuration names.
    pub fn link(&self, name: &str) -> PathBuf {
        self.root.join("live").join(name)
    }

    /// `archive/NAME`.
    pub fn archive(&self, name: &str) -> PathBuf {
        self.root.join("archive").join(name)
    }

    /// Makes this run the only one that changes the directory, until the lock is dropped.
    ///
    /// # Errors
    /// Another run has it (exit 75), or the directory cannot be written.
    pub fn lock(&self) -> Result<RunLock, Failure> {
        make_public(&self.root)?;
        RunLock::acquire(&self.root, "directory").map_err(|error| match error {
            LockError::Held { .. } => Failure::not_now(error.to_string()),
            LockError::Io { .. } => Failure::usage(error.to_string()).hint("run as the user who owns the directory"),
        })
    }

    /// What is live now; `None` before the first issue.
    ///
    /// # Errors
    /// The link points elsewhere than into the archive, or its files cannot be read.
    pub fn current(&self, name: &str) -> Result<Option<Generation>, Failure> {
        match self.current_number(name)? {
            Some(number) => self.generation(name, number).map(Some),
            None => Ok(None),
        }
    }

    /// The number of what is live now.
    ///
    /// # Errors
    /// The link points elsewhere than into the archive.
    pub fn current_number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let link = self.link(name);
        let target = match std::fs::read_link(&link) {
            Ok(target) => target,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::critical(format!("cannot read the link {}: {error}", link.display()))),
        };
        let number = target.file_name().and_then(|number| number.to_str()).and_then(|number| number.parse().ok());
        let number = number.filter(|number| target == write::target(name, *number));
        number.map(Some).ok_or_else(|| {
            Failure::critical(format!("{} points to {}, which is no generation", link.display(), target.display()))
        })
    }

    /// Reads a generation.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn generation(&self, name: &str, number: u64) -> Result<Generation, Failure> {
        let directory = self.archive(name).join(number.to_string());
        let path = directory.join("fullchain.pem");
        let chain = Certificate::all_from_pem(&read(&path)?)
            .map_err(|error| Failure::critical(format!("{}: {error}", path.display())))?;
        if chain.is_empty() {
            return Err(Failure::critical(format!("there is no certificate in {}", path.display())));
        }
        Ok(Generation { number, directory, chain })
    }

    /// The private key of a generation.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn key(&self, name: &str, number: u64) -> Result<PrivateKey, Failure> {
        let path = self.archive(name).join(number.to_string()).join("privkey.pem");
        let pem = zeroize::Zeroizing::new(read(&path)?);
        PrivateKey::from_pem(&pem).map_err(|error| Failure::critical(format!("{}: {error}", path.display())))
    }

    /// What is known about a generation. One that has no note of ours was put there by somebody else; it counts as one
    /// that was served.
    pub fn meta(&self, name: &str, number: u64) -> Meta {
        let directory = self.archive(name).join(number.to_string());
        let note = std::fs::read(directory.join("meta.json")).ok().and_then(|text| serde_json::from_slice(&text).ok());
        note.unwrap_or_else(|| {
            let made = std::fs::metadata(&directory).and_then(|meta| meta.modified()).ok();
            let made = made.and_then(|made| Timestamp::try_from(made).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
            Meta { state: State::Live, ..Meta::staged("", made) }
        })
    }

    /// The generations of a certificate, oldest first.
    ///
    /// # Errors
    /// The archive cannot be read.
    pub fn numbers(&self, name: &str) -> Result<Vec<u64>, Failure> {
        let mut numbers: Vec<u64> = entries(&self.archive(name))?.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Every certificate that has a generation, by name.
    ///
    /// # Errors
    /// The archive cannot be read.
    pub fn names(&self) -> Result<Vec<String>, Failure> {
        let mut names = entries(&self.root.join("archive"))?;
        names.retain(|name| crate::config::is_plain(name));
        names.sort();
        Ok(names)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::critical(format!("cannot read {}: {error}", path.display())))
}

/// The names in a directory; none when it is not there.
fn entries(directory: &Path) -> Result<Vec<String>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::critical(format!("cannot read the directory {}: {error}", directory.display()))
    };
    let found = match std::fs::read_dir(directory) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in found {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}
