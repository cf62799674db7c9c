//! What the standards want of a certificate's form, and path validation does not look at: the MUSTs of RFC 5280, 4 and of
//! the Baseline Requirements of the CA/Browser Forum (BR), section 7.1, for the certificates of a path.
//!
//! Nobody's private authority need care for all of them, so they are apart from [`judge`](super::judge).

use std::net::IpAddr;

use super::Problem;
use super::der::{Malformed, Parsed};
use super::extension::{Extensions, KEY_CERT_SIGN};
use super::facts::Facts;
use super::name::GeneralName;
use crate::certificate::{Certificate, PublicKeyKind};

/// Object identifier of anyExtendedKeyUsage.
const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

/// Object identifier of id-kp-serverAuth.
const SERVER: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
/// Object identifier of id-kp-clientAuth.
const CLIENT: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
/// What those of PKIX begin with.
const PKIX_PURPOSES: [u8; 7] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03];
/// What signs precertificates (RFC 6962, 3.1).
const PRECERTIFICATE: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x04];

/// The longest serial number, in octets (RFC 5280, 4.1.2.2).
const SERIAL: usize = 20;

/// Everything about the form of a path's certificates, the leaf first, that is not as it must be.
pub fn complaints(path: &[Certificate]) -> Vec<Problem> {
    let mut all = Vec::new();
    for (depth, certificate) in path.iter().enumerate() {
        let told = match Facts::read(certificate) {
            Ok(facts) => {
                let mut told = general(&facts);
                told.extend(if facts.is_ca() { authority(&facts) } else { subscriber(&facts) });
                told
            }
            Err(Malformed(why)) => vec![("malformed", why)],
        };
        let title = certificate.title();
        all.extend(told.into_iter().map(|(code, what)| Problem::new(code, format!("{title}: {what}"), depth)));
    }
    all
}

