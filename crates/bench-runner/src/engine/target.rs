//! Whom the engine asks.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::talk::Speech;

/// Where connections go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Over the network, or to this machine's own.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A target, ready to be asked.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it is called in records: the URL without a password.
    pub name: String,
    /// Where connections go.
    pub address: Address,
    /// How handshakes are made, if they are.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// What is asked.
    pub speech: Speech,
}
