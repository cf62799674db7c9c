//! File sets: what comes back is what was there, and what cannot be read whole is not kept.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use serde_json::Value;
use testbed::{Output, RUN_LIMIT, Signal, files, records, run, start, tool, wait_until};

use super::retention::told;

/// A repository and a directory to be backed up, without a server.
struct Place {
    _dir: tempfile::TempDir,
    root: PathBuf,
}

impl Place {
    /// With the sets of `tables`, in which `{set}` stands for the directory.
    fn new(tables: &str) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["state", "set"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        fs::write(root.join("password"), "a password of the tests").unwrap();
        fs::set_permissions(root.join("password"), Permissions::from_mode(0o600)).unwrap();
        let place = Place { _dir: dir, root };
        place.configure(tables);
        let output = place.run(&["init"]);
        assert_eq!(output.code, 0, "{output}");
        place
    }

    fn configure(&self, tables: &str) {
        let text = format!(
            "[backup-tool]\nrepository = \"{root}/repository\"\npassword_file = \"{root}/password\"\n{}\n",
            tables.replace("{set}", &self.set().display().to_string()),
            root = self.root.display()
        );
        fs::write(self.root.join("maint.toml"), text).unwrap();
    }

    fn set(&self) -> PathBuf {
        self.root.join("set")
    }

    fn tool(&self, args: &[&str]) -> Command {
        let mut command = tool("backup-tool", &self.root.join("state")).unwrap();
        command.arg("--config").arg(self.root.join("maint.toml")).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        run(self.tool(args).args(["-o", "ndjson"])).unwrap()
    }

    /// Backs up; must succeed. What the step says.
    #[track_caller]
    fn backup(&self) -> Value {
        let output = self.run(&["config-backup"]);
        assert_eq!(output.code, 0, "{output}");
        told(&output)[0]["data"].clone()
    }

    fn snapshots(&self) -> usize {
        files(&self.root.join("repository/files/snapshots")).len()
    }

    #[track_caller]
    fn restic(&self, args: &[&str]) -> Output {
        let mut command = Command::new("restic");
        command.arg("-r").arg(self.root.join("repository/files")).arg("--no-cache").args(args);
        let output = run(command.env("RESTIC_PASSWORD_FILE", self.root.join("password"))).unwrap();
        assert_eq!(output.code, 0, "{output}");
        output
    }

    /// The set as restic brings it back.
    fn restored(&self) -> PathBuf {
        let target = self.root.join("restored");
        self.restic(&["restore", "latest", "--target", &target.display().to_string()]);
        target.join(self.set().strip_prefix("/").unwrap())
    }
}

const ONE: &str = "[backup-tool.sets.things]\npaths = [\"{set}\"]";

/// Everything of an entry that must come back.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    links: u64,
    modified: (i64, i64),
    content: Vec<u8>,
    target: Option<PathBuf>,
    attributes: Vec<(String, Vec<u8>)>,
}

fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut all: Vec<_> = names
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(length);
            (String::from_utf8(name.to_vec()).unwrap(), value)
        })
        .collect();
    all.sort();
    all
}

/// All entries below a directory, and itself, by their names.
fn seen(top: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut all = BTreeMap::new();
    let mut open = vec![top.to_owned()];
    while let Some(path) = open.pop() {
        let found = path.symlink_metadata().unwrap();
        if found.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let entry = Seen {
            mode: found.mode(),
            owner: (found.uid(), found.gid()),
            links: if found.is_dir() { 0 } else { found.nlink() },
            modified: (found.mtime(), found.mtime_nsec()),
            content: if found.is_file() { fs::read(&path).unwrap() } else { Vec::new() },
            target: fs::read_link(&path).ok(),
            attributes: attributes(&path),
        };
        all.insert(path.strip_prefix(top).unwrap().to_owned(), entry);
    }
    all
}

