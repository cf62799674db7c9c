//! What of an earlier phase is still there: read from the files themselves, from the ledger and from what is live.

use std::collections::BTreeSet;
use std::path::PathBuf;

use maint_core::failure::Failure;

use super::{Phase, Rollover};
use crate::ca::ledger::{Kind, Ledger, State};
use crate::ca::store::{Store, certificates_in};
use crate::certificate::Certificate;
use crate::live::Generation;
use crate::work::Work;

/// Something that stands in the way of the next phase.
///
/// Codes: `authority-not-in-force`, `cross-missing`, `cross-not-in-force`, `bundle-unreadable`, `bundle-without-old`,
/// `bundle-without-new`, `bundle-with-old`, `trust-differs`, `leaf-old`, `leaf-old-live`, `live-unreadable`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// What, for programs; it does not change.
    pub code: &'static str,
    /// Which file or certificate.
    pub subject: String,
    /// What, for people, and what to do.
    pub message: String,
}

/// A file of roots.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The file.
    pub path: PathBuf,
    /// Whether the old root and the new one are in it, or why nobody knows.
    pub has: Result<(bool, bool), String>,
}

/// A certificate that the old authority, or another of the old root, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldLeaf {
    /// What it is called.
    pub title: String,
    /// Which one.
    pub serial: String,
    /// What is known of it.
    pub place: Place,
}

/// Where a certificate of the old authority was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Issued, and neither over nor replaced nor revoked.
    Ledger,
    /// Live under this name here.
    Live(String),
}

/// Everything that was seen.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Both authorities have the same root.
    pub same_root: bool,
    /// Another rollover took the old root out of what is trusted: it went first, when nothing by it was left.
    pub old_gone: bool,
    /// Why the new authority cannot sign now.
    pub not_in_force: Option<String>,
    /// Whether the new root has a certificate by the old one, and whether that is in force.
    pub cross: Option<bool>,
    /// How to get it.
    pub cross_command: String,
    /// The files of roots, trust.pem first.
    pub bundles: Vec<Bundle>,
    /// Certificates of the old authority.
    pub old_leaves: Vec<OldLeaf>,
    /// What is live and could not be read, and why.
    pub unreadable: Vec<(String, String)>,
}

/// Looks.
///
/// # Errors
/// An authority is not there, or the ledger or the configuration does not hold.
pub fn gather(store: &Store, rollover: &Rollover, work: &Work<'_>) -> Result<Facts, Failure> {
    let (from, to) = (store.authority(&rollover.from)?, store.authority(&rollover.to)?);
    let ((old_name, old), (new_name, new)) = (from.root(), to.root());
    let same_root = old == new;
    let ledger = store.ledger()?;
    let cross = if same_root { None } else { store.cross(&store.authority(new_name)?, old_name, &ledger)? };
    let paths = std::iter::once(store.trust_path()).chain(rollover.bundles.iter().cloned());
    let bundles = paths.map(|path| {
        let has = certificates_in(&path).map(|roots| (roots.contains(old), roots.contains(new)));
        Bundle { path, has: has.map_err(|failure| failure.message) }
    });
    // Of two roots, everything below the old one goes; of one root, what the old authority signed. Where an authority ended
    // whose directory is gone, nobody knows.
    let mut stays = BTreeSet::new();
    for name in store.names()? {
        let goes = if same_root { name == from.name } else { store.authority(&name)?.root().1 == old };
        if !goes {
            stays.insert(name);
        }
    }
    let is_old = |authority: &str| !stays.contains(authority);
    let mut facts = Facts {
        same_root,
        old_gone: !same_root && gone(store, rollover, old)?,
        not_in_force: to.in_force(&ledger, work.now).err().map(|failure| failure.message),
        cross: cross.map(|cross| cross.is_valid_at(work.now)),
        cross_command: format!("cert-rotate ca cross-sign {} {new_name} {old_name}", store.root().display()),
        bundles: bundles.collect(),
        old_leaves: in_ledger(&ledger, is_old, work),
        unreadable: Vec::new(),
    };
    in_use(&ledger, is_old, &mut facts, work)?;
    Ok(facts)
}

fn gone(store: &Store, rollover: &Rollover, old: &Certificate) -> Result<bool, Failure> {
    for other in Rollover::all(store)?.iter().filter(|other| other.from != rollover.from && other.phase == Phase::New) {
        let (from, to) = (store.authority(&other.from)?, store.authority(&other.to)?);
        if from.root().1 == old && to.root().1 != old {
            return Ok(true);
        }
    }
    Ok(false)
}

