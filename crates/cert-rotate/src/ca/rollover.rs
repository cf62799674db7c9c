//! From one authority to the next without a moment in which somebody trusts too little.
//!
//! | phase | trusted | signs |
//! |---|---|---|
//! | `old` | the old root | the old authority |
//! | `trust-both` | both roots | the old authority |
//! | `sign-new` | both roots | the new authority |
//! | `new` | the new root | the new authority |
//!
//! Whatever anybody trusts in a phase must be enough for whatever anybody shows in it, so a phase may begin only when
//! nothing that it does not suit is left of the one before: that is what [`inventory`] looks for. Between authorities of
//! the same root, trust stays as it is, and only who signs changes.

pub mod inventory;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use maint_core::cli::{ChangeArgs, open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::fault::point;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use serde::{Deserialize, Serialize};

use super::store::{Store, write};
use crate::cli::RolloverAction;
use crate::live::make_public;
use crate::work::Work;
use inventory::{Obstacle, gather, obstacles};

/// How far a rollover has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Everything as before.
    Old,
    /// Both roots are trusted; the old authority signs.
    TrustBoth,
    /// Both roots are trusted; the new authority signs.
    SignNew,
    /// The new root is trusted, and the new authority signs.
    New,
}

impl Phase {
    /// As in the file and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Old => "old",
            Phase::TrustBoth => "trust-both",
            Phase::SignNew => "sign-new",
            Phase::New => "new",
        }
    }

    /// The one after it; `None` after the last.
    pub fn next(self) -> Option<Self> {
        match self {
            Phase::Old => Some(Phase::TrustBoth),
            Phase::TrustBoth => Some(Phase::SignNew),
            Phase::SignNew => Some(Phase::New),
            Phase::New => None,
        }
    }

    /// What it is to begin it.
    fn begins(self) -> &'static str {
        match self {
            Phase::Old => "nothing changes yet",
            Phase::TrustBoth => "both roots go into trust.pem; copy it to every bundle",
            Phase::SignNew => "the new authority signs; renew every certificate of the old one",
            Phase::New => "the old root leaves trust.pem; copy it to every bundle",
        }
    }
}

/// When a phase began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    /// Which.
    pub phase: Phase,
    /// When.
    pub at: Timestamp,
}

/// A rollover, as it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollover {
    /// The authority that goes.
    pub from: String,
    /// The authority that comes.
    pub to: String,
    /// Where it is.
    pub phase: Phase,
    /// Files of trusted roots that somebody reads.
    pub bundles: Vec<PathBuf>,
    /// The phases so far.
    pub history: Vec<Began>,
}

impl Rollover {
    fn path(store: &Store, from: &str) -> PathBuf {
        store.root().join("rollovers").join(format!("{from}.json"))
    }

    /// That of an authority, if there is one.
    ///
    /// # Errors
    /// Its file does not hold.
    pub fn read(store: &Store, from: &str) -> Result<Option<Self>, Failure> {
        let path = Self::path(store, from);
        let cannot = |why: &dyn std::fmt::Display| Failure::critical(format!("cannot read {}: {why}", path.display()));
        match std::fs::read(&path) {
            Ok(text) => {
                let read: Self = serde_json::from_slice(&text).map_err(|error| cannot(&error))?;
                if read.from == from { Ok(Some(read)) } else { Err(cannot(&format!("it is about {}", read.from))) }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot(&error)),
        }
    }

    /// All of them, sorted by the authority that goes.
    ///
    /// # Errors
    /// A file does not hold.
    pub fn all(store: &Store) -> Result<Vec<Self>, Failure> {
        let mut all = Vec::new();
        for name in store.names()? {
            all.extend(Self::read(store, &name)?);
        }
        Ok(all)
    }

    /// Whether the new authority signs what the old one is asked for.
    pub fn signs_by_new(&self) -> bool {
        matches!(self.phase, Phase::SignNew | Phase::New)
    }

    /// Whether both roots are trusted.
    pub fn trusts_both(&self) -> bool {
        matches!(self.phase, Phase::TrustBoth | Phase::SignNew)
    }

