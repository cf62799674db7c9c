//! Of `inspect`, `inventory`, `probe` and `convert`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use maint_core::units::HumanDuration;

/// Of `inventory`.
#[derive(Debug, Args)]
pub struct InventoryArgs {
    /// Files, directories, or `HOST:PORT[;sni=NAME][;starttls=PROTOCOL]`; `-` reads them from stdin, one a line
    pub targets: Vec<String>,
    /// File with the passphrase of keystores
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Files, or `-` for one on stdin
    pub targets: Vec<String>,
    /// File with the passphrase of keystores and keys
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Of `probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// `HOST:PORT[;sni=NAME][;starttls=PROTOCOL]`; `-` reads them from stdin, one a line
    pub targets: Vec<String>,
    /// How long one connection may take
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub timeout: HumanDuration,
    /// How many endpoints at once, with one connection each
    #[arg(long, value_name = "N", default_value = "64")]
    pub jobs: NonZeroUsize,
}
