//! Where a cluster is restored to: the directory and its tablespaces.
//!
//! Everything that can be found wrong is found before anything is touched: the places, the backup's own label, control file
//! and tablespace map. What is in the way of a recovery in place is moved aside and kept.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use super::restore::{Places, Restored, directory, restore};
use crate::backup::{ClusterBackup, Tablespace};
use crate::cli::DestinationArgs;
use crate::cluster::control::{CONTROL_PATH, ControlFile};
use crate::cluster::walk::{DATA_TREE, TABLESPACE_TREE};
use crate::store::{Part, Store, Stored};
use crate::work::Work;

mod aside;
mod essentials;
mod server;
mod settings;
#[cfg(test)]
mod tests;

use essentials::Essentials;
pub use server::running_in;
pub use settings::{Setting, line, recovery_settings};

/// What shows that a directory is a data directory, however damaged.
const MARKS: [&str; 4] = ["PG_VERSION", "global", "base", "pg_wal"];

/// Where the parts of a cluster go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The data directory.
    pub pgdata: PathBuf,
    /// Tablespaces, by oid.
    pub tablespaces: BTreeMap<u32, PathBuf>,
    /// A stopped cluster whose place this is; its files are moved aside.
    pub in_place: bool,
}

impl Destination {
    /// Where the command line says.
    ///
    /// # Errors
    /// A mapping that cannot be read or names no tablespace, two tablespaces in one place, or one inside of the data
    /// directory.
    pub fn new(args: &DestinationArgs, backup: &ClusterBackup) -> Result<Self, Failure> {
        let (pgdata, in_place) = match (&args.target_dir, &args.in_place) {
            (Some(directory), None) => (directory, false),
            (None, Some(directory)) => (directory, true),
            _ => return Err(Failure::usage("give --target-dir or --in-place")),
        };
        let tablespaces = mapped(&args.tablespace_map, &backup.tablespaces)?;
        let destination = Destination { pgdata: resolved(pgdata)?, tablespaces, in_place };
        destination.check_apart()?;
        Ok(destination)
    }

    fn check_apart(&self) -> Result<(), Failure> {
        let mut others: Vec<(PathBuf, &Path)> = Vec::new();
        for place in self.tablespaces.values() {
            let real = resolved(place)?;
            if real.starts_with(&self.pgdata) || self.pgdata.starts_with(&real) {
                return Err(Failure::usage(format!(
                    "tablespace {} and data directory {} must not lie in each other",
                    place.display(),
                    self.pgdata.display()
                )));
            }
            let near = others.iter().find(|(other, _)| other.starts_with(&real) || real.starts_with(other));
            if let Some((_, other)) = near {
                let (one, two) = (other.display(), place.display());
                return Err(Failure::usage(format!("two tablespaces would lie in each other: {one} and {two}"))
                    .hint("give each a place of its own with --tablespace-map OLD=NEW"));
            }
            others.push((real, place));
        }
        Ok(())
    }

    /// Looks whether the places can be restored into; changes nothing.
    ///
    /// # Errors
    /// A directory that is not empty, a server that runs, or a cluster that is another one.
    pub fn check(&self, backup: &ClusterBackup) -> Result<(), Failure> {
        if self.in_place {
            self.check_stopped(backup)?;
        } else {
            empty_or_absent(&self.pgdata, false)?;
        }
        for (oid, place) in &self.tablespaces {
            // In place, what the tablespace has now is moved aside with its cluster.
            let was = backup.tablespaces.iter().any(|was| was.oid == *oid && Path::new(&was.location) == place);
            if !(self.in_place && was) {
                empty_or_absent(place, true)?;
            }
        }
        Ok(())
    }

