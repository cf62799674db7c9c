//! Bringing a cluster back: which backup and which timeline lead to a moment, whether all that is needed is there, and
//! the doing.

pub mod base;
pub mod locate;
pub mod place;
pub mod preflight;
pub mod programs;
pub mod question;
pub mod recover;
pub mod restore;
pub mod scratch;
pub mod start;
pub mod target;
