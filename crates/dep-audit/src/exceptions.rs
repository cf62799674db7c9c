//! Exceptions: findings that somebody lets pass, why, and until when.
//!
//! What is let pass is still reported, still counted, and comes back by itself: every exception has an owner and a last day.
//! One that is over, that nobody approved, that nothing needs any more or that names no advisory is a finding of its own.

mod document;
mod foreign;

use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::{Span, Timestamp};
use maint_core::failure::Failure;
use maint_core::units::HumanDuration;
use semver::{Version, VersionReq};
use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use crate::advisory::Severity;
use crate::cli::SECTION;
use crate::db::Database;
use crate::finding::{Excepted, Finding, FindingKind};
use crate::inputs::nearest;
use crate::report::{Report, Unread};
use crate::work::Work;

pub use document::Document;
pub use foreign::{Defaults, Target, read as read_foreign, write as write_foreign};

/// The file's name where no other is configured: in the working directory or above it.
pub const FILE: &str = "dep-audit.toml";

/// What is let pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ExceptionKind {
    /// An advisory
    #[default]
    Vulnerability,
    /// A crate that nobody looks after, or a version that was taken back
    Maintenance,
    /// A licence; it is kept here and judged by other programs
    License,
}

/// Whether somebody agreed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// It holds.
    #[default]
    #[serde(alias = "active")]
    Approved,
    /// Somebody asked for it.
    #[serde(alias = "proposed", alias = "requested")]
    Pending,
    /// It holds no more, and is kept for the record.
    #[serde(alias = "rejected", alias = "expired", alias = "resolved")]
    Revoked,
}

/// One exception, as it stands in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// An advisory, by its id or another name of it; may be missing for maintenance of a crate.
    #[serde(default)]
    pub id: String,
    /// What it is about.
    #[serde(default)]
    pub kind: ExceptionKind,
    /// Only for this crate.
    #[serde(default, rename = "crate", skip_serializing_if = "String::is_empty")]
    pub package: String,
    /// Only for these versions of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionReq>,
    /// Only for this lock file, as a path from the directory of the exceptions' file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lockfile: Option<PathBuf>,
    /// Why it may pass.
    #[serde(alias = "justification")]
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// The last day on which it holds (UTC).
    #[serde(deserialize_with = "day")]
    pub until: Date,
    /// What is done meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mitigation: Option<String>,
    /// Who agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_day")]
    pub approval_date: Option<Date>,
    /// When somebody looks at it again.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_day")]
    pub review_date: Option<Date>,
    /// Whether somebody agreed.
    #[serde(default)]
    pub status: Approval,
    /// The line of the file.
    #[serde(skip)]
    pub line: usize,
}

/// A day, as TOML's own date or as text.
fn day<'de, D: Deserializer<'de>>(from: D) -> Result<Date, D::Error> {
    some_day(from)?.ok_or_else(|| serde::de::Error::custom("a day is missing"))
}

fn some_day<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Date>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Day {
        Toml(toml::value::Datetime),
        Text(String),
    }
    let text = match Day::deserialize(from)? {
        Day::Toml(date) => date.to_string(),
        Day::Text(text) => text,
    };
    text.parse().map(Some).map_err(|_| serde::de::Error::custom(format!("`{text}` is no day, as 2026-12-31")))
}

/// What an exception is worth on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It holds.
    InForce,
    /// Its last day is over.
    Expired,
    /// Its last day is further away than the policy lets anybody go.
    TooFar,
    /// Nobody agreed yet.
    Pending,
    /// It holds no more.
    Revoked,
    /// The database has no such advisory.
    NoAdvisory,
    /// Another program judges by it.
    NotJudged,
}

impl Exception {
    /// What it is called.
    pub fn title(&self) -> String {
        match (self.id.is_empty(), self.package.is_empty()) {
            (false, true) => self.id.clone(),
            (false, false) => format!("{} in {}", self.id, self.package),
            (true, _) => self.package.clone(),
        }
    }

    /// What it is worth today.
    pub fn standing(&self, database: Option<&Database>, rules: Rules) -> Standing {
        if self.status == Approval::Revoked {
            Standing::Revoked
        } else if self.kind == ExceptionKind::License {
            Standing::NotJudged
        } else if self.status == Approval::Pending {
            Standing::Pending
        } else if self.until < rules.today {
            Standing::Expired
        } else if self.until > rules.latest {
            Standing::TooFar
        } else if !self.id.is_empty() && database.is_some_and(|database| database.find(&self.id).is_none()) {
            Standing::NoAdvisory
        } else {
            Standing::InForce
        }
    }

