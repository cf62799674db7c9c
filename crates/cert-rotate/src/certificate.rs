//! What a certificate says (RFC 5280), read once.
//!
//! A [`Certificate`] keeps its bytes and the facts that every command asks for. Whether to believe them is not its
//! question: that is for validation.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use maint_core::failure::Failure;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// A certificate could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate.
    #[error("it is no X.509 certificate: {0}")]
    NotACertificate(String),
    /// Bytes follow that do not belong to it.
    #[error("{0} bytes follow after the certificate")]
    Trailing(usize),
    /// A PEM text does not hold.
    #[error("the PEM text does not hold: {0}")]
    Pem(String),
}

impl From<CertificateError> for Failure {
    fn from(error: CertificateError) -> Self {
        Failure::critical(error.to_string())
    }
}

/// A name that a certificate is for, from its subjectAltName.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SanName {
    /// A DNS name, in lower case; may begin with `*.`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
    /// Any other kind, as text with its kind (`email:`, `uri:`, `dirname:`, `other:`).
    Other(String),
}

impl fmt::Display for SanName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SanName::Dns(name) | SanName::Other(name) => f.pad(name),
            SanName::Ip(address) => write!(f, "{address}"),
        }
    }
}

/// The kind and size of a public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKeyKind {
    /// RSA with a modulus of so many bits.
    Rsa(usize),
    /// An elliptic curve of so many bits.
    Ec(usize),
    /// Ed25519.
    Ed25519,
    /// Anything else, by its object identifier.
    Other(String),
}

impl fmt::Display for PublicKeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublicKeyKind::Rsa(bits) => write!(f, "RSA {bits}"),
            PublicKeyKind::Ec(bits) => write!(f, "EC P-{bits}"),
            PublicKeyKind::Ed25519 => f.write_str("Ed25519"),
            PublicKeyKind::Other(oid) => f.write_str(oid),
        }
    }
}

/// A certificate and its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    sha256: [u8; 32],
    public_key: Vec<u8>,
    /// The subject's distinguished name, as text.
    pub subject: String,
    /// The issuer's distinguished name, as text.
    pub issuer: String,
    /// The serial number, lower-case hexadecimal as encoded, without separators.
    pub serial: String,
    /// Valid from this second on.
    pub not_before: Timestamp,
    /// Valid up to and including this second.
    pub not_after: Timestamp,
    /// The names in the subjectAltName extension.
    pub names: Vec<SanName>,
    /// The public key's kind.
    pub key: PublicKeyKind,
    /// Whether basicConstraints says that it is an authority.
    pub is_ca: bool,
    /// Subject and issuer are the same name.
    pub self_issued: bool,
    /// subjectKeyIdentifier.
    pub subject_key_id: Option<Vec<u8>>,
    /// The key identifier of authorityKeyIdentifier.
    pub authority_key_id: Option<Vec<u8>>,
}

impl Certificate {
    /// Reads one certificate in DER.
    ///
    /// # Errors
    /// It is none, or something follows it.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, parsed) =
            X509Certificate::from_der(der).map_err(|error| CertificateError::NotACertificate(error.to_string()))?;
        if !rest.is_empty() {
            return Err(CertificateError::Trailing(rest.len()));
        }
        // RFC 5280, 4.1.2.5 has 99991231235959Z mean "without an end"; a Timestamp ends a day before that.
        let moment = |time: &x509_parser::time::ASN1Time| {
            let second = time.timestamp().clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
            Timestamp::from_second(second)
                .map_err(|error| CertificateError::NotACertificate(format!("a time of validity: {error}")))
        };
        let names = match parsed.subject_alternative_name() {
            Ok(Some(san)) => san.value.general_names.iter().map(general_name).collect(),
            Ok(None) => Vec::new(),
            Err(error) => return Err(CertificateError::NotACertificate(format!("subjectAltName: {error}"))),
        };
        let (mut subject_key_id, mut authority_key_id) = (None, None);
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => subject_key_id = Some(id.0.to_vec()),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                _ => {}
            }
        }
        Ok(Certificate {
            sha256: sha256(der),
            public_key: parsed.public_key().raw.to_vec(),
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            serial: hex(parsed.raw_serial()),
            not_before: moment(&parsed.validity().not_before)?,
            not_after: moment(&parsed.validity().not_after)?,
            names,
            key: kind(parsed.public_key()),
            is_ca: matches!(parsed.basic_constraints(), Ok(Some(constraints)) if constraints.value.ca),
            self_issued: parsed.subject().as_raw() == parsed.issuer().as_raw(),
            subject_key_id,
            authority_key_id,
            der: CertificateDer::from(der.to_vec()),
        })
    }

    /// Reads every certificate of a PEM text, in its order. Other PEM blocks (keys, parameters) are passed over.
    ///
    /// # Errors
    /// A block is damaged, or is no certificate.
    pub fn all_from_pem(pem: &[u8]) -> Result<Vec<Self>, CertificateError> {
        CertificateDer::pem_slice_iter(pem)
            .map(|block| {
                let der = block.map_err(|error| CertificateError::Pem(error.to_string()))?;
                Certificate::from_der(&der)
            })
            .collect()
    }

    /// The bytes, for rustls.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Everything that the parser knows; it read these bytes before, so `None` does not happen.
    pub fn parsed(&self) -> Option<X509Certificate<'_>> {
        X509Certificate::from_der(&self.der).ok().map(|(_, parsed)| parsed)
    }

    /// The public key, as a DER `SubjectPublicKeyInfo`.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// SHA-256 of the bytes.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// SHA-256 of the bytes as lower-case hexadecimal: how records name a certificate.
    pub fn fingerprint(&self) -> String {
        hex(&self.sha256)
    }

    /// The certificate as PEM.
    pub fn to_pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// How long it is valid in all.
    pub fn lifetime(&self) -> jiff::SignedDuration {
        // The last second belongs to it (RFC 5280, 4.1.2.5).
        self.not_after.duration_since(self.not_before) + jiff::SignedDuration::from_secs(1)
    }

    /// Whether it is valid at that time.
    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        self.not_before <= at && at < crate::due::after(self.not_after)
    }

    /// What it is called in messages: its first name, or its subject.
    pub fn title(&self) -> String {
        self.names.first().map_or_else(|| self.subject.clone(), ToString::to_string)
    }
}

