//! `prune`: give back the space of what was expired.
//!
//! What is not referred to is removed, so a repository that lost its snapshots, or shows only some of them, would be emptied
//! by its own clean-up. Every run remembers the backups that it saw, `expire` remembers what it let go, and when too many of
//! the others are not there, nothing is touched.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use maint_core::cli::{open_guard, state_directory};
use maint_core::confirm::confirm;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_bytes;
use serde::{Deserialize, Serialize};

use crate::cli::PruneArgs;
use crate::store::prune::{PruneNumbers, Pruning};
use crate::store::{Part, Store, StoreError, Stored};
use crate::work::Work;

/// Where runs remember what they saw.
const SEEN: &str = "prune";
/// Where `expire` remembers what it let go.
const EXPIRED: &str = "expired";
/// For how long: validation runs at least once in this time.
const EXPIRED_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Backups by their trees: a pin gives a snapshot another id, and the same tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trees {
    /// Of clusters.
    pub clusters: BTreeSet<String>,
    /// Of file sets.
    pub files: BTreeSet<String>,
}

impl Trees {
    fn of(&self, part: Part) -> &BTreeSet<String> {
        match part {
            Part::Clusters => &self.clusters,
            Part::Files => &self.files,
        }
    }

    /// Whether the tree is one of them.
    pub fn contains(&self, tree: &str) -> bool {
        self.clusters.contains(tree) || self.files.contains(tree)
    }

    /// Adds a snapshot.
    pub fn add(&mut self, part: Part, stored: &Stored) {
        let all = match part {
            Part::Clusters => &mut self.clusters,
            Part::Files => &mut self.files,
        };
        all.insert(stored.tree.to_hex().as_str().to_owned());
    }
}

/// Remembers what was let go on purpose, for the next `prune`.
///
/// # Errors
/// The note cannot be written.
pub fn remember_expired(store: &Store, trees: &Trees) -> Result<(), StoreError> {
    if *trees == Trees::default() {
        return Ok(());
    }
    store.put_note(&format!("{EXPIRED}/{}", ulid::Ulid::generate()), trees).map(drop)
}

/// Prunes both parts, or says why not.
///
/// # Errors
/// The snapshots cannot be listed, too many of them are gone, nobody agreed, or another run is at work.
pub fn run(args: &PruneArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let guard = open_guard(&args.change, &mut work.settings, &work.cancel)?;
    let store = work.store()?;
    work.subject = store.storage().location();
    let _lock = if args.change.dry_run { None } else { Some(store.lock("write")?) };

    // Both parts are judged before either is touched.
    let mut seen = Trees::default();
    let mut parts = Vec::new();
    for part in Part::ALL {
        let snapshots = store.snapshots(part)?;
        snapshots.iter().filter(|stored| !stored.pending).for_each(|stored| seen.add(part, stored));
        let packs = store.storage().list(&format!("{}/data", part.directory()))?.len();
        parts.push((part, snapshots.len(), packs));
    }
    if !args.force {
        let (before, since) = last_seen(&store)?;
        let mut let_go = Trees::default();
        // What was let go before that, and is there again, was not let go.
        for expired in expired(&store)?.into_iter().filter(|expired| expired.at >= since) {
            let_go.clusters.extend(expired.trees.clusters);
            let_go.files.extend(expired.trees.files);
        }
        for (part, snapshots, packs) in &parts {
            if let Some(why) = refusal(before.of(*part), seen.of(*part), let_go.of(*part), *snapshots, *packs) {
                return Err(refused(&store, *part, &why));
            }
        }
    }

    let mut planned = Vec::new();
    for (part, _, _) in parts.into_iter().filter(|(_, _, packs)| *packs > 0) {
        planned.push((part, store.prune_plan(part)?));
    }
    let totals: Vec<PruneNumbers> = planned.iter().map(|(_, pruning)| pruning.numbers()).collect();
    if args.change.dry_run {
        for ((part, _), numbers) in planned.iter().zip(&totals) {
            work.run.emit(&record(Kind::Plan, &store, *part, Status::Planned, &would(*numbers), *numbers));
        }
        return Ok(());
    }
    let changed: u64 = totals.iter().map(|numbers| numbers.removed_bytes + numbers.marked_bytes).sum();
    if changed > 0 {
        let what = format!("Remove what no backup in {} refers to ({})?", work.subject, format_bytes(changed));
        confirm(&what, args.change.yes).map_err(|refused| Failure::usage(refused.to_string()))?;
    }
    work.run.journal_in(&state_directory()?)?;
    let mut all_done = true;
    for ((part, pruning), numbers) in planned.into_iter().zip(totals) {
        if let Err(stop) = guard.may_start() {
            work.run.emit(&record(Kind::Step, &store, part, Status::Left, stop.reason(), numbers));
            all_done = false;
            continue;
        }
        all_done &= prune(&store, part, pruning, work);
    }
    if all_done {
        remember(&store, &seen)?;
    }
    Ok(())
}

