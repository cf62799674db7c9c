//! One handshake: what a server shows.
//!
//! Any chain is taken and handed over; that the server has the leaf's key is checked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::certificate::Certificate;
use crate::endpoint::{Endpoint, StartTls};

/// Kinds of keys, by the signatures they make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFamily {
    /// RSA.
    Rsa,
    /// ECDSA.
    Ecdsa,
    /// Ed25519.
    Ed25519,
}

/// What is asked of a server.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// How long all of it may take.
    pub timeout: Duration,
    /// Offer only signatures of this family.
    pub key: Option<KeyFamily>,
}

/// What a server showed.
#[derive(Debug)]
pub struct Seen {
    /// Leaf first.
    pub chain: Vec<Certificate>,
}

/// There was no handshake.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nobody answers.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// Nobody answers in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// There is an answer, but no handshake.
    #[error("no handshake: {0}")]
    Handshake(String),
}

/// Connects once.
///
/// # Errors
/// There was no handshake.
pub async fn connect(endpoint: &Endpoint, asked: &Asked) -> Result<Seen, TlsError> {
    let limit = asked.timeout;
    tokio::time::timeout(limit, unlimited(endpoint, asked)).await.unwrap_or(Err(TlsError::TimedOut(limit)))
}

async fn unlimited(endpoint: &Endpoint, asked: &Asked) -> Result<Seen, TlsError> {
    let bad = |error: &dyn std::fmt::Display| TlsError::Handshake(error.to_string());
    let mut stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(TlsError::Connect)?;
    if let Some(protocol) = endpoint.starttls.filter(|protocol| *protocol != StartTls::Postgres) {
        return Err(bad(&format!("starttls={protocol} is not there yet")));
    }
    if endpoint.starttls.is_some() {
        stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.map_err(|error| bad(&error))?;
        let mut answer = [0];
        stream.read_exact(&mut answer).await.map_err(|error| bad(&error))?;
        if answer != *b"S" {
            return Err(bad(&"the server does not offer TLS"));
        }
    }
    let provider = Arc::new(ring::default_provider());
    let taken = Arc::new(Take { provider: Arc::clone(&provider), family: asked.key, chain: Mutex::default() });
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().map_err(|error| bad(&error))?;
    let verifier: Arc<dyn ServerCertVerifier> = Arc::clone(&taken) as _;
    let config = config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    let name = ServerName::try_from(endpoint.name().to_owned()).map_err(|error| bad(&error))?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| bad(&error))?;
    let _ = stream.shutdown().await;
    let chain = taken.chain.lock().unwrap_or_else(PoisonError::into_inner);
    let chain = chain.iter().map(|der| Certificate::from_der(der)).collect::<Result<_, _>>();
    Ok(Seen { chain: chain.map_err(|error| bad(&error))? })
}

#[derive(Debug)]
struct Take {
    provider: Arc<CryptoProvider>,
    family: Option<KeyFamily>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Take {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(leaf).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.provider.signature_verification_algorithms.supported_schemes();
        if let Some(family) = self.family {
            let of = |scheme: &SignatureScheme| match family {
                KeyFamily::Rsa => format!("{scheme:?}").starts_with("RSA"),
                KeyFamily::Ecdsa => format!("{scheme:?}").starts_with("ECDSA"),
                KeyFamily::Ed25519 => *scheme == SignatureScheme::ED25519,
            };
            schemes.retain(of);
        }
        schemes
    }
}
