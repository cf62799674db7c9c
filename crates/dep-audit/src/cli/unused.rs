//! Of `unused`.

use clap::Args;
use maint_core::cli::ChangeArgs;

/// Of `unused`.
#[derive(Debug, Args)]
pub struct UnusedArgs {
    /// Take out what is proven to be unused; without it nothing is changed
    #[arg(long)]
    pub fix: bool,
    /// Prove each by building a copy of the workspace without it, with default features, with all and with none
    #[arg(long)]
    pub prove: bool,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}
