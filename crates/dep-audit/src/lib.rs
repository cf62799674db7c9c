//! dep-audit: the dependencies of Rust projects: what is vulnerable and whether it is used at all, what is risky, what can
//! be updated and why not, what is unused.
//!
//! - [`lock`] is a lock file, [`inputs`] which ones are meant, [`advisory`] what is known to be bad, [`db`] where that is
//!   kept, [`finding`] what follows from both, [`exceptions`] what is let pass.
//! - [`audit`](mod@audit) makes a [`report`] of them; [`formats`] writes it down for other programs.
//! - [`registry`] is what cargo's cache of the index knows of releases.
//! - One file a command; [`commands`] hands the command line to them, with what they all need ([`work`]).

pub mod advisory;
pub mod alert;
pub mod audit;
pub mod bin;
pub mod cli;
pub mod commands;
pub mod db;
pub mod db_command;
pub mod diff;
pub mod except;
pub mod exceptions;
pub mod finding;
pub mod formats;
pub mod inputs;
pub mod lock;
pub mod outdated;
pub mod registry;
pub mod report;
pub mod risk;
pub mod sbom;
pub mod security_audit;
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
    if args.get(1).is_some_and(|first| first == TOOL) {
        args.remove(1);
    }
    match maint_core::cli::parse_from::<cli::Cli>(args) {
        Ok(cli) => commands::run(&cli),
        Err(code) => code,
    }
}
