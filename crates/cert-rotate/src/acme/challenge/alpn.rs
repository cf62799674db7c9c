//! tls-alpn-01 (RFC 8737): a TLS server that shows a certificate made for the question.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use maint_core::failure::Failure;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Proof;
use crate::certificate::sha256;

const PROTOCOL: &[u8] = b"acme-tls/1";

const PATIENCE: Duration = Duration::from_secs(10);

/// The certificates by the name that is asked for.
#[derive(Debug)]
struct ByName(HashMap<String, Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.get(&hello.server_name()?.to_ascii_lowercase()).cloned()
    }
}

/// What the server shows.
pub(super) fn config(proofs: &[Proof]) -> Result<Arc<ServerConfig>, Failure> {
    let failed = |why: String| Failure::critical(format!("cannot make a certificate for tls-alpn-01: {why}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut certificates = HashMap::new();
    for proof in proofs {
        let mut params =
            rcgen::CertificateParams::new(vec![proof.name.clone()]).map_err(|error| failed(error.to_string()))?;
        let digest = sha256(proof.key_authorization.as_bytes());
        params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(&digest)];
        let key = rcgen::KeyPair::generate().map_err(|error| failed(error.to_string()))?;
        let certificate = params.self_signed(&key).map_err(|error| failed(error.to_string()))?;
        let der = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let key = provider.key_provider.load_private_key(der).map_err(|error| failed(error.to_string()))?;
        // Not `from_der`: it objects to the critical extension that this certificate is made for.
        let certified = CertifiedKey::new(vec![certificate.der().clone()], key);
        certificates.insert(server_name(&proof.name), Arc::new(certified));
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName(certificates)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

/// The name that is asked for; an address is asked for by its name in reverse DNS (RFC 8738, 6).
fn server_name(name: &str) -> String {
    match name.parse() {
        Ok(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Ok(IpAddr::V6(address)) => {
            let digits = address.octets().into_iter().rev().flat_map(|byte| [byte & 0xf, byte >> 4]);
            let digits: Vec<String> = digits.map(|digit| format!("{digit:x}")).collect();
            format!("{}.ip6.arpa", digits.join("."))
        }
        Err(_) => name.to_ascii_lowercase(),
    }
}

/// Answers until the task is aborted.
pub(super) fn serve(listener: TcpListener, config: Arc<ServerConfig>) -> JoinHandle<()> {
    let acceptor = TlsAcceptor::from(config);
    tokio::spawn(async move {
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let handshake = async { acceptor.accept(stream).await?.shutdown().await };
                let done = timeout(PATIENCE, handshake).await;
                tracing::debug!(%peer, ?done, "asked for a handshake");
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_asked_for_by_their_reverse_names() {
        assert_eq!(server_name("A.test"), "a.test");
        assert_eq!(server_name("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        let v6 = server_name("2001:db8::1");
        assert!(v6.starts_with("1.0.0.0.") && v6.ends_with(".8.b.d.0.1.0.0.2.ip6.arpa"), "{v6}");
    }
}
