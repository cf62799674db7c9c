//! OSV results, as osv-scanner writes them: packages by source, each with its vulnerabilities.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::finding::Finding;
use crate::report::Report;

/// OSV's name of the registry.
const ECOSYSTEM: &str = concat!("crates", ".io");

pub(super) fn document(report: &Report) -> Value {
    let mut sources: BTreeMap<&Path, BTreeMap<(&str, &str), Vec<&Finding>>> = BTreeMap::new();
    for finding in report.findings.iter().filter(|finding| !finding.id.is_empty() && finding.line > 0) {
        let packages = sources.entry(finding.lockfile.as_path()).or_default();
        packages.entry((&finding.package, &finding.version)).or_default().push(finding);
    }
    let results: Vec<Value> = sources
        .into_iter()
        .map(|(path, packages)| {
            let packages: Vec<Value> =
                packages.into_iter().map(|(package, findings)| one(package, &findings)).collect();
            json!({"source": {"path": path.display().to_string(), "type": "lockfile"}, "packages": packages})
        })
        .collect();
    json!({"results": results})
}

fn one((name, version): (&str, &str), findings: &[&Finding]) -> Value {
    let vulnerabilities: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "id": finding.id,
                "aliases": finding.aliases,
                "summary": finding.title,
                "affected": [{"package": {"name": name, "ecosystem": ECOSYSTEM}}],
                "database_specific": {"kind": finding.kind, "severity": finding.severity, "tier": finding.tier,
                    "patched": finding.patched, "excepted": finding.excepted},
            })
        })
        .collect();
    let groups: Vec<Value> =
        findings.iter().map(|finding| json!({"ids": [finding.id], "aliases": finding.aliases})).collect();
    json!({
        "package": {"name": name, "version": version, "ecosystem": ECOSYSTEM},
        "vulnerabilities": vulnerabilities,
        "groups": groups,
    })
}
