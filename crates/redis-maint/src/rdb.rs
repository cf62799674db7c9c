//! Snapshot files, read without a server.
