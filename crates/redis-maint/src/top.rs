//! The biggest of many, in bounded memory.
