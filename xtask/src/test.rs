//! `test`: everything that must hold before a change lands. Formatting, lints, unit tests, documentation, and the
//! end-to-end tests against real servers.

use maint_core::failure::Failure;
use maint_core::run::Run;

use crate::{setup, workspace};

/// Runs all checks and stops at the first that fails.
pub(crate) fn test(run: &Run) -> Result<(), Failure> {
    setup::setup(run)?;
    // A server that cannot be had here must be known before twenty minutes of tests have passed.
    for major in testbed::setup::MAJORS {
        testbed::setup::installation(major)
            .map_err(|error| Failure::critical(format!("PostgreSQL {major} is not to be had: {error}")))?;
    }
    for version in testbed::RedisVersion::ALL {
        version.server().map_err(|error| Failure::critical(format!("{version} is not to be had: {error}")))?;
    }
    workspace::cargo(&["fmt", "--all", "--check"], &[])?;
    workspace::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    // The end-to-end tests start the programs themselves.
    workspace::cargo(&["build", "--workspace", "--bins"], &[])?;
    workspace::cargo(&["test", "--workspace"], &[])?;
    workspace::cargo(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    Ok(())
}
