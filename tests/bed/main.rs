//! The test bed's own promises.
#![allow(missing_docs)]

mod acme;
mod nginx;
mod reaper;
mod redis;
mod server;
mod workload;
