//! Of `rotate`, `rollback`, `history` and `import`.

use clap::Args;
use maint_core::cli::ChangeArgs;

/// Of `rotate`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Certificates, by their names in the configuration; all that are due when none is named
    pub names: Vec<String>,
    /// Also those that are not due
    #[arg(long)]
    pub force: bool,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Of `rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The certificate's name in the configuration
    pub name: String,
    /// The generation; the one before the current one when not given
    pub generation: Option<u64>,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Certificates, by their names; all when none is named
    pub names: Vec<String>,
}
