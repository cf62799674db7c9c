//! `validate-backups`: that everything that is stored is there, whole, and belongs together.
//!
//! Two questions are asked of a repository. Are the bytes of every object what they were when it was written? And does every
//! backup have all that it is made of, the write-ahead log included? The first one costs reading everything, so what was
//! read is remembered and not read again for a while; the second one is asked anew whenever anything was added or removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_count, format_seconds};
use serde_json::Value;

use crate::backup::ClusterBackup;
use crate::cli::{SECTION, ValidateArgs};
use crate::prune;
use crate::storage::Object;
use crate::store::{Part, Store, StoreError};
use crate::trust::forecast;
use crate::trust::ledger::{self, KnownBackup, Ledger, Outcome, Page, Seen, Whole};
use crate::trust::logs;
use crate::trust::objects::{self, Verdict};
use crate::trust::structure::{self, Snapshot, Structure};
use crate::trust::vanished;
use crate::wal::archive::{self, Archive, ArchiveError};
use crate::wal::name::WalName;
use crate::work::Work;

mod wal;

/// How many problems are kept as examples with the outcome.
const EXAMPLES: usize = 5;

/// Verifies what is stored, and remembers what was verified.
///
/// # Errors
/// The repository cannot be opened or listed, or a backup that was named is not there.
pub fn run(args: &ValidateArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let store = work.store()?;
    work.subject = store.storage().location();
    let now = Timestamp::now();
    let ledger = Ledger::load(&store)?;
    let objects = store.storage().list("")?;
    let mut look = Look::new(work, &store, &ledger, &objects, args, now);
    look.unreadable_pages();
    let mut parts = Vec::new();
    for part in Part::ALL {
        parts.push((part, look.snapshots(part)?));
    }
    let only = named(&args.backups, &parts)?;
    if only.is_empty() {
        look.vanished(&parts);
    }
    look.passwords();
    let clusters = clusters(&parts, &only);
    let archived = look.archived();
    look.logs(&clusters, &archived);
    if only.is_empty() {
        look.gaps(&clusters, &archived);
    }
    let scope = look.scope(&parts, &only, &clusters, &archived)?;
    let damaged = look.bytes(scope.as_ref(), &archived, &clusters);
    for (part, snapshots) in &parts {
        look.trees(*part, &chosen(snapshots, &only), &damaged, !only.is_empty());
    }
    let outcome = look.finish(only.is_empty());
    let page = look.page;
    keep(work, &store, ledger, Page { outcome, ..page });
    note_size(&store, now, &objects);
    Ok(())
}

/// The labels that were asked for, as they are written; empty for all.
fn named(wanted: &[String], parts: &[(Part, Vec<Snapshot>)]) -> Result<BTreeSet<String>, Failure> {
    let all = || parts.iter().flat_map(|(_, snapshots)| snapshots);
    let mut only = BTreeSet::new();
    for text in wanted {
        let is_it = |snapshot: &&Snapshot| {
            snapshot.known.label == *text || (text.len() >= 4 && snapshot.id.starts_with(text.as_str()))
        };
        let of_cluster = |snapshot: &&Snapshot| snapshot.counts && snapshot.cluster.is_some();
        let latest = || all().filter(of_cluster).max_by_key(|snapshot| snapshot.known.time);
        let found = all().find(is_it).or_else(|| if text == "latest" { latest() } else { None });
        let found = found.ok_or_else(|| StoreError::NoBackup(text.clone()))?;
        only.insert(found.known.label.clone());
    }
    Ok(only)
}

fn chosen<'a>(snapshots: &'a [Snapshot], only: &BTreeSet<String>) -> Vec<&'a Snapshot> {
    let wanted = |snapshot: &&Snapshot| {
        if only.is_empty() { snapshot.counts } else { only.contains(&snapshot.known.label) }
    };
    snapshots.iter().filter(wanted).collect()
}

