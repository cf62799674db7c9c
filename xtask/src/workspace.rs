//! Where the workspace is, and calling cargo in it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use maint_core::failure::Failure;
use maint_core::state_dir;

/// The workspace's root: the directory above this crate's.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The state directory.
pub(crate) fn state_dir() -> Result<PathBuf, Failure> {
    state_dir::state_dir().map_err(|error| Failure::usage(error.to_string()))
}

/// A line of progress. A stderr that is closed or full is no reason to stop.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Runs cargo in the workspace with its output passed through.
pub(crate) fn cargo(args: &[&str], env: &[(&str, &str)]) -> Result<(), Failure> {
    say(&format!("\n== cargo {}", args.join(" ")));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(args).envs(env.iter().copied()).current_dir(root()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Failure::critical(format!("cargo {} failed", args.join(" ")))),
        Err(error) => Err(Failure::critical(format!("cannot start cargo: {error}"))),
    }
}
