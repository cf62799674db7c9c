//! Where a cluster is restored to: the directory and its tablespaces, and the settings with which the server recovers.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use maint_core::durable;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::{Exit, Status};
use rustix::fs::{Gid, Uid};

use super::restore::{Places, Restored, restore, sync};
use crate::backup::{ClusterBackup, Tablespace};
use crate::cli::DestinationArgs;
use crate::cluster::control::{CONTROL_PATH, Control, ControlFile};
use crate::cluster::label::{LABEL_NAME, MAP_NAME};
use crate::cluster::walk::{DATA_TREE, TABLESPACE_TREE};
use crate::store::{Part, Store, Stored};
use crate::work::Work;

/// The file in which a server keeps settings that were made by command.
const AUTO_CONF: &str = "postgresql.auto.conf";
/// Settings of a recovery: those of an earlier one must not survive in a restored directory.
const RECOVERY_SETTINGS: [&str; 11] = [
    "restore_command",
    "recovery_target",
    "recovery_target_time",
    "recovery_target_lsn",
    "recovery_target_xid",
    "recovery_target_name",
    "recovery_target_inclusive",
    "recovery_target_timeline",
    "recovery_target_action",
    "recovery_end_command",
    "archive_cleanup_command",
];

/// Where the parts of a cluster go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The data directory.
    pub pgdata: PathBuf,
    /// Tablespaces, by oid.
    pub tablespaces: BTreeMap<u32, PathBuf>,
    /// A running or stopped cluster whose place this is; its files are moved aside.
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
        let pgdata = std::path::absolute(pgdata)
            .map_err(|error| Failure::usage(format!("cannot tell where {} is: {error}", pgdata.display())))?;
        let tablespaces = mapped(&args.tablespace_map, &backup.tablespaces)?;
        let destination = Destination { pgdata, tablespaces, in_place };
        destination.check_apart()?;
        Ok(destination)
    }

    fn check_apart(&self) -> Result<(), Failure> {
        let all: Vec<&PathBuf> = self.tablespaces.values().collect();
        for (index, place) in all.iter().enumerate() {
            if place.starts_with(&self.pgdata) || self.pgdata.starts_with(place) {
                return Err(Failure::usage(format!(
                    "tablespace {} and data directory {} must not lie in each other",
                    place.display(),
                    self.pgdata.display()
                )));
            }
            if all.iter().skip(index + 1).any(|other| other.starts_with(place) || place.starts_with(other)) {
                return Err(Failure::usage(format!("two tablespaces would share {}", place.display()))
                    .hint("give each a place of its own with --tablespace-map OLD=NEW"));
            }
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
            empty_or_absent(&self.pgdata)?;
            self.tablespaces.values().try_for_each(|place| empty_or_absent(place))?;
        }
        Ok(())
    }

    fn check_stopped(&self, backup: &ClusterBackup) -> Result<(), Failure> {
        let pid = fs::read_to_string(self.pgdata.join("postmaster.pid")).unwrap_or_default();
        let pid = pid.lines().next().and_then(|line| line.trim().parse::<u32>().ok());
        if let Some(pid) = pid.filter(|pid| fs::exists(format!("/proc/{pid}")).unwrap_or(true)) {
            return Err(Failure::usage(format!("a server runs in {} (process {pid})", self.pgdata.display()))
                .hint("stop it first; nothing was changed"));
        }
        match ControlFile::read(&self.pgdata) {
            Ok(ControlFile { control: Control { system_identifier, .. }, .. })
                if system_identifier != backup.system_identifier =>
            {
                Err(Failure::usage(format!(
                    "{} holds cluster {system_identifier}, but {} is a backup of cluster {}",
                    self.pgdata.display(),
                    backup.label,
                    backup.system_identifier
                )))
            }
            // A cluster so damaged that it has no control file is what recoveries are for.
            _ => Ok(()),
        }
    }

    /// Moves what is there aside; says where to.
    fn make_room(&self) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
        let mut moved = Vec::new();
        if !self.in_place {
            return Ok(moved);
        }
        let stamp = Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
        for place in std::iter::once(&self.pgdata).chain(self.tablespaces.values()) {
            if empty_or_absent(place).is_ok() {
                continue;
            }
            let mut name = place.as_os_str().to_owned();
            name.push(format!(".before-{stamp}"));
            let aside = PathBuf::from(name);
            fs::rename(place, &aside).map_err(|error| {
                let failed =
                    Failure::critical(format!("cannot move {} to {}: {error}", place.display(), aside.display()));
                match error.kind() {
                    ErrorKind::CrossesDevices | ErrorKind::ResourceBusy => {
                        failed.hint("it is a mount point: move what is in it aside, and restore with --target-dir")
                    }
                    _ => failed,
                }
            })?;
            moved.push((place.clone(), aside));
        }
        Ok(moved)
    }
}

