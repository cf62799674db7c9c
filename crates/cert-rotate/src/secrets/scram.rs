//! What PostgreSQL stores of a password: a SCRAM-SHA-256 verifier (RFC 5802, RFC 7677), computed here so that the password
//! itself is in no statement.
//!
//! The form is that of `pg_authid.rolpassword`: `SCRAM-SHA-256$ITERATIONS:SALT$StoredKey:ServerKey`, in base64. Passwords
//! that are not ASCII would have to be normalised first (SASLprep, RFC 4013); nothing here makes such, and they are refused.

use std::num::NonZeroU32;

use maint_core::failure::Failure;
use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use super::value::{Value, random};
use crate::read::base64;

/// As PostgreSQL itself has it, and the least that RFC 7677 allows.
pub const ITERATIONS: u32 = 4096;

const NAME: &str = "SCRAM-SHA-256";

/// A verifier of a password, with a salt of its own.
///
/// # Errors
/// The password is not ASCII, or the system gives no randomness.
pub fn verifier(password: &Value) -> Result<Value, Failure> {
    let mut salt = [0; 16];
    random(&mut salt)?;
    if !password.expose().iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        return Err(Failure::usage("a password that is not printable ASCII cannot be made into a SCRAM verifier here"));
    }
    let iterations = NonZeroU32::new(ITERATIONS).unwrap_or(NonZeroU32::MIN);
    Ok(with(password.expose(), &salt, iterations))
}

fn with(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Value {
    let Keys { stored, server } = keys(password, salt, iterations);
    let text = Zeroizing::new(format!(
        "{NAME}${iterations}:{}${}:{}",
        *base64::encode(salt),
        *base64::encode(&stored),
        *base64::encode(&server)
    ));
    Value::of(text.as_bytes())
}

struct Keys {
    stored: [u8; 32],
    server: [u8; 32],
}

/// RFC 5802, 3.
fn keys(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Keys {
    let mut salted = Zeroizing::new([0; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password, &mut *salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &*salted);
    let client = hmac::sign(&key, b"Client Key");
    let array = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).unwrap_or_default();
    Keys {
        stored: array(digest::digest(&digest::SHA256, client.as_ref()).as_ref()),
        server: array(hmac::sign(&key, b"Server Key").as_ref()),
    }
}

/// A verifier that was read.
#[derive(Debug)]
pub struct Verifier {
    /// How often the hash is applied.
    pub iterations: u32,
    salt: Vec<u8>,
}

/// Reads one; `None` when it is none.
pub fn parse(text: &[u8]) -> Option<Verifier> {
    let text = std::str::from_utf8(text).ok()?;
    let (head, keys) = text.strip_prefix(NAME)?.strip_prefix('$')?.split_once('$')?;
    let (iterations, salt) = head.split_once(':')?;
    let (stored, server) = keys.split_once(':')?;
    let decoded = |text: &str| base64::decode(&[text.as_bytes()]).ok().map(|bytes| bytes.to_vec());
    let whole = decoded(stored)?.len() == 32 && decoded(server)?.len() == 32;
    let iterations = iterations.parse().ok().filter(|count| (1..=10_000_000).contains(count))?;
    whole.then(|| decoded(salt).map(|salt| Verifier { iterations, salt }))?
}

/// Whether a verifier is one of this password.
pub fn is_of(verifier: &[u8], password: &Value) -> bool {
    parse(verifier).is_some_and(|parsed| {
        let iterations = NonZeroU32::new(parsed.iterations).unwrap_or(NonZeroU32::MIN);
        with(password.expose(), &parsed.salt, iterations).expose() == verifier
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange in RFC 7677, 3.
    #[test]
    fn the_standard_s_example_holds() {
        let salt = base64::decode(&[b"W22ZaJ0SNY7soEsUEjb6gQ=="]).unwrap();
        let Keys { stored, server } = keys(b"pencil", &salt, NonZeroU32::new(4096).unwrap());
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let sign = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
        assert_eq!(*base64::encode(sign(&server).as_ref()), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        // The client's proof is its key, hidden by a signature; the stored key is the hash of that key.
        let proof = base64::decode(&[b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="]).unwrap();
        let client: Vec<u8> = proof.iter().zip(sign(&stored).as_ref()).map(|(one, two)| one ^ two).collect();
        assert_eq!(digest::digest(&digest::SHA256, &client).as_ref(), stored);
    }

    #[test]
    fn a_verifier_is_of_its_password_only() {
        let password = Value::of(b"one");
        let (first, second) = (verifier(&password).unwrap(), verifier(&password).unwrap());
        assert!(first != second, "each has a salt of its own");
        assert!(is_of(first.expose(), &password) && is_of(second.expose(), &password));
        assert!(!is_of(first.expose(), &Value::of(b"two")));
        assert_eq!(parse(first.expose()).unwrap().iterations, 4096);
        for bad in ["", "md5abc", "SCRAM-SHA-256$0:YQ==$YQ==:YQ==", "SCRAM-SHA-256$4096:YQ==$YQ=="] {
            assert!(parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(verifier(&Value::of("pässword".as_bytes())).is_err());
    }
}
