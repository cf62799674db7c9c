//! Redis reads its TLS files again when they are set, also to what they are.
//!
//! Both are set in one command: set one after the other, the first would not fit the second for a moment, and be refused.
//! The server is reached under the very certificate that is being replaced, which may be expired or nobody's; so instead
//! of a chain, one of the certificates that it can be showing is asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use maint_core::secret;
use redis::aio::MultiplexedConnection;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::certificate::sha256;

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The parameters that name the files.
const FILES: [&str; 2] = ["tls-cert-file", "tls-key-file"];

/// Redis was not told.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// The URL does not hold.
    #[error("not a Redis URL: {0}")]
    Url(String),
    /// The password's file does not hold.
    #[error(transparent)]
    Password(#[from] secret::SecretError),
    /// It cannot be reached.
    #[error("cannot reach Redis at {address}: {why}")]
    Connect {
        /// Where.
        address: String,
        /// What was said.
        why: String,
    },
    /// It has no TLS files.
    #[error("Redis has no {0} in its configuration, so there is nothing to read again")]
    NoFile(&'static str),
    /// It refused.
    #[error("Redis refused to read its TLS files again: {0}")]
    Refused(String),
    /// It did not answer in time.
    #[error("Redis did not answer within {} s", LIMIT.as_secs())]
    TimedOut,
}

/// Reads a URL.
pub(super) fn address(url: &str) -> Result<ConnectionInfo, RedisError> {
    url.into_connection_info().map_err(|error| RedisError::Url(secret::redact_url(&error.to_string())))
}

/// Sets the TLS files to what they are.
pub(super) async fn reload(url: &str, password_file: Option<&Path>, known: &[[u8; 32]]) -> Result<(), RedisError> {
    tokio::time::timeout(LIMIT, reload_unlimited(url, password_file, known)).await.unwrap_or(Err(RedisError::TimedOut))
}

async fn reload_unlimited(url: &str, password_file: Option<&Path>, known: &[[u8; 32]]) -> Result<(), RedisError> {
    let mut info = address(url)?;
    if let Some(file) = password_file {
        let password = secret::from_file(file)?;
        let settings = info.redis_settings().clone().set_password(password.expose());
        info = info.set_redis_settings(settings);
    }
    let mut connection = connect(&info, known).await?;
    let refused = |error: redis::RedisError| RedisError::Refused(error.to_string());
    let mut set = redis::cmd("CONFIG");
    set.arg("SET");
    for file in FILES {
        let got: Vec<String> =
            redis::cmd("CONFIG").arg("GET").arg(file).query_async(&mut connection).await.map_err(refused)?;
        let value = got.into_iter().nth(1).filter(|value| !value.is_empty()).ok_or(RedisError::NoFile(file))?;
        set.arg(file).arg(value);
    }
    set.query_async::<()>(&mut connection).await.map_err(refused)
}

async fn connect(info: &ConnectionInfo, known: &[[u8; 32]]) -> Result<MultiplexedConnection, RedisError> {
    let address = info.addr().to_string();
    let failed = |why: String| RedisError::Connect { address: address.clone(), why };
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| failed(error.to_string()))?;
            login(info, stream).await
        }
        ConnectionAddr::TcpTls { host, port, .. } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| failed(error.to_string()))?;
            let name = ServerName::try_from(host.clone()).map_err(|error| failed(error.to_string()))?;
            let connector = TlsConnector::from(Arc::new(config(known).map_err(|error| failed(error.to_string()))?));
            let stream = connector.connect(name, stream).await.map_err(|error| failed(error.to_string()))?;
            login(info, stream).await
        }
        ConnectionAddr::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(|error| failed(error.to_string()))?;
            login(info, stream).await
        }
        _ => Err(failed("nothing here speaks to such an address".to_owned())),
    }
    .map_err(|error| match error {
        RedisError::Connect { why, .. } => failed(why),
        other => other,
    })
}

async fn login<S>(info: &ConnectionInfo, stream: S) -> Result<MultiplexedConnection, RedisError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = redis::AsyncConnectionConfig::default();
    let opened = MultiplexedConnection::new_with_config(info.redis_settings(), stream, config).await;
    let (connection, driver) =
        opened.map_err(|error| RedisError::Connect { address: String::new(), why: error.to_string() })?;
    // Ends with the connection.
    tokio::spawn(driver);
    Ok(connection)
}

fn config(known: &[[u8; 32]]) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Known { provider: Arc::clone(&provider), known: known.to_vec() };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

/// Accepts certain certificates, and any when there are none.
#[derive(Debug)]
struct Known {
    provider: Arc<CryptoProvider>,
    known: Vec<[u8; 32]>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if self.known.is_empty() || self.known.contains(&sha256(leaf)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(TlsError::General("it shows a certificate that is none of this certificate's generations".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
