//! Secrets in memory: made, compared, wiped, and never shown.

use std::fmt;

use maint_core::failure::Failure;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::spec::{Class, Recipe};
use crate::key::{KeyType, PrivateKey};
use crate::read::base64;

/// A secret as the destinations have it, without the end of line of a text file.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Zeroizing<Vec<u8>>);

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Value {
    /// From bytes, which are copied.
    pub fn of(bytes: &[u8]) -> Self {
        Value(Zeroizing::new(bytes.to_vec()))
    }

    /// The bytes, to hand them to what needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// As a password; none if it is no text.
    pub fn password(&self) -> Option<maint_core::secret::Secret> {
        std::str::from_utf8(&self.0).ok().map(|text| text.to_owned().into())
    }

    /// The private key of a value of kind jwt-*.
    ///
    /// # Errors
    /// It is none; the message has nothing of it.
    pub fn key(&self) -> Result<PrivateKey, String> {
        PrivateKey::from_pem(&self.0).map_err(|error| error.to_string())
    }
}

/// Fills with randomness of the system.
///
/// # Errors
/// It has none.
pub fn random(bytes: &mut [u8]) -> Result<(), Failure> {
    SystemRandom::new().fill(bytes).map_err(|_| Failure::critical("the system gives no randomness"))
}

/// Makes a secret.
///
/// # Errors
/// The system gives no randomness, or a key cannot be made.
pub fn make(recipe: &Recipe) -> Result<Value, Failure> {
    let bytes = |length: usize| {
        let mut bytes = Zeroizing::new(vec![0; length]);
        random(&mut bytes).map(|()| bytes)
    };
    Ok(match recipe {
        Recipe::Random(length) => Value(bytes(*length)?),
        Recipe::Hex(length) => Value::of(hex(&bytes(*length)?).as_bytes()),
        Recipe::Base64(length) => Value::of(base64::encode(&bytes(*length)?).as_bytes()),
        Recipe::Password { length, classes } => password(*length, classes)?,
        Recipe::Uuid => {
            let mut bytes = bytes(16)?;
            // RFC 9562, 5.4: version 4, variant 10.
            if let Some(byte) = bytes.get_mut(6) {
                *byte = *byte & 0x0f | 0x40;
            }
            if let Some(byte) = bytes.get_mut(8) {
                *byte = *byte & 0x3f | 0x80;
            }
            let digits = hex(&bytes);
            let mut text = Zeroizing::new(String::with_capacity(36));
            for (at, digit) in digits.chars().enumerate() {
                if matches!(at, 8 | 12 | 16 | 20) {
                    text.push('-');
                }
                text.push(digit);
            }
            Value::of(text.as_bytes())
        }
        Recipe::Jwt(kind) => Value::of(PrivateKey::generate(*kind)?.to_pem().trim_end().as_bytes()),
    })
}

/// Lower case.
pub fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from(if half < 10 { b'0' + half } else { b'a' + half - 10 }));
        }
    }
    text
}

/// Every password of this length that has a character of each class is as likely as any other: whole ones are drawn until
/// one fits. (Replacing characters of one that does not fit would favour some.)
fn password(length: usize, classes: &[Class]) -> Result<Value, Failure> {
    let alphabet: Vec<u8> = classes.iter().flat_map(|class| class.characters().bytes()).collect();
    loop {
        let mut text = Zeroizing::new(Vec::with_capacity(length));
        while text.len() < length {
            text.push(draw(&alphabet)?);
        }
        if classes.iter().all(|class| text.iter().any(|byte| class.characters().as_bytes().contains(byte))) {
            return Ok(Value(text));
        }
    }
}

/// One of a few, each as likely: a byte beyond the largest multiple of their number is drawn again.
fn draw(alphabet: &[u8]) -> Result<u8, Failure> {
    let count = alphabet.len().clamp(1, 255) as u8;
    let limit = u8::MAX - u8::MAX % count;
    loop {
        let mut byte = [0];
        random(&mut byte)?;
        let [byte] = byte;
        if byte < limit
            && let Some(one) = alphabet.get(usize::from(byte % count))
        {
            return Ok(*one);
        }
    }
}

