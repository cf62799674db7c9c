//! Of `update` and `outdated`.

use clap::Args;
use maint_core::cli::ChangeArgs;

/// Of `update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Flags of every command that changes something.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Of `outdated`.
#[derive(Debug, Args)]
pub struct OutdatedArgs {
    /// Only these crates
    #[arg(value_name = "CRATE")]
    pub packages: Vec<String>,
}
