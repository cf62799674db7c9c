//! The command line.

mod alert;
mod audit;
mod except;
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

pub use alert::{AlertAckArgs, AlertAction, AlertRunArgs};
pub use audit::{BinArgs, DbAction, DiffArgs, InputArgs, Pin, SecurityAuditArgs, WhyArgs};
pub use except::{AddArgs, ExceptAction, ImportArgs};
pub use export::SbomArgs;
pub use risk::RiskArgs;
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
            "the advisories: a directory, a git checkout, a .tar.zst pack, or OSV's zip archive",
        ),
        key("max_db_age", "7d", &[], checked::<HumanDuration>, "warn when the advisories are older"),
        key("fail_db_age", "30d", &[], checked::<HumanDuration>, "advisories that are older tell nothing"),
        key(
            "fail_on",
            "active",
            &[],
            checked::<String>,
            "what is critical: active, any, new, low, medium, high, critical",
        ),
        key(
            "cooldown",
            "7d",
            &[],
            checked::<HumanDuration>,
            "an update takes no younger release, unless it ends a finding",
        ),
        key(
            "exceptions",
            "",
            &[],
            checked::<PathBuf>,
            "the file of exceptions; dep-audit.toml here or above by default",
        ),
        key("max_exception", "365d", &[], checked::<HumanDuration>, "no exception holds longer from now on"),
        key(
            "sla",
            "24h",
            &[],
            checked::<HumanDuration>,
            "a release that ends a finding is overdue when it is out longer",
        ),
    ],
};

/// Dependencies of Rust projects: vulnerabilities, and the updates that end them.
#[derive(Debug, Parser)]
#[command(name = "dep-audit", version, after_help = EXIT_CODES)]
#[command(mut_arg("output", |arg| arg.value_parser(crate::formats::parser())))]
pub struct Cli {
    /// Flags of every program.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The advisories: a directory, a git checkout, a .tar.zst pack, or OSV's zip archive
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
    /// The fewest moves that mend what is vulnerable, each verified and taken back when it does not help
    Update(UpdateArgs),
    /// What is behind, how far, and what holds it back
    Outdated(OutdatedArgs),
    /// Dependencies that nothing uses, by the compiler's own word
    Unused(UnusedArgs),
    /// Advisories for what programs are made of, by what they carry with them
    Bin(BinArgs),
    /// Through what a crate comes in, and how far it is used
    Why(WhyArgs),
    /// What a change of the lock file brings
    Diff(DiffArgs),
    /// Which dependencies deserve a look, and for what: a score whose parts are shown
    Risk(RiskArgs),
    /// Findings that somebody lets pass: why, and until when
    Except {
        /// What to do with them.
        #[command(subcommand)]
        action: ExceptAction,
    },
    /// What is new, what has changed and what is gone since the last time, once each
    Alert {
        /// What to do.
        #[command(subcommand)]
        action: AlertAction,
    },
    /// All packages, who needs whom and how far they are used, as CycloneDX (`-o cyclonedx`)
    Sbom(SbomArgs),
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
