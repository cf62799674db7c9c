//! Reading what is stored.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustic_core::repofile::{BlobType, Node};
use rustic_core::{BlobId, DataId, IndexedFullStatus, Repository, TreeId};

use super::{Part, Store, StoreError};

/// A restic repository with its whole index in memory. Blobs may be read from several threads.
#[derive(Debug)]
pub struct Reader {
    repository: Repository<IndexedFullStatus>,
    place: String,
}

impl Store {
    /// Opens a part for reading.
    ///
    /// # Errors
    /// Its index cannot be read, or packs that it names are missing or have another size.
    pub fn reader(&self, part: Part) -> Result<Reader, StoreError> {
        let repository =
            self.repository(part)?.to_indexed_checked().map_err(|error| self.failed("read the index", &error))?;
        Ok(Reader { repository, place: format!("{}/{}", self.storage().location(), part.directory()) })
    }
}

impl Reader {
    fn failed(&self, doing: &'static str, error: &rustic_core::RusticError) -> StoreError {
        StoreError::Engine { doing, place: self.place.clone(), why: super::said(error) }
    }

    /// The repository, for what only the engine can do.
    pub fn engine(&self) -> &Repository<IndexedFullStatus> {
        &self.repository
    }

    /// Visits every entry of a tree with its path relative to the tree's root; a directory comes before what is in it.
    ///
    /// # Errors
    /// A tree cannot be read, or the visitor's own.
    pub fn walk(
        &self,
        tree: TreeId,
        visit: &mut dyn FnMut(&Path, &Node) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut open = vec![(PathBuf::new(), tree)];
        while let Some((directory, tree)) = open.pop() {
            let tree = self.repository.get_tree(&tree).map_err(|error| self.failed("read a directory", &error))?;
            let mut below = Vec::new();
            for node in &tree.nodes {
                let path = directory.join(node.name());
                visit(&path, node)?;
                if let Some(subtree) = node.subtree.filter(|_| node.is_dir()) {
                    below.push((path, subtree));
                }
            }
            open.extend(below.into_iter().rev());
        }
        Ok(())
    }

    /// A piece of a file, compared with the hash that is its name.
    ///
    /// # Errors
    /// It is not there, cannot be read, or is damaged.
    pub fn blob(&self, id: &DataId) -> Result<Bytes, StoreError> {
        let blob = BlobId::from(id.into_inner());
        let bytes = self
            .repository
            .get_blob_cached(&blob, BlobType::Data)
            .map_err(|error| self.failed("read a piece of a file", &error))?;
        if id.into_inner().blob_matches_reader(bytes.len() as u64, &mut &bytes[..]) {
            return Ok(bytes);
        }
        Err(StoreError::Engine {
            doing: "read a piece of a file",
            place: self.place.clone(),
            why: format!("the piece {} has another content than its name says", id.to_hex().as_str()),
        })
    }

    /// A small file of a tree, whole; `None` when there is none of that path.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn file(&self, tree: TreeId, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(node) = self.node(tree, path)? else { return Ok(None) };
        let mut content = Vec::new();
        for id in node.content.iter().flatten() {
            content.extend_from_slice(&self.blob(id)?);
        }
        Ok(Some(content))
    }

    /// The entry at a path of a tree.
    ///
    /// # Errors
    /// A directory on the way cannot be read.
    pub fn node(&self, tree: TreeId, path: &Path) -> Result<Option<Node>, StoreError> {
        let mut tree = Some(tree);
        let mut found = None;
        for name in path {
            let Some(id) = tree else { return Ok(None) };
            let nodes = self.repository.get_tree(&id).map_err(|error| self.failed("read a directory", &error))?.nodes;
            let Some(node) = nodes.into_iter().find(|node| node.name() == name) else { return Ok(None) };
            tree = node.subtree;
            found = Some(node);
        }
        Ok(found)
    }
}
