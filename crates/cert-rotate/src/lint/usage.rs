//! What a certificate's key may do: basicConstraints, keyUsage, extendedKeyUsage, nameConstraints and policies' limits (RFC 5280,
//! 4.2.1.3 and 4.2.1.9 to 4.2.1.14; RFC 8813; BR 7.1.2).

use x509_parser::extensions::KeyUsage;

use crate::certificate::PublicKeyKind;

use super::facts::Facts;
use super::{Lint, lints};

pub(super) fn lints(facts: &Facts<'_>) -> Vec<Lint> {
    let mut all = general(facts);
    all.extend(if facts.is_authority() { authority(facts) } else { subscriber(facts) });
    all
}

fn general(facts: &Facts<'_>) -> Vec<Lint> {
    let usage = facts.key_usage.map(|usage| usage.value);
    let has = |test: fn(&KeyUsage) -> bool| usage.is_some_and(test);
    let only = has(KeyUsage::encipher_only) || has(KeyUsage::decipher_only);
    let (ec, rsa) = match facts.certificate.key {
        PublicKeyKind::Ec(_) | PublicKeyKind::Ed25519 => (true, false),
        PublicKeyKind::Rsa(_) => (false, true),
        PublicKeyKind::Other(_) => (false, false),
    };
    let constraints = facts.constraints.map(|all| all.value);
    let limits = facts.policy_constraints;
    lints! {
        usage.is_some_and(|usage| usage.flags == 0) => "no-key-usage", Warning, Rfc,
            "its key may be used for nothing (RFC 5280, 4.2.1.3)";
        facts.key_usage.is_some_and(|usage| !usage.critical) => "key-usage-not-critical", Warning, Baseline,
            "its keyUsage is not critical (BR 7.1.2.7.11; RFC 5280, 4.2.1.3 only advises it)";
        ec && (has(KeyUsage::key_encipherment) || has(KeyUsage::data_encipherment))
            => "key-usage-unfit", Warning, Rfc, "its key is to encipher, which a key on a curve cannot (RFC 8813, 3)";
        rsa && has(KeyUsage::key_agreement) => "key-usage-unfit", Warning, Rfc,
            "its key is to agree on keys, which an RSA key cannot (RFC 3279, 2.3.1)";
        only && !has(KeyUsage::key_agreement) => "key-usage-undefined", Warning, Rfc,
            "encipherOnly or decipherOnly mean nothing without keyAgreement (RFC 5280, 4.2.1.3)";
        constraints.is_some_and(|all| all.permitted_subtrees.is_none() && all.excluded_subtrees.is_none())
            => "name-constraints-empty", Warning, Rfc, "its nameConstraints are empty (RFC 5280, 4.2.1.10)";
        facts.constraints.is_some_and(|all| !all.critical) => "name-constraints-not-critical", Warning, Rfc,
            "its nameConstraints are not critical (RFC 5280, 4.2.1.10)";
        limits.is_some_and(|all| !all.critical) || facts.inhibit_any == Some(false) => "policy-limits-not-critical", Warning, Rfc,
            "its policyConstraints or inhibitAnyPolicy are not critical (RFC 5280, 4.2.1.11 and 4.2.1.14)";
        limits.is_some_and(|all| all.value.require_explicit_policy.is_none() && all.value.inhibit_policy_mapping.is_none())
            => "policy-limits-empty", Warning, Rfc, "its policyConstraints are empty (RFC 5280, 4.2.1.11)";
        facts.purposes.is_some_and(|all| all.critical && all.value.any) => "any-purpose-critical", Warning, Rfc,
            "is for any purpose, and says so as critical (RFC 5280, 4.2.1.12)";
    }
}

fn authority(facts: &Facts<'_>) -> Vec<Lint> {
    let usage = facts.key_usage.map(|usage| usage.value);
    lints! {
        facts.basic.is_none_or(|basic| !basic.value.0) => "not-an-authority", Error, Rfc,
            "its basicConstraints do not say that it is an authority (RFC 5280, 4.2.1.9)";
        facts.basic.is_some_and(|basic| !basic.critical) => "basic-constraints-not-critical", Warning, Rfc,
            "is an authority, and its basicConstraints are not critical (RFC 5280, 4.2.1.9)";
        usage.is_none() => "key-usage-missing", Warning, Rfc, "is an authority without keyUsage (RFC 5280, 4.2.1.3)";
        usage.is_some_and(|usage| !usage.key_cert_sign()) => "may-not-sign", Error, Rfc,
            "is an authority that may not sign certificates (RFC 5280, 4.2.1.3 and 4.2.1.9)";
        usage.is_some_and(|usage| usage.key_cert_sign() && !usage.crl_sign()) => "may-not-sign-lists", Warning, Baseline,
            "is an authority that may not sign revocation lists (BR 7.1.2.10.7)";
        facts.is_root() && facts.basic.is_some_and(|basic| basic.value.1.is_some()) => "root-path-length", Notice, Baseline,
            "is a root with a path length (BR 7.1.2.1.4)";
        facts.is_root() && facts.purposes.is_some() => "root-purpose", Warning, Baseline,
            "is a root with an extended key usage (BR 7.1.2.1.2)";
        !facts.is_root() && facts.purposes.is_none() => "authority-purpose-missing", Warning, Baseline,
            "is an intermediate authority for any purpose (BR 7.1.2.10.6)";
    }
}

fn subscriber(facts: &Facts<'_>) -> Vec<Lint> {
    let usage = facts.key_usage.map(|usage| usage.value);
    let purposes = facts.purposes.map(|all| all.value);
    let handshakes =
        usage.is_none_or(|usage| usage.digital_signature() || usage.key_encipherment() || usage.key_agreement());
    lints! {
        facts.basic.is_some_and(|basic| basic.value.0) => "authority-as-subscriber", Error, Practice,
            "is an authority, which clients do not accept for a server or a client";
        facts.basic.is_some_and(|basic| !basic.value.0 && basic.value.1.is_some()) => "path-length-without-authority", Warning,
            Rfc, "is no authority, and yet has a path length (RFC 5280, 4.2.1.9)";
        !facts.basic.is_some_and(|basic| basic.value.0) && usage.is_some_and(|usage| usage.key_cert_sign() || usage.crl_sign())
            => "subscriber-signs", Warning, Rfc, "is no authority, and yet may sign certificates or lists (RFC 5280, 4.2.1.9)";
        usage.is_none() => "key-usage-missing", Notice, Baseline, "has no keyUsage (BR 7.1.2.7.11 advises it)";
        facts.constraints.is_some() => "constrained-subscriber", Warning, Rfc,
            "has name constraints, and is no authority (RFC 5280, 4.2.1.10)";
        purposes.is_none() => "purpose-missing", Warning, Baseline, "has no extended key usage (BR 7.1.2.7.10)";
        purposes.is_some_and(|all| all.any) => "any-purpose", Warning, Baseline, "is for any purpose (BR 7.1.2.7.10)";
        purposes.is_some_and(|all| all.code_signing || all.time_stamping || all.ocsp_signing || all.email_protection)
            => "mixed-purposes", Warning, Baseline, "is for other purposes than TLS as well (BR 7.1.2.7.10)";
        purposes.is_some_and(|all| all.server_auth || all.client_auth) && !handshakes => "purpose-without-usage", Warning, Rfc,
            "is for TLS, and its keyUsage allows no handshake (RFC 5280, 4.2.1.12)";
    }
}
