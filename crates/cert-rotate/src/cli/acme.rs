//! Of `letsencrypt-renewal`, `check-renewal`, `account` and `revoke`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use maint_core::cli::ChangeArgs;

/// Of `letsencrypt-renewal`.
#[derive(Debug, Args)]
pub struct LetsencryptRenewalArgs {
    /// Certificates, by their names in the configuration; all of ACME issuers that are due when none is named
    pub names: Vec<String>,
    /// Use this ACME directory instead of the configured ones
    #[arg(long, value_name = "URL")]
    pub directory: Option<String>,
    /// Also those that are not due
    #[arg(long)]
    pub force: bool,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Of `check-renewal`.
#[derive(Debug, Args)]
pub struct CheckRenewalArgs {
    /// Names in the configuration, files, directories, or servers (HOST:PORT); every configured certificate when none is
    /// given; `-` reads them from stdin, one a line
    pub targets: Vec<String>,
    /// Warn so long before the end: a duration, a share of the lifetime, or min(..) of both
    #[arg(long, value_name = "RULE")]
    pub warn: Option<String>,
    /// Critical so long before the end
    #[arg(long, value_name = "RULE")]
    pub crit: Option<String>,
    /// Also write the result as Prometheus text to this file
    #[arg(long, value_name = "FILE")]
    pub prometheus: Option<PathBuf>,
    /// Do not ask the authorities for their advice (ARI)
    #[arg(long)]
    pub offline: bool,
}

/// Of `account`.
#[derive(Debug, Subcommand)]
pub enum AccountAction {
    /// Show the account
    Show {
        /// The issuer's name in the configuration
        issuer: String,
    },
    /// Register, or find the account of the key that is there
    Register {
        /// The issuer's name in the configuration
        issuer: String,
        /// Guards.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Give the account a new key
    Rollover {
        /// The issuer's name in the configuration
        issuer: String,
        /// Guards.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Close the account for ever
    Deactivate {
        /// The issuer's name in the configuration
        issuer: String,
        /// Guards.
        #[command(flatten)]
        change: ChangeArgs,
    },
}

/// Of `revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The certificate's name in the configuration
    pub name: String,
    /// The generation; the current one when not given
    pub generation: Option<u64>,
    /// Why: unspecified, key-compromise, affiliation-changed, superseded, cessation-of-operation
    #[arg(long, default_value = "unspecified")]
    pub reason: String,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}
