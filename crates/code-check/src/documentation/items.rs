//! What rustdoc says: public items without documentation, links in it that lead nowhere.

use std::ffi::OsString;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::compiled::{Compiled, Diagnostic, Level, Outcome};
use crate::words::counted;
use crate::work::Work;
use crate::workspace::Workspace;

/// On top of the crate's own lints; what it allows stays allowed.
const LINTS: &str = "-W missing_docs -W rustdoc::broken_intra_doc_links";

/// Runs rustdoc over the workspace.
///
/// # Errors
/// cargo cannot run.
pub(super) fn run(workspace: &Workspace, work: &Work<'_>) -> Result<(), Failure> {
    let env = vec![(OsString::from("RUSTDOCFLAGS"), OsString::from(LINTS))];
    let command = ["doc", "--workspace", "--no-deps", "--keep-going"];
    let mut compiled = Compiled::run(work, workspace, &command, &[], env)?;
    // What a crate needs is compiled on the way, and the compiler's other warnings are another command's.
    let is_meant = |found: &Diagnostic| found.code == "missing_docs" || found.code.starts_with("rustdoc::");
    compiled.diagnostics.retain(|found| found.level == Level::Error || is_meant(found));
    compiled.report_broken(work);
    for name in compiled.with(Outcome::Compiled) {
        for found in compiled.warnings(name) {
            work.run.emit(&found.record(Status::Warning).field("kind", kind(&found.code)));
        }
        let count = compiled.warnings(name).count();
        let missing = compiled.warnings(name).filter(|found| found.code == "missing_docs").count();
        let (status, message) = if count == 0 {
            (Status::Ok, "every public item is documented".to_owned())
        } else {
            let (missing, other) = (counted(missing, "item"), counted(count - missing, "other finding"));
            (Status::Warning, format!("{missing} without documentation, {other}"))
        };
        let record = Record::new(Kind::Check, name, status, message).label("crate", name);
        work.run.emit(&record.field("kind", "items").field("missing", missing).field("findings", count));
    }
    Ok(())
}

fn kind(code: &str) -> &'static str {
    match code {
        "missing_docs" => "missing-docs",
        "rustdoc::broken_intra_doc_links" => "broken-link",
        _ => "rustdoc",
    }
}
