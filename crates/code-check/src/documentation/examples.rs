//! Examples that say of themselves that they run: whether they do.
//!
//! A block of shell whose fence has the word `run` is given to `sh -e` in a directory of its own that is removed afterwards,
//! with the workspace's programs first in `PATH`. This executes what a page says, so it is only done when asked for.

use std::ffi::OsString;
use std::path::Path;

use maint_core::failure::Failure;
use maint_core::units::HumanDuration;

use super::{Pages, finding, shell, total};
use crate::cargo::Call;
use crate::cli::SECTION;
use crate::markdown::Block;
use crate::work::Work;
use crate::workspace::Workspace;

/// Runs every example that is marked.
///
/// # Errors
/// There is no temporary directory or no shell, or we were asked to stop.
pub(super) fn run(pages: &Pages, bin_dir: &Path, workspace: &Workspace, work: &Work<'_>) -> Result<(), Failure> {
    let limit = work.settings.get::<HumanDuration>(&SECTION, "example_timeout")?;
    let (mut checked, mut findings) = (0, 0);
    for (path, page) in pages {
        for block in page.blocks.iter().filter(|block| is_marked(block)) {
            checked += 1;
            if let Some(problem) = problem(block, bin_dir, limit, work)? {
                findings += 1;
                work.run.emit(&finding("example", &workspace.shown(path), block.line, problem));
            }
        }
    }
    work.run.emit(&total("examples", "examples that are marked to be run", checked, findings));
    Ok(())
}

fn is_marked(block: &Block) -> bool {
    shell::is_shell(block) && block.info.iter().skip(1).any(|word| word == "run")
}

fn problem(block: &Block, bin_dir: &Path, limit: HumanDuration, work: &Work<'_>) -> Result<Option<String>, Failure> {
    let unusable = |error: std::io::Error| Failure::usage(format!("cannot make a temporary directory: {error}"));
    let directory = tempfile::tempdir().map_err(unusable)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(bin_dir.to_owned()).chain(std::env::split_paths(&path)))
        .map_err(|error| Failure::usage(format!("--bin-dir {}: {error}", bin_dir.display())))?;
    let call = Call {
        program: "sh".into(),
        args: ["-e", "-c", &script(block)].map(OsString::from).into(),
        directory: directory.path().to_owned(),
        env: vec![("PATH".into(), path)],
        limit: limit.0,
    };
    let answer = call.run(work)?;
    Ok(match answer.code {
        _ if answer.timed_out => Some(format!("the example does not end within {limit}")),
        Some(0) => None,
        _ => Some(format!("the example no longer runs ({}): {}", answer.ended(), answer.complaint())),
    })
}

/// The commands of a console, and a script as it is.
fn script(block: &Block) -> String {
    let prompted = block.text.lines().any(|line| line.trim_start().starts_with("$ "));
    if !prompted {
        return block.text.clone();
    }
    shell::lines(block).into_iter().map(|line| line.text + "\n").collect()
}
