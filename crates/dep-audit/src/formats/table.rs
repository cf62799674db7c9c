//! Tables: Markdown for people, CSV for spreadsheets.

use std::fmt::Write as _;

use super::kind;
use crate::finding::Finding;
use crate::policy::{FailOn, status};
use crate::report::Report;

fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn fields(finding: &Finding, fail_on: FailOn) -> [String; 9] {
    [
        status(finding, fail_on).to_string(),
        kind(finding),
        finding.id.clone(),
        finding.package.clone(),
        finding.version.clone(),
        word(finding.tier),
        word(finding.severity),
        finding.patched.join(" or "),
        finding.title.clone(),
    ]
}

const NAMES: [&str; 9] = ["status", "kind", "id", "crate", "version", "tier", "severity", "patched", "title"];

pub(super) fn markdown(report: &Report, fail_on: FailOn) -> String {
    let mut text = format!("# Audit of {} lock files\n\n", report.locks.len() + report.unread.len());
    let stamp = &report.stamp;
    let _ = writeln!(
        text,
        "Judged by {} advisories, the newest of {} (SHA-256 `{}`).\n",
        stamp.advisories, stamp.newest, stamp.sha256
    );
    for unread in &report.unread {
        let _ = writeln!(text, "- **not looked at**: {}", plain(&unread.why));
    }
    for note in &report.notes {
        let _ = writeln!(text, "- {}", plain(note));
    }
    for lock in &report.locks {
        let of: Vec<&Finding> = report.findings.iter().filter(|finding| finding.lockfile == lock.path).collect();
        let _ = writeln!(
            text,
            "\n## {}\n\n{} packages, {} findings.\n",
            plain(&lock.path.display().to_string()),
            lock.packages.len(),
            of.len()
        );
        if of.is_empty() {
            continue;
        }
        let _ = writeln!(text, "| {} |\n|{}", NAMES.join(" | "), " --- |".repeat(NAMES.len()));
        for finding in of {
            let _ = writeln!(text, "| {} |", fields(finding, fail_on).map(|field| plain(&field)).join(" | "));
        }
    }
    text
}

/// Text that Markdown takes for nothing but text.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control()) {
        if "\\`*_{}[]<>()#+!|~".contains(c) {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}

pub(super) fn csv(report: &Report, fail_on: FailOn) -> String {
    let mut text = format!("lockfile,line,{}\r\n", NAMES.join(","));
    for finding in &report.findings {
        let place = [finding.lockfile.display().to_string(), finding.line.to_string()];
        let row: Vec<String> = place.iter().chain(&fields(finding, fail_on)).map(|field| quoted(field)).collect();
        text.push_str(&row.join(","));
        text.push_str("\r\n");
    }
    for unread in &report.unread {
        let path = quoted(&unread.path.display().to_string());
        let _ = write!(text, "{path},,unknown,,,,,,,,{}\r\n", quoted(&unread.why));
    }
    text
}

/// RFC 4180; and what a spreadsheet would take for a formula gets an apostrophe in front.
fn quoted(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let guard = if text.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    if guard.is_empty() && !text.contains([',', '"']) {
        return text;
    }
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}
