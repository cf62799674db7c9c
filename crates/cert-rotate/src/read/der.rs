//! One object in DER: what it is follows from its outermost shape, so that its parser's complaint is about the right thing.

use maint_core::secret::Secret;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::PrivateKeyInfoRef;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf;
use rustls::pki_types::PrivateKeyDer;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509CertificationRequest};

use super::Read;
use crate::certificate::Certificate;
use crate::key::PrivateKey;
use crate::tlv::{self, BIT_STRING, INTEGER, OCTET_STRING, SEQUENCE};

/// A passphrase is not worth more than this many rounds of hashing (about ten seconds), nor this much memory in bytes: a
/// damaged or hostile file must not ask for a year or for all there is.
const MAX_ROUNDS: u32 = 10_000_000;
const MAX_MEMORY_BYTES: u64 = 256 << 20;
const MAX_PARALLEL: u16 = 16;

/// Whether the content is one value of DER from its first to its last byte. Line ends after it are forgiven, as some
/// programs add them.
pub(super) fn is_one(content: &[u8]) -> bool {
    matches!(tlv::first(content), Some((one, rest))
        if one.tag == SEQUENCE && !one.content.is_empty() && rest.iter().all(u8::is_ascii_whitespace))
}

/// Finds out what the one object is and adds it.
pub(super) fn add(read: &mut Read, content: &[u8], passphrase: Option<&Secret>) {
    let Some((one, _)) = tlv::first(content) else { return };
    let values: Vec<_> = tlv::all(one.content).collect();
    if values.iter().map(|value| value.whole.len()).sum::<usize>() != one.content.len() {
        read.problems.push("one value in DER, but what is in it is damaged".to_owned());
        return;
    }
    let tags: Vec<u8> = values.iter().map(|value| value.tag).take(9).collect();
    let added = match tags.as_slice() {
        [SEQUENCE, SEQUENCE, BIT_STRING] => signed(read, one.whole),
        [SEQUENCE, OCTET_STRING] => encrypted_key(read, one.whole, passphrase),
        [INTEGER, SEQUENCE, OCTET_STRING, ..] => key(read, &PrivateKeyDer::Pkcs8(one.whole.into())),
        [INTEGER, OCTET_STRING, ..] => key(read, &PrivateKeyDer::Sec1(one.whole.into())),
        [INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER] => {
            key(read, &PrivateKeyDer::Pkcs1(one.whole.into()))
        }
        _ => Ok(()),
    };
    read.problems.extend(added.err());
}

/// Certificates, requests and revocation lists are all signed the same way; the parser that takes it is right.
fn signed(read: &mut Read, der: &[u8]) -> Result<(), String> {
    match Certificate::from_der(der) {
        Ok(found) => read.certificates.push(found),
        Err(_) if CertificateRevocationList::from_der(der).is_ok() => read.crls.push(der.to_vec()),
        Err(_) if X509CertificationRequest::from_der(der).is_ok() => read.requests.push(der.to_vec()),
        Err(error) => return Err(format!("something is signed in it, but {error}")),
    }
    Ok(())
}

/// Adds a certificate.
pub(super) fn certificate(read: &mut Read, der: &[u8]) -> Result<(), String> {
    read.certificates.push(Certificate::from_der(der).map_err(|error| error.to_string())?);
    Ok(())
}

/// Adds a certificate of OpenSSL's own kind, after which there is what it is trusted for.
pub(super) fn trusted_certificate(read: &mut Read, der: &[u8]) -> Result<(), String> {
    let whole = tlv::first(der).map_or(der, |(value, _)| value.whole);
    certificate(read, whole)
}

/// Adds a certificate signing request.
pub(super) fn request(read: &mut Read, der: &[u8]) -> Result<(), String> {
    match X509CertificationRequest::from_der(der) {
        Ok(([], _)) => read.requests.push(der.to_vec()),
        Ok((rest, _)) => return Err(format!("{} bytes follow after the request", rest.len())),
        Err(error) => return Err(format!("it is no certificate signing request: {error}")),
    }
    Ok(())
}

/// Adds a revocation list.
pub(super) fn crl(read: &mut Read, der: &[u8]) -> Result<(), String> {
    match CertificateRevocationList::from_der(der) {
        Ok(([], _)) => read.crls.push(der.to_vec()),
        Ok((rest, _)) => return Err(format!("{} bytes follow after the revocation list", rest.len())),
        Err(error) => return Err(format!("it is no certificate revocation list: {error}")),
    }
    Ok(())
}

