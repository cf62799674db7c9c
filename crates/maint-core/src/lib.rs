//! The common library.
