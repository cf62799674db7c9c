use std::os::unix::fs::symlink;

use super::*;
use crate::backup::sample;

fn tablespace(oid: u32, location: &str) -> Tablespace {
    Tablespace { oid, location: location.into() }
}

fn args(target: Option<&Path>, in_place: Option<&Path>, map: &[&str]) -> DestinationArgs {
    DestinationArgs {
        target_dir: target.map(Path::to_owned),
        in_place: in_place.map(Path::to_owned),
        tablespace_map: map.iter().map(|entry| (*entry).to_owned()).collect(),
        start: false,
    }
}

fn destination(map: &[&str], tablespaces: Vec<Tablespace>) -> Result<Destination, Failure> {
    Destination::new(&args(Some("/srv/new".as_ref()), None, map), &ClusterBackup { tablespaces, ..sample() })
}

#[test]
fn a_tablespace_stays_where_it_was_unless_it_is_mapped() {
    let all = || vec![tablespace(1, "/a"), tablespace(2, "/b")];
    let found = destination(&["/b=/c"], all()).unwrap();
    assert_eq!(found.tablespaces, BTreeMap::from([(1, "/a".into()), (2, "/c".into())]));
    assert_eq!(destination(&["2=/c"], all()).unwrap(), found);
    assert!(destination(&["/x=/c"], all()).unwrap_err().message.contains("no tablespace in /x"));
    assert!(destination(&["/b=c"], all()).is_err());
}

#[test]
fn two_things_never_go_into_one_place() {
    let all = || vec![tablespace(1, "/a"), tablespace(2, "/b")];
    assert!(destination(&["/b=/a"], all()).is_err());
    assert!(destination(&["/b=/a/below"], all()).is_err());
    assert!(destination(&["/b=/srv/new/base"], all()).is_err());
    assert!(destination(&["/b=/srv"], all()).is_err());
    assert!(destination(&["/b=/c/../a"], all()).is_err());
}

#[test]
fn a_link_does_not_hide_that_two_places_are_one() {
    let root = tempfile::tempdir().unwrap();
    let (real, link) = (root.path().join("real"), root.path().join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let inside = link.join("data/space").display().to_string();
    let backup = ClusterBackup { tablespaces: vec![tablespace(1, "/a")], ..sample() };
    let made = |data: PathBuf| Destination::new(&args(Some(&data), None, &[&format!("/a={inside}")]), &backup);
    assert!(made(real.join("data")).is_err());
    assert_eq!(made(link.join("other")).unwrap().pgdata, fs::canonicalize(&real).unwrap().join("other"));
    symlink(root.path().join("nowhere"), root.path().join("dangling")).unwrap();
    assert!(made(root.path().join("dangling")).unwrap_err().message.contains("leads nowhere"));
}

#[test]
fn every_part_of_the_tree_has_its_place_and_the_control_file_waits() {
    let destination = destination(&["/b=/c"], vec![tablespace(2, "/b")]).unwrap();
    let places = ClusterPlaces { destination: &destination, map: Some(b"map".into()) };
    let place = |entry: &str| places.place(Path::new(entry)).map(|path| path.display().to_string());
    assert_eq!(place("pgdata").as_deref(), Some("/srv/new/"));
    assert_eq!(place("pgdata/base/1/2").as_deref(), Some("/srv/new/base/1/2"));
    assert_eq!(place("pgdata/global/pg_control"), None);
    assert_eq!(place("tablespaces"), None);
    assert_eq!(place("tablespaces/2/PG_15_1/3").as_deref(), Some("/c/PG_15_1/3"));
    assert_eq!(place("tablespaces/9/x"), None);
    assert_eq!(places.content(Path::new("pgdata/tablespace_map")).as_deref(), Some(&b"map"[..]));
    assert_eq!(places.content(Path::new("pgdata/PG_VERSION")), None);
}

#[test]
fn only_links_to_known_tablespaces_are_made_and_they_point_to_the_new_places() {
    let destination = destination(&["/b=/c"], vec![tablespace(2, "/b")]).unwrap();
    let places = ClusterPlaces { destination: &destination, map: None };
    let link = |entry: &str| places.link(Path::new(entry), Path::new("/b"));
    assert_eq!(link("pgdata/pg_tblspc/2"), Ok("/c".into()));
    for entry in ["pgdata/pg_tblspc/3", "pgdata/pg_tblspc", "pgdata/global", "pgdata/base/2", "tablespaces/2/x"] {
        assert!(link(entry).is_err(), "{entry}");
    }
}

#[test]
fn a_directory_with_something_in_it_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let backup = sample();
    let check = |path: &Path| Destination::new(&args(Some(path), None, &[]), &backup).unwrap().check(&backup);
    check(directory.path()).unwrap();
    check(&directory.path().join("none")).unwrap();
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    assert!(check(directory.path()).unwrap_err().message.contains("not empty"));
    empty_or_absent(directory.path(), true).unwrap();
}

#[test]
fn in_place_is_for_the_stopped_cluster_that_was_backed_up_however_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let backup = ClusterBackup { tablespaces: vec![], ..sample() };
    let check = || Destination::new(&args(None, Some(directory.path()), &[]), &backup).unwrap().check(&backup);
    check().unwrap();
    fs::write(directory.path().join("passwd"), "x").unwrap();
    assert!(check().unwrap_err().hint.unwrap().contains("no data directory"));
    fs::write(directory.path().join("PG_VERSION"), "15\n").unwrap();
    check().unwrap();
    fs::write(directory.path().join("postmaster.pid"), "1\n").unwrap();
    assert!(check().unwrap_err().message.contains("a server runs"));
    fs::remove_file(directory.path().join("postmaster.pid")).unwrap();
    let mut control = include_bytes!("../../cluster/fixtures/pg_control-15.bin").to_vec();
    control.resize(8192, 0);
    fs::create_dir(directory.path().join("global")).unwrap();
    fs::write(directory.path().join(CONTROL_PATH), &control).unwrap();
    assert!(check().unwrap_err().message.contains("holds cluster 7711395434255880673"));
}
