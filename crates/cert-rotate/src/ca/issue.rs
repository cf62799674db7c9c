//! Certificates for services: `ca sign`, and what `rotate` asks for.

use std::path::Path;
use std::time::Duration;

use maint_core::cli::{open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::fault::point;
use maint_core::record::{Kind as RecordKind, Record};
use maint_core::status::Status;
use serde::{Deserialize, Serialize};

use super::ledger::{Entry, Issued, Kind, Ledger, State};
use super::mint::{self, Leaf, Validity};
use super::rollover::Rollover;
use super::store::{Authority, Store, write};
use super::{constraints, request, seal};
use crate::certificate::{Certificate, SanName};
use crate::cli::{CaSignArgs, Profile};
use crate::issue::{Answer, Request};
use crate::key::PrivateKey;
use crate::read;
use crate::work::Work;

/// Who signs now when a certificate is asked of some authority, and what belongs into the chain.
#[derive(Debug)]
pub struct Signer {
    /// Who signs: another authority than was asked for, after a rollover.
    pub authority: Authority,
    /// A certificate for its root by the root before, while a rollover has both.
    pub cross: Option<Certificate>,
}

impl Signer {
    /// Of an authority of services.
    ///
    /// # Errors
    /// It is a root, it is not in force, or those who will see the certificate do not trust its root (yet, or any more).
    pub fn of(store: &Store, ledger: &Ledger, name: &str, work: &Work<'_>) -> Result<Self, Failure> {
        let mut authority = store.authority(name)?;
        let mut cross = None;
        let mut seen = vec![name.to_owned()];
        while let Some(rollover) = Rollover::read(store, &authority.name)?.filter(Rollover::signs_by_new) {
            let from = authority;
            authority = store.authority(&rollover.to)?;
            cross = if rollover.trusts_both() && from.root().0 != authority.root().0 {
                store.cross(&store.authority(authority.root().0)?, from.root().0, ledger)?
            } else {
                None
            };
            if seen.contains(&authority.name) {
                return Err(Failure::critical(format!("the rollovers of {name} go round in a circle")));
            }
            seen.push(authority.name.clone());
        }
        if authority.is_root() {
            return Err(Failure::usage(format!("{name} is a root, and roots sign authorities only"))
                .hint("make one with `cert-rotate ca intermediate`"));
        }
        if let Some(early) = Rollover::all(store)?.iter().find(|other| other.to == name && !other.signs_by_new()) {
            return Err(Failure::usage(format!("{name} does not sign yet: {} still does", early.from)).hint(format!(
                "`cert-rotate ca rollover status` says what its rollover waits for; ask {}",
                early.from
            )));
        }
        let (root_name, root) = authority.root();
        if !store.trusted()?.contains(root) {
            let (name, trust) = (&authority.name, store.trust_path());
            return Err(Failure::usage(format!(
                "{name} does not sign: its root {root_name} is not in {}",
                trust.display()
            ))
            .hint("a root comes into it, and goes, by `cert-rotate ca rollover`"));
        }
        authority.in_force(ledger, work.now)?;
        Ok(Signer { authority, cross })
    }

    /// From the one that signs to the root.
    fn above(&self) -> Vec<&Certificate> {
        let above = self.authority.above.iter().map(|(_, certificate)| certificate);
        std::iter::once(&self.authority.certificate).chain(above).collect()
    }

    /// What is to be sent with a leaf: everything between it and the root.
    fn chain(&self, leaf: Certificate) -> Vec<Certificate> {
        let between = self.above().into_iter().filter(|certificate| !certificate.self_issued).cloned();
        std::iter::once(leaf).chain(between).chain(self.cross.clone()).collect()
    }
}

/// What is wanted of [`issue`].
#[derive(Debug)]
pub struct Wish<'a> {
    /// Names, at least one.
    pub names: &'a [SanName],
    /// The public key, a DER `SubjectPublicKeyInfo`.
    pub public: &'a [u8],
    /// What it is for.
    pub profile: Profile,
    /// How long; the usual time if nobody says.
    pub lifetime: Option<Duration>,
    /// SHA-256 of what it takes the place of.
    pub replaces: Option<String>,
}

