//! Certificates in files and directories, and the keys that belong to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use maint_core::secret::Secret;
use maint_core::status::Status;

use super::{Looked, Unseen, wrong_key};
use crate::certificate::Certificate;
use crate::key::PrivateKey;
use crate::lint::Role;
use crate::read::{self, Entry, Format, Read, ReadError};
use crate::verdict::Subject;

/// Everything below a path that has a certificate, or should have.
pub(super) fn look(path: &Path, passphrase: Option<&Secret>) -> Vec<Looked> {
    let is_directory = path.is_dir();
    let mut paths = Vec::new();
    let walked = read::walk(path, &mut |file| paths.push(file.to_owned()));
    let mut all = Vec::new();
    if let Err(error) = walked {
        all.push(Err(unreadable(path, &error)));
    }
    let mut files = Vec::new();
    for file in paths {
        match read::file(&file, passphrase) {
            Ok(read) => files.push((file, read)),
            // Below a directory there is a lot that is no certificate.
            Err(ReadError::TooLarge(_)) if is_directory => {}
            Err(error) => all.push(Err(unreadable(&file, &error))),
        }
    }
    let authorities = if is_directory { authorities(&files) } else { BTreeMap::new() };
    for (file, read) in &files {
        let beside = file.parent().and_then(|parent| authorities.get(parent)).map_or(&[][..], Vec::as_slice);
        let found = subjects(file, read, beside, passphrase);
        if found.is_empty() && !is_directory {
            all.push(Err(nothing(path, "there is no certificate in it")));
        }
        all.extend(found);
    }
    if all.is_empty() {
        all.push(Err(nothing(path, "there is no certificate in it or below it")));
    }
    all
}

fn nothing(path: &Path, message: &str) -> Unseen {
    let subject = path.display().to_string();
    Unseen { subject, status: Status::Unknown, code: "no-certificate", message: message.to_owned() }
}

fn unreadable(path: &Path, error: &ReadError) -> Unseen {
    let subject = path.display().to_string();
    Unseen { subject, status: Status::Unknown, code: "unreadable", message: error.to_string() }
}

/// The authorities' certificates in each directory: a chain is often in another file than the certificate.
fn authorities(files: &[(PathBuf, Read)]) -> BTreeMap<PathBuf, Vec<Certificate>> {
    let mut all: BTreeMap<PathBuf, Vec<Certificate>> = BTreeMap::new();
    for (file, read) in files {
        let known = all.entry(file.parent().unwrap_or(file).to_owned()).or_default();
        for one in read.certificates.iter().filter(|one| one.is_ca) {
            if !known.contains(one) {
                known.push(one.clone());
            }
        }
    }
    all
}

/// What one file has: each certificate that is nobody's issuer in it, and what is damaged.
fn subjects(file: &Path, read: &Read, beside: &[Certificate], passphrase: Option<&Secret>) -> Vec<Looked> {
    let mut all = Vec::new();
    for problem in &read.problems {
        let (status, code) = if read.locked { (Status::Unknown, "locked") } else { (Status::Critical, "damaged") };
        all.push(Err(Unseen { subject: read.source.clone(), status, code, message: problem.clone() }));
    }
    if read.entries.is_empty() {
        let keys: Vec<&PrivateKey> = read.keys.iter().collect();
        let group =
            Group { source: &read.source, certificates: &read.certificates, keys: &keys, keys_at: "in the file" };
        all.extend(group.subjects(beside, partner(file, passphrase).as_ref()));
    }
    let of = |entry: &Entry| -> Vec<Certificate> {
        entry.certificates.iter().filter_map(|&at| read.certificates.get(at)).cloned().collect()
    };
    // In PKCS #12 a chain is no unit: what stands above a key's certificate are entries of their own.
    let has_keys = read.entries.iter().any(|entry| entry.key.is_some());
    let (above, entries): (Vec<&Entry>, Vec<&Entry>) = read.entries.iter().partition(|entry| {
        read.format == Format::Pkcs12 && has_keys && entry.key.is_none() && of(entry).iter().all(|one| one.is_ca)
    });
    let above: Vec<Certificate> = above.into_iter().flat_map(of).collect();
    for entry in &entries {
        let mut certificates = of(entry);
        certificates.extend(above.iter().filter(|one| !certificates.contains(one)).cloned().collect::<Vec<_>>());
        let keys: Vec<&PrivateKey> = entry.key.and_then(|at| read.keys.get(at)).into_iter().collect();
        // Of several entries each has its name.
        let source = match entries.len() {
            1 => read.source.clone(),
            _ => format!("{}#{}", read.source, entry.alias),
        };
        let group = Group { source: &source, certificates: &certificates, keys: &keys, keys_at: "of its entry" };
        all.extend(group.subjects(beside, None));
    }
    all
}

