//! Of `ca`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use maint_core::cli::ChangeArgs;
use maint_core::units::HumanDuration;
use serde::{Deserialize, Serialize};

use crate::key::KeyType;

/// Of `ca`.
#[derive(Debug, Subcommand)]
pub enum CaAction {
    /// Make a root
    Init(CaInitArgs),
    /// Make an authority below a root, for the names that it is given
    Intermediate(CaIntermediateArgs),
    /// Sign a request
    Sign(CaSignArgs),
    /// Revoke a certificate; the next list tells
    Revoke(CaRevokeArgs),
    /// Write a revocation list
    Crl(CaCrlArgs),
    /// Have one authority's name and key certified by another root
    CrossSign(CaCrossSignArgs),
    /// Keys and certificates for two services that talk to each other, with what each must trust
    MtlsPair(CaMtlsPairArgs),
    /// The authorities and what they issued
    List {
        /// The directory of the authorities
        directory: PathBuf,
    },
    /// One authority or certificate
    Show {
        /// The directory of the authorities
        directory: PathBuf,
        /// An authority's name, a serial number, a SHA-256, or a file with a certificate
        what: String,
    },
    /// From one authority to the next, phase by phase, without a moment in which somebody trusts too little
    Rollover {
        /// What to do.
        #[command(subcommand)]
        action: RolloverAction,
    },
}

/// How the key of a new authority is kept.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Sealing {
    /// Encrypt its key with the passphrase in this file, which only its owner may read
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Do not encrypt its key: whoever reads the file can sign
    #[arg(long)]
    pub unencrypted: bool,
}

