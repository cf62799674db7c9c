//! What was read from several files, as the content of one: without doubles, in order, and only if it fits together.

use std::collections::HashSet;

use maint_core::failure::Failure;

use crate::certificate::{Certificate, sha256};
use crate::key::PrivateKey;
use crate::read::Read;

/// What will be in the new file.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Each key's chain, in the order of the keys; then what belongs to none.
    pub(super) certificates: Vec<Certificate>,
    pub(super) keys: Vec<PrivateKey>,
    pub(super) crls: Vec<Vec<u8>>,
    pub(super) requests: Vec<Vec<u8>>,
}

impl Contents {
    /// What the certificates are called.
    pub(super) fn titles(&self) -> Vec<String> {
        self.certificates.iter().map(Certificate::title).collect()
    }

    /// How many of what, in words.
    pub(super) fn summary(&self) -> String {
        let counts = [
            (self.certificates.len(), "certificate", "certificates"),
            (self.keys.len(), "private key", "private keys"),
            (self.crls.len(), "revocation list", "revocation lists"),
            (self.requests.len(), "request", "requests"),
        ];
        let present = counts.iter().filter(|(count, ..)| *count > 0);
        let words = present.map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }));
        words.collect::<Vec<_>>().join(", ")
    }

    /// The chain of a key: its certificate, and issuer by issuer what there is above it.
    pub(super) fn chain(&self, key: &PrivateKey) -> Vec<&Certificate> {
        let leaf = self.certificates.iter().find(|one| key.is_of(one));
        leaf.map(|leaf| chain(leaf, &self.certificates)).unwrap_or_default()
    }
}

/// Puts everything together.
pub(super) fn arrange(read: Vec<Read>) -> Result<Contents, Failure> {
    let mut contents = Contents::default();
    let (mut certificates, mut seen) = (Vec::new(), HashSet::new());
    for file in read {
        let fresh: Vec<PrivateKey> = file.keys.into_iter().filter(|key| seen.insert(sha256(&key.public()))).collect();
        contents.keys.extend(fresh);
        certificates.extend(file.certificates);
        contents.crls.extend(file.crls);
        contents.requests.extend(file.requests);
    }
    let mut seen = HashSet::new();
    certificates.retain(|one| seen.insert(one.sha256()));
    // A key alone, or with its request, may be converted; beside certificates it must be that of one of them.
    if !certificates.is_empty() {
        for key in &contents.keys {
            if !certificates.iter().any(|one| key.is_of(one)) {
                let titles: Vec<String> = certificates.iter().map(Certificate::title).collect();
                return Err(Failure::critical(format!(
                    "a private key belongs to none of the certificates ({})",
                    titles.join(", ")
                ))
                .hint("`cert-rotate inspect` shows the fingerprints of the public keys on both sides"));
            }
        }
    }
    contents.certificates = ordered(&contents.keys, &certificates);
    Ok(contents)
}

fn ordered(keys: &[PrivateKey], certificates: &[Certificate]) -> Vec<Certificate> {
    let leaves = keys.iter().filter_map(|key| certificates.iter().find(|one| key.is_of(one)));
    // Without a key, what has no authority among the rest below it comes first in its chain.
    let issues = |one: &Certificate| certificates.iter().any(|other| other != one && is_issuer(one, other));
    let tops = certificates.iter().filter(|one| !issues(one));
    let starts: Vec<&Certificate> = if keys.is_empty() { tops.collect() } else { leaves.collect() };
    let (mut order, mut seen) = (Vec::new(), HashSet::new());
    let chains = starts.into_iter().flat_map(|start| chain(start, certificates));
    for one in chains.chain(certificates) {
        if seen.insert(one.sha256()) {
            order.push(one.clone());
        }
    }
    order
}

fn chain<'a>(leaf: &'a Certificate, certificates: &'a [Certificate]) -> Vec<&'a Certificate> {
    let mut chain = vec![leaf];
    while let Some(last) = chain.last().copied().filter(|last| !last.self_issued) {
        match certificates.iter().find(|one| !chain.contains(one) && is_issuer(one, last)) {
            Some(issuer) => chain.push(issuer),
            None => break,
        }
    }
    chain
}

/// Whether one signed the other. The names alone would take the wrong one of two authorities that are called the same.
fn is_issuer(issuer: &Certificate, of: &Certificate) -> bool {
    if issuer.subject != of.issuer {
        return false;
    }
    match (issuer.parsed(), of.parsed()) {
        (Some(issuer), Some(of)) => of.verify_signature(Some(issuer.public_key())).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
