//! End-to-end tests: the built programs against real servers, a module per tool.

mod contracts;
mod essentials;
mod faults;
