//! The engine's objects in our storage.

use std::sync::Arc;

use bytes::Bytes;
use rustic_core::{
    BytesList, ErrorKind, FileType, Id, ReadBackend, Repository, RepositoryBackends, RepositoryOptions, RusticError,
    RusticResult, WriteBackend,
};

use super::{Part, StoreError};
use crate::storage::{Storage, StorageError};

/// One restic repository below the root.
#[derive(Debug)]
struct Backend {
    storage: Arc<dyn Storage>,
    part: Part,
}

/// An engine's repository, not opened yet.
pub(super) fn repository(storage: &Arc<dyn Storage>, part: Part) -> Result<Repository<()>, StoreError> {
    let backend = Arc::new(Backend { storage: Arc::clone(storage), part });
    let mut options = RepositoryOptions::default();
    // A cache would be a second truth: what is verified must be what is stored.
    options.no_cache = true;
    Repository::new(&options, &RepositoryBackends::new(backend, None)).map_err(|error| StoreError::Engine {
        doing: "open",
        place: storage.location(),
        why: super::said(&error),
    })
}

/// The key of an engine's object below the root. Packs are spread over 256 directories by the first byte of their id, as
/// restic does it.
pub fn key_of(part: Part, kind: FileType, id: &Id) -> String {
    let (root, hex) = (part.directory(), id.to_hex());
    let hex = hex.as_str();
    match kind {
        FileType::Config => format!("{root}/config"),
        FileType::Pack => format!("{root}/data/{}/{hex}", hex.get(..2).unwrap_or_default()),
        _ => format!("{root}/{}/{hex}", kind.dirname()),
    }
}

fn failed(error: StorageError) -> Box<RusticError> {
    RusticError::with_source(ErrorKind::Backend, error.to_string(), error)
}

impl ReadBackend for Backend {
    fn location(&self) -> String {
        format!("{}/{}", self.storage.location(), self.part.directory())
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        if kind == FileType::Config {
            let size = self.storage.size(&key_of(self.part, kind, &Id::default())).map_err(failed)?;
            return Ok(size.map(|size| (Id::default(), size as u32)).into_iter().collect());
        }
        let prefix = format!("{}/{}", self.part.directory(), kind.dirname());
        let objects = self.storage.list(&prefix).map_err(failed)?;
        let id = |key: &str| key.rsplit('/').next().and_then(|name| name.parse::<Id>().ok());
        // What has another name is none of the engine's objects.
        Ok(objects.into_iter().filter_map(|object| Some((id(&object.key)?, object.size as u32))).collect())
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        self.storage.get(&key_of(self.part, kind, id)).map_err(failed)
    }

    fn read_partial(&self, kind: FileType, id: &Id, _: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        let key = key_of(self.part, kind, id);
        self.storage.get_range(&key, offset.into(), length as usize).map_err(failed)
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        key_of(self.part, kind, id)
    }
}

impl WriteBackend for Backend {
    fn write_bytes(&self, kind: FileType, id: &Id, _: bool, content: BytesList) -> RusticResult<()> {
        // The name is the hash of the content (the configuration has no other name, and is written once): what is there
        // already is the same.
        self.storage.put_new(&key_of(self.part, kind, id), content.slice()).map(|_| ()).map_err(failed)
    }

    fn remove(&self, kind: FileType, id: &Id, _: bool) -> RusticResult<()> {
        self.storage.remove(&key_of(self.part, kind, id)).map_err(failed)
    }
}
