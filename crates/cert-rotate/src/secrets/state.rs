//! What is remembered between runs: when a secret was made, and a rotation that is under way.
//!
//! ```text
//! STATE/secrets/fingerprint.key          a key of this host, for fingerprints
//! STATE/secrets/SPEC/NAME/note.json      when the secret was made, and its fingerprint
//! STATE/secrets/SPEC/NAME/rotation.json  there while a rotation is under way
//! STATE/secrets/SPEC/NAME/{new,old,...}  its secrets, for as long as it is
//! ```
//!
//! SPEC is made of the specification's path. All of it is for this user alone.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::{durable, state_dir};
use ring::{digest, hmac};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::spec::{Recipe, Spec};
use super::value::{Value, hex, random};
use super::{jwk, place};

const ROTATION: &str = "rotation.json";

/// Files that are there during a rotation only.
const SECRETS: [&str; 3] = ["new", "old", "old-verifier"];

/// When a secret was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    pub made: Timestamp,
    /// Of what was made: another one is somebody else's.
    pub fingerprint: String,
}

/// The state of one secret.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// Of a secret. Nothing is made yet.
    pub fn of(state: &Path, spec: &Spec, name: &str) -> Self {
        let hash = digest::digest(&digest::SHA256, spec.path.as_os_str().as_encoded_bytes());
        let short = hex(hash.as_ref().get(..8).unwrap_or_default());
        Store { directory: state.join("secrets").join(short.as_str()).join(name) }
    }

    /// What is known of the secret that is in use.
    pub fn note(&self) -> Option<Note> {
        self.read_json("note.json").ok().flatten()
    }

    /// Remembers that a secret was made.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_note(&self, note: &Note) -> Result<(), Failure> {
        self.put_json("note.json", note)
    }

    /// The rotation that is under way.
    ///
    /// # Errors
    /// It cannot be read: what it says decides what is safe, so nothing may be done without it.
    pub fn rotation<T: DeserializeOwned>(&self) -> Result<Option<T>, Failure> {
        self.read_json(ROTATION)
    }

    /// Whether one is under way.
    pub fn is_rotating(&self) -> bool {
        self.directory.join(ROTATION).exists()
    }

    /// Remembers how far the rotation has come.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_rotation<T: Serialize>(&self, rotation: &T) -> Result<(), Failure> {
        self.put_json(ROTATION, rotation)
    }

    /// Ends the rotation. From the moment its file is gone it is over; the secrets go after it, and what a run that is
    /// killed here leaves, the next one removes.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn end(&self) -> Result<(), Failure> {
        self.forget(ROTATION)?;
        self.sweep()
    }

    /// Removes what a run that was killed left here.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn sweep(&self) -> Result<(), Failure> {
        for name in SECRETS {
            if !self.is_rotating() {
                self.forget(name)?;
            }
            place::sweep(&self.directory.join(name))?;
        }
        Ok(())
    }

    /// Keeps a secret for the time of a rotation.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, name: &str, value: &Value) -> Result<(), Failure> {
        self.put(name, value.expose())
    }

    /// A secret of the rotation that is under way.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub fn kept(&self, name: &str) -> Result<Value, Failure> {
        let path = self.directory.join(name);
        std::fs::read(&path)
            .map(|bytes| Value::of(&Zeroizing::new(bytes)))
            .map_err(|error| Failure::critical(format!("cannot read {}: {error}", path.display())))
    }

    /// Removes a secret of the rotation.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget(&self, name: &str) -> Result<(), Failure> {
        let path = self.directory.join(name);
        match durable::remove(&path) {
            Err(error) if error.source.kind() != ErrorKind::NotFound => Err(Failure::critical(error.to_string())),
            _ => Ok(()),
        }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        state_dir::ensure(&self.directory).map_err(|error| Failure::critical(error.to_string()))?;
        let path = self.directory.join(name);
        durable::replace(&path, bytes, 0o600).map_err(|error| Failure::critical(error.to_string()))
    }

    fn put_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(value)
            .map_err(|error| Failure::critical(format!("cannot encode {name}: {error}")))?;
        self.put(name, &text)
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Failure> {
        let path = self.directory.join(name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::critical(format!("cannot read {}: {error}", path.display()))),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Failure::critical(format!("{} cannot be understood: {error}", path.display())))
    }
}

