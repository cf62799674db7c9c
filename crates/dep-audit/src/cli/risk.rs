//! Of `risk`.

use clap::Args;

/// Of `risk`.
#[derive(Debug, Args)]
pub struct RiskArgs {
    /// Only these crates
    #[arg(value_name = "CRATE")]
    pub packages: Vec<String>,
    /// So many, the riskiest first
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub top: usize,
    /// A score from which it is a warning
    #[arg(long, default_value_t = 40, value_name = "SCORE", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub warn: u32,
}
