use std::ffi::OsStr;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::Arc;

use bytes::Bytes;
use maint_core::durable;
use maint_core::status::Exit;
use rustic_core::repofile::Metadata;
use rustic_core::{ReadSource, ReadSourceEntry, RusticResult};

use super::*;
use crate::storage::local::Local;
use crate::store::archive::ArchiveSpec;
use crate::store::secrets::Credentials;
use crate::store::{Part, Store};

/// A source of any entries.
#[derive(Debug)]
struct Entries(Vec<(PathBuf, Node, Bytes)>);

impl ReadSource for Entries {
    type Open = io::Cursor<Bytes>;
    type Iter = std::vec::IntoIter<RusticResult<ReadSourceEntry<io::Cursor<Bytes>>>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Self::Iter {
        let entry = |(path, node, content): &(PathBuf, Node, Bytes)| {
            let open = node.is_file().then(|| io::Cursor::new(content.clone()));
            Ok(ReadSourceEntry { path: path.clone(), node: node.clone(), open })
        };
        self.0.iter().map(entry).collect::<Vec<_>>().into_iter()
    }
}

struct Below(PathBuf, bool);

impl Places for Below {
    fn place(&self, entry: &Path) -> Option<PathBuf> {
        Some(self.0.join(entry))
    }

    fn is_cluster(&self) -> bool {
        self.1
    }
}

struct Bench {
    root: tempfile::TempDir,
    store: Store,
    target: PathBuf,
}

fn bench() -> Bench {
    let root = tempfile::tempdir().unwrap();
    let (password, place) = (root.path().join("password"), root.path().join("repository"));
    durable::replace(&password, b"secret", 0o600).unwrap();
    fs::create_dir(&place).unwrap();
    let password = Credentials::load(Some(&password), None).unwrap().password().unwrap();
    let store = Store::create(Arc::new(Local::open(&place).unwrap()), &password, 32 << 10).unwrap();
    let target = root.path().join("target");
    fs::create_dir(&target).unwrap();
    Bench { root, store, target }
}

impl Bench {
    fn keep(&self, entries: Vec<(PathBuf, Node, Bytes)>) -> TreeId {
        self.store.archive(Part::Clusters, &Entries(entries), &ArchiveSpec::default()).unwrap().tree()
    }

    fn restore(&self, tree: TreeId, cluster: bool) -> Restored {
        let reader = self.store.reader(Part::Clusters).unwrap();
        restore(&reader, tree, &Below(self.target.clone(), cluster), &Cancel::never()).unwrap()
    }

    /// Visits entries that no honest source makes.
    fn visit(&self, entries: &[(&str, Node)]) -> Restored {
        let reader = self.store.reader(Part::Clusters).unwrap();
        let (places, cancel) = (Below(self.target.clone(), false), Cancel::never());
        let restoring = Restoring { reader: &reader, places: &places, cancel: &cancel, done: Mutex::default() };
        let (send, receive) = sync_channel(100);
        let mut walk = Walk::new(send);
        for (entry, node) in entries {
            restoring.visit(&mut walk, Path::new(entry), node);
        }
        let Walk { files, directories, names, .. } = walk;
        drop(files);
        restoring.write_files(&Mutex::new(receive));
        restoring.finish(&directories, &names)
    }
}

fn meta(mode: u32, size: usize) -> Metadata {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mtime = "1969-07-20T20:17:40.25Z".parse().unwrap();
    let base = Metadata { mode: Some(mode), mtime: Some(mtime), uid: Some(uid), gid: Some(gid), ..Metadata::default() };
    Metadata { size: size as u64, links: 1, ..base }
}

fn node(name: &str, kind: NodeType, mode: u32) -> Node {
    Node::new_node(OsStr::new(name), kind, meta(mode, 0))
}

fn dir(path: &str) -> (PathBuf, Node, Bytes) {
    let path = PathBuf::from(path);
    let node = Node::new_node(path.file_name().unwrap(), NodeType::Dir, meta(1 << 31 | 0o750, 0));
    (path, node, Bytes::new())
}

