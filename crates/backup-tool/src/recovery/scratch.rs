//! Scratch clusters: a backup restored into a private directory and recovered by a server of its own, for a look or for one
//! table, and gone afterwards.
//!
//! Such a server must not be able to do anything to the world: no address but a socket in a directory of its own (0700), no
//! archiving, no replication, none of the settings of the cluster it is a copy of. So it runs with a configuration that is
//! written from nothing, and only takes over what replay demands.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use maint_core::durable;
use maint_core::failure::Failure;
use maint_core::pg::connect::{Session, SessionSettings};
use maint_core::pg::dsn::Target;
use maint_core::pg::error::Error;
use rustix::fs::{Gid, Uid};
use rustix::process::{Pid, Signal, kill_process};

use super::place::{Destination, Setting, line, put};
use super::programs;
use super::restore::Restored;
use crate::TOOL;
use crate::backup::ClusterBackup;
use crate::cli::SECTION;
use crate::store::{Store, Stored};
use crate::work::Work;

mod sweep;

pub use sweep::sweep;

/// Beginning of the names of scratch directories.
const PREFIX: &str = "backup-tool-scratch-";
/// The file that says whose a scratch directory is.
const NOTE: &str = "owner";
/// How long a server may take to stop before it is killed.
const STOPPING: Duration = Duration::from_secs(60);

/// What is to be recovered into a scratch cluster.
#[derive(Debug)]
pub struct ScratchSpec<'a> {
    /// The repository.
    pub store: &'a Store,
    /// The backup's snapshot.
    pub stored: &'a Stored,
    /// The backup.
    pub backup: &'a ClusterBackup,
    /// To which point, as settings of the server.
    pub target: Vec<Setting>,
    /// The directory to make it in; the system's temporary one when not set.
    pub under: Option<&'a Path>,
}

/// A recovered cluster of one's own. Dropping it stops its server and removes all of it.
#[derive(Debug)]
pub struct Scratch {
    directory: PathBuf,
    server: Option<Child>,
    major: i32,
    superuser: String,
    owner: Option<(u32, u32)>,
    /// What was restored.
    pub restored: Restored,
    /// How long restoring took.
    pub restoring: Duration,
    /// How long replay took, from the server's start until it was open.
    pub replaying: Duration,
}

impl Scratch {
    /// Restores and recovers.
    ///
    /// # Errors
    /// The backup cannot be restored whole, the server's programs are missing, or recovery fails: with what the server
    /// said.
    pub fn recover(work: &Work<'_>, spec: &ScratchSpec<'_>) -> Result<Self, Failure> {
        let under = spec.under.map_or_else(std::env::temp_dir, Path::to_owned);
        sweep(&under);
        let program = programs::find(&work.settings, "postgres", spec.backup.major())?;
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&under)
            .map_err(|error| Failure::critical(format!("cannot make a directory in {}: {error}", under.display())))?
            .keep();
        let mut scratch = Scratch {
            directory,
            server: None,
            major: spec.backup.major(),
            superuser: spec.backup.superuser.clone(),
            owner: None,
            restored: Restored::default(),
            restoring: Duration::ZERO,
            replaying: Duration::ZERO,
        };
        scratch.note()?;
        let begun = Instant::now();
        let tablespaces = |oid: u32| scratch.directory.join(format!("tablespace-{oid}"));
        let destination = Destination {
            pgdata: scratch.data(),
            tablespaces: spec.backup.tablespaces.iter().map(|t| (t.oid, tablespaces(t.oid))).collect(),
            in_place: false,
        };
        scratch.restored = put(work, spec.store, spec.stored, &destination, &[])?;
        scratch.restoring = begun.elapsed();
        scratch.configure(work, spec)?;
        let begun = Instant::now();
        scratch.start(&program)?;
        scratch.wait(work)?;
        scratch.replaying = begun.elapsed();
        Ok(scratch)
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Its directory, for files that are to go with it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The server's major version.
    pub fn major(&self) -> i32 {
        self.major
    }

