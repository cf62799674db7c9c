//! A zip archive of advisories in OSV's form (<https://ossf.github.io/osv-schema/>), one JSON file each: what osv.dev offers
//! for a whole ecosystem.
//!
//! It has other people's advisories beside RustSec's, and many of them twice, under both ids; of such a pair RustSec's is
//! kept, or every finding would be counted double.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use semver::{Prerelease, Version, VersionReq};
use serde::Deserialize;

use super::pack::MOST_BYTES;
use super::{Database, DbError, Stamp, digest};
use crate::advisory::{Advisory, AdvisoryKind, Collection, Severity};

/// OSV's name of the registry.
const ECOSYSTEM: &str = concat!("crates", ".io");
/// What RustSec calls its own.
const RUSTSEC: &str = "RUSTSEC-";
/// Parts of the toolchain that no crate is called after.
const TOOLCHAIN: [&str; 5] = ["std", "core", "alloc", "rustc", "rustdoc"];

#[derive(Deserialize)]
struct Entry {
    id: String,
    modified: Timestamp,
    published: Option<Timestamp>,
    withdrawn: Option<Timestamp>,
    #[serde(default)]
    aliases: Vec<String>,
    summary: Option<String>,
    #[serde(default)]
    severity: Vec<Score>,
    #[serde(default)]
    affected: Vec<Affected>,
    #[serde(default)]
    references: Vec<Reference>,
    database_specific: Option<Specific>,
}

#[derive(Deserialize)]
struct Score {
    score: String,
}

#[derive(Deserialize)]
struct Affected {
    package: Option<Package>,
    #[serde(default)]
    ranges: Vec<Range>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    severity: Vec<Score>,
    database_specific: Option<Specific>,
}

#[derive(Deserialize)]
struct Package {
    ecosystem: String,
    name: String,
}

#[derive(Deserialize)]
struct Range {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
}

#[derive(Deserialize)]
struct Reference {
    url: String,
}

#[derive(Deserialize)]
struct Specific {
    informational: Option<String>,
    severity: Option<String>,
}

type Ranges = Vec<(Option<Version>, Option<Version>)>;

pub(super) fn open(path: &Path) -> Result<Database, DbError> {
    let texts = texts(path)?;
    let mut advisories = Vec::new();
    for (name, text) in &texts {
        let bad = |why: String| DbError::Advisory { path: format!("{}/{name}", path.display()), why };
        let entry: Entry = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
        if entry.withdrawn.is_none() {
            advisories.extend(of_entry(&entry).map_err(bad)?);
        }
    }
    without_doubles(&mut advisories);
    let stamp = |advisories: usize, newest| Stamp {
        path: path.to_owned(),
        form: "osv",
        commit: None,
        sha256: digest(&texts),
        advisories,
        newest,
    };
    Database::new(advisories, stamp, path)
}

/// Whether a file begins as a zip archive does, an empty one included.
pub(super) fn is_archive(path: &Path) -> Result<bool, DbError> {
    let mut start = [0; 4];
    let file = std::fs::File::open(path).map_err(DbError::read(path))?;
    let read = file.take(4).read(&mut start).map_err(DbError::read(path))?;
    Ok(read == 4 && matches!(&start, b"PK\x03\x04" | b"PK\x05\x06"))
}

fn texts(path: &Path) -> Result<Vec<(String, String)>, DbError> {
    let broken =
        |why: String| DbError::Pack { path: path.to_owned(), why: format!("it is no whole zip archive: {why}") };
    let file = std::fs::File::open(path).map_err(DbError::read(path))?;
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(|error| broken(error.to_string()))?;
    let mut texts = Vec::with_capacity(archive.len());
    let mut left = MOST_BYTES;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| broken(error.to_string()))?;
        let name = entry.name().map_err(|error| broken(error.to_string()))?.into_owned();
        if !name.to_ascii_lowercase().ends_with(".json") {
            continue;
        }
        let mut text = String::new();
        let read = (&mut entry).take(left).read_to_string(&mut text);
        left -= read.map_err(|error| broken(format!("{name}: {error}")))? as u64;
        if left == 0 {
            return Err(broken("it unpacks to more than any advisories can be".to_owned()));
        }
        texts.push((name, text));
    }
    texts.sort_unstable();
    Ok(texts)
}

