//! `repair`: make the repository fit together again after objects were lost.
//!
//! First the index is made to fit the packs. Then every snapshot is held against what is stored: one that lost data is set
//! aside (tagged, and not offered for recovery any more), and one that was set aside and is whole again is taken back. A
//! full backup afterwards stores again what was lost, where the server still has it.

use maint_core::cli::{open_guard, state_directory};
use maint_core::confirm::confirm;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use maint_core::cli::ChangeArgs;

use crate::store::repair::{IndexTrouble, LostData};
use crate::store::{Part, Store, StoreError, Stored};
use crate::work::Work;

/// Shows what is wrong, then mends it.
///
/// # Errors
/// The repository cannot be read or written, nobody agreed, or another run is at work in it.
pub fn run(args: &ChangeArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let guard = open_guard(args, &mut work.settings, &work.cancel)?;
    let store = work.store()?;
    work.subject = store.storage().location();
    let _lock = if args.dry_run { None } else { Some(store.lock("write")?) };
    let mut found = Vec::new();
    for part in Part::ALL {
        found.push((part, store.index_trouble(part)?, marks(&store, part)?));
    }
    if found.iter().all(|(_, trouble, marks)| trouble.is_none() && marks.is_empty()) {
        let fine = "the index fits the packs, and every snapshot is whole";
        work.run.emit(&Record::new(Kind::Check, work.subject.clone(), Status::Ok, fine));
        return Ok(());
    }
    if args.dry_run {
        for (part, trouble, marks) in &found {
            if !trouble.is_none() {
                work.run.emit(&index_record(Kind::Plan, &store, *part, Status::Planned, &described(trouble), trouble));
            }
            for mark in marks {
                work.run.emit(&mark.record(Kind::Plan, Status::Planned, mark.will()));
            }
        }
        return Ok(());
    }
    let count: usize = found.iter().map(|(_, _, marks)| marks.len()).sum();
    let what = format!("Mend the index of {} and mark or unmark {count} snapshots?", work.subject);
    confirm(&what, args.yes).map_err(|refused| Failure::usage(refused.to_string()))?;
    work.run.journal_in(&state_directory()?)?;
    for (part, trouble, _) in found {
        if let Err(stop) = guard.may_start() {
            work.run.emit(&index_record(Kind::Step, &store, part, Status::Left, stop.reason(), &trouble));
            continue;
        }
        if !trouble.is_none() {
            let (status, message) = mend_index(&store, part);
            work.run.emit(&index_record(Kind::Step, &store, part, status, &message, &trouble));
        }
        // Judged anew by the index as it is now.
        for mark in marks(&store, part)? {
            store.mark_broken(part, &mark.stored.id, mark.broken)?;
            let shows =
                store.snapshots(part)?.iter().any(|now| now.tree == mark.stored.tree && now.broken == mark.broken);
            let (status, message) = match (shows, mark.broken) {
                (false, _) => (Status::Ineffective, "marked, but it does not show"),
                // That it is mended does not make it good: data is lost.
                (true, true) => (Status::Critical, "set aside: data of it is lost"),
                (true, false) => (Status::Ok, "taken back: it is whole again"),
            };
            work.run.emit(&mark.record(Kind::Step, status, message));
        }
    }
    Ok(())
}

/// A snapshot whose mark does not say what it is.
struct Mark {
    stored: Stored,
    broken: bool,
    lost: LostData,
}

fn marks(store: &Store, part: Part) -> Result<Vec<Mark>, StoreError> {
    let snapshots = store.snapshots(part)?;
    if snapshots.is_empty() {
        return Ok(Vec::new());
    }
    let mut inventory = store.inventory(part)?;
    let mark = |stored: Stored| {
        let lost = inventory.lost(&stored);
        let broken = lost.count > 0;
        (broken != stored.broken).then_some(Mark { stored, broken, lost })
    };
    Ok(snapshots.into_iter().filter_map(mark).collect())
}

impl Mark {
    fn will(&self) -> &'static str {
        if self.broken { "set aside: data of it is lost" } else { "take back: it is whole again" }
    }

    fn record(&self, kind: Kind, status: Status, message: &str) -> Record {
        let first: Vec<String> = self.lost.first.iter().map(|path| path.display().to_string()).collect();
        let message = match first.first() {
            Some(path) => format!("{message}, in {} files; the first is {path}", self.lost.count),
            None => message.to_owned(),
        };
        Record::new(kind, self.stored.label(), status, message)
            .field("id", &self.stored.id)
            .field("damaged_files", self.lost.count)
            .field("first_files", first)
    }
}

fn mend_index(store: &Store, part: Part) -> (Status, String) {
    let mended = store.repair_index(part).and_then(|()| store.index_trouble(part));
    match mended {
        Ok(left) if left.is_none() => (Status::Ok, "the index fits the packs".to_owned()),
        Ok(left) => (Status::Ineffective, format!("still: {}", described(&left))),
        Err(error) => (Status::Failed, error.to_string()),
    }
}

fn described(trouble: &IndexTrouble) -> String {
    format!(
        "{} packs that the index names are lost, {} that are there are not in it",
        trouble.lost.len(),
        trouble.unnamed.len()
    )
}

fn index_record(
    kind: Kind,
    store: &Store,
    part: Part,
    status: Status,
    message: &str,
    trouble: &IndexTrouble,
) -> Record {
    Record::new(kind, format!("{}/{}", store.storage().location(), part.directory()), status, message)
        .field("lost_packs", &trouble.lost)
        .field("unnamed_packs", trouble.unnamed.len())
}
