//! A request to sign (PKCS #10, RFC 2986): whose key, for which names.
//!
//! Its signature shows that whoever wrote it has the key. Of what it asks for only the names are taken; what they may be
//! used for is for the authority to say.

use std::path::Path;

use maint_core::failure::Failure;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::X509Error;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

use super::constraints;
use crate::certificate::SanName;
use crate::read;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The key, a DER `SubjectPublicKeyInfo`.
    pub public: Vec<u8>,
    /// The names, each once, in order.
    pub names: Vec<SanName>,
}

/// Reads a file with one request.
///
/// # Errors
/// There is not exactly one in it, or it does not hold.
pub fn file(path: &Path) -> Result<Asked, Failure> {
    let shown = path.display();
    let read = read::file(path, None).map_err(|error| Failure::usage(error.to_string()))?;
    match read.requests.as_slice() {
        [request] => der(request, &shown.to_string()),
        [] => Err(Failure::usage(format!("there is no request in {shown}"))
            .hint("`openssl req -new -key KEY -addext subjectAltName=DNS:NAME` makes one")),
        _ => Err(Failure::usage(format!("there are several requests in {shown}; give one at a time"))),
    }
}

/// Reads a request in DER; `from` is for messages.
///
/// # Errors
/// It does not hold, its signature is not by its key, or it asks for what is not given.
pub fn der(der: &[u8], from: &str) -> Result<Asked, Failure> {
    let refuse = |why: &str| Failure::usage(format!("the request in {from} is not signed: {why}"));
    let (rest, request) =
        X509CertificationRequest::from_der(der).map_err(|error| refuse(&format!("it does not hold: {error}")))?;
    if !rest.is_empty() {
        return Err(refuse("something follows it"));
    }
    let info = &request.certification_request_info;
    if let Ok(PublicKey::RSA(key)) = info.subject_pki.parsed()
        && key.key_size() < 2048
    {
        return Err(refuse(&format!("its RSA key has {} bits; 2048 is the least", key.key_size())));
    }
    request.verify_signature().map_err(|error| match error {
        X509Error::SignatureUnsupportedAlgorithm => refuse("this kind of key or signature is not certified here")
            .hint("use a key of RSA, P-256, P-384 or Ed25519, and a signature of SHA-256 or better"),
        error => refuse(&format!("whoever made it did not show to have its key: {error}")),
    })?;
    let mut names = Vec::new();
    for extension in request.requested_extensions().into_iter().flatten() {
        match extension {
            ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
                return Err(refuse("it asks for an authority").hint("`cert-rotate ca intermediate` makes authorities"));
            }
            ParsedExtension::SubjectAlternativeName(alternatives) => {
                for general in &alternatives.general_names {
                    let name = name(general).map_err(|why| refuse(&why))?;
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
            _ => {}
        }
    }
    if names.is_empty() {
        return Err(refuse("it asks for no name (a common name is none: nobody looks at it any more)")
            .hint("ask for a subjectAltName"));
    }
    Ok(Asked { public: info.subject_pki.raw.to_vec(), names })
}

fn name(general: &GeneralName<'_>) -> Result<SanName, String> {
    match general {
        GeneralName::DNSName(name) => constraints::name(name).map_err(|failure| failure.message).and_then(|read| {
            if matches!(read, SanName::Dns(_)) { Ok(read) } else { Err(format!("{name} is an address")) }
        }),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(v4), _) => Ok(SanName::Ip(v4.into())),
            (_, Ok(v6)) => Ok(SanName::Ip(v6.into())),
            _ => Err("it asks for an address that is none".to_owned()),
        },
        other => Err(format!("it asks for {other}, and only domains and addresses are certified")),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, IsCa, KeyPair, SanType};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["A.example.test".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        change(&mut params);
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn why_not(bytes: &[u8]) -> String {
        der(bytes, "it").unwrap_err().message
    }

    #[test]
    fn key_and_names_are_those_that_were_asked_for() {
        let asked =
            der(&made(|params| params.subject_alt_names.extend(params.subject_alt_names.clone())), "it").unwrap();
        let names: Vec<String> = asked.names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a.example.test", "10.0.0.1"]);
    }

    #[test]
    fn who_has_not_the_key_gets_nothing() {
        let good = made(|_| {});
        // Other names, after it was signed.
        let at = good.windows(9).position(|window| window == b"A.example").unwrap();
        let mut changed = good.clone();
        changed[at] = b'b';
        assert!(why_not(&changed).contains("did not show to have its key"));
        // Somebody else's key.
        let other = made(|_| {});
        let (key, theirs) = (der(&good, "it").unwrap().public, der(&other, "it").unwrap().public);
        let at = good.windows(key.len()).position(|window| window == key).unwrap();
        let mut swapped = good.clone();
        swapped[at..at + theirs.len()].copy_from_slice(&theirs);
        assert!(why_not(&swapped).contains("did not show to have its key"));
    }

    #[test]
    fn what_is_not_given_is_refused_by_name() {
        assert!(
            why_not(&made(|params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)))
                .contains("authority")
        );
        assert!(why_not(&made(|params| params.subject_alt_names.clear())).contains("no name"));
        let mail = SanType::Rfc822Name("a@example.test".try_into().unwrap());
        assert!(why_not(&made(|params| params.subject_alt_names.push(mail))).contains("only domains"));
        let odd = SanType::DnsName("a b".try_into().unwrap());
        assert!(why_not(&made(|params| params.subject_alt_names.push(odd))).contains("a b"));
        let mut longer = made(|_| {});
        longer.push(0);
        assert!(why_not(&longer).contains("follows"));
        assert!(why_not(b"hello").contains("does not hold"));
    }
}
