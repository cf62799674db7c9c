//! code-check: what state a Rust workspace is in: its warnings, its code, its documentation, its architecture.
//!
//! - [`workspace`] is the workspace as cargo describes it; [`cargo`] runs cargo, [`compiled`] reads what the compiler said.
//! - [`source`] finds the source files, [`syntax`] parses them safely, [`measure`] takes their measures.
//! - [`ratchet`] is how many warnings are let pass; [`markdown`] what a Markdown page links to and shows.
//! - One file a command; [`commands`] hands the command line to them, with what they all need ([`work`]).

pub mod architecture;
pub mod cargo;
pub mod clean;
pub mod cli;
pub mod commands;
pub mod compiled;
pub mod documentation;
pub mod markdown;
pub mod measure;
pub mod ratchet;
pub mod source;
pub mod syntax;
pub mod warnings;
pub mod words;
pub mod work;
pub mod workspace;

use std::process::ExitCode;

/// The program's name, in records and messages.
pub const TOOL: &str = "code-check";

/// Runs the program with this process's arguments and environment. Called by cargo (`cargo code-check`), the first argument
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
