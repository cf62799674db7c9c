use std::fs;

use super::*;

/// A home of cargo with one index and these entries in its cache: name, then (version, JSON) of each release.
fn home(url: &str, entries: &[(&str, &[&str])]) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let root = tame_index::PathBuf::from_path_buf(home.path().to_owned()).unwrap();
    let (index, _) = tame_index::utils::get_index_details(url, Some(root), true).unwrap();
    fs::create_dir_all(index.join(".cache")).unwrap();
    for (name, releases) in entries {
        // Version 3 of the cache, version 2 of the index, the revision; then version and JSON, each ended by a zero.
        let mut bytes = vec![3, 2, 0, 0, 0];
        bytes.extend(b"Unknown\0");
        for release in *releases {
            let version: serde_json::Value = serde_json::from_str(release).unwrap();
            bytes.extend(format!("{}\0{release}\0", version["vers"].as_str().unwrap()).bytes());
        }
        let path = index.join(".cache").join(KrateName::cargo(name).unwrap().relative_path(None));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    home
}

fn line(version: &str, more: &str) -> String {
    format!(r#"{{"name":"demo","vers":"{version}","deps":[],"cksum":"{}","features":{{}}{more}}}"#, "0".repeat(64))
}

const DEFAULT: &str = tame_index::CRATES_IO_HTTP_INDEX;

#[test]
fn releases_come_by_version_with_age_compiler_and_what_they_need() {
    let deps = r#"{"name":"fast","package":"faster","req":"^1.2","features":[],"optional":true,"default_features":true,"target":null,"kind":"normal"},
        {"name":"check","req":"*","features":[],"optional":false,"default_features":true,"target":null,"kind":"dev"}"#;
    let with_deps = line("1.10.0", r#","yanked":true,"rust_version":"1.70","pubtime":"2026-01-02T03:04:05Z""#)
        .replace("\"deps\":[]", &format!("\"deps\":[{deps}]").replace('\n', ""));
    let entries = [with_deps.as_str(), &line("1.9.0", "")];
    let home = home(DEFAULT, &[("demo", &entries)]);
    let registry = Registry::open_at(home.path(), home.path()).unwrap();
    let found = registry.releases("demo").unwrap().unwrap();
    assert_eq!(found.iter().map(|r| r.version.to_string()).collect::<Vec<_>>(), ["1.9.0", "1.10.0"]);
    assert_eq!((found[0].published, found[0].yanked, found[0].rust_version.clone()), (None, false, None));
    let new = &found[1];
    assert_eq!(new.published, Some("2026-01-02T03:04:05Z".parse().unwrap()));
    assert!(new.yanked);
    assert_eq!(new.rust_version, Some(Version::new(1, 70, 0)));
    assert_eq!(new.needs[0].package, "faster");
    assert!(new.needs[0].is_optional && !new.needs[0].is_dev && new.needs[1].is_dev);
    assert!(new.needs[0].requirement.matches(&Version::new(1, 2, 3)));
}

#[test]
fn a_crate_that_is_not_cached_is_unknown_and_not_without_releases() {
    let home = home(DEFAULT, &[]);
    let registry = Registry::open_at(home.path(), home.path()).unwrap();
    for name in ["demo", "", "no/such", "ünknown"] {
        assert_eq!(registry.releases(name).unwrap(), None, "{name:?}");
    }
}

#[test]
fn without_a_cache_there_is_no_registry_and_none_is_made() {
    let home = tempfile::tempdir().unwrap();
    let failure = Registry::open_at(home.path(), home.path()).unwrap_err();
    assert!(failure.message.contains("registry/index/"), "{failure}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn the_cache_of_a_replacement_is_the_one_that_counts() {
    let url = "sparse+http://127.0.0.1:4711/index/";
    let home = home(url, &[("demo", &[&line("2.0.0", "")])]);
    let config = format!("[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"{url}\"\n");
    let workspace = tempfile::tempdir().unwrap();
    assert!(Registry::open_at(home.path(), workspace.path()).is_err(), "the replacement is not configured yet");
    fs::create_dir(workspace.path().join(".cargo")).unwrap();
    fs::write(workspace.path().join(".cargo/config.toml"), config).unwrap();
    let registry = Registry::open_at(home.path(), &workspace.path().join("member")).unwrap();
    assert_eq!(registry.releases("demo").unwrap().unwrap().len(), 1);
}

#[test]
fn a_registry_on_the_disk_is_read_as_it_lies() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("mirror/index/de/mo")).unwrap();
    fs::write(home.path().join("mirror/index/de/mo/demo"), format!("{}\n{}\n", line("1.0.0", ""), line("0.9.0", "")))
        .unwrap();
    let config = format!(
        "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nlocal-registry = \"{}\"\n",
        home.path().join("mirror").display()
    );
    fs::write(home.path().join("config.toml"), config).unwrap();
    let registry = Registry::open_at(home.path(), home.path()).unwrap();
    let found = registry.releases("demo").unwrap().unwrap();
    assert_eq!(found[0].version, Version::new(0, 9, 0));
    assert_eq!(registry.releases("other").unwrap(), None);
}

#[test]
fn an_entry_cut_short_is_an_error_that_names_it_and_one_odd_release_is_left_out() {
    let odd = line("1.0.0", "").replace("1.0.0", "one");
    let home = home(DEFAULT, &[("demo", &[&line("1.0.0", ""), &odd]), ("torn", &[&line("1.0.0", "")])]);
    let registry = Registry::open_at(home.path(), home.path()).unwrap();
    assert_eq!(registry.releases("demo").unwrap().unwrap().len(), 1);
    let path = registry.directory.join("to/rn/torn");
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() - 1 {
        fs::write(&path, &whole[..length]).unwrap();
        let failure = registry.releases("torn").unwrap_err();
        assert!(failure.message.contains("to/rn/torn"), "{length}: {failure}");
    }
}

#[test]
fn compilers_are_read_as_manifests_write_them() {
    assert_eq!(compiler("1.70"), Some(Version::new(1, 70, 0)));
    assert_eq!(compiler("1.70.1"), Some(Version::new(1, 70, 1)));
    assert_eq!(compiler("2"), Some(Version::new(2, 0, 0)));
    assert_eq!(compiler("new"), None);
}

#[test]
fn yanked_versions_are_those_of_the_whole_entry() {
    let entries = [
        line("1.0.0", ""),
        line("1.1.0", r#","yanked":false"#),
        line("1.1.1", r#","yanked": false"#),
        line("1.2.0", r#","yanked":true"#),
        line("1.3.0", r#","yanked": true"#),
        line("1.4.0", r#","links":"\"yanked\":false","yanked":true"#),
    ];
    let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    let home = home(DEFAULT, &[("demo", &entries)]);
    let registry = Registry::open_at(home.path(), home.path()).unwrap();
    let all: Vec<Version> =
        registry.releases("demo").unwrap().unwrap().into_iter().filter(|r| r.yanked).map(|r| r.version).collect();
    assert_eq!(all.len(), 3);
    assert_eq!(registry.yanked("demo").unwrap().unwrap(), all);
    assert_eq!(registry.yanked("other").unwrap(), None);
}
