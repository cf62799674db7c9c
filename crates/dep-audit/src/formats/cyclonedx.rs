//! CycloneDX 1.6 (ECMA-424): packages, who needs whom, and what is known to be wrong with them.
//!
//! Nothing in it is random and no time stands in it, so that the same packages give the same bytes; the serial number is
//! made of the content.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use maint_core::failure::Failure;
use rustsec::cargo_lock::Package;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::place::{Place, escape};
use crate::advisory::Severity;
use crate::finding::{Finding, FindingKind, Tier};
use crate::graph::Tiers;
use crate::lock::Lock;
use crate::report::Report;

/// An audit.
pub(super) fn document(report: &Report) -> Value {
    let mut bill = Bill::of(&report.locks, &report.tiers);
    let vulnerabilities = vulnerabilities(report, &bill);
    let stamp = &report.stamp;
    let properties = json!([
        {"name": "dep-audit:database:sha256", "value": stamp.sha256},
        {"name": "dep-audit:database:advisories", "value": stamp.advisories.to_string()},
        {"name": "dep-audit:database:newest", "value": stamp.newest.to_string()},
        {"name": "dep-audit:complete", "value": report.unread.is_empty().to_string()},
    ]);
    bill.written(Some((vulnerabilities, properties)))
}

/// Packages alone.
///
/// # Errors
/// It cannot be written down.
pub fn bill_of_materials(locks: &[Lock], tiers: &BTreeMap<PathBuf, Tiers>) -> Result<Vec<u8>, Failure> {
    let text = serde_json::to_string_pretty(&Bill::of(locks, tiers).written(None));
    text.map(|text| (text + "\n").into_bytes()).map_err(|error| Failure::critical(error.to_string()))
}

/// What is in the lock files.
struct Bill {
    main: Value,
    components: BTreeMap<String, Value>,
    needs: BTreeMap<String, BTreeSet<String>>,
    /// How a package of a lock file is called, by its path, name and version.
    refs: BTreeMap<(PathBuf, String, String), String>,
}

impl Bill {
    fn of(locks: &[Lock], tiers: &BTreeMap<PathBuf, Tiers>) -> Self {
        let mut bill =
            Bill { main: Value::Null, components: BTreeMap::new(), needs: BTreeMap::new(), refs: BTreeMap::new() };
        let mut own = BTreeSet::new();
        for lock in locks {
            for locked in &lock.packages {
                let package = &locked.package;
                let (name, version) = (package.name.to_string(), package.version.to_string());
                let at = reference(&lock.path, package);
                if package.source.is_none() {
                    own.insert(at.clone());
                }
                let component = component(package, &at, tiers.get(&lock.path));
                bill.components.entry(at.clone()).or_insert(component);
                let below = package.dependencies.iter().filter_map(|needed| {
                    let same = |other: &&Package| other.name == needed.name && other.version == needed.version;
                    let all = || lock.packages.iter().map(|locked| &locked.package).filter(same);
                    let exact = all().find(|other| other.source == needed.source);
                    exact.or_else(|| all().next()).map(|other| reference(&lock.path, other))
                });
                bill.needs.entry(at.clone()).or_default().extend(below);
                bill.refs.insert((lock.path.clone(), name, version), at);
            }
        }
        bill.head(locks, &own);
        bill
    }

    /// What the bill is of: the one package that is somebody's own, or all of them together.
    fn head(&mut self, locks: &[Lock], own: &BTreeSet<String>) {
        let mut own = own.iter();
        if let (Some(one), None) = (own.next(), own.next())
            && let Some(mut component) = self.components.remove(one)
        {
            if let Some(component) = component.as_object_mut() {
                component.insert("type".to_owned(), "application".into());
            }
            self.main = component;
            return;
        }
        let directory = match locks {
            [one] => one
                .path
                .canonicalize()
                .ok()
                .and_then(|path| Some(path.parent()?.file_name()?.to_string_lossy().into_owned())),
            _ => None,
        };
        let own: BTreeSet<String> =
            self.components.iter().filter(|(_, one)| one.get("purl").is_none()).map(|(at, _)| at.clone()).collect();
        self.main = json!({"type": "application", "bom-ref": "workspace", "name": directory.unwrap_or_else(|| "workspace".to_owned())});
        self.needs.insert("workspace".to_owned(), own);
    }

    fn written(&mut self, audit: Option<(Vec<Value>, Value)>) -> Value {
        let needs = std::mem::take(&mut self.needs);
        let dependencies: Vec<Value> =
            needs.into_iter().map(|(from, to)| json!({"ref": from, "dependsOn": to})).collect();
        let tool = json!({"type": "application", "name": crate::TOOL, "version": env!("CARGO_PKG_VERSION")});
        let mut document = json!({
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {"tools": {"components": [tool]}, "component": self.main},
            "components": std::mem::take(&mut self.components).into_values().collect::<Vec<_>>(),
            "dependencies": dependencies,
        });
        if let Some((vulnerabilities, properties)) = audit {
            put(&mut document, "vulnerabilities", vulnerabilities.into());
            if let Some(metadata) = document.get_mut("metadata") {
                put(metadata, "properties", properties);
            }
        }
        let serial = serial(&document);
        put(&mut document, "serialNumber", serial.into());
        document
    }
}

fn put(value: &mut Value, name: &str, field: Value) {
    if let Some(object) = value.as_object_mut() {
        object.insert(name.to_owned(), field);
    }
}

