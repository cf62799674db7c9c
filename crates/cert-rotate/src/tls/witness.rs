//! What the handshake hands to us: the chain, the stapled response, and the signature that proves the key.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};
use webpki::RawPublicKeyEntity;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::KeyFamily;

/// The family that makes signatures of this scheme.
pub(super) fn family(scheme: SignatureScheme) -> Option<KeyFamily> {
    match scheme {
        SignatureScheme::RSA_PKCS1_SHA256
        | SignatureScheme::RSA_PKCS1_SHA384
        | SignatureScheme::RSA_PKCS1_SHA512
        | SignatureScheme::RSA_PSS_SHA256
        | SignatureScheme::RSA_PSS_SHA384
        | SignatureScheme::RSA_PSS_SHA512 => Some(KeyFamily::Rsa),
        SignatureScheme::ECDSA_NISTP256_SHA256
        | SignatureScheme::ECDSA_NISTP384_SHA384
        | SignatureScheme::ECDSA_NISTP521_SHA512 => Some(KeyFamily::Ecdsa),
        SignatureScheme::ED25519 => Some(KeyFamily::Ed25519),
        _ => None,
    }
}

/// What was heard so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) ocsp: Option<Vec<u8>>,
    /// The leaf's key signed this very handshake.
    pub(super) proven: bool,
    /// The server asked for our certificate.
    pub(super) asked_us: bool,
}

/// Listens to one handshake.
#[derive(Debug)]
pub(super) struct Witness {
    algorithms: WebPkiSupportedAlgorithms,
    schemes: Vec<SignatureScheme>,
    heard: Mutex<Heard>,
}

impl Witness {
    /// One that offers signatures of the family, or of all.
    pub(super) fn new(algorithms: WebPkiSupportedAlgorithms, only: Option<KeyFamily>) -> Arc<Self> {
        let mut schemes = algorithms.supported_schemes();
        schemes.retain(|scheme| only.is_none() || family(*scheme) == only);
        Arc::new(Witness { algorithms, schemes, heard: Mutex::default() })
    }

    pub(super) fn schemes(&self) -> &[SignatureScheme] {
        &self.schemes
    }

    pub(super) fn heard(&self) -> Heard {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, note: impl FnOnce(&mut Heard)) {
        note(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Checks the signature with the leaf's public key alone, so that a certificate that no path validation would take (of
    /// version 1, say) is seen too. `choices` says how many of the scheme's algorithms count: under TLS 1.3 a scheme names
    /// the curve as well, and the first is the one with it.
    fn prove(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
        choices: usize,
    ) -> Result<HandshakeSignatureValid, Error> {
        // A server that signs with what was not offered has not heard the question.
        if !self.schemes.contains(&signature.scheme) {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(parsed.public_key().raw);
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
        let mapping = self.algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signature.scheme);
        let mut algorithms = mapping.flat_map(|(_, algorithms)| algorithms.iter().take(choices));
        if !algorithms.any(|algorithm| key.verify_signature(*algorithm, message, signature.signature()).is_ok()) {
            return Err(CertificateError::BadSignature.into());
        }
        self.note(|heard| heard.proven = true);
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.note(|heard| {
            heard.chain = std::iter::once(leaf).chain(others).map(|der| der.clone().into_owned()).collect();
            heard.ocsp = Some(ocsp.to_vec()).filter(|response| !response.is_empty());
        });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.prove(message, leaf, signature, usize::MAX)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // RFC 8446, 4.2.3: the older padding of RSA signs certificates, no handshakes.
        let old =
            [SignatureScheme::RSA_PKCS1_SHA256, SignatureScheme::RSA_PKCS1_SHA384, SignatureScheme::RSA_PKCS1_SHA512];
        if old.contains(&signature.scheme) {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        self.prove(message, leaf, signature, 1)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

impl ResolvesClientCert for Witness {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.note(|heard| heard.asked_us = true);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