fn in_ledger(ledger: &Ledger, is_old: impl Fn(&str) -> bool, work: &Work<'_>) -> Vec<OldLeaf> {
    let leaves = ledger.issued().filter(|issued| issued.kind == Kind::Leaf);
    let in_use = leaves.filter(|issued| is_old(&issued.authority) && ledger.state(issued, work.now) == State::Valid);
    let named = |issued: &crate::ca::ledger::Issued| OldLeaf {
        title: issued.title().to_owned(),
        serial: issued.serial.clone(),
        place: Place::Ledger,
    };
    in_use.map(named).collect()
}

/// What is live here, whatever the ledger thinks has become of it: one that was replaced and could not be deployed is
/// still served.
fn in_use(ledger: &Ledger, is_old: impl Fn(&str) -> bool, facts: &mut Facts, work: &Work<'_>) -> Result<(), Failure> {
    let live = work.live()?;
    for name in work.wanted()?.certs.keys() {
        let current = match live.current(name) {
            Ok(current) => current,
            Err(failure) => {
                facts.unreadable.push((name.clone(), failure.message));
                continue;
            }
        };
        let Some(leaf) = current.as_ref().and_then(Generation::leaf) else { continue };
        let issued = ledger.by_sha256(&leaf.fingerprint());
        if issued.is_some_and(|issued| is_old(&issued.authority)) && leaf.is_valid_at(work.now) {
            facts.old_leaves.retain(|other| other.serial != leaf.serial);
            let (title, serial) = (leaf.title(), leaf.serial.clone());
            facts.old_leaves.push(OldLeaf { title, serial, place: Place::Live(name.clone()) });
        }
    }
    Ok(())
}

/// What stands in the way of the phase after this one; after the last one, of its end.
pub fn obstacles(phase: Phase, facts: &Facts) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let mut add = |code, subject: String, message: String| found.push(Obstacle { code, subject, message });
    if phase != Phase::New
        && let Some(why) = &facts.not_in_force
    {
        add("authority-not-in-force", "the new authority".to_owned(), why.clone());
    }
    if !facts.same_root && matches!(phase, Phase::Old | Phase::TrustBoth) {
        let command = format!("run `{}`", facts.cross_command);
        match facts.cross {
            Some(true) => {}
            Some(false) => add(
                "cross-not-in-force",
                "the new root".to_owned(),
                format!("its certificate by the old root is over; {command}"),
            ),
            None => add(
                "cross-missing",
                "the new root".to_owned(),
                format!("it has no certificate by the old root; {command}"),
            ),
        }
    }
    for (index, bundle) in facts.bundles.iter().enumerate() {
        let is_trust = index == 0;
        let subject = bundle.path.display().to_string();
        let (old, new) = match &bundle.has {
            Ok(has) => *has,
            Err(why) => {
                add("bundle-unreadable", subject, why.clone());
                continue;
            }
        };
        let old_stays = facts.same_root || (phase != Phase::New && !facts.old_gone);
        let wanted = (old_stays, phase != Phase::Old || new);
        if is_trust && (old, new) != wanted {
            add("trust-differs", subject, "it is not what the phase says; `advance` writes it".to_owned());
        } else if wanted.0 && !old {
            add("bundle-without-old", subject, "the old root is not in it, and is still in use".to_owned());
        } else if wanted.1 && !new {
            add("bundle-without-new", subject, "the new root is not in it; copy trust.pem to it".to_owned());
        } else if !wanted.0 && old {
            add("bundle-with-old", subject, "the old root is still in it; copy trust.pem to it".to_owned());
        }
    }
    if phase == Phase::SignNew {
        for leaf in &facts.old_leaves {
            let (title, serial) = (leaf.title.clone(), &leaf.serial);
            match &leaf.place {
                Place::Ledger => add(
                    "leaf-old",
                    title,
                    format!(
                        "its certificate {serial} is by the old authority and still valid; renew it with --replaces {serial}, or revoke it as superseded when it is out of use"
                    ),
                ),
                Place::Live(name) => add(
                    "leaf-old-live",
                    title,
                    format!(
                        "`{name}` serves {serial}, which is by the old authority; run `cert-rotate rotate --force {name}`"
                    ),
                ),
            }
        }
        for (name, why) in &facts.unreadable {
            add("live-unreadable", name.clone(), why.clone());
        }
    }
    found
}