/// An access control list as the kernel has it (acl(5), version 2): the owner, a user, the group, the mask, others.
fn access_list() -> Vec<u8> {
    let entries = [(1_u16, 6_u16, u32::MAX), (2, 4, 33), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)];
    let bytes = |(tag, permission, number): (u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &permission.to_le_bytes(), &number.to_le_bytes()].concat()
    };
    [2_u32.to_le_bytes().to_vec(), entries.map(bytes).concat()].concat()
}

#[test]
fn restic_brings_back_every_file_as_it_was() {
    let place = Place::new(ONE);
    let set = place.set();
    let is_root = rustix::process::geteuid().is_root();
    fs::create_dir_all(set.join("a/b")).unwrap();
    let large: Vec<u8> = (0..2_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(set.join("a/large"), &large).unwrap();
    let sparse = File::create(set.join("sparse")).unwrap();
    sparse.write_all_at(b"end", 5_000_000).unwrap();
    for name in [&b"a\nnew line"[..], b"caf\xe9", b"q\"u\\o\\x41te", "größe".as_bytes(), b"-rf", b" "] {
        fs::write(set.join(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::write(set.join("empty"), "").unwrap();
    fs::hard_link(set.join("a/large"), set.join("a/b/same")).unwrap();
    symlink("../a/large", set.join("a/link")).unwrap();
    symlink("nowhere at all", set.join("dangling")).unwrap();
    rustix::fs::mknodat(CWD, set.join("pipe"), FileType::Fifo, Mode::from(0o620), 0).unwrap();
    let set_attribute = |name: &str, attribute: &str, value: &[u8]| {
        rustix::fs::setxattr(set.join(name), attribute, value, XattrFlags::empty()).unwrap();
    };
    set_attribute("a", "user.of.directory", b"x");
    set_attribute("empty", "user.bytes", b"\0\xff\n");
    set_attribute("empty", "system.posix_acl_access", &access_list());
    if is_root {
        std::os::unix::fs::chown(set.join("empty"), Some(33), Some(7)).unwrap();
        std::os::unix::fs::lchown(set.join("dangling"), Some(12), Some(13)).unwrap();
        std::os::unix::fs::chown(set.join("a/b"), Some(4_000_000), Some(4_000_001)).unwrap();
    }
    for (name, mode) in [("a", 0o3771), ("a/b", 0o500), ("sparse", 0o4711), ("-rf", 0o000)] {
        fs::set_permissions(set.join(name), Permissions::from_mode(mode)).unwrap();
    }
    if !is_root {
        fs::set_permissions(set.join("-rf"), Permissions::from_mode(0o400)).unwrap();
    }
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::new(3, 141_592_653);
    File::open(set.join("a/large")).unwrap().set_modified(long_ago).unwrap();

    let step = place.backup();
    let all = seen(&set);
    let above = place.set().ancestors().count() as u64 - 2;
    assert_eq!(step["entries"], all.len() as u64 + above, "{step}");
    assert_eq!(step["size_bytes"], all.values().map(|entry| entry.content.len() as u64).sum::<u64>(), "{step}");
    place.restic(&["check", "--read-data"]);
    let restored = place.restored();
    let came_back = seen(&restored);
    assert_eq!(came_back.keys().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>());
    for (path, was) in &all {
        assert!(came_back[path] == *was, "{path:?} was {was:?} and came back as {:?}", came_back[path]);
    }
    let inode = |name: &str| restored.join(name).metadata().unwrap().ino();
    assert_eq!(inode("a/large"), inode("a/b/same"));
    let listed = records(&place.run(&["list"]).stdout).unwrap();
    assert_eq!((&listed[0]["data"]["set"], &listed[0]["subject"]), (&"things".into(), &step["label"]));
}

#[test]
fn what_cannot_be_read_fails_its_set_alone_and_leaves_no_snapshot() {
    let broken = "[backup-tool.sets.broken]\npaths = [\"{set}\", \"/proc/self/mem\"]";
    let missing = "[backup-tool.sets.missing]\npaths = [\"{set}\", \"/nonexistent/x\"]";
    let place = Place::new(&format!("{broken}\n{missing}"));
    fs::write(place.set().join("a"), "one").unwrap();
    for (name, path) in [("broken", "/proc/self/mem"), ("missing", "/nonexistent/x")] {
        let output = place.run(&["config-backup", name]);
        assert_eq!(output.code, 2, "{output}");
        let step = &told(&output)[0];
        assert_eq!((&step["subject"], &step["data"]["status"]), (&name.into(), &"failed".into()), "{output}");
        assert!(step["data"]["message"].as_str().unwrap().contains(path), "{output}");
        assert_eq!(place.snapshots(), 0);
    }
    place.configure(&format!("{broken}\n{missing}\n{ONE}"));
    let output = place.run(&["config-backup"]);
    assert_eq!(output.code, 2, "{output}");
    let statuses: Vec<Value> = told(&output).iter().map(|step| step["data"]["status"].clone()).collect();
    assert_eq!(statuses, ["failed", "failed", "ok"], "{output}");
    assert_eq!(place.snapshots(), 1);
    assert_eq!(fs::read(place.restored().join("a")).unwrap(), b"one");
    // What a dry run says is what would happen.
    let output = place.run(&["config-backup", "--dry-run"]);
    assert_eq!(output.code, 2, "{output}");
    assert!(told(&output)[1]["data"]["message"].as_str().unwrap().contains("/nonexistent/x"), "{output}");
}

#[test]
fn every_file_that_cannot_be_read_is_named_up_to_twenty() {
    let place = Place::new("");
    let me = std::process::id();
    // Each thread of this process shows the same memory, which nobody can read from its beginning.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..23 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let threads: Vec<PathBuf> =
            fs::read_dir(format!("/proc/{me}/task")).unwrap().map(|entry| entry.unwrap().path()).collect();
        let paths: Vec<String> = threads.iter().rev().take(22).map(|path| format!("{:?}", path.join("mem"))).collect();
        place.configure(&format!("[backup-tool.sets.x]\npaths = [{}]", paths.join(", ")));
        let output = place.run(&["config-backup"]);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(output.code, 2, "{output}");
        let message = told(&output)[0]["data"]["message"].as_str().unwrap().to_owned();
        assert_eq!(message.matches("/mem\"").count(), 20, "{message}");
        assert!(message.contains("; and 2 more"), "{message}");
    });
}

#[test]
fn a_file_that_never_rests_fails_the_backup_and_one_that_comes_to_rest_does_not() {
    let place = Place::new(ONE);
    let path = place.set().join("log");
    fs::write(&path, vec![b'x'; 2_000_000]).unwrap();
    fs::write(place.set().join("quiet"), "quiet").unwrap();
    let write_until = |rests: &(dyn Fn() -> bool + Sync)| {
        let mut file = File::options().append(true).open(&path).unwrap();
        while !rests() {
            file.write_all(b"a line\n").unwrap();
            std::thread::sleep(Duration::from_micros(200));
        }
    };
    let ended = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| write_until(&|| ended.load(Ordering::Relaxed)));
        let output = place.run(&["config-backup"]);
        ended.store(true, Ordering::Relaxed);
        output
    });
    assert_eq!(output.code, 2, "{output}");
    let message = told(&output)[0]["data"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("/log\" changed while it was read") && !message.contains("quiet"), "{message}");
    assert_eq!(place.snapshots(), 0);

    // Now the writer rests as soon as the first reading has ended, which its pending snapshot shows.
    let step = std::thread::scope(|scope| {
        scope.spawn(|| write_until(&|| place.snapshots() > 0));
        place.backup()
    });
    assert!((2..=3).contains(&step["readings"].as_u64().unwrap()), "{step}");
    assert_eq!(place.snapshots(), 1);
    assert!(fs::read(place.restored().join("log")).unwrap() == fs::read(&path).unwrap());
}

