//! PostgreSQL upkeep: vacuum, statistics, indexes and connections.
//!
//! Every changing command goes the same way. `inspect` reads the catalogs of a database into plain data without taking
//! a lock on a table; a pure function in the file named after the command turns that and a policy into ranked steps;
//! `execute` carries them out, several at a time, and believes only effects that it has seen.
//!
//! - [`vacuum_analyze`], [`update_statistics`], [`reindex_tables`]: the plans. [`score`] and [`need`] say how much a table needs,
//!   [`bloat`] the air in an index, [`indexes`] tells sound indexes from leftovers.
//! - [`apply`]: plans that come in from outside. [`step`] is what they are made of.
//! - [`execute`]: workers, lock timeouts, retries, cancelling; [`horizon`] names who keeps dead rows alive;
//!   [`intents`] remembers rebuilds under way across a SIGKILL.
//! - [`monitor_connections`]: the one command that only looks.
//! - [`server`]: sessions and how errors end a run. [`commands`] ties it together, one function a command.

pub mod apply;
pub mod bloat;
pub mod catalog;
pub mod cli;
pub mod commands;
pub mod execute;
pub mod horizon;
pub mod indexes;
pub mod inspect;
pub mod intents;
pub mod monitor_connections;
pub mod need;
pub mod reindex_tables;
pub mod score;
pub mod select;
pub mod server;
pub mod step;
pub mod update_statistics;
pub mod vacuum_analyze;

use std::process::ExitCode;

/// The program's name, in records and messages.
pub const TOOL: &str = "pg-maint";

/// Runs the program with this process's arguments and environment.
pub fn main() -> ExitCode {
    match maint_core::cli::parse::<cli::Cli>() {
        Ok(cli) => commands::run(&cli).into(),
        Err(code) => code,
    }
}
