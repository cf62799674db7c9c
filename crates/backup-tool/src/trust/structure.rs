//! Whether every backup has all that it is made of: each directory readable, each piece of each file in the index, and each
//! pack that the index names there, with the size that the index says.
//!
//! The engine has a check of its own; it stops at the first directory that it cannot read and does not say whose it is.
//! What an operator needs to know is which backups are hurt, so the trees are walked here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use maint_core::cancel::Cancel;
use ring::digest::{Context, SHA256};
use rustic_core::repofile::{IndexFile, IndexPack, PackId, SnapshotFile, SnapshotId};
use rustic_core::{FileType, IndexedFullStatus, Repository, TreeId};

use super::attestation::hex;
use super::ledger::KnownBackup;
use crate::backup::{About, ClusterBackup};
use crate::storage::Object;
use crate::store::snapshots::{BROKEN, PENDING};
use crate::store::{Part, Store, StoreError, backend};

/// A snapshot, as far as verifying it goes.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its id in hexadecimal.
    pub id: String,
    /// What is remembered of it.
    pub known: KnownBackup,
    /// Its root.
    pub tree: TreeId,
    /// Whether it is a backup that somebody relies on: not pending, and not set aside as broken.
    pub counts: bool,
    /// The cluster's backup, when it is one.
    pub cluster: Option<ClusterBackup>,
}

/// The snapshots of a part, each read by itself, so that one that is damaged does not hide the others.
#[derive(Debug, Default)]
pub struct Snapshots {
    /// Those that could be read, oldest first.
    pub read: Vec<Snapshot>,
    /// Keys of those that could not, with the reason.
    pub unreadable: Vec<(String, String)>,
}

/// What a pack is to the index.
type Packs = HashMap<PackId, u32>;

/// What is wrong with one backup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hurt {
    /// Places in it that cannot be restored.
    pub places: u64,
    /// The first of them, and why.
    pub first: Option<(PathBuf, String)>,
}

/// What there is to a part.
#[derive(Debug, Default)]
pub struct Structure {
    /// Packs that cannot be relied on, by id in hexadecimal, and why.
    pub bad_packs: BTreeMap<String, String>,
    /// Backups that lost something, by label.
    pub hurt: BTreeMap<String, Hurt>,
    /// Packs that the index names.
    pub packs: usize,
    /// Packs that only these backups need, when that was asked; keys below the root.
    pub needed: BTreeSet<String>,
    /// Whether every tree was walked to its end.
    pub complete: bool,
}

/// Reads the snapshots of a part.
///
/// # Errors
/// The part cannot be opened.
pub fn snapshots(store: &Store, part: Part, objects: &[Object]) -> Result<Snapshots, StoreError> {
    let engine = store.repository(part)?;
    let prefix = format!("{}/snapshots/", part.directory());
    let mut found = Snapshots::default();
    for object in objects.iter().filter(|object| object.key.starts_with(&prefix)) {
        let Some(id) = object.key.strip_prefix(&prefix).and_then(|name| name.parse::<SnapshotId>().ok()) else {
            continue;
        };
        match engine.get_file::<SnapshotFile>(&id) {
            Ok(file) => found.read.push(snapshot(&id, &file)),
            // Let go between the listing and now.
            Err(_) if store.storage().size(&object.key)?.is_none() => {}
            Err(error) => found.unreadable.push((object.key.clone(), said(&error))),
        }
    }
    found.read.sort_by_key(|snapshot| snapshot.known.time);
    Ok(found)
}

