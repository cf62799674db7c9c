//! JSON Web Tokens in their compact form (RFC 7515 and 7519), signed by ring.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use clap::ValueEnum;
use maint_core::failure::Failure;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair, UnparsedPublicKey};
use ring::{hmac, rand};
use serde_json::Value;

/// How tokens are signed (RFC 7518, 3.1, and RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Algorithm {
    /// A shared secret, SHA-256
    #[value(name = "HS256")]
    Hs256,
    /// RSA of 2048 bits, PKCS #1 v1.5, SHA-256
    #[value(name = "RS256")]
    Rs256,
    /// The curve P-256, SHA-256
    #[value(name = "ES256")]
    Es256,
    /// The curve Ed25519
    #[value(name = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 4] = [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

    /// Its name in a token's header.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has not three parts, or one of them cannot be read.
    #[error("it is no token")]
    Form,
    /// It says that it was signed in another way.
    #[error("it names another algorithm")]
    Algorithm,
    /// The signature is not of this key and these claims.
    #[error("its signature does not fit")]
    Signature,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
}

enum Key {
    Hmac(hmac::Key),
    Rsa(Box<RsaKeyPair>),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key, and what every token of it begins with.
pub struct Signer {
    algorithm: Algorithm,
    key: Key,
    header: String,
    random: SystemRandom,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.algorithm.as_str())
    }
}

impl Signer {
    /// A new key.
    ///
    /// # Errors
    /// The system gives no randomness, or openssl, which makes RSA keys, is not there.
    pub fn new(algorithm: Algorithm) -> Result<Self, Failure> {
        let random = SystemRandom::new();
        let wrong = |what: &str| Failure::critical(format!("a key for {} cannot be made: {what}", algorithm.as_str()));
        let unlucky = |_| wrong("the system gives no randomness");
        let refused = |error: ring::error::KeyRejected| wrong(&error.to_string());
        let key = match algorithm {
            Algorithm::Hs256 => {
                let secret: [u8; 32] = rand::generate(&random).map_err(unlucky)?.expose();
                Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, &secret))
            }
            Algorithm::Rs256 => {
                let pkcs8 = rsa().map_err(|why| wrong(&why))?;
                Key::Rsa(Box::new(RsaKeyPair::from_pkcs8(&pkcs8).map_err(refused)?))
            }
            Algorithm::Es256 => {
                let kind = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).map_err(unlucky)?;
                Key::Ecdsa(EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random).map_err(refused)?)
            }
            Algorithm::EdDsa => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).map_err(unlucky)?;
                Key::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(refused)?)
            }
        };
        let header = BASE64.encode(format!("{{\"alg\":\"{}\",\"typ\":\"JWT\"}}", algorithm.as_str()));
        Ok(Signer { algorithm, key, header, random })
    }

    /// Makes a token of claims.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn sign(&self, claims: &Value) -> Result<String, Failure> {
        let claims = serde_json::to_vec(claims).map_err(|error| Failure::critical(error.to_string()))?;
        let mut token = String::with_capacity(self.header.len() + claims.len() * 4 / 3 + 400);
        token.push_str(&self.header);
        token.push('.');
        BASE64.encode_string(claims, &mut token);
        let failed = |_| Failure::critical(format!("{} does not sign", self.algorithm.as_str()));
        let message = token.as_bytes();
        let signature = match &self.key {
            Key::Hmac(key) => hmac::sign(key, message).as_ref().to_vec(),
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&signature::RSA_PKCS1_SHA256, &self.random, message, &mut signature).map_err(failed)?;
                signature
            }
            Key::Ecdsa(key) => key.sign(&self.random, message).map_err(failed)?.as_ref().to_vec(),
            Key::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        };
        token.push('.');
        BASE64.encode_string(signature, &mut token);
        Ok(token)
    }

    /// Checks a token, and gives its claims. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify(&self, token: &str, now: i64) -> Result<Value, Refused> {
        let (message, signature) = token.rsplit_once('.').ok_or(Refused::Form)?;
        let (header, claims) = message.split_once('.').ok_or(Refused::Form)?;
        let decoded = |part: &str| BASE64.decode(part).map_err(|_| Refused::Form);
        let read = |part: &str| serde_json::from_slice::<Value>(&decoded(part)?).map_err(|_| Refused::Form);
        if read(header)?.get("alg").and_then(Value::as_str) != Some(self.algorithm.as_str()) {
            return Err(Refused::Algorithm);
        }
        let (signature, message) = (decoded(signature)?, message.as_bytes());
        let fits = match &self.key {
            Key::Hmac(key) => hmac::verify(key, message, &signature),
            Key::Rsa(key) => {
                let public = UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, key.public().as_ref());
                public.verify(message, &signature)
            }
            Key::Ecdsa(key) => {
                let public = UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, key.public_key().as_ref());
                public.verify(message, &signature)
            }
            Key::Ed25519(key) => {
                UnparsedPublicKey::new(&signature::ED25519, key.public_key().as_ref()).verify(message, &signature)
            }
        };
        fits.map_err(|_| Refused::Signature)?;
        let claims = read(claims)?;
        match claims.get("exp").and_then(Value::as_i64) {
            Some(expires) if expires <= now => Err(Refused::Expired),
            _ => Ok(claims),
        }
    }
}

