//! What was found, put together and judged: pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use super::look::{Files, Looked, ServerResult};
use crate::certificate::{Certificate, hex, sha256};
use crate::read::Format;

/// Permission bits that a private key's file should not have: whatever is wider than 0640.
const TOO_WIDE: u32 = 0o037;

/// One certificate, wherever it is.
struct Known<'a> {
    certificate: &'a Certificate,
    files: BTreeSet<&'a str>,
    endpoints: BTreeSet<String>,
}

/// Every record, the certificates that end soonest first.
pub(super) fn all(files: &Files, servers: &[ServerResult], now: Timestamp) -> Vec<Record> {
    let looked: Vec<&Looked> = files.with_something.iter().filter_map(|result| result.as_ref().ok()).collect();
    let known = known(&looked, servers);
    let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in &looked {
        for key in &file.keys {
            keys.entry(key).or_default().insert(&file.path);
        }
    }
    let mut sorted: Vec<&Known<'_>> = known.values().collect();
    sorted.sort_by_key(|one| (one.certificate.not_after, one.certificate.title(), one.certificate.sha256()));
    let mut records: Vec<Record> = sorted.iter().map(|one| certificate(one, &keys, now)).collect();
    records.extend(reused(&sorted));
    records.extend(looked.iter().filter_map(|file| exposed(file)));
    records.extend(looked.iter().flat_map(|file| problems(file)));
    for (path, error) in files.with_something.iter().filter_map(|result| result.as_ref().err()) {
        let record = Record::new(Kind::Check, path, Status::Unknown, error.to_string());
        records.push(record.field("code", "unreadable"));
    }
    for (endpoint, result) in servers {
        if let Err(why) = result {
            let record = Record::new(Kind::Check, endpoint.to_string(), Status::Unknown, why);
            records.push(record.field("code", "unreachable"));
        }
    }
    let message = format!("{} certificates in {} files and on {} servers", known.len(), files.read, servers.len());
    records.push(
        Record::new(Kind::Metric, "inventory", Status::Ok, message)
            .field("certificates_count", known.len())
            .field("private_keys_count", keys.len())
            .field("files_count", files.read)
            .field("endpoints_count", servers.len()),
    );
    records
}

fn known<'a>(looked: &[&'a Looked], servers: &'a [ServerResult]) -> BTreeMap<[u8; 32], Known<'a>> {
    let mut known: BTreeMap<[u8; 32], Known<'a>> = BTreeMap::new();
    fn entry<'k, 'a>(known: &'k mut BTreeMap<[u8; 32], Known<'a>>, certificate: &'a Certificate) -> &'k mut Known<'a> {
        let fresh = || Known { certificate, files: BTreeSet::new(), endpoints: BTreeSet::new() };
        known.entry(certificate.sha256()).or_insert_with(fresh)
    }
    for file in looked {
        for certificate in &file.certificates {
            entry(&mut known, certificate).files.insert(&file.path);
        }
    }
    for (endpoint, chain) in servers {
        for certificate in chain.iter().flatten() {
            entry(&mut known, certificate).endpoints.insert(endpoint.to_string());
        }
    }
    known
}

/// Of a public key.
fn key_of(certificate: &Certificate) -> String {
    hex(&sha256(certificate.public_key()))
}

fn certificate(known: &Known<'_>, keys: &BTreeMap<&str, BTreeSet<&str>>, now: Timestamp) -> Record {
    let Known { certificate, files, endpoints } = known;
    let used = match (files.len(), endpoints.len()) {
        (files, 0) => format!("in {files} files"),
        (0, servers) => format!("on {servers} servers"),
        (files, servers) => format!("in {files} files and on {servers} servers"),
    };
    // Lying about it is untidy; served, nobody can connect.
    let worse = if endpoints.is_empty() { Status::Warning } else { Status::Critical };
    let (status, code, message) = if certificate.is_valid_at(now) {
        (Status::Ok, None, used)
    } else if now < certificate.not_before {
        (worse, Some("not-yet-valid"), format!("not valid before {}; {used}", certificate.not_before))
    } else {
        (worse, Some("expired"), format!("expired at {}; {used}", certificate.not_after))
    };
    let key = key_of(certificate);
    let private: Vec<&str> = keys.get(key.as_str()).into_iter().flatten().copied().collect();
    let record = Record::new(Kind::Check, certificate.title(), status, message)
        .label("fingerprint", certificate.fingerprint())
        .field("fingerprint", certificate.fingerprint())
        .field("subject", &certificate.subject)
        .field("issuer", &certificate.issuer)
        .field("serial", &certificate.serial)
        .field("names", certificate.names.iter().map(ToString::to_string).collect::<Vec<_>>())
        .field("not_before", certificate.not_before)
        .field("not_after", certificate.not_after)
        .field("remaining_seconds", certificate.not_after.as_second() - now.as_second())
        .field("key", certificate.key.to_string())
        .field("public_key_fingerprint", key)
        .field("is_ca", certificate.is_ca)
        .field("files", files)
        .field("endpoints", endpoints)
        .field("private_key_files", private);
    match code {
        Some(code) => record.field("code", code),
        None => record,
    }
}

/// Keys that several certificates have. A certificate that was renewed with its key is for the same names, and an authority
/// that was signed anew or by another one has the same subject; neither is worth a warning.
fn reused(known: &[&Known<'_>]) -> Vec<Record> {
    let mut by_key: BTreeMap<String, Vec<&Certificate>> = BTreeMap::new();
    for one in known {
        by_key.entry(key_of(one.certificate)).or_default().push(one.certificate);
    }
    let mut records = Vec::new();
    for (key, certificates) in by_key {
        let purposes: BTreeSet<_> = certificates
            .iter()
            .map(|one| (one.names.iter().collect::<BTreeSet<_>>(), one.names.is_empty().then_some(&one.subject)))
            .collect();
        if purposes.len() > 1 {
            let titles: BTreeSet<String> = certificates.iter().map(|one| one.title()).collect();
            let titles = titles.into_iter().collect::<Vec<_>>().join(", ");
            let message =
                format!("{} certificates for different names have the same key: {titles}", certificates.len());
            let fingerprints: Vec<String> = certificates.iter().map(|one| one.fingerprint()).collect();
            records.push(
                Record::new(Kind::Finding, format!("key {}", key.get(..16).unwrap_or(&key)), Status::Warning, message)
                    .field("code", "key-reuse")
                    .field("public_key_fingerprint", key)
                    .field("certificates", fingerprints),
            );
        }
    }
    records
}

fn exposed(file: &Looked) -> Option<Record> {
    let wide = file.bare_keys > 0 && file.mode & TOO_WIDE != 0;
    wide.then(|| {
        let message = format!("a private key with mode {:04o}; run: chmod 0600 {}", file.mode, file.path);
        Record::new(Kind::Finding, &file.path, Status::Warning, message)
            .field("code", "key-mode")
            .field("mode", format!("{:04o}", file.mode))
            .field("public_key_fingerprints", &file.keys)
    })
}

/// What is locked is no trouble in itself, but for a keystore nobody knows then which certificates are in it.
fn problems(file: &Looked) -> Vec<Record> {
    let (status, code) = match (file.locked, file.format) {
        (true, Format::Pkcs12) => (Status::Unknown, "locked"),
        (true, _) => (Status::Ok, "locked"),
        (false, _) => (Status::Warning, "damaged"),
    };
    let record = |problem: &String| Record::new(Kind::Finding, &file.path, status, problem).field("code", code);
    file.problems.iter().map(record).collect()
}

#[cfg(test)]
mod tests;