/// Of `ca init`.
#[derive(Debug, Args)]
pub struct CaInitArgs {
    /// The directory of the authorities; made when it is not there
    pub directory: PathBuf,
    /// The root's name in it
    #[arg(default_value = "root")]
    pub name: String,
    /// Its common name; the name by default
    #[arg(long, value_name = "TEXT")]
    pub common_name: Option<String>,
    /// The kind of its key
    #[arg(long, value_enum, default_value_t = KeyType::P384)]
    pub key_type: KeyType,
    /// How long it is valid
    #[arg(long, value_name = "DURATION", default_value = "3650d")]
    pub lifetime: HumanDuration,
    /// How its key is kept.
    #[command(flatten)]
    pub sealing: Sealing,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Of `ca intermediate`.
#[derive(Debug, Args)]
pub struct CaIntermediateArgs {
    /// The directory of the authorities
    pub directory: PathBuf,
    /// The new authority's name
    pub name: String,
    /// The root that signs it
    #[arg(long, default_value = "root")]
    pub issuer: String,
    /// What it may certify: a domain with all below it (example.test), or a network (10.0.0.0/8); may be repeated
    #[arg(long, value_name = "DOMAIN|NETWORK", required = true)]
    pub permit: Vec<String>,
    /// What it may not certify although it is below what is permitted; may be repeated
    #[arg(long, value_name = "DOMAIN|NETWORK")]
    pub exclude: Vec<String>,
    /// Its common name; the name by default
    #[arg(long, value_name = "TEXT")]
    pub common_name: Option<String>,
    /// The kind of its key
    #[arg(long, value_enum, default_value_t = KeyType::P256)]
    pub key_type: KeyType,
    /// How long it is valid
    #[arg(long, value_name = "DURATION", default_value = "1095d")]
    pub lifetime: HumanDuration,
    /// How its key is kept.
    #[command(flatten)]
    pub sealing: Sealing,
    /// A file with the root's passphrase; CA_PASSPHRASE or CA_PASSPHRASE_FILE by default
    #[arg(long, value_name = "FILE")]
    pub issuer_passphrase_file: Option<PathBuf>,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// TLS server.
    #[default]
    Server,
    /// TLS client.
    Client,
    /// Both.
    Both,
}

/// Of `ca sign`.
#[derive(Debug, Args)]
pub struct CaSignArgs {
    /// The directory of the authorities
    pub directory: PathBuf,
    /// The authority that signs
    pub authority: String,
    /// The request, PEM or DER
    pub request: PathBuf,
    /// Where the chain is written, leaf first; beside the request, with the ending pem, by default
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// What it is for
    #[arg(long, value_enum, default_value_t)]
    pub profile: Profile,
    /// How long it is valid; 47 days by default
    #[arg(long, value_name = "DURATION")]
    pub lifetime: Option<HumanDuration>,
    /// The certificate whose place it takes: a serial number, a SHA-256 or a file
    #[arg(long, value_name = "CERTIFICATE")]
    pub replaces: Option<String>,
    /// A file with the authority's passphrase; CA_PASSPHRASE or CA_PASSPHRASE_FILE by default
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Why a certificate is revoked (RFC 5280, 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Not said.
    #[default]
    Unspecified,
    /// Its key is known to somebody else.
    KeyCompromise,
    /// The key of an authority is known to somebody else.
    CaCompromise,
    /// It names somebody who is not that any more.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// What it was for is no more.
    CessationOfOperation,
    /// It says what its owner may not do any more.
    PrivilegeWithdrawn,
}

/// Of `ca revoke`.
#[derive(Debug, Args)]
pub struct CaRevokeArgs {
    /// The directory of the authorities
    pub directory: PathBuf,
    /// The certificate: its serial number, its SHA-256, or a file
    pub certificate: String,
    /// Why
    #[arg(long, value_enum, default_value_t)]
    pub reason: Reason,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Of `ca crl`.
#[derive(Debug, Args)]
pub struct CaCrlArgs {
    /// The directory of the authorities
    pub directory: PathBuf,
    /// The authority whose certificates it is about
    pub authority: String,
    /// When the next one is due
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    pub lifetime: HumanDuration,
    /// A file with the authority's passphrase; CA_PASSPHRASE or CA_PASSPHRASE_FILE by default
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Of `ca cross-sign`.
#[derive(Debug, Args)]
pub struct CaCrossSignArgs {
    /// The directory of the authorities
    pub directory: PathBuf,
    /// The authority that is certified
    pub subject: String,
    /// The root that certifies it
    pub issuer: String,
    /// How long that is valid; not longer than either of them
    #[arg(long, value_name = "DURATION", default_value = "365d")]
    pub lifetime: HumanDuration,
    /// A file with the issuer's passphrase; CA_PASSPHRASE or CA_PASSPHRASE_FILE by default
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Of `ca mtls-pair`.
#[derive(Debug, Args)]
pub struct CaMtlsPairArgs {
    /// The directory of the authorities
    pub directory: PathBuf,
    /// The authority that signs
    pub authority: String,
    /// What the pair is called: NAME-server and NAME-client are made below the directory of --out
    pub name: String,
    /// Names and addresses of the server
    #[arg(long, value_name = "NAME", required = true)]
    pub server: Vec<String>,
    /// Names of the client
    #[arg(long, value_name = "NAME", required = true)]
    pub client: Vec<String>,
    /// Where both are written
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The kind of their keys
    #[arg(long, value_enum, default_value_t)]
    pub key_type: KeyType,
    /// How long they are valid; 47 days by default
    #[arg(long, value_name = "DURATION")]
    pub lifetime: Option<HumanDuration>,
    /// A file with the authority's passphrase; CA_PASSPHRASE or CA_PASSPHRASE_FILE by default
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Guards.
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Of `ca rollover`.
#[derive(Debug, Subcommand)]
pub enum RolloverAction {
    /// Begin one: which authority takes the place of which, and which files say what is trusted
    Plan {
        /// The directory of the authorities
        directory: PathBuf,
        /// The authority that goes
        from: String,
        /// The authority that comes
        to: String,
        /// A file of trusted roots that somebody reads; may be repeated. Each is looked into before each phase
        #[arg(long = "bundle", value_name = "FILE", required = true)]
        bundles: Vec<PathBuf>,
        /// Guards.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Go to the next phase, if nothing stands in the way
    Advance {
        /// The directory of the authorities
        directory: PathBuf,
        /// The authority that goes
        from: String,
        /// Guards.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// In which phase they are, and what stands in the way of the next
    Status {
        /// The directory of the authorities
        directory: PathBuf,
        /// The authority that goes; all when not given
        from: Option<String>,
    },
}