/// Carries one plan out, and looks again: everything that was there opens still.
fn prune(store: &Store, part: Part, pruning: Pruning, work: &Work<'_>) -> bool {
    let numbers = pruning.numbers();
    let step = |status, message: &str| record(Kind::Step, store, part, status, message, numbers);
    let done = (|| {
        let before = store.stored_bytes(part)?;
        let trees = |snapshots: Vec<Stored>| snapshots.into_iter().map(|stored| stored.id).collect::<BTreeSet<_>>();
        let snapshots = trees(store.snapshots(part)?);
        store.prune(pruning)?;
        store.reader(part)?;
        let there = trees(store.snapshots(part)?);
        // Signed: what is rewritten is there twice until the old packs are removed.
        let freed = i128::from(before) - i128::from(store.stored_bytes(part)?);
        Ok::<_, StoreError>((freed as i64, snapshots.is_subset(&there)))
    })();
    match done {
        Ok((freed, true)) => {
            let said = if freed > 0 { format!("gave back {}", format_bytes(freed as u64)) } else { did(numbers) };
            work.run.emit(&step(Status::Ok, &said).field("freed_bytes", freed));
            true
        }
        Ok((freed, false)) => {
            let record = step(Status::Failed, "snapshots that were there before are not there now");
            work.run.emit(&record.field("freed_bytes", freed));
            false
        }
        Err(error) => {
            work.run.emit(&step(Status::Failed, &error.to_string()));
            false
        }
    }
}

fn record(kind: Kind, store: &Store, part: Part, status: Status, message: &str, numbers: PruneNumbers) -> Record {
    Record::new(kind, format!("{}/{}", store.storage().location(), part.directory()), status, message)
        .field("used_bytes", numbers.used_bytes)
        .field("removed_bytes", numbers.removed_bytes)
        .field("marked_bytes", numbers.marked_bytes)
        .field("rewritten_bytes", numbers.rewritten_bytes)
}

fn would(numbers: PruneNumbers) -> String {
    format!(
        "would remove {}, mark {} for a run at least 23 hours later, and write {} anew",
        format_bytes(numbers.removed_bytes),
        format_bytes(numbers.marked_bytes),
        format_bytes(numbers.rewritten_bytes)
    )
}

fn did(numbers: PruneNumbers) -> String {
    if numbers.marked_bytes == 0 {
        return "nothing to give back".to_owned();
    }
    format!("marked {}, which a run at least 23 hours later gives back", format_bytes(numbers.marked_bytes))
}

fn refused(store: &Store, part: Part, why: &str) -> Failure {
    let place = format!("{}/{}", store.storage().location(), part.directory());
    Failure::usage(format!("not pruned: in {place} {why}, and all that only they refer to would be removed")).hint(
        "see whether the repository's disk is mounted and whole, and `backup-tool list`; when they were removed on \
         purpose, add --force",
    )
}

