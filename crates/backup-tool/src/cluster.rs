//! The files of a cluster: what each is, what to leave out, and whether its pages are whole.

pub mod control;
pub mod label;
pub mod manifest;
pub mod page;
pub mod source;
pub mod walk;