fn clusters(parts: &[(Part, Vec<Snapshot>)], only: &BTreeSet<String>) -> Vec<ClusterBackup> {
    let all = parts.iter().flat_map(|(_, snapshots)| chosen(snapshots, only));
    all.filter_map(|snapshot| snapshot.cluster.clone()).collect()
}

fn keep(work: &Work<'_>, store: &Store, ledger: Ledger, page: Page) {
    if let Err(error) = ledger.keep(store, page) {
        let message = format!("what was verified could not be noted, so the next run reads it again: {error}");
        work.run.emit(&Record::new(Kind::Finding, "ledger", Status::Warning, message));
    }
}

/// Keeps the repository's size for the forecast. Only monitoring misses it where it cannot be written.
fn note_size(store: &Store, now: Timestamp, objects: &[Object]) {
    let bytes = objects.iter().map(|object| object.size).sum();
    let kept = forecast::kept(store).and_then(|known| {
        let space = store.storage().space()?;
        forecast::keep(store, &known, forecast::sample(now, bytes, space))
    });
    if let Err(error) = kept {
        tracing::info!("the repository's size was not noted: {error}");
    }
}

/// The kinds of objects, each of which is reported by itself.
fn area(key: &str) -> Option<&'static str> {
    let mut names = key.split('/');
    match (names.next()?, names.next()?) {
        ("pg", "data") => Some("clusters packs"),
        ("files", "data") => Some("files packs"),
        ("pg", _) => Some("clusters index and snapshots"),
        ("files", _) => Some("files index and snapshots"),
        ("wal", _) => Some("wal"),
        // The ledger's own pages were opened already.
        ("notes", kind) if kind != ledger::PREFIX => Some("notes"),
        _ => None,
    }
}

/// What was done about one area.
#[derive(Debug, Default)]
struct Counts {
    objects: u64,
    bytes: u64,
    read: u64,
    read_bytes: u64,
    left: u64,
    damaged: u64,
    unread: u64,
}

/// The archives of the repository, and what each holds.
type Archives = BTreeMap<u64, (Archive, Vec<archive::Archived>)>;

/// One run's look at the repository.
struct Look<'a> {
    run: &'a maint_core::run::Run,
    cancel: maint_core::cancel::Cancel,
    keep_days: u32,
    store: &'a Store,
    ledger: &'a Ledger,
    objects: &'a [Object],
    slice: Option<u64>,
    /// What was verified since this second is known.
    since: i64,
    now: Timestamp,
    page: Page,
    outcome: Outcome,
    left: bool,
    started: Instant,
}

impl<'a> Look<'a> {
    fn new(
        work: &Work<'a>,
        store: &'a Store,
        ledger: &'a Ledger,
        objects: &'a [Object],
        args: &ValidateArgs,
        now: Timestamp,
    ) -> Self {
        let older = i64::try_from(args.older_than.0.as_secs()).unwrap_or(i64::MAX);
        let gone = |key: &&String| objects.binary_search_by(|object| object.key.as_str().cmp(key.as_str())).is_err();
        let page = Page {
            at: now,
            complete_ledger: false,
            outcome: Outcome::default(),
            last_good: None,
            seen: BTreeMap::new(),
            forget: ledger.seen.keys().filter(gone).cloned().collect(),
            backups: None,
            whole: BTreeMap::new(),
        };
        Look {
            run: work.run,
            cancel: work.cancel.clone(),
            keep_days: work.settings.get(&SECTION, "keep_days").unwrap_or(30),
            store,
            ledger,
            objects,
            slice: args.slice.map(|size| size.0),
            since: if args.all { i64::MAX } else { now.as_second().saturating_sub(older) },
            now,
            page,
            outcome: Outcome::default(),
            left: false,
            started: Instant::now(),
        }
    }

    /// Reports something that is wrong, or that could not be told.
    fn problem(&mut self, status: Status, subject: &str, message: String, backups: &[String]) {
        if status == Status::Unknown {
            self.outcome.unknown += 1;
        } else if status != Status::Warning {
            self.outcome.problems += 1;
            if self.outcome.examples.len() < EXAMPLES {
                self.outcome.examples.push(format!("{subject}: {message}"));
            }
        }
        let record = Record::new(Kind::Finding, subject, status, message);
        self.run.emit(&if backups.is_empty() { record } else { record.field("backups", backups) });
    }

