//! cert-rotate, end to end: real authorities, real servers, real handshakes.

mod acme;
mod ca;
mod deploy;
mod faults;
mod look;
mod pkits;
mod probe;
mod secrets;
mod validate;
