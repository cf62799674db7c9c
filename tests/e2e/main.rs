//! End-to-end tests: the built programs against real servers.

mod backup;
mod certs;
mod check;
mod contracts;
mod deps;
mod essentials;
mod faults;
mod load;
mod redis;
mod week;
