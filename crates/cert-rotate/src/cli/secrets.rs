//! Of `generate-secrets` and `secrets`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use maint_core::cli::ChangeArgs;

/// Of `generate-secrets`.
#[derive(Debug, Args)]
pub struct GenerateSecretsArgs {
    /// The specification (TOML)
    pub spec: PathBuf,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Of `secrets`.
#[derive(Debug, Subcommand)]
pub enum SecretsAction {
    /// Age, strength, reuse, owner and mode of what a specification names
    Check {
        /// The specification (TOML)
        spec: PathBuf,
    },
}
