//! `ca list` and `ca show`. They change nothing.

use std::path::Path;

use maint_core::failure::Failure;
use maint_core::record::{Kind as RecordKind, Record};
use maint_core::status::Status;

use super::constraints::Constraints;
use super::ledger::{Issued, Kind, Ledger};
use super::store::{Authority, Store};
use crate::work::Work;

/// `ca list`: the authorities, and below each what it issued to services.
///
/// # Errors
/// What is there cannot be read.
pub fn list(directory: &Path, work: &mut Work<'_>) -> Result<(), Failure> {
    work.subject = directory.display().to_string();
    let store = Store::open(directory)?;
    let ledger = store.ledger()?;
    for name in store.names()? {
        let authority = store.authority(&name)?;
        work.run.emit(&of_authority(&store, &authority, &ledger, work)?);
        for issued in ledger.issued().filter(|issued| issued.authority == name && issued.kind == Kind::Leaf) {
            work.run.emit(&of_issued(issued, &ledger, work)?);
        }
    }
    Ok(())
}

/// `ca show`: one of them, with the certificate.
///
/// # Errors
/// There is no such thing.
pub fn show(directory: &Path, what: &str, work: &mut Work<'_>) -> Result<(), Failure> {
    work.subject = directory.display().to_string();
    let store = Store::open(directory)?;
    let ledger = store.ledger()?;
    if store.names()?.iter().any(|name| name == what) {
        let authority = store.authority(what)?;
        let record = of_authority(&store, &authority, &ledger, work)?;
        work.run.emit(&record.field("pem", authority.certificate.to_pem()));
        return Ok(());
    }
    let issued = ledger.find(what)?;
    work.run.emit(&of_issued(issued, &ledger, work)?.field("pem", &issued.pem));
    Ok(())
}

fn of_authority(store: &Store, authority: &Authority, ledger: &Ledger, work: &Work<'_>) -> Result<Record, Failure> {
    let certificate = &authority.certificate;
    let trusted = store.trusted()?.contains(authority.root().1);
    let (status, message) = match (authority.in_time(work.now), authority.revoked(ledger)) {
        (_, Some((subject, at))) => (Status::Ok, format!("signs nothing any more: {subject} was revoked at {at}")),
        (Err(failure), None) => (Status::Warning, failure.message),
        (Ok(()), None) if authority.is_root() && trusted => (Status::Ok, "a root".to_owned()),
        (Ok(()), None) if authority.is_root() => (Status::Ok, "a root that is not in trust.pem".to_owned()),
        (Ok(()), None) => (Status::Ok, format!("an authority of {}", authority.root().0)),
    };
    let mut record = Record::new(RecordKind::Check, &authority.name, status, message)
        .field("subject", &certificate.subject)
        .field("serial", &certificate.serial)
        .field("sha256", certificate.fingerprint())
        .field("not_after", certificate.not_after.to_string())
        .field("key", certificate.key.to_string())
        .field("trusted", trusted);
    if let Some(constraints) = Constraints::of(certificate)? {
        let texts = |all: &[super::constraints::Subtree]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        record =
            record.field("permitted", texts(&constraints.permitted)).field("excluded", texts(&constraints.excluded));
    }
    Ok(match ledger.lists(&authority.name).next_back() {
        Some(list) => record.field("crl_number", list.number).field("crl_next_update", list.next_update.to_string()),
        None => record,
    })
}

fn of_issued(issued: &Issued, ledger: &Ledger, work: &Work<'_>) -> Result<Record, Failure> {
    let certificate = issued.certificate()?;
    let state = ledger.state(issued, work.now).as_str();
    let message = format!("{state}, by {}, serial number {}", issued.authority, issued.serial);
    let record = Record::new(RecordKind::Check, issued.title(), Status::Ok, message)
        .field("state", state)
        .field("kind", issued.kind.as_str())
        .field("profile", issued.profile)
        .field("authority", &issued.authority)
        .field("names", &issued.names)
        .field("subject", &certificate.subject)
        .field("serial", &issued.serial)
        .field("sha256", &issued.sha256)
        .field("not_after", issued.not_after.to_string())
        .field("key", certificate.key.to_string());
    Ok(match ledger.revocation(&issued.serial) {
        Some(revoked) => record.field("revoked_at", revoked.at.to_string()).field("reason", revoked.reason),
        None => record,
    })
}