    fn write(&self, store: &Store) -> Result<(), Failure> {
        let path = Self::path(store, &self.from);
        make_public(path.parent().unwrap_or(Path::new(".")))?;
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Failure::critical(format!("cannot encode the rollover: {error}")))?;
        write(&path, &text, 0o644)?;
        point("ca-rollover-written");
        Ok(())
    }

    /// Makes trust.pem what the phase says.
    fn settle(&self, store: &Store) -> Result<(), Failure> {
        let (from, to) = (store.authority(&self.from)?, store.authority(&self.to)?);
        let (old, new) = (from.root().1, to.root().1);
        let mut trusted = store.trusted()?;
        let before = trusted.clone();
        if self.phase != Phase::Old && !trusted.contains(new) {
            trusted.push(new.clone());
        }
        if self.phase == Phase::New && old != new {
            trusted.retain(|root| root != old);
        }
        if trusted == before { Ok(()) } else { store.trust(&trusted) }
    }

    fn title(&self) -> String {
        format!("{} to {}", self.from, self.to)
    }
}

/// `ca rollover`.
///
/// # Errors
/// There is no such rollover, something stands in the way, or it cannot be written.
pub fn run(action: &RolloverAction, work: &mut Work<'_>) -> Result<(), Failure> {
    match action {
        RolloverAction::Plan { directory, from, to, bundles, change } => {
            plan(&begin(work, directory)?, (from, to), bundles, change, work)
        }
        RolloverAction::Advance { directory, from, change } => advance(&begin(work, directory)?, from, change, work),
        RolloverAction::Status { directory, from } => status(&begin(work, directory)?, from.as_deref(), work),
    }
}

fn begin(work: &mut Work<'_>, directory: &Path) -> Result<Store, Failure> {
    work.subject = directory.display().to_string();
    Store::open(directory)
}

fn plan(
    store: &Store,
    (from, to): (&str, &str),
    bundles: &[PathBuf],
    change: &ChangeArgs,
    work: &mut Work<'_>,
) -> Result<(), Failure> {
    open_guard(change, &mut work.settings, &work.cancel)?;
    for name in [from, to] {
        if store.authority(name)?.is_root() {
            return Err(Failure::usage(format!("{name} is a root: name the authorities that sign services"))
                .hint("their roots are found; between authorities of two roots, trust rolls over as well"));
        }
    }
    let absolute = |path: &PathBuf| std::path::absolute(path).map_err(|error| Failure::usage(error.to_string()));
    let bundles = bundles.iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
    let at = Timestamp::now();
    let history = vec![Began { phase: Phase::Old, at }];
    let rollover = Rollover { from: from.to_owned(), to: to.to_owned(), phase: Phase::Old, bundles, history };
    let mut _lock = None;
    if !change.dry_run {
        work.run.journal_in(&state_directory()?)?;
        _lock = Some(store.lock(work)?);
    }
    possible(store, &rollover)?;
    if !change.dry_run {
        rollover.write(store)?;
    }
    for phase in [Phase::TrustBoth, Phase::SignNew, Phase::New] {
        let message = format!("{}: {}", phase.as_str(), phase.begins());
        work.run
            .emit(&Record::new(Kind::Plan, rollover.title(), Status::Planned, message).field("phase", phase.as_str()));
    }
    if !change.dry_run {
        let message = format!("begun with {} bundles; nothing else has changed", rollover.bundles.len());
        work.run.emit(&about(&rollover, Record::new(Kind::Step, rollover.title(), Status::Ok, message)));
    }
    Ok(())
}

/// An authority goes once, and comes from one only; what goes already does not come.
fn possible(store: &Store, wanted: &Rollover) -> Result<(), Failure> {
    let refuse = |why: String| Err(Failure::usage(format!("no rollover from {} to {}: {why}", wanted.from, wanted.to)));
    if wanted.from == wanted.to {
        return refuse("they are the same".to_owned());
    }
    for other in Rollover::all(store)? {
        if other.from == wanted.from && other.phase == Phase::Old {
            // Planned anew, while nothing is changed yet.
            continue;
        }
        if other.from == wanted.from {
            return refuse(format!("there is one to {}, in the phase {}", other.to, other.phase.as_str()));
        }
        if other.from == wanted.to {
            return refuse(format!("{} goes itself, to {}", wanted.to, other.to));
        }
        if other.to == wanted.to {
            return refuse(format!("{} comes for {}", wanted.to, other.from));
        }
        if other.to == wanted.from && other.phase != Phase::New {
            return refuse(format!("{} still comes for {}", wanted.from, other.from));
        }
    }
    Ok(())
}

