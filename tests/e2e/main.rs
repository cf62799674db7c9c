//! End-to-end tests.

mod contracts;
