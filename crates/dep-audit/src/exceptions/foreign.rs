//! Exceptions of other programs: read once, and written for those that still run beside this one.
//!
//! cargo-audit reads `[advisories] ignore` of `.cargo/audit.toml` (and of no `audit.toml` elsewhere), cargo-deny that of
//! `deny.toml`, osv-scanner `[[IgnoredVulns]]` of `osv-scanner.toml`. A file of dependency exceptions has lists of tables
//! by kind.

use std::path::Path;

use jiff::civil::Date;
use maint_core::failure::Failure;
use toml::{Table, Value};
use toml_edit::{Array, DocumentMut, InlineTable, Item};

use super::{Approval, Exception, ExceptionKind};

/// For whom exceptions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// cargo-deny: `[advisories] ignore` of deny.toml, with reasons
    Deny,
    /// cargo-audit: `[advisories] ignore` of .cargo/audit.toml
    Audit,
}

/// What a file that says less than we want is filled up with.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// Who answers for what comes in.
    pub owner: String,
    /// Its last day where none is given.
    pub until: Date,
    /// Its reason where none is given.
    pub reason: Option<String>,
}

/// Reads the exceptions of another program's file.
///
/// # Errors
/// It cannot be read, has no exceptions in a form that is known, or one has no reason and none was given.
pub fn read(path: &Path, defaults: &Defaults) -> Result<Vec<Exception>, Failure> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("cannot read {shown}: {error}")))?;
    let content: Table =
        toml::from_str(&text).map_err(|error| Failure::usage(format!("{shown}: {}", error.to_string().trim_end())))?;
    let mut found = Vec::new();
    if let Some(ignored) = content.get("advisories").and_then(|table| table.get("ignore")).and_then(Value::as_array) {
        for entry in ignored {
            found.push(match entry {
                Value::String(id) => {
                    one(&Table::from_iter([("id".to_owned(), id.as_str().into())]), ExceptionKind::Vulnerability)
                }
                Value::Table(table) => one(table, ExceptionKind::Vulnerability),
                _ => return Err(Failure::usage(format!("{shown}: {entry} is no exception"))),
            });
        }
    }
    for (name, list) in &content {
        let lower = name.to_ascii_lowercase();
        let kind = if lower.contains("licen") {
            ExceptionKind::License
        } else if lower.contains("mainten") {
            ExceptionKind::Maintenance
        } else {
            ExceptionKind::Vulnerability
        };
        for table in list.as_array().into_iter().flatten().filter_map(Value::as_table) {
            found.push(one(table, kind));
        }
    }
    if found.is_empty() {
        return Err(Failure::usage(format!("there are no exceptions in {shown}"))
            .hint("audit.toml, deny.toml, osv-scanner.toml and lists of [[...]] tables are known"));
    }
    found
        .into_iter()
        .map(|wanted| wanted.filled(defaults).map_err(|why| Failure::usage(format!("{shown}: {why}"))))
        .collect()
}

/// What a table says, under whichever name.
struct Wanted {
    kind: ExceptionKind,
    id: String,
    package: String,
    version: Option<String>,
    reason: Option<String>,
    owner: Option<String>,
    until: Option<String>,
    mitigation: Option<String>,
    approved_by: Option<String>,
    approval_date: Option<String>,
    review_date: Option<String>,
    status: Option<String>,
}

fn one(table: &Table, kind: ExceptionKind) -> Wanted {
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| table.get(*name))?;
        Some(match found {
            Value::String(text) => text.clone(),
            Value::Datetime(day) => day.to_string(),
            other => other.to_string(),
        })
    };
    let (package, version) = match text(&["crate", "package", "name", "dependency"]) {
        // cargo-deny writes `crate@version`.
        Some(spec) => spec
            .split_once('@')
            .map_or((spec.clone(), None), |(name, version)| (name.to_owned(), Some(version.to_owned()))),
        None => (String::new(), None),
    };
    Wanted {
        kind,
        id: text(&["id", "advisory", "advisory_id", "vulnerability_id", "cve"]).unwrap_or_default(),
        package,
        version: version.or_else(|| text(&["version"])),
        reason: text(&["reason", "justification"]),
        owner: text(&["owner", "approved_by"]),
        until: text(&["until", "ignoreUntil", "expires", "expiry", "expiration_date", "review_date"]),
        mitigation: text(&["mitigation"]),
        approved_by: text(&["approved_by"]),
        approval_date: text(&["approval_date"]),
        review_date: text(&["review_date"]),
        status: text(&["status"]),
    }
}

