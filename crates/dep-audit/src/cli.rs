//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use maint_core::cli::{CommonArgs, CommonCommand, EXIT_CODES};
use maint_core::config::{Section, checked, key};
use maint_core::units::HumanDuration;

/// The keys of `[dep-audit]` in maint.toml.
pub static SECTION: Section = Section {
    name: "dep-audit",
    tables: &[],
    keys: &[
        key(
            "db",
            "",
            &["DEP_AUDIT_DB"],
            checked::<PathBuf>,
            "the advisories: a directory, a git checkout, a .tar.zst pack, or an OSV archive",
        ),
        key("max_db_age", "7d", &[], checked::<HumanDuration>, "warn when the advisories are older"),
        key("fail_db_age", "30d", &[], checked::<HumanDuration>, "advisories that are older tell nothing"),
        key("fail_on", "active", &[], checked::<String>, "what is critical: new, active, any, or a severity"),
        key("exceptions", "", &[], checked::<PathBuf>, "file with the exceptions"),
    ],
};

/// Dependencies of Rust projects: vulnerabilities, risk, updates, what is unused.
#[derive(Debug, Parser)]
#[command(name = "dep-audit", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Flags of every program.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The advisories: a directory, a git checkout, a .tar.zst pack, or an OSV archive
    #[arg(long, value_name = "PATH", global = true)]
    pub db: Option<PathBuf>,
    /// Judge as of this time instead of now
    #[arg(long, value_name = "TIME", global = true)]
    pub now: Option<Timestamp>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Advisories, yanked versions and unknown sources in lock files, by how far they are used
    SecurityAudit(SecurityAuditArgs),
    /// What every program has
    #[command(flatten)]
    Common(CommonCommand),
}

/// What to look at.
#[derive(Debug, Args)]
pub struct InputArgs {
    /// Lock files; `-` reads one from stdin; the one of the working directory when none is named
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