/// Makes what stands for a secret in records.
///
/// Of a key for tokens it is the public key's thumbprint (RFC 7638). Of anything else it is an HMAC-SHA-256 with a random
/// key that never leaves the state directory: a plain hash would let whoever reads the records try passwords against it.
#[derive(Debug)]
pub struct Fingerprints {
    key: hmac::Key,
    lasting: bool,
}

impl Fingerprints {
    /// With this host's key; `make` it if it is not there. Without it fingerprints hold for this run only, and are not
    /// shown.
    ///
    /// # Errors
    /// The key cannot be read or made.
    pub fn open(state: &Path, make: bool) -> Result<Self, Failure> {
        let directory = state.join("secrets");
        let path = directory.join("fingerprint.key");
        let mut bytes = Zeroizing::new([0_u8; 32]);
        let lasting = match std::fs::read(&path).map(Zeroizing::new) {
            Ok(read) => {
                let damaged =
                    || Failure::critical(format!("{} is no key of 32 bytes", path.display())).hint("remove it");
                *bytes = <[u8; 32]>::try_from(read.as_slice()).map_err(|_| damaged())?;
                true
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                random(&mut *bytes)?;
                if make {
                    state_dir::ensure(&directory).map_err(|error| Failure::critical(error.to_string()))?;
                    durable::replace(&path, &*bytes, 0o600).map_err(|error| Failure::critical(error.to_string()))?;
                }
                make
            }
            Err(error) => return Err(Failure::critical(format!("cannot read {}: {error}", path.display()))),
        };
        Ok(Fingerprints { key: hmac::Key::new(hmac::HMAC_SHA256, &*bytes), lasting })
    }

    /// Of a secret, to compare within this run and with notes.
    pub fn of(&self, recipe: &Recipe, value: &Value) -> String {
        let public = matches!(recipe, Recipe::Jwt(_)).then(|| value.key().and_then(|key| jwk::of(&key)));
        if let Some(Ok(jwk)) = public {
            format!("kid:{}", jwk.kid)
        } else {
            let tag = hmac::sign(&self.key, value.expose());
            format!("hmac:{}", *hex(tag.as_ref().get(..12).unwrap_or_default()))
        }
    }

    /// Of a secret, to be shown; none where it would mean nothing tomorrow.
    pub fn shown(&self, recipe: &Recipe, value: &Value) -> Option<String> {
        let fingerprint = self.of(recipe, value);
        (self.lasting || fingerprint.starts_with("kid:")).then_some(fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_same_tomorrow_and_another_on_another_host() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let value = Value::of(b"hunter2");
        let of = |dir: &tempfile::TempDir| Fingerprints::open(dir.path(), true).unwrap().of(&Recipe::Uuid, &value);
        assert_eq!(of(&here), of(&here));
        assert!(of(&here) != of(&there));
        let passing = Fingerprints::open(tempfile::tempdir().unwrap().path(), false).unwrap();
        assert_eq!(passing.shown(&Recipe::Uuid, &value), None);
    }

    #[test]
    fn what_is_under_way_is_forgotten_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store { directory: dir.path().join("x") };
        assert_eq!(store.rotation::<u8>().unwrap(), None);
        store.keep("new", &Value::of(b"n")).unwrap();
        store.set_rotation(&7_u8).unwrap();
        assert_eq!(store.rotation::<u8>().unwrap(), Some(7));
        assert!(store.rotation::<Note>().is_err(), "what cannot be understood is not taken for nothing");
        assert!(store.kept("new").unwrap() == Value::of(b"n") && store.kept("old").is_err());
        store.end().unwrap();
        store.end().unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("x")).unwrap().count(), 0);
    }
}
