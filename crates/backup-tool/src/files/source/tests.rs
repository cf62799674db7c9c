use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use maint_core::durable;
use maint_core::status::Exit;
use rustic_core::repofile::NodeType;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};

use super::super::set::SetTable;
use super::*;
use crate::storage::local::Local;
use crate::store::archive::{ArchiveSpec, Archived};
use crate::store::secrets::Credentials;
use crate::store::{Part, Store, Stored};

struct Bench {
    _dir: tempfile::TempDir,
    top: PathBuf,
    store: Store,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    durable::replace(&root.join("password"), b"a password", 0o600).unwrap();
    for name in ["repository", "set"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let storage = Arc::new(Local::open(&root.join("repository")).unwrap());
    let password = Credentials::load(Some(&root.join("password")), None).unwrap().password().unwrap();
    let store = Store::create(storage, &password, 32 << 10).unwrap();
    Bench { _dir: dir, top: root.join("set"), store }
}

impl Bench {
    fn set(&self) -> FileSet {
        let paths = vec![self.top.display().to_string()];
        FileSet::new("test", &SetTable { paths, ..SetTable::default() }).unwrap()
    }

    fn archive(&self, parent: Option<&Stored>) -> (Archived, Outcome) {
        let source = FilesSource::new(self.set(), parent.map(|stored| stored.time), Cancel::never());
        let report = source.report();
        let archived =
            self.store.archive(Part::Files, &source, &ArchiveSpec { parent, ..ArchiveSpec::default() }).unwrap();
        (archived, report.finish())
    }

    /// The only snapshot, as the parent of the next, begun long enough after every file came to rest.
    fn parent(&self) -> Stored {
        let stored = self.store.snapshots(Part::Files).unwrap().pop().unwrap();
        Stored { time: Timestamp::now() + Duration::from_secs(60), ..stored }
    }

    fn node(&self, archived: &Archived, name: impl AsRef<Path>) -> Node {
        let path = self.top.strip_prefix("/").unwrap().join(name);
        self.store.reader(Part::Files).unwrap().node(archived.tree(), &path).unwrap().unwrap()
    }

    fn content(&self, archived: &Archived, name: &str) -> Option<Vec<u8>> {
        let path = self.top.strip_prefix("/").unwrap().join(name);
        self.store.reader(Part::Files).unwrap().file(archived.tree(), &path).unwrap()
    }

    fn count(&self, archived: &Archived) -> (u64, u64) {
        let (mut entries, mut bytes) = (0, 0);
        let mut visit = |_: &Path, node: &Node| {
            entries += 1;
            bytes += node.meta.size;
            Ok(())
        };
        self.store.reader(Part::Files).unwrap().walk(archived.tree(), &mut visit).unwrap();
        (entries, bytes)
    }

