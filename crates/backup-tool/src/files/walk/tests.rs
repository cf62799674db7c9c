use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{FileType, mknodat};

use super::super::set::SetTable;
use super::*;

fn set(paths: &[&Path], exclude: &[&str], one_file_system: bool) -> FileSet {
    let paths = paths.iter().map(|path| path.display().to_string()).collect();
    let exclude = exclude.iter().map(|pattern| (*pattern).to_owned()).collect();
    FileSet::new("test", &SetTable { paths, exclude, one_file_system }).unwrap()
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("set");
    fs::create_dir(&path).unwrap();
    (dir, path)
}

/// Every entry below the path, by its path relative to it.
fn below(top: &Path, set: FileSet) -> Vec<String> {
    let top = in_tree(top);
    let entries = Walk::new(set).map(Result::unwrap);
    let names = entries.filter_map(|entry| Some(entry.tree.strip_prefix(&top).ok()?.to_str()?.to_owned()));
    names.filter(|name| !name.is_empty()).collect()
}

#[test]
fn the_directories_above_the_paths_come_once_and_in_order() {
    let above = |path: &str| Top::Above(path.into());
    let path = |path: &str| Top::Path(path.into());
    let paths = ["/a/b/c", "/a/b/d/e", "/a-b", "/b"].map(PathBuf::from);
    let expected =
        [above("/a"), above("/a/b"), path("/a/b/c"), above("/a/b/d"), path("/a/b/d/e"), path("/a-b"), path("/b")];
    assert_eq!(tops(&paths), expected);
    assert_eq!(tops(&[PathBuf::from("/")]), [path("/")]);
}

#[test]
fn parents_come_before_children_and_siblings_by_the_bytes_of_their_names() {
    let (_dir, top) = place();
    for name in ["a", "a-b", "B"] {
        fs::create_dir(top.join(name)).unwrap();
    }
    for name in ["a/z", "a/x", "a.txt", "a-b/c", "ä"] {
        fs::write(top.join(name), "").unwrap();
    }
    let names = below(&top, set(&[&top], &[], false));
    assert_eq!(names, ["B", "a", "a/x", "a/z", "a-b", "a-b/c", "a.txt", "ä"]);
}

#[test]
fn directories_above_are_as_they_are_and_without_their_other_contents() {
    let (_dir, top) = place();
    fs::set_permissions(&top, fs::Permissions::from_mode(0o2751)).unwrap();
    fs::create_dir(top.join("in")).unwrap();
    fs::write(top.join("other"), "").unwrap();
    let inner = top.join("in");
    let entries: Vec<Entry> = Walk::new(set(&[&inner], &[], false)).map(Result::unwrap).collect();
    let trees: Vec<&Path> = entries.iter().map(|entry| entry.tree.as_path()).collect();
    let mut expected: Vec<PathBuf> = inner.ancestors().map(in_tree).collect();
    expected.pop();
    expected.reverse();
    assert_eq!(trees, expected);
    let above = entries.iter().find(|entry| entry.source == top).unwrap();
    assert_eq!(above.metadata.mode() & 0o7777, 0o2751);
}

#[test]
fn a_directory_above_that_is_a_link_is_stored_as_the_directory() {
    let (_dir, top) = place();
    fs::create_dir_all(top.join("real/in")).unwrap();
    symlink("real", top.join("link")).unwrap();
    let path = top.join("link/in");
    let entries: Vec<Entry> = Walk::new(set(&[&path], &[], false)).map(Result::unwrap).collect();
    let link = entries.iter().find(|entry| entry.source == top.join("link")).unwrap();
    assert!(matches!(link.kind, EntryKind::Directory) && link.metadata.is_dir());
}

#[test]
fn what_is_excluded_is_not_even_looked_at() {
    let (_dir, top) = place();
    fs::create_dir_all(top.join("cache/deep")).unwrap();
    fs::create_dir_all(top.join("keep/cache")).unwrap();
    fs::write(top.join("keep/a.swp"), "").unwrap();
    fs::write(top.join("keep/a"), "").unwrap();
    let whole = top.join("cache").display().to_string();
    assert_eq!(below(&top, set(&[&top], &["*.swp", &whole], false)), ["keep", "keep/a", "keep/cache"]);
    assert_eq!(below(&top, set(&[&top], &["cache"], false)), ["keep", "keep/a", "keep/a.swp"]);
}

