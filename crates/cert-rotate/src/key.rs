//! Private keys.
//!
//! A key is held as PKCS #8 and wiped when it is dropped. It is shown by its public half only.

mod wrap;

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
            KeyType::Ed25519 => return ed25519(),
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
        let unusable = |why: &str| KeyError::NotAKey(why.to_owned());
        let pkcs8 = match der {
            PrivateKeyDer::Pkcs8(key) => Zeroizing::new(key.secret_pkcs8_der().to_vec()),
            PrivateKeyDer::Pkcs1(key) => wrap::pkcs1(key.secret_pkcs1_der()),
            PrivateKeyDer::Sec1(key) => {
                wrap::sec1(key.secret_sec1_der()).ok_or_else(|| unusable("it does not say on which curve it is"))?
            }
            _ => return Err(unusable("it is of a form that is not known")),
        };
        let pair = rcgen::KeyPair::try_from(&PrivatePkcs8KeyDer::from(&**pkcs8))
            .map_err(|error| KeyError::NotAKey(error.to_string()))?;
        Ok(PrivateKey { pkcs8, pair })
    }

    /// Reads the key in PKCS #8 that belongs to that certificate, also when its public half stands in the certificate only, as
    /// in the keystores of Java.
    ///
    /// # Errors
    /// It is of a kind that nothing here can use.
    pub fn of_certificate(der: &PrivateKeyDer<'_>, certificate: &Certificate) -> Result<Self, KeyError> {
        let plain = PrivateKey::from_der(der);
        let PrivateKeyDer::Pkcs8(pkcs8) = der else { return plain };
        plain.or_else(|error| match wrap::with_public(pkcs8.secret_pkcs8_der(), certificate.public_key()) {
            Some(whole) => PrivateKey::from_der(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(&**whole))),
            None => Err(error),
        })
    }

    /// The key as PEM (`BEGIN PRIVATE KEY`).
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

/// As PKCS #8 of version 1, without the public half: OpenSSL 3.0, and with it most servers, cannot read the version 2
/// (RFC 5958) that ring makes.
fn ed25519() -> Result<PrivateKey, KeyError> {
    use ring::rand::SecureRandom as _;
    // RFC 8410, 7: all but the key is the same in every one.
    let mut der = Zeroizing::new(
        *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20................................",
    );
    let (_, seed) = der.split_at_mut(16);
    let no_randomness = |_| KeyError::Make("the system gives no randomness".to_owned());
    ring::rand::SystemRandom::new().fill(seed).map_err(no_randomness)?;
    PrivateKey::from_der(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.as_slice())))
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
    fn openssl_can_read_every_kind() {
        for kind in [KeyType::P256, KeyType::P384, KeyType::Ed25519] {
            let key = PrivateKey::generate(kind).unwrap();
            let mut openssl = std::process::Command::new("openssl");
            openssl.args(["pkey", "-pubout", "-outform", "DER"]).stdin(std::process::Stdio::piped());
            let mut child = openssl.stdout(std::process::Stdio::piped()).spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), key.to_pem().as_bytes()).unwrap();
            assert_eq!(child.wait_with_output().unwrap().stdout, key.public(), "{kind:?}");
        }
    }

    #[test]
    fn the_older_forms_are_the_same_key() {
        // Of PKCS #8, the third value is the older form.
        let older = |key: &PrivateKey| {
            let (whole, _) = crate::tlv::first(&key.pkcs8).unwrap();
            crate::tlv::all(whole.content).nth(2).unwrap().content.to_vec()
        };
        let rsa = PrivateKey::generate(KeyType::Rsa2048).unwrap();
        let again = PrivateKey::from_der(&PrivateKeyDer::Pkcs1(older(&rsa).into())).unwrap();
        assert_eq!(rsa.public(), again.public());
        // As `openssl ecparam -genkey` writes one; the curve is in it.
        let text = b"-----BEGIN EC PRIVATE KEY-----\n\
            MHcCAQEEILsloIzShgEfpC0HIISqOvgwrVGhHXSn7NRt6ekXLJtJoAoGCCqGSM49\n\
            AwEHoUQDQgAE/UpbNAhjgHd39LHX+ZX9b7eAeri/jg1oANt+ciIvqUbkGY/ooSbE\n\
            oGbNEG39ce8tZkK76stzFpYjzWx/DrEl+Q==\n-----END EC PRIVATE KEY-----\n";
        assert!(PrivateKey::from_pem(text).is_ok());
        let p256 = PrivateKey::generate(KeyType::P256).unwrap();
        let nowhere = PrivateKeyDer::Sec1(older(&p256).into());
        assert!(PrivateKey::from_der(&nowhere).unwrap_err().to_string().contains("curve"));
    }

    #[test]
    fn a_key_without_its_public_half_is_completed_by_its_certificate() {
        // As Java writes one, on the curve P-256; the openssl that made it was asked for `-no_public`.
        let half = "-----BEGIN PRIVATE KEY-----\n\
            MEECAQAwEwYHKoZIzj0CAQYIKoZIzj0DAQcEJzAlAgEBBCDQaA5rgLvbo+rFjNjz\n\
            +bmwzPgJOuXwk2eHHbMjBD+Dhw==\n\
            -----END PRIVATE KEY-----\n";
        let der = PrivateKeyDer::from_pem_slice(half.as_bytes()).unwrap();
        let text = b"-----BEGIN CERTIFICATE-----\n\
            MIIBfzCCASWgAwIBAgIUE+yFZlyZOAWngSdYs/03RECji8EwCgYIKoZIzj0EAwIw\n\
            FDESMBAGA1UEAwwJaGFsZi50ZXN0MCAXDTI2MTEyMzE5NTQ0NloYDzIxMjYxMDMw\n\
            MTk1NDQ2WjAUMRIwEAYDVQQDDAloYWxmLnRlc3QwWTATBgcqhkjOPQIBBggqhkjO\n\
            PQMBBwNCAAS2i+WPksJn3YyMx2yCSsJ2pxw4LxokUbSItXRmCPR+nCH1+Gc3tYBx\n\
            893vD0Ed/wVBrN1hDilZW1guFq1OHbNto1MwUTAdBgNVHQ4EFgQUOzJfRl6XD5NZ\n\
            7SpNtIw+ioVqugQwHwYDVR0jBBgwFoAUOzJfRl6XD5NZ7SpNtIw+ioVqugQwDwYD\n\
            VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiAE/ort/bypPTH9ScdTQBrn\n\
            1/5YuhzLZVEBoCOdLd0s3QIhAOIsZ76UTJ6GwZzwIr/Jv8XrPpr0D3cnrdH22kcG\n\
            rl+W\n\
            -----END CERTIFICATE-----\n";
        let of = Certificate::all_from_pem(text).unwrap();
        assert!(PrivateKey::from_der(&der).is_err());
        let key = PrivateKey::of_certificate(&der, &of[0]).unwrap();
        assert!(key.is_of(&of[0]));
        let other = rcgen::generate_simple_self_signed(["other.test".to_owned()]).unwrap();
        assert!(PrivateKey::of_certificate(&der, &Certificate::from_der(other.cert.der()).unwrap()).is_err());
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