fn advance(store: &Store, from: &str, change: &ChangeArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(change, &mut work.settings, &work.cancel)?;
    let mut _lock = None;
    if !change.dry_run {
        work.run.journal_in(&state_directory()?)?;
        _lock = Some(store.lock(work)?);
    }
    let mut rollover = found(store, from)?;
    if !change.dry_run {
        // A run that was killed may have begun the phase and not finished to.
        rollover.settle(store)?;
    }
    let facts = gather(store, &rollover, work)?;
    let obstacles = obstacles(rollover.phase, &facts);
    let title = rollover.title();
    for obstacle in &obstacles {
        work.run.emit(&in_the_way(obstacle, Status::Failed));
    }
    let now = rollover.phase.as_str();
    match rollover.phase.next() {
        _ if !obstacles.is_empty() => {
            let (count, verb) = (obstacles.len(), if obstacles.len() == 1 { "stands" } else { "stand" });
            let message = format!("stays in the phase {now}: {count} things of the earlier phase {verb} in the way");
            work.run.emit(&about(&rollover, Record::new(Kind::Step, title, Status::Failed, message)));
        }
        None => {
            let message = "it is over: nobody trusts the old root any more";
            work.run.emit(&about(&rollover, Record::new(Kind::Step, title, Status::Ok, message)));
        }
        Some(next) if change.dry_run => {
            let message = format!("{}: {}", next.as_str(), next.begins());
            work.run.emit(&about(&rollover, Record::new(Kind::Plan, title, Status::Planned, message)));
        }
        Some(next) => {
            rollover.phase = next;
            rollover.history.push(Began { phase: next, at: Timestamp::now() });
            rollover.write(store)?;
            rollover.settle(store)?;
            let again = found(store, from)?;
            let (status, message) = if again == rollover {
                (Status::Ok, format!("{}: {}", next.as_str(), next.begins()))
            } else {
                (Status::Ineffective, "written, but it does not show".to_owned())
            };
            work.run.emit(&about(&again, Record::new(Kind::Step, title, status, message)));
        }
    }
    Ok(())
}

fn status(store: &Store, from: Option<&str>, work: &Work<'_>) -> Result<(), Failure> {
    let all = match from {
        Some(from) => vec![found(store, from)?],
        None => Rollover::all(store)?,
    };
    if all.is_empty() {
        let record = Record::new(Kind::Check, work.subject.as_str(), Status::Ok, "there is no rollover");
        work.run.emit(&record);
    }
    for rollover in all {
        let facts = gather(store, &rollover, work)?;
        let obstacles = obstacles(rollover.phase, &facts);
        for obstacle in &obstacles {
            work.run.emit(&in_the_way(obstacle, Status::Warning));
        }
        let phase = rollover.phase.as_str();
        let message = match (rollover.phase.next(), obstacles.is_empty()) {
            (Some(next), true) => format!("in the phase {phase}; nothing stands in the way of {}", next.as_str()),
            (Some(next), false) => format!("in the phase {phase}; {} waits for the above", next.as_str()),
            (None, true) => "over: nobody trusts the old root any more".to_owned(),
            (None, false) => "nearly over".to_owned(),
        };
        let record = about(&rollover, Record::new(Kind::Check, rollover.title(), Status::Ok, message));
        work.run.emit(&record.field("old_leaves_total", facts.old_leaves.len()));
    }
    Ok(())
}

fn found(store: &Store, from: &str) -> Result<Rollover, Failure> {
    Rollover::read(store, from)?.ok_or_else(|| {
        Failure::usage(format!("there is no rollover from {from} in {}", store.root().display()))
            .hint("begin one with `cert-rotate ca rollover plan`")
    })
}

fn about(rollover: &Rollover, record: Record) -> Record {
    record.field("phase", rollover.phase.as_str()).field("from", &rollover.from).field("to", &rollover.to)
}

fn in_the_way(obstacle: &Obstacle, status: Status) -> Record {
    Record::new(Kind::Finding, &obstacle.subject, status, &obstacle.message).field("code", obstacle.code)
}

#[cfg(test)]
mod tests;