fn said(error: &rustic_core::RusticError) -> String {
    error.display_log().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn snapshot(id: &SnapshotId, file: &SnapshotFile) -> Snapshot {
    let id = id.to_hex().as_str().to_owned();
    let about = file.description.as_deref().and_then(|text| serde_json::from_str::<About>(text).ok());
    let short = id.get(..16).unwrap_or(&id).to_owned();
    let (label, series, time) = match &about {
        Some(About::Cluster(backup)) => {
            (backup.label.clone(), format!("cluster {}", backup.system_identifier), backup.stop_time)
        }
        Some(About::Files(backup)) => (backup.label.clone(), format!("set {}", backup.set), file.time.timestamp()),
        None => (short, "other".to_owned(), file.time.timestamp()),
    };
    let pinned = matches!(file.delete, rustic_core::repofile::DeleteOption::Never);
    let tree = file.tree.to_hex().as_str().to_owned();
    Snapshot {
        id,
        known: KnownBackup { label, tree, series, time, pinned },
        tree: file.tree,
        counts: !file.tags.contains(PENDING) && !file.tags.contains(BROKEN),
        cluster: match about {
            Some(About::Cluster(backup)) => Some(backup),
            _ => None,
        },
    }
}

/// SHA-256 over the names and sizes of what a part is made of: as long as it is the same, so is everything that the index
/// and the trees can say, because each of these objects is named by its content.
pub fn listing(part: Part, objects: &[Object]) -> String {
    let mut context = Context::new(&SHA256);
    let root = part.directory();
    for object in objects {
        let parts = ["data", "index", "snapshots"].map(|kind| format!("{root}/{kind}/"));
        if parts.iter().any(|prefix| object.key.starts_with(prefix)) {
            context.update(format!("{} {}\n", object.key, object.size).as_bytes());
        }
    }
    hex(context.finish().as_ref())
}

/// Compares the index with the packs that a listing shows, and walks the trees of `backups`. With `damaged`, packs that
/// turned out to be damaged are counted as lost. With `needed`, also says which packs these backups need.
///
/// # Errors
/// The index cannot be read: then none of the part's backups can be restored.
pub fn examine(
    store: &Store,
    part: Part,
    objects: &[Object],
    backups: &[&Snapshot],
    damaged: &BTreeMap<String, String>,
    needed: bool,
    cancel: &Cancel,
) -> Result<Structure, StoreError> {
    let failed = |why: String| StoreError::Engine { doing: "check", place: store.storage().location(), why };
    let engine = store.repository(part)?;
    let done = catch_unwind(AssertUnwindSafe(|| {
        let mut structure = Structure { complete: true, ..Structure::default() };
        let mut indexed: Packs = HashMap::new();
        for file in engine.stream_files::<IndexFile>().map_err(|error| failed(said(&error)))? {
            let (_, file) = file.map_err(|error| failed(said(&error)))?;
            for pack in file.packs {
                if let Err(why) = check_offsets(&pack) {
                    structure.bad_packs.insert(pack.id.to_hex().as_str().to_owned(), why);
                }
                indexed.insert(pack.id, pack.pack_size());
            }
        }
        structure.packs = indexed.len();
        compare_packs(part, objects, &indexed, &mut structure.bad_packs);
        structure.bad_packs.extend(damaged.iter().map(|(id, why)| (id.clone(), why.clone())));
        let engine = engine.to_indexed().map_err(|error| failed(said(&error)))?;
        let mut walker = Walker { engine: &engine, bad: bad_ids(&structure.bad_packs), needed: None, cancel };
        if needed {
            walker.needed = Some(HashSet::new());
        }
        // Directories that several backups share are walked once, as long as nothing is wrong.
        let mut walked = HashSet::new();
        let whole = backups.iter().all(|backup| walker.walk(backup.tree, &mut walked).places == 0);
        if !whole {
            for backup in backups {
                let hurt = walker.walk(backup.tree, &mut HashSet::new());
                if hurt.places > 0 {
                    structure.hurt.insert(backup.known.label.clone(), hurt);
                }
            }
        }
        let packs = walker.needed.take().unwrap_or_default();
        structure.needed = packs.iter().map(|pack| backend::key_of(part, FileType::Pack, pack)).collect();
        structure.complete = !cancel.is_cancelled();
        Ok(structure)
    }));
    done.unwrap_or_else(|_| Err(failed("the storage engine gave up; its message is above".into())))
}

fn bad_ids(packs: &BTreeMap<String, String>) -> HashMap<PackId, String> {
    packs.iter().filter_map(|(id, why)| Some((id.parse::<PackId>().ok()?, why.clone()))).collect()
}

/// The pieces of a pack follow each other without a gap; otherwise the index is not of this pack.
fn check_offsets(pack: &IndexPack) -> Result<(), String> {
    let mut blobs: Vec<_> = pack.blobs.iter().map(|blob| (blob.location.offset, blob.location.length)).collect();
    blobs.sort_unstable();
    let mut end = 0_u32;
    for (offset, length) in blobs {
        if offset != end {
            return Err(format!("the index says that a piece of it begins at {offset}, where {end} was expected"));
        }
        end = end.saturating_add(length);
    }
    Ok(())
}

fn compare_packs(part: Part, objects: &[Object], indexed: &Packs, bad: &mut BTreeMap<String, String>) {
    let prefix = format!("{}/data/", part.directory());
    let name = |object: &Object| object.key.rsplit('/').next()?.parse::<PackId>().ok();
    let listed: HashMap<PackId, u64> = objects
        .iter()
        .filter(|object| object.key.starts_with(&prefix))
        .filter_map(|object| Some((name(object)?, object.size)))
        .collect();
    for (id, size) in indexed {
        let why = match listed.get(id) {
            None => "it is not there".to_owned(),
            Some(found) if *found != u64::from(*size) => {
                format!("it has {found} bytes, and the index says that it had {size}")
            }
            Some(_) => continue,
        };
        bad.insert(id.to_hex().as_str().to_owned(), why);
    }
}

struct Walker<'a> {
    engine: &'a Repository<IndexedFullStatus>,
    bad: HashMap<PackId, String>,
    needed: Option<HashSet<PackId>>,
    cancel: &'a Cancel,
}

