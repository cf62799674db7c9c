//! CycloneDX 1.6 (ECMA-424): packages, who needs whom, and what is known to be wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::purl;
use crate::advisory::Severity;
use crate::finding::Finding;
use crate::report::Report;

pub(super) fn document(report: &Report) -> Value {
    let mut components: BTreeMap<String, Value> = BTreeMap::new();
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for lock in &report.locks {
        for locked in &lock.packages {
            let package = &locked.package;
            let (name, version) = (package.name.as_str(), package.version.to_string());
            let at = purl(name, &version);
            let mut component = json!({
                "type": "library", "bom-ref": at, "name": name, "version": version, "purl": at,
            });
            if let (Some(sum), Some(component)) = (&package.checksum, component.as_object_mut()) {
                component.insert("hashes".to_owned(), json!([{"alg": "SHA-256", "content": sum.to_string()}]));
            }
            components.entry(at.clone()).or_insert(component);
            let below =
                package.dependencies.iter().map(|needed| purl(needed.name.as_str(), &needed.version.to_string()));
            needs.entry(at).or_default().extend(below);
        }
    }
    let dependencies: Vec<Value> = needs.into_iter().map(|(from, to)| json!({"ref": from, "dependsOn": to})).collect();
    let mut by_id: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in report.findings.iter().filter(|finding| !finding.id.is_empty() && finding.line > 0) {
        by_id.entry(&finding.id).or_default().push(finding);
    }
    let vulnerabilities: Vec<Value> = by_id.into_iter().map(|(id, findings)| vulnerability(id, &findings)).collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": crate::TOOL, "version": env!("CARGO_PKG_VERSION")}]},
            "properties": [
                {"name": "dep-audit:database:sha256", "value": report.stamp.sha256},
                {"name": "dep-audit:database:newest", "value": report.stamp.newest.to_string()},
            ],
        },
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies,
        "vulnerabilities": vulnerabilities,
    })
}

fn vulnerability(id: &str, findings: &[&Finding]) -> Value {
    let affected: BTreeSet<String> = findings.iter().map(|finding| purl(&finding.package, &finding.version)).collect();
    let first = findings.first();
    let severity = match first.map(|finding| finding.severity) {
        Some(Severity::None) => "none",
        Some(Severity::Low) => "low",
        Some(Severity::Medium) => "medium",
        Some(Severity::High) => "high",
        Some(Severity::Critical) => "critical",
        Some(Severity::Unknown) | None => "unknown",
    };
    json!({
        "bom-ref": id,
        "id": id,
        "source": {"name": "RustSec", "url": "https://rustsec.org/"},
        "ratings": [{"severity": severity}],
        "description": first.map(|finding| finding.title.as_str()).unwrap_or_default(),
        "recommendation": first
            .filter(|finding| !finding.patched.is_empty())
            .map_or_else(|| "No version is patched.".to_owned(), |finding| format!("Patched in {}.", finding.patched.join(" or "))),
        "affects": affected.into_iter().map(|at| json!({"ref": at})).collect::<Vec<_>>(),
    })
}
