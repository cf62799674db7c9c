//! Keys and signatures that are too weak, or of kinds that clients of the web do not know (BR 6.1.5, 6.1.6, 7.1.3).

use x509_parser::public_key::PublicKey;

use super::facts::Facts;
use super::{Lint, lints};
use crate::certificate::PublicKeyKind;

/// Signature algorithms with a hash for which collisions can be made, with the hash's name.
const BROKEN: [(&str, &str); 8] = [
    ("1.2.840.113549.1.1.2", "MD2"),
    ("1.2.840.113549.1.1.3", "MD4"),
    ("1.2.840.113549.1.1.4", "MD5"),
    ("1.2.840.113549.1.1.5", "SHA-1"),
    ("1.3.14.3.2.29", "SHA-1"),
    ("1.2.840.10045.4.1", "SHA-1"),
    ("1.2.840.10040.4.3", "SHA-1"),
    ("1.3.14.3.2.15", "SHA"),
];

pub(super) fn lints(facts: &Facts<'_>) -> Vec<Lint> {
    let key = &facts.certificate.key;
    let algorithm = facts.parsed.signature_algorithm.algorithm.to_id_string();
    let broken = BROKEN.iter().find(|(oid, _)| *oid == algorithm).map_or("", |(_, hash)| hash);
    let weak = match key {
        PublicKeyKind::Rsa(bits) => *bits < 2048,
        PublicKeyKind::Ec(bits) => *bits < 256,
        PublicKeyKind::Ed25519 | PublicKeyKind::Other(_) => false,
    };
    let exponent = exponent(facts);
    lints! {
        weak => "weak-key", Error, Practice, format!("its key, {key}, is too weak: clients ask for RSA 2048 or P-256 (BR 6.1.5)");
        // Whoever trusts a root trusts its key; nobody looks at the signature.
        !broken.is_empty() && !facts.is_root() => "weak-signature", Error, Practice,
            format!("is signed with {broken}, for which forgeries can be made (BR 7.1.3.2)");
        matches!(key, PublicKeyKind::Rsa(bits) if bits % 8 != 0) => "modulus-size", Warning, Baseline,
            format!("its key, {key}, is not of whole octets (BR 6.1.5)");
        exponent.is_some_and(|exponent| exponent < 3 || exponent % 2 == 0) => "broken-exponent", Error, Practice,
            "its key's public exponent is even or less than 3 (BR 6.1.6)";
        exponent.is_some_and(|exponent| exponent % 2 == 1 && (3..65_537).contains(&exponent)) => "small-exponent", Warning,
            Practice, format!("its key's public exponent is {}, less than 65537 (BR 6.1.6)", exponent.unwrap_or_default());
        matches!(key, PublicKeyKind::Ed25519 | PublicKeyKind::Other(_)) => "kind-of-key", Warning, Baseline,
            format!("its key, {key}, is neither RSA nor on one of NIST's curves (BR 6.1.5)");
    }
}

fn exponent(facts: &Facts<'_>) -> Option<u64> {
    match facts.parsed.public_key().parsed() {
        // One that has more than 64 bits is large enough.
        Ok(PublicKey::RSA(key)) => key.try_exponent().ok(),
        _ => None,
    }
}
