//! Redis upkeep: clean, shrink, expire and watch, without ever hurting the server.
//!
//! - [`target`], [`topology`], [`node`], [`trouble`]: where the servers are, and how they are talked to.
//! - [`scan`] is the one walk over live keys, [`pace`] how fast it goes, [`rdb`] the same keys from a file; both yield
//!   [`entry`]s, and [`key`] writes names as text.
//! - [`policy`], [`cache_cleanup`], [`expire_keys`] decide, purely. [`plan`] turns a walk into [`step`]s in a [`spool`];
//!   [`apply`] reads plans that come in from outside.
//! - [`execute`] carries steps out: [`recheck`] compares and acts in one step on the server, [`retire`] removes large
//!   collections in pieces, [`brake`] says when to wait.
//! - [`analysis`] (with [`patterns`], [`sketch`], [`top`], [`glob`]) adds keys up in bounded memory, [`where_memory_goes`]
//!   tells it; [`memory_optimization`] judges what a server says of its own memory.
//! - [`monitor`] looks at servers and judges what changed, without what we added ourselves ([`observer`]). [`report`] makes
//!   a page of it all.
//! - [`commands`] ties it together, one function a command.

pub mod analysis;
pub mod apply;
pub mod brake;
pub mod cache_cleanup;
pub mod cli;
pub mod commands;
pub mod entry;
pub mod execute;
pub mod expire_keys;
pub mod glob;
pub mod info;
pub mod key;
pub mod keys;
pub mod memory_optimization;
pub mod monitor;
pub mod node;
pub mod observer;
pub mod pace;
pub mod patterns;
pub mod plan;
pub mod policy;
pub mod rdb;
pub mod recheck;
pub mod report;
pub mod retire;
pub mod scan;
pub mod sketch;
pub mod spool;
pub mod step;
pub mod target;
pub mod top;
pub mod topology;
pub mod trouble;
pub mod where_memory_goes;

use std::process::ExitCode;

/// The program's name, in records and messages.
pub const TOOL: &str = "redis-maint";

/// Runs the program with this process's arguments and environment.
pub fn main() -> ExitCode {
    match maint_core::cli::parse::<cli::Cli>() {
        Ok(cli) => commands::run(&cli).into(),
        Err(code) => code,
    }
}
