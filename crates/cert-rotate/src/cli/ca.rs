//! Of `ca`.

use std::path::PathBuf;

use clap::Subcommand;
use maint_core::cli::ChangeArgs;

/// Of `ca`.
#[derive(Debug, Subcommand)]
pub enum CaAction {
    /// Make a root
    Init {
        /// The authority's directory
        directory: PathBuf,
        /// Guards.
        #[command(flatten)]
        change: ChangeArgs,
    },
}
