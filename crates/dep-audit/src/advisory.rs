//! An advisory, as much of it as is needed to judge by.

use jiff::civil::Date;
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

/// What kind of finding an advisory leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdvisoryKind {
    /// It can be attacked.
    Vulnerability,
    /// It can break memory safety from safe code.
    Unsound,
    /// Nobody looks after it.
    Unmaintained,
    /// Worth knowing.
    Notice,
}

/// How bad; of an advisory without a score it is unknown, which no threshold lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// CVSS 0.
    None,
    /// CVSS below 4.
    Low,
    /// CVSS below 7.
    Medium,
    /// CVSS below 9.
    High,
    /// CVSS 9 and above.
    Critical,
    /// No score was given.
    Unknown,
}

impl From<cvss::Severity> for Severity {
    fn from(severity: cvss::Severity) -> Self {
        match severity {
            cvss::Severity::None => Severity::None,
            cvss::Severity::Low => Severity::Low,
            cvss::Severity::Medium => Severity::Medium,
            cvss::Severity::High => Severity::High,
            cvss::Severity::Critical => Severity::Critical,
        }
    }
}

/// Whose advisory it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Collection {
    /// A crate's.
    Crates,
    /// The toolchain's.
    Rust,
}

/// An advisory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Advisory {
    /// `RUSTSEC-2024-0001`.
    pub id: String,
    /// The crate, or the part of the toolchain.
    pub package: String,
    /// Whose it is.
    pub collection: Collection,
    /// Its kind.
    pub kind: AdvisoryKind,
    /// Other names: CVE, GHSA.
    pub aliases: Vec<String>,
    /// What it is about, in one line.
    pub title: String,
    /// When it was made public.
    pub date: Date,
    /// Where more is to be read.
    pub url: Option<String>,
    /// How bad.
    pub severity: Severity,
    /// Versions that are patched.
    pub patched: Vec<VersionReq>,
    /// Versions that are affected, as ranges in the order of OSV: from the first (inclusive) to the second (exclusive).
    /// They are what decides, because a requirement treats prereleases otherwise.
    pub ranges: Vec<(Option<Version>, Option<Version>)>,
}

impl Advisory {
    /// Whether it speaks of this version.
    pub fn affects(&self, version: &Version) -> bool {
        self.ranges.iter().any(|(from, to)| {
            from.as_ref().is_none_or(|from| version >= from) && to.as_ref().is_none_or(|to| version < to)
        })
    }
}
