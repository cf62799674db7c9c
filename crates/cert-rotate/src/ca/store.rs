//! The directory of the authorities.
//!
//! ```text
//! authorities/NAME/key.pem            its key, 0600
//! authorities/NAME/cert.pem           its certificate; written last, so an authority is whole or is none
//! authorities/NAME/cross-ISSUER.pem   a certificate for the same name and key by another root
//! authorities/NAME/crl.pem            its revocation list
//! rollovers/FROM.json                 the phase of a rollover
//! trust.pem                           the roots that are to be trusted
//! ledger                              everything that was issued, revoked and listed
//! ```

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use maint_core::durable;
use maint_core::failure::Failure;
use maint_core::fault::point;
use maint_core::lock::{LockError, RunLock};
use maint_core::secret::Secret;
use maint_core::status::Exit;

use super::constraints::Constraints;
use super::ledger::Ledger;
use super::seal;
use crate::certificate::{Certificate, SanName};
use crate::config::is_plain;
use crate::key::PrivateKey;
use crate::live::make_public;
use crate::work::Work;

/// What another run holds the lock for takes a moment: several signatures at once wait for each other.
const PATIENCE: Duration = Duration::from_secs(30);

/// An authority.
#[derive(Debug)]
pub struct Authority {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub directory: PathBuf,
    /// Its certificate.
    pub certificate: Certificate,
    /// Who signed that, and so on up to the root: empty for a root. With names.
    pub above: Vec<(String, Certificate)>,
}

impl Authority {
    /// Whether it is a root.
    pub fn is_root(&self) -> bool {
        self.above.is_empty()
    }

    /// The root that it ends at, itself for a root; with its name.
    pub fn root(&self) -> (&str, &Certificate) {
        self.above.last().map_or((&self.name, &self.certificate), |(name, certificate)| (name, certificate))
    }

    /// Its key.
    ///
    /// # Errors
    /// It cannot be read or opened, or is another one's.
    pub fn key(&self, passphrase: Option<&Secret>) -> Result<PrivateKey, Failure> {
        let path = self.directory.join("key.pem");
        let key = seal::open(&path, passphrase)?;
        if key.is_of(&self.certificate) {
            return Ok(key);
        }
        Err(Failure::critical(format!("{} is not the key of the certificate beside it", path.display())))
    }

    /// Whether it may sign at all now.
    ///
    /// # Errors
    /// Its time, or that of an authority above it, is over or has not come, or one of them was revoked.
    pub fn in_force(&self, ledger: &Ledger, now: Timestamp) -> Result<(), Failure> {
        if let Some((subject, at)) = self.revoked(ledger) {
            return Err(Failure::usage(format!("{subject} was revoked at {at}, and signs nothing any more"))
                .hint("make another authority, and go to it by `cert-rotate ca rollover`"));
        }
        self.in_time(now)
    }

    /// Which of it and those above it was revoked, and when.
    pub fn revoked(&self, ledger: &Ledger) -> Option<(&str, Timestamp)> {
        let mut all = self.above.iter().map(|(_, certificate)| certificate).chain([&self.certificate]);
        all.find_map(|one| ledger.revocation(&one.serial).map(|revoked| (one.subject.as_str(), revoked.at)))
    }

    /// Whether now is within its time.
    ///
    /// # Errors
    /// Its time, or that of an authority above it, is over or has not come.
    pub fn in_time(&self, now: Timestamp) -> Result<(), Failure> {
        let all = self.above.iter().map(|(_, certificate)| certificate).chain([&self.certificate]);
        for certificate in all {
            if !certificate.is_valid_at(now) {
                let (from, to) = (certificate.not_before, certificate.not_after);
                return Err(Failure::usage(format!("{} is valid from {from} to {to} only", certificate.subject)));
            }
        }
        Ok(())
    }

    /// Whether it may certify all these names.
    ///
    /// # Errors
    /// The first that it may not, and why.
    pub fn allows(&self, names: &[SanName]) -> Result<(), Failure> {
        let all = self.above.iter().map(|(_, certificate)| certificate).chain([&self.certificate]);
        for certificate in all {
            let Some(constraints) = Constraints::of(certificate)? else { continue };
            for name in names {
                constraints.allow(name).map_err(|why| {
                    Failure::usage(format!("{} may not certify {name}: {why}", self.name))
                        .hint("what an authority may certify is settled when it is made; make one for these names")
                })?;
            }
        }
        Ok(())
    }
}

