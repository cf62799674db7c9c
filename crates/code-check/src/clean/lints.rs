//! clippy: its warnings from the JSON messages, never from words in its prose.

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::CleanArgs;
use crate::compiled::{Compiled, Outcome};
use crate::source::{Exclude, listed};
use crate::words::counted;
use crate::work::Work;
use crate::workspace::Workspace;

/// Runs clippy with the workspace's own lints and those asked for.
///
/// # Errors
/// clippy is not there, or the workspace cannot be built at all.
pub(super) fn run(args: &CleanArgs, workspace: &Workspace, work: &Work<'_>) -> Result<(), Failure> {
    let exclude = Exclude::load(&args.exclude, workspace, work)?;
    let or_key = |flags: &[String], key| if flags.is_empty() { listed(work, key) } else { Ok(flags.to_vec()) };
    let warn = or_key(&args.warn_lint, "warn_lints")?;
    let allow = or_key(&args.allow_lint, "allow_lints")?;
    let flag = |flag: &str, lint: &String| [flag.to_owned(), lint.clone()];
    let rest: Vec<String> =
        warn.iter().flat_map(|lint| flag("-W", lint)).chain(allow.iter().flat_map(|lint| flag("-A", lint))).collect();
    let command = ["clippy", "--workspace", "--all-targets", "--keep-going"];
    let mut compiled = Compiled::run(work, workspace, &command, &rest, Vec::new())?;
    compiled.diagnostics.retain(|found| !exclude.holds(&workspace.root.join(&found.file), &workspace.root));
    // A denied lint is an error to the compiler; here it is critical, and the crate is not clean.
    compiled.report_broken(work);
    for name in compiled.with(Outcome::Compiled) {
        for found in compiled.warnings(name) {
            work.run.emit(&found.record(Status::Warning).field("kind", "lint"));
        }
        let count = compiled.warnings(name).count();
        let status = if count == 0 { Status::Ok } else { Status::Warning };
        let message = format!("{} of the compiler and the lints", counted(count, "warning"));
        let record = Record::new(Kind::Check, name, status, message).label("crate", name).label("part", "lints");
        work.run.emit(&record.field("kind", "lint").field("value", count));
    }
    Ok(())
}