    fn check_stopped(&self, backup: &ClusterBackup) -> Result<(), Failure> {
        let here = self.pgdata.display();
        if let Some(pid) = running_in(&self.pgdata) {
            return Err(Failure::usage(format!("a server runs in {here} (process {pid})"))
                .hint("stop it first; or remove its postmaster.pid, when no server uses these files any more"));
        }
        match ControlFile::read(&self.pgdata) {
            Ok(found) if found.control.system_identifier == backup.system_identifier => Ok(()),
            Ok(found) => Err(Failure::usage(format!(
                "{here} holds cluster {}, but {} is a backup of cluster {}",
                found.control.system_identifier, backup.label, backup.system_identifier
            ))),
            // A cluster so damaged that it has no control file is what recoveries are for.
            Err(_) if MARKS.iter().any(|mark| self.pgdata.join(mark).exists()) => Ok(()),
            Err(_) => empty_or_absent(&self.pgdata, true)
                .map_err(|failure| failure.hint(format!("{here} is no data directory, so nothing in it is moved"))),
        }
    }
}

/// The path with every link in it followed, as far as it is there.
fn resolved(path: &Path) -> Result<PathBuf, Failure> {
    let bad = |why: String| Failure::usage(format!("cannot tell where {} is: {why}", path.display()));
    let whole = std::path::absolute(path).map_err(|error| bad(error.to_string()))?;
    for there in whole.ancestors() {
        match fs::canonicalize(there) {
            Ok(real) => {
                let rest = whole.strip_prefix(there).unwrap_or(Path::new(""));
                if rest.components().any(|part| part == Component::ParentDir) {
                    return Err(bad("it goes up from a directory that is not there".to_owned()));
                }
                // A link to nowhere is not there either, and must not be taken for a name that is free.
                let next = rest.components().next().map(|name| real.join(name));
                if next.is_some_and(|next| fs::symlink_metadata(next).is_ok()) {
                    return Err(bad("a link on the way leads nowhere".to_owned()));
                }
                return Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(bad(error.to_string())),
        }
    }
    Ok(whole)
}

/// An empty directory, or none yet. The `lost+found` of a file system may be in a tablespace, but not in a data directory.
fn empty_or_absent(directory: &Path, tablespace: bool) -> Result<(), Failure> {
    let cannot = |error| Failure::usage(format!("cannot look into {}: {error}", directory.display()));
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot(error)),
    };
    for entry in entries {
        let name = entry.map_err(cannot)?.file_name();
        if !(tablespace && name == "lost+found") {
            return Err(Failure::usage(format!("{} is not empty", directory.display()))
                .hint("restore into an empty directory; nothing that is there is ever overwritten"));
        }
    }
    Ok(())
}

fn mapped(map: &[String], tablespaces: &[Tablespace]) -> Result<BTreeMap<u32, PathBuf>, Failure> {
    let mut places: BTreeMap<u32, PathBuf> =
        tablespaces.iter().map(|tablespace| (tablespace.oid, PathBuf::from(&tablespace.location))).collect();
    for entry in map {
        let pair = entry.split_once('=').filter(|(old, new)| !old.is_empty() && new.starts_with('/'));
        let (old, new) = pair.ok_or_else(|| {
            Failure::usage(format!("--tablespace-map {entry}: write OLD=NEW with an absolute path after the sign"))
        })?;
        let named: Vec<u32> = tablespaces
            .iter()
            .filter(|tablespace| tablespace.location == old || tablespace.oid.to_string() == old)
            .map(|tablespace| tablespace.oid)
            .collect();
        if named.is_empty() {
            let known: Vec<&str> = tablespaces.iter().map(|tablespace| tablespace.location.as_str()).collect();
            let failure = Failure::usage(format!("--tablespace-map {entry}: the backup has no tablespace in {old}"));
            let known = if known.is_empty() { "none at all".to_owned() } else { known.join(", ") };
            return Err(failure.hint(format!("it has: {known}")));
        }
        for oid in named {
            places.insert(oid, PathBuf::from(new));
        }
    }
    Ok(places)
}

/// A cluster's tree on its way to a destination.
struct ClusterPlaces<'a> {
    destination: &'a Destination,
    map: Option<Vec<u8>>,
}

