//! Keys for what lies beside the restic repositories, each made from the master key for one purpose (HKDF-SHA256,
//! RFC 5869), so that one password opens everything and no key is used for two things.

use ring::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Sealing archived WAL (AES-256-GCM).
    WalSeal,
    /// Naming the content of archived WAL (HMAC-SHA256), so that equal files are recognised without opening them.
    WalContent,
    /// Sealing notes (AES-256-GCM).
    Notes,
    /// Signing attestations (Ed25519 seed).
    Attestation,
}

impl Purpose {
    fn info(self) -> &'static [u8] {
        match self {
            Purpose::WalSeal => b"maint backup-tool wal seal 1",
            Purpose::WalContent => b"maint backup-tool wal content 1",
            Purpose::Notes => b"maint backup-tool notes 1",
            Purpose::Attestation => b"maint backup-tool attestation 1",
        }
    }
}

/// The master secret that keys are made from.
#[derive(Clone)]
pub struct Keys(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    /// Keys from the master key's bytes.
    pub fn from_master(master: &[u8]) -> Self {
        Keys(Zeroizing::new(master.to_vec()))
    }

    /// The key for a purpose: 32 bytes.
    pub fn derive(&self, purpose: Purpose) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        let pseudorandom = Salt::new(HKDF_SHA256, b"maint backup-tool").extract(&self.0);
        // Neither call can fail for an output of one hash length (RFC 5869 allows 255 of them).
        if let Ok(material) = pseudorandom.expand(&[purpose.info()], HKDF_SHA256) {
            let _ = material.fill(key.as_mut());
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_and_every_master_has_a_key_of_its_own() {
        let purposes = [Purpose::WalSeal, Purpose::WalContent, Purpose::Notes, Purpose::Attestation];
        let mut all: Vec<[u8; 32]> = Vec::new();
        for master in [[1; 32], [2; 32]] {
            all.extend(purposes.map(|purpose| *Keys::from_master(&master).derive(purpose)));
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(!all.contains(&[0; 32]));
    }
}