/// An empty directory, or none yet.
fn empty_or_absent(directory: &Path) -> Result<(), Failure> {
    match fs::read_dir(directory) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Failure::usage(format!("{} is not empty", directory.display()))
                .hint("restore into an empty directory; nothing that is there is ever overwritten")),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::usage(format!("cannot look into {}: {error}", directory.display()))),
    }
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
            return Err(Failure::usage(format!("--tablespace-map {entry}: the backup has no tablespace in {old}"))
                .hint(format!("it has: {}", known.join(", "))));
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
        if entry == Path::new(DATA_TREE).join(MAP_NAME) { self.map.clone() } else { None }
    }

    fn link(&self, entry: &Path) -> Option<PathBuf> {
        let oid = entry.strip_prefix(Path::new(DATA_TREE).join("pg_tblspc")).ok()?.to_str()?.parse::<u32>().ok()?;
        self.destination.tablespaces.get(&oid).cloned()
    }
}

/// The tablespace map that a server reads when it begins to recover: an oid, a space and the place, a line each.
fn tablespace_map(tablespaces: &BTreeMap<u32, PathBuf>) -> Option<Vec<u8>> {
    let line = |(oid, place): (&u32, &PathBuf)| {
        let place = place.display().to_string().replace('\\', "\\\\").replace('\n', "\\\n");
        format!("{oid} {place}\n")
    };
    (!tablespaces.is_empty()).then(|| tablespaces.iter().map(line).collect::<String>().into_bytes())
}

/// A setting for a restored cluster.
pub type Setting = (&'static str, String);

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
    for (place, aside) in destination.make_room()? {
        let message = format!("moved aside to {}; it is kept", aside.display());
        work.run.emit(&Record::new(Kind::Step, place.display().to_string(), Status::Ok, message));
    }
    let reader = store.reader(Part::Clusters)?;
    let data = &destination.pgdata;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(|error| Failure::critical(format!("cannot create {}: {error}", data.display())))?;
    let places = ClusterPlaces { destination, map: tablespace_map(&destination.tablespaces) };
    let restored = restore(&reader, stored.tree, &places, &work.cancel)?;
    if let Some(exit) = work.cancel.exit() {
        return Err(Failure::new(exit, format!("interrupted; {} is not whole and cannot be started", data.display())));
    }
    if restored.failed > 0 {
        let more = restored.failed - restored.errors.len() as u64;
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        return Err(Failure::critical(format!(
            "not everything could be restored: {}{more}",
            restored.errors.join("; ")
        ))
        .hint(format!("{} has no control file, so no server starts from it", data.display())));
    }
    if reader.file(stored.tree, &Path::new(DATA_TREE).join(LABEL_NAME))?.is_none_or(|label| label.is_empty()) {
        return Err(Failure::critical(format!("{} has no backup label", stored.label()))
            .hint("without one a server would take a copy of a running cluster for a crashed one"));
    }
    configure(data, settings)?;
    for place in std::iter::once(data).chain(destination.tablespaces.values()) {
        sync(place).map_err(|error| Failure::critical(format!("cannot sync {}: {error}", place.display())))?;
    }
    let control = reader.file(stored.tree, &Path::new(DATA_TREE).join(CONTROL_PATH))?;
    let control = control.ok_or_else(|| Failure::critical(format!("{} has no control file", stored.label())))?;
    write_like(data, &data.join(CONTROL_PATH), &control)?;
    Ok(restored)
}

/// Writes a file durably, of the directory's owner.
fn write_like(like: &Path, path: &Path, content: &[u8]) -> Result<(), Failure> {
    durable::replace(path, content, 0o600).map_err(|error| Failure::critical(error.to_string()))?;
    if rustix::process::geteuid().is_root() {
        let owner = fs::metadata(like).map_err(|error| Failure::critical(error.to_string()))?;
        let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
        rustix::fs::chown(path, Some(uid), Some(gid))
            .map_err(|error| Failure::critical(format!("cannot give {} to its owner: {error}", path.display())))?;
    }
    Ok(())
}

/// Writes the settings of a recovery, and the file that tells the server to recover.
fn configure(data: &Path, settings: &[Setting]) -> Result<(), Failure> {
    let auto = data.join(AUTO_CONF);
    let before = match fs::read_to_string(&auto) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::critical(format!("cannot read {}: {error}", auto.display()))),
    };
    write_like(data, &auto, edited(&before, settings).as_bytes())?;
    // A directory that was a standby's must not begin as one.
    let standby = data.join("standby.signal");
    if standby.exists() {
        fs::remove_file(&standby)
            .map_err(|error| Failure::critical(format!("cannot remove {}: {error}", standby.display())))?;
    }
    write_like(data, &data.join("recovery.signal"), b"")?;
    let wal = data.join("pg_wal");
    if !wal.is_dir() {
        fs::create_dir(&wal).map_err(|error| Failure::critical(format!("cannot create {}: {error}", wal.display())))?;
    }
    let _ = fs::set_permissions(data, fs::Permissions::from_mode(0o700));
    Ok(())
}

