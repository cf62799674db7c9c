//! A database in one file: a tar archive, compressed with zstd.
//!
//! Any such archive of a database's directory is read. One that was made by [`pack`] begins with the advisories in a form
//! that needs no parsing of Markdown, and with the digest of the texts that follow, so that opening it reads only that.

use std::io::Read as _;
use std::path::Path;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Database, DbError, Stamp, digest, directory};
use crate::advisory::Advisory;

/// The first member of a pack that was made by us.
const INDEX: &str = "dep-audit.json";
/// The form of that member; another one is not read but made anew from the texts.
const VERSION: u32 = 2;
/// The most that a pack may unpack to: a hundred times what RustSec's database has today.
pub(super) const MOST_BYTES: u64 = 512 << 20;

#[derive(Serialize, Deserialize)]
struct Index {
    version: u32,
    commit: Option<String>,
    sha256: String,
    newest: Date,
    advisories: Vec<Advisory>,
}

/// A database, packed.
#[derive(Debug)]
pub struct Packed {
    /// The file's content.
    pub bytes: Vec<u8>,
    /// What it was made of.
    pub stamp: Stamp,
}

/// Packs a directory of advisories. The same advisories give the same bytes.
///
/// # Errors
/// The directory is no database.
pub fn pack(path: &Path) -> Result<Packed, DbError> {
    let texts = directory::texts(path)?;
    let database = directory::open(path)?;
    let index = Index {
        version: VERSION,
        commit: database.stamp.commit.clone(),
        sha256: database.stamp.sha256.clone(),
        newest: database.stamp.newest,
        advisories: database.advisories,
    };
    let bad = |why: String| DbError::Pack { path: path.to_owned(), why };
    let index = serde_json::to_vec(&index).map_err(|error| bad(error.to_string()))?;
    let encoder = zstd::Encoder::new(Vec::new(), 19).map_err(DbError::read(path))?;
    let mut archive = tar::Builder::new(encoder);
    let members = std::iter::once((INDEX, index.as_slice()))
        .chain(texts.iter().map(|(name, text)| (name.as_str(), text.as_bytes())));
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content).map_err(DbError::read(path))?;
    }
    let encoder = archive.into_inner().map_err(DbError::read(path))?;
    let bytes = encoder.finish().map_err(DbError::read(path))?;
    Ok(Packed { bytes, stamp: database.stamp })
}

pub(super) fn open(path: &Path) -> Result<Database, DbError> {
    let bad = |why: String| DbError::Pack { path: path.to_owned(), why };
    let mut indexed = None;
    let texts = read(path, |content| {
        indexed = of_index(path, content).map_err(bad)?;
        Ok(indexed.is_none())
    })?;
    indexed.map_or_else(|| directory::of_texts(path, "pack", None, &texts), Ok)
}

/// The advisories of an archive by their names. An index in front of them is handed to `on_index`, which says whether the
/// rest is wanted.
fn read(path: &Path, on_index: impl FnOnce(&[u8]) -> Result<bool, DbError>) -> Result<Vec<(String, String)>, DbError> {
    let broken = |error: std::io::Error| DbError::Pack {
        path: path.to_owned(),
        why: format!("it is no whole .tar.zst archive: {error}"),
    };
    let file = std::fs::File::open(path).map_err(DbError::read(path))?;
    let decoder = zstd::Decoder::new(file).map_err(broken)?;
    let mut archive = tar::Archive::new(decoder.take(MOST_BYTES));
    let mut on_index = Some(on_index);
    let mut texts = Vec::new();
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.display().to_string();
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        if directory::is_advisory(&name) {
            let mut text = String::new();
            entry.read_to_string(&mut text).map_err(broken)?;
            texts.push((name, text));
        } else if texts.is_empty()
            && name == INDEX
            && let Some(on_index) = on_index.take()
        {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(broken)?;
            if !on_index(&content)? {
                break;
            }
        }
    }
    Ok(texts)
}

/// `None` for an index of another version than ours.
fn of_index(path: &Path, content: &[u8]) -> Result<Option<Database>, String> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let Head { version } = serde_json::from_slice(content).map_err(|error| format!("{INDEX}: {error}"))?;
    if version != VERSION {
        return Ok(None);
    }
    let index: Index = serde_json::from_slice(content).map_err(|error| format!("{INDEX}: {error}"))?;
    let stamp = |advisories: usize, newest| Stamp {
        path: path.to_owned(),
        form: "pack",
        commit: index.commit,
        sha256: index.sha256,
        advisories,
        newest,
    };
    Database::new(index.advisories, stamp, path).map(Some).map_err(|error| error.to_string())
}

/// Reads a pack whole and compares its index with the texts behind it.
pub(super) fn verify(path: &Path) -> Result<Stamp, DbError> {
    let stamp = open(path)?.stamp;
    let bad = |why: String| DbError::Pack { path: path.to_owned(), why };
    let texts = read(path, |_| Ok(true))?;
    let found = digest(&texts);
    if found != stamp.sha256 {
        return Err(bad(format!("its index was made of other advisories ({}) than it holds ({found})", stamp.sha256)));
    }
    // Every advisory must be readable, too.
    directory::of_texts(path, "pack", None, &texts)?;
    Ok(stamp)
}
