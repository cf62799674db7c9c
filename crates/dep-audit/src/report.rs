//! What an audit found, whole: what every form of output is made of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::SignedDuration;

use crate::db::{Database, Stamp};
use crate::finding::Finding;
use crate::graph::Tiers;
use crate::lock::Lock;

/// A lock file that could not be looked at.
#[derive(Debug, Clone)]
pub struct Unread {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// What an audit found.
#[derive(Debug)]
pub struct Report {
    /// The advisories.
    pub database: Database,
    /// What it was judged by.
    pub stamp: Stamp,
    /// How long ago its newest advisory was made public.
    pub age: SignedDuration,
    /// The lock files that were looked at.
    pub locks: Vec<Lock>,
    /// Those that could not be.
    pub unread: Vec<Unread>,
    /// What was found, the worst first, then by subject, id and file: those that are gated or only locked as well.
    pub findings: Vec<Finding>,
    /// What somebody should know of how much all of this is worth.
    pub notes: Vec<String>,
    /// Of so many crates nobody knows here whether versions were taken back.
    pub unknown_yanked: usize,
    /// How far packages are used, by lock file, where cargo was asked.
    pub tiers: BTreeMap<PathBuf, Tiers>,
}

/// How many lock files, in words.
pub fn files(report: &Report) -> String {
    let unread: std::collections::BTreeSet<&PathBuf> = report.unread.iter().map(|unread| &unread.path).collect();
    let unread = unread.into_iter().filter(|path| path.extension().is_none_or(|ending| ending != "toml")).count();
    match report.locks.len() + unread {
        1 => "1 lock file".to_owned(),
        more => format!("{more} lock files"),
    }
}
