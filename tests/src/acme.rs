//! ACME authorities (RFC 8555) on 127.0.0.1, two that have nothing in common: Debian's [`Pebble`], Let's Encrypt's own
//! server for tests, and [`Acme2Certifier`], which has what this version of Pebble lacks: renewal information (RFC
//! 9773), profiles, and certificates of six days.
//!
//! Every name they ask for leads to 127.0.0.1, by a DNS server of their own ([`Names`]), and they validate on private
//! ports, so any number of them run at the same time and none needs root.

pub mod certbot;
mod certifier;
mod names;
mod pebble;
pub(crate) mod server;

pub use certbot::certbot;
pub use certifier::Acme2Certifier;
pub use names::Names;
pub use pebble::{Builder as PebbleBuilder, Pebble};