impl Wish<'_> {
    /// Whether the authority may fulfil it, and until when.
    ///
    /// # Errors
    /// It may not.
    pub fn check(&self, signer: &Signer, ledger: &Ledger, work: &Work<'_>) -> Result<Validity, Failure> {
        signer.authority.allows(self.names)?;
        if let Some(revoked) = ledger.compromised(self.public) {
            let serial = &revoked.serial;
            return Err(Failure::usage(format!(
                "this key is not certified again: {serial} has it, and was revoked because somebody else knows it"
            ))
            .hint("make a new key"));
        }
        let lifetime = self.lifetime.unwrap_or(mint::LEAF_LIFETIME);
        Validity::new(work.now, lifetime, self.lifetime.is_some(), &signer.above())
    }
}

/// Signs, and writes it into the ledger; only then it is given away. Only for who has the lock.
///
/// # Errors
/// It may not be signed, or the ledger cannot be written.
pub fn issue(
    signer: &Signer,
    key: &PrivateKey,
    ledger: &mut Ledger,
    wish: &Wish<'_>,
    serial: &[u8],
    work: &Work<'_>,
) -> Result<Vec<Certificate>, Failure> {
    let validity = wish.check(signer, ledger, work)?;
    let leaf = Leaf { names: wish.names, public: wish.public, profile: wish.profile, validity, serial };
    let leaf = mint::leaf(&leaf, &signer.above(), key, work.now)?;
    if ledger.issued().any(|issued| issued.serial == leaf.serial) {
        return Err(Failure::critical(format!("the serial number {} was given away before", leaf.serial)));
    }
    let issued = Issued::of(&leaf, &signer.authority.name, Kind::Leaf);
    let issued = Issued { profile: Some(wish.profile), replaces: wish.replaces.clone(), ..issued };
    point("ca-signed");
    ledger.append(Entry::Issued(issued))?;
    Ok(signer.chain(leaf))
}

/// What a record says of a certificate that was issued.
pub fn told(record: Record, leaf: &Certificate, authority: &Authority) -> Record {
    record
        .field("authority", &authority.name)
        .field("serial", &leaf.serial)
        .field("sha256", leaf.fingerprint())
        .field("not_after", leaf.not_after.to_string())
        .field("key", leaf.key.to_string())
}

/// `ca sign`.
///
/// # Errors
/// The request does not hold, the authority may not sign it, or something cannot be written.
pub fn sign(args: &CaSignArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    work.subject = args.directory.display().to_string();
    let store = Store::open(&args.directory)?;
    let asked = request::file(&args.request)?;
    let out = args.out.clone().unwrap_or_else(|| args.request.with_extension("pem"));
    writable(&out)?;
    let mut _lock = None;
    if !args.change.dry_run {
        work.run.journal_in(&state_directory()?)?;
        _lock = Some(store.lock(work)?);
    }
    let mut ledger = store.ledger()?;
    let replaces =
        args.replaces.as_ref().map(|what| ledger.find(what).map(|issued| issued.sha256.clone())).transpose()?;
    let (names, public, profile) = (asked.names.as_slice(), asked.public.as_slice(), args.profile);
    let wish = Wish { names, public, profile, lifetime: args.lifetime.map(|lifetime| lifetime.0), replaces };
    let signer = Signer::of(&store, &ledger, &args.authority, work)?;
    let validity = wish.check(&signer, &ledger, work)?;
    let title = asked.names.first().map(ToString::to_string).unwrap_or_default();
    let by = &signer.authority.name;
    if args.change.dry_run {
        let message = format!("{by} signs it until {}, into {}", validity.not_after, out.display());
        work.run.emit(&Record::new(RecordKind::Plan, title, Status::Planned, message));
        return Ok(());
    }
    let key = signer.authority.key(seal::passphrase(args.passphrase_file.as_deref())?.as_ref())?;
    let chain = issue(&signer, &key, &mut ledger, &wish, &mint::serial()?, work)?;
    let text: String = chain.iter().map(Certificate::to_pem).collect();
    let leaf = chain.first().ok_or_else(|| Failure::critical("there is no certificate"))?;
    write(&out, text.as_bytes(), 0o644).map_err(|failure| {
        let (directory, serial) = (args.directory.display(), &leaf.serial);
        failure.hint(format!("it is issued; `cert-rotate ca show {directory} {serial} -o ndjson` has it"))
    })?;
    point("ca-certificate-written");
    let message = format!("signed by {by}; the chain is in {}", out.display());
    let record = Record::new(RecordKind::Step, title, Status::Ok, message).field("path", out.display().to_string());
    work.run.emit(&told(record, leaf, &signer.authority));
    Ok(())
}