/// Certificates that stand together.
struct Group<'a> {
    source: &'a str,
    certificates: &'a [Certificate],
    keys: &'a [&'a PrivateKey],
    keys_at: &'a str,
}

impl Group<'_> {
    fn subjects(&self, beside: &[Certificate], partner: Option<&(PathBuf, PrivateKey)>) -> Vec<Looked> {
        let leaves: Vec<&Certificate> = self.leaves();
        let count = leaves.len();
        let place = |leaf: &Certificate| self.certificates.iter().position(|one| one == leaf).unwrap_or_default() + 1;
        leaves
            .into_iter()
            .map(|leaf| {
                let mut subject = self.subject(leaf, count, beside, partner);
                if count > 1 {
                    subject.source = format!("{}#{}", self.source, place(leaf));
                }
                Ok(Box::new(subject))
            })
            .collect()
    }

    /// Those that speak for somebody. When all are authorities, as in a store of roots, every one of them.
    fn leaves(&self) -> Vec<&Certificate> {
        let mut all: Vec<&Certificate> = Vec::new();
        let only_authorities = self.certificates.iter().all(|one| one.is_ca);
        for one in self.certificates.iter().filter(|one| only_authorities || !one.is_ca) {
            if !all.contains(&one) {
                all.push(one);
            }
        }
        all
    }

    fn subject(
        &self,
        leaf: &Certificate,
        count: usize,
        beside: &[Certificate],
        partner: Option<&(PathBuf, PrivateKey)>,
    ) -> Subject {
        let role = if leaf.is_ca { Role::Authority } else { Role::Subscriber };
        // With one leaf the file is a chain, as a server would show it; otherwise it is a collection.
        let is_chain = count == 1;
        let others = self.certificates.iter().filter(|other| *other != leaf).cloned();
        let (shown, beside) = if is_chain {
            (self.certificates.to_vec(), beside.to_vec())
        } else {
            (vec![leaf.clone()], others.chain(beside.iter().cloned()).collect())
        };
        let mut findings = Vec::new();
        if is_chain && role == Role::Subscriber {
            if !self.keys.is_empty() && !self.keys.iter().any(|key| key.is_of(leaf)) {
                findings.push(wrong_key(leaf, &format!("the private key {}", self.keys_at)));
            }
            if let Some((path, key)) = partner
                && !key.is_of(leaf)
            {
                findings.push(wrong_key(leaf, &format!("the private key in {}", path.display())));
            }
        }
        Subject {
            source: self.source.to_owned(),
            leaf: leaf.clone(),
            role,
            shown,
            ordered: is_chain,
            beside,
            names: Vec::new(),
            staple: None,
            served: false,
            findings,
        }
    }
}

/// The key that goes with a file by their names: `web.crt` and `web.key`, `fullchain.pem` and `privkey.pem`. A key that
/// cannot be read here (as it should be, for whoever may not) is nobody's fault.
fn partner(file: &Path, passphrase: Option<&Secret>) -> Option<(PathBuf, PrivateKey)> {
    let stem = file.file_stem()?.to_str()?;
    let mut names = vec![format!("{stem}.key"), format!("{stem}-key.pem"), format!("{stem}.key.pem")];
    if matches!(stem, "cert" | "fullchain") {
        names.extend(["privkey.pem".to_owned(), "key.pem".to_owned()]);
    }
    let candidates = names.into_iter().map(|name| file.with_file_name(name));
    candidates.filter(|path| path != file).find_map(|path| {
        let key = read::file(&path, passphrase).ok()?.keys.into_iter().next()?;
        Some((path, key))
    })
}