type Told = (&'static str, String);

/// Collects what is said when a condition holds.
macro_rules! told {
    ($($when:expr => $code:literal, $what:expr;)*) => {{
        let mut all: Vec<Told> = Vec::new();
        $(if $when { all.push(($code, $what.to_string())); })*
        all
    }};
}

fn general(facts: &Facts<'_>) -> Vec<Told> {
    let Extensions { basic, key_usage, authority_key, wrong_criticality, .. } = &facts.extensions;
    let signs = key_usage.map(|usage| usage & KEY_CERT_SIGN != 0);
    let ca = facts.is_ca();
    told! {
        facts.version != 3 => "version", format!("is of version {} instead of 3 (RFC 5280, 4.1.2.1)", facts.version);
        !is_serial(facts.serial) => "serial-number", "its serial number is not positive or too long (RFC 5280, 4.1.2.2)";
        facts.issuer.is_empty() => "empty-issuer", "its issuer has no name (RFC 5280, 4.1.2.4)";
        ca && signs == Some(false) => "inconsistent-authority",
            "is an authority that may not sign certificates (RFC 5280, 4.2.1.3)";
        !ca && signs == Some(true) => "inconsistent-authority",
            "is no authority, and yet may sign certificates (RFC 5280, 4.2.1.9)";
        !ca && basic.is_some_and(|basic| basic.path_length.is_some()) => "inconsistent-authority",
            "is no authority, and yet has a path length (RFC 5280, 4.2.1.9)";
        !wrong_criticality.is_empty() => "criticality",
            format!("{} must not be marked as it is (RFC 5280, 4.2)", wrong_criticality.join(", "));
        !facts.is_self_issued() && authority_key.and_then(|key| key.id).is_none() => "no-authority-key-identifier",
            "does not identify its issuer's key (RFC 5280, 4.2.1.1)";
        is_weak(facts) => "weak-key", format!("its key, {}, is too weak (BR 6.1.5)", facts.certificate.key);
    }
}

fn authority(facts: &Facts<'_>) -> Vec<Told> {
    let extensions = &facts.extensions;
    let is_root = facts.is_self_issued();
    let key = extensions.authority_key.unwrap_or_default();
    told! {
        facts.subject.is_empty() => "empty-subject", "is an authority without a name (RFC 5280, 4.1.2.6)";
        extensions.basic.is_some_and(|basic| !basic.critical) => "criticality",
            "its basicConstraints are not critical (RFC 5280, 4.2.1.9)";
        extensions.constraints.as_ref().is_some_and(|constraints| !constraints.critical) => "criticality",
            "its nameConstraints are not critical (RFC 5280, 4.2.1.10)";
        extensions.subject_key.is_none() => "no-subject-key-identifier",
            "does not identify its key (RFC 5280, 4.2.1.2)";
        is_root && extensions.authority_key.is_some() && key.id.is_none() => "authority-key-identifier",
            "is a root whose authorityKeyIdentifier has no key (BR 7.1.2.1.3)";
        is_root && key.id.is_some() && key.id != extensions.subject_key => "authority-key-identifier",
            "is a root whose authorityKeyIdentifier is not its own (BR 7.1.2.1.3)";
        is_root && key.names_certificate => "authority-key-identifier",
            "is a root whose authorityKeyIdentifier names a certificate (BR 7.1.2.1.3)";
        is_root && extensions.purposes.is_some() => "root-purpose",
            "is a root with an extended key usage (BR 7.1.2.1.2)";
    }
}

fn subscriber(facts: &Facts<'_>) -> Vec<Told> {
    let extensions = &facts.extensions;
    let purposes = extensions.purposes.as_deref().unwrap_or_default();
    let is_foreign = |purpose: &&[u8]| ![SERVER, CLIENT, ANY_PURPOSE].contains(purpose);
    // Of other purposes beside that of a server, the Requirements name those of PKIX and that of precertificates.
    let is_named = |purpose: &&[u8]| purpose.starts_with(&PKIX_PURPOSES) || *purpose == PRECERTIFICATE;
    let mixed = purposes.contains(&SERVER) && purposes.iter().any(|one| is_foreign(one) && is_named(one));
    let critical = extensions.names.as_ref().map(|(_, critical)| *critical);
    let public = extensions.san().iter().find_map(|name| match name {
        GeneralName::Dns(name) => is_public_wildcard(name).then_some(*name),
        _ => None,
    });
    let strange = facts.subject.common.iter().find(|common| is_strange(common, extensions.san()));
    told! {
        extensions.constraints.is_some() => "constrained-leaf",
            "has name constraints and is no authority (RFC 5280, 4.2.1.10)";
        extensions.names.is_none() => "no-names", "has no subjectAltName (BR 7.1.2.7.12)";
        facts.subject.is_empty() && critical == Some(false) => "criticality",
            "has no subject, and its subjectAltName is not critical (RFC 5280, 4.2.1.6)";
        !facts.subject.is_empty() && critical == Some(true) => "criticality",
            "has a subject, and its subjectAltName is critical (BR 7.1.2.7.12)";
        purposes.contains(&ANY_PURPOSE) => "any-purpose", "is for any purpose (BR 7.1.2.7.10)";
        mixed => "mixed-purposes", "is for servers and for something else (BR 7.1.2.7.10)";
        purposes.contains(&SERVER) && extensions.purposes_are_critical => "criticality",
            "its extended key usage is critical (BR 7.1.2.7.6)";
        extensions.key_usage == Some(0) => "no-key-usage", "its key may be used for nothing (RFC 5280, 4.2.1.3)";
        public.is_some() => "public-wildcard",
            format!("{} is for everybody's names (BR 3.2.2.6)", public.unwrap_or_default());
        strange.is_some() => "common-name",
            format!("its commonName {} is none of its names (BR 7.1.4.3)", strange.map_or("", String::as_str));
    }
}

/// Positive, at most twenty octets.
fn is_serial(serial: &[u8]) -> bool {
    let positive = serial.first().is_some_and(|first| first & 0x80 == 0) && serial.iter().any(|&byte| byte != 0);
    positive && serial.len() <= SERIAL
}

fn is_weak(facts: &Facts<'_>) -> bool {
    match facts.certificate.key {
        PublicKeyKind::Rsa(bits) => bits < 2048,
        PublicKeyKind::Ec(bits) => bits < 256,
        PublicKeyKind::Ed25519 => false,
        PublicKeyKind::Other(_) => true,
    }
}

/// A wildcard for a public suffix: `*.com`, `*.co.uk`.
fn is_public_wildcard(name: &str) -> bool {
    let Some(base) = name.strip_prefix("*.") else { return false };
    psl::suffix(base.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == base.as_bytes())
}

/// A common name that looks like a host or an address and is not, letter by letter, one of the names.
fn is_strange(common: &str, names: &[GeneralName<'_>]) -> bool {
    let of_host = names.iter().any(|name| matches!(name, GeneralName::Dns(_) | GeneralName::Ip(_)));
    let looks = common.contains(['.', ':']) || common.starts_with("0x");
    let is_it = |name: &GeneralName<'_>| match name {
        GeneralName::Dns(name) => *name == common,
        GeneralName::Ip(bytes) => address(bytes).is_ok_and(|address| address.to_string() == common),
        _ => false,
    };
    of_host && looks && !common.contains(' ') && !names.iter().any(is_it)
}

fn address(bytes: &[u8]) -> Parsed<IpAddr> {
    match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(v4), _) => Ok(v4.into()),
        (_, Ok(v6)) => Ok(v6.into()),
        _ => super::der::malformed("an address is of a strange length"),
    }
}