#[test]
fn the_next_backup_stores_what_changed_and_a_dry_run_nothing() {
    let place = Place::new(&format!("{ONE}\nexclude = [\"*.tmp\", \"{{set}}/cache\"]"));
    let set = place.set();
    fs::create_dir(set.join("cache")).unwrap();
    fs::write(set.join("cache/x"), "no").unwrap();
    fs::write(set.join("x.tmp"), "no").unwrap();
    for n in 0..50 {
        fs::write(set.join(format!("file {n}")), format!("content {n}").repeat(1000)).unwrap();
    }
    let long_ago = Duration::from_secs(3);
    std::thread::sleep(long_ago);
    let output = place.run(&["config-backup", "--dry-run"]);
    assert_eq!((output.code, place.snapshots()), (0, 0), "{output}");
    let plan = told(&output)[0]["data"].clone();
    let first = place.backup();
    assert_eq!((&plan["entries"], &plan["size_bytes"]), (&first["entries"], &first["size_bytes"]));
    assert_eq!(first["unchanged_entries"], 0);
    fs::write(set.join("file 7"), "new").unwrap();
    let second = place.backup();
    assert_eq!((&second["entries"], &second["unchanged_entries"]), (&first["entries"], &49.into()), "{second}");
    let stored = |step: &Value| step["stored_bytes"].as_u64().unwrap();
    assert!(stored(&second) < stored(&first), "{first} {second}");
    assert_ne!(first["label"], second["label"]);
    let restored = place.restored();
    assert_eq!(fs::read(restored.join("file 7")).unwrap(), b"new");
    assert!(!restored.join("cache").exists() && !restored.join("x.tmp").exists());
    let plan = place.run(&["config-backup", "--dry-run"]);
    assert_eq!(told(&plan)[0]["data"]["parent"], second["label"], "{plan}");
}