/// Why a part must not be pruned. `before` are the backups that the last run saw, `expired` those that were let go since.
fn refusal(
    before: &BTreeSet<String>,
    now: &BTreeSet<String>,
    expired: &BTreeSet<String>,
    snapshots: usize,
    packs: usize,
) -> Option<String> {
    let expected: BTreeSet<&String> = before.difference(expired).collect();
    if snapshots == 0 && (packs > 0 || !expected.is_empty()) {
        return Some("there is data and no snapshot".to_owned());
    }
    let gone = expected.iter().filter(|tree| !now.contains(**tree)).count();
    (gone * 2 > expected.len()).then(|| {
        format!("{gone} of the {} backups of the last prune are gone that `expire` did not let go", expected.len())
    })
}

/// What the last run saw, and when.
fn last_seen(store: &Store) -> Result<(Trees, Timestamp), StoreError> {
    match store.notes(SEEN)?.last() {
        Some(key) => Ok((store.note(key)?, written(key))),
        None => Ok((Trees::default(), Timestamp::MIN)),
    }
}

/// What a run of `expire` let go.
#[derive(Debug)]
pub struct Expired {
    /// When.
    pub at: Timestamp,
    /// What of it nothing else held.
    pub trees: Trees,
}

/// What `expire` let go in the last months.
///
/// # Errors
/// A note of it cannot be read.
pub fn expired(store: &Store) -> Result<Vec<Expired>, StoreError> {
    let read = |key: String| Ok(Expired { at: written(&key), trees: store.note(&key)? });
    store.notes(EXPIRED)?.into_iter().map(read).collect()
}

/// When a note was written. One whose name does not tell is older than everything, and excuses nothing.
fn written(key: &str) -> Timestamp {
    let id = key.rsplit('/').next().and_then(|id| id.parse::<ulid::Ulid>().ok());
    id.and_then(|id| Timestamp::from_millisecond(id.timestamp_ms().try_into().ok()?).ok()).unwrap_or(Timestamp::MIN)
}

/// Remembers what was seen, then forgets what was remembered before. What was let go is remembered for longer: validation
/// asks for it, and comes by less often.
fn remember(store: &Store, seen: &Trees) -> Result<(), StoreError> {
    let mut old = store.notes(SEEN)?;
    let since = Timestamp::now().checked_sub(EXPIRED_FOR).unwrap_or(Timestamp::MIN);
    old.extend(store.notes(EXPIRED)?.into_iter().filter(|key| written(key) < since));
    store.put_note(&format!("{SEEN}/{}", ulid::Ulid::generate()), seen)?;
    old.iter().try_for_each(|key| store.remove_note(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn data_without_a_snapshot_is_never_removed() {
        let none = set(&[]);
        assert!(refusal(&none, &none, &none, 0, 3).is_some());
        assert!(refusal(&set(&["a"]), &none, &none, 0, 0).is_some());
        // What was never written to has nothing to lose.
        assert_eq!(refusal(&none, &none, &none, 0, 0), None);
    }

    #[test]
    fn more_than_half_of_the_backups_gone_is_too_many() {
        let before = set(&["a", "b", "c", "d"]);
        let none = set(&[]);
        assert_eq!(refusal(&before, &set(&["c", "d", "e"]), &none, 3, 9), None);
        let why = refusal(&before, &set(&["d", "e", "f", "g"]), &none, 4, 9).unwrap();
        assert!(why.contains("3 of the 4"), "{why}");
    }

    #[test]
    fn what_was_expired_is_not_missed() {
        let before = set(&["a", "b", "c", "d"]);
        assert_eq!(refusal(&before, &set(&["d"]), &set(&["a", "b", "c"]), 1, 9), None);
        // Of the two that should be there, both are gone.
        assert!(refusal(&before, &set(&["e"]), &set(&["a", "b"]), 1, 9).is_some());
    }
}