    fn unreadable_pages(&mut self) {
        for (key, why) in self.ledger.unreadable.clone() {
            let message = format!("a page of the ledger does not open, so what it said is verified again: {why}");
            self.problem(Status::Warning, &format!("notes/{key}"), message, &[]);
        }
    }

    /// Reads the snapshots of a part; those that cannot be read are reported.
    fn snapshots(&mut self, part: Part) -> Result<Vec<Snapshot>, Failure> {
        let found = structure::snapshots(self.store, part, self.objects)?;
        for (key, why) in found.unreadable {
            let status = self.status_of_unreadable(&key);
            self.problem(status, &key, format!("the backup that it describes cannot be restored: {why}"), &[]);
        }
        Ok(found.read)
    }

    /// Whether what cannot be read is damaged, or nobody can tell.
    fn status_of_unreadable(&self, key: &str) -> Status {
        let object = self.objects.iter().find(|object| object.key == key);
        match object.map(|object| objects::compare_with_name(self.store.storage().as_ref(), object)) {
            Some(Verdict::Unread(_)) => Status::Unknown,
            _ => Status::Critical,
        }
    }

    fn vanished(&mut self, parts: &[(Part, Vec<Snapshot>)]) {
        let days = SignedDuration::from_hours(i64::from(self.keep_days) * 24);
        let since = self.now.checked_sub(days).unwrap_or(Timestamp::MIN);
        let all = parts.iter().flat_map(|(_, snapshots)| snapshots).filter(|snapshot| snapshot.counts);
        let backups: Vec<_> = all.map(|snapshot| snapshot.known.clone()).collect();
        // A note that cannot be read excuses nothing; it is reported with the other objects.
        let expired = prune::expired(self.store).unwrap_or_default();
        let let_go = |known: &KnownBackup| {
            expired.iter().any(|expired| expired.at >= known.time && expired.trees.contains(&known.tree))
        };
        let before: Vec<_> = self.ledger.backups.iter().filter(|known| !let_go(known)).cloned().collect();
        for lost in vanished::lost(&before, &backups, since) {
            let (status, advice) = if lost.perhaps_on_purpose {
                (Status::Warning, "; unless it was removed on purpose, it is lost")
            } else {
                (Status::Critical, "")
            };
            let message = format!("it is not there any more, and {}{advice}", lost.why);
            self.problem(status, &lost.backup.label, message, std::slice::from_ref(&lost.backup.label));
        }
        self.page.backups = Some(backups);
        // Histories are kept for ever: they are how a way to any moment is found.
        let is_history = |key: &&String| key.starts_with("wal/") && key.ends_with(".history.wal");
        for key in self.page.forget.clone().iter().filter(is_history) {
            let what = wal_name(key).map(|name| logs::meaning(name, &[])).unwrap_or_default();
            self.problem(Status::Critical, key, format!("it is not there any more: {what}"), &[]);
        }
    }

    fn passwords(&mut self) {
        for part in Part::ALL {
            let prefix = format!("{}/keys/", part.directory());
            if !self.objects.iter().any(|object| object.key.starts_with(&prefix)) {
                let message =
                    "no password opens this part any more, only the cached master key does; `key add` gives it one";
                self.problem(Status::Critical, prefix.trim_end_matches('/'), message.to_owned(), &[]);
            }
        }
    }

    fn archived(&mut self) -> Archives {
        let systems: BTreeSet<u64> = self
            .objects
            .iter()
            .filter_map(|object| object.key.strip_prefix("wal/")?.split('/').next()?.parse().ok())
            .collect();
        let mut archives = Archives::new();
        for system in systems {
            let archive = Archive::new(Arc::clone(self.store.storage()), self.store.keys(), system);
            match archive.names() {
                Ok(names) => drop(archives.insert(system, (archive, names))),
                Err(error) => {
                    let message = format!("the archive cannot be listed: {error}");
                    self.problem(Status::Unknown, &format!("wal/{system}"), message, &[]);
                }
            }
        }
        archives
    }