    /// Whether it is about this finding, whatever the day; `directory` is where the file of exceptions is.
    fn is_about(&self, finding: &Finding, directory: &Path) -> bool {
        let is_named = if self.id.is_empty() {
            self.kind == ExceptionKind::Maintenance
                && matches!(finding.kind, FindingKind::Unmaintained | FindingKind::Yanked | FindingKind::Unscanned)
        } else {
            std::iter::once(&finding.id).chain(&finding.aliases).any(|id| id.eq_ignore_ascii_case(&self.id))
        };
        let is_version = |wanted: &VersionReq| {
            Version::parse(&finding.version).is_ok_and(|version| wanted.matches(&version) || exact(wanted, &version))
        };
        is_named
            && (self.package.is_empty() || self.package == finding.package)
            && self.version.as_ref().is_none_or(is_version)
            && self.covers(&finding.lockfile, directory)
    }

    /// Whether it may be about what a lock file has. What stands in no lock file, and standard input, is covered by those
    /// that are for all.
    fn covers(&self, lockfile: &Path, directory: &Path) -> bool {
        if lockfile.as_os_str().is_empty() || lockfile == Path::new("-") {
            return self.lockfile.is_none();
        }
        let path = whole(lockfile);
        match &self.lockfile {
            Some(only) => path == whole(&directory.join(only)),
            None => path.starts_with(directory),
        }
    }
}

/// A requirement takes no prerelease unless it names one; one that names this very version is about it.
fn exact(wanted: &VersionReq, version: &Version) -> bool {
    wanted.to_string().trim_start_matches(['=', '^']) == version.to_string()
}

fn whole(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

/// The days that the policy knows.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Today (UTC).
    pub today: Date,
    /// The last day that anybody may name.
    pub latest: Date,
}

impl Rules {
    /// As configured.
    ///
    /// # Errors
    /// The configuration does not hold.
    pub fn of(work: &Work<'_>) -> Result<Self, Failure> {
        let longest: HumanDuration = work.settings.get(&SECTION, "max_exception")?;
        Ok(Self::new(work.now, longest))
    }

    fn new(now: Timestamp, longest: HumanDuration) -> Self {
        let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
        let days = i64::try_from(longest.0.as_secs() / 86_400).unwrap_or(i64::MAX);
        let latest = Span::new().try_days(days).ok().and_then(|span| today.checked_add(span).ok()).unwrap_or(Date::MAX);
        Rules { today, latest }
    }
}

/// All exceptions of a file.
#[derive(Debug)]
pub struct Exceptions {
    /// The file.
    pub path: PathBuf,
    /// What is in it, in its order.
    pub all: Vec<Exception>,
}

impl Exceptions {
    /// Where they are: what `exceptions` in the configuration names, or `dep-audit.toml` in the working directory or above
    /// it. `None` where nobody has any.
    ///
    /// # Errors
    /// The file that is configured is not there.
    pub fn place(work: &Work<'_>) -> Result<Option<PathBuf>, Failure> {
        if let Some(path) = work.settings.optional::<PathBuf>(&SECTION, "exceptions")? {
            if path.is_file() {
                return Ok(Some(path));
            }
            return Err(Failure::usage(format!("there is no file {} with exceptions", path.display()))
                .hint("`[dep-audit] exceptions` names it; `dep-audit except add` makes one"));
        }
        let here = std::env::current_dir()
            .map_err(|error| Failure::usage(format!("cannot tell the working directory: {error}")))?;
        Ok(here.ancestors().map(|directory| directory.join(FILE)).find(|path| path.is_file()))
    }

    /// Where a new file goes: what is configured, or beside the lock file of the working directory.
    ///
    /// # Errors
    /// The configuration does not hold.
    pub fn new_place(work: &Work<'_>) -> Result<PathBuf, Failure> {
        if let Some(path) = work.settings.optional::<PathBuf>(&SECTION, "exceptions")? {
            return Ok(path);
        }
        let beside = nearest().ok().map(|lock| lock.with_file_name(FILE));
        Ok(beside.unwrap_or_else(|| PathBuf::from(FILE)))
    }

    /// Those that are in force for this run; none where there is no file.
    ///
    /// # Errors
    /// The file cannot be read or does not hold.
    pub fn find(work: &Work<'_>) -> Result<Option<Self>, Failure> {
        Exceptions::place(work)?.map(|path| Exceptions::load(&path)).transpose()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read or does not hold; the message has the line.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
        Exceptions::parse(path, &text)
    }

