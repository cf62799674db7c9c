//! Tables: Markdown for people, CSV for spreadsheets.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::kind;
use crate::finding::Finding;
use crate::policy::{FailOn, status};
use crate::report::Report;

fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn fields(finding: &Finding, fail_on: FailOn) -> [String; 10] {
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
        finding
            .excepted
            .as_ref()
            .map(|by| format!("{} ({}, until {})", by.reason, by.owner, by.until))
            .unwrap_or_default(),
    ]
}

const NAMES: [&str; 10] =
    ["status", "kind", "id", "crate", "version", "tier", "severity", "patched", "title", "exception"];

pub(super) fn markdown(report: &Report, fail_on: FailOn) -> String {
    let mut text = format!("# Audit of {}\n\n", crate::report::files(report));
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
        let of = of(report, &lock.path);
        let (path, packages) = (plain(&lock.path.display().to_string()), lock.packages.len());
        let _ = writeln!(text, "\n## {path}\n\n{packages} packages, {} findings.\n", of.len());
        rows(&mut text, &of, fail_on);
    }
    let others: BTreeSet<&Path> = report.findings.iter().map(|finding| finding.lockfile.as_path()).collect();
    for path in others.into_iter().filter(|path| report.locks.iter().all(|lock| lock.path != *path)) {
        let name =
            if path.as_os_str().is_empty() { "The toolchain".to_owned() } else { plain(&path.display().to_string()) };
        let _ = writeln!(text, "\n## {name}\n");
        rows(&mut text, &of(report, path), fail_on);
    }
    text
}

fn of<'a>(report: &'a Report, path: &Path) -> Vec<&'a Finding> {
    report.findings.iter().filter(|finding| finding.lockfile == path).collect()
}

fn rows(text: &mut String, findings: &[&Finding], fail_on: FailOn) {
    if findings.is_empty() {
        return;
    }
    let _ = writeln!(text, "| {} |\n|{}", NAMES.join(" | "), " --- |".repeat(NAMES.len()));
    for finding in findings {
        let _ = writeln!(text, "| {} |", fields(finding, fail_on).map(|field| plain(&field)).join(" | "));
    }
}

/// Text that Markdown takes for nothing but text: no markup, no link, no character by its name, and nobody is called.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control()) {
        match c {
            '&' => plain.push_str("&amp;"),
            '<' => plain.push_str("&lt;"),
            // Where nothing stands between them, the name after it is somebody who gets a message.
            '@' => plain.push_str("@\u{200b}"),
            _ => {
                if "\\`*_{}[]()>#+!|~".contains(c) {
                    plain.push('\\');
                }
                plain.push(c);
            }
        }
    }
    // Addresses become links by themselves.
    plain.replace("://", ":\u{200b}//").replace("www.", "www.\u{200b}")
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
        let _ = write!(text, "{path},,unknown,,,,,,,,{},\r\n", quoted(&unread.why));
    }
    text
}

/// RFC 4180; and what a spreadsheet would take for a formula gets an apostrophe in front.
fn quoted(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    // A program that leaves out spaces would see what follows them.
    let guard = if text.trim_start().starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    if guard.is_empty() && !text.contains([',', '"']) {
        return text;
    }
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}