    /// The keys that the named backups need; `None` for everything.
    fn scope(
        &mut self,
        parts: &[(Part, Vec<Snapshot>)],
        only: &BTreeSet<String>,
        clusters: &[ClusterBackup],
        archives: &Archives,
    ) -> Result<Option<BTreeSet<String>>, Failure> {
        if only.is_empty() {
            return Ok(None);
        }
        let mut keys = BTreeSet::new();
        for (part, snapshots) in parts {
            let backups = chosen(snapshots, only);
            if backups.is_empty() {
                continue;
            }
            let found = self.examine(*part, &backups, &BTreeMap::new(), true)?;
            keys.extend(found.needed);
            keys.extend(backups.iter().map(|backup| format!("{}/snapshots/{}", part.directory(), backup.id)));
            let index = format!("{}/index/", part.directory());
            keys.extend(self.objects.iter().filter(|object| object.key.starts_with(&index)).map(|o| o.key.clone()));
        }
        for backup in clusters {
            if let Some((archive, _)) = archives.get(&backup.system_identifier) {
                keys.extend(logs::needed(backup).into_iter().map(|segment| archive.key_of(WalName::Segment(segment))));
            }
        }
        Ok(Some(keys))
    }

    fn examine(
        &self,
        part: Part,
        backups: &[&Snapshot],
        damaged: &BTreeMap<String, String>,
        needed: bool,
    ) -> Result<Structure, StoreError> {
        structure::examine(self.store, part, self.objects, backups, damaged, needed, &self.cancel)
    }

    /// Reads what is due and reports an area at a time. Returns the packs that are damaged, by id, and why.
    fn bytes(
        &mut self,
        scope: Option<&BTreeSet<String>>,
        archives: &Archives,
        clusters: &[ClusterBackup],
    ) -> BTreeMap<String, String> {
        let verifiable = |object: &&Object| match area(&object.key) {
            Some(area) if area.ends_with("packs") || area.ends_with("snapshots") => {
                objects::is_named_by_hash(&object.key)
            }
            Some(_) => true,
            None => false,
        };
        let in_scope = |object: &&Object| scope.is_none_or(|keys| keys.contains(&object.key));
        let all: Vec<&Object> = self.objects.iter().filter(verifiable).filter(in_scope).collect();
        let selection = objects::select(all.iter().copied(), self.ledger, self.since, self.slice);
        let judge = |object: &&Object| judge(self.store, archives, object);
        let verdicts = objects::each(&selection.chosen, &self.cancel, judge);
        let mut counts: BTreeMap<&'static str, Counts> = BTreeMap::new();
        for object in &all {
            let counts = counts.entry(area(&object.key).unwrap_or_default()).or_default();
            counts.objects += 1;
            counts.bytes += object.size;
        }
        let mut damaged = BTreeMap::new();
        let chosen: BTreeSet<&str> = selection.chosen.iter().map(|object| object.key.as_str()).collect();
        for object in &all {
            let known = self.ledger.knows(&object.key, object.size, self.since);
            if !known && !chosen.contains(object.key.as_str()) {
                counts.entry(area(&object.key).unwrap_or_default()).or_default().left += 1;
            }
        }
        for (object, verdict) in selection.chosen.iter().zip(verdicts) {
            let counts = counts.entry(area(&object.key).unwrap_or_default()).or_default();
            let Some(verdict) = verdict else {
                counts.left += 1;
                continue;
            };
            counts.read += 1;
            counts.read_bytes += object.size;
            match verdict {
                Verdict::Right => {
                    let seen = Seen { bytes: object.size, second: self.now.as_second() };
                    self.page.seen.insert(object.key.clone(), seen);
                }
                Verdict::Gone => {}
                Verdict::Damaged(why) => {
                    counts.damaged += 1;
                    self.page.forget.push(object.key.clone());
                    let name = object.key.rsplit('/').next().unwrap_or_default();
                    damaged.insert(name.to_owned(), why.clone());
                    let what = wal_name(&object.key).map(|name| format!(": {}", logs::meaning(name, clusters)));
                    self.problem(Status::Critical, &object.key, format!("{why}{}", what.unwrap_or_default()), &[]);
                }
                Verdict::Unread(why) => {
                    counts.unread += 1;
                    self.problem(Status::Unknown, &object.key, why, &[]);
                }
            }
        }
        for (area, counts) in &counts {
            self.left |= counts.left > 0;
            self.outcome.objects += counts.read;
            self.outcome.bytes += counts.read_bytes;
            self.report(area, counts);
        }
        damaged
    }

