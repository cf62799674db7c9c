//! Redis upkeep: clean, shrink, expire and watch, without ever hurting the server.

pub mod analysis;
pub mod entry;
pub mod glob;
pub mod info;
pub mod key;
pub mod monitor;
pub mod node;
pub mod pace;
pub mod patterns;
pub mod rdb;
pub mod report;
pub mod scan;
pub mod sketch;
pub mod target;
pub mod top;
pub mod topology;
pub mod trouble;
