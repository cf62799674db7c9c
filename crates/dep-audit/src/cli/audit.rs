//! Of `security-audit`, `why`, `diff` and `db`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use maint_core::cli::ChangeArgs;

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
    /// What is critical: active, any, new, low, medium, high, critical
    #[arg(long, value_name = "WHAT")]
    pub fail_on: Option<String>,
    /// The output of an earlier run (`-o ndjson`): for `--fail-on new`, only what it does not have is critical
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Ask cargo of every lock file's workspace how far packages are used, not only of the one that you are in; cargo obeys
    /// the configuration that it finds there
    #[arg(long)]
    pub trust: bool,
    /// Look at the compiler and cargo themselves as well
    #[arg(long)]
    pub toolchain: bool,
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
    /// Read all of it, and of a pack compare its index with what it holds
    Verify,
    /// Write a directory of advisories, or a git checkout of one, into one file that opens fast
    Pack {
        /// Where to write, as NAME.tar.zst
        #[arg(long, value_name = "FILE")]
        into: PathBuf,
        /// Guards.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Get the advisories with git and pack them; what is there stays until the new ones are whole
    Fetch {
        /// Where from
        #[arg(long, value_name = "URL", default_value = "https://github.com/RustSec/advisory-db")]
        from: String,
        /// Where to write, as NAME.tar.zst
        #[arg(long, value_name = "FILE")]
        into: PathBuf,
        /// Guards.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Advisories that the newer one has and the older one has not, and the other way round
    Diff {
        /// The older one
        old: PathBuf,
        /// The newer one
        new: PathBuf,
    },
}
