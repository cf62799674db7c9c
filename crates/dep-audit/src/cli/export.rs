//! Of `sbom` and `bin`.

use std::path::PathBuf;

use clap::Args;

/// Of `sbom`.
#[derive(Debug, Args)]
pub struct SbomArgs {
    /// What to look at.
    #[command(flatten)]
    pub input: super::InputArgs,
}

/// Of `bin`.
#[derive(Debug, Args)]
pub struct BinArgs {
    /// Programs
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}
