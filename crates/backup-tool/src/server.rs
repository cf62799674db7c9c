//! The server that is backed up: the session of a backup, and what archiving looks like from inside.

pub mod archiving;
pub mod session;
