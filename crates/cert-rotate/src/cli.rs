//! The command line.

mod acme;
mod ca;
mod deploy;
mod look;
mod secrets;
mod validate;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use jiff::Timestamp;
use maint_core::cli::{CommonArgs, CommonCommand, EXIT_CODES};

pub use acme::{AccountAction, CheckRenewalArgs, LetsencryptRenewalArgs, RevokeArgs};
pub use ca::{
    CaAction, CaCrlArgs, CaCrossSignArgs, CaInitArgs, CaIntermediateArgs, CaMtlsPairArgs, CaRevokeArgs, CaSignArgs,
    Profile, Reason, RolloverAction, Sealing,
};
pub use deploy::{HistoryArgs, ImportAction, RollbackArgs, RotateArgs};
pub use look::{ConvertArgs, ConvertTo, InspectArgs, InventoryArgs, ProbeArgs};
pub use secrets::{GenerateSecretsArgs, RotateSecretsArgs, SecretsAction};
pub use validate::{Purpose, ValidateArgs};

/// Certificates, keys and secrets, rotated with proof that they are served.
#[derive(Debug, Parser)]
#[command(name = "cert-rotate", version, after_help = EXIT_CODES, after_long_help = AFTER)]
pub struct Cli {
    /// Flags of every program.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Read the certificates' description from this file instead of searching for certs.toml
    #[arg(long, value_name = "FILE", global = true)]
    pub certs: Option<PathBuf>,
    /// Judge validity as of this time instead of now
    #[arg(long, value_name = "TIME", global = true)]
    pub at: Option<Timestamp>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "Exit codes: 0 ok, 1 warning or something left, 2 critical, failed or invalid, 3 could not tell, \
10 failed and taken back (the previous certificate is served), 11 failed and could not be taken back (a person is \
needed), 75 not now (another run, outside the window, or the authority asks to come back later), 130/143 interrupted.

Examples:
  cert-rotate check-renewal
  cert-rotate rotate --dry-run
  cert-rotate rotate web
  cert-rotate validate /etc/ssl/private 'db.example.test:5432;starttls=postgres'
  cert-rotate probe 'db.example.test:5432;starttls=postgres'
  cert-rotate check-renewal -o ndjson | jq -r 'select(.data.status == \"warning\") | .subject'";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Issue, switch, reload, and prove by handshakes; else back to the previous certificate
    Rotate(RotateArgs),
    /// Renew what is due at ACME authorities, and deploy it
    LetsencryptRenewal(LetsencryptRenewalArgs),
    /// Which certificates are due, by their lifetime and by what their authority advises
    CheckRenewal(CheckRenewalArgs),
    /// Chains, names, purposes, keys, revocation and form of certificates in files and on servers
    #[command(visible_alias = "validate-certificates")]
    Validate(ValidateArgs),
    /// Switch back to an earlier generation, with proof
    Rollback(RollbackArgs),
    /// The generations of a certificate
    History(HistoryArgs),
    /// Every certificate below directories and on servers, once each, and where it is used
    Inventory(InventoryArgs),
    /// What a certificate, key, request or revocation list says
    Inspect(InspectArgs),
    /// What servers show: chain, protocol, cipher; hundreds at once
    Probe(ProbeArgs),
    /// Between PEM, DER and PKCS #12; from JKS
    Convert(ConvertArgs),
    /// An authority of our own
    Ca {
        /// What to do with it.
        #[command(subcommand)]
        action: CaAction,
    },
    /// The account at an ACME authority
    Account {
        /// What to do with it.
        #[command(subcommand)]
        action: AccountAction,
    },
    /// Revoke a certificate at its ACME authority
    Revoke(RevokeArgs),
    /// Take over certificates from another program
    Import {
        /// From which.
        #[command(subcommand)]
        action: ImportAction,
    },
    /// Make what a specification of secrets lacks; never replaces one
    #[command(visible_alias = "generate-production-secrets")]
    GenerateSecrets(GenerateSecretsArgs),
    /// Rotate and check secrets
    Secrets {
        /// What to do.
        #[command(subcommand)]
        action: SecretsAction,
    },
    /// What every program has
    #[command(flatten)]
    Common(CommonCommand),
}
