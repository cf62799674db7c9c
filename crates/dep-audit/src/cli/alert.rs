//! Of `alert`.

use clap::Subcommand;

/// Of `alert`.
#[derive(Debug, Subcommand)]
pub enum AlertAction {
    /// What is open, by severity and by age
    Summary,
}
