//! cert-rotate, end to end: real authorities, real servers, real handshakes.

mod acme;
mod deploy;
mod faults;
mod pkits;
mod probe;
mod validate;
