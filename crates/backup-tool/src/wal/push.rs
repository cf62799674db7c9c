//! `wal-push`: what the server calls to archive a file, and waits for.
//!
//! The server forgets a file on exit code 0 and keeps it on any other; on codes above 125 its archiver ends and counts no
//! failure. So this ends with 0 only when the file is in the archive, whole and durable, and with 1 otherwise. It says
//! nothing on stdout, and on stderr, which is the server's log, one line when it fails.
//!
//! With a spool, the files that wait are archived by a worker in the background ([`super::worker`]); a call then only
//! waits until its file was, starting the worker when none runs. Nothing that waits is ever dropped.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use maint_core::cancel::Cancel;
use maint_core::config::Settings;
use maint_core::failure::Failure;
use maint_core::units::{HumanDuration, HumanSize};

use super::archive::{Archive, ArchiveError, owner};
use super::header;
use super::local::{self, LocalError};
use super::name::WalName;
use super::spool::{Outcome, Spool, SpoolError};
use super::worker;
use crate::TOOL;
use crate::cli::{SECTION, WalPushArgs};
use crate::store::Store;
use crate::work::Work;

/// How the command ends when the file is not known to be archived.
pub const FAILED: u8 = 1;
/// How often the notes of the worker are looked for.
const POLL: Duration = Duration::from_millis(20);
/// A worker that ended is started again after this long at the earliest.
const RESTART: Duration = Duration::from_secs(1);
/// What to do when the repository does not open and says nothing more.
const UNREACHABLE: &str = "see that the repository is reachable; the server keeps the file and tries again";
/// The worker's log begins anew above this many bytes.
const LOG_BYTES: u64 = 1 << 20;

/// A file that could not be archived.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The archive does not take it.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// It cannot be read.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Nothing tells whose it is.
    #[error("cannot tell which cluster {0} is of")]
    WhoseFile(WalName),
    /// The worker could not archive it, or not begin. It said what to do itself.
    #[error("{0}")]
    Worker(String),
    /// The worker did not come to it in time.
    #[error("{name} was not archived within {waited}; it is still waited for, and the worker goes on")]
    Late {
        /// The file.
        name: WalName,
        /// How long was waited.
        waited: HumanDuration,
    },
    /// We were asked to stop.
    #[error("interrupted before {0} was archived")]
    Interrupted(WalName),
    /// The worker cannot be started.
    #[error("cannot start the worker: {0}")]
    Start(std::io::Error),
}

impl From<PushError> for Failure {
    fn from(error: PushError) -> Self {
        let text = error.to_string();
        match error {
            PushError::Archive(error) => error.into(),
            PushError::Local(_) => Failure::critical(text).hint("give %p of archive_command, and see who may read it"),
            PushError::Spool(_) => Failure::critical(text).hint("see `spool` in [backup-tool] of maint.toml"),
            PushError::WhoseFile(_) => {
                Failure::critical(text).hint("run it in the data directory, as archive_command does")
            }
            PushError::Worker(_) | PushError::Interrupted(_) => Failure::critical(text),
            PushError::Late { .. } => {
                Failure::not_now(text).hint("see worker.log in the spool, and `wal_timeout` and `wal_workers`")
            }
            PushError::Start(_) => Failure::critical(text).hint("without `spool` in maint.toml no worker is needed"),
        }
    }
}

