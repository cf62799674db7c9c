//! cert-rotate: certificates, keys and secrets, rotated with proof that they are served.
//!
//! A server's answer to "reload" says nothing about what it serves afterwards, so a rotation here ends with real
//! handshakes: either every consumer shows the new certificate, or the previous one is put back and shown again.
//!
//! - [`certificate`] and [`key`] are what everything is about, [`config`] what the operator wants, [`endpoint`] where a
//!   certificate is served.
//! - [`read`] finds them in files of every kind.
//! - [`due`] decides when a certificate has to be renewed.
//! - [`live`] is the directory that servers read: generations behind one symbolic link a certificate. [`pending`] is what
//!   is under way and survives a crash. [`issue`] asks an issuer, [`acme`] one that speaks that
//!   protocol, [`ca`] is one of our own.
//! - [`path`] and [`lint`] judge certificates, and [`verdict`] all that is known about one.
//! - [`deploy`] makes a new generation live and proves it, or goes back.
//! - [`secrets`] are passwords and signing keys: made, checked, and rotated at the servers that ask for them.
//! - One file a command; [`commands`] hands the command line to them, with what they all need ([`work`]).

pub mod account;
pub mod acme;
pub mod ca;
pub mod certificate;
pub mod check_renewal;
pub mod cli;
pub mod commands;
pub mod config;
pub mod convert;
pub mod csr;
pub mod deploy;
pub mod due;
pub mod endpoint;
pub mod generate_secrets;
pub mod history;
pub mod import;
pub mod inspect;
pub mod inventory;
pub mod issue;
pub mod key;
pub mod letsencrypt_renewal;
pub mod limbo;
pub mod lint;
pub mod live;
pub mod path;
pub mod pending;
pub mod probe;
pub mod read;
pub mod revoke;
pub mod rollback;
pub mod roots;
pub mod rotate;
pub mod secrets;
pub mod tls;
mod tlv;
pub mod validate;
pub mod verdict;
pub mod work;

use std::process::ExitCode;

/// The program's name, in records and messages.
pub const TOOL: &str = "cert-rotate";

/// Runs the program with this process's arguments and environment.
pub fn main() -> ExitCode {
    match maint_core::cli::parse::<cli::Cli>() {
        Ok(cli) => commands::run(&cli),
        Err(code) => code,
    }
}
