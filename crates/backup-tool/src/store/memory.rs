//! A few files from memory, for what a backup only knows at its end.

use std::io::Cursor;
use std::path::PathBuf;

use bytes::Bytes;
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustic_core::{ReadSource, ReadSourceEntry, RusticResult};

/// A file that is not on disk.
#[derive(Debug, Clone)]
pub struct MemoryFile {
    /// Where it is in the snapshot.
    pub path: PathBuf,
    /// Mode, owner and times; the size is set from the content.
    pub meta: Metadata,
    /// What is in it.
    pub content: Bytes,
}

/// Files from memory as a source.
#[derive(Debug)]
pub struct MemorySource(Vec<MemoryFile>);

impl MemorySource {
    /// A source of these files, in the order that trees want.
    pub fn new(mut files: Vec<MemoryFile>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        MemorySource(files)
    }
}

impl ReadSource for MemorySource {
    type Open = Cursor<Bytes>;
    type Iter = std::vec::IntoIter<RusticResult<ReadSourceEntry<Cursor<Bytes>>>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Self::Iter {
        let entry = |file: &MemoryFile| {
            let meta = Metadata { size: file.content.len() as u64, ..file.meta.clone() };
            let name = file.path.file_name().unwrap_or_default();
            let node = Node::new_node(name, NodeType::File, meta);
            Ok(ReadSourceEntry { path: file.path.clone(), node, open: Some(Cursor::new(file.content.clone())) })
        };
        self.0.iter().map(entry).collect::<Vec<_>>().into_iter()
    }
}
