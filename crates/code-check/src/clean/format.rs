//! rustfmt: which files are not as it would write them.

use std::path::Path;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cargo::{Answer, cargo};
use crate::cli::CleanArgs;
use crate::source::Exclude;
use crate::words::counted;
use crate::work::Work;
use crate::workspace::Workspace;

/// Asks rustfmt, and changes nothing.
///
/// # Errors
/// rustfmt is not there, or could not read a file.
pub(super) fn run(args: &CleanArgs, workspace: &Workspace, work: &Work<'_>) -> Result<(), Failure> {
    let exclude = Exclude::load(&args.exclude, workspace, work)?;
    let command = ["fmt", "--all", "--check", "--", "-l"].map(std::ffi::OsString::from);
    let answer = cargo(work, &workspace.root, command.into(), Vec::new())?;
    let differ = differing(&answer).map_err(|why| {
        Failure::usage(format!("rustfmt could not tell: {why}")).hint("try `cargo fmt --all --check`")
    })?;
    // rustfmt also follows paths to crates outside of the workspace.
    let is_meant = |path: &Path| workspace.owner(path).is_some() && !exclude.holds(path, &workspace.root);
    let differ: Vec<&str> = differ.into_iter().filter(|path| is_meant(Path::new(path))).collect();
    for path in &differ {
        let shown = workspace.shown(Path::new(path));
        let record = Record::new(Kind::Finding, &shown, Status::Warning, "is not formatted; cargo fmt --all does it");
        work.run.emit(&record.field("kind", "format").field("file", &shown));
    }
    let (status, message) = match differ.len() {
        0 => (Status::Ok, "every file is formatted".to_owned()),
        count => (Status::Warning, format!("{} not formatted", counted(count, "file"))),
    };
    work.run.emit(
        &Record::new(Kind::Check, "format", status, message).field("kind", "format").field("value", differ.len()),
    );
    Ok(())
}

/// The files that rustfmt lists. It ends with 1 both when files differ and when it could not read one.
fn differing(answer: &Answer) -> Result<Vec<&str>, String> {
    let mut files: Vec<&str> = answer.stdout.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
    files.sort_unstable();
    files.dedup();
    let complains = answer.stderr.iter().any(|line| line.trim_start().starts_with("error"));
    let expected = if files.is_empty() { Some(0) } else { Some(1) };
    if complains || (answer.code != expected && answer.code != Some(0)) {
        return Err(answer.complaint());
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32, stdout: &[&str], stderr: &[&str]) -> Answer {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        Answer { code: Some(code), stdout: lines(stdout), stderr: lines(stderr), timed_out: false }
    }

    #[test]
    fn files_that_differ_are_those_listed_each_once() {
        assert_eq!(differing(&answer(1, &["/w/b.rs", "/w/a.rs", "/w/b.rs", ""], &[])).unwrap(), ["/w/a.rs", "/w/b.rs"]);
        assert!(differing(&answer(0, &[], &[])).unwrap().is_empty());
    }

    #[test]
    fn a_rustfmt_that_is_not_there_or_cannot_read_a_file_is_not_a_clean_workspace() {
        assert!(differing(&answer(1, &[], &["error: 'cargo-fmt' is not installed for the toolchain"])).is_err());
        assert!(differing(&answer(1, &["/w/a.rs"], &["error: expected item, found `}`"])).is_err());
        assert!(differing(&answer(101, &[], &[])).is_err());
    }
}