/// The kind of a public key, given as a DER `SubjectPublicKeyInfo`; `None` when it is none.
pub fn public_key_kind(der: &[u8]) -> Option<PublicKeyKind> {
    SubjectPublicKeyInfo::from_der(der).ok().map(|(_, parsed)| kind(&parsed))
}

fn kind(public: &SubjectPublicKeyInfo<'_>) -> PublicKeyKind {
    let algorithm = public.algorithm.algorithm.to_id_string();
    match public.parsed() {
        Ok(PublicKey::RSA(key)) => PublicKeyKind::Rsa(key.key_size()),
        Ok(PublicKey::EC(point)) => PublicKeyKind::Ec(point.key_size()),
        _ if algorithm == "1.3.101.112" => PublicKeyKind::Ed25519,
        _ => PublicKeyKind::Other(algorithm),
    }
}

/// A name as the parser has it.
pub fn general_name(name: &GeneralName<'_>) -> SanName {
    match name {
        GeneralName::DNSName(name) => SanName::Dns(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(v4), _) => SanName::Ip(v4.into()),
            (_, Ok(v6)) => SanName::Ip(v6.into()),
            _ => SanName::Other(format!("address:{}", hex(bytes))),
        },
        GeneralName::RFC822Name(name) => SanName::Other(format!("email:{name}")),
        GeneralName::URI(name) => SanName::Other(format!("uri:{name}")),
        GeneralName::DirectoryName(name) => SanName::Other(format!("dirname:{name}")),
        other => SanName::Other(format!("other:{other}")),
    }
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    digest
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A PEM block (RFC 7468).
pub fn pem(label: &str, der: &[u8]) -> String {
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        Certificate::from_der(made.cert.der()).unwrap()
    }

    #[test]
    fn facts_are_those_that_were_written() {
        let certificate = made(&["A.example.test", "*.b.example.test", "127.0.0.1", "::1"]);
        let names: Vec<String> = certificate.names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a.example.test", "*.b.example.test", "127.0.0.1", "::1"]);
        assert_eq!(certificate.key, PublicKeyKind::Ec(256));
        assert!(certificate.self_issued && !certificate.is_ca);
        assert_eq!(certificate.fingerprint().len(), 64);
    }

    #[test]
    fn pem_and_back_is_the_same_certificate() {
        let (one, two) = (made(&["one.test"]), made(&["two.test"]));
        let text = format!("{}# between\n{}", one.to_pem(), two.to_pem());
        assert_eq!(Certificate::all_from_pem(text.as_bytes()).unwrap(), [one, two]);
    }

    #[test]
    fn the_last_second_is_valid() {
        let certificate = made(&["one.test"]);
        assert!(certificate.is_valid_at(certificate.not_after));
        assert!(!certificate.is_valid_at(certificate.not_after + jiff::SignedDuration::from_secs(1)));
        assert!(certificate.is_valid_at(certificate.not_before));
        assert!(!certificate.is_valid_at(certificate.not_before - jiff::SignedDuration::from_secs(1)));
    }

    #[test]
    fn a_certificate_without_an_end_is_read() {
        let mut params = rcgen::CertificateParams::new(vec!["one.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
        let der = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let certificate = Certificate::from_der(der.der()).unwrap();
        assert_eq!(certificate.not_after.as_second(), Timestamp::MAX.as_second());
        assert!(certificate.is_valid_at(Timestamp::now()));
    }

    #[test]
    fn what_follows_a_certificate_is_refused() {
        let mut der = made(&["one.test"]).der().to_vec();
        der.push(0);
        assert!(matches!(Certificate::from_der(&der), Err(CertificateError::Trailing(1))));
        assert!(matches!(Certificate::from_der(b"hello"), Err(CertificateError::NotACertificate(_))));
    }
}
