//! Of `validate`.

use std::path::PathBuf;

use clap::Args;
use maint_core::units::HumanDuration;

/// Of `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Files, directories, or `HOST:PORT[;sni=NAME][;starttls=PROTOCOL]`; `-` reads them from stdin, one a line
    pub targets: Vec<String>,
    /// What to trust: system, mozilla, or a PEM file
    #[arg(long, value_name = "ROOTS", default_value = "system")]
    pub roots: String,
    /// It must be for this DNS name or address (a server's must be for its own in any case)
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What it is used for
    #[arg(long, value_name = "PURPOSE", default_value = "server")]
    pub purpose: Purpose,
    /// Revocation lists: files, or `fetch` for those that the certificates name
    #[arg(long, value_name = "FILE")]
    pub crl: Vec<String>,
    /// Ask the OCSP responders that the certificates name
    #[arg(long)]
    pub ocsp: bool,
    /// The private key that must belong to it
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Findings of form and weak algorithms are failures
    #[arg(long)]
    pub strict: bool,
    /// How long one connection, list or responder may take
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub timeout: HumanDuration,
    /// File with the passphrase of keystores and keys
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Run a suite of test cases in the schema of x509-limbo
    #[arg(long, value_name = "FILE", hide = true)]
    pub limbo: Option<PathBuf>,
}

/// What a certificate is used for (extended key usage, RFC 5280, 4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Purpose {
    /// TLS server.
    Server,
    /// TLS client.
    Client,
    /// Anything.
    Any,
}