    fn report(&self, area: &str, counts: &Counts) {
        let interrupted = self.cancel.is_cancelled() && counts.left > 0;
        let (status, what) = match counts {
            Counts { damaged: 1.., .. } => (Status::Critical, format!("{} damaged; ", counts.damaged)),
            Counts { unread: 1.., .. } => (Status::Unknown, format!("{} could not be read; ", counts.unread)),
            _ if interrupted => (Status::Left, "interrupted; ".to_owned()),
            _ => (Status::Ok, String::new()),
        };
        let left = if counts.left > 0 { format!(", {} left for a later run", counts.left) } else { String::new() };
        let known = counts.objects - counts.read - counts.left;
        let message = format!(
            "{what}{} of {} objects read ({}), {} verified before{left}",
            format_count(counts.read),
            format_count(counts.objects),
            format_bytes(counts.read_bytes),
            format_count(known),
        );
        let check = Record::new(Kind::Check, area, status, message)
            .field("value", counts.damaged + counts.unread)
            .field("objects", counts.objects)
            .field("size_bytes", counts.bytes)
            .field("read_objects", counts.read)
            .field("read_bytes", counts.read_bytes)
            .field("known_objects", known)
            .field("left_objects", counts.left)
            .field("damaged_objects", counts.damaged)
            .field("unread_objects", counts.unread);
        self.run.emit(&check);
    }

    /// Whether the backups of a part have all that they are made of, unless that is known.
    fn trees(&mut self, part: Part, backups: &[&Snapshot], damaged: &BTreeMap<String, String>, only: bool) {
        let subject = if part == Part::Clusters { "clusters trees" } else { "files trees" };
        if only && backups.is_empty() {
            return;
        }
        let listing = structure::listing(part, self.objects);
        let known = self.ledger.whole.get(part.directory());
        let prefix = format!("{}/data/", part.directory());
        let of_part = |id: &&String| {
            let key = format!("{prefix}{}/{id}", id.get(..2).unwrap_or_default());
            self.objects.binary_search_by(|object| object.key.as_str().cmp(&key)).is_ok()
        };
        let damaged: BTreeMap<String, String> =
            damaged.iter().filter(|(id, _)| of_part(id)).map(|(id, why)| (id.clone(), why.clone())).collect();
        if let Some(known) = known.filter(|known| known.listing == listing && known.second >= self.since)
            && damaged.is_empty()
        {
            let at = Timestamp::from_second(known.second).unwrap_or_default();
            let message =
                format!("nothing was added or removed since {} backups were found whole at {at}", backups.len());
            self.run.emit(&Record::new(Kind::Check, subject, Status::Ok, message).field("value", 0));
            return;
        }
        let labels = || backups.iter().map(|backup| backup.known.label.clone()).collect::<Vec<_>>();
        let found = match self.examine(part, backups, &damaged, false) {
            Ok(found) => found,
            Err(error) => {
                let index = format!("{}/index/", part.directory());
                let index = self.objects.iter().filter(|object| object.key.starts_with(&index));
                let unread = index.map(|object| self.status_of_unreadable(&object.key)).any(|s| s == Status::Unknown);
                let status = if unread { Status::Unknown } else { Status::Critical };
                let message = format!("the index cannot be read, and without it no backup can be restored: {error}");
                self.problem(status, subject, message.clone(), &labels());
                self.run.emit(&Record::new(Kind::Check, subject, status, message));
                return;
            }
        };
        for (id, why) in found.bad_packs.iter().filter(|(id, _)| !damaged.contains_key(*id)) {
            let hurt: Vec<String> = found.hurt.keys().cloned().collect();
            let who =
                if hurt.is_empty() { "no backup needs it".to_owned() } else { format!("hurt: {}", hurt.join(", ")) };
            let status = if hurt.is_empty() { Status::Warning } else { Status::Critical };
            self.problem(status, &format!("pack {id}"), format!("{why}; {who}"), &hurt);
        }
        for (label, hurt) in &found.hurt {
            let first = hurt.first.as_ref().map(|(path, why)| format!("{}: {why}", path.display())).unwrap_or_default();
            let message =
                format!("{} files or directories of it cannot be restored; the first is {first}", hurt.places);
            self.problem(Status::Critical, label, message, std::slice::from_ref(label));
        }
        let (status, message) = if !found.hurt.is_empty() {
            (Status::Critical, format!("{} of {} backups lost data", found.hurt.len(), backups.len()))
        } else if !found.complete {
            self.left = true;
            (Status::Left, "interrupted".to_owned())
        } else {
            (Status::Ok, format!("{} backups have all {} packs that the index names", backups.len(), found.packs))
        };
        let good = status == Status::Ok && found.bad_packs.is_empty();
        if !only {
            let listing = if good { listing } else { String::new() };
            let whole = Whole { listing, second: self.now.as_second() };
            self.page.whole.insert(part.directory().to_owned(), whole);
        }
        let check = Record::new(Kind::Check, subject, status, message).field("value", found.hurt.len());
        self.run.emit(&check.field("backups", backups.len()).field("packs", found.packs));
    }