/// Adds a private key that stands there as it is.
pub(super) fn key(read: &mut Read, der: &PrivateKeyDer<'_>) -> Result<(), String> {
    read.bare_keys += 1;
    read.keys.push(usable(der)?);
    Ok(())
}

/// A private key, or why not, with its kind.
pub(super) fn usable(der: &PrivateKeyDer<'_>) -> Result<PrivateKey, String> {
    usable_of(der, &[])
}

/// As [`usable`]; what the key itself lacks may stand in one of the certificates.
pub(super) fn usable_of(der: &PrivateKeyDer<'_>, certificates: &[Certificate]) -> Result<PrivateKey, String> {
    let mut theirs = certificates.iter().filter_map(|certificate| PrivateKey::of_certificate(der, certificate).ok());
    PrivateKey::from_der(der).or_else(|error| theirs.next().ok_or(error)).map_err(|error| match der {
        PrivateKeyDer::Pkcs8(der) => match PrivateKeyInfoRef::try_from(der.secret_pkcs8_der()) {
            Ok(info) => format!("a private key of a kind that is not used here: {}", algorithm(&info)),
            Err(why) => format!("it is no private key in PKCS #8: {why}"),
        },
        _ => error.to_string(),
    })
}

/// Adds a private key that is encrypted (RFC 8018, PBES2).
pub(super) fn encrypted_key(read: &mut Read, der: &[u8], passphrase: Option<&Secret>) -> Result<(), String> {
    let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|error| {
        read.locked = true;
        format!(
            "the private key is encrypted in a way that is not read here: {error}; write it anew with `openssl pkey`"
        )
    })?;
    let Some(passphrase) = passphrase else {
        read.locked = true;
        return Err("the private key is encrypted; give a file with its passphrase".to_owned());
    };
    affordable(&info.encryption_algorithm)?;
    let plain = info.decrypt(passphrase.expose()).map_err(|_| {
        read.locked = true;
        "the passphrase does not open the private key".to_owned()
    })?;
    read.keys.push(usable(&PrivateKeyDer::Pkcs8(plain.as_bytes().into()))?);
    Ok(())
}

fn affordable(scheme: &EncryptionScheme) -> Result<(), String> {
    let rounds = |count: u32| count <= MAX_ROUNDS;
    let holds = match scheme {
        EncryptionScheme::Pbes2(parameters) => match &parameters.kdf {
            Kdf::Pbkdf2(pbkdf2) => rounds(pbkdf2.iteration_count),
            Kdf::Scrypt(scrypt) => {
                let memory = scrypt.cost_parameter.checked_mul(128 * u64::from(scrypt.block_size));
                scrypt.parallelization <= MAX_PARALLEL && memory.is_some_and(|memory| memory <= MAX_MEMORY_BYTES)
            }
            _ => true,
        },
        _ => true,
    };
    if holds {
        Ok(())
    } else {
        Err("to open the private key would take more time or memory than it is given".to_owned())
    }
}

/// A key's algorithm in words.
fn algorithm(info: &PrivateKeyInfoRef<'_>) -> String {
    let curve = info.algorithm.parameters_oid().map(|oid| oid.to_string()).unwrap_or_default();
    let oid = info.algorithm.oid.to_string();
    match (oid.as_str(), curve.as_str()) {
        ("1.2.840.113549.1.1.1", _) => {
            let bits = tlv::first(info.private_key.as_bytes())
                .and_then(|(key, _)| tlv::all(key.content).nth(1))
                .map_or(0, |modulus| modulus.content.iter().skip_while(|byte| **byte == 0).count() * 8);
            format!("RSA {bits} (2048 to 4096 bits, with a usual exponent, are used)")
        }
        ("1.2.840.113549.1.1.10", _) => "RSA-PSS".to_owned(),
        ("1.2.840.10040.4.1", _) => "DSA".to_owned(),
        ("1.3.101.110", _) => "X25519".to_owned(),
        ("1.3.101.111", _) => "X448".to_owned(),
        ("1.3.101.113", _) => "Ed448".to_owned(),
        ("1.2.840.10045.2.1", "1.3.132.0.35") => "EC P-521".to_owned(),
        ("1.2.840.10045.2.1", "1.3.132.0.10") => "EC secp256k1".to_owned(),
        ("1.2.840.10045.2.1", "1.2.840.10045.3.1.7" | "1.3.132.0.34") => "EC, without its public half".to_owned(),
        ("1.2.840.10045.2.1", curve) => format!("EC on the curve {curve}"),
        (oid, _) => oid.to_owned(),
    }
}
