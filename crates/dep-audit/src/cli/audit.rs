//! Of `security-audit`, `why`, `diff` and `db`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use maint_core::cli::ChangeArgs;

/// What to look at.
#[derive(Debug, Clone, Args)]
pub struct InputArgs {
    /// Lock files; `-` reads one from stdin; the one of the working directory when none is named
    #[arg(value_name = "LOCKFILE")]
    pub lockfiles: Vec<PathBuf>,
    /// Every lock file below a directory
    #[arg(long, value_name = "DIR")]
    pub root: Vec<PathBuf>,
}

/// Of `security-audit`.
#[derive(Debug, Args)]
pub struct SecurityAuditArgs {
    /// What to look at.
    #[command(flatten)]
    pub input: InputArgs,
    /// What is critical: active, any, new, low, medium, high, critical
    #[arg(long, value_name = "WHAT")]
    pub fail_on: Option<String>,
    /// The output of an earlier run (`-o ndjson`): for `--fail-on new`, only what it does not have is critical
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Ask cargo of every lock file's workspace how far packages are used, not only of the one that you are in; cargo obeys
    /// the configuration that it finds there
    #[arg(long)]
    pub trust: bool,
    /// Look at the compiler and cargo themselves as well
    #[arg(long)]
    pub toolchain: bool,
}

/// Of `bin`.
#[derive(Debug, Args)]
pub struct BinArgs {
    /// Programs: ELF, PE or Mach-O
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// What is critical: active, any, low, medium, high, critical
    #[arg(long, value_name = "WHAT")]
    pub fail_on: Option<String>,
}

/// Of `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The crate: NAME or NAME@VERSION
    #[arg(value_name = "CRATE")]
    pub package: String,
}

/// Of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The older lock file
    pub old: PathBuf,
    /// The newer lock file
    pub new: PathBuf,
}

/// What a database must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// That commit, whole.
    Commit(String),
    /// Advisories of that digest.
    Sha256(String),
}

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let is_hex = |text: &str, lengths: &[usize]| {
            lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        match lower.strip_prefix("sha256:") {
            Some(digest) if is_hex(digest, &[64]) => Ok(Pin::Sha256(digest.to_owned())),
            // A shorter one may come to mean another commit tomorrow.
            None if is_hex(&lower, &[40, 64]) => Ok(Pin::Commit(lower)),
            _ => Err("neither a whole commit (40 or 64 hexadecimal digits) nor sha256: and 64 of them".to_owned()),
        }
    }
}

/// Of `db`.
#[derive(Debug, Subcommand)]
pub enum DbAction {
    /// What it holds and how old it is
    Info,
    /// Read all of it, and of a pack compare its index with what it holds
    Verify,
    /// Write a directory of advisories, or a git checkout of one, into one file that opens fast
    Pack {
        /// Where to write, as NAME.tar.zst
        #[arg(long, value_name = "FILE")]
        into: PathBuf,
        /// Guards.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Get the advisories with git and pack them; what is there stays until the new ones are whole
    Fetch {
        /// Where from
        #[arg(long, value_name = "URL", default_value = "https://github.com/RustSec/advisory-db")]
        from: String,
        /// Where to write, as NAME.tar.zst
        #[arg(long, value_name = "FILE")]
        into: PathBuf,
        /// Take these advisories and no others: a commit, or sha256:HEX as `db info` tells it
        #[arg(long, value_name = "COMMIT|sha256:HEX")]
        pin: Option<Pin>,
        /// Guards.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Advisories that the newer one has and the older one has not, and the other way round
    Diff {
        /// The older one
        old: PathBuf,
        /// The newer one
        new: PathBuf,
    },
}
