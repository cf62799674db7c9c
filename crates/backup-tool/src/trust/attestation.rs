//! Signed statements that a backup was restored and found whole.
//!
//! A statement is signed with Ed25519 (RFC 8032); the key is made from the repository's master key, so whoever can open the
//! repository can also check which statements were made with it, and the public key in the statement lets others check it
//! who cannot. What is signed is the statement's JSON with sorted keys and no white space, every number in it a whole one:
//! within those bounds that is the canonical form of RFC 8785.

use jiff::Timestamp;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::lsn::Lsn;
use crate::store::keys::{Keys, Purpose};
use crate::store::{Store, StoreError};

/// Where attestations are, among the notes.
pub const PREFIX: &str = "attest";

/// One check that was made in the restored cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Which.
    pub name: String,
    /// Its status, as in records.
    pub status: String,
    /// What was seen.
    pub message: String,
}

/// What is stated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Layout of this document: 1.
    pub version: u32,
    /// When the test ended.
    pub at: Timestamp,
    /// The host that it ran on.
    pub host: String,
    /// The run's identity in the journal.
    pub run: String,
    /// Label of the backup.
    pub backup: String,
    /// Id of its snapshot.
    pub snapshot: String,
    /// The cluster's identity, in decimal.
    pub system_identifier: String,
    /// The moment that was asked for; `None` for the end of the archive.
    pub target: Option<String>,
    /// The position that was reached.
    pub reached: Option<Lsn>,
    /// Whether every check passed.
    pub passed: bool,
    /// The checks.
    pub checks: Vec<Made>,
    /// How long restoring and replaying took, in milliseconds.
    pub recovery_milliseconds: u64,
    /// Size of the restored cluster's files in bytes.
    pub bytes: u64,
}

/// A statement with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// What is stated.
    pub statement: Statement,
    /// The public key, in hexadecimal.
    pub public_key: String,
    /// The signature over the statement's canonical JSON, in hexadecimal.
    pub signature: String,
}

/// Why an attestation does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttestationError {
    /// It was signed with another repository's key.
    #[error("it was not signed with this repository's key")]
    ForeignKey,
    /// The statement is not what was signed.
    #[error("its signature does not fit what it states")]
    BadSignature,
    /// The key or the statement cannot be used.
    #[error("it cannot be signed or checked: {0}")]
    Unusable(String),
}

/// Text of the bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.len().is_multiple_of(2).then(|| text.as_bytes().chunks(2).map(pair).collect()).flatten()
}

fn canonical(statement: &Statement) -> Result<Vec<u8>, AttestationError> {
    // A value's maps are sorted by key, and it is written without white space.
    let unusable = |error: serde_json::Error| AttestationError::Unusable(error.to_string());
    let value = serde_json::to_value(statement).map_err(unusable)?;
    serde_json::to_vec(&value).map_err(unusable)
}

fn pair(keys: &Keys) -> Result<Ed25519KeyPair, AttestationError> {
    Ed25519KeyPair::from_seed_unchecked(keys.derive(Purpose::Attestation).as_ref())
        .map_err(|_| AttestationError::Unusable("there is no key".into()))
}

impl Attestation {
    /// Signs a statement.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn sign(statement: Statement, keys: &Keys) -> Result<Self, AttestationError> {
        let pair = pair(keys)?;
        let signature = hex(pair.sign(&canonical(&statement)?).as_ref());
        Ok(Attestation { statement, public_key: hex(pair.public_key().as_ref()), signature })
    }

    /// Checks that it was signed with this repository's key, and as it stands.
    ///
    /// # Errors
    /// It was not.
    pub fn check(&self, keys: &Keys) -> Result<(), AttestationError> {
        let ours = pair(keys)?;
        if unhex(&self.public_key).as_deref() != Some(ours.public_key().as_ref()) {
            return Err(AttestationError::ForeignKey);
        }
        let signature = unhex(&self.signature).ok_or(AttestationError::BadSignature)?;
        UnparsedPublicKey::new(&ED25519, ours.public_key().as_ref())
            .verify(&canonical(&self.statement)?, &signature)
            .map_err(|_| AttestationError::BadSignature)
    }
}

