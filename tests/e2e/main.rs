//! End-to-end tests: the built programs against real servers.

mod contracts;
mod essentials;
mod faults;
mod week;
