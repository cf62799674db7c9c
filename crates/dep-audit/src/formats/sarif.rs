//! SARIF 2.1.0 (OASIS): what code scanning reads.
//!
//! Results stand at the line of the package in the lock file. What somebody lets pass stands there as suppressed, with the
//! reason: whoever reads the document decides whether to show it.

use std::collections::BTreeMap;

use maint_core::status::Status;
use serde_json::{Value, json};

use super::place::Place;
use super::{kind, local, rule};
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
        .map(|finding| result(finding, index.get(&rule(finding)).copied().unwrap_or(0), fail_on))
        .collect();
    let troubles: Vec<Value> = report
        .unread
        .iter()
        .map(|unread| json!({"level": "error", "message": {"text": local(&unread.why)}}))
        .chain(report.notes.iter().map(|note| json!({"level": "warning", "message": {"text": local(note)}})))
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
            "properties": {
                "database": {
                    "form": report.stamp.form,
                    "commit": report.stamp.commit,
                    "sha256": report.stamp.sha256,
                    "advisories": report.stamp.advisories,
                    "newest": report.stamp.newest,
                    "ageSeconds": report.age.as_secs(),
                },
            },
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
    let title = title(finding);
    // Not the id in other letters.
    let name = kind(finding).split('-').map(capital).collect::<String>() + "Dependency";
    let mut rule = json!({
        "id": id,
        "name": name,
        "shortDescription": {"text": sentence(title)},
        "fullDescription": {"text": sentence(title)},
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

/// What the rule is about: an advisory's title, or what all findings of a kind have in common.
fn title(finding: &Finding) -> &str {
    match finding.kind {
        FindingKind::Yanked => "A version that was taken back",
        FindingKind::Unscanned => "A package of which no advisory speaks",
        FindingKind::Exception => "An exception that does not hold, or that nothing needs",
        _ => &finding.title,
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

fn help(finding: &Finding) -> String {
    match (finding.kind, finding.patched.as_slice()) {
        (FindingKind::Unscanned, _) => "Nobody writes advisories about it: somebody has to look after it.".to_owned(),
        (FindingKind::Exception, _) => "`dep-audit except` renews, revokes and prunes exceptions.".to_owned(),
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
    let place = Place::of(&finding.lockfile);
    let region = json!({"startLine": finding.line.max(1)});
    let location = match &place {
        _ if finding.line == 0 => json!({"message": {"text": "the toolchain"}}),
        Place::Below(uri) => {
            json!({"physicalLocation": {"artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"}, "region": region}})
        }
        Place::Elsewhere(uri) => json!({"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}),
        Place::Nowhere => json!({"message": {"text": format!("line {} of standard input", finding.line)}}),
    };
    let suppressions = match &finding.excepted {
        Some(by) if !by.expired => {
            let justification = format!("{} ({}, until {})", by.reason, by.owner, by.until);
            json!([{"kind": "external", "status": "accepted", "justification": justification}])
        }
        // All results of a run have the property, or none has.
        _ => json!([]),
    };
    json!({
        "ruleId": rule(finding),
        "ruleIndex": index,
        "level": level,
        "message": {"text": format!("{}: {}.", finding.subject(), finding.title.trim_end_matches('.'))},
        "locations": [location],
        "suppressions": suppressions,
        "partialFingerprints": {
            // What makes it the same finding again, wherever the package moves in the file.
            "advisoryPackageLockfile/v1": format!("{}:{}:{}", rule(finding), finding.subject(), place.key()),
        },
        "properties": {
            "tier": finding.tier, "severity": finding.severity, "patched": finding.patched, "members": finding.members,
        },
    })
}
