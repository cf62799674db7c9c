//! The keys of authorities, encrypted where they lie.
//!
//! PKCS #8 with PBES2 (RFC 8018): the key to AES-256 comes out of the passphrase by scrypt. `openssl pkey` opens them too,
//! for the day on which this program is not at hand.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use maint_core::failure::Failure;
use maint_core::secret::{Secret, from_env, from_file};
use pkcs8::LineEnding;
use pkcs8::PrivateKeyInfoRef;
use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::pkcs5::scrypt;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::key::PrivateKey;
use crate::read;

/// 16 MiB, five times: as costly as the 128 MiB once that OWASP advises, and within the 32 MiB that OpenSSL gives scrypt.
const SCRYPT: (u8, u32, u32) = (14, 8, 5);

/// Where the passphrase of the authority that signs comes from when no flag names a file.
const PASSPHRASE: &str = "CA_PASSPHRASE";

/// The passphrase of an authority that signs, if there is one: from the file that a flag names, or from the environment.
///
/// # Errors
/// The file cannot be read, or others can read it.
pub fn passphrase(file: Option<&Path>) -> Result<Option<Secret>, Failure> {
    let read = match file {
        Some(file) => from_file(file).map(Some),
        None => from_env(PASSPHRASE),
    };
    read.map_err(|error| Failure::usage(error.to_string()))
}

/// `size` bytes that nobody can guess.
///
/// # Errors
/// The system has none to give.
pub fn random<const SIZE: usize>() -> Result<[u8; SIZE], Failure> {
    let mut bytes = [0; SIZE];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Failure::critical("the system gives no random numbers"))?;
    Ok(bytes)
}

/// A key as it is written to a file: PEM, encrypted if there is a passphrase.
///
/// # Errors
/// It cannot be encrypted.
pub fn close(key: &PrivateKey, passphrase: Option<&Secret>) -> Result<Zeroizing<String>, Failure> {
    let Some(passphrase) = passphrase else { return Ok(key.to_pem()) };
    let failed = |error: &dyn std::fmt::Display| Failure::critical(format!("cannot encrypt the key: {error}"));
    let (log_n, r, p) = SCRYPT;
    let cost = scrypt::Params::new(log_n, r, p).map_err(|error| failed(&error))?;
    let parameters = Parameters::generate_scrypt_aes256cbc(cost, &random::<16>()?, random()?);
    let parameters = parameters.map_err(|error| failed(&error))?;
    let der = key.to_der();
    let info = PrivateKeyInfoRef::try_from(der.secret_der()).map_err(|error| failed(&error))?;
    let closed = info.encrypt_with_params(parameters, passphrase.expose()).map_err(|error| failed(&error))?;
    closed.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).map_err(|error| failed(&error))
}

/// Reads a key that [`close`] wrote.
///
/// # Errors
/// Others can read the file, there is no key in it, or the passphrase is missing or another one.
pub fn open(path: &Path, passphrase: Option<&Secret>) -> Result<PrivateKey, Failure> {
    let shown = path.display();
    let cannot = |why: &dyn std::fmt::Display| Failure::usage(format!("cannot use the key {shown}: {why}"));
    let mode = std::fs::metadata(path).map_err(|error| cannot(&error))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(cannot(&format!("others can read it (mode {mode:04o})")).hint(format!("run: chmod 0600 {shown}")));
    }
    let mut read = read::file(path, passphrase).map_err(|error| cannot(&error))?;
    match read.keys.pop() {
        Some(key) => Ok(key),
        None if passphrase.is_none() && read.locked => Err(cannot(&"it is encrypted")
            .hint("name the file with its passphrase by a flag (see --help), or set CA_PASSPHRASE_FILE")),
        None => {
            let why = read.problems.first().cloned().unwrap_or_else(|| "there is no key in it".to_owned());
            Err(cannot(&why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyType;

    #[test]
    fn a_closed_key_is_opened_by_its_passphrase_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let secret = Secret::from("correct horse".to_owned());
        for kind in [KeyType::P256, KeyType::P384, KeyType::Ed25519] {
            let key = PrivateKey::generate(kind).unwrap();
            let text = close(&key, Some(&secret)).unwrap();
            assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
            maint_core::durable::replace(&path, text.as_bytes(), 0o600).unwrap();
            assert_eq!(open(&path, Some(&secret)).unwrap().public(), key.public());
            let wrong = open(&path, Some(&Secret::from("battery staple".to_owned()))).unwrap_err();
            assert!(wrong.message.contains("passphrase") && !wrong.message.contains("staple"), "{wrong}");
            assert!(open(&path, None).unwrap_err().hint.unwrap().contains("CA_PASSPHRASE_FILE"));
        }
    }

    #[test]
    fn the_same_key_is_never_closed_the_same_way_twice() {
        let (key, secret) = (PrivateKey::generate(KeyType::P256).unwrap(), Secret::from("x".to_owned()));
        assert_ne!(*close(&key, Some(&secret)).unwrap(), *close(&key, Some(&secret)).unwrap());
    }

    #[test]
    fn a_key_that_others_can_read_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let text = close(&PrivateKey::generate(KeyType::P256).unwrap(), None).unwrap();
        maint_core::durable::replace(&path, text.as_bytes(), 0o640).unwrap();
        assert!(open(&path, None).unwrap_err().message.contains("0640"));
    }
}
