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
    /// Put a new secret in the place of an old one, with proof that it is taken; else back to the old one
    Rotate(RotateSecretsArgs),
    /// Age, strength, reuse, owner and mode of what a specification names
    Check {
        /// The specification (TOML)
        spec: PathBuf,
    },
}

/// Of `secrets rotate`.
#[derive(Debug, Args)]
pub struct RotateSecretsArgs {
    /// The specification (TOML)
    pub spec: PathBuf,
    /// Which; by default those that are older than their max_age, and those that are being rotated
    pub names: Vec<String>,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}
