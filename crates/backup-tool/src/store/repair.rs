//! Finding and mending what does not fit together: the index with the packs, snapshots with the data they name.
//!
//! The engine's own repair of snapshots writes them anew without what was lost, under other file names. For a database
//! that is worse than nothing, so here a snapshot that lost data stays as it is and is tagged: nothing restores it by
//! itself any more, all of it that is left can still be read, and when the data comes back, so does the snapshot.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use rustic_core::repofile::{IndexFile, StringList};
use rustic_core::{DataId, IndexedFullStatus, RepairIndexOptions, Repository, TreeId};

use super::snapshots::BROKEN;
use super::{Part, Store, StoreError, Stored};

/// How the index and the packs differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexTrouble {
    /// Packs that the index names and that are not there, or have another size.
    pub lost: Vec<String>,
    /// Packs that are there and that no index names: left by a run that was broken off, and harmless.
    pub unnamed: Vec<String>,
}

impl IndexTrouble {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.lost.is_empty() && self.unnamed.is_empty()
    }
}

/// Data that a snapshot names and that is not stored any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LostData {
    /// Files that lack pieces, and directories whose content is not known any more.
    pub count: u64,
    /// The first few of them.
    pub first: Vec<PathBuf>,
}

/// So many paths are named.
const NAMED: usize = 5;

impl LostData {
    fn add(&mut self, path: &Path) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(path.to_owned());
        }
    }
}

/// What is stored of a part, to hold snapshots against.
#[derive(Debug)]
pub struct Inventory {
    repository: Repository<IndexedFullStatus>,
    /// Trees that were seen whole, so that what snapshots share is looked at once.
    whole: HashSet<TreeId>,
}

impl Store {
    /// Compares the index with the packs.
    ///
    /// # Errors
    /// The packs cannot be listed, or an index file cannot be read.
    pub fn index_trouble(&self, part: Part) -> Result<IndexTrouble, StoreError> {
        let listed = self.storage().list(&format!("{}/data", part.directory()))?;
        let id = |key: &str| key.rsplit('/').next().filter(|name| name.len() == 64).map(str::to_owned);
        let mut there: BTreeMap<String, u64> =
            listed.iter().filter_map(|object| Some((id(&object.key)?, object.size))).collect();
        let repository = self.repository(part)?;
        let failed = |error: Box<rustic_core::RusticError>| self.failed("read the index", &error);
        let mut trouble = IndexTrouble::default();
        let mut named = HashSet::new();
        for index in repository.stream_files::<IndexFile>().map_err(failed)? {
            let (_, index) = index.map_err(failed)?;
            for pack in &index.packs {
                let name = pack.id.to_hex().as_str().to_owned();
                if there.get(&name).copied() != Some(pack.pack_size().into()) {
                    trouble.lost.push(name.clone());
                }
                named.insert(name);
            }
            named.extend(index.packs_to_delete.iter().map(|pack| pack.id.to_hex().as_str().to_owned()));
        }
        there.retain(|name, _| !named.contains(name));
        trouble.unnamed = there.into_keys().collect();
        trouble.lost.sort();
        trouble.lost.dedup();
        Ok(trouble)
    }

    /// Makes the index fit the packs.
    ///
    /// # Errors
    /// The repository cannot be read or written.
    pub fn repair_index(&self, part: Part) -> Result<(), StoreError> {
        let repository = self.repository(part)?;
        self.guarded("mend the index", || repository.repair_index(&RepairIndexOptions::default(), false))
    }

    /// Reads what a part stores.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn inventory(&self, part: Part) -> Result<Inventory, StoreError> {
        let repository = self.repository(part)?;
        let repository = self.guarded("read the index", || repository.to_indexed_checked())?;
        Ok(Inventory { repository, whole: HashSet::new() })
    }

    /// Says of a snapshot that it lost data, or that it has it again. The snapshot gets a new id.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn mark_broken(&self, part: Part, id: &str, broken: bool) -> Result<(), StoreError> {
        let mut tag = StringList::default();
        tag.add(BROKEN.to_owned());
        self.replace(part, id, |file| {
            if broken {
                file.add_tags(vec![tag]);
            } else {
                file.remove_tags(&[tag]);
            }
        })
    }
}

impl Inventory {
    /// What of a snapshot is not stored. Only the index is asked for files; directories are read.
    pub fn lost(&mut self, snapshot: &Stored) -> LostData {
        let mut lost = LostData::default();
        self.walk(Path::new(""), snapshot.tree, &mut lost);
        lost
    }

    fn has(&self, id: &DataId) -> bool {
        self.repository.get_index_entry(id).is_ok()
    }

    /// Whether all below is there. Trees are as deep as the directories that were backed up.
    fn walk(&mut self, path: &Path, id: TreeId, lost: &mut LostData) -> bool {
        if self.whole.contains(&id) {
            return true;
        }
        let Ok(tree) = self.repository.get_tree(&id) else {
            lost.add(path);
            return false;
        };
        let mut whole = true;
        for node in &tree.nodes {
            let below = path.join(node.name());
            if let Some(subtree) = node.subtree.filter(|_| node.is_dir()) {
                whole &= self.walk(&below, subtree, lost);
            } else if !node.content.iter().flatten().all(|blob| self.has(blob)) {
                lost.add(&below);
                whole = false;
            }
        }
        if whole {
            self.whole.insert(id);
        }
        whole
    }
}
