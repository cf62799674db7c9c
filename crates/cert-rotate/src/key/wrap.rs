//! The older forms of private keys, as PKCS #8: the same bytes with a header that says what they are.

use zeroize::Zeroizing;

use crate::tlv::{self, BIT_STRING, INTEGER, OCTET_STRING, OID, SEQUENCE};

/// AlgorithmIdentifier of RSA, with its NULL (RFC 8017, A.1).
const RSA: &[u8] = &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// The object identifier of elliptic curve keys (RFC 5480, 2.1.1).
const EC: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// Tag of the parameters in an ECPrivateKey.
const PARAMETERS: u8 = 0xa0;
/// Tag of the public key in an ECPrivateKey.
const PUBLIC_KEY: u8 = 0xa1;

/// Of a key in PKCS #1 (`BEGIN RSA PRIVATE KEY`).
pub(super) fn pkcs1(der: &[u8]) -> Zeroizing<Vec<u8>> {
    info(RSA, der)
}

/// Of a key in SEC 1 (`BEGIN EC PRIVATE KEY`, RFC 5915); `None` when it does not say on which curve it is.
pub(super) fn sec1(der: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (key, _) = tlv::first(der)?;
    let parameters = tlv::all(key.content).find(|value| value.tag == PARAMETERS)?;
    let (curve, _) = tlv::first(parameters.content).filter(|(curve, _)| curve.tag == OID)?;
    let algorithm = [&tlv::header(SEQUENCE, EC.len() + curve.whole.len()), EC, curve.whole].concat();
    Some(info(&algorithm, der))
}

/// Of a key on an elliptic curve in PKCS #8 without its public half, with that of a DER `SubjectPublicKeyInfo` put in. Java
/// writes such keys, and what uses them here wants both halves (and checks that they belong together).
pub(super) fn with_public(pkcs8: &[u8], public: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (whole, _) = tlv::first(pkcs8)?;
    let mut values = tlv::all(whole.content).skip(1);
    let (algorithm, octets) = (values.next()?, values.next().filter(|octets| octets.tag == OCTET_STRING)?);
    if !algorithm.content.starts_with(EC) {
        return None;
    }
    let (key, _) = tlv::first(octets.content).filter(|(key, _)| key.tag == SEQUENCE)?;
    if tlv::all(key.content).any(|value| value.tag == PUBLIC_KEY) {
        return None;
    }
    let (public, _) = tlv::first(public)?;
    let point = tlv::all(public.content).find(|value| value.tag == BIT_STRING)?;
    let tagged = tlv::header(PUBLIC_KEY, point.whole.len());
    let length = key.content.len() + tagged.len() + point.whole.len();
    let start = tlv::header(SEQUENCE, length);
    let mut sec1 = Zeroizing::new(Vec::with_capacity(start.len() + length));
    for part in [&start, key.content, &tagged, point.whole] {
        sec1.extend_from_slice(part);
    }
    Some(info(algorithm.whole, &sec1))
}

/// PrivateKeyInfo of version 0 (RFC 5208, 5).
fn info(algorithm: &[u8], key: &[u8]) -> Zeroizing<Vec<u8>> {
    let version = [INTEGER, 1, 0];
    let octets = tlv::header(OCTET_STRING, key.len());
    let length = version.len() + algorithm.len() + octets.len() + key.len();
    let start = tlv::header(SEQUENCE, length);
    let mut whole = Zeroizing::new(Vec::with_capacity(start.len() + length));
    for part in [&start, &version[..], algorithm, &octets, key] {
        whole.extend_from_slice(part);
    }
    whole
}
