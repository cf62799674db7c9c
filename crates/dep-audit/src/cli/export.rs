//! Of `sbom`.

use clap::Args;

/// Of `sbom`.
#[derive(Debug, Args)]
pub struct SbomArgs {
    /// What to look at.
    #[command(flatten)]
    pub input: super::InputArgs,
    /// Ask cargo of every lock file's workspace for scopes and licences, not only of the one that you are in; cargo obeys
    /// the configuration that it finds there
    #[arg(long)]
    pub trust: bool,
}
