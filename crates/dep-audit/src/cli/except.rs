//! Of `except`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::civil::Date;
use maint_core::cli::ChangeArgs;
use semver::VersionReq;

use crate::exceptions::{ExceptionKind, Target};

/// Of `except`.
#[derive(Debug, Subcommand)]
pub enum ExceptAction {
    /// All of them
    List,
    /// Which of them do not hold, or name nothing that the database knows
    Check,
    /// Let something pass
    Add(Box<AddArgs>),
    /// Give one another last day
    Renew {
        /// The advisory's id or another name of it, or the crate
        name: String,
        /// The last day on which it holds, as 2026-12-31
        #[arg(long, value_name = "DAY")]
        until: Date,
        /// Another reason
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Which, where several have that name: that of this crate
        #[arg(long = "crate", value_name = "CRATE")]
        package: Option<String>,
        /// Guards.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// End one; it stays in the file, for the record
    Revoke {
        /// The advisory's id or another name of it, or the crate
        name: String,
        /// Which, where several have that name: that of this crate
        #[arg(long = "crate", value_name = "CRATE")]
        package: Option<String>,
        /// Guards.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Take out what was revoked, and what no lock file below the file of exceptions needs any more
    Prune {
        /// Guards.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Take over another program's: audit.toml, deny.toml, osv-scanner.toml, or a list of tables
    Import(ImportArgs),
    /// Write those that hold into another program's file; what else is in it stays
    Export {
        /// For whom
        #[arg(long, value_name = "PROGRAM")]
        to: Target,
        /// Its file, as deny.toml or .cargo/audit.toml
        #[arg(long, value_name = "FILE")]
        into: PathBuf,
        /// Guards.
        #[command(flatten)]
        change: ChangeArgs,
    },
}

/// Of `except add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The advisory's id or another name of it; may be left out for maintenance of a crate
    #[arg(default_value = "")]
    pub id: String,
    /// What it is about
    #[arg(long, value_enum, default_value_t = ExceptionKind::Vulnerability)]
    pub kind: ExceptionKind,
    /// Only for this crate
    #[arg(long = "crate", value_name = "CRATE", default_value = "")]
    pub package: String,
    /// Only for these versions of it, as =1.2.3
    #[arg(long, value_name = "REQUIREMENT")]
    pub version: Option<VersionReq>,
    /// Only for this lock file, as a path from the file of exceptions
    #[arg(long, value_name = "PATH")]
    pub lockfile: Option<PathBuf>,
    /// Why it may pass
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who answers for it
    #[arg(long, value_name = "WHO")]
    pub owner: String,
    /// The last day on which it holds (UTC), as 2026-12-31
    #[arg(long, value_name = "DAY")]
    pub until: Date,
    /// What is done meanwhile
    #[arg(long, value_name = "TEXT")]
    pub mitigation: Option<String>,
    /// Who agreed
    #[arg(long, value_name = "WHO")]
    pub approved_by: Option<String>,
    /// Nobody agreed yet: it is noted, and does not hold
    #[arg(long)]
    pub pending: bool,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Of `except import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Their files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Who answers for them, where the file does not say
    #[arg(long, value_name = "WHO")]
    pub owner: String,
    /// The last day on which they hold, where the file does not say
    #[arg(long, value_name = "DAY")]
    pub until: Date,
    /// Why they may pass, where the file does not say
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}
