//! Of `security-audit`, `why`, `diff` and `db`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to look at.
#[derive(Debug, Clone, Args)]
pub struct InputArgs {
    /// Lock files; `-` reads one from stdin; the one of the working directory when none is named
    #[arg(value_name = "LOCKFILE")]
    pub lockfiles: Vec<PathBuf>,
    /// Every lock file below a directory
    #[arg(long, value_name = "DIR")]
    pub root: Vec<PathBuf>,
}

/// Of `security-audit`.
#[derive(Debug, Args)]
pub struct SecurityAuditArgs {
    /// What to look at.
    #[command(flatten)]
    pub input: InputArgs,
    /// What is critical: new, active, any, or a severity
    #[arg(long, value_name = "WHAT")]
    pub fail_on: Option<String>,
}

/// Of `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The crate: NAME or NAME@VERSION
    #[arg(value_name = "CRATE")]
    pub package: String,
}

/// Of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The older lock file
    pub old: PathBuf,
    /// The newer lock file
    pub new: PathBuf,
}

/// Of `db`.
#[derive(Debug, Subcommand)]
pub enum DbAction {
    /// What it holds and how old it is
    Info,
}
