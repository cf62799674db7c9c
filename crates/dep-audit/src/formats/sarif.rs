//! SARIF 2.1.0 (OASIS): what code scanning reads.
//!
//! Results stand at the line of the package in the lock file, by a path that is relative to where the run was started, as
//! code scanning maps it onto a checkout; an absolute path would be somebody's machine.

use std::collections::BTreeMap;
use std::path::Path;

use maint_core::status::Status;
use serde_json::{Value, json};

use super::{kind, rule};
use crate::advisory::Severity;
use crate::finding::{Finding, FindingKind};
use crate::policy::{FailOn, status};
use crate::report::Report;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json";

/// One run.
pub(super) fn document(report: &Report, fail_on: FailOn) -> Value {
    let mut rules: BTreeMap<String, &Finding> = BTreeMap::new();
    for finding in &report.findings {
        rules.entry(rule(finding)).or_insert(finding);
    }
    let index: BTreeMap<&String, usize> = rules.keys().enumerate().map(|(at, id)| (id, at)).collect();
    let results: Vec<Value> = report
        .findings
        .iter()
        .filter(|finding| finding.kind != FindingKind::Unscanned)
        .map(|finding| result(finding, index.get(&rule(finding)).copied().unwrap_or(0), fail_on))
        .collect();
    let troubles: Vec<Value> = report
        .unread
        .iter()
        .map(|unread| json!({"level": "error", "message": {"text": unread.why}}))
        .chain(report.notes.iter().map(|note| json!({"level": "warning", "message": {"text": note}})))
        .collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": crate::TOOL,
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": "https://rustsec.org/",
                "rules": rules.iter().map(|(id, finding)| described(id, finding)).collect::<Vec<_>>(),
            }},
            "invocations": [{
                "executionSuccessful": report.unread.is_empty(),
                "toolExecutionNotifications": troubles,
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
            "properties": {"database": report.stamp, "databaseAgeSeconds": report.age.as_secs()},
        }],
    })
}

fn described(id: &str, finding: &Finding) -> Value {
    let sentence = |text: &str| format!("{}.", text.trim_end_matches('.'));
    // What code scanning sorts by, and only where somebody gave a score.
    let score = match finding.severity {
        Severity::Critical => Some("9.5"),
        Severity::High => Some("8.0"),
        Severity::Medium => Some("5.5"),
        Severity::Low => Some("2.0"),
        Severity::None | Severity::Unknown => None,
    };
    let mut properties = json!({"tags": ["security", kind(finding)], "precision": "very-high"});
    if let (Some(score), Some(properties)) = (score, properties.as_object_mut()) {
        properties.insert("security-severity".to_owned(), score.into());
    }
    let name: String = kind(finding).split('-').map(capital).collect();
    let mut rule = json!({
        "id": id,
        "name": name,
        "shortDescription": {"text": sentence(&finding.title)},
        "fullDescription": {"text": sentence(&finding.title)},
        "help": {"text": help(finding)},
        "defaultConfiguration": {"level": "warning"},
        "properties": properties,
    });
    let page = if finding.id.starts_with("RUSTSEC-") {
        Some(format!("https://rustsec.org/advisories/{}.html", finding.id))
    } else {
        finding.url.clone()
    };
    if let (Some(page), Some(rule)) = (page, rule.as_object_mut()) {
        rule.insert("helpUri".to_owned(), page.into());
    }
    rule
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

fn help(finding: &Finding) -> String {
    match (finding.kind, finding.patched.as_slice()) {
        (FindingKind::Yanked, _) => "Another version takes its place: `dep-audit update` says which.".to_owned(),
        (_, []) => "No version is patched: look for another crate, or for a way not to build it.".to_owned(),
        (_, patched) => format!("Patched in {}: `dep-audit update` plans the move.", patched.join(" or ")),
    }
}

fn result(finding: &Finding, index: usize, fail_on: FailOn) -> Value {
    let level = match status(finding, fail_on) {
        Status::Critical => "error",
        Status::Warning => "warning",
        _ => "note",
    };
    let place = relative(&finding.lockfile);
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": {"uri": place, "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": finding.line.max(1)},
        },
    });
    if finding.line == 0
        && let Some(location) = location.as_object_mut()
    {
        location.remove("physicalLocation");
        location.insert("message".to_owned(), json!({"text": "the toolchain"}));
    }
    json!({
        "ruleId": rule(finding),
        "ruleIndex": index,
        "level": level,
        "message": {"text": format!("{} {}: {}.", finding.package, finding.version, finding.title.trim_end_matches('.'))},
        "locations": [location],
        "partialFingerprints": {
            // What makes it the same finding again, wherever the package moves in the file.
            "advisoryPackageVersion/v1": format!("{}:{}:{}", rule(finding), finding.package, finding.version),
        },
        "properties": {
            "tier": finding.tier, "severity": finding.severity, "patched": finding.patched, "members": finding.members,
        },
    })
}

/// A path as a URI reference that is relative to the working directory, or by its last part where it lies elsewhere.
fn relative(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let inner = here.as_deref().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    let parts: Vec<String> = inner
        .components()
        .filter_map(|part| match part {
            std::path::Component::Normal(part) => Some(escape(&part.to_string_lossy())),
            _ => None,
        })
        .collect();
    if parts.is_empty() { "Cargo.lock".to_owned() } else { parts.join("/") }
}

/// RFC 3986, 2.1.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&["%", &format!("{byte:02X}")].concat());
        }
    }
    escaped
}
