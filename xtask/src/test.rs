//! `test`: everything that must hold before a change lands. Formatting, lints, unit tests, documentation, and the
//! end-to-end tests against real servers.

use maint_core::failure::Failure;
use maint_core::run::Run;

use crate::{setup, workspace};

/// Fetches something that is not a Debian package.
type Fetch = fn() -> testbed::Result<()>;

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
    let fetched: [(&str, Fetch); 5] = [
        ("the S3 server", testbed::S3Server::fetch),
        ("acme2certifier", testbed::Acme2Certifier::fetch),
        ("certbot", testbed::acme::certbot::fetch),
        ("the mail server", testbed::Smtp::fetch),
        ("the certificates of PKITS", || testbed::pkits::vectors().map(drop)),
    ];
    for (what, fetch) in fetched {
        fetch()
            .map_err(|error| Failure::critical(format!("{what}, which the tests need, is not to be had: {error}")))?;
    }
    workspace::cargo(&["fmt", "--all", "--check"], &[])?;
    // Always the same features, or everything would be built twice.
    let with = ["--workspace", "--features", "backup-tool/s3,testbed/s3"];
    workspace::cargo(&[&["clippy"], &with[..], &["--all-targets", "--", "-D", "warnings"]].concat(), &[])?;
    // The end-to-end tests start the programs themselves.
    workspace::cargo(&[&["build"], &with[..], &["--bins"]].concat(), &[])?;
    workspace::cargo(&[&["test"], &with[..]].concat(), &[])?;
    workspace::cargo(&[&["doc"], &with[..], &["--no-deps"]].concat(), &[("RUSTDOCFLAGS", "-D warnings")])?;
    Ok(())
}
