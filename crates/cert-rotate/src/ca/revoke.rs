//! `ca revoke` and `ca crl`.

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use maint_core::cli::{open_guard, state_directory};
use maint_core::confirm::confirm;
use maint_core::failure::Failure;
use maint_core::fault::point;
use maint_core::record::{Kind as RecordKind, Record};
use maint_core::status::Status;
use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::ledger::{Entry, Issued, Kind, Ledger, Listed, Revoked};
use super::mint::since_1970;
use super::seal;
use super::store::{Authority, Store, write};
use crate::certificate::pem;
use crate::cli::{CaCrlArgs, CaRevokeArgs, Reason};
use crate::key::PrivateKey;
use crate::work::Work;

/// `ca revoke`: for ever, from the next list on.
///
/// # Errors
/// There is no such certificate, nobody confirmed it, or the ledger cannot be written.
pub fn revoke(args: &CaRevokeArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    work.subject = args.directory.display().to_string();
    let store = Store::open(&args.directory)?;
    let ledger = store.ledger()?;
    let issued = ledger.find(&args.certificate)?.clone();
    if issued.kind == Kind::Root {
        return Err(Failure::usage(format!("{} is a root, which nobody can revoke", issued.title()))
            .hint("take it out of what is trusted: `cert-rotate ca rollover`"));
    }
    let told = |record: Record| record.field("serial", &issued.serial).field("authority", &issued.authority);
    let title = issued.title().to_owned();
    if let Some(before) = ledger.revocation(&issued.serial) {
        let message = format!("nothing to do: it was revoked at {}", before.at);
        work.run.emit(&told(Record::new(RecordKind::Step, title, Status::Ok, message)));
        return Ok(());
    }
    let next = format!("`cert-rotate ca crl {} {}`", args.directory.display(), issued.authority);
    if args.change.dry_run {
        let message = format!("it is revoked; {next} is then to be run");
        work.run.emit(&told(Record::new(RecordKind::Plan, title, Status::Planned, message)));
        return Ok(());
    }
    confirm(&format!("revoke {title} ({}) for ever", issued.serial), args.change.yes)
        .map_err(|error| Failure::usage(error.to_string()))?;
    work.run.journal_in(&state_directory()?)?;
    let _lock = store.lock(work)?;
    let mut ledger = store.ledger()?;
    if ledger.revocation(&issued.serial).is_none() {
        let (at, serial) = (Timestamp::now(), issued.serial.clone());
        ledger.append(Entry::Revoked(Revoked { at, serial, reason: args.reason }))?;
    }
    let message = format!("revoked; nobody knows before the next list: run {next}");
    work.run.emit(&told(Record::new(RecordKind::Step, title, Status::Ok, message)));
    Ok(())
}

/// `ca crl`: a revocation list, numbered higher than any before.
///
/// # Errors
/// The authority's key cannot be opened, or the list cannot be made or written.
pub fn crl(args: &CaCrlArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    work.subject = args.directory.display().to_string();
    let store = Store::open(&args.directory)?;
    let authority = store.authority(&args.authority)?;
    // One that was revoked can still say what else is.
    authority.in_time(work.now)?;
    let mut _lock = None;
    if !args.change.dry_run {
        work.run.journal_in(&state_directory()?)?;
        _lock = Some(store.lock(work)?);
    }
    let mut ledger = store.ledger()?;
    let path = authority.directory.join("crl.pem");
    let listed = next(&ledger, &authority, number_in(&path), work.now, args.lifetime.0)?;
    let count = entries(&ledger, &authority).len();
    let told = |kind, status, message: String| {
        Record::new(kind, &authority.name, status, message)
            .field("number", listed.number)
            .field("next_update", listed.next_update.to_string())
            .field("revoked_total", count)
            .field("path", path.display().to_string())
    };
    if args.change.dry_run {
        let message = format!("list {} with {count} certificates, due again by {}", listed.number, listed.next_update);
        work.run.emit(&told(RecordKind::Plan, Status::Planned, message));
        return Ok(());
    }
    let key = authority.key(seal::passphrase(args.passphrase_file.as_deref())?.as_ref())?;
    let der = list(&ledger, &authority, &key, &listed)?;
    // The number is used up before the list is seen, so that no two lists ever have the same one.
    ledger.append(Entry::Listed(listed.clone()))?;
    write(&path, pem("X509 CRL", &der).as_bytes(), 0o644)?;
    point("ca-crl-written");
    look_again(&path, &authority, count)?;
    let message = format!("list {} with {count} certificates, due again by {}", listed.number, listed.next_update);
    work.run.emit(&told(RecordKind::Step, Status::Ok, message));
    Ok(())
}