    /// Reads a text; `path` is what messages call it.
    ///
    /// # Errors
    /// It does not hold.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Content {
            #[serde(default)]
            exception: Vec<Spanned<Exception>>,
        }
        let content: Content = toml::from_str(text).map_err(|error| {
            Failure::usage(format!("{}: {}", path.display(), error.to_string().trim_end()))
                .hint("an exception needs id, reason, owner and until; `dep-audit except add` writes one")
        })?;
        let mut all = Vec::new();
        for spanned in content.exception {
            let line = text.get(..spanned.span().start).unwrap_or_default().matches('\n').count() + 1;
            let one = Exception { line, ..spanned.into_inner() };
            let bad = |why: &str| Err(Failure::usage(format!("{}, line {line}: {why}", path.display())));
            if one.reason.trim().is_empty() || one.owner.trim().is_empty() {
                return bad("an exception without a reason and an owner is none");
            }
            if one.id.is_empty() && (one.package.is_empty() || one.kind == ExceptionKind::Vulnerability) {
                return bad("it says neither which advisory (id) nor, for maintenance or license, which crate");
            }
            all.push(one);
        }
        Ok(Exceptions { path: path.to_owned(), all })
    }

    /// Marks what is let pass, and tells of each exception what it is worth and whether anything needs it.
    pub fn mark(&self, report: &mut Report, rules: Rules) -> Vec<(Standing, bool)> {
        let directory = self.directory();
        let database = &report.database;
        let mut all: Vec<_> = self.all.iter().map(|one| (one.standing(Some(database), rules), false)).collect();
        for finding in &mut report.findings {
            for (one, (standing, needed)) in self.all.iter().zip(&mut all) {
                let expired = match standing {
                    Standing::InForce => false,
                    Standing::Expired => true,
                    _ => continue,
                };
                if !one.is_about(finding, &directory) {
                    continue;
                }
                *needed = true;
                if finding.excepted.as_ref().is_none_or(|by| by.expired && !expired) {
                    let (reason, owner) = (one.reason.clone(), one.owner.clone());
                    finding.excepted = Some(Excepted { reason, owner, until: one.until, expired });
                }
            }
        }
        all
    }

    /// As [`Exceptions::mark`], and adds what is wrong with the exceptions themselves: a finding for each that does not hold
    /// or that nothing needs; of one that names no advisory nobody can tell what it was for.
    pub fn apply(&self, report: &mut Report, rules: Rules) {
        let marked = self.mark(report, rules);
        for (one, (standing, needed)) in self.all.iter().zip(marked) {
            let why = match standing {
                Standing::InForce if needed || !self.was_looked_at(one, report) => continue,
                Standing::InForce => {
                    "nothing needs this exception any more: `dep-audit except prune` removes it".to_owned()
                }
                Standing::Expired => {
                    format!("this exception ended with {}: renew it or mend what it was for", one.until)
                }
                Standing::TooFar => format!(
                    "this exception would hold until {}: the policy lets nobody go further than {}",
                    one.until, rules.latest
                ),
                Standing::Pending => "nobody has agreed to this exception".to_owned(),
                Standing::NoAdvisory => {
                    let (path, line, id) = (self.path.display(), one.line, &one.id);
                    let why = format!(
                        "{path}, line {line}: {id} is no advisory of the database: it is misspelt, or was withdrawn"
                    );
                    report.unread.push(Unread { path: self.path.clone(), why });
                    continue;
                }
                Standing::Revoked | Standing::NotJudged => continue,
            };
            report.findings.push(self.finding(one, why));
        }
    }

    /// Whether the run looked at the lock file that would need it: another one says nothing about that.
    fn was_looked_at(&self, one: &Exception, report: &Report) -> bool {
        let beside = self.directory().join(one.lockfile.as_deref().unwrap_or(Path::new("Cargo.lock")));
        report.locks.iter().any(|lock| whole(&lock.path) == whole(&beside))
    }

    /// Where the file is: what is below is covered.
    pub fn directory(&self) -> PathBuf {
        whole(&self.path).parent().unwrap_or(Path::new("/")).to_owned()
    }

    fn finding(&self, one: &Exception, title: String) -> Finding {
        Finding {
            kind: FindingKind::Exception,
            id: String::new(),
            aliases: Vec::new(),
            title,
            url: None,
            package: one.title(),
            version: String::new(),
            lockfile: self.path.clone(),
            line: one.line,
            tier: None,
            severity: Severity::Unknown,
            patched: Vec::new(),
            members: Vec::new(),
            excepted: None,
            known: false,
        }
    }
}

#[cfg(test)]
mod tests;