/// A UUID of version 8 (RFC 9562, 5.8), of the content's SHA-256.
fn serial(document: &Value) -> String {
    let mut bytes: [u8; 32] = Sha256::digest(document.to_string()).into();
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    *version = (*version & 0x0f) | 0x80;
    *variant = (*variant & 0x3f) | 0x80;
    let mut text = String::from("urn:uuid:");
    for (index, byte) in bytes.iter().take(16).enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What everything else calls a package: its package URL, or the lock file that has it where nobody else can get it.
fn reference(lock: &Path, package: &Package) -> String {
    purl(package).unwrap_or_else(|| format!("{}#{}@{}", Place::of(lock).key(), package.name, package.version))
}

/// A package's address (package-url specification, type `cargo`); `None` for what only the workspace has.
fn purl(package: &Package) -> Option<String> {
    let source = package.source.as_ref()?;
    let plain = format!("pkg:cargo/{}@{}", package.name, escape(package.version.to_string().as_bytes()));
    Some(if source.is_default_registry() {
        plain
    } else if source.is_git() {
        let revision = source.precise().map(|revision| format!("@{revision}")).unwrap_or_default();
        let address = source.url().as_str().split(['?', '#']).next().unwrap_or_default().to_owned();
        format!("{plain}?vcs_url={}", escape(format!("git+{address}{revision}").as_bytes()))
    } else {
        format!("{plain}?repository_url={}", escape(source.url().as_str().as_bytes()))
    })
}

fn component(package: &Package, at: &str, tiers: Option<&Tiers>) -> Value {
    let (name, version) = (package.name.to_string(), package.version.to_string());
    let mut component = json!({"type": "library", "bom-ref": at, "name": name, "version": version});
    if let Some(purl) = purl(package) {
        put(&mut component, "purl", purl.into());
    }
    if let Some(sum) = &package.checksum {
        put(&mut component, "hashes", json!([{"alg": "SHA-256", "content": sum.to_string()}]));
    }
    if let Some(tiers) = tiers {
        let scope = match tiers.tell(&name, &version).0 {
            Tier::Active => "required",
            Tier::Gated => "optional",
            Tier::LockOnly => "excluded",
        };
        put(&mut component, "scope", scope.into());
        if let Some(license) = tiers.traits(&name, &version).and_then(|traits| traits.license.as_deref()) {
            // Before SPDX expressions people wrote a slash for `OR`.
            let is_expression = !license.contains('/');
            let license =
                if is_expression { json!({"expression": license}) } else { json!({"license": {"name": license}}) };
            put(&mut component, "licenses", json!([license]));
        }
    }
    component
}

/// One for each advisory and what is known of its use: an analysis holds for everything that it names.
fn vulnerabilities(report: &Report, bill: &Bill) -> Vec<Value> {
    let mut by: BTreeMap<(&str, Option<Tier>, bool, String), Vec<&Finding>> = BTreeMap::new();
    for finding in report.findings.iter().filter(|finding| !finding.id.is_empty() && finding.line > 0) {
        let why = finding.excepted.as_ref().map(|one| one.reason.clone()).unwrap_or_default();
        by.entry((&finding.id, finding.tier, finding.is_excepted(), why)).or_default().push(finding);
    }
    let all = by.into_iter().enumerate();
    all.map(|(number, ((id, _, _, _), findings))| vulnerability(&format!("{id}/{number}"), id, &findings, bill))
        .collect()
}

fn vulnerability(at: &str, id: &str, findings: &[&Finding], bill: &Bill) -> Value {
    let key = |finding: &&Finding| (finding.lockfile.clone(), finding.package.clone(), finding.version.clone());
    let affected: BTreeSet<&String> = findings.iter().filter_map(|finding| bill.refs.get(&key(finding))).collect();
    let Some(first) = findings.first() else { return Value::Null };
    let severity = match first.severity {
        Severity::None => "none",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
        Severity::Unknown => "unknown",
    };
    let patched = match first.patched.as_slice() {
        [] => "No version is patched.".to_owned(),
        patched => format!("Patched in {}.", patched.join(" or ")),
    };
    let references: Vec<Value> =
        first.aliases.iter().map(|alias| json!({"id": alias, "source": {"name": authority(alias)}})).collect();
    let mut vulnerability = json!({
        "bom-ref": at,
        "id": id,
        "source": {"name": "RustSec", "url": "https://rustsec.org/"},
        "references": references,
        "ratings": [{"severity": severity}],
        "description": first.title,
        "recommendation": patched,
        "affects": affected.into_iter().map(|at| json!({"ref": at})).collect::<Vec<_>>(),
        "properties": [{"name": "dep-audit:kind", "value": super::kind(first)}],
    });
    if let Some(analysis) = analysis(first) {
        put(&mut vulnerability, "analysis", analysis);
    }
    vulnerability
}

/// What can be said without looking into code: that nothing builds it, or that nobody has looked closer.
fn analysis(finding: &Finding) -> Option<Value> {
    if let Some(by) = finding.excepted.as_ref().filter(|by| !by.expired) {
        let detail = format!("{} ({}, until {})", by.reason, by.owner, by.until);
        return Some(json!({"state": "in_triage", "response": ["will_not_fix"], "detail": detail}));
    }
    match (finding.kind, finding.tier?) {
        (_, Tier::LockOnly) => Some(json!({
            "state": "not_affected",
            "justification": "code_not_present",
            "detail": "It stands in the lock file alone: no feature and no platform builds it.",
        })),
        (FindingKind::Vulnerability, Tier::Gated) => Some(json!({
            "state": "in_triage",
            "detail": "It is built with some feature, or for some other platform, and not by default here.",
        })),
        (FindingKind::Vulnerability, Tier::Active) => {
            Some(json!({"state": "in_triage", "detail": "It is built by default."}))
        }
        _ => None,
    }
}

fn authority(alias: &str) -> &'static str {
    match alias.split('-').next() {
        Some("CVE") => "NVD",
        Some("GHSA") => "GitHub Advisories",
        _ => "OSV",
    }
}
