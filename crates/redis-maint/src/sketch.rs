//! Counting in bounded memory.