#[test]
fn a_backup_that_is_interrupted_is_none() {
    let place = Place::new(ONE);
    File::create(place.set().join("huge")).unwrap().set_len(8 << 30).unwrap();
    let running = start(&mut place.tool(&["config-backup"])).unwrap();
    let lock = place.root.join("repository/locks/write");
    wait_until("the backup is at work", Duration::from_mins(1), || lock.exists()).unwrap();
    running.signal(Signal::TERM);
    let output = running.finish(RUN_LIMIT).unwrap();
    assert_eq!(output.code, 143, "{output}");
    assert_eq!(place.snapshots(), 0);
    assert!(!lock.exists());
}

#[test]
fn a_set_that_does_not_hold_is_told_before_anything_is_written() {
    let place = Place::new("");
    let refused = |tables: &str, args: &[&str], words: &str| {
        place.configure(tables);
        let output = place.run(&[&["config-backup"], args].concat());
        assert_eq!(output.code, 3, "{output}");
        assert!(output.stderr.contains(words), "{words}: {output}");
        assert_eq!(place.snapshots(), 0);
    };
    refused("", &[], "no file set is configured");
    refused(ONE, &["thing"], "there is no file set `thing`; did you mean `things`?");
    refused(&format!("{ONE}\nexlude = []"), &[], "maint.toml:6: unknown key `exlude` in [backup-tool.sets.things]");
    refused("[backup-tool.sets.x]\npaths = '/etc'", &[], "maint.toml:5: [backup-tool.sets.x] paths");
    refused("[backup-tool.sets.x]\npaths = ['etc']", &[], "must be absolute");
    refused("[backup-tool.sets.x]\npaths = ['/etc', '/etc/apt']", &[], "/etc/apt twice: /etc covers it already");
    // Also when another set is wanted.
    refused(&format!("{ONE}\n[backup-tool.sets.x]\npaths = []"), &["things"], "the file set x has no paths");
}
