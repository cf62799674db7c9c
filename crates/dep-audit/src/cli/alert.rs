//! Of `alert`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use maint_core::cli::ChangeArgs;
use maint_core::units::HumanDuration;

use super::InputArgs;

/// Of `alert`.
#[derive(Debug, Subcommand)]
pub enum AlertAction {
    /// Tell what is new, what has changed and what is gone since the last run, and what is overdue
    Run(Box<AlertRunArgs>),
    /// Note that somebody has seen something
    Ack(AlertAckArgs),
    /// What is open, how bad, and since when
    Summary {
        /// The state file
        #[arg(long, value_name = "FILE")]
        state: Option<PathBuf>,
    },
    /// What came and went, by day
    Trends {
        /// The state file
        #[arg(long, value_name = "FILE")]
        state: Option<PathBuf>,
        /// So many days back
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
    },
    /// Everything that was ever told
    Export {
        /// The state file
        #[arg(long, value_name = "FILE")]
        state: Option<PathBuf>,
    },
}

/// Of `alert run`.
#[derive(Debug, Args)]
pub struct AlertRunArgs {
    /// What to look at.
    #[command(flatten)]
    pub input: InputArgs,
    /// The state file; in this user's state directory by default
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Whom to tell besides: exec:COMMAND gets an event as JSON on its standard input, file:PATH a line of JSON; may be
    /// repeated
    #[arg(long, value_name = "SINK")]
    pub sink: Vec<String>,
    /// A release that ends a finding may be out for so long
    #[arg(long, value_name = "DURATION")]
    pub sla: Option<HumanDuration>,
    /// What is critical: active, any, low, medium, high, critical
    #[arg(long, value_name = "WHAT")]
    pub fail_on: Option<String>,
    /// Ask cargo of every lock file's workspace how far packages are used, not only of the one that you are in; cargo obeys
    /// the configuration that it finds there
    #[arg(long)]
    pub trust: bool,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Of `alert ack`.
#[derive(Debug, Args)]
pub struct AlertAckArgs {
    /// The advisory's id or another name of it, the crate, or crate@version
    pub name: String,
    /// Who has seen it
    #[arg(long, value_name = "WHO")]
    pub by: String,
    /// What is to be done
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// The state file
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}
