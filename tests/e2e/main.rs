//! End-to-end tests: the built programs against real servers.

mod backup;
mod contracts;
mod essentials;
mod faults;
mod redis;
mod week;
