//! NIST's Public Key Interoperability Test Suite: 405 certificates and 173 revocation lists, and what a validator of
//! RFC 5280 must say to them.
//!
//! They come with the test vectors of pyca/cryptography, from the Python package index into the cache.

use std::path::PathBuf;
use std::process::Command;

use crate::error::Result;
use crate::setup::{cached, program, step};

const PACKAGE: &str = "cryptography_vectors==50.0.2";

/// The directory of test vectors for X.509: `PKITS_data/{certs,crls}` are the suite, `custom` are odd certificates. They
/// are fetched on first use.
pub fn vectors() -> Result<PathBuf> {
    let packages = cached(PACKAGE, |work| {
        let what = "fetching certificates with pip";
        let mut pip = Command::new(program("python3-pip")?);
        pip.args(["install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", "ready", PACKAGE]);
        step(what, work, &mut pip)?;
        step(what, work, Command::new("chmod").args(["-R", "a+rX", "ready"]))?;
        Ok(work.join("ready"))
    })?;
    Ok(packages.join("cryptography_vectors/x509"))
}
