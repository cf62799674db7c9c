use std::fs;

use super::*;

fn advisory(id: &str, package: &str, date: &str, rest: &str, patched: &str) -> String {
    format!(
        "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{package}\"\ndate = \"{date}\"\n{rest}\n[versions]\npatched = [{patched}]\n\
         ```\n\n# A title\n\nA description.\n"
    )
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn small() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let one = advisory("RUSTSEC-2024-0001", "one", "2024-02-03", "aliases = [\"CVE-2024-1\"]", "\">= 1.2.3\"");
    write(root.path(), "crates/one/RUSTSEC-2024-0001.md", &one);
    let std = advisory("RUSTSEC-2024-0002", "std", "2024-03-04", "", "\">= 1.77.2\"");
    write(root.path(), "rust/std/RUSTSEC-2024-0002.md", &std);
    let gone = advisory("RUSTSEC-2024-0003", "one", "2025-01-01", "withdrawn = \"2025-02-02\"", "");
    write(root.path(), "crates/one/RUSTSEC-2024-0003.md", &gone);
    write(root.path(), "crates/one/RUSTSEC-0000-0000.md", "a draft");
    write(root.path(), "README.md", "about");
    root
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

#[test]
fn a_directory_is_read_without_drafts_and_what_was_withdrawn() {
    let root = small();
    let db = Database::open(root.path()).unwrap();
    assert_eq!(
        (db.stamp.form, db.stamp.advisories, db.stamp.newest.to_string()),
        ("directory", 2, "2024-03-04".into())
    );
    let of = |name: &str, at: &str| db.of_crate(name, &version(at)).count();
    assert_eq!((of("one", "1.2.2"), of("one", "1.2.3"), of("std", "1.0.0")), (1, 0, 0));
    assert_eq!(db.of_toolchain("std", &version("1.77.1")).count(), 1);
    assert_eq!(db.find("cve-2024-1").unwrap().id, "RUSTSEC-2024-0001");
}

#[test]
fn a_prerelease_of_the_patched_version_is_affected() {
    let root = small();
    let db = Database::open(root.path()).unwrap();
    assert_eq!(db.of_crate("one", &version("1.2.3-rc.1")).count(), 1);
}

#[test]
fn what_is_missing_empty_or_broken_is_no_database() {
    let root = tempfile::tempdir().unwrap();
    assert!(matches!(Database::open(&root.path().join("none")), Err(DbError::Missing(_))));
    assert!(matches!(Database::open(root.path()), Err(DbError::Empty(_))));
    let root = small();
    write(root.path(), "crates/two/RUSTSEC-2024-0009.md", "```toml\n[advisory]\n");
    let error = Database::open(root.path()).unwrap_err();
    assert!(error.to_string().contains("crates/two/RUSTSEC-2024-0009.md"), "{error}");
}

#[test]
fn a_pack_holds_the_same_and_says_when_it_does_not() {
    let root = small();
    let packed = pack(root.path()).unwrap();
    assert_eq!(packed.bytes, pack(root.path()).unwrap().bytes, "the same advisories, the same bytes");
    let file = root.path().join("db.tar.zst");
    fs::write(&file, &packed.bytes).unwrap();
    let (from_pack, from_files) = (Database::open(&file).unwrap(), Database::open(root.path()).unwrap());
    assert_eq!(from_pack.stamp.sha256, from_files.stamp.sha256);
    assert_eq!(from_pack.of_crate("one", &version("1.0.0")).count(), 1);
    assert_eq!(verify(&file).unwrap().sha256, packed.stamp.sha256);
    for length in [0, 1, packed.bytes.len() / 2, packed.bytes.len() - 1] {
        fs::write(&file, &packed.bytes[..length]).unwrap();
        assert!(verify(&file).is_err(), "cut to {length} bytes");
    }
}

#[test]
fn a_commit_is_read_from_a_checkout_with_loose_and_packed_refs() {
    let root = small();
    let id = "0123456789abcdef0123456789abcdef01234567";
    write(root.path(), ".git/HEAD", "ref: refs/heads/main\n");
    assert_eq!(Database::open(root.path()).unwrap().stamp.commit, None);
    write(root.path(), ".git/packed-refs", &format!("# pack-refs\n{id} refs/heads/main\n"));
    assert_eq!(Database::open(root.path()).unwrap().stamp.commit.as_deref(), Some(id));
    write(root.path(), ".git/HEAD", &format!("{id}\n"));
    assert_eq!(Database::open(root.path()).unwrap().stamp.form, "git");
}
