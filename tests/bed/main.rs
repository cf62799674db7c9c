//! The test bed's own promises.
#![allow(missing_docs)]

mod reaper;
mod server;
mod workload;
