//! `ca mtls-pair`: what two services need to know each other.
//!
//! ```text
//! NAME-server/{privkey,fullchain,trust}.pem
//! NAME-client/{privkey,fullchain,trust}.pem
//! ```
//!
//! It may be run again at any time: it makes what is missing, renews what is due or by an authority that does not sign any
//! more, and brings trust.pem up to date. That is all that a rollover asks of a pair.

use std::path::PathBuf;

use maint_core::cli::{open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::fault::point;
use maint_core::record::{Kind as RecordKind, Record};
use maint_core::status::Status;

use super::constraints;
use super::issue::{Signer, Wish, issue, told};
use super::ledger::{Ledger, State};
use super::mint;
use super::seal;
use super::store::{Store, certificates_in, write};
use crate::certificate::{Certificate, SanName};
use crate::cli::{CaMtlsPairArgs, Profile};
use crate::config::is_plain;
use crate::due::due;
use crate::key::PrivateKey;
use crate::live::make_public;
use crate::work::Work;

/// `ca mtls-pair`.
///
/// # Errors
/// The authority may not certify the names, its key cannot be opened, or something cannot be written.
pub fn run(args: &CaMtlsPairArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    work.subject = args.directory.display().to_string();
    let store = Store::open(&args.directory)?;
    if !is_plain(&args.name) {
        return Err(Failure::usage(format!("`{}` is no name for a directory", args.name)));
    }
    let mut _lock = None;
    if !args.change.dry_run {
        work.run.journal_in(&state_directory()?)?;
        _lock = Some(store.lock(work)?);
    }
    let ledger = store.ledger()?;
    let mut maker = Maker { args, signer: Signer::of(&store, &ledger, &args.authority, work)?, ledger, store, work };
    let server = Member::new(args, "server", &args.server, Profile::Server)?;
    let client = Member::new(args, "client", &args.client, Profile::Client)?;
    let mut found = Vec::new();
    for member in [server, client] {
        member.wish(args, &[], None).check(&maker.signer, &maker.ledger, work)?;
        let (before, why) = member.look(&maker.signer, &maker.ledger, work)?;
        found.push((member, before, why));
    }
    if args.change.dry_run {
        for (member, _, why) in &found {
            let message = why.map_or_else(|| "nothing to do but trust.pem".to_owned(), |why| format!("signed: {why}"));
            work.run.emit(&Record::new(RecordKind::Plan, &member.title, Status::Planned, message));
        }
        return Ok(());
    }
    // Its passphrase is not asked for when there is nothing to sign.
    let key = if found.iter().any(|(_, _, why)| why.is_some()) {
        Some(maker.signer.authority.key(seal::passphrase(args.passphrase_file.as_deref())?.as_ref())?)
    } else {
        None
    };
    for (member, before, why) in &found {
        let (leaf, message) = match (why, &key, before) {
            (Some(why), Some(key), _) => maker.renew(member, before.as_ref(), why, key)?,
            (_, _, Some(before)) if member.trust(&maker.store)? => {
                (before.clone(), "trust.pem is up to date now".to_owned())
            }
            (_, _, Some(before)) => (before.clone(), "nothing to do".to_owned()),
            (_, _, None) => continue,
        };
        let record = Record::new(RecordKind::Step, &member.title, Status::Ok, message);
        let record = record.field("path", member.directory.display().to_string());
        work.run.emit(&told(record, &leaf, &maker.signer.authority));
    }
    Ok(())
}

/// What signing takes.
struct Maker<'a> {
    args: &'a CaMtlsPairArgs,
    signer: Signer,
    ledger: Ledger,
    store: Store,
    work: &'a Work<'a>,
}

impl Maker<'_> {
    fn renew(
        &mut self,
        member: &Member,
        before: Option<&Certificate>,
        why: &str,
        authority_key: &PrivateKey,
    ) -> Result<(Certificate, String), Failure> {
        make_public(&member.directory)?;
        let public = member.key(self.args, &self.ledger)?.public();
        let wish = member.wish(self.args, &public, before.map(Certificate::fingerprint));
        let chain = issue(&self.signer, authority_key, &mut self.ledger, &wish, &mint::serial()?, self.work)?;
        let text: String = chain.iter().map(Certificate::to_pem).collect();
        // What it is to trust comes first: it may be shown a new chain before it shows one.
        member.trust(&self.store)?;
        write(&member.directory.join("fullchain.pem"), text.as_bytes(), 0o644)?;
        point("ca-certificate-written");
        let leaf = chain.into_iter().next().ok_or_else(|| Failure::critical("there is no certificate"))?;
        member.verify(&leaf, &self.store)?;
        let message = format!("signed by {}: {why}; reload what uses it", self.signer.authority.name);
        Ok((leaf, message))
    }
}