    /// The account that its files belong to, when we are root and it is another: programs on its files must run as it.
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.owner
    }

    /// How to reach a database of it.
    ///
    /// # Errors
    /// The directory's name cannot be part of a connection string.
    pub fn target(&self, database: &str) -> Result<Target, Failure> {
        let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        let host = self.directory.display().to_string();
        let (host, user, database) = (quote(&host), quote(&self.superuser), quote(database));
        let dsn = format!("host={host} port=5432 user={user} dbname={database}");
        // Nothing of the environment's: it is about another server.
        Target::resolve(Some(&dsn), &|_| None).map_err(Failure::from)
    }

    /// Directory of its socket, for programs that are told by `PGHOST`.
    pub fn socket_directory(&self) -> &Path {
        &self.directory
    }

    /// The role that may do everything in it.
    pub fn superuser(&self) -> &str {
        &self.superuser
    }

    /// Says whose this directory is, so that a later run can remove it when we are killed.
    fn note(&self) -> Result<(), Failure> {
        let text = format!("{} {}\n", std::process::id(), sweep::boot_id());
        durable::replace_quickly(&self.directory.join(NOTE), text.as_bytes(), 0o600)
            .map_err(|error| Failure::critical(error.to_string()))
    }

    /// Writes a configuration from nothing.
    fn configure(&mut self, work: &Work<'_>, spec: &ScratchSpec<'_>) -> Result<(), Failure> {
        let data = self.data();
        let metadata = fs::metadata(&data).map_err(|error| Failure::critical(error.to_string()))?;
        if rustix::process::geteuid().is_root() {
            if metadata.uid() == 0 {
                return Err(Failure::usage("the cluster's files belong to root, and no server runs as root"));
            }
            self.owner = Some((metadata.uid(), metadata.gid()));
            self.give(&self.directory)?;
        }
        let path = |name: &str| self.directory.join(name).display().to_string();
        let required = spec.backup.required;
        let mut settings: Vec<Setting> = vec![
            ("data_directory", path("data")),
            ("hba_file", path("hba.conf")),
            ("ident_file", path("ident.conf")),
            ("listen_addresses", String::new()),
            ("port", "5432".to_owned()),
            ("unix_socket_directories", path("")),
            ("unix_socket_permissions", "0700".to_owned()),
            ("cluster_name", "backup-tool scratch".to_owned()),
            ("archive_mode", "off".to_owned()),
            // Nobody looks before it is open; and a server that lets people look pauses for ever when it comes upon a
            // setting that was raised after the backup.
            ("hot_standby", "off".to_owned()),
            ("autovacuum", "off".to_owned()),
            ("fsync", "off".to_owned()),
            ("dynamic_shared_memory_type", "mmap".to_owned()),
            ("lc_messages", "C".to_owned()),
            ("max_connections", required.max_connections.max(10).to_string()),
            ("max_worker_processes", required.max_worker_processes.to_string()),
            ("max_wal_senders", required.max_wal_senders.to_string()),
            ("max_prepared_transactions", required.max_prepared_transactions.to_string()),
            ("max_locks_per_transaction", required.max_locks_per_transaction.to_string()),
            ("restore_command", self.own_fetch(work)?),
        ];
        settings.extend(spec.target.iter().cloned());
        let text: String = settings.iter().map(|setting| line(setting) + "\n").collect();
        self.write("postgresql.conf", &text)?;
        self.write("hba.conf", "local all all trust\n")?;
        self.write("ident.conf", "")?;
        // What was set by command in the cluster would override all of this.
        self.write("data/postgresql.auto.conf", "")
    }

    /// `wal-fetch` with a configuration that the server's account can read, wherever ours is.
    fn own_fetch(&self, work: &Work<'_>) -> Result<String, Failure> {
        let mut text = "[backup-tool]\n".to_owned();
        for key in ["repository", "password_file", "key_file"] {
            if let Some(value) = work.settings.optional::<String>(&SECTION, key)? {
                let place = std::path::absolute(&value).unwrap_or_else(|_| PathBuf::from(&value));
                let value = if value.contains("://") { value } else { place.display().to_string() };
                text.push_str(&format!("{key} = {}\n", serde_json::Value::from(value)));
            }
        }
        self.write("maint.toml", &text)?;
        let program = std::env::current_exe()
            .map_err(|error| Failure::critical(format!("cannot tell where this program is: {error}")))?;
        let quoted =
            |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''").replace('%', "%%"));
        let config = self.directory.join("maint.toml");
        Ok(format!("{} --config {} wal-fetch %f %p", quoted(&program), quoted(&config)))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.directory.join(name);
        durable::replace_quickly(&path, text.as_bytes(), 0o600)
            .map_err(|error| Failure::critical(error.to_string()))?;
        self.give(&path)
    }

    fn give(&self, path: &Path) -> Result<(), Failure> {
        let Some((uid, gid)) = self.owner else { return Ok(()) };
        rustix::fs::chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|error| Failure::critical(format!("cannot give {} to its owner: {error}", path.display())))
    }

    fn start(&mut self, program: &Path) -> Result<(), Failure> {
        let log = self.directory.join("log");
        let open = OpenOptions::new().create(true).append(true).mode(0o600).open(&log);
        let log = open.map_err(|error| Failure::critical(format!("cannot write {}: {error}", log.display())))?;
        let mut command = Command::new(program);
        command
            .arg("-D")
            .arg(self.data())
            .arg("-c")
            .arg(format!("config_file={}", self.directory.join("postgresql.conf").display()));
        // Nothing of our environment may steer the server, and ctrl-C is for us to pass on.
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
        // But its calls of this program must find a repository that is not on this host.
        command.envs(std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"AWS_")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0).current_dir(&self.directory);
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        let child = command
            .spawn()
            .map_err(|error| Failure::critical(format!("cannot start {}: {error}", program.display())))?;
        self.server = Some(child);
        Ok(())
    }

    /// Waits until the server has recovered and is open.
    fn wait(&mut self, work: &Work<'_>) -> Result<(), Failure> {
        let mut database = "postgres";
        loop {
            if let Some(exit) = work.cancel.exit() {
                return Err(Failure::new(exit, "interrupted; the scratch cluster was removed"));
            }
            let ended = self.server.as_mut().and_then(|server| server.try_wait().ok().flatten());
            if let Some(status) = ended {
                self.server = None;
                return Err(Failure::critical(format!("recovery failed ({status}): {}", self.last_words())));
            }
            match work.block_on(is_open(&self.target(database)?)) {
                Ok(true) => return Ok(()),
                // Still starting up.
                Ok(false) | Err(Error::Down { .. } | Error::SlotsFull { .. }) => {}
                // Some drop it; hardly anybody drops both.
                Err(Error::NoDatabase(_)) if database == "postgres" => database = "template1",
                Err(error) => return Err(Failure::critical(format!("the recovered cluster refuses us: {error}"))),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What the server said at the end, and our own `wal-fetch` in between.
    pub fn last_words(&self) -> String {
        let mut text = String::new();
        let read = File::open(self.directory.join("log")).and_then(|mut log| log.read_to_string(&mut text));
        if read.is_err() {
            return "its log cannot be read".to_owned();
        }
        let telling = |line: &&str| ["FATAL", "PANIC", "ERROR", "wal-fetch:"].iter().any(|word| line.contains(word));
        // Our own question whether it is open yet.
        let asked = |line: &&str| line.contains("the database system is ");
        let lines: Vec<&str> = text.lines().filter(telling).filter(|line| !asked(line)).collect();
        let last = lines.get(lines.len().saturating_sub(4)..).unwrap_or_default();
        if last.is_empty() { "its log says nothing of it".to_owned() } else { last.join("; ") }
    }

    /// Stops the server in order, so that its files are whole on disk; they stay.
    ///
    /// # Errors
    /// It did not stop in time.
    pub fn stop(&mut self) -> Result<(), Failure> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        signal(&server, Signal::INT);
        let end = Instant::now() + STOPPING;
        while Instant::now() < end {
            if server.try_wait().ok().flatten().is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.server = Some(server);
        Err(Failure::critical(format!("the scratch server did not stop within {} s", STOPPING.as_secs())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // Nothing of it is needed any more: at once.
            signal(&server, Signal::QUIT);
            let end = Instant::now() + Duration::from_secs(10);
            while Instant::now() < end && matches!(server.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = server.kill();
            let _ = server.wait();
        }
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            tracing::warn!("{} could not be removed: {error}", self.directory.display());
        }
    }
}

/// Whether a server has recovered.
async fn is_open(target: &Target) -> Result<bool, Error> {
    let settings = SessionSettings { connect_timeout: Some(Duration::from_secs(5)), ..SessionSettings::new(TOOL) };
    let mut session = Session::open(target, settings).await?;
    let query = sqlx::query_scalar::<_, bool>("SELECT pg_catalog.pg_is_in_recovery()");
    let recovering = query.fetch_one(session.conn()).await?;
    session.close().await?;
    Ok(!recovering)
}

fn signal(server: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(server.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