impl Places for ClusterPlaces<'_> {
    fn place(&self, entry: &Path) -> Option<PathBuf> {
        if let Ok(inside) = entry.strip_prefix(DATA_TREE) {
            // It is put in place when everything else is.
            return (inside != Path::new(CONTROL_PATH)).then(|| self.destination.pgdata.join(inside));
        }
        let inside = entry.strip_prefix(TABLESPACE_TREE).ok()?;
        let oid = inside.iter().next()?.to_str()?.parse::<u32>().ok()?;
        let rest: PathBuf = inside.iter().skip(1).collect();
        Some(self.destination.tablespaces.get(&oid)?.join(rest))
    }

    fn content(&self, entry: &Path) -> Option<Vec<u8>> {
        if entry == essentials::map_entry() { self.map.clone() } else { None }
    }

    fn link(&self, entry: &Path, stored: &Path) -> Result<PathBuf, String> {
        let links = Path::new(DATA_TREE).join("pg_tblspc");
        let oid = entry.strip_prefix(links).ok().and_then(Path::to_str).and_then(|oid| oid.parse::<u32>().ok());
        // Any other would lead a server to files that are not of this copy.
        oid.and_then(|oid| self.destination.tablespaces.get(&oid).cloned())
            .ok_or_else(|| format!("it is a link to {}, and no tablespace of this backup", stored.display()))
    }

    fn is_cluster(&self) -> bool {
        true
    }
}

/// Restores a backup to its destination, with the settings of its recovery. Until this returns, no server can be started
/// from the directory.
///
/// # Errors
/// The repository cannot be read, or not everything could be written; what was written is left for a look.
pub fn put(
    work: &Work<'_>,
    store: &Store,
    stored: &Stored,
    destination: &Destination,
    settings: &[Setting],
) -> Result<Restored, Failure> {
    let reader = store.reader(Part::Clusters)?;
    let essentials = Essentials::read(&reader, stored)?;
    let map = essentials.map_for(&destination.tablespaces)?;
    let data = &destination.pgdata;
    let mut moved = Vec::new();
    if destination.in_place {
        let tablespaces = destination.tablespaces.values().map(PathBuf::as_path).collect();
        moved = aside::make(&aside::Room { pgdata: data, tablespaces, major: essentials.major }, Timestamp::now())?;
    }
    for aside::Moved { from, to } in &moved {
        let inside = if to.starts_with(from) { ", and comes into backups as well" } else { "" };
        let message = format!("moved aside to {}; it is kept until you remove it{inside}", to.display());
        work.run.emit(&Record::new(Kind::Step, from.display().to_string(), Status::Ok, message));
    }
    let done = fill(work, &reader, stored, &essentials, destination, map, settings);
    done.map_err(|mut failure| {
        let mut hint = format!("{} has no control file, so no server starts from it", data.display());
        if let Some(aside::Moved { to, .. }) = moved.first() {
            hint.push_str(&format!("; what was there before is in {}", to.display()));
        }
        failure.hint = Some(failure.hint.map_or_else(|| hint.clone(), |said| format!("{said}; {hint}")));
        failure
    })
}

/// Writes everything, and the control file last.
fn fill(
    work: &Work<'_>,
    reader: &crate::store::Reader,
    stored: &Stored,
    essentials: &Essentials,
    destination: &Destination,
    map: Option<Vec<u8>>,
    settings: &[Setting],
) -> Result<Restored, Failure> {
    let data = &destination.pgdata;
    let mut disks = Vec::new();
    for place in std::iter::once(data).chain(destination.tablespaces.values()) {
        // Opened before anything is written, so that no error of the disk goes unseen in between.
        let opened = directory(place).and_then(|()| File::open(place));
        disks.push(opened.map_err(|error| Failure::critical(format!("cannot make {}: {error}", place.display())))?);
    }
    let mut restored = restore(reader, stored.tree, &ClusterPlaces { destination, map }, &work.cancel)?;
    if let Some(exit) = work.cancel.exit() {
        return Err(Failure::new(exit, format!("interrupted; {} is not whole", data.display())));
    }
    if restored.failed > 0 {
        return Err(Failure::critical(format!("not everything could be restored: {}", restored.trouble())));
    }
    settings::configure(data, settings)?;
    if !destination.in_place {
        restored.notes.extend(settings::complete(data, &essentials.required)?);
    }
    for disk in &disks {
        rustix::fs::syncfs(disk)
            .map_err(|error| Failure::critical(format!("cannot sync {}: {error}", data.display())))?;
    }
    settings::write_like(data, &data.join(CONTROL_PATH), &essentials.control)?;
    Ok(restored)
}