/// Keeps an attestation, and returns its name among the notes.
///
/// # Errors
/// It cannot be written.
pub fn keep(store: &Store, attestation: &Attestation) -> Result<String, StoreError> {
    let key = format!("{PREFIX}/{}", Ulid::generate());
    store.put_note(&key, attestation)?;
    Ok(key)
}

/// What is known of test restores.
#[derive(Debug, Clone, Default)]
pub struct Attested {
    /// The newest attestation that holds, whatever it states.
    pub last: Option<Statement>,
    /// The newest that holds and states that all was well.
    pub last_passed: Option<Statement>,
    /// Attestations that do not open or do not hold, with the reason.
    pub bad: Vec<(String, String)>,
}

/// Reads attestations, newest first, until one is found that passed.
///
/// # Errors
/// They cannot be listed.
pub fn read(store: &Store) -> Result<Attested, StoreError> {
    let mut found = Attested::default();
    for key in store.notes(PREFIX)?.into_iter().rev() {
        let attestation = match store.note::<Attestation>(&key) {
            Ok(attestation) => attestation,
            Err(error) => {
                found.bad.push((key, error.to_string()));
                continue;
            }
        };
        if let Err(error) = attestation.check(store.keys()) {
            found.bad.push((key, error.to_string()));
            continue;
        }
        let statement = attestation.statement;
        if found.last.is_none() {
            found.last = Some(statement.clone());
        }
        if statement.passed {
            found.last_passed = Some(statement);
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        Statement {
            version: 1,
            at: Timestamp::UNIX_EPOCH,
            host: "db1".into(),
            run: "01".into(),
            backup: "20260101-000000F".into(),
            snapshot: "ab".into(),
            system_identifier: "7000000000000000001".into(),
            target: None,
            reached: Some(Lsn(0x0300_0000)),
            passed: true,
            checks: vec![Made { name: "amcheck".into(), status: "ok".into(), message: "12 indexes".into() }],
            recovery_milliseconds: 1234,
            bytes: 5,
        }
    }

    #[test]
    fn what_was_signed_holds_and_also_after_it_was_read_back() {
        let keys = Keys::from_master(&[7; 64]);
        let attestation = Attestation::sign(statement(), &keys).unwrap();
        assert_eq!(attestation.check(&keys), Ok(()));
        let text = serde_json::to_string_pretty(&attestation).unwrap();
        assert_eq!(serde_json::from_str::<Attestation>(&text).unwrap().check(&keys), Ok(()));
    }

    #[test]
    fn a_changed_statement_or_signature_does_not_hold() {
        let keys = Keys::from_master(&[7; 64]);
        let attestation = Attestation::sign(Statement { passed: false, ..statement() }, &keys).unwrap();
        let mut changed = attestation.clone();
        changed.statement.passed = true;
        assert_eq!(changed.check(&keys), Err(AttestationError::BadSignature));
        let mut changed = attestation.clone();
        changed.signature.replace_range(0..2, if attestation.signature.starts_with("00") { "01" } else { "00" });
        assert_eq!(changed.check(&keys), Err(AttestationError::BadSignature));
        for signature in ["", "0", "zz", "é"] {
            let changed = Attestation { signature: signature.into(), ..attestation.clone() };
            assert_eq!(changed.check(&keys), Err(AttestationError::BadSignature), "{signature}");
        }
    }

    #[test]
    fn another_repository_s_attestation_does_not_hold() {
        let attestation = Attestation::sign(statement(), &Keys::from_master(&[1; 64])).unwrap();
        assert_eq!(attestation.check(&Keys::from_master(&[2; 64])), Err(AttestationError::ForeignKey));
    }

    #[test]
    fn the_signed_form_is_one_line_with_sorted_keys() {
        let text = String::from_utf8(canonical(&statement()).unwrap()).unwrap();
        assert!(text.starts_with("{\"at\":\"1970-01-01T00:00:00Z\",\"backup\":"), "{text}");
        assert!(!text.contains([' ', '\n']) || text.contains("12 indexes"), "{text}");
    }
}