/// The directory.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Of authorities that are there.
    ///
    /// # Errors
    /// There are none.
    pub fn open(root: &Path) -> Result<Self, Failure> {
        if root.join("ledger").is_file() {
            return Ok(Store { root: root.to_owned() });
        }
        Err(Failure::usage(format!("there is no authority in {}", root.display()))
            .hint("make one with `cert-rotate ca init`"))
    }

    /// Of authorities that may still have to be made.
    pub fn at(root: &Path) -> Self {
        Store { root: root.to_owned() }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes this run the only one that signs, until the lock is dropped; waits for another that just does.
    ///
    /// # Errors
    /// Another run does not end (exit 75), or the directory cannot be written.
    pub fn lock(&self, work: &Work<'_>) -> Result<RunLock, Failure> {
        make_public(&self.root)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match RunLock::acquire(&self.root, "authorities") {
                Ok(lock) => return Ok(lock),
                Err(LockError::Held { .. }) if Instant::now() < until && !work.cancel.is_cancelled() => {
                    sleep(Duration::from_millis(20));
                }
                Err(error @ LockError::Held { .. }) => {
                    let exit = work.cancel.exit().unwrap_or(Exit::NotNow);
                    return Err(Failure::new(exit, format!("{error}; nothing was changed")));
                }
                Err(error @ LockError::Io { .. }) => {
                    return Err(Failure::usage(error.to_string()).hint("run as the user who owns the directory"));
                }
            }
        }
    }

    /// The ledger.
    ///
    /// # Errors
    /// It does not hold.
    pub fn ledger(&self) -> Result<Ledger, Failure> {
        Ledger::read(&self.root.join("ledger"))
    }

    /// The directory of an authority.
    ///
    /// # Errors
    /// The name is none that a directory can have.
    pub fn directory(&self, name: &str) -> Result<PathBuf, Failure> {
        if is_plain(name) {
            return Ok(self.root.join("authorities").join(name));
        }
        Err(Failure::usage(format!("`{name}` is no name for an authority"))
            .hint("use letters, digits, `.`, `-` and `_`, not first a dot"))
    }

    /// The names of all authorities, sorted.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>, Failure> {
        let path = self.root.join("authorities");
        let failed = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
        let mut names = Vec::new();
        let listed = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
            listed => listed.map_err(failed)?,
        };
        for entry in listed {
            let entry = entry.map_err(failed)?;
            if let Some(name) = entry.file_name().to_str()
                && is_plain(name)
                && entry.path().join("cert.pem").is_file()
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// An authority.
    ///
    /// # Errors
    /// There is none of this name, or what there is does not hold.
    pub fn authority(&self, name: &str) -> Result<Authority, Failure> {
        let directory = self.directory(name)?;
        let names = self.names()?;
        if !names.iter().any(|known| known == name) {
            let nearest = maint_core::config::nearest(name, names.iter().map(String::as_str));
            return Err(Failure::usage(format!("there is no authority `{name}` in {}{nearest}", self.root.display())));
        }
        let mut all = Vec::new();
        for name in names {
            let certificate = certificate_in(&self.directory(&name)?.join("cert.pem"))?;
            all.push((name, certificate));
        }
        let own = all.iter().find(|(known, _)| known == name).map(|(_, certificate)| certificate.clone());
        let missing =
            || Failure::critical(format!("who signed the authority {name} is not in {}", self.root.display()));
        let certificate = own.ok_or_else(missing)?;
        let mut above: Vec<(String, Certificate)> = Vec::new();
        let mut last = certificate.clone();
        while !last.self_issued {
            let signed = |other: &&(String, Certificate)| {
                other.1.subject == last.issuer && other.1.subject_key_id == last.authority_key_id
            };
            let issuer = all.iter().find(signed).filter(|_| above.len() < all.len()).ok_or_else(missing)?;
            last = issuer.1.clone();
            above.push(issuer.clone());
        }
        Ok(Authority { name: name.to_owned(), directory, certificate, above })
    }

    /// The file of the roots that are to be trusted.
    pub fn trust_path(&self) -> PathBuf {
        self.root.join("trust.pem")
    }

    /// The roots that are to be trusted.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn trusted(&self) -> Result<Vec<Certificate>, Failure> {
        certificates_in(&self.trust_path())
    }

    /// Writes the roots that are to be trusted.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn trust(&self, roots: &[Certificate]) -> Result<(), Failure> {
        let text: String = roots.iter().map(Certificate::to_pem).collect();
        write(&self.trust_path(), text.as_bytes(), 0o644)?;
        point("ca-trust-written");
        Ok(())
    }

    /// A certificate for an authority's name and key by another root.
    pub fn cross_path(&self, subject: &Authority, issuer: &str) -> PathBuf {
        subject.directory.join(format!("cross-{issuer}.pem"))
    }

    /// As [`Store::cross_path`], read; `None` when there is none or it was revoked.
    ///
    /// # Errors
    /// It does not hold.
    pub fn cross(&self, subject: &Authority, issuer: &str, ledger: &Ledger) -> Result<Option<Certificate>, Failure> {
        let path = self.cross_path(subject, issuer);
        if !path.is_file() {
            return Ok(None);
        }
        let cross = certificate_in(&path)?;
        Ok(Some(cross).filter(|cross| ledger.revocation(&cross.serial).is_none()))
    }
}

/// Writes a file, durably.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    durable::replace(path, bytes, mode).map_err(|error| Failure::critical(error.to_string()))
}

/// The certificates in a file, at least one.
///
/// # Errors
/// It cannot be read, or there is none in it.
pub fn certificates_in(path: &Path) -> Result<Vec<Certificate>, Failure> {
    let cannot = |why: &dyn std::fmt::Display| Failure::critical(format!("cannot read {}: {why}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| cannot(&error))?;
    let all = Certificate::all_from_pem(&bytes).map_err(|error| cannot(&error))?;
    if all.is_empty() { Err(cannot(&"there is no certificate in it")) } else { Ok(all) }
}

fn certificate_in(path: &Path) -> Result<Certificate, Failure> {
    let mut all = certificates_in(path)?;
    Ok(all.swap_remove(0))
}
