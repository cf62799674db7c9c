use std::io::Write as _;

use super::*;

const WHOLE: &str = r#"{"id": "RUSTSEC-2024-0001", "modified": "2024-03-04T05:06:07Z", "published": "2024-02-03T12:00:00Z",
  "aliases": ["CVE-2024-1", "GHSA-aaaa-bbbb-cccc"], "summary": "It reads too far",
  "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
  "affected": [{"package": {"ecosystem": "HERE", "name": "one"}, "versions": [],
    "ranges": [{"type": "SEMVER", "events": [{"introduced": "0.0.0-0"}, {"fixed": "1.2.3"}, {"introduced": "2.0.0-0"}, {"fixed": "2.1.0"}]}],
    "ecosystem_specific": {"affects": {"arch": [], "functions": [], "os": []}},
    "database_specific": {"categories": [], "cvss": null, "informational": null}}],
  "references": [{"type": "ADVISORY", "url": "https://example.org/1"}]}"#;

/// The same one again, as somebody else tells it.
const DOUBLE: &str = r#"{"id": "GHSA-aaaa-bbbb-cccc", "modified": "2024-03-05T05:06:07Z", "aliases": ["CVE-2024-1"],
  "affected": [{"package": {"ecosystem": "HERE", "name": "one"},
    "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.2.3"}]}]}]}"#;

/// Only the other one has it: of two crates, one without a fix; and of another language.
const OTHER: &str = r#"{"id": "GHSA-dddd-eeee-ffff", "modified": "2024-03-06T05:06:07Z", "database_specific": {"severity": "MODERATE"},
  "affected": [
    {"package": {"ecosystem": "HERE", "name": "two"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"last_affected": "1.0.0"}]}]},
    {"package": {"ecosystem": "HERE", "name": "three"}, "versions": ["0.1.0", "0.2.0-rc.1"]},
    {"package": {"ecosystem": "HERE", "name": "five"}, "ranges": [{"type": "GIT", "repo": "x", "events": [{"introduced": "0"}]}]},
    {"package": {"ecosystem": "PyPI", "name": "four"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]}"#;

const GONE: &str = r#"{"id": "RUSTSEC-2024-0009", "modified": "2025-01-01T00:00:00Z", "withdrawn": "2025-01-01T00:00:00Z", "affected": []}"#;

fn archive(entries: &[(&str, &str)]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = zip::ZipWriter::new(file.reopen().unwrap());
    for (name, text) in entries {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(text.replace("HERE", ECOSYSTEM).as_bytes()).unwrap();
    }
    writer.finish().unwrap();
    file
}

fn hits(database: &Database, name: &str, versions: &[&str]) -> Vec<usize> {
    versions.iter().map(|text| database.of_crate(name, &text.parse().unwrap()).count()).collect()
}

#[test]
fn an_archive_is_read_and_nothing_is_found_twice() {
    let file =
        archive(&[("a.json", WHOLE), ("b.json", DOUBLE), ("c.json", OTHER), ("d.json", GONE), ("README", "about")]);
    let database = Database::open(file.path()).unwrap();
    assert_eq!((database.stamp.form, database.stamp.newest.to_string().as_str()), ("osv", "2024-03-06"));
    let ids: Vec<_> = database.advisories().iter().map(|a| (a.id.as_str(), a.package.as_str())).collect();
    let other = "GHSA-dddd-eeee-ffff";
    assert_eq!(ids, [(other, "two"), (other, "three"), (other, "five"), ("RUSTSEC-2024-0001", "one")]);
    let one = database.find("cve-2024-1").unwrap();
    assert_eq!((one.severity, one.date.to_string().as_str()), (Severity::Critical, "2024-02-03"));
    assert_eq!(one.patched.iter().map(ToString::to_string).collect::<Vec<_>>(), [">=1.2.3", ">=2.1.0"]);
    assert_eq!(database.find(other).unwrap().severity, Severity::Medium);
    assert_eq!(
        hits(&database, "one", &["0.1.0", "1.2.3-rc.1", "1.2.3", "2.0.0-rc.1", "2.0.9", "2.1.0"]),
        [1, 1, 0, 1, 1, 0]
    );
    assert_eq!(hits(&database, "two", &["0.0.0-a", "1.0.0", "1.0.1-0", "1.0.1"]), [1, 1, 0, 0]);
    assert_eq!(hits(&database, "three", &["0.1.0", "0.1.1", "0.2.0-rc.1", "0.2.0-rc.1.1", "0.2.0"]), [1, 0, 1, 0, 0]);
    assert_eq!(hits(&database, "five", &["0.1.0", "9.0.0"]), [1, 1], "nobody says which versions are healthy");
    assert_eq!(hits(&database, "four", &["1.0.0"]), [0]);
}

#[test]
fn what_cannot_be_read_whole_is_no_database() {
    let broken = [
        archive(&[("a.json", WHOLE), ("b.json", "{\"id\": 3}")]),
        archive(&[("a.json", &WHOLE.replace("1.2.3", "1.x"))]),
    ];
    for file in broken {
        assert!(matches!(Database::open(file.path()), Err(DbError::Advisory { .. })));
    }
    for none in [archive(&[]), archive(&[("README", "about")]), archive(&[("d.json", GONE)])] {
        assert!(matches!(Database::open(none.path()), Err(DbError::Empty(_))));
    }
    let file = archive(&[("a.json", WHOLE), ("b.json", OTHER)]);
    let whole = std::fs::read(file.path()).unwrap();
    for cut in [10, whole.len() / 2, whole.len() - 5] {
        std::fs::write(file.path(), &whole[..cut]).unwrap();
        assert!(matches!(Database::open(file.path()), Err(DbError::Pack { .. })), "{cut}");
    }
    // One flipped bit in the middle of what is packed.
    let mut flipped = whole.clone();
    flipped[60] ^= 1;
    std::fs::write(file.path(), &flipped).unwrap();
    assert!(Database::open(file.path()).is_err());
}
