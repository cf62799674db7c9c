//! End-to-end tests: the built programs against real servers, a module per tool.

mod essentials;
mod faults;
mod week;