/// Why a value that is there is not as the recipe would make it; `None` when it is.
pub fn malformed(recipe: &Recipe, value: &Value) -> Option<String> {
    let bytes = value.expose();
    let text = || std::str::from_utf8(bytes).unwrap_or_default();
    match recipe {
        Recipe::Random(length) => shorter(bytes.len(), *length, "bytes"),
        Recipe::Hex(length) => {
            if bytes.len() % 2 == 1 || !bytes.iter().all(u8::is_ascii_hexdigit) {
                return Some("it is not hexadecimal".to_owned());
            }
            shorter(bytes.len() / 2, *length, "bytes")
        }
        Recipe::Base64(length) => match base64::decode(&[bytes]) {
            Ok(decoded) => shorter(decoded.len(), *length, "bytes"),
            Err(_) => Some("it is not base64".to_owned()),
        },
        Recipe::Password { length, classes } => {
            let missing = classes.iter().find(|class| !text().contains(|c| class.characters().contains(c)));
            match missing {
                // What counts as a symbol is for whoever made it to say.
                Some(Class::Symbol) if text().contains(|c: char| c.is_ascii_punctuation()) => {}
                Some(class) => return Some(format!("it has no character of class {class:?}").to_lowercase()),
                None => {}
            }
            shorter(text().chars().count(), *length, "characters")
        }
        Recipe::Uuid => {
            let groups: Vec<usize> = text().split('-').map(str::len).collect();
            let digits = text().chars().all(|c| c == '-' || c.is_ascii_hexdigit());
            (groups != [8, 4, 4, 4, 12] || !digits).then(|| "it is not a UUID".to_owned())
        }
        Recipe::Jwt(kind) => match value.key() {
            Ok(key) if is_of(&key, *kind) => None,
            Ok(_) => Some("it is a private key of another kind".to_owned()),
            Err(error) => Some(error),
        },
    }
}

fn shorter(is: usize, wanted: usize, what: &str) -> Option<String> {
    (is < wanted).then(|| format!("it has {is} {what}, where {wanted} are asked for"))
}

fn is_of(key: &PrivateKey, kind: KeyType) -> bool {
    let algorithm = key.pair().algorithm();
    match kind {
        KeyType::Ed25519 => algorithm == &rcgen::PKCS_ED25519,
        KeyType::P256 => algorithm == &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyType::P384 => algorithm == &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => algorithm == &rcgen::PKCS_RSA_SHA256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &Value) -> &str {
        std::str::from_utf8(value.expose()).unwrap()
    }

    fn all() -> Vec<Recipe> {
        let classes = vec![Class::Lower, Class::Upper, Class::Digit, Class::Symbol];
        vec![
            Recipe::Random(32),
            Recipe::Hex(16),
            Recipe::Base64(33),
            Recipe::Password { length: 12, classes },
            Recipe::Uuid,
            Recipe::Jwt(KeyType::Ed25519),
            Recipe::Jwt(KeyType::P256),
            Recipe::Jwt(KeyType::Rsa2048),
        ]
    }

    #[test]
    fn what_is_made_is_well_formed_and_never_the_same_twice() {
        for recipe in all() {
            let (one, two) = (make(&recipe).unwrap(), make(&recipe).unwrap());
            assert_eq!(malformed(&recipe, &one), None, "{recipe:?}");
            assert!(one != two, "{recipe:?}");
            assert_eq!(format!("{one:?}"), "[redacted]");
        }
        assert_eq!(make(&Recipe::Random(20)).unwrap().expose().len(), 20);
        assert_eq!(text(&make(&Recipe::Hex(20)).unwrap()).len(), 40);
        let uuid = make(&Recipe::Uuid).unwrap();
        assert_eq!(text(&uuid).as_bytes()[14], b'4');
        assert!(b"89ab".contains(&text(&uuid).as_bytes()[19]));
    }

    #[test]
    fn every_class_is_in_every_password_and_every_character_comes() {
        let classes = [Class::Lower, Class::Symbol];
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..400 {
            let value = password(16, &classes).unwrap();
            assert!(classes.iter().all(|class| text(&value).contains(|c| class.characters().contains(c))));
            seen.extend(text(&value).chars());
        }
        // 6,400 draws of 32 characters: that one is missing has a chance of less than 1e-80.
        assert_eq!(seen.len(), 32);
    }

    #[test]
    fn what_somebody_else_put_there_is_measured() {
        let odd = |recipe: &Recipe, text: &str| malformed(recipe, &Value::of(text.as_bytes())).unwrap();
        assert!(odd(&Recipe::Hex(16), "xyz").contains("hexadecimal"));
        assert!(odd(&Recipe::Hex(16), "abcd").contains("2 bytes, where 16"));
        assert!(odd(&Recipe::Base64(16), "a*b").contains("base64"));
        assert!(odd(&Recipe::Uuid, "12345678-1234").contains("UUID"));
        let password = |classes| Recipe::Password { length: 8, classes };
        assert!(odd(&password(vec![Class::Digit]), "abcdefgh").contains("class digit"));
        assert!(odd(&password(vec![Class::Lower]), "abc").contains("3 characters"));
        assert_eq!(malformed(&password(vec![Class::Symbol]), &Value::of(b"abcdef$%")), None);
        let p256 = make(&Recipe::Jwt(KeyType::P256)).unwrap();
        assert!(malformed(&Recipe::Jwt(KeyType::Ed25519), &p256).unwrap().contains("another kind"));
        assert!(odd(&Recipe::Jwt(KeyType::P256), "hello").contains("no private key"));
    }
}
