//! What was issued, revoked and listed: `ledger`, one JSON object a line, only ever appended to.
//!
//! A certificate's line is on the disk before the certificate is in anybody's hands, with the certificate in it. So there
//! is none that the ledger does not know, and one whose file was lost in a crash is still to be had. A last line without
//! its end was never finished: nobody has what it would have told, and the next run takes it away.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::fault::point;
use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::cli::{Profile, Reason};

/// What kind of certificate was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A root, by itself.
    Root,
    /// An authority, by a root.
    Intermediate,
    /// An authority that has another certificate already, by another root.
    Cross,
    /// Of a service.
    Leaf,
}

impl Kind {
    /// As in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Root => "root",
            Kind::Intermediate => "intermediate",
            Kind::Cross => "cross",
            Kind::Leaf => "leaf",
        }
    }
}

/// A certificate that was issued.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Issued {
    /// When.
    pub at: Timestamp,
    /// The authority that signed it.
    pub authority: String,
    /// What kind it is.
    pub kind: Kind,
    /// What it is for, of a leaf.
    pub profile: Option<Profile>,
    /// Its serial number, as [`Certificate::serial`].
    pub serial: String,
    /// SHA-256 of the certificate.
    pub sha256: String,
    /// Its names, or its subject when it has none.
    pub names: Vec<String>,
    /// The last second of its validity.
    pub not_after: Timestamp,
    /// SHA-256 of the certificate whose place it takes.
    pub replaces: Option<String>,
    /// The certificate.
    pub pem: String,
}

/// A revocation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revoked {
    /// When.
    pub at: Timestamp,
    /// Serial number of the certificate.
    pub serial: String,
    /// Why.
    pub reason: Reason,
}

/// A revocation list that was signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listed {
    /// When: its thisUpdate.
    pub at: Timestamp,
    /// Who signed it.
    pub authority: String,
    /// Its cRLNumber.
    pub number: u64,
    /// Its nextUpdate.
    pub next_update: Timestamp,
}

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub enum Entry {
    /// A certificate was issued.
    Issued(Issued),
    /// A certificate was revoked.
    Revoked(Revoked),
    /// A revocation list was signed.
    Listed(Listed),
}

/// What became of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It may be in use.
    Valid,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
    /// Another one took its place.
    Replaced,
}

impl State {
    /// As in records.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Valid => "valid",
            State::Expired => "expired",
            State::Revoked => "revoked",
            State::Replaced => "replaced",
        }
    }
}

/// The ledger, as it was read and appended to.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    entries: Vec<Entry>,
    /// Serial numbers.
    revoked: BTreeSet<String>,
    /// SHA-256 of certificates that another one took the place of.
    replaced: BTreeSet<String>,
}

