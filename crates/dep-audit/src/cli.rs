//! The command line.

mod alert;
mod audit;
mod export;
mod risk;
mod unused;
mod update;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use jiff::Timestamp;
use maint_core::cli::{CommonArgs, CommonCommand, EXIT_CODES};
use maint_core::config::{Section, checked, key};
use maint_core::units::HumanDuration;

pub use alert::AlertAction;
pub use audit::{DbAction, DiffArgs, InputArgs, SecurityAuditArgs, WhyArgs};
pub use export::{BinArgs, SbomArgs};
pub use risk::{ExceptAction, RiskArgs};
pub use unused::UnusedArgs;
pub use update::{OutdatedArgs, UpdateArgs, Verify};

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
        key(
            "cooldown",
            "7d",
            &[],
            checked::<HumanDuration>,
            "an update takes no younger release, unless it ends a finding",
        ),
        key(
            "sla",
            "24h",
            &[],
            checked::<HumanDuration>,
            "a release that ends a finding is overdue when it is out longer",
        ),
        key("exceptions", "", &[], checked::<PathBuf>, "file with the exceptions"),
    ],
};

/// Dependencies of Rust projects: vulnerabilities, risk, updates, what is unused.
#[derive(Debug, Parser)]
#[command(name = "dep-audit", version, after_help = EXIT_CODES)]
#[command(mut_arg("output", |arg| arg.value_parser(crate::formats::parser())))]
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
    /// How risky each dependency is, and why
    Risk(RiskArgs),
    /// Findings that are let pass, by whom, why and until when
    Except {
        /// What to do with them.
        #[command(subcommand)]
        action: ExceptAction,
    },
    /// The fewest moves that mend what is vulnerable, each verified and taken back when it does not help
    Update(UpdateArgs),
    /// What is behind, how far, and what holds it back
    Outdated(OutdatedArgs),
    /// Tell what is new, has changed or is gone, once
    Alert {
        /// What to do.
        #[command(subcommand)]
        action: AlertAction,
    },
    /// Dependencies that nothing uses, proved
    Unused(UnusedArgs),
    /// Through what a crate comes in, and how far it is used
    Why(WhyArgs),
    /// What a change of the lock file brings
    Diff(DiffArgs),
    /// What is in it: a bill of materials
    Sbom(SbomArgs),
    /// Advisories in built programs
    Bin(BinArgs),
    /// The advisory database
    Db {
        /// What to do with it.
        #[command(subcommand)]
        action: DbAction,
    },
    /// What every program has
    #[command(flatten)]
    Common(CommonCommand),
}