    /// Waits until the kernel's clock has gone on, so that the next change shows.
    fn rest() {
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn what_is_stored_is_what_was_there() {
    let bench = bench();
    let at = |name: &str| bench.top.join(name);
    fs::create_dir(at("directory")).unwrap();
    fs::set_permissions(at("directory"), fs::Permissions::from_mode(0o3750)).unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(at("directory/large"), &large).unwrap();
    fs::write(at("empty"), "").unwrap();
    symlink("directory/large", at("link")).unwrap();
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::from(0o640), 0).unwrap();
    let (archived, outcome) = bench.archive(None);
    assert_eq!((outcome.error_count, outcome.bytes), (0, large.len() as u64), "{}", outcome.trouble());
    assert_eq!(bench.count(&archived), (outcome.entries, outcome.bytes));
    assert!(bench.content(&archived, "directory/large").unwrap() == large);
    let node = bench.node(&archived, "directory");
    assert_eq!(node.meta.mode, Some(1 << 31 | 1 << 22 | 1 << 20 | 0o750));
    let found = fs::metadata(at("directory/large")).unwrap();
    let node = bench.node(&archived, "directory/large");
    let written = Timestamp::new(found.mtime(), found.mtime_nsec() as i32).unwrap();
    assert_eq!((node.meta.mtime, node.meta.atime), (Some(written), Some(written)));
    assert_eq!((node.meta.uid, node.meta.gid, node.meta.inode), (Some(found.uid()), Some(found.gid()), found.ino()));
    assert_eq!((node.meta.links, node.meta.device_id), (1, 0));
    assert_eq!(bench.node(&archived, "link").node_type, NodeType::from_link(Path::new("directory/large")));
    assert_eq!(bench.node(&archived, "pipe").node_type, NodeType::Fifo);
    assert_eq!(bench.content(&archived, "empty").unwrap(), b"");
}

#[test]
fn hard_links_are_told_by_inode_and_device() {
    let bench = bench();
    fs::write(bench.top.join("a"), "one").unwrap();
    fs::hard_link(bench.top.join("a"), bench.top.join("b")).unwrap();
    let (archived, _) = bench.archive(None);
    let (a, b) = (bench.node(&archived, "a").meta, bench.node(&archived, "b").meta);
    let found = fs::metadata(bench.top.join("a")).unwrap();
    assert_eq!((a.links, a.inode, a.device_id), (2, found.ino(), found.dev()));
    assert_eq!((b.links, b.inode, b.device_id), (2, found.ino(), found.dev()));
}

#[test]
fn extended_attributes_and_access_control_lists_are_kept() {
    let bench = bench();
    fs::write(bench.top.join("a"), "").unwrap();
    // Version 2; owner rw-, user 33 r--, group ---, mask r--, others ---: each a tag, a permission and a number.
    let list: Vec<u8> = [2, 0, 0, 0]
        .into_iter()
        .chain(
            [(1_u16, 6_u16, u32::MAX), (2, 4, 33), (4, 0, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
                .iter()
                .flat_map(|(tag, permission, number)| {
                    [&tag.to_le_bytes()[..], &permission.to_le_bytes(), &number.to_le_bytes()].concat()
                }),
        )
        .collect();
    let mut expected = Vec::new();
    for (name, value) in [("system.posix_acl_access", &list[..]), ("user.empty", b""), ("user.x", b"\0\xff")] {
        lsetxattr(bench.top.join("a"), name, value, XattrFlags::empty()).unwrap();
        expected.push((name.to_owned(), Some(value.to_vec())));
    }
    let (archived, outcome) = bench.archive(None);
    assert_eq!(outcome.error_count, 0, "{}", outcome.trouble());
    let stored = bench.node(&archived, "a").meta.extended_attributes;
    assert_eq!(stored.into_iter().map(|one| (one.name, one.value)).collect::<Vec<_>>(), expected);
}

#[test]
fn names_of_any_bytes_come_back() {
    let bench = bench();
    for name in [&b"a\nb"[..], b"caf\xe9", b"q\"\\x41"] {
        fs::write(bench.top.join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    let (archived, outcome) = bench.archive(None);
    assert_eq!(bench.count(&archived), (outcome.entries, outcome.bytes));
    for name in [&b"a\nb"[..], b"caf\xe9", b"q\"\\x41"] {
        assert_eq!(bench.node(&archived, std::ffi::OsStr::from_bytes(name)).meta.size, name.len() as u64);
    }
}

#[test]
fn with_a_parent_only_what_changed_is_read() {
    let bench = bench();
    for name in ["a", "b"] {
        fs::write(bench.top.join(name), name.repeat(1000)).unwrap();
    }
    drop(bench.archive(None));
    let parent = bench.parent();
    let (archived, outcome) = bench.archive(Some(&parent));
    assert_eq!((archived.unchanged_files(), outcome.error_count), (2, 0));
    Bench::rest();
    fs::write(bench.top.join("a"), "c".repeat(1000)).unwrap();
    let (archived, outcome) = bench.archive(Some(&parent));
    assert_eq!((archived.unchanged_files(), outcome.error_count), (1, 0));
    assert_eq!(bench.content(&archived, "a").unwrap(), "c".repeat(1000).into_bytes());
    assert_eq!(bench.content(&archived, "b").unwrap(), "b".repeat(1000).into_bytes());
}

#[test]
fn what_was_touched_when_the_parent_began_is_read_again() {
    let bench = bench();
    fs::write(bench.top.join("a"), "one").unwrap();
    drop(bench.archive(None));
    let changed = fs::metadata(bench.top.join("a")).unwrap();
    let changed = Timestamp::new(changed.ctime(), changed.ctime_nsec() as i32).unwrap();
    let parent = bench.parent();
    let unchanged = |after: SignedDuration| {
        let stored = Stored { time: changed.saturating_add(after).unwrap(), ..parent.clone() };
        bench.archive(Some(&stored)).0.unchanged_files()
    };
    assert_eq!(unchanged(COARSEST), 0);
    assert_eq!(unchanged(COARSEST + SignedDuration::from_nanos(1)), 1);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_in_no_tree() {
    let bench = bench();
    fs::write(bench.top.join("a"), "quiet").unwrap();
    fs::write(bench.top.join("growing"), vec![b'x'; 3_000_000]).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let path = bench.top.join("growing");
    let (archived, outcome) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = File::options().append(true).open(&path).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all(b"more").unwrap();
            }
        });
        Bench::rest();
        let done = bench.archive(None);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        done
    });
    assert!(outcome.may_pass() && outcome.trouble().contains("growing\" changed while it was read"), "{outcome:?}");
    assert!(bench.content(&archived, "growing").is_none());
    assert_eq!(bench.content(&archived, "a").unwrap(), b"quiet");
    // At rest again, the next reading has it.
    let (archived, outcome) = bench.archive(Some(&bench.parent()));
    assert_eq!(outcome.error_count, 0, "{}", outcome.trouble());
    assert_eq!(bench.content(&archived, "growing").unwrap().len() as u64, fs::metadata(&path).unwrap().len());
}

#[test]
fn what_cannot_be_read_is_in_the_report_though_the_engine_goes_on() {
    let bench = bench();
    fs::write(bench.top.join("a"), "one").unwrap();
    let paths = vec![bench.top.display().to_string(), "/proc/self/mem".to_owned()];
    let set = FileSet::new("test", &SetTable { paths, ..SetTable::default() }).unwrap();
    let source = FilesSource::new(set, None, Cancel::never());
    let report = source.report();
    let archived = bench.store.archive(Part::Files, &source, &ArchiveSpec::default()).unwrap();
    let outcome = report.finish();
    assert_eq!((outcome.error_count, outcome.lasting), (1, 1));
    assert!(outcome.trouble().starts_with("cannot read \"/proc/self/mem\""), "{}", outcome.trouble());
    assert_eq!(bench.content(&archived, "a").unwrap(), b"one");
    assert_ne!(bench.count(&archived).0, outcome.entries, "the tree lacks it, and counting tells");
}

#[test]
fn a_run_that_is_asked_to_stop_says_so() {
    let bench = bench();
    let cancel = Cancel::never();
    let source = FilesSource::new(bench.set(), None, cancel.clone());
    let report = source.report();
    let mut entries = source.entries();
    assert!(entries.next().is_some());
    cancel.cancel(Exit::Interrupted);
    assert!(entries.next().is_none());
    assert!(report.finish().interrupted);
}

#[test]
fn counting_reads_nothing_and_sees_what_cannot_be_opened() {
    let bench = bench();
    fs::write(bench.top.join("a"), "12345").unwrap();
    let outcome = FilesSource::new(bench.set(), None, Cancel::never()).count();
    let above = bench.top.ancestors().count() as u64 - 1;
    assert_eq!((outcome.entries, outcome.bytes, outcome.error_count), (above + 1, 5, 0));
    let mut entries = FilesSource::new(bench.set(), None, Cancel::never()).entries();
    let mut bytes = String::new();
    let entry = entries.find(|entry| entry.as_ref().unwrap().path.ends_with("a")).unwrap().unwrap();
    rustic_core::ReadSourceOpen::open(entry.open.unwrap()).unwrap().read_to_string(&mut bytes).unwrap();
    assert_eq!(bytes, "12345");
}
