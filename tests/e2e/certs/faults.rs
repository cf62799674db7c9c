//! Killed, disk full, permission missing: old or new, never a mixture.