/// A failure and what to do about it on one line, as a server's log wants it.
pub(crate) fn one_line(failure: &Failure) -> String {
    let text = match &failure.hint {
        Some(hint) => format!("{}; to do: {hint}", failure.message),
        None => failure.message.clone(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Says on stderr why a command that the server called failed.
pub fn complain(command: &str, failure: &Failure) {
    // The server may have closed it.
    let _ = writeln!(std::io::stderr(), "{TOOL} {command}: {}", one_line(failure));
}

/// A failure to reach the repository, which only the caller can tell what to do about.
pub(crate) fn with_hint(failure: Failure, hint: &str) -> Failure {
    if failure.hint.is_some() { failure } else { failure.hint(hint) }
}

/// Archives the file, or is the worker. Returns the exit code.
pub fn run(args: &WalPushArgs, work: &mut Work<'_>) -> u8 {
    let done = match (&args.worker, &args.path) {
        (Some(pg_wal), _) => be_worker(pg_wal, work),
        (None, Some(path)) => push(path, work),
        (None, None) => Err(Failure::usage("no file to archive was named")),
    };
    match done {
        Ok(()) => 0,
        Err(failure) => {
            let file = args.path.as_deref().and_then(Path::file_name).unwrap_or_default();
            complain(format!("wal-push {}", file.display()).trim_end(), &failure);
            FAILED
        }
    }
}

fn push(path: &Path, work: &Work<'_>) -> Result<(), Failure> {
    let name = local::name_of(path).map_err(PushError::from)?;
    let spool = work.settings.optional::<PathBuf>(&SECTION, "spool")?;
    // The worker archives what the server marks as ready; a file that is not (called by hand, say) is archived at once.
    if let Some(configured) = spool.filter(|_| local::ready_note(path).exists()) {
        let pg_wal = local::directory_of(path);
        if let Some(system) = local::system_identifier(pg_wal).map_err(PushError::from)? {
            let spool = Spool::open(&configured, system).map_err(PushError::from)?;
            warn_of_backlog(path, &work.settings)?;
            let timeout = work.settings.get::<HumanDuration>(&SECTION, "wal_timeout")?;
            let start = || start_worker(pg_wal, &spool, &work.settings);
            return Ok(wait(path, name, &spool, timeout, &work.cancel, start)?);
        }
    }
    let store = work.store().map_err(|failure| with_hint(failure, UNREACHABLE))?;
    let system = whose(path, name, &store)?;
    push_file(&Archive::new(store.storage().clone(), store.keys(), system), path)?;
    Ok(())
}

/// The cluster that a file is of: by the control file, else by what a segment says, else the repository's own.
fn whose(path: &Path, name: WalName, store: &Store) -> Result<u64, PushError> {
    if let Some(system) = local::system_identifier(local::directory_of(path))? {
        return Ok(system);
    }
    if let WalName::Segment(segment) | WalName::Partial(segment) = name {
        let (content, _) = local::read(path)?;
        return Ok(header::check(segment, &content).map_err(ArchiveError::from)?.system_identifier);
    }
    owner(store.storage().as_ref(), store.keys())?.ok_or(PushError::WhoseFile(name))
}

/// Archives one file; returns the stamp of what was archived.
pub(crate) fn push_file(archive: &Archive, path: &Path) -> Result<String, PushError> {
    let name = local::name_of(path)?;
    let (content, stamp) = local::read(path)?;
    archive.push(name, &content)?;
    Ok(stamp)
}

/// Waits until the worker has archived the file, starting one when none runs.
fn wait(
    path: &Path,
    name: WalName,
    spool: &Spool,
    timeout: HumanDuration,
    cancel: &Cancel,
    mut start: impl FnMut() -> Result<(), PushError>,
) -> Result<(), PushError> {
    let began = Instant::now();
    let mut started: Option<Instant> = None;
    // What stopped an earlier worker may be mended by now.
    spool.take_worker_failure()?;
    loop {
        match spool.outcome(name, &local::stamp_of(path)?)? {
            Some(Outcome::Archived) => return Ok(spool.forget(name)?),
            Some(Outcome::Failed(why)) => {
                spool.forget(name)?;
                return Err(PushError::Worker(why));
            }
            None => {}
        }
        if let Some(why) = spool.take_worker_failure()? {
            return Err(PushError::Worker(why));
        }
        if cancel.is_cancelled() {
            return Err(PushError::Interrupted(name));
        }
        if began.elapsed() >= timeout.0 {
            return Err(PushError::Late { name, waited: timeout });
        }
        if started.is_none_or(|at| at.elapsed() >= RESTART) && spool.lock()?.is_some() {
            start()?;
            started = Some(Instant::now());
        }
        std::thread::sleep(POLL);
    }
}

fn warn_of_backlog(path: &Path, settings: &Settings) -> Result<(), Failure> {
    let limit = settings.get::<HumanSize>(&SECTION, "spool_limit")?;
    let waiting = local::ready(local::directory_of(path)).map_err(PushError::from)?;
    let segments = waiting.iter().filter(|name| matches!(name, WalName::Segment(_))).count() as u64;
    let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len()).saturating_mul(segments);
    if bytes > limit.0 {
        tracing::warn!(
            "{segments} segments ({}) wait to be archived, more than spool_limit ({limit})",
            HumanSize(bytes)
        );
    }
    Ok(())
}

/// Starts the worker, in a process group of its own: it outlives this call, and the server does not wait for it.
fn start_worker(pg_wal: &Path, spool: &Spool, settings: &Settings) -> Result<(), PushError> {
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(spool.log()).map_err(PushError::Start)?;
    if log.metadata().is_ok_and(|metadata| metadata.len() > LOG_BYTES) {
        log.set_len(0).map_err(PushError::Start)?;
    }
    let mut command = Command::new(std::env::current_exe().map_err(PushError::Start)?);
    if let Some(file) = settings.file() {
        command.arg("--config").arg(file);
    }
    for key in ["repository", "password_file"] {
        if let Ok(Some(value)) = settings.optional::<String>(&SECTION, key) {
            command.arg(format!("--{}", key.replace('_', "-"))).arg(value);
        }
    }
    command.args(["wal-push", "--worker"]).arg(pg_wal);
    // Not the server's log: as long as somebody holds that open, some servers do not end.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
    command.spawn().map(drop).map_err(PushError::Start)
}

fn be_worker(pg_wal: &Path, work: &Work<'_>) -> Result<(), Failure> {
    let configured: PathBuf = work.settings.get(&SECTION, "spool")?;
    let threads: usize = work.settings.get(&SECTION, "wal_workers")?;
    let system = local::system_identifier(pg_wal).map_err(PushError::from)?;
    let system = system.ok_or_else(|| Failure::usage(format!("{} is in no data directory", pg_wal.display())))?;
    let spool = Spool::open(&configured, system).map_err(PushError::from)?;
    let open = || {
        let store = work.store().map_err(|failure| with_hint(failure, UNREACHABLE))?;
        Ok(Archive::new(store.storage().clone(), store.keys(), system))
    };
    worker::work(pg_wal, &spool, threads, &work.cancel, open).map(drop)
}

#[cfg(test)]
mod tests;
