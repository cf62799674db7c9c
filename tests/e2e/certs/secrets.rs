//! Secrets made, rotated and checked.
