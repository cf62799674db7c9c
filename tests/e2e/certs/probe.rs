//! probe against real servers.
