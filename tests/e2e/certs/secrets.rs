//! Secrets made, rotated and checked: on real servers, with other readers at work, killed at every step, and never told.

mod check;
mod fixture;
mod generate;
mod plain;
mod postgres;
mod redis;
mod tokens;
