//! The engine: requests over connections of its own, one event loop a thread.
//!
//! - [`http1`] reads answers, whatever pieces they come in.
//! - [`stream`] is a socket, with TLS or without.
//! - [`worker`] is one thread: its connections, its slots, its counts.
//! - [`watch`] is how others look at it and end it.
//! - [`run`](mod@run) starts the threads and adds up.

pub mod http1;
pub mod run;
pub mod stream;
pub mod watch;
pub mod worker;
