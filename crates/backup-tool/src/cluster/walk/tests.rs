//! Walks of small data directories made for the purpose.

use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

const VERSION: &str = "PG_15_202209061";

/// A data directory with these files (a name that ends with a slash is a directory).
fn cluster(files: &[&str]) -> TempDir {
    let pgdata = tempfile::tempdir().unwrap();
    for name in ["base/5/", "global/", "pg_tblspc/", "pg_wal/"].iter().chain(files) {
        let path = pgdata.path().join(name);
        if name.ends_with('/') {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
    }
    pgdata
}

fn walk(pgdata: &Path) -> Vec<Step> {
    Walk::new(pgdata, VERSION).collect()
}

fn trees(steps: &[Step]) -> Vec<String> {
    let tree = |step: &Step| match step {
        Step::Entry(entry) => Some(entry.tree.display().to_string()),
        _ => None,
    };
    steps.iter().filter_map(tree).collect()
}

fn errors(steps: &[Step]) -> Vec<String> {
    let error = |step: &Step| match step {
        Step::Failed(error) => Some(error.to_string()),
        _ => None,
    };
    steps.iter().filter_map(error).collect()
}

#[test]
fn entries_come_parents_first_and_siblings_by_the_bytes_of_their_names() {
    let pgdata = cluster(&["PG_VERSION", "base/5/9", "base/5/16384", "base/5/16384_vm", "base/10/1"]);
    let expected = [
        "pgdata",
        "pgdata/PG_VERSION",
        "pgdata/base",
        "pgdata/base/10",
        "pgdata/base/10/1",
        "pgdata/base/5",
        "pgdata/base/5/16384",
        "pgdata/base/5/16384_vm",
        "pgdata/base/5/9",
        "pgdata/global",
        "pgdata/pg_tblspc",
        "pgdata/pg_wal",
    ];
    let steps = walk(pgdata.path());
    assert_eq!(trees(&steps), expected);
    assert_eq!(steps.len(), expected.len());
}

#[test]
fn what_is_left_out_is_not_handed_on_and_its_directory_is_empty() {
    let kept = cluster(&["pg_wal/archive_status/", "pg_notify/", "base/5/16384_init"]);
    let all = cluster(&[
        "pg_wal/archive_status/x.ready",
        "pg_wal/000000010000000000000001",
        "pg_notify/0000",
        "postmaster.pid",
        "backup_label.old",
        "global/pg_control",
        "global/pg_internal.init",
        "base/pgsql_tmp/pgsql_tmp1.0",
        "base/5/t3_16400",
        "base/5/16384",
        "base/5/16384_init",
    ]);
    assert_eq!(trees(&walk(all.path())), trees(&walk(kept.path())));
}

#[test]
fn tablespaces_follow_with_only_the_directory_of_this_server() {
    let outside = cluster(&["space/PG_15_202209061/5/16384", "space/PG_14_202107181/5/1", "space/other"]);
    let pgdata = cluster(&[]);
    symlink(outside.path().join("space"), pgdata.path().join("pg_tblspc/16400")).unwrap();
    let steps = walk(pgdata.path());
    let expected = [
        "tablespaces",
        "tablespaces/16400",
        "tablespaces/16400/PG_15_202209061",
        "tablespaces/16400/PG_15_202209061/5",
        "tablespaces/16400/PG_15_202209061/5/16384",
    ];
    let trees = trees(&steps);
    assert_eq!(trees[trees.len() - expected.len()..], expected);
    assert!(trees.contains(&"pgdata/pg_tblspc/16400".to_owned()));
    assert!(errors(&steps).is_empty());
    let relation = steps.iter().find_map(|step| match step {
        Step::Entry(entry) if entry.tree.ends_with("16384") => match &entry.kind {
            EntryKind::File(_, relation) => *relation,
            _ => None,
        },
        _ => None,
    });
    assert_eq!(relation.map(|relation| relation.number), Some(16384));
}

#[test]
fn a_tablespace_in_place_is_a_directory_like_others() {
    let pgdata = cluster(&["pg_tblspc/16400/PG_15_202209061/5/1", "pg_tblspc/16400/PG_14_202107181/5/1"]);
    let trees = trees(&walk(pgdata.path()));
    assert!(trees.contains(&"pgdata/pg_tblspc/16400/PG_15_202209061/5/1".to_owned()), "{trees:?}");
    assert!(!trees.iter().any(|tree| tree.contains("PG_14") || tree.starts_with("tablespaces")), "{trees:?}");
}

#[test]
fn a_tablespace_inside_of_the_data_directory_is_stored_once() {
    let pgdata = cluster(&["inside/PG_15_202209061/5/1"]);
    symlink(pgdata.path().join("inside"), pgdata.path().join("pg_tblspc/16400")).unwrap();
    let trees = trees(&walk(pgdata.path()));
    assert!(trees.contains(&"pgdata/inside".to_owned()));
    assert!(!trees.contains(&"pgdata/inside/PG_15_202209061".to_owned()));
    assert!(trees.contains(&"tablespaces/16400/PG_15_202209061/5/1".to_owned()));
}

#[test]
fn a_tablespace_that_is_not_there_is_an_error() {
    let pgdata = cluster(&["empty/"]);
    symlink("/nowhere/at/all", pgdata.path().join("pg_tblspc/16400")).unwrap();
    symlink(pgdata.path().join("empty"), pgdata.path().join("pg_tblspc/16401")).unwrap();
    let errors = errors(&walk(pgdata.path()));
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].contains("16400") && errors[0].contains("/nowhere/at/all"), "{}", errors[0]);
    assert!(errors[1].contains("16401") && errors[1].contains(VERSION), "{}", errors[1]);
}

