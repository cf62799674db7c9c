//! Signatures, with the algorithms that rustls' validator has from ring: RSA of 2048 bits and more with SHA-2, ECDSA on
//! P-256 and P-384, Ed25519. SHA-1, MD5 and DSA are no signatures here, nor is an algorithm with parameters of its own.

use rustls::pki_types::SignatureVerificationAlgorithm;
use webpki::ring;

static ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 14] = [
    ring::ECDSA_P256_SHA256,
    ring::ECDSA_P256_SHA384,
    ring::ECDSA_P384_SHA256,
    ring::ECDSA_P384_SHA384,
    ring::ED25519,
    ring::RSA_PKCS1_2048_8192_SHA256,
    ring::RSA_PKCS1_2048_8192_SHA384,
    ring::RSA_PKCS1_2048_8192_SHA512,
    ring::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
    ring::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
    ring::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// What is signed, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    /// What the signature is over.
    pub(super) message: &'a [u8],
    /// The inside of the AlgorithmIdentifier.
    pub(super) algorithm: &'a [u8],
    /// The signature.
    pub(super) signature: &'a [u8],
}

/// A public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<'a> {
    /// The inside of the AlgorithmIdentifier.
    pub(super) algorithm: &'a [u8],
    /// The key.
    pub(super) key: &'a [u8],
}

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsigned {
    /// No algorithm that we have fits the key and the signature.
    Unknown,
    /// It is not a signature by that key.
    Wrong,
}

/// Whether `key` signed it.
pub(super) fn verify(signed: Signed<'_>, key: Key<'_>) -> Result<(), Unsigned> {
    let mut error = Unsigned::Unknown;
    for algorithm in ALGORITHMS {
        if algorithm.signature_alg_id().as_ref() != signed.algorithm
            || algorithm.public_key_alg_id().as_ref() != key.algorithm
        {
            continue;
        }
        if algorithm.verify_signature(key.key, signed.message, signed.signature).is_ok() {
            return Ok(());
        }
        error = Unsigned::Wrong;
    }
    Err(error)
}
