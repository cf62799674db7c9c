//! This program as cargo's compiler: the real one, with one more lint.
//!
//! Cargo calls what `RUSTC_WORKSPACE_WRAPPER` names with the compiler's path and its arguments, for members of the workspace
//! alone. `-W` would lose against an `allow` in the code or the manifest; `--force-warn` loses against nothing.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// Set for the cargo that is to call us.
pub const MARK: &str = "DEP_AUDIT_AS_COMPILER";

/// Becomes the compiler, where cargo called us as one.
pub fn become_compiler(args: &[OsString]) -> Option<ExitCode> {
    std::env::var_os(MARK)?;
    let (compiler, rest) = args.get(1..)?.split_first()?;
    let error = Command::new(compiler).args(rest).args(["--force-warn", "unused_crate_dependencies"]).exec();
    eprintln!("dep-audit: cannot run {}: {error}", compiler.to_string_lossy());
    Some(ExitCode::FAILURE)
}
