//! One TLS handshake: what a server shows.
//!
//! Any chain is taken and handed over, for whoever asks wants to see what is served, above all when it is wrong; to judge
//! it is another's work. What is checked is the signature of the handshake: a server that shows a certificate without
//! holding its key has shown nothing.
//!
//! A handshake has steps that fail in different ways, and an operator does different things about each: nobody listens,
//! nobody answers, somebody answers who does not speak TLS. [`TlsError`] tells them apart. All steps share one deadline.

mod dial;
mod error;
mod handshake;
mod starttls;
mod witness;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;

use crate::certificate::{Certificate, PublicKeyKind};
use crate::endpoint::Endpoint;

pub use error::{Stage, TlsError};

/// Kinds of keys, by the signatures they make. A server may hold a certificate for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyFamily {
    /// RSA, with either padding.
    Rsa,
    /// ECDSA on P-256 or P-384.
    Ecdsa,
    /// Ed25519.
    Ed25519,
}

impl KeyFamily {
    /// Every family.
    pub const ALL: [KeyFamily; 3] = [KeyFamily::Rsa, KeyFamily::Ecdsa, KeyFamily::Ed25519];

    /// The family of a public key; `None` for kinds that are not spoken here.
    pub fn of(key: &PublicKeyKind) -> Option<KeyFamily> {
        match key {
            PublicKeyKind::Rsa(_) => Some(KeyFamily::Rsa),
            PublicKeyKind::Ec(_) => Some(KeyFamily::Ecdsa),
            PublicKeyKind::Ed25519 => Some(KeyFamily::Ed25519),
            PublicKeyKind::Other(_) => None,
        }
    }
}

impl std::fmt::Display for KeyFamily {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            KeyFamily::Rsa => "RSA",
            KeyFamily::Ecdsa => "ECDSA",
            KeyFamily::Ed25519 => "Ed25519",
        })
    }
}

/// What is asked of a server.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// How long all of it may take, from the name's resolution to the end of the handshake.
    pub timeout: Duration,
    /// Offer only signatures of this family, so that a server with several certificates shows the one of that family, and
    /// a server without one refuses.
    pub key: Option<KeyFamily>,
}

/// What a server showed.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The certificates as they were sent, the leaf first. Never empty.
    pub chain: Vec<Certificate>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub protocol: &'static str,
    /// The cipher suite, by its name in the IANA registry.
    pub cipher: String,
    /// The OCSP response that was stapled, in DER.
    pub ocsp: Option<Vec<u8>>,
    /// Which of the host's addresses answered.
    pub address: SocketAddr,
    /// How long all of it took.
    pub duration: Duration,
}

/// Makes one handshake, and closes the connection in good order.
///
/// A server that asks for a client's certificate gets none, and what it showed before it refused that is good.
///
/// # Errors
/// There was no handshake, or it proves nothing.
pub async fn connect(endpoint: &Endpoint, asked: &Asked) -> Result<Seen, TlsError> {
    let started = Instant::now();
    let name = server_name(endpoint.name())?;
    let limit = Limit { started, timeout: asked.timeout };
    let addresses = limit.hold(Stage::Resolution, dial::resolve(&endpoint.host, endpoint.port)).await?;
    let (mut stream, address) = limit.hold(Stage::Connection, dial::dial(&addresses)).await?;
    if let Some(protocol) = endpoint.starttls {
        limit.hold(Stage::StartTls, starttls::ask(protocol, &mut stream)).await?;
    }
    let shown = limit.hold(Stage::Handshake, handshake::shake(&mut stream, name, asked.key)).await?;
    let chain = shown.chain.iter().enumerate().map(|(depth, der)| {
        Certificate::from_der(der).map_err(|error| TlsError::Certificate { depth, why: error.to_string() })
    });
    Ok(Seen {
        chain: chain.collect::<Result<_, _>>()?,
        protocol: shown.protocol,
        cipher: shown.cipher,
        ocsp: shown.ocsp,
        address,
        duration: started.elapsed(),
    })
}

/// The name to ask for; an address is never asked for (RFC 6066, 3), only connected to.
fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(ServerName::IpAddress(address.into()));
    }
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))
}

/// One deadline for all steps.
struct Limit {
    started: Instant,
    timeout: Duration,
}

impl Limit {
    async fn hold<T>(&self, stage: Stage, step: impl Future<Output = Result<T, TlsError>>) -> Result<T, TlsError> {
        let left = self.timeout.saturating_sub(self.started.elapsed());
        let late = || TlsError::TimedOut { stage, after: self.timeout };
        tokio::time::timeout(left, step).await.unwrap_or_else(|_| Err(late()))
    }
}

#[cfg(test)]
mod tests;
