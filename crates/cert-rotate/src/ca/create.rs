//! `ca init`, `ca intermediate` and `ca cross-sign`: authorities.

use std::path::Path;

use jiff::Timestamp;
use maint_core::cli::{ChangeArgs, open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::fault::point;
use maint_core::record::{Kind as RecordKind, Record};
use maint_core::secret::{Secret, from_file};
use maint_core::status::Status;

use super::constraints::Constraints;
use super::ledger::{Entry, Issued, Kind};
use super::mint::{self, Validity};
use super::seal;
use super::store::{Authority, Store, certificates_in, write};
use crate::certificate::Certificate;
use crate::cli::{CaCrossSignArgs, CaInitArgs, CaIntermediateArgs, Sealing};
use crate::key::{KeyType, PrivateKey};
use crate::live::make_public;
use crate::work::Work;

/// `ca init`: a root.
///
/// # Errors
/// There is one of this name, or it cannot be written.
pub fn init(args: &CaInitArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    work.subject = args.directory.display().to_string();
    let store = Store::at(&args.directory);
    let common_name = args.common_name.as_deref().unwrap_or(&args.name);
    let validity = Validity::new(work.now, args.lifetime.0, true, &[])?;
    let passphrase = new_passphrase(&args.sealing)?;
    free(&store, &args.name, common_name)?;
    if planned(&args.change, work, &args.name, validity.not_after, "a root") {
        return Ok(());
    }
    work.run.journal_in(&state_directory()?)?;
    let _lock = store.lock(work)?;
    free(&store, &args.name, common_name)?;
    let key = new_key(&store, &args.name, args.key_type, passphrase.as_ref())?;
    let made = mint::root(common_name, &key, validity)?;
    enter(&store, &made, &args.name, Kind::Root)?;
    // The first root is trusted from the beginning. Any later one takes its turn by a rollover. One whose run was killed
    // here is not there, and the next one is the first.
    let first = store.names()?.is_empty();
    if first {
        store.trust(std::slice::from_ref(&made))?;
    }
    place(&store, &args.name, &made)?;
    let trust = store.trust_path().display().to_string();
    let message = if first {
        format!("a root; who is to trust it needs {trust}")
    } else {
        format!("a root that is not in {trust} yet: `cert-rotate ca rollover plan` brings it there")
    };
    report(work, &store, &args.name, &made, args.sealing.unencrypted, message)
}

/// `ca intermediate`: an authority for services.
///
/// # Errors
/// There is one of this name, the root's key cannot be opened, or it cannot be written.
pub fn intermediate(args: &CaIntermediateArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    work.subject = args.directory.display().to_string();
    let store = Store::open(&args.directory)?;
    let common_name = args.common_name.as_deref().unwrap_or(&args.name);
    let constraints = Constraints::given(&args.permit, &args.exclude)?;
    let issuer = root(&store, &args.issuer, work.now)?;
    let validity = Validity::new(work.now, args.lifetime.0, true, &[&issuer.certificate])?;
    let passphrase = new_passphrase(&args.sealing)?;
    free(&store, &args.name, common_name)?;
    let permitted: Vec<String> = constraints.permitted.iter().map(ToString::to_string).collect();
    let what = format!("an authority of {} for {}", issuer.name, permitted.join(", "));
    if planned(&args.change, work, &args.name, validity.not_after, &what) {
        return Ok(());
    }
    work.run.journal_in(&state_directory()?)?;
    let _lock = store.lock(work)?;
    free(&store, &args.name, common_name)?;
    let issuer_key = issuer.key(seal::passphrase(args.issuer_passphrase_file.as_deref())?.as_ref())?;
    let key = new_key(&store, &args.name, args.key_type, passphrase.as_ref())?;
    let made = mint::intermediate(common_name, &key, &constraints, validity, (&issuer.certificate, &issuer_key))?;
    enter(&store, &made, &issuer.name, Kind::Intermediate)?;
    place(&store, &args.name, &made)?;
    report(work, &store, &args.name, &made, args.sealing.unencrypted, what)
}

/// `ca cross-sign`: another certificate for an authority's name and key.
///
/// # Errors
/// One of them is not there, the issuer's key cannot be opened, or it cannot be written.
pub fn cross_sign(args: &CaCrossSignArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    work.subject = args.directory.display().to_string();
    let store = Store::open(&args.directory)?;
    let subject = store.authority(&args.subject)?;
    let issuer = root(&store, &args.issuer, work.now)?;
    subject.in_force(&store.ledger()?, work.now)?;
    if subject.root().0 == issuer.name {
        return Err(Failure::usage(format!("{} ends at {} already", subject.name, issuer.name)));
    }
    // Nested in both: it is another certificate of an authority, not a longer life for it.
    let within = [&issuer.certificate, &subject.certificate];
    let validity = Validity::new(work.now, args.lifetime.0, false, &within)?;
    let title = format!("{} by {}", subject.name, issuer.name);
    if planned(&args.change, work, &title, validity.not_after, "another certificate for its name and key") {
        return Ok(());
    }
    work.run.journal_in(&state_directory()?)?;
    let _lock = store.lock(work)?;
    let key = issuer.key(seal::passphrase(args.passphrase_file.as_deref())?.as_ref())?;
    let mut ledger = store.ledger()?;
    let path = store.cross_path(&subject, &issuer.name);
    let before = store.cross(&subject, &issuer.name, &ledger)?;
    let made = mint::cross(&subject.certificate, validity, (&issuer.certificate, &key))?;
    let replaces = before.map(|before| before.fingerprint());
    ledger.append(Entry::Issued(Issued { replaces, ..Issued::of(&made, &issuer.name, Kind::Cross) }))?;
    write(&path, made.to_pem().as_bytes(), 0o644)?;
    point("ca-certificate-written");
    seen(&path, &made)?;
    let message = format!("who trusts only {} takes what ends at {} by {}", issuer.name, subject.name, path.display());
    work.run.emit(&facts(Record::new(RecordKind::Step, title, Status::Ok, message), &made));
    Ok(())
}

/// An authority that can sign authorities.
fn root(store: &Store, name: &str, now: Timestamp) -> Result<Authority, Failure> {
    let authority = store.authority(name)?;
    if !authority.is_root() {
        return Err(Failure::usage(format!("{name} is no root: what is below a root signs services only")));
    }
    authority.in_force(&store.ledger()?, now)?;
    Ok(authority)
}

/// That name and common name are not taken. Two authorities of the same common name are hard to tell apart for everybody.
fn free(store: &Store, name: &str, common_name: &str) -> Result<(), Failure> {
    let directory = store.directory(name)?;
    for other in store.names()? {
        if other == name {
            return Err(Failure::usage(format!("there is an authority in {} already", directory.display()))
                .hint("give the new one another name"));
        }
        if store.authority(&other)?.certificate.subject == format!("CN={common_name}") {
            return Err(Failure::usage(format!("the authority {other} has the common name `{common_name}` already"))
                .hint("give the new one another with --common-name"));
        }
    }
    // Its directory may still have its key, which nobody has a second time.
    let ledger = store.ledger()?;
    let by_it = ledger.issued().any(|issued| issued.authority == name && issued.kind != Kind::Root);
    if by_it || ledger.lists(name).next().is_some() {
        let shown = directory.display();
        return Err(Failure::usage(format!("{name} signed something, although there is no {shown}/cert.pem any more"))
            .hint("restore it (the ledger has the certificate too), or give the new one another name"));
    }
    Ok(())
}

fn new_passphrase(sealing: &Sealing) -> Result<Option<Secret>, Failure> {
    let file = sealing.passphrase_file.as_deref();
    file.map(from_file).transpose().map_err(|error| Failure::usage(error.to_string()))
}

fn planned(change: &ChangeArgs, work: &Work<'_>, name: &str, not_after: Timestamp, what: &str) -> bool {
    if change.dry_run {
        let record = Record::new(RecordKind::Plan, name, Status::Planned, what);
        work.run.emit(&record.field("not_after", not_after.to_string()));
    }
    change.dry_run
}

/// The key comes first: a certificate for a key that was lost would be of no use. One that a killed run left is written
/// over, as its certificate never was.
fn new_key(store: &Store, name: &str, kind: KeyType, passphrase: Option<&Secret>) -> Result<PrivateKey, Failure> {
    let key = PrivateKey::generate(kind)?;
    let directory = store.directory(name)?;
    make_public(&directory)?;
    write(&directory.join("key.pem"), seal::close(&key, passphrase)?.as_bytes(), 0o600)?;
    point("ca-key-written");
    Ok(key)
}

/// Into the ledger.
fn enter(store: &Store, made: &Certificate, issuer: &str, kind: Kind) -> Result<(), Failure> {
    store.ledger()?.append(Entry::Issued(Issued::of(made, issuer, kind)))
}

/// To its place, which makes it an authority.
fn place(store: &Store, name: &str, made: &Certificate) -> Result<(), Failure> {
    let path = store.directory(name)?.join("cert.pem");
    write(&path, made.to_pem().as_bytes(), 0o644)?;
    point("ca-certificate-written");
    seen(&path, made)
}

/// Looks again.
fn seen(path: &Path, made: &Certificate) -> Result<(), Failure> {
    if certificates_in(path)?.first() == Some(made) {
        return Ok(());
    }
    Err(Failure::critical(format!("{} does not have what was written", path.display())))
}

fn facts(record: Record, made: &Certificate) -> Record {
    record
        .field("subject", &made.subject)
        .field("serial", &made.serial)
        .field("sha256", made.fingerprint())
        .field("not_after", made.not_after.to_string())
        .field("key", made.key.to_string())
}

fn report(
    work: &Work<'_>,
    store: &Store,
    name: &str,
    made: &Certificate,
    bare: bool,
    message: String,
) -> Result<(), Failure> {
    let authority = store.authority(name)?;
    let message = if bare { format!("{message}; its key is not encrypted") } else { message };
    let record = Record::new(RecordKind::Step, &authority.name, Status::Ok, message);
    work.run.emit(&facts(record, made).field("encrypted", !bare));
    Ok(())
}
