//! `wal-fetch`: what the server calls to get an archived file.
//!
//! The server takes every exit code from 1 to 125 for "there is no such file", which during recovery means that the log
//! ends here: it stops replaying and opens the database. Said of a file that is only damaged, out of reach or lost from the
//! middle, that would lose every commit after it without a word. So 1 is said only when the file is known not to exist and
//! nothing after it does; everything else ends with 200, at which the server gives recovery up
//! (`RestoreArchivedFile` in `src/backend/access/transam/xlogarchive.c`).
//!
//! A file appears at its destination whole and verified, or not at all.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use maint_core::durable::{self, DurableError};
use maint_core::failure::Failure;

use super::absence::{Absence, judge};
use super::archive::{Archive, ArchiveError, owner};
use super::local::{self, LocalError};
use super::name::{NameError, Segment, WalName};
use super::push::{complain, with_hint};
use super::spool::{Spool, SpoolError};
use crate::cli::{SECTION, WalFetchArgs};
use crate::work::Work;

/// The file does not exist, and nothing that would come after it.
pub const ABSENT: u8 = 1;
/// The server must not go on.
pub const ABORT: u8 = 200;
/// A worker that archives several files at a time may have stored a later one first: so long a missing one is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// What to do when the repository does not open and says nothing more.
const UNREACHABLE: &str = "see that the repository is reachable, then start the server again";
/// How often it is looked for.
const POLL: Duration = Duration::from_millis(250);

/// Why a server must not go on.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The archive cannot tell, or is damaged.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// No name that a server would ask for.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The cluster at hand cannot be told.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The file cannot be put in its place.
    #[error(transparent)]
    Deliver(#[from] DurableError),
    /// The file must have existed.
    #[error("{name} is lost from the archive: {why}")]
    Lost {
        /// The file.
        name: WalName,
        /// How we know.
        why: String,
    },
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        let text = error.to_string();
        match error {
            FetchError::Archive(error) => error.into(),
            FetchError::Name(_) => Failure::usage(text).hint("give %f and %p of restore_command"),
            FetchError::Local(_) | FetchError::Spool(_) => Failure::critical(text),
            FetchError::Deliver(_) => {
                Failure::critical(text).hint("see that there is room for it, and who may write it")
            }
            FetchError::Lost { .. } => Failure::critical(text).hint(
                "bring it back from a copy of the repository; or recover to a moment before it, which `backup-tool wal \
                 points` shows",
            ),
        }
    }
}

/// Fetches the file. Returns the exit code.
pub fn run(args: &WalFetchArgs, work: &mut Work<'_>) -> u8 {
    match fetch(args, work) {
        Ok(true) => 0,
        Ok(false) => ABSENT,
        Err(failure) => {
            complain(&format!("wal-fetch {}", args.name), &failure);
            ABORT
        }
    }
}

fn fetch(args: &WalFetchArgs, work: &Work<'_>) -> Result<bool, Failure> {
    let name: WalName = args.name.parse().map_err(FetchError::from)?;
    let spool = work.settings.optional::<PathBuf>(&SECTION, "spool")?;
    let threads: usize = work.settings.get(&SECTION, "wal_workers")?;
    let store = work.store().map_err(|failure| with_hint(failure, UNREACHABLE))?;
    let pg_wal = local::directory_of(&args.destination);
    let system = match local::system_identifier(pg_wal).map_err(FetchError::from)? {
        Some(system) => system,
        None => owner(store.storage().as_ref(), store.keys())?
            .ok_or_else(|| ArchiveError::Empty(store.storage().location()))?,
    };
    let archive = Archive::new(store.storage().clone(), store.keys(), system);
    let ahead = match spool.filter(|_| threads > 1) {
        Some(configured) => {
            let spool = Spool::open(&configured, system).map_err(FetchError::from)?;
            Some(Ahead { spool, count: threads - 1 })
        }
        None => None,
    };
    Ok(deliver(&archive, name, &args.destination, ahead.as_ref(), PATIENCE)?)
}

/// Segments fetched ahead of time.
#[derive(Debug)]
struct Ahead {
    spool: Spool,
    /// How many.
    count: usize,
}

/// Puts the file at its destination; whether it exists.
fn deliver(
    archive: &Archive,
    name: WalName,
    destination: &Path,
    ahead: Option<&Ahead>,
    patience: Duration,
) -> Result<bool, FetchError> {
    // That "not found" can be believed only of an archive that is there, and this cluster's.
    archive.require()?;
    remove_leftovers(destination);
    let content = match (name, ahead) {
        (WalName::Segment(segment), Some(ahead)) => fetch_ahead(archive, segment, ahead),
        _ => archive.fetch(name),
    };
    let content = match content {
        Err(ArchiveError::Absent { .. }) => match wait_for(archive, name, patience)? {
            Some(content) => content,
            None => return Ok(false),
        },
        content => content?,
    };
    durable::replace(destination, &content, 0o600)?;
    Ok(true)
}

/// The file, when it appears after all; `None` when it does not exist.
fn wait_for(archive: &Archive, name: WalName, patience: Duration) -> Result<Option<Vec<u8>>, FetchError> {
    let began = Instant::now();
    loop {
        let why = match judge(archive, name)? {
            Absence::End => return Ok(None),
            Absence::Lost(why) => why,
        };
        if began.elapsed() >= patience {
            return Err(FetchError::Lost { name, why });
        }
        std::thread::sleep(POLL.min(patience));
        match archive.fetch(name) {
            Err(ArchiveError::Absent { .. }) => {}
            content => return Ok(Some(content?)),
        }
    }
}

/// The segment, from the spool or the archive, and in the latter case those after it into the spool at the same time.
fn fetch_ahead(archive: &Archive, segment: Segment, ahead: &Ahead) -> Result<Vec<u8>, ArchiveError> {
    if let Some(content) = ahead.spool.kept(archive.sealer(), segment) {
        return Ok(content);
    }
    // Only as far as the numbers of one log go: where that ends depends on the size, which is not known yet, and a name
    // that does not exist is simply not fetched.
    let next: Vec<Segment> = (1..=ahead.count)
        .filter_map(|step| {
            Some(Segment { segment: segment.segment.checked_add(u32::try_from(step).ok()?)?, ..segment })
        })
        .collect();
    // What goes wrong ahead of time is only told when its turn has come.
    let keep = |segment: Segment| {
        if let Ok(content) = archive.fetch(WalName::Segment(segment))
            && let Err(error) = ahead.spool.keep(archive.sealer(), segment, content)
        {
            tracing::info!("{error}");
        }
    };
    if let Err(error) = ahead.spool.drop_kept_but(&next) {
        tracing::info!("{error}");
    }
    std::thread::scope(|scope| {
        for segment in next {
            scope.spawn(move || keep(segment));
        }
        archive.fetch(WalName::Segment(segment))
    })
}

/// Removes what a killed run left beside the destination. The server asks for one file at a time.
fn remove_leftovers(destination: &Path) {
    let Some(name) = destination.file_name().and_then(|name| name.to_str()) else { return };
    let prefix = format!(".{name}.new-");
    let Ok(entries) = std::fs::read_dir(local::directory_of(destination)) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