    fn finish(&mut self, everything: bool) -> Outcome {
        self.outcome.complete = everything && !self.left && !self.cancel.is_cancelled();
        let seconds = self.started.elapsed().as_secs_f64();
        let read = format_bytes(self.outcome.bytes);
        let message = format!("{} objects, {read} read in {}", self.outcome.objects, format_seconds(seconds));
        let metric = Record::new(Kind::Metric, "read", Status::Ok, message)
            .field("read_objects", self.outcome.objects)
            .field("read_bytes", self.outcome.bytes)
            .field("duration_seconds", seconds)
            .field("complete", self.outcome.complete);
        self.run.emit(&metric);
        self.outcome.clone()
    }
}

/// The archived file that a key names.
fn wal_name(key: &str) -> Option<WalName> {
    key.starts_with("wal/").then(|| key.rsplit('/').next()?.strip_suffix(".wal")?.parse().ok()).flatten()
}

/// Reads one object and says whether it is right, by what it is.
fn judge(store: &Store, archives: &Archives, object: &Object) -> Verdict {
    if let Some(note) = object.key.strip_prefix("notes/") {
        return match store.note::<Value>(note) {
            Ok(_) => Verdict::Right,
            Err(StoreError::Storage(error)) => Verdict::of_error(&error),
            Err(error) => Verdict::Damaged(error.to_string()),
        };
    }
    let Some(rest) = object.key.strip_prefix("wal/") else {
        return objects::compare_with_name(store.storage().as_ref(), object);
    };
    let archive = rest.split('/').next().and_then(|system| archives.get(&system.parse().ok()?));
    let done = match (archive, wal_name(&object.key)) {
        (Some((archive, _)), Some(name)) if archive.key_of(name) == object.key => archive.fetch(name).map(drop),
        _ if !rest.contains('/') => archive::owner(store.storage().as_ref(), store.keys()).map(drop),
        _ => return Verdict::Damaged("it is no archived file, or was moved".to_owned()),
    };
    match done {
        Ok(()) => Verdict::Right,
        Err(ArchiveError::Absent { .. }) => Verdict::Gone,
        Err(ArchiveError::Storage(error)) => Verdict::of_error(&error),
        Err(error) => Verdict::Damaged(error.to_string()),
    }
}
