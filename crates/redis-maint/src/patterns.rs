//! The patterns that names of keys follow, learned from the names.
