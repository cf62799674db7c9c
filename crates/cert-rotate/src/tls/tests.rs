//! Against rustls's own server and bare sockets; other servers are in the end-to-end tests.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::*;
use crate::key::{KeyType, PrivateKey};

const ASKED: Asked = Asked { timeout: Duration::from_secs(20), key: None };

fn pair(kind: KeyType, name: &str) -> (PrivateKey, Certificate) {
    let key = PrivateKey::generate(kind).unwrap();
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.self_signed(key.pair()).unwrap();
    (key, Certificate::from_der(certificate.der()).unwrap())
}

/// A server that does this with its first connection.
fn server(serve: impl FnOnce(TcpStream) + Send + 'static) -> (Endpoint, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("127.0.0.1:{};sni=a.test", listener.local_addr().unwrap().port());
    let thread = std::thread::spawn(move || serve(listener.accept().unwrap().0));
    (at.parse().unwrap(), thread)
}

/// A TLS server with this certificate that signs with this key, whether they belong together or not.
fn tls_server(
    version: &'static rustls::SupportedProtocolVersion,
    certificate: &Certificate,
    key: &PrivateKey,
    clients: Option<&Certificate>,
) -> (Endpoint, JoinHandle<()>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let signer = rustls::crypto::ring::sign::any_supported_type(&key.to_der()).unwrap();
    let certified = Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signer));
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[version]).unwrap();
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(root) => {
            let mut roots = RootCertStore::empty();
            roots.add(root.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            config.with_client_cert_verifier(verifier)
        }
    };
    let config = config.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    server(move |mut stream| {
        let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
        while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
        // It ends its side, and waits until the client has left, which shall find the alert and not a reset.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

const VERSIONS: [(&rustls::SupportedProtocolVersion, &str); 2] =
    [(&rustls::version::TLS12, "TLSv1.2"), (&rustls::version::TLS13, "TLSv1.3")];

#[tokio::test]
async fn any_certificate_is_seen_with_version_and_cipher() {
    for (version, named) in VERSIONS {
        for kind in [KeyType::P256, KeyType::P384, KeyType::Ed25519] {
            let (key, certificate) = pair(kind, "other.test");
            let (endpoint, _) = tls_server(version, &certificate, &key, None);
            let seen = connect(&endpoint, &ASKED).await.unwrap();
            assert_eq!(seen.chain, [certificate]);
            assert_eq!(seen.protocol, named);
            assert!(seen.cipher.starts_with("TLS_"), "{}", seen.cipher);
            assert_eq!(seen.ocsp, None);
        }
    }
}

#[tokio::test]
async fn a_certificate_of_another_key_is_not_taken() {
    for (version, _) in VERSIONS {
        let (_, certificate) = pair(KeyType::P256, "a.test");
        let (other, _) = pair(KeyType::P256, "a.test");
        let (endpoint, _) = tls_server(version, &certificate, &other, None);
        let error = connect(&endpoint, &ASKED).await.unwrap_err();
        assert!(matches!(error, TlsError::Unproven(_)), "{version:?}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_wants_our_certificate_is_seen_too() {
    for (version, _) in VERSIONS {
        let (key, certificate) = pair(KeyType::P256, "a.test");
        let (endpoint, _) = tls_server(version, &certificate, &key, Some(&certificate));
        let seen = connect(&endpoint, &ASKED).await.unwrap();
        assert_eq!(seen.chain, [certificate], "{version:?}");
    }
}

#[tokio::test]
async fn a_family_that_the_server_has_not_is_refused() {
    for (version, _) in VERSIONS {
        let (key, certificate) = pair(KeyType::P256, "a.test");
        for only in KeyFamily::ALL {
            let (endpoint, _) = tls_server(version, &certificate, &key, None);
            let seen = connect(&endpoint, &Asked { key: Some(only), ..ASKED }).await;
            if only == KeyFamily::Ecdsa {
                assert_eq!(seen.unwrap().chain[0], certificate);
            } else {
                let error = seen.unwrap_err();
                // rustls's server leaves without an alert when the cipher suite fits and the signature does not.
                let left = matches!(error, TlsError::Alert { .. } | TlsError::Closed { .. });
                assert!(left, "{version:?} {only}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn each_way_to_fail_has_its_name() {
    let say = |bytes: &'static [u8]| {
        server(move |mut stream| {
            let _ = stream.write_all(bytes);
            // Until the client has left.
            let _ = stream.read_to_end(&mut Vec::new());
        })
    };
    let hang_up = |after: usize| server(move |mut stream| drop(stream.read_exact(&mut vec![0; after])));
    // The beginning of a ServerHello that never comes to its end.
    let half = server(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&[0x16, 3, 3, 0, 100, 2, 0, 0, 96, 3, 3]);
        let _ = stream.shutdown(std::net::Shutdown::Both);
    });
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for (endpoint, code) in [
        (refused.parse().unwrap(), "refused"),
        ("no-such-host.invalid:443".parse().unwrap(), "unresolvable"),
        ("127.0.0.1:443;sni=not..a..name".parse().unwrap(), "bad-name"),
        (say(b"HTTP/1.1 400 Bad Request\r\n\r\n").0, "not-tls"),
        (say(&[0x15, 3, 3, 0, 2, 2, 70]).0, "alert"),
        (say(&[0x16, 3, 3, 0, 4, 99, 0, 0, 0]).0, "tls-failed"),
        (hang_up(0).0, "closed"),
        (half.0, "closed"),
    ] {
        let error = connect(&endpoint, &ASKED).await.unwrap_err();
        assert_eq!(error.code(), code, "{endpoint}: {error}");
    }
}

#[tokio::test]
async fn one_deadline_holds_for_every_step() {
    let silent = || server(|mut stream| drop(stream.read_to_end(&mut Vec::new()))).0;
    let asked = Asked { timeout: Duration::from_millis(200), key: None };
    for (starttls, stage) in
        [(None, Stage::Handshake), (Some("postgres"), Stage::StartTls), (Some("smtp"), Stage::StartTls)]
    {
        let mut endpoint = silent();
        endpoint.starttls =
            starttls.map(|protocol| format!("h:1;starttls={protocol}").parse::<Endpoint>().unwrap().starttls.unwrap());
        let error = connect(&endpoint, &asked).await.unwrap_err();
        assert_eq!(error, TlsError::TimedOut { stage, after: asked.timeout });
    }
}

#[tokio::test]
async fn what_is_no_consent_is_no_way_into_tls() {
    for (protocol, said) in [
        ("postgres", &b"N"[..]),
        ("postgres", b"EFATAL"),
        // The second letter could be taken for the start of what TLS protects.
        ("postgres", b"SS"),
        ("smtp", b"554 no\r\n"),
        ("smtp", b"220 hi\r\n250 nothing\r\n"),
        ("smtp", b"220 hi\r\n250-x\r\n250 STARTTLS\r\n454 not now\r\n"),
        ("smtp", b"220 hi\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n250 injected\r\n"),
    ] {
        let (mut endpoint, _) = server(move |mut stream| {
            let _ = stream.write_all(said);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        endpoint.starttls = format!("h:1;starttls={protocol}").parse::<Endpoint>().unwrap().starttls;
        let error = connect(&endpoint, &ASKED).await.unwrap_err();
        assert_eq!(error.code(), "starttls-refused", "{protocol} {said:?}: {error}");
    }
}
