//! File sets: paths, excludes, owners, extended attributes, hard links; read strictly.
//!
//! [`set`] is what an operator wrote down, [`walk`] goes through it, [`node`] and [`attributes`] are what is kept of an
//! entry beside its bytes, [`reader`] reads those, and [`source`] hands all of it to the storage engine. What could not be
//! read is in the [`report`]: the engine only logs it.

pub mod attributes;
pub mod node;
pub mod reader;
pub mod report;
pub mod set;
pub mod source;
pub mod walk;