impl Ledger {
    /// Reads it; one that is not there is empty.
    ///
    /// # Errors
    /// It cannot be read, or a finished line does not hold: somebody wrote into it.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Failure::usage(format!("cannot read the ledger {}: {error}", path.display()))),
        };
        let finished = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = bytes.get(..finished).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
        let (entries, revoked, replaced) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut ledger = Ledger { path: path.to_owned(), entries, revoked, replaced };
        for (index, line) in lines.enumerate() {
            ledger.push(serde_json::from_slice(line).map_err(|error| {
                let (path, line) = (path.display(), index + 1);
                Failure::critical(format!("the ledger {path} does not hold in line {line}: {error}"))
                    .hint("nothing is signed until it does; restore it from a backup")
            })?);
        }
        Ok(ledger)
    }

    fn push(&mut self, entry: Entry) {
        match &entry {
            Entry::Issued(issued) => self.replaced.extend(issued.replaces.clone()),
            Entry::Revoked(revoked) => {
                self.revoked.insert(revoked.serial.clone());
            }
            Entry::Listed(_) => {}
        }
        self.entries.push(entry);
    }

    /// Appends a line and waits until it is on the disk. Only for who has the lock.
    ///
    /// # Errors
    /// It could not be written: what it tells of must not happen.
    pub fn append(&mut self, entry: Entry) -> Result<(), Failure> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Failure::critical(format!("cannot {what} the ledger {}: {error}; nothing was issued", self.path.display()))
        };
        let mut line = serde_json::to_vec(&entry).map_err(|error| failed("encode a line of", &error))?;
        line.push(b'\n');
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(&self.path);
        let mut file = open.map_err(|error| failed("open", &error))?;
        let end = finished(&mut file).map_err(|error| failed("read the end of", &error))?;
        let written = file
            .set_len(end)
            .and_then(|()| file.seek(SeekFrom::Start(end)))
            .and_then(|_| file.write_all(&line))
            .and_then(|()| {
                point("ca-ledger-unsynced");
                file.sync_all()
            });
        if let Err(error) = written {
            // A disk that filled up leaves half of a line, which is none.
            let _ = file.set_len(end);
            return Err(failed("write", &error));
        }
        if end == 0 {
            let parent = self.path.parent().unwrap_or(Path::new("."));
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(|error| failed("keep", &error))?;
        }
        point("ca-ledger-written");
        self.push(entry);
        Ok(())
    }

    /// Every certificate, oldest first.
    pub fn issued(&self) -> impl DoubleEndedIterator<Item = &Issued> {
        self.entries.iter().filter_map(|entry| if let Entry::Issued(issued) = entry { Some(issued) } else { None })
    }

    /// Every revocation, oldest first.
    pub fn revocations(&self) -> impl Iterator<Item = &Revoked> {
        self.entries.iter().filter_map(|entry| if let Entry::Revoked(revoked) = entry { Some(revoked) } else { None })
    }

    /// Every list of one authority, oldest first.
    pub fn lists(&self, authority: &str) -> impl DoubleEndedIterator<Item = &Listed> {
        self.entries.iter().filter_map(move |entry| match entry {
            Entry::Listed(list) if list.authority == authority => Some(list),
            _ => None,
        })
    }

    /// The revocation of a certificate.
    pub fn revocation(&self, serial: &str) -> Option<&Revoked> {
        self.revocations().find(|revoked| revoked.serial == serial)
    }

    /// The certificate whose revocation says that somebody else knows this key (a DER `SubjectPublicKeyInfo`).
    pub fn compromised(&self, public: &[u8]) -> Option<&Issued> {
        let known = self.revocations().filter(|revoked| revoked.reason == Reason::KeyCompromise);
        let serials: BTreeSet<&str> = known.map(|revoked| revoked.serial.as_str()).collect();
        let of_key =
            |issued: &&Issued| issued.certificate().is_ok_and(|certificate| certificate.public_key() == public);
        self.issued().filter(|issued| serials.contains(issued.serial.as_str())).find(of_key)
    }

    /// The certificate with this SHA-256.
    pub fn by_sha256(&self, sha256: &str) -> Option<&Issued> {
        self.issued().find(|issued| issued.sha256 == sha256)
    }

    /// The certificate that somebody means by a serial number (with or without colons and leading zeros), a SHA-256, or a
    /// file.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, what: &str) -> Result<&Issued, Failure> {
        let path = Path::new(what);
        if path.is_file() {
            let unreadable = |error: &dyn std::fmt::Display| Failure::usage(format!("cannot read {what}: {error}"));
            let read = crate::read::file(path, None).map_err(|error| unreadable(&error))?;
            let leaf = read.certificates.first().ok_or_else(|| unreadable(&"there is no certificate in it"))?;
            return self.by_sha256(&leaf.fingerprint()).ok_or_else(|| {
                Failure::usage(format!("the certificate in {what} ({}) was not issued here", leaf.title()))
            });
        }
        let plain = |text: &str| text.replace(':', "").to_ascii_lowercase().trim_start_matches('0').to_owned();
        let wanted = plain(what);
        let found = self.issued().find(|issued| plain(&issued.serial) == wanted || plain(&issued.sha256) == wanted);
        found.ok_or_else(|| {
            Failure::usage(format!("`{what}` is no file, and no certificate with this serial number was issued here"))
                .hint("`cert-rotate ca list` shows them")
        })
    }

    /// What became of a certificate.
    pub fn state(&self, issued: &Issued, now: Timestamp) -> State {
        if self.revoked.contains(&issued.serial) {
            State::Revoked
        } else if issued.not_after < now {
            State::Expired
        } else if self.replaced.contains(&issued.sha256) {
            State::Replaced
        } else {
            State::Valid
        }
    }
}

impl Issued {
    /// What is to be written of a certificate.
    pub fn of(certificate: &Certificate, authority: &str, kind: Kind) -> Self {
        let names: Vec<String> = certificate.names.iter().map(ToString::to_string).collect();
        Issued {
            at: Timestamp::now(),
            authority: authority.to_owned(),
            kind,
            profile: None,
            serial: certificate.serial.clone(),
            sha256: certificate.fingerprint(),
            names: if names.is_empty() { vec![certificate.subject.clone()] } else { names },
            not_after: certificate.not_after,
            replaces: None,
            pem: certificate.to_pem(),
        }
    }

    /// What it is called in messages.
    pub fn title(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// The certificate.
    ///
    /// # Errors
    /// Somebody wrote into the ledger.
    pub fn certificate(&self) -> Result<Certificate, Failure> {
        let broken = || Failure::critical(format!("the ledger's certificate {} does not hold", self.serial));
        let all = Certificate::all_from_pem(self.pem.as_bytes()).map_err(|_| broken())?;
        all.into_iter().next().filter(|read| read.fingerprint() == self.sha256).ok_or_else(broken)
    }
}

/// Where the last finished line ends.
fn finished(file: &mut File) -> std::io::Result<u64> {
    const BLOCK: u64 = 64 * 1024;
    let mut end = file.seek(SeekFrom::End(0))?;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        file.take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests;
