//! Where requests go: an address, what is asked there, and leave to go there.

mod http;
mod postgres;
mod redis;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use maint_core::failure::Failure;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use url::Host;

pub use crate::engine::target::{Address, Target};
pub use http::Ask;
pub use redis::Commands;

/// Finds a host's address.
///
/// # Errors
/// It has none, or is neither on this machine nor in `allowed`.
fn resolve(host: &Host<&str>, port: u16, allowed: &[String]) -> Result<Address, Failure> {
    let address = match host {
        Host::Ipv4(address) => SocketAddr::new(IpAddr::V4(*address), port),
        Host::Ipv6(address) => SocketAddr::new(IpAddr::V6(*address), port),
        Host::Domain(name) => (*name, port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .ok_or_else(|| Failure::critical(format!("{name} has no address")))?,
    };
    let shown = host.to_string();
    if !address.ip().is_loopback() && !allowed.contains(&shown) {
        return Err(Failure::usage(format!("{shown} ({}) is not this machine", address.ip()))
            .hint(format!("if load is meant for it, say so: --allow-host {shown}")));
    }
    Ok(Address::Tcp(address))
}

fn server_name(host: &Host<&str>) -> Result<ServerName<'static>, Failure> {
    match host {
        Host::Ipv4(address) => Ok(ServerName::IpAddress(IpAddr::V4(*address).into())),
        Host::Ipv6(address) => Ok(ServerName::IpAddress(IpAddr::V6(*address).into())),
        Host::Domain(name) => ServerName::try_from((*name).to_owned())
            .map_err(|error| Failure::usage(format!("{name} cannot be asked for by TLS: {error}"))),
    }
}

/// Handshakes that trust the system's roots (`SSL_CERT_FILE` names others) and offer these protocols.
fn roots(protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, Failure> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        return Err(Failure::usage("there are no root certificates on this machine")
            .hint("install ca-certificates, or name a file in SSL_CERT_FILE"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::critical(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}
