//! File sets: paths, excludes, owners, extended attributes, hard links; read strictly.

pub mod attribute;
pub mod set;
pub mod source;
