//! Private keys.
//!
//! A key is held as PKCS #8 and wiped when it is dropped. It is shown by its public half only.

use std::fmt;

use maint_core::failure::Failure;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::certificate::Certificate;

/// Kinds of keys that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// ECDSA on P-256.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519 (RFC 8410): for internal use, public authorities do not sign it.
    Ed25519,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
}

/// A private key could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a private key that we can read.
    #[error("it holds no private key that can be read: {0}")]
    NotAKey(String),
    /// It is encrypted and no passphrase fits.
    #[error("the private key is encrypted: {0}")]
    Encrypted(String),
    /// No key of this kind can be made here.
    #[error("cannot make a key: {0}")]
    Make(String),
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Failure::critical(error.to_string())
    }
}

/// A private key, as PKCS #8.
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: rcgen::KeyPair,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

impl PrivateKey {
    /// Makes a new key. RSA keys come from the program `openssl`, because no library here can make them.
    ///
    /// # Errors
    /// The system has no randomness, or `openssl` is missing.
    pub fn generate(kind: KeyType) -> Result<Self, KeyError> {
        let algorithm = match kind {
            KeyType::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyType::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyType::Ed25519 => &rcgen::PKCS_ED25519,
            KeyType::Rsa2048 => return rsa(2048),
            KeyType::Rsa3072 => return rsa(3072),
            KeyType::Rsa4096 => return rsa(4096),
        };
        let pair = rcgen::KeyPair::generate_for(algorithm).map_err(|error| KeyError::Make(error.to_string()))?;
        let pkcs8 = Zeroizing::new(pair.serialize_der());
        Ok(PrivateKey { pkcs8, pair })
    }

    /// Reads the first private key of a PEM text: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    ///
    /// # Errors
    /// There is none, it is encrypted, or of a kind that nothing here can use.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let contains = |needle: &[u8]| pem.windows(needle.len()).any(|window| window == needle);
        if contains(b"BEGIN ENCRYPTED PRIVATE KEY") || contains(b"Proc-Type: 4,ENCRYPTED") {
            return Err(KeyError::Encrypted("give its passphrase".to_owned()));
        }
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| KeyError::NotAKey(error.to_string()))?;
        PrivateKey::from_der(&der)
    }

    /// Reads a key.
    ///
    /// # Errors
    /// It is of a kind that nothing here can use.
    pub fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, KeyError> {
        let pair = rcgen::KeyPair::try_from(der).map_err(|error| KeyError::NotAKey(error.to_string()))?;
        let pkcs8 = Zeroizing::new(pair.serialize_der());
        Ok(PrivateKey { pkcs8, pair })
    }

    /// The key as PEM (`BEGIN PRIVATE KEY`, or as it was read for a key that was not PKCS #8).
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.pair.serialize_pem())
    }

    /// The key for rustls.
    pub fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.to_vec()))
    }

    /// The key for signing certificates and requests.
    pub fn pair(&self) -> &rcgen::KeyPair {
        &self.pair
    }

    /// The public half, as a DER `SubjectPublicKeyInfo`.
    pub fn public(&self) -> Vec<u8> {
        use rcgen::PublicKeyData as _;
        self.pair.subject_public_key_info()
    }

    /// Whether this is the key of that certificate.
    pub fn is_of(&self, certificate: &Certificate) -> bool {
        self.public() == certificate.public_key()
    }
}

/// By `openssl genpkey`, which writes the key to a pipe: it is on no command line and in no file.
fn rsa(bits: u32) -> Result<PrivateKey, KeyError> {
    let missing =
        |error: std::io::Error| KeyError::Make(format!("openssl: {error}; install it, or ask for a key of type p256"));
    let output = std::process::Command::new("openssl")
        .args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")])
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(missing)?;
    let pem = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(KeyError::Make(format!("openssl: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    PrivateKey::from_pem(&pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_that_is_made_can_be_written_and_read_again() {
        for kind in [KeyType::P256, KeyType::P384, KeyType::Ed25519, KeyType::Rsa2048] {
            let key = PrivateKey::generate(kind).unwrap();
            let again = PrivateKey::from_pem(key.to_pem().as_bytes()).unwrap();
            assert_eq!(key.public(), again.public(), "{kind:?}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", PrivateKey::generate(KeyType::P256).unwrap()), "PrivateKey(..)");
    }

    #[test]
    fn what_is_no_key_is_told_from_one_that_is_encrypted() {
        assert!(matches!(PrivateKey::from_pem(b"hello"), Err(KeyError::NotAKey(_))));
        let text = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(matches!(PrivateKey::from_pem(text), Err(KeyError::Encrypted(_))));
    }
}
