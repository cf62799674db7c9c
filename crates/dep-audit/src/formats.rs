//! Forms of output besides those of every program: documents that other programs read.

mod cyclonedx;
mod junit;
mod osv;
mod place;
mod sarif;
mod table;

use clap::ValueEnum as _;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser, ValueParser};
use maint_core::failure::Failure;
use maint_core::output::Format;

pub use cyclonedx::bill_of_materials;

use crate::finding::Finding;
use crate::policy::FailOn;
use crate::report::Report;

/// Their names and what they are.
const FORMS: &[(&str, &str)] = &[
    ("sarif", "SARIF 2.1.0, for code scanning"),
    ("cyclonedx", "CycloneDX 1.6, packages and vulnerabilities"),
    ("osv", "OSV results, as osv-scanner writes them"),
    ("markdown", "a table for people"),
    ("csv", "one line a finding"),
    ("junit", "JUnit XML, for build servers"),
];

/// Reads the value of `-o`: a format of every program, or one of these forms.
pub fn parser() -> ValueParser {
    let common = Format::value_variants().iter().filter_map(Format::to_possible_value);
    let own = FORMS.iter().map(|(name, help)| PossibleValue::new(*name).help(*help));
    PossibleValuesParser::new(common.chain(own))
        .map(|name| {
            let own = FORMS.iter().find(|(form, _)| *form == name).map(|(form, _)| Format::Document(form));
            own.or_else(|| Format::from_str(&name, false).ok()).unwrap_or_default()
        })
        .into()
}

/// The document of that name, of what was found and what the policy makes of each finding. The same report gives the same
/// bytes.
///
/// # Errors
/// It cannot be written down.
pub fn render(form: &str, report: &Report, fail_on: FailOn) -> Result<Vec<u8>, Failure> {
    let json = |value: serde_json::Value| {
        let text = serde_json::to_string_pretty(&value);
        text.map(|text| (text + "\n").into_bytes()).map_err(|error| Failure::critical(error.to_string()))
    };
    match form {
        "sarif" => json(sarif::document(report, fail_on)),
        "cyclonedx" => json(cyclonedx::document(report)),
        "osv" => json(osv::document(report)),
        "markdown" => Ok(table::markdown(report, fail_on).into_bytes()),
        "csv" => Ok(table::csv(report, fail_on).into_bytes()),
        "junit" => Ok(junit::document(report, fail_on).into_bytes()),
        other => Err(Failure::usage(format!("there is no form {other}"))),
    }
}

/// The kind as it stands in records.
fn kind(finding: &Finding) -> String {
    serde_json::to_value(finding.kind).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What a finding is called where a name is needed: its advisory, or its kind.
fn rule(finding: &Finding) -> String {
    if finding.id.is_empty() { kind(finding) } else { finding.id.clone() }
}

/// A text without the working directory's name: documents are read elsewhere.
fn local(text: &str) -> String {
    match std::env::current_dir().ok().and_then(|here| here.to_str().map(|here| format!("{here}/"))) {
        Some(here) if here.len() > 1 => text.replace(&here, ""),
        _ => text.to_owned(),
    }
}