impl Wanted {
    fn filled(self, defaults: &Defaults) -> Result<Exception, String> {
        let name = if self.id.is_empty() { self.package.clone() } else { self.id.clone() };
        let day = |text: &str| -> Result<Date, String> {
            // A time of day is cut off: it was the last one.
            let date = text.get(..10).unwrap_or(text);
            date.parse().map_err(|_| format!("{name}: `{text}` is no day, as 2026-12-31"))
        };
        let some_day = |text: &Option<String>| text.as_deref().map(day).transpose();
        let reason = self.reason.clone().or_else(|| defaults.reason.clone());
        let reason = reason.ok_or_else(|| format!("{name} has no reason: give one with --reason"))?;
        let version = self.version.as_deref().map(|text| {
            text.parse().or_else(|_| format!("={text}").parse()).map_err(|_| format!("{name}: `{text}` is no version"))
        });
        let status = match self.status.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("approved" | "active") => Approval::Approved,
            Some("pending" | "proposed" | "requested") => Approval::Pending,
            Some("revoked" | "rejected" | "expired" | "resolved") => Approval::Revoked,
            Some(other) => return Err(format!("{name}: `{other}` is no status: approved, pending or revoked")),
        };
        Ok(Exception {
            kind: self.kind,
            until: some_day(&self.until)?.unwrap_or(defaults.until),
            approval_date: some_day(&self.approval_date)?,
            review_date: some_day(&self.review_date)?,
            version: version.transpose()?,
            id: self.id,
            package: self.package,
            lockfile: None,
            reason,
            owner: self.owner.unwrap_or_else(|| defaults.owner.clone()),
            mitigation: self.mitigation,
            approved_by: self.approved_by,
            status,
            line: 0,
        })
    }
}

/// The text of another program's file with exactly these exceptions in its list; everything else of it stays, comments as
/// well. The same exceptions give the same text again.
///
/// # Errors
/// The text does not hold.
pub fn write(text: &str, target: Target, wanted: &[&Exception]) -> Result<String, Failure> {
    let mut document: DocumentMut = text.parse().map_err(|error| Failure::usage(format!("it is no TOML: {error}")))?;
    let mut list = Array::new();
    let mut done = std::collections::BTreeSet::new();
    for one in wanted.iter().filter(|one| !one.id.is_empty() && done.insert(one.id.to_ascii_uppercase())) {
        match target {
            Target::Audit => list.push(one.id.as_str()),
            Target::Deny => {
                let mut entry = InlineTable::new();
                entry.insert("id", one.id.as_str().into());
                entry.insert("reason", format!("{} ({}, until {})", one.reason, one.owner, one.until).into());
                list.push(entry);
            }
        }
    }
    for item in list.iter_mut() {
        item.decor_mut().set_prefix("\n    ");
    }
    list.set_trailing_comma(!list.is_empty());
    list.set_trailing(if list.is_empty() { "" } else { "\n" });
    let advisories = document.entry("advisories").or_insert_with(toml_edit::table);
    let advisories = advisories.as_table_like_mut().ok_or_else(|| Failure::usage("`advisories` is no table"))?;
    advisories.insert("ignore", Item::Value(list.into()));
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        Defaults { owner: "ops".into(), until: jiff::civil::date(2026, 12, 31), reason: Some("it was so".into()) }
    }

    fn read_text(text: &str) -> Result<Vec<Exception>, Failure> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.toml");
        std::fs::write(&path, text).unwrap();
        read(&path, &defaults())
    }

    #[test]
    fn every_peers_file_is_read() {
        let audit = read_text("[advisories]\nignore = [\"RUSTSEC-2023-0071\"]\n").unwrap();
        assert_eq!((audit[0].id.as_str(), audit[0].reason.as_str()), ("RUSTSEC-2023-0071", "it was so"));
        let deny = read_text(
            "[advisories]\nignore = [\"A-1\", { id = \"A-2\", reason = \"why\" }, { crate = \"x@0.1.0\", reason = \"old\" }]\n",
        )
        .unwrap();
        assert_eq!((deny.len(), deny[1].reason.as_str(), deny[2].package.as_str()), (3, "why", "x"));
        let osv = read_text("[[IgnoredVulns]]\nid = \"GHSA-1\"\nignoreUntil = 2026-08-01T00:00:00Z\nreason = \"r\"\n")
            .unwrap();
        assert_eq!((osv[0].until.to_string().as_str(), osv[0].owner.as_str()), ("2026-08-01", "ops"));
        let own = read_text(
            "[[maintenance_exceptions]]\ncrate = \"old\"\njustification = \"j\"\napproved_by = \"ann\"\n\
             review_date = \"2026-07-01\"\nstatus = \"active\"\n",
        )
        .unwrap();
        assert_eq!((own[0].kind, own[0].owner.as_str()), (ExceptionKind::Maintenance, "ann"));
        assert!(
            read_text("[advisories]\nunmaintained = \"workspace\"\n").unwrap_err().message.contains("no exceptions")
        );
    }

    #[test]
    fn what_is_written_twice_is_the_same_and_leaves_the_rest_alone() {
        let before = "# ours\n[bans]\ndeny = [] # none\n\n[advisories]\nignore = [\"OLD-1\"]\nyanked = \"deny\"\n";
        let all = read_text("[advisories]\nignore = [\"A-1\", \"a-1\", \"A-2\"]\n").unwrap();
        let wanted: Vec<&Exception> = all.iter().collect();
        let once = write(before, Target::Deny, &wanted).unwrap();
        assert_eq!(write(&once, Target::Deny, &wanted).unwrap(), once);
        assert!(
            once.contains("# ours") && once.contains("# none") && once.contains("yanked") && !once.contains("OLD-1")
        );
        assert_eq!(once.matches("A-1").count(), 1, "{once}");
        assert_eq!(write("", Target::Audit, &[]).unwrap(), "[advisories]\nignore = []\n");
    }
}
