//! Fresh clusters, made once and then copied: initdb takes a second or more, a copy a tenth of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::PoisonError;
use std::time::Duration;

use rustix::process::Signal;

use crate::account::{Account, run_as};
use crate::error::{Doing, Error, Result};
use crate::sandbox::Sandbox;
use crate::setup::{self, CACHE, Installation, tail};
use crate::tool::{bounded, clean};

/// Fills `data` with a fresh cluster: superuser `postgres`, trust authentication, UTF8, locale C.UTF-8, checksums on.
pub(crate) fn copy_to(data: &Path, install: &Installation, account: Option<Account>) -> Result<()> {
    let from = template(install, account)?;
    must(Command::new("cp").arg("-a").arg(from.join(".")).arg(data), "copying a fresh cluster")?;
    setup::close_to_others(data)
}

/// The template of this exact server version and account, made when it is not there yet.
fn template(install: &Installation, account: Option<Account>) -> Result<PathBuf> {
    let version = must(Command::new(install.bin.join("postgres")).arg("--version"), "asking a server's version")?;
    let version = version.split_whitespace().nth(2).unwrap_or("unknown").to_owned();
    let uid = account.map_or_else(|| rustix::process::geteuid().as_raw(), |a| a.uid);
    let cache = setup::cache_dir(account)?;
    let done = cache.join(format!("cluster-{version}-{uid}"));
    let _one = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if done.is_dir() {
        return Ok(done);
    }
    let sandbox = Sandbox::new(account, Signal::QUIT)?;
    let mut initdb = Command::new(install.bin.join("initdb"));
    initdb.arg("-D").arg(sandbox.data()).args([
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--data-checksums",
        "--no-sync",
    ]);
    clean(&mut initdb);
    run_as(initdb.current_dir(sandbox.data()), account);
    must(&mut initdb, "initdb")?;
    let work = tempfile::Builder::new()
        .prefix("cluster-")
        .tempdir_in(&cache)
        .doing(|| format!("make a directory in {}", cache.display()))?;
    let copy = work.path().join("data");
    must(Command::new("cp").arg("-a").arg(sandbox.data()).arg(&copy), "keeping a fresh cluster")?;
    match fs::rename(&copy, &done) {
        Err(_) if done.is_dir() => Ok(done),
        result => result.map(|()| done.clone()).doing(|| format!("move {} into place", done.display())),
    }
}

/// Runs a program that has to succeed, and gives its standard output.
pub(crate) fn must(command: &mut Command, what: &str) -> Result<String> {
    let out = bounded(command, "", Duration::from_mins(2))?;
    if out.code == 0 {
        Ok(out.stdout)
    } else {
        Err(Error::Failed { what: what.to_owned(), why: tail(&(out.stdout + &out.stderr), 15) })
    }
}
