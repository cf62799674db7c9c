//! JUnit XML: a suite for each lock file, a case for each finding, and one for the file itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use maint_core::status::Status;

use super::{kind, rule};
use crate::finding::Finding;
use crate::policy::{FailOn, status};
use crate::report::Report;

pub(super) fn document(report: &Report, fail_on: FailOn) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"dep-audit\">\n");
    let packages: BTreeMap<&Path, usize> =
        report.locks.iter().map(|lock| (lock.path.as_path(), lock.packages.len())).collect();
    // What stands in no lock file (the toolchain, exceptions) has a suite of its own.
    let others = report.findings.iter().map(|finding| finding.lockfile.as_path());
    let paths: BTreeSet<&Path> = packages.keys().copied().chain(others).collect();
    for path in paths {
        let of: Vec<_> = report.findings.iter().filter(|finding| finding.lockfile == path).collect();
        suite(&mut text, path, packages.get(path).copied(), &of, fail_on);
    }
    for unread in &report.unread {
        let name = named(&unread.path);
        let _ = writeln!(
            text,
            "  <testsuite name=\"{name}\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\">\n    <testcase \
             classname=\"{name}\" name=\"{name}\"><error message=\"{}\"/></testcase>\n  </testsuite>",
            escape(&unread.why)
        );
    }
    text.push_str("</testsuites>\n");
    text
}

/// What is critical failed; what is a warning, or was let pass, is skipped, with the reason: a build server shows both.
fn suite(text: &mut String, path: &Path, packages: Option<usize>, findings: &[&Finding], fail_on: FailOn) {
    let name = named(path);
    let failures = findings.iter().filter(|finding| status(finding, fail_on) == Status::Critical).count();
    let (tests, skipped) = (findings.len() + usize::from(packages.is_some()), findings.len() - failures);
    let _ = writeln!(
        text,
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\">"
    );
    if let Some(packages) = packages {
        let _ = writeln!(text, "    <testcase classname=\"{name}\" name=\"{packages} packages\"/>");
    }
    for finding in findings {
        let case = escape(&format!("{} {}", rule(finding), finding.subject()));
        let kind = escape(&kind(finding));
        let inner = match (status(finding, fail_on), &finding.excepted) {
            (Status::Critical, _) => format!("<failure type=\"{kind}\" message=\"{}\"/>", escape(&finding.title)),
            (_, Some(by)) if !by.expired => {
                let why = format!("{}; let pass by {} until {}: {}", finding.title, by.owner, by.until, by.reason);
                format!("<skipped message=\"{}\"/>", escape(&why))
            }
            _ => format!("<skipped message=\"{kind}: {}\"/>", escape(&finding.title)),
        };
        let _ = writeln!(text, "    <testcase classname=\"{name}\" name=\"{case}\">{inner}</testcase>");
    }
    text.push_str("  </testsuite>\n");
}

fn named(path: &Path) -> String {
    if path.as_os_str().is_empty() { "toolchain".to_owned() } else { escape(&path.display().to_string()) }
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
