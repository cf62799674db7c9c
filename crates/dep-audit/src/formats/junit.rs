//! JUnit XML: a suite for each lock file, a case for each finding, and one for the file itself.

use std::fmt::Write as _;

use maint_core::status::Status;

use super::{kind, rule};
use crate::policy::{FailOn, status};
use crate::report::Report;

pub(super) fn document(report: &Report, fail_on: FailOn) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"dep-audit\">\n");
    for lock in &report.locks {
        let of: Vec<_> = report.findings.iter().filter(|finding| finding.lockfile == lock.path).collect();
        let failures = of.iter().filter(|finding| status(finding, fail_on) == Status::Critical).count();
        let name = escape(&lock.path.display().to_string());
        let _ = writeln!(
            text,
            "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\">",
            of.len() + 1
        );
        let _ = writeln!(text, "    <testcase classname=\"{name}\" name=\"{} packages\"/>", lock.packages.len());
        for finding in of {
            let case = escape(&format!("{} {}", rule(finding), finding.subject()));
            let message = escape(&finding.title);
            let _ = write!(text, "    <testcase classname=\"{name}\" name=\"{case}\">");
            let _ = match status(finding, fail_on) {
                Status::Critical => {
                    write!(text, "<failure type=\"{}\" message=\"{message}\"/>", escape(&kind(finding)))
                }
                _ => write!(text, "<system-out>{message}</system-out>"),
            };
            text.push_str("</testcase>\n");
        }
        text.push_str("  </testsuite>\n");
    }
    for unread in &report.unread {
        let name = escape(&unread.path.display().to_string());
        let _ = writeln!(
            text,
            "  <testsuite name=\"{name}\" tests=\"1\" failures=\"0\" errors=\"1\">\n    <testcase classname=\"{name}\" \
             name=\"{name}\"><error message=\"{}\"/></testcase>\n  </testsuite>",
            escape(&unread.why)
        );
    }
    text.push_str("</testsuites>\n");
    text
}

/// XML 1.0, 2.2 and 2.4: what may not stand there is left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            c if c.is_control() || c == '\u{fffe}' || c == '\u{ffff}' => {}
            c => escaped.push(c),
        }
    }
    escaped
}