fn file(path: impl Into<PathBuf>, content: &[u8]) -> (PathBuf, Node, Bytes) {
    let path = path.into();
    let node = Node::new_node(path.file_name().unwrap(), NodeType::File, meta(0o640, content.len()));
    (path, node, Bytes::copy_from_slice(content))
}

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn everything_comes_back_as_it_was() {
    let bench = bench();
    let strange = std::ffi::OsString::from_vec(b"n\xffame \"\\\n".to_vec());
    let content = [noise(100_000, 1), vec![0; 200_000], noise(5, 2)].concat();
    let mut linked = [file("top/a", b"one file"), file("top/sub/z", b"one file")];
    for (_, node, _) in &mut linked {
        (node.meta.links, node.meta.inode, node.meta.device_id) = (2, 77, 5);
    }
    let [first, second] = linked;
    let mut marked = file("top/marked", b"x");
    marked.1.meta.mode = Some(1 << 23 | 0o755);
    let mut attribute = file("top/attribute", b"");
    let stored = serde_json::json!([{ "name": "user.maint", "value": "dgB3" }]);
    attribute.1.meta.extended_attributes = serde_json::from_value(stored).unwrap();
    let path = PathBuf::from;
    let tree = bench.keep(vec![
        dir("top"),
        first,
        attribute,
        file("top/big", &content),
        (path("top/link"), node("link", NodeType::from_link(Path::new("../nowhere")), 0o777), Bytes::new()),
        marked,
        file(Path::new("top").join(&strange), b"strange"),
        (path("top/pipe"), node("pipe", NodeType::Fifo, 0o600), Bytes::new()),
        dir("top/sub"),
        second,
    ]);
    let restored = bench.restore(tree, false);
    assert_eq!((restored.failed, restored.files), (0, 5), "{:?}", restored.errors);
    assert_eq!(restored.bytes, content.len() as u64 + 8 + 1 + 7);
    let top = bench.target.join("top");
    assert_eq!(fs::read(top.join("big")).unwrap(), content);
    assert_eq!(fs::read(top.join(&strange)).unwrap(), b"strange");
    assert_eq!(fs::read_link(top.join("link")).unwrap(), Path::new("../nowhere"));
    let of = |name: &str| fs::symlink_metadata(top.join(name)).unwrap();
    assert_eq!((of("a").ino(), of("a").nlink()), (of("sub/z").ino(), 2));
    assert_eq!((of("marked").mode() & 0o7777, of("big").mode() & 0o7777), (0o4755, 0o640));
    assert_eq!((of("pipe").mode(), of("sub").mode()), (0o010_600, 0o040_750));
    assert_eq!((of("big").mtime(), of("big").mtime_nsec()), (-14_182_940, 250_000_000));
    assert_eq!((of("sub").mtime(), of("link").mtime()), (-14_182_940, -14_182_940));
    assert!(of("big").blocks() * 512 < 250_000, "what was zeros takes no room");
    let mut value = [0; 8];
    match rustix::fs::lgetxattr(top.join("attribute"), "user.maint", &mut value[..]) {
        Ok(length) => assert_eq!(&value[..length], b"v\0w"),
        Err(_) => assert!(restored.notes.iter().any(|note| note.contains("user.maint")), "{:?}", restored.notes),
    }
}

#[test]
fn files_of_a_cluster_have_all_of_their_room() {
    let bench = bench();
    let content = [noise(8192, 1), vec![0; 1 << 20]].concat();
    let tree = bench.keep(vec![file("relation", &content)]);
    assert_eq!(bench.restore(tree, true).failed, 0);
    let path = bench.target.join("relation");
    assert_eq!(fs::read(&path).unwrap(), content);
    assert!(fs::metadata(&path).unwrap().blocks() * 512 >= content.len() as u64);
}

#[test]
fn a_file_of_another_length_than_noted_is_an_error_in_a_cluster_and_a_note_elsewhere() {
    let bench = bench();
    let mut short = file("file", &noise(100, 1));
    short.1.meta.size = 200;
    let tree = bench.keep(vec![short]);
    let restored = bench.restore(tree, true);
    assert_eq!(restored.errors.len(), 1);
    assert!(restored.errors[0].contains("100 bytes are stored of 200"), "{:?}", restored.errors);
    fs::remove_file(bench.target.join("file")).unwrap();
    let restored = bench.restore(tree, false);
    assert_eq!((restored.failed, restored.notes.len()), (0, 1));
    assert_eq!(fs::metadata(bench.target.join("file")).unwrap().len(), 100);
}

