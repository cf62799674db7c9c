//! Of `inspect`, `inventory`, `probe` and `convert`.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use maint_core::cli::ChangeArgs;
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

/// What `convert` can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ConvertTo {
    /// Text.
    Pem,
    /// One object.
    Der,
    /// A keystore.
    #[value(alias = "pkcs12", alias = "pfx")]
    P12,
}

impl fmt::Display for ConvertTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConvertTo::Pem => "pem",
            ConvertTo::Der => "der",
            ConvertTo::P12 => "p12",
        })
    }
}

/// Of `convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// What to read: PEM, DER, PKCS #12 or JKS
    pub inputs: Vec<PathBuf>,
    /// Where to write; the kind follows from the name (.pem, .der, .p12) or from --to
    #[arg(long, value_name = "FILE")]
    pub into: PathBuf,
    /// Which kind to write
    #[arg(long, value_enum, value_name = "KIND")]
    pub to: Option<ConvertTo>,
    /// File with the passphrase of what is read
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// File with the passphrase of what is written; private keys in PEM and DER are encrypted when it is given
    #[arg(long, value_name = "FILE")]
    pub new_passphrase_file: Option<PathBuf>,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}