impl Walker<'_> {
    /// Walks a tree and says what of it cannot be restored.
    fn walk(&mut self, root: TreeId, walked: &mut HashSet<TreeId>) -> Hurt {
        let mut hurt = Hurt::default();
        let mut open = vec![(PathBuf::new(), root)];
        while let Some((directory, id)) = open.pop() {
            if !walked.insert(id) || self.cancel.is_cancelled() {
                continue;
            }
            let pack = self.engine.get_index_entry(&id).map(|entry| entry.pack).ok();
            self.need(pack, &directory, &mut hurt);
            let tree = match self.engine.get_tree(&id) {
                Ok(tree) => tree,
                Err(error) => {
                    // Where its pack is bad it was counted already.
                    if pack.is_some_and(|pack| !self.bad.contains_key(&pack)) {
                        hurt.add(&directory, format!("the directory cannot be read: {}", said(&error)));
                    }
                    continue;
                }
            };
            for node in &tree.nodes {
                let path = directory.join(node.name());
                if node.is_file() {
                    self.pieces(node, &path, &mut hurt);
                } else if node.is_dir() {
                    match node.subtree {
                        Some(subtree) => open.push((path, subtree)),
                        None => hurt.add(&path, "nothing says what is in the directory".into()),
                    }
                }
            }
        }
        hurt
    }

    fn pieces(&mut self, node: &rustic_core::repofile::Node, path: &Path, hurt: &mut Hurt) {
        let Some(content) = &node.content else {
            hurt.add(path, "nothing says what is in the file".into());
            return;
        };
        let before = hurt.places;
        for piece in content {
            let pack = self.engine.get_index_entry(piece).map(|entry| entry.pack).ok();
            self.need(pack, path, hurt);
            // One place a file, however many of its pieces are lost.
            hurt.places = hurt.places.min(before + 1);
        }
    }

    fn need(&mut self, pack: Option<PackId>, path: &Path, hurt: &mut Hurt) {
        match pack {
            None => hurt.add(path, "the index does not know a piece of it".into()),
            Some(pack) => {
                if let Some(why) = self.bad.get(&pack) {
                    hurt.add(path, format!("it needs pack {}: {why}", pack.to_hex().as_str()));
                }
                if let Some(needed) = &mut self.needed {
                    needed.insert(pack);
                }
            }
        }
    }
}

impl Hurt {
    fn add(&mut self, path: &Path, why: String) {
        self.places += 1;
        if self.first.is_none() {
            let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
            self.first = Some((path.to_owned(), why));
        }
    }
}
