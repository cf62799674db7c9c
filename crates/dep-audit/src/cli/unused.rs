//! Of `unused`.

use clap::Args;

/// Of `unused`.
#[derive(Debug, Args)]
pub struct UnusedArgs {
    /// Remove what was proved unused from the manifests
    #[arg(long)]
    pub fix: bool,
}