/// That a chain can be written to this file, and that nothing but certificates is lost by it: keys and requests often have
/// the same name, and the ending pem as well.
fn writable(out: &Path) -> Result<(), Failure> {
    let shown = out.display();
    let refuse = |why: &str| {
        Failure::usage(format!("the chain is not written to {shown}: {why}")).hint("name another file with --out")
    };
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return Err(refuse("there is no such directory"));
    }
    if out.symlink_metadata().is_err() {
        return Ok(());
    }
    let read = read::file(out, None).map_err(|error| refuse(&error.to_string()))?;
    let others = read.locked || !(read.keys.is_empty() && read.requests.is_empty() && read.crls.is_empty());
    let odd = read.certificates.is_empty() && !read.is_empty() || !read.problems.is_empty();
    if others || odd || (read.is_empty() && out.metadata().is_ok_and(|metadata| metadata.len() > 0)) {
        return Err(refuse("it has something else than certificates"));
    }
    Ok(())
}

/// Which certificate this request got: noted before it is signed, so that a run after a crash finds it in the ledger.
#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    serial: String,
}

/// For `rotate`: signs the request, or finds what an interrupted run had signed for it.
///
/// # Errors
/// The authority may not sign it, its key cannot be opened, or the ledger cannot be written.
pub fn obtain(
    request: &Request<'_>,
    directory: &Path,
    authority: &str,
    profile: Profile,
    lifetime: Option<Duration>,
    work: &Work<'_>,
) -> Result<Answer, Failure> {
    let store = Store::open(directory)?;
    let mut names = Vec::new();
    for name in &request.spec.names {
        let name = constraints::name(name)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let public = request.key.public();
    let replaces = request.replaces.map(Certificate::fingerprint);
    let wish = Wish { names: &names, public: &public, profile, lifetime, replaces };
    let _lock = store.lock(work)?;
    let mut ledger = store.ledger()?;
    let signer = Signer::of(&store, &ledger, authority, work)?;
    if let Some(noted) = request.pending.read::<Noted>("ca")
        && let Some(leaf) = unfinished(&ledger, &noted, &signer, &wish, work)?
    {
        return Ok(Answer::Issued(signer.chain(leaf)));
    }
    let key = signer.authority.key(seal::passphrase(None)?.as_ref())?;
    let serial = mint::serial()?;
    request.pending.note("ca", &Noted { serial: mint::serial_text(&serial) })?;
    point("ca-noted");
    issue(&signer, &key, &mut ledger, &wish, &serial, work).map(Answer::Issued)
}

/// What was signed for this very wish and did not arrive.
fn unfinished(
    ledger: &Ledger,
    noted: &Noted,
    signer: &Signer,
    wish: &Wish<'_>,
    work: &Work<'_>,
) -> Result<Option<Certificate>, Failure> {
    let Some(issued) = ledger.issued().find(|issued| issued.serial == noted.serial) else { return Ok(None) };
    let leaf = issued.certificate()?;
    let same = issued.authority == signer.authority.name
        && issued.profile == Some(wish.profile)
        && issued.replaces == wish.replaces
        && leaf.public_key() == wish.public
        && leaf.names == wish.names;
    Ok((same && ledger.state(issued, work.now) == State::Valid).then_some(leaf))
}