/// The settings file without what an earlier recovery left, and with what this one needs. The last line of a name counts.
fn edited(before: &str, settings: &[Setting]) -> String {
    let name = |line: &str| line.trim_start().split(['=', ' ', '\t']).next().unwrap_or_default().to_lowercase();
    let stale = |line: &&str| {
        let name = name(line);
        RECOVERY_SETTINGS.contains(&name.as_str()) || settings.iter().any(|(known, _)| *known == name)
    };
    let kept = before.lines().filter(|line| !stale(line)).map(str::to_owned);
    let mut lines: Vec<String> = kept.chain(settings.iter().map(line)).collect();
    lines.push(String::new());
    lines.join("\n")
}

/// A setting as a line of a configuration file.
pub fn line((name, value): &Setting) -> String {
    format!("{name} = '{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// The settings with which a server recovers: where it gets its log, to which point, and whether it may archive.
///
/// # Errors
/// There is no configuration that the server's own calls of this program could read.
pub fn recovery_settings(work: &Work<'_>, target: Vec<Setting>, archives: bool) -> Result<Vec<Setting>, Failure> {
    let mut settings = vec![("restore_command", work.own_command("wal-fetch %f %p")?)];
    settings.extend(target);
    if !archives {
        settings.push(("archive_mode", "off".to_owned()));
    }
    Ok(settings)
}

/// Refuses with exit 3: nothing was touched.
pub fn refused(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Unknown, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::sample;

    fn tablespace(oid: u32, location: &str) -> Tablespace {
        Tablespace { oid, location: location.into() }
    }

    fn destination(map: &[&str], tablespaces: Vec<Tablespace>) -> Result<Destination, Failure> {
        let args = DestinationArgs {
            target_dir: Some("/srv/new".into()),
            in_place: None,
            tablespace_map: map.iter().map(|entry| (*entry).to_owned()).collect(),
            start: false,
        };
        Destination::new(&args, &ClusterBackup { tablespaces, ..sample() })
    }

    #[test]
    fn a_tablespace_stays_where_it_was_unless_it_is_mapped() {
        let all = || vec![tablespace(1, "/a"), tablespace(2, "/b")];
        let found = destination(&["/b=/c"], all()).unwrap();
        assert_eq!(found.tablespaces, BTreeMap::from([(1, "/a".into()), (2, "/c".into())]));
        assert!(destination(&["/x=/c"], all()).unwrap_err().message.contains("no tablespace in /x"));
        assert!(destination(&["/b=c"], all()).is_err());
    }

    #[test]
    fn two_things_never_go_into_one_place() {
        let all = || vec![tablespace(1, "/a"), tablespace(2, "/b")];
        assert!(destination(&["/b=/a"], all()).is_err());
        assert!(destination(&["/b=/a/below"], all()).is_err());
        assert!(destination(&["/b=/srv/new/base"], all()).is_err());
        assert!(destination(&["/b=/srv"], all()).is_err());
    }

    #[test]
    fn every_part_of_the_tree_has_its_place_and_the_control_file_waits() {
        let destination = destination(&["/b=/c"], vec![tablespace(2, "/b")]).unwrap();
        let places = ClusterPlaces { destination: &destination, map: None };
        let place = |entry: &str| places.place(Path::new(entry)).map(|path| path.display().to_string());
        assert_eq!(place("pgdata").as_deref(), Some("/srv/new/"));
        assert_eq!(place("pgdata/base/1/2").as_deref(), Some("/srv/new/base/1/2"));
        assert_eq!(place("pgdata/global/pg_control"), None);
        assert_eq!(place("tablespaces"), None);
        assert_eq!(place("tablespaces/2/PG_15_1/3").as_deref(), Some("/c/PG_15_1/3"));
        assert_eq!(place("tablespaces/9/x"), None);
        assert_eq!(places.link(Path::new("pgdata/pg_tblspc/2")), Some("/c".into()));
    }

    #[test]
    fn settings_of_an_earlier_recovery_do_not_survive() {
        let before = "# by hand\nport = '5433'\nrecovery_target_name = 'old'\nrestore_command='x'\narchive_mode = on\n";
        let after = edited(before, &[("restore_command", r"'a' \ b".to_owned()), ("archive_mode", "off".to_owned())]);
        assert_eq!(after, "# by hand\nport = '5433'\nrestore_command = '''a'' \\\\ b'\narchive_mode = 'off'\n");
    }

    #[test]
    fn a_directory_with_something_in_it_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        empty_or_absent(directory.path()).unwrap();
        empty_or_absent(&directory.path().join("none")).unwrap();
        fs::write(directory.path().join("x"), "").unwrap();
        assert!(empty_or_absent(directory.path()).unwrap_err().message.contains("not empty"));
    }
}
