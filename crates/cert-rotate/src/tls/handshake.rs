//! The handshake itself, driven by hand: when a server ends it because we show no certificate, what it showed before is
//! still wanted, and the ready-made connectors throw that away.

use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, ProtocolVersion};
use rustls::{PeerMisbehaved, SupportedCipherSuite};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::KeyFamily;
use super::error::{Stage, TlsError, excerpt};
use super::witness::Witness;

/// What was shown, as it was sent.
pub(super) struct Shown {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) protocol: &'static str,
    pub(super) cipher: String,
    pub(super) ocsp: Option<Vec<u8>>,
}

/// Makes the handshake and takes leave.
pub(super) async fn shake(
    stream: &mut TcpStream,
    name: ServerName<'static>,
    only: Option<KeyFamily>,
) -> Result<Shown, TlsError> {
    let provider = ring::default_provider();
    let witness = Witness::new(provider.signature_verification_algorithms, only);
    let config = config(provider, &witness).map_err(|error| TlsError::Protocol(error.to_string()))?;
    let mut connection =
        ClientConnection::new(Arc::new(config), name).map_err(|error| TlsError::Protocol(error.to_string()))?;
    let done = drive(stream, &mut connection).await;
    let heard = witness.heard();
    // A server that asked for our certificate may well refuse us, after it has shown its own.
    if let Err(error) = done
        && !(heard.proven && heard.asked_us)
    {
        return Err(error);
    }
    let protocol = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        other => return Err(TlsError::Protocol(format!("it ended without a version that is known here: {other:?}"))),
    };
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
    Ok(Shown {
        chain: heard.chain,
        protocol,
        // rustls tells the suites of TLS 1.3 by a prefix of its own.
        cipher: suite.replacen("TLS13_", "TLS_", 1),
        ocsp: heard.ocsp,
    })
}

/// What is offered. Under TLS 1.3 the signature schemes alone decide which certificate is shown; under TLS 1.2 a cipher
/// suite names the kind of key as well, and servers go by that.
fn config(mut provider: CryptoProvider, witness: &Arc<Witness>) -> Result<ClientConfig, Error> {
    provider.cipher_suites.retain(|suite| match suite {
        SupportedCipherSuite::Tls12(suite) => suite.sign.iter().any(|scheme| witness.schemes().contains(scheme)),
        SupportedCipherSuite::Tls13(_) => true,
    });
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions()?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::clone(witness) as _);
    let mut config = config.with_client_cert_resolver(Arc::clone(witness) as _);
    // A resumed session shows no certificate.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Sends and receives until the handshake is over.
async fn drive(stream: &mut TcpStream, connection: &mut ClientConnection) -> Result<(), TlsError> {
    let broken = |error: &io::Error| TlsError::broken(Stage::Handshake, error);
    let mut first = true;
    let mut buffer = vec![0; 16 * 1024];
    while connection.is_handshaking() {
        // What was sent to a server that has left is lost, but what it said before can still be read.
        let sent = send(stream, connection).await;
        if !connection.is_handshaking() {
            sent.map_err(|error| broken(&error))?;
            break;
        }
        let count = stream.read(&mut buffer).await.map_err(|error| broken(&error))?;
        let mut part = buffer.get(..count).unwrap_or_default();
        if part.is_empty() {
            let said = if first { "without a word" } else { "in the middle" };
            return Err(TlsError::Closed { stage: Stage::Handshake, why: format!("the server closed it {said}") });
        }
        if std::mem::take(&mut first) && !is_tls(part) {
            return Err(TlsError::NotTls(excerpt(part)));
        }
        while !part.is_empty() {
            connection.read_tls(&mut part).map_err(|error| broken(&error))?;
            if let Err(error) = connection.process_new_packets() {
                // The alert that tells the server why we leave.
                let _ = send(stream, connection).await;
                return Err(judge(error));
            }
        }
    }
    connection.send_close_notify();
    // The last message of the handshake goes with it; a server that needs neither may be gone.
    let _ = send(stream, connection).await;
    let _ = stream.shutdown().await;
    Ok(())
}

async fn send(stream: &mut TcpStream, connection: &mut ClientConnection) -> io::Result<()> {
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes)?;
    }
    stream.write_all(&bytes).await
}

/// Whether these bytes begin a record that can answer a greeting (RFC 8446, 5.1): a handshake's or an alert, of any
/// version.
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16] | [0x15 | 0x16, 0x03, ..])
}

fn judge(error: Error) -> TlsError {
    match error {
        Error::AlertReceived(alert) => TlsError::Alert { name: alert_name(alert) },
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            TlsError::Unproven("the signature of the handshake is not by that key".to_owned())
        }
        Error::InvalidCertificate(CertificateError::BadEncoding) => {
            TlsError::Unproven("that certificate's key cannot be read".to_owned())
        }
        Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme) => {
            TlsError::Unproven("it signs the handshake in a way that was not offered".to_owned())
        }
        error => TlsError::Protocol(error.to_string()),
    }
}

/// As RFC 8446 writes it: `handshake_failure`.
fn alert_name(alert: AlertDescription) -> String {
    let Some(name) = alert.as_str() else { return u8::from(alert).to_string() };
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    // rustls writes it in British spelling, the standard does not.
    text.replace("unrecognised", "unrecognized")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_the_names_of_the_standard() {
        assert_eq!(alert_name(AlertDescription::HandshakeFailure), "handshake_failure");
        assert_eq!(alert_name(AlertDescription::UnrecognisedName), "unrecognized_name");
        assert_eq!(alert_name(AlertDescription::from(199)), "199");
    }

    #[test]
    fn the_first_bytes_tell_tls_from_anything_else() {
        for tls in [&b"\x16\x03\x03"[..], b"\x15\x03\x01\x00\x02\x02\x46", b"\x16"] {
            assert!(is_tls(tls));
        }
        for other in [&b"HTTP/1.1 400"[..], b"220 mail", b"-ERR", b"\x16\x00", b"SSH-2.0", b"\x00"] {
            assert!(!is_tls(other));
        }
    }
}
