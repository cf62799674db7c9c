//! The engine: requests over connections of its own, one event loop a thread.
//!
//! - [`talk`] is what is said on a connection, [`http1`], [`pgwire`] and [`resp`] how: answers are read in whatever pieces
//!   they come.
//! - [`target`] is whom, [`stream`] a socket to there, with TLS or without, [`heard`] what came of it.
//! - [`worker`] is one thread: its connections ([`connection`]), its slots, its counts; [`plan`] what it is told to do.
//! - [`watch`] is how others look at it and end it.
//! - [`run`](mod@run) starts the threads and adds up.

pub mod connection;
pub mod heard;
pub mod http1;
pub mod pgwire;
pub mod plan;
pub mod resp;
pub mod run;
pub mod stream;
pub mod talk;
pub mod target;
pub mod watch;
pub mod worker;
