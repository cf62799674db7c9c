//! The files of a cluster: what each is, what to leave out, and whether its pages are whole.

mod area;
pub mod control;
pub mod label;
pub mod manifest;
pub mod page;
pub mod reader;
pub mod relation;
pub mod report;
pub mod source;
pub mod walk;
