//! The common library: everything two tools would otherwise both write.
//!
//! What a program prints: [`record`] is one CloudEvents event, [`status`] what it says and the exit code that follows,
//! [`output`] the five ways to write it, [`report`] the parts of an HTML page made of it, [`run`] one run of one command
//! from first record to summary.
//!
//! What a program obeys: [`cli`] flags, [`config`] with provenance, [`guard`] (window, time, interruption by [`cancel`]),
//! [`confirm`], [`lock`]; [`failure`] is how a run ends early.
//!
//! What a program leaves: [`journal`], the hash-chained record of every change, in the [`state_dir`]; [`durable`] files.
//!
//! What it is made with: [`units`] and [`threshold`] read what people write, [`window`] maintenance windows, [`names`] of files, [`secret`]
//! what must not be shown, [`child`] other programs, [`progress`] and [`logging`] stderr, and behind the feature
//! `postgres` everything about reaching a PostgreSQL server. [`fault`] lets tests kill it where it hurts.

pub mod cancel;
pub mod child;
pub mod cli;
pub mod config;
pub mod confirm;
pub mod durable;
pub mod failure;
pub mod fault;
pub mod guard;
pub mod journal;
pub mod lock;
pub mod logging;
pub mod names;
pub mod output;
#[cfg(feature = "postgres")]
pub mod pg;
pub mod plan;
pub mod progress;
pub mod record;
pub mod report;
pub mod run;
pub mod secret;
pub mod state_dir;
pub mod status;
pub mod threshold;
pub mod units;
pub mod window;
