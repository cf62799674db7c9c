//! Public keys as verifiers of tokens read them: JWK and JWKS (RFC 7517, RFC 8037).
//!
//! A key's `kid` is its thumbprint (RFC 7638), so that it follows from the key and two programs never disagree about it.

use ring::digest;
use serde_json::{Map, Value as Json, json};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::key::PrivateKey;
use crate::read::base64;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwk {
    /// Its thumbprint.
    pub kid: String,
    /// All of it.
    pub json: Json,
}

/// A set of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// It is not JSON, or has no `keys`.
    #[error("it is no JWKS: {0}")]
    NotASet(String),
}

/// The public half of a key.
///
/// # Errors
/// It is of a kind that tokens are not signed with here.
pub fn of(key: &PrivateKey) -> Result<Jwk, String> {
    let der = key.public();
    let (_, info) = SubjectPublicKeyInfo::from_der(&der).map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| base64::encode_url(bytes).to_string();
    let (algorithm, members) = match info.parsed().map_err(|error| error.to_string())? {
        // RFC 7518, 6.3.1: no leading zeros.
        PublicKey::RSA(rsa) => {
            let bare = |bytes: &[u8]| {
                text(bytes.get(bytes.iter().take_while(|byte| **byte == 0).count()..).unwrap_or_default())
            };
            ("RS256", json!({"e": bare(rsa.exponent), "kty": "RSA", "n": bare(rsa.modulus)}))
        }
        // SEC 1, 2.3.3: 4, x, y.
        PublicKey::EC(point) => match point.data().split_first() {
            Some((4, both)) if both.len() == 64 => {
                let (x, y) = both.split_at(32);
                ("ES256", json!({"crv": "P-256", "kty": "EC", "x": text(x), "y": text(y)}))
            }
            _ => return Err("it is an elliptic curve key that is not on P-256".to_owned()),
        },
        PublicKey::Unknown(bytes) if bytes.len() == 32 => {
            ("EdDSA", json!({"crv": "Ed25519", "kty": "OKP", "x": text(bytes)}))
        }
        _ => return Err("it is of a kind that tokens are not signed with here".to_owned()),
    };
    // RFC 7638, 3: these members and no others, sorted by name, without white space. That is how they are written above and
    // by serde_json.
    let kid = text(digest::digest(&digest::SHA256, members.to_string().as_bytes()).as_ref());
    let mut json = members;
    for (name, value) in [("kid", kid.as_str()), ("alg", algorithm), ("use", "sig")] {
        if let Some(members) = json.as_object_mut() {
            members.insert(name.to_owned(), value.into());
        }
    }
    Ok(Jwk { kid, json })
}

/// The keys of a set, as they are.
///
/// # Errors
/// It is none.
pub fn keys(text: &[u8]) -> Result<Vec<Json>, JwksError> {
    let set: Map<String, Json> = serde_json::from_slice(text).map_err(|error| JwksError::NotASet(error.to_string()))?;
    match set.get("keys") {
        Some(Json::Array(keys)) => Ok(keys.clone()),
        _ => Err(JwksError::NotASet("it has no list `keys`".to_owned())),
    }
}

/// Whether a set has this very key.
pub fn has(keys: &[Json], jwk: &Jwk) -> bool {
    keys.iter().any(|key| {
        jwk.json.as_object().is_some_and(|ours| {
            ["kid", "kty", "crv", "x", "y", "n", "e"].iter().all(|name| key.get(name) == ours.get(*name))
        })
    })
}

/// The keys with one more, and without those of some `kid`s. Keys of others stay.
pub fn changed(keys: &[Json], add: &[&Jwk], drop: &[&str]) -> Vec<Json> {
    let is = |key: &Json, kid: &str| key.get("kid").and_then(Json::as_str) == Some(kid);
    let gone = |key: &&Json| {
        drop.iter().any(|kid| is(key, kid))
            || add.iter().any(|jwk| is(key, &jwk.kid) && !has(std::slice::from_ref(key), jwk))
    };
    let mut all: Vec<Json> = keys.iter().filter(|key| !gone(key)).cloned().collect();
    for jwk in add {
        if !has(&all, jwk) {
            all.push(jwk.json.clone());
        }
    }
    all
}

/// A set as it is written.
pub fn render(keys: &[Json]) -> String {
    format!("{:#}\n", json!({ "keys": keys }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyType;

    fn key(kind: KeyType) -> PrivateKey {
        PrivateKey::generate(kind).unwrap()
    }

    /// The examples of RFC 8037, A.3 (Ed25519), and of RFC 7638, 3.1 (RSA, whose public half is all there is of it).
    #[test]
    fn the_thumbprint_is_that_of_the_standard() {
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
            -----END PRIVATE KEY-----\n";
        let jwk = of(&PrivateKey::from_pem(pem.as_bytes()).unwrap()).unwrap();
        assert_eq!(jwk.json["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(jwk.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn every_kind_has_its_algorithm_and_no_private_half() {
        for (kind, algorithm, members) in [
            (KeyType::Ed25519, "EdDSA", "alg crv kid kty use x"),
            (KeyType::P256, "ES256", "alg crv kid kty use x y"),
            (KeyType::Rsa2048, "RS256", "alg e kid kty n use"),
        ] {
            let jwk = of(&key(kind)).unwrap();
            assert_eq!(jwk.json["alg"], algorithm);
            let mut names: Vec<_> = jwk.json.as_object().unwrap().keys().map(String::as_str).collect();
            names.sort_unstable();
            assert_eq!(names.join(" "), members);
        }
        assert_eq!(of(&key(KeyType::Rsa2048)).unwrap().json["e"], "AQAB");
        assert!(of(&key(KeyType::P384)).is_err());
    }

    #[test]
    fn keys_of_others_stay_and_ours_are_there_once() {
        let (one, two) = (of(&key(KeyType::P256)).unwrap(), of(&key(KeyType::Ed25519)).unwrap());
        let other = json!({"kid": "other", "kty": "oct"});
        let set = changed(std::slice::from_ref(&other), &[&one, &two], &[]);
        assert_eq!(changed(&set, &[&one], &[]), set);
        assert_eq!(changed(&set, &[], &[&one.kid]), vec![other.clone(), two.json.clone()]);
        assert_eq!(keys(render(&set).as_bytes()).unwrap(), set);
        let forged = json!({"kid": one.kid, "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
        assert!(!has(std::slice::from_ref(&forged), &one));
        assert_eq!(changed(&[forged], &[&one], &[]), vec![one.json.clone()]);
        for bad in ["", "[]", "{}", "{\"keys\": 1}"] {
            assert!(keys(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
