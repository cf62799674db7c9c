//! Of `risk` and `except`.

use clap::{Args, Subcommand};

/// Of `risk`.
#[derive(Debug, Args)]
pub struct RiskArgs {
    /// Only these crates
    #[arg(value_name = "CRATE")]
    pub packages: Vec<String>,
}

/// Of `except`.
#[derive(Debug, Subcommand)]
pub enum ExceptAction {
    /// All exceptions
    List,
}