struct Member {
    title: String,
    directory: PathBuf,
    names: Vec<SanName>,
    profile: Profile,
}

impl Member {
    fn new(args: &CaMtlsPairArgs, suffix: &str, names: &[String], profile: Profile) -> Result<Self, Failure> {
        let title = format!("{}-{suffix}", args.name);
        let directory = args.out.join(&title);
        let names = names.iter().map(|name| constraints::name(name)).collect::<Result<_, _>>()?;
        Ok(Member { title, directory, names, profile })
    }

    fn wish<'a>(&'a self, args: &CaMtlsPairArgs, public: &'a [u8], replaces: Option<String>) -> Wish<'a> {
        let lifetime = args.lifetime.map(|lifetime| lifetime.0);
        Wish { names: &self.names, public, profile: self.profile, lifetime, replaces }
    }

    /// Its certificate, if there is one, and why it needs another.
    fn look(
        &self,
        signer: &Signer,
        ledger: &Ledger,
        work: &Work<'_>,
    ) -> Result<(Option<Certificate>, Option<&'static str>), Failure> {
        let path = self.directory.join("fullchain.pem");
        if !path.is_file() {
            return Ok((None, Some("there is none yet")));
        }
        let leaf = certificates_in(&path)?.swap_remove(0);
        let Some(issued) = ledger.by_sha256(&leaf.fingerprint()) else {
            return Err(Failure::usage(format!("what is in {} was not issued here", path.display()))
                .hint("name another directory with --out"));
        };
        let key_fits = self.directory.join("privkey.pem").is_file() && self.read_key()?.is_of(&leaf);
        let why = if ledger.compromised(leaf.public_key()).is_some() {
            Some("somebody else knows its key")
        } else if issued.authority != signer.authority.name {
            Some("the authority changed")
        } else if ledger.state(issued, work.now) != State::Valid {
            Some("it is not valid any more")
        } else if leaf.names != self.names || issued.profile != Some(self.profile) {
            Some("it is for other names")
        } else if !key_fits {
            Some("it is for another key")
        } else if due(&leaf, None, None)?.is_due(work.now) {
            Some("it is due")
        } else {
            None
        };
        Ok((Some(leaf), why))
    }

    fn read_key(&self) -> Result<PrivateKey, Failure> {
        seal::open(&self.directory.join("privkey.pem"), None)
    }

    /// The key that is there, unless somebody else knows it, or a new one, on disk before anybody signs it.
    fn key(&self, args: &CaMtlsPairArgs, ledger: &Ledger) -> Result<PrivateKey, Failure> {
        let path = self.directory.join("privkey.pem");
        if path.is_file() {
            let key = self.read_key()?;
            if ledger.compromised(&key.public()).is_none() {
                return Ok(key);
            }
        }
        let key = PrivateKey::generate(args.key_type)?;
        write(&path, key.to_pem().as_bytes(), 0o600)?;
        point("ca-key-written");
        Ok(key)
    }

    /// What it must trust; whether that changed.
    fn trust(&self, store: &Store) -> Result<bool, Failure> {
        let path = self.directory.join("trust.pem");
        let roots = store.trusted()?;
        if certificates_in(&path).is_ok_and(|before| before == roots) {
            return Ok(false);
        }
        let text: String = roots.iter().map(Certificate::to_pem).collect();
        write(&path, text.as_bytes(), 0o644)?;
        Ok(true)
    }

    /// Looks again.
    fn verify(&self, leaf: &Certificate, store: &Store) -> Result<(), Failure> {
        let whole = certificates_in(&self.directory.join("fullchain.pem"))?.first() == Some(leaf)
            && self.read_key()?.is_of(leaf)
            && certificates_in(&self.directory.join("trust.pem"))? == store.trusted()?;
        if whole {
            Ok(())
        } else {
            Err(Failure::critical(format!("{}: it does not have what was written", self.title)))
        }
    }
}
