//! Of `validate`.

use std::path::PathBuf;

use clap::Args;

/// Of `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Files, directories, or `HOST:PORT[;sni=NAME][;starttls=PROTOCOL]`; `-` reads them from stdin, one a line
    pub targets: Vec<String>,
    /// What to trust: system, mozilla, or a PEM file
    #[arg(long, value_name = "ROOTS")]
    pub roots: Option<String>,
    /// It must be for this DNS name or address
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What it is used for
    #[arg(long, value_name = "PURPOSE", default_value = "server")]
    pub purpose: Purpose,
    /// Revocation lists: files, or `fetch` for those that the certificates name
    #[arg(long, value_name = "FILE")]
    pub crl: Vec<String>,
    /// Ask the OCSP responder that the certificate names
    #[arg(long)]
    pub ocsp: bool,
    /// The private key that must belong to it
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Findings of form and weak algorithms are failures
    #[arg(long)]
    pub strict: bool,
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
