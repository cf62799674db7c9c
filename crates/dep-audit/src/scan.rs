//! A lock file against advisories: a pure look-up.

use semver::Version;

use crate::advisory::{Advisory, AdvisoryKind, Severity};
use crate::db::Database;
use crate::finding::{Finding, FindingKind};
use crate::lock::{Lock, Locked};

/// Everything that is known to be wrong with what is locked, in the file's order. `is_yanked` tells whether a version was
/// taken back; `None` where nobody knows.
pub fn scan(lock: &Lock, database: &Database, is_yanked: &dyn Fn(&str, &Version) -> Option<bool>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for locked in &lock.packages {
        let (name, version) = (locked.package.name.as_str(), &locked.package.version);
        if !locked.is_from_the_registry() {
            // Without a source it is the workspace's own.
            if let Some(source) = &locked.package.source {
                let title = format!("it comes from {source}, of which no advisory speaks");
                findings.push(plain(lock, locked, FindingKind::Unscanned, &title));
            }
            continue;
        }
        findings.extend(database.of_crate(name, version).map(|advisory| of(lock, locked, advisory)));
        if is_yanked(name, version) == Some(true) {
            findings.push(plain(lock, locked, FindingKind::Yanked, "the version was taken back"));
        }
    }
    findings
}

fn of(lock: &Lock, locked: &Locked, advisory: &Advisory) -> Finding {
    let kind = match advisory.kind {
        AdvisoryKind::Vulnerability => FindingKind::Vulnerability,
        AdvisoryKind::Unsound => FindingKind::Unsound,
        AdvisoryKind::Unmaintained => FindingKind::Unmaintained,
        AdvisoryKind::Notice => FindingKind::Notice,
    };
    Finding {
        id: advisory.id.clone(),
        aliases: advisory.aliases.clone(),
        url: advisory.url.clone(),
        severity: advisory.severity,
        patched: advisory.patched.iter().map(ToString::to_string).collect(),
        ..plain(lock, locked, kind, &clean(&advisory.title))
    }
}

/// What an advisory says of a part of the toolchain, in the version that is used here.
pub fn of_toolchain(part: &str, version: &Version, advisory: &Advisory) -> Finding {
    Finding {
        kind: FindingKind::Toolchain,
        id: advisory.id.clone(),
        aliases: advisory.aliases.clone(),
        title: clean(&advisory.title),
        url: advisory.url.clone(),
        package: part.to_owned(),
        version: version.to_string(),
        lockfile: std::path::PathBuf::new(),
        line: 0,
        tier: None,
        severity: advisory.severity,
        patched: advisory.patched.iter().map(ToString::to_string).collect(),
        members: Vec::new(),
        excepted: None,
        known: false,
    }
}

/// A package of which no advisory speaks, as it comes from elsewhere; `at` is the file that has it.
pub(crate) fn unscanned(at: &std::path::Path, name: &str, version: &Version, title: &str) -> Finding {
    Finding {
        kind: FindingKind::Unscanned,
        id: String::new(),
        aliases: Vec::new(),
        title: title.to_owned(),
        url: None,
        package: name.to_owned(),
        version: version.to_string(),
        lockfile: at.to_owned(),
        line: 0,
        tier: None,
        severity: Severity::Unknown,
        patched: Vec::new(),
        members: Vec::new(),
        excepted: None,
        known: false,
    }
}

fn plain(lock: &Lock, locked: &Locked, kind: FindingKind, title: &str) -> Finding {
    let package = &locked.package;
    Finding { kind, line: locked.line, ..unscanned(&lock.path, package.name.as_str(), &package.version, title) }
}

/// Advisories are other people's text, and a terminal obeys control characters.
fn clean(text: &str) -> String {
    // Bidirectional overrides turn what follows them round.
    text.chars().filter(|c| !c.is_control() && !('\u{202a}'..='\u{202e}').contains(c)).collect()
}