#[test]
fn every_kind_of_entry_is_told_apart() {
    let (_dir, top) = place();
    fs::write(top.join("file"), "").unwrap();
    symlink(OsStr::from_bytes(b"to \xff"), top.join("link")).unwrap();
    mknodat(CWD, top.join("pipe"), FileType::Fifo, Mode::from(0o600), 0).unwrap();
    let _listener = UnixListener::bind(top.join("socket")).unwrap();
    let entries: Vec<Entry> = Walk::new(set(&[&top, Path::new("/dev/null")], &[], false)).map(Result::unwrap).collect();
    let kind = |name: &str| &entries.iter().find(|entry| entry.source.ends_with(name)).unwrap().kind;
    assert!(matches!(kind("file"), EntryKind::File(_)));
    assert!(matches!(kind("link"), EntryKind::Link(target) if target.as_os_str().as_bytes() == b"to \xff"));
    assert!(matches!(kind("pipe"), EntryKind::Pipe));
    assert!(matches!(kind("socket"), EntryKind::Socket));
    assert!(matches!(kind("dev/null"), EntryKind::Character(0x103)), "{:?}", kind("dev/null"));
}

#[test]
fn names_of_any_bytes_are_found() {
    let (_dir, top) = place();
    let names: [&[u8]; 4] = [b"a\nb", b"back\\slash \"", b"caf\xe9", b"\x01"];
    for name in names {
        fs::write(top.join(OsStr::from_bytes(name)), "").unwrap();
    }
    let entries = Walk::new(set(&[&top], &[], false)).map(Result::unwrap);
    let mut found: Vec<Vec<u8>> = entries
        .filter_map(|entry| Some(entry.source.strip_prefix(&top).ok()?.as_os_str().as_bytes().to_vec()))
        .collect();
    found.retain(|name| !name.is_empty());
    let mut expected = names.map(<[u8]>::to_vec);
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_path_deeper_than_the_system_takes_at_once_is_walked() {
    let (_dir, top) = place();
    let name = "d".repeat(200);
    let mut directory = File::open(&top).unwrap();
    for _ in 0..30 {
        rustix::fs::mkdirat(&directory, name.as_str(), Mode::from(0o700)).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        directory = File::from(openat(&directory, name.as_str(), flags, Mode::empty()).unwrap());
    }
    let deepest = below(&top, set(&[&top], &[], false)).pop().unwrap();
    assert!(deepest.len() > 6000 - 1, "{}", deepest.len());
}

#[test]
fn a_file_that_is_gone_before_its_turn_is_named_and_may_be_there_next_time() {
    let (_dir, top) = place();
    for name in ["a", "b", "c"] {
        fs::write(top.join(name), "").unwrap();
    }
    let mut walk = Walk::new(set(&[&top], &[], false));
    walk.find(|entry| entry.as_ref().unwrap().source == top).unwrap().unwrap();
    fs::remove_file(top.join("b")).unwrap();
    assert_eq!(walk.next().unwrap().unwrap().source, top.join("a"));
    let error = walk.next().unwrap().unwrap_err();
    assert!(matches!(&error, SourceError::Vanished { path } if *path == top.join("b")) && error.may_pass());
    assert_eq!(walk.next().unwrap().unwrap().source, top.join("c"));
}

#[test]
fn a_directory_that_becomes_a_link_does_not_lead_the_walk_away() {
    let (dir, top) = place();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "").unwrap();
    fs::create_dir_all(top.join("a/b")).unwrap();
    fs::write(top.join("a/b/own"), "").unwrap();
    let mut walk = Walk::new(set(&[&top], &[], false));
    walk.find(|entry| entry.as_ref().unwrap().source == top.join("a")).unwrap().unwrap();
    fs::rename(top.join("a"), top.join("moved")).unwrap();
    symlink(&outside, top.join("a")).unwrap();
    let names: Vec<PathBuf> = walk.map(|entry| entry.unwrap().source).collect();
    assert_eq!(names, [top.join("a/b"), top.join("a/b/own")], "the directory that was opened is walked");
}

#[test]
fn a_path_that_is_not_there_is_an_error_that_stays() {
    let (_dir, top) = place();
    let errors: Vec<SourceError> = Walk::new(set(&[&top.join("gone")], &[], false)).filter_map(Result::err).collect();
    assert!(matches!(&errors[..], [error @ SourceError::Io { .. }] if !error.may_pass()), "{errors:?}");
}

#[test]
fn what_is_mounted_below_stays_out_when_asked_and_its_directory_stays_in() {
    // `/proc` is mounted wherever a program can be tested.
    let others: Vec<String> =
        list(&File::open("/").unwrap()).unwrap().iter().map(|name| format!("/{}", name.display())).collect();
    let exclude: Vec<&str> = others.iter().map(String::as_str).filter(|path| *path != "/proc").collect();
    let walk = |one_file_system| {
        let mut walk = Walk::new(set(&[Path::new("/")], &exclude, one_file_system)).map(Result::unwrap);
        let found = walk.by_ref().find(|entry| entry.tree == Path::new("proc")).unwrap();
        assert!(matches!(found.kind, EntryKind::Directory));
        walk.next().is_some_and(|entry| entry.tree.starts_with("proc"))
    };
    assert!(walk(false));
    assert!(!walk(true));
}
