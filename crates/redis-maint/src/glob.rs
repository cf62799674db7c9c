//! Glob patterns as the server matches them.
