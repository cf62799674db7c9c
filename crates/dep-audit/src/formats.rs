//! Forms of output besides those of every program: documents that other programs read.

use clap::ValueEnum as _;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser, ValueParser};
use maint_core::failure::Failure;
use maint_core::output::Format;

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

/// The document of that name.
///
/// # Errors
/// It cannot be written down.
pub fn render(form: &str, report: &Report) -> Result<Vec<u8>, Failure> {
    let _ = report;
    Err(Failure::usage(format!("the form {form} is not there yet")))
}