/// A key of 2048 bits by `openssl genpkey`, PKCS #8: ring makes none.
fn rsa() -> Result<Vec<u8>, String> {
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let output = openssl.stdin(std::process::Stdio::null()).output();
    let output = output.map_err(|error| format!("openssl: {error}; install it, or leave RS256 out (--alg)"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let key = pem::parse(&output.stdout).map_err(|_| format!("openssl made none: {}", text.trim()))?;
    Ok(key.into_contents())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_verified_and_nothing_else() {
        let claims = serde_json::json!({ "sub": "somebody", "exp": 1000 });
        for algorithm in Algorithm::ALL {
            let (signer, other) = (Signer::new(algorithm).unwrap(), Signer::new(algorithm).unwrap());
            let token = signer.sign(&claims).unwrap();
            assert_eq!(token.split('.').count(), 3);
            assert_eq!(signer.verify(&token, 999).unwrap(), claims, "{algorithm:?}");
            assert_eq!(signer.verify(&token, 1000), Err(Refused::Expired), "{algorithm:?}");
            assert_eq!(other.verify(&token, 1), Err(Refused::Signature), "{algorithm:?}");
            // Another header, other claims, a bit of the signature.
            let parts: Vec<&str> = token.split('.').collect();
            let none = BASE64.encode("{\"alg\":\"none\"}");
            assert_eq!(signer.verify(&format!("{none}.{}.", parts[1]), 1), Err(Refused::Algorithm), "{algorithm:?}");
            let greedy = BASE64.encode("{\"sub\":\"root\"}");
            let forged = format!("{}.{greedy}.{}", parts[0], parts[2]);
            assert_eq!(signer.verify(&forged, 1), Err(Refused::Signature), "{algorithm:?}");
            for nonsense in ["", "a", "a.b", "...", "a.b.c", &token[..token.len() / 2]] {
                assert!(signer.verify(nonsense, 1).is_err(), "{algorithm:?} {nonsense}");
            }
        }
    }

    /// The example of RFC 7515, A.1, has these 32 bytes and more as its key; its signature is what others compute as well.
    #[test]
    fn the_signature_is_the_one_of_the_standard() {
        let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let key = Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, &BASE64.decode(secret).unwrap()));
        let signer = Signer { algorithm: Algorithm::Hs256, key, header: String::new(), random: SystemRandom::new() };
        assert_eq!(signer.verify(token, 1_300_819_379).unwrap()["iss"], "joe");
        assert_eq!(signer.verify(token, 1_300_819_380), Err(Refused::Expired));
    }
}
