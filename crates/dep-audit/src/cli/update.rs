//! Of `update` and `outdated`.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use maint_core::cli::ChangeArgs;
use maint_core::units::HumanDuration;

/// Of `update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// With --apply: carry out this plan (`-`: from stdin) instead of making one
    #[arg(value_name = "PLAN", requires = "apply")]
    pub from: Option<PathBuf>,
    /// Move only what has findings (the default)
    #[arg(long, conflicts_with_all = ["compatible", "breaking"])]
    pub security_only: bool,
    /// Move everything as far as requirements and the cooldown allow
    #[arg(long)]
    pub compatible: bool,
    /// List as well which of the workspace's own requirements keep newer releases out; they are never changed
    #[arg(long)]
    pub breaking: bool,
    /// Show what would be done, and stop (the default)
    #[arg(long, conflicts_with = "apply")]
    pub plan: bool,
    /// Do it, one step after the other, each verified or taken back
    #[arg(long)]
    pub apply: bool,
    /// What verifies a step besides the audit: check, test, or a command for the shell
    #[arg(long, value_name = "check|test|CMD", default_value = "check")]
    pub verify: Verify,
    /// Verify by the audit alone, build nothing
    #[arg(long, conflicts_with = "verify")]
    pub lock_only: bool,
    /// Take no release that is younger, unless it ends a finding
    #[arg(long, value_name = "DURATION")]
    pub cooldown: Option<HumanDuration>,
    /// Make no more than this many steps; what is left is listed
    #[arg(long, value_name = "N")]
    pub max_changes: Option<usize>,
    /// Flags of every command that changes something.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// What verifies a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    /// `cargo check` of everything.
    Check,
    /// `cargo test` of everything.
    Test,
    /// A command for the shell, in the workspace's directory.
    Command(String),
}

impl FromStr for Verify {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "check" => Verify::Check,
            "test" => Verify::Test,
            command => Verify::Command(command.to_owned()),
        })
    }
}

impl fmt::Display for Verify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verify::Check => "cargo check",
            Verify::Test => "cargo test",
            Verify::Command(command) => command,
        })
    }
}

/// Of `outdated`.
#[derive(Debug, Args)]
pub struct OutdatedArgs {
    /// Only these crates
    #[arg(value_name = "CRATE")]
    pub packages: Vec<String>,
}