#[test]
fn the_log_and_emptied_directories_may_be_links_and_nothing_else() {
    let outside = cluster(&["wal/000000010000000000000001", "conf"]);
    let pgdata = cluster(&[]);
    fs::remove_dir(pgdata.path().join("pg_wal")).unwrap();
    symlink(outside.path().join("wal"), pgdata.path().join("pg_wal")).unwrap();
    symlink(outside.path().join("wal"), pgdata.path().join("pg_stat_tmp")).unwrap();
    symlink(outside.path().join("conf"), pgdata.path().join("postgresql.conf")).unwrap();
    let steps = walk(pgdata.path());
    for tree in ["pgdata/pg_wal", "pgdata/pg_stat_tmp"] {
        let is_directory = |step: &Step| matches!(step, Step::Entry(entry) if entry.tree == Path::new(tree) && matches!(entry.kind, EntryKind::Directory));
        assert!(steps.iter().any(is_directory), "{tree}");
    }
    let errors = errors(&steps);
    assert!(errors.len() == 1 && errors[0].contains("postgresql.conf"), "{errors:?}");
}

#[test]
fn a_socket_is_noted_and_left_out() {
    let pgdata = cluster(&[]);
    let _socket = std::os::unix::net::UnixListener::bind(pgdata.path().join(".s.PGSQL.5432")).unwrap();
    let steps = walk(pgdata.path());
    assert!(steps.iter().any(|step| matches!(step, Step::Note(note) if note.contains(".s.PGSQL.5432"))));
    assert!(!trees(&steps).iter().any(|tree| tree.contains("PGSQL")));
}

/// Walks up to the entry `tree`, does something, and walks on.
fn walk_around(pgdata: &Path, tree: &str, meanwhile: impl FnOnce()) -> Vec<Step> {
    let mut walk = Walk::new(pgdata, VERSION);
    let is_there = |step: &Step| matches!(step, Step::Entry(entry) if entry.tree == Path::new(tree));
    let mut steps: Vec<Step> = Vec::new();
    while !steps.last().is_some_and(is_there) {
        steps.push(walk.next().unwrap());
    }
    meanwhile();
    steps.extend(walk);
    steps
}

#[test]
fn a_relation_that_is_dropped_meanwhile_is_only_counted() {
    let pgdata = cluster(&["base/5/1", "base/5/2", "base/6/1", "pg_xact/0000"]);
    let steps = walk_around(pgdata.path(), "pgdata/base/5", || {
        fs::remove_file(pgdata.path().join("base/5/2")).unwrap();
        fs::remove_dir_all(pgdata.path().join("base/6")).unwrap();
    });
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::Vanished)).count(), 2);
    assert!(errors(&steps).is_empty());
}

#[test]
fn a_file_of_somebody_else_that_goes_meanwhile_is_noted() {
    let pgdata = cluster(&["PG_VERSION", "server.log", "log/a", "log/b"]);
    let steps = walk_around(pgdata.path(), "pgdata/log", || {
        fs::remove_file(pgdata.path().join("server.log")).unwrap();
        fs::remove_file(pgdata.path().join("log/a")).unwrap();
    });
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::Note(_))).count(), 2);
    assert!(errors(&steps).is_empty());
}

#[test]
fn a_directory_of_the_server_that_goes_meanwhile_is_an_error() {
    let pgdata = cluster(&["PG_VERSION", "pg_xact/0000"]);
    let steps = walk_around(pgdata.path(), "pgdata/PG_VERSION", || {
        fs::remove_dir_all(pgdata.path().join("pg_xact")).unwrap();
    });
    assert!(errors(&steps).iter().any(|error| error.contains("pg_xact")));
}

#[test]
fn a_data_directory_that_is_not_there_is_an_error() {
    let errors = errors(&walk(Path::new("/nowhere/at/all")));
    assert!(errors.len() == 1 && errors[0].contains("/nowhere/at/all"), "{errors:?}");
}
