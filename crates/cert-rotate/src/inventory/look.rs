//! Reading many files and asking many servers at once.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use maint_core::cancel::Cancel;
use maint_core::secret::Secret;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::File;
use crate::certificate::{Certificate, hex, sha256};
use crate::endpoint::Endpoint;
use crate::read::{self, Format, ReadError};
use crate::tls::{self, Asked};

/// So many connections at once.
const CONNECTIONS: usize = 64;
/// More threads than this wait for the same disk.
const MAX_THREADS: usize = 16;

/// What is in one file that has something in it.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) path: String,
    pub(super) format: Format,
    pub(super) certificates: Vec<Certificate>,
    /// Of its private keys, the fingerprints of their public halves.
    pub(super) keys: Vec<String>,
    /// How many private keys can be had by whoever can read the file.
    pub(super) bare_keys: usize,
    /// Its permission bits.
    pub(super) mode: u32,
    pub(super) problems: Vec<String>,
    pub(super) locked: bool,
}

/// What came of one file.
pub(super) type FileResult = Result<Looked, (String, ReadError)>;

/// What came of one server.
pub(super) type ServerResult = (Endpoint, Result<Vec<Certificate>, String>);

/// All files and how many there were.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) read: usize,
    pub(super) with_something: Vec<FileResult>,
}

/// Reads files on all processors. Files without anything are only counted.
pub(super) fn files(files: &[File], passphrase: Option<&Secret>, cancel: &Cancel) -> Files {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Vec::new();
                while let Some((at, file)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    files.get(at).map(|file| (at, file))
                } {
                    if cancel.is_cancelled() {
                        break;
                    }
                    mine.extend(file_in(file, passphrase).map(|looked| (at, looked)));
                }
                found.lock().unwrap_or_else(PoisonError::into_inner).append(&mut mine);
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_unstable_by_key(|(at, _)| *at);
    Files { read: files.len(), with_something: found.into_iter().map(|(_, looked)| looked).collect() }
}

/// `None` when there is nothing in it.
fn file_in(file: &File, passphrase: Option<&Secret>) -> Option<FileResult> {
    let path = file.path.display().to_string();
    let read = match read::file(&file.path, passphrase) {
        Ok(read) if read.is_empty() => return None,
        Ok(read) => read,
        // Below a directory there is a lot that is neither certificate nor key.
        Err(ReadError::TooLarge(_)) if !file.named => return None,
        Err(error) => return Some(Err((path, error))),
    };
    let mode = std::fs::metadata(&file.path).map_or(0, |meta| meta.permissions().mode() & 0o7777);
    let keys = read.keys.iter().map(|key| hex(&sha256(&key.public()))).collect();
    Some(Ok(Looked {
        path,
        format: read.format,
        certificates: read.certificates,
        keys,
        bare_keys: read.bare_keys,
        mode,
        problems: read.problems,
        locked: read.locked,
    }))
}

/// Asks servers, in the order of the endpoints.
pub(super) async fn endpoints(endpoints: Vec<Endpoint>, limit: Duration) -> Vec<ServerResult> {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut asking = JoinSet::new();
    for endpoint in endpoints {
        let room = Arc::clone(&room);
        asking.spawn(async move {
            let _place = room.acquire().await;
            let seen = tls::connect(&endpoint, &Asked { timeout: limit, key: None }).await;
            (endpoint, seen.map(|seen| seen.chain).map_err(|error| error.to_string()))
        });
    }
    let mut shown = asking.join_all().await;
    shown.sort_by(|one, other| one.0.cmp(&other.0));
    shown
}
