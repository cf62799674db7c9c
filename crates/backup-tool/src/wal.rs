//! The archive of the write-ahead log: names, the objects they become, and the two commands that the server calls.

pub mod absence;
pub mod archive;
pub mod digest;
pub mod dump;
pub mod event;
pub mod fetch;
pub mod gaps;
pub mod header;
pub mod history;
pub mod list;
pub mod local;
pub mod name;
pub mod object;
pub mod points;
pub mod push;
pub mod spool;
pub mod worker;