/// One advisory for each crate that an entry speaks of.
fn of_entry(entry: &Entry) -> Result<Vec<Advisory>, String> {
    let mut found: Vec<Advisory> = Vec::new();
    for affected in &entry.affected {
        let Some(package) = affected.package.as_ref().filter(|package| package.ecosystem == ECOSYSTEM) else {
            continue;
        };
        let (ranges, patched) = ranges(affected)?;
        if let Some(known) = found.iter_mut().find(|advisory| advisory.package == package.name) {
            known.ranges.extend(ranges);
            known.patched.extend(patched);
            continue;
        }
        let specific = affected.database_specific.as_ref();
        let kind = match specific.and_then(|specific| specific.informational.as_deref()) {
            None => AdvisoryKind::Vulnerability,
            Some("unsound") => AdvisoryKind::Unsound,
            Some("unmaintained") => AdvisoryKind::Unmaintained,
            Some(_) => AdvisoryKind::Notice,
        };
        let is_toolchain = TOOLCHAIN.contains(&package.name.as_str());
        found.push(Advisory {
            id: entry.id.clone(),
            package: package.name.clone(),
            collection: if is_toolchain { Collection::Rust } else { Collection::Crates },
            kind,
            aliases: entry.aliases.clone(),
            title: entry.summary.clone().unwrap_or_else(|| entry.id.clone()),
            date: date(entry.published.unwrap_or(entry.modified)),
            url: entry.references.first().map(|reference| reference.url.clone()),
            severity: severity(entry, affected),
            patched,
            ranges,
        });
    }
    Ok(found)
}

fn date(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

/// By the score, where one can be read; else by the word, where one was given.
fn severity(entry: &Entry, affected: &Affected) -> Severity {
    let scores = affected.severity.iter().chain(&entry.severity);
    let by_score = scores.filter_map(|one| one.score.parse::<cvss::Cvss>().ok()).map(|score| score.severity()).max();
    let by_score = by_score.map(Severity::from);
    let word = [&affected.database_specific, &entry.database_specific]
        .into_iter()
        .flatten()
        .find_map(|specific| specific.severity.as_deref());
    by_score.unwrap_or_else(|| match word.map(str::to_ascii_lowercase).as_deref() {
        Some("low") => Severity::Low,
        Some("moderate" | "medium") => Severity::Medium,
        Some("high") => Severity::High,
        Some("critical") => Severity::Critical,
        _ => Severity::Unknown,
    })
}

/// From where to where versions are affected, and the ones that are patched.
fn ranges(affected: &Affected) -> Result<(Ranges, Vec<VersionReq>), String> {
    let mut ranges = Ranges::new();
    let mut patched = Vec::new();
    for range in affected.ranges.iter().filter(|range| matches!(range.kind.as_str(), "SEMVER" | "ECOSYSTEM")) {
        let mut open: Option<Option<Version>> = None;
        for event in &range.events {
            if let Some(from) = &event.introduced {
                open = Some(if from == "0" { None } else { Some(version(from)?) });
            }
            let end = match (&event.fixed, &event.last_affected) {
                (Some(fixed), _) => {
                    patched
                        .push(VersionReq::parse(&format!(">={fixed}")).map_err(|error| format!("{fixed}: {error}"))?);
                    version(fixed)?
                }
                (None, Some(last)) => after(&version(last)?)?,
                (None, None) => continue,
            };
            ranges.push((open.take().flatten(), Some(end)));
        }
        // Introduced and never fixed.
        ranges.extend(open.map(|from| (from, None)));
    }
    if ranges.is_empty() {
        for text in &affected.versions {
            let one = version(text)?;
            ranges.push((Some(one.clone()), Some(after(&one)?)));
        }
    }
    if ranges.is_empty() {
        // It names the crate and no versions that can be compared (revisions of git, say): none is known to be healthy.
        ranges.push((None, None));
    }
    Ok((ranges, patched))
}

fn version(text: &str) -> Result<Version, String> {
    Version::parse(text).map_err(|error| format!("version {text}: {error}"))
}

/// The next version there could be (semver 2.0.0, section 11: a longer prerelease comes after a shorter one).
fn after(version: &Version) -> Result<Version, String> {
    let mut next = version.clone();
    next.build = semver::BuildMetadata::EMPTY;
    let pre = if version.pre.is_empty() {
        next.patch = next.patch.checked_add(1).ok_or_else(|| format!("version {version}: there is none after it"))?;
        "0".to_owned()
    } else {
        format!("{}.0", version.pre)
    };
    next.pre = Prerelease::new(&pre).map_err(|error| error.to_string())?;
    Ok(next)
}

fn without_doubles(advisories: &mut Vec<Advisory>) {
    let own = |advisory: &&Advisory| advisory.id.starts_with(RUSTSEC);
    let names = |advisory: &Advisory| {
        let all = std::iter::once(&advisory.id).chain(&advisory.aliases);
        all.map(|name| (advisory.package.clone(), name.clone())).collect::<Vec<_>>()
    };
    let known: BTreeSet<(String, String)> = advisories.iter().filter(own).flat_map(names).collect();
    advisories.retain(|advisory| own(&advisory) || !names(advisory).iter().any(|name| known.contains(name)));
}

#[cfg(test)]
mod tests;
