//! File sets: paths, excludes, owners, extended attributes, hard links; read strictly.

pub mod set;
pub mod source;
