//! dep-audit: the dependencies of Rust projects: what is vulnerable and whether it is used at all, what ends it, and what is
//! in the way.
//!
//! - [`lock`] is a lock file, [`inputs`] which ones are meant, [`advisory`] what is known to be bad, [`db`] where that is
//!   kept, [`source`] which of it a run judges by.
//! - [`scan`](mod@scan) holds one against the other, [`graph`] tells how far a package is used, [`finding`] is what follows
//!   from both, [`exceptions`] which of it somebody lets pass, [`policy`] what it means for the run; [`audit`](mod@audit) makes a [`report`] of them, and
//!   [`formats`] writes it down for other programs.
//! - [`registry`] is what cargo's cache of the index knows of releases.
//! - One file a command; [`commands`] hands the command line to them, with what they all need ([`work`]).

pub mod advisory;
pub mod alert;
pub mod audit;
pub mod baseline;
pub mod bin;
pub mod cli;
pub mod commands;
pub mod database;
pub mod db;

pub mod diff;
pub mod except;
pub mod exceptions;
pub mod finding;
pub mod formats;
pub mod graph;
pub mod inputs;
pub mod lock;
pub mod outdated;
pub mod policy;
pub mod registry;
pub mod report;
pub mod risk;
pub mod sbom;
pub mod scan;
pub mod security_audit;
pub mod source;
pub mod unused;
pub mod update;
pub mod why;
pub mod work;

use std::process::ExitCode;

/// The program's name, in records and messages.
pub const TOOL: &str = "dep-audit";

/// Runs the program with this process's arguments and environment. Called by cargo (`cargo dep-audit`), the first argument
/// is our own name again.
pub fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().collect();
    // Before anything else: called as a compiler, nothing is ours.
    if let Some(code) = unused::wrapper::become_compiler(&args) {
        return code;
    }
    if args.get(1).is_some_and(|first| first == TOOL) {
        args.remove(1);
    }
    match maint_core::cli::parse_from::<cli::Cli>(args) {
        Ok(cli) => commands::run(&cli),
        Err(code) => code,
    }
}