#[test]
fn what_is_damaged_is_named_and_the_rest_is_restored() {
    let bench = bench();
    let tree = bench.keep(vec![file("bad", &noise(90_000, 1)), file("good", &noise(90_000, 2))]);
    // Both are in one pack; a byte of the first piece is flipped.
    let reader = bench.store.reader(Part::Clusters).unwrap();
    let packs = walk_files(&bench.root.path().join("repository/pg/data"));
    let (pack, _) =
        packs.iter().map(|pack| (pack, fs::metadata(pack).unwrap().len())).max_by_key(|pack| pack.1).unwrap();
    let mut bytes = fs::read(pack).unwrap();
    bytes[100] ^= 1;
    fs::set_permissions(pack, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(pack, bytes).unwrap();
    let restored = restore(&reader, tree, &Below(bench.target.clone(), true), &Cancel::never()).unwrap();
    assert_eq!((restored.failed, restored.files, restored.errors.len()), (1, 1, 1), "{:?}", restored.errors);
    let damaged = if restored.errors[0].contains("/bad:") { ("good", 2) } else { ("bad", 1) };
    assert_eq!(fs::read(bench.target.join(damaged.0)).unwrap(), noise(90_000, damaged.1));
    assert!(restored.trouble().contains("only its first"), "{}", restored.trouble());
}

fn walk_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk_files(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn names_that_lead_elsewhere_are_refused_with_all_that_is_below_them() {
    let bench = bench();
    let inner = || node("evil", NodeType::File, 0o600);
    let outer = bench.root.path().join("evil").display().to_string();
    let restored = bench.visit(&[
        ("..", node("..", NodeType::Dir, 0o700)),
        ("../evil", inner()),
        (&outer, node(&outer, NodeType::File, 0o600)),
        ("a/../../evil", node("../../evil", NodeType::File, 0o600)),
        ("", node("", NodeType::Dir, 0o700)),
        (".", node(".", NodeType::Dir, 0o700)),
        ("./b", node("b", NodeType::File, 0o600)),
    ]);
    assert_eq!((restored.failed, restored.files), (7, 0), "{:?}", restored.errors);
    assert!(!bench.root.path().join("evil").exists());
    assert_eq!(fs::read_dir(&bench.target).unwrap().count(), 0);
}

#[test]
fn nothing_is_written_through_a_link_or_over_a_file() {
    let bench = bench();
    let outside = bench.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(bench.target.join("kept"), "mine").unwrap();
    let restored = bench.visit(&[
        ("a", node("a", NodeType::from_link(&outside), 0o777)),
        ("a", node("a", NodeType::Dir, 0o700)),
        ("a/evil", node("evil", NodeType::File, 0o600)),
        ("kept", node("kept", NodeType::File, 0o600)),
        ("kept", node("kept", NodeType::from_link(&outside), 0o777)),
    ]);
    assert_eq!((restored.failed, restored.files), (4, 0), "{:?}", restored.errors);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(fs::read(bench.target.join("kept")).unwrap(), b"mine");
}

#[test]
fn an_inode_that_was_used_twice_is_two_files() {
    let bench = bench();
    let mut twice = [file("a", &noise(100, 1)), file("b", &noise(100, 2))];
    for (_, node, _) in &mut twice {
        (node.meta.links, node.meta.inode) = (2, 77);
    }
    let tree = bench.keep(twice.to_vec());
    assert_eq!(bench.restore(tree, false).files, 2);
    assert_eq!(fs::read(bench.target.join("b")).unwrap(), noise(100, 2));
}

#[test]
fn only_who_owns_a_file_may_lend_that() {
    let bench = bench();
    let mut lent = node("lent", NodeType::File, 1 << 23 | 0o755);
    lent.meta.uid = None;
    bench.visit(&[("lent", lent)]);
    assert_eq!(fs::metadata(bench.target.join("lent")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn a_run_that_is_asked_to_stop_writes_nothing_more() {
    let bench = bench();
    let tree = bench.keep(vec![file("a", b"a"), file("b", b"b")]);
    let reader = bench.store.reader(Part::Clusters).unwrap();
    let cancel = Cancel::never();
    cancel.cancel(Exit::Interrupted);
    let restored = restore(&reader, tree, &Below(bench.target.clone(), false), &cancel).unwrap();
    assert_eq!((restored.files, restored.failed), (0, 0));
    assert_eq!(fs::read_dir(&bench.target).unwrap().count(), 0);
}
