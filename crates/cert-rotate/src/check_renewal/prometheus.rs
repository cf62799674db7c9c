//! The result as a file for node_exporter's textfile collector, with the names that x509-certificate-exporter uses.

use std::fmt::Write as _;
use std::path::Path;

use maint_core::durable;
use maint_core::failure::Failure;
use maint_core::status::Severity;

use super::Checked;

type Value = fn(&Checked) -> Option<i64>;

const FAMILIES: [(&str, &str, Value); 5] = [
    ("x509_cert_not_before", "Unix time from which the certificate is valid", |checked| {
        checked.validity.map(|validity| validity.not_before.as_second())
    }),
    ("x509_cert_not_after", "Unix time until which the certificate is valid", |checked| {
        checked.validity.map(|validity| validity.not_after.as_second())
    }),
    ("x509_cert_expired", "Whether the certificate is not valid any more", |checked| {
        checked.validity.map(|_| i64::from(checked.expired))
    }),
    ("x509_cert_renew_at", "Unix time from which the certificate is due", |checked| {
        checked.due.map(|due| due.renew_at.as_second())
    }),
    ("x509_cert_error", "Whether the certificate cannot be read", |checked| {
        Some(i64::from(checked.status.severity() == Severity::Unknown))
    }),
];

/// Replaces the file at once, so that no collector reads half of it.
///
/// # Errors
/// It cannot be written.
pub(super) fn write(path: &Path, all: &[Checked]) -> Result<(), Failure> {
    durable::replace_quickly(path, text(all).as_bytes(), 0o644)
        .map_err(|error| Failure::critical(error.to_string()).hint("correct --prometheus"))
}

fn text(all: &[Checked]) -> String {
    let mut text = String::new();
    for (name, help, value) in FAMILIES {
        let _ = writeln!(text, "# HELP {name} {help}.\n# TYPE {name} gauge");
        for checked in all {
            if let Some(value) = value(checked) {
                let (label, subject) = (checked.origin.label(), escaped(&checked.subject));
                let _ = writeln!(text, "{name}{{{label}=\"{subject}\"}} {value}");
            }
        }
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_would_end_a_label_are_escaped() {
        assert_eq!(escaped("a\\b\"c\nd"), "a\\\\b\\\"c\\nd");
    }
}
