//! bench-runner: load, benchmarks, capacity and baselines that cannot lie.
//!
//! Most load generators wait for an answer before they send the next request, so a server that stalls is asked less while
//! it stalls, and its percentiles look fine. Here every request has a planned start that the server cannot move, its time
//! counts from there, and what was never answered counts as well: as at least the time that was waited.
//!
//! - [`schedule`] is when requests are to start, [`tally`] what became of them, [`quantile`] what can be said of their
//!   times, [`verdict`] whether the generator itself kept up.
//! - [`engine`] sends them: one event loop a thread, nothing shared between threads.
//! - [`script`] is what a database is asked, [`random`] what differs from one request to the next.
//! - [`target`] is where, [`scenario`] several of them as a file, [`drive`] starts and watches them, [`report`] is how it is told, [`page`] the same to look at,
//!   [`seconds`] what ended when.
//! - [`token`] makes and checks tokens.
//! - [`metrics`] are the numbers by which runs are compared.
//! - [`table`] is what others have measured, [`usl`] fits what was measured, [`student`] and [`rank`] say how well that is known.
//! - One file a command; [`commands`] hands the command line to them, with what they all need ([`work`]).

pub mod api;
pub mod baseline;
pub mod capacity;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod database;
pub mod drive;
pub mod engine;
pub mod jwt;
pub mod load;
pub mod metrics;
pub mod micro;
pub mod page;
pub mod quantile;
pub mod random;
pub mod rank;
pub mod redis;
pub mod report;
pub mod scenario;
pub mod schedule;
pub mod script;
pub mod seconds;
pub mod services;
pub mod stress;
pub mod student;
pub mod table;
pub mod tally;
pub mod target;
pub mod token;
pub mod trend;
pub mod usl;
pub mod verdict;
pub mod what;
pub mod work;

use std::process::ExitCode;

/// The program's name, in records and messages.
pub const TOOL: &str = "bench-runner";

/// Runs the program with this process's arguments and environment.
pub fn main() -> ExitCode {
    match maint_core::cli::parse::<cli::Cli>() {
        Ok(cli) => commands::run(&cli),
        Err(code) => code,
    }
}