/// The number of the list that is there. A ledger that came back from a backup does not know of it.
fn number_in(path: &Path) -> Option<u64> {
    let read = crate::read::file(path, None).ok()?;
    let (_, list) = CertificateRevocationList::from_der(read.crls.first()?).ok()?;
    u64::try_from(list.crl_number()?).ok()
}

fn next(
    ledger: &Ledger,
    authority: &Authority,
    before: Option<u64>,
    now: Timestamp,
    lifetime: Duration,
) -> Result<Listed, Failure> {
    let whole = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap_or(time);
    let last = ledger.lists(&authority.name).next_back();
    let too_long = || Failure::usage("the next list would be due later than calendars go");
    let until = SignedDuration::try_from(lifetime).map_err(|_| too_long())?;
    let next_update = whole(now.checked_add(until).map_err(|_| too_long())?).min(authority.certificate.not_after);
    let (at, number) = (whole(now), last.map(|last| last.number).max(before).unwrap_or(0).saturating_add(1));
    if let Some(last) = last.filter(|last| last.at > at) {
        return Err(Failure::usage(format!("the last list is of {}, which is later than now ({at})", last.at))
            .hint("look at this machine's clock, and at --at"));
    }
    if next_update <= at {
        return Err(Failure::usage(format!("a list of {at} that is over at {next_update} says nothing")));
    }
    Ok(Listed { at, authority: authority.name.clone(), number, next_update })
}

/// What is on the list: also what has expired, until a list after its end had it (RFC 5280, 3.3).
fn entries<'a>(ledger: &'a Ledger, authority: &Authority) -> Vec<(&'a Issued, &'a Revoked)> {
    let last = ledger.lists(&authority.name).next_back().map(|last| last.at);
    let revoked = ledger.revocations().filter_map(|revoked| {
        let issued = ledger.issued().find(|issued| issued.serial == revoked.serial)?;
        Some((issued, revoked))
    });
    let listable = |(issued, revoked): &(&Issued, &Revoked)| {
        let was_on_last = last.is_some_and(|last| revoked.at <= last && issued.not_after < last);
        issued.authority == authority.name && !was_on_last
    };
    revoked.filter(listable).collect()
}

fn list(ledger: &Ledger, authority: &Authority, key: &PrivateKey, listed: &Listed) -> Result<Vec<u8>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::critical(format!("cannot make the list: {error}"));
    let issuer = Issuer::from_ca_cert_der(authority.certificate.der(), key.pair()).map_err(|error| failed(&error))?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut revoked_certs = Vec::new();
    for (issued, revoked) in entries(ledger, authority) {
        let certificate = issued.certificate()?;
        let parsed = certificate.parsed().ok_or_else(|| failed(&"a certificate cannot be read"))?;
        revoked_certs.push(RevokedCertParams {
            serial_number: SerialNumber::from_slice(parsed.raw_serial()),
            // Clocks are set back now and then.
            revocation_time: epoch + since_1970(revoked.at.min(listed.at)),
            reason_code: reason(revoked.reason),
            invalidity_date: None,
        });
    }
    let id =
        authority.certificate.subject_key_id.clone().ok_or_else(|| failed(&"the authority has no key identifier"))?;
    let params = CertificateRevocationListParams {
        this_update: epoch + since_1970(listed.at),
        next_update: epoch + since_1970(listed.next_update),
        crl_number: SerialNumber::from(listed.number),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::PreSpecified(id),
    };
    Ok(params.signed_by(&issuer).map_err(|error| failed(&error))?.der().to_vec())
}

fn reason(reason: Reason) -> Option<RevocationReason> {
    match reason {
        // Its absence says the same (RFC 5280, 5.3.1).
        Reason::Unspecified => None,
        Reason::KeyCompromise => Some(RevocationReason::KeyCompromise),
        Reason::CaCompromise => Some(RevocationReason::CaCompromise),
        Reason::AffiliationChanged => Some(RevocationReason::AffiliationChanged),
        Reason::Superseded => Some(RevocationReason::Superseded),
        Reason::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
        Reason::PrivilegeWithdrawn => Some(RevocationReason::PrivilegeWithdrawn),
    }
}

fn look_again(path: &Path, authority: &Authority, count: usize) -> Result<(), Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::critical(format!("{} does not hold: {why}", path.display()));
    let read = crate::read::file(path, None).map_err(|error| wrong(&error))?;
    let der = read.crls.first().ok_or_else(|| wrong(&"there is no list in it"))?;
    let (_, list) = CertificateRevocationList::from_der(der).map_err(|error| wrong(&error))?;
    let parsed = authority.certificate.parsed().ok_or_else(|| wrong(&"its authority cannot be read"))?;
    list.verify_signature(parsed.public_key()).map_err(|error| wrong(&error))?;
    if list.iter_revoked_certificates().count() == count { Ok(()) } else { Err(wrong(&"certificates are missing")) }
}
