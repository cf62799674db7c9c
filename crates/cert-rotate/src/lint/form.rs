//! Version, serial number, times, subject, and extensions as such (RFC 5280, 4.1).

use std::collections::BTreeSet;

use x509_parser::x509::X509Version;

use super::facts::Facts;
use super::{Lint, lints};
use crate::tlv::Tlv;

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The poison of a precertificate (RFC 6962, 3.1).
const POISON: &str = "1.3.6.1.4.1.11129.2.4.3";
/// nsCertType, nsComment and their like: 2.16.840.1.113730.1.
const NETSCAPE: &str = "2.16.840.1.113730.1.";

/// The longest serial number, in octets.
const SERIAL: usize = 20;
/// 64 bits of chance take at least so many octets; one less is by chance once in 256 times, two less never.
const SERIAL_OF_CHANCE: usize = 7;

pub(super) fn lints(facts: &Facts<'_>) -> Vec<Lint> {
    let parsed = facts.parsed;
    let serial = parsed.raw_serial();
    let not_positive = serial.first().is_none_or(|first| first & 0x80 != 0) || serial.iter().all(|byte| *byte == 0);
    let twice = twice(&facts.oids);
    let subject = || parsed.subject().iter_attributes();
    let country = subject().find(|attribute| {
        let text = attribute.as_slice();
        attribute.attr_type().to_id_string() == "2.5.4.6"
            && !(text.len() == 2 && text.iter().all(u8::is_ascii_uppercase))
    });
    let blank = subject().find(|attribute| {
        let text = attribute.as_slice();
        text.trim_ascii().is_empty() || text.trim_ascii().len() != text.len()
    });
    let no_subject = parsed.subject().as_raw().len() <= 2;
    let validity = parsed.validity();
    let times = facts.times();
    let netscape = facts.oids.iter().find(|oid| oid.starts_with(NETSCAPE));
    lints! {
        parsed.version() != X509Version::V3 => "version", Warning, Rfc,
            format!("is of version {} instead of 3 (RFC 5280, 4.1.2.1)", parsed.version().0.saturating_add(1));
        not_positive => "serial-not-positive", Warning, Rfc,
            "its serial number is not positive (RFC 5280, 4.1.2.2)";
        serial.len() > SERIAL => "serial-too-long", Warning, Rfc,
            format!("its serial number has {} octets, more than 20 (RFC 5280, 4.1.2.2)", serial.len());
        serial.len() < SERIAL_OF_CHANCE && !facts.is_root() => "serial-guessable", Warning, Baseline,
            "its serial number has fewer than 64 bits of chance (BR 7.1)";
        parsed.signature_algorithm != parsed.tbs_certificate.signature => "signature-algorithms-differ", Error, Rfc,
            "names one signature algorithm inside and another outside (RFC 5280, 4.1.1.2)";
        times.iter().any(is_wrong_kind) => "validity-encoding", Warning, Rfc,
            "a time until 2049 is no UTCTime, or a later one no GeneralizedTime (RFC 5280, 4.1.2.5)";
        times.iter().any(is_wrong_form) => "validity-form", Warning, Rfc,
            "a time of its validity has no seconds, fractions of them, or another zone than Z (RFC 5280, 4.1.2.5)";
        validity.not_after < validity.not_before => "validity-reversed", Error, Rfc,
            "ends before it begins (RFC 5280, 4.1.2.5)";
        parsed.issuer().as_raw().len() <= 2 => "empty-issuer", Warning, Rfc, "its issuer has no name (RFC 5280, 4.1.2.4)";
        no_subject && facts.is_authority() => "empty-subject", Warning, Rfc,
            "is an authority without a name (RFC 5280, 4.1.2.6)";
        country.is_some() => "country-code", Warning, Rfc,
            "its country is no code of two capital letters (RFC 5280, appendix A; ISO 3166)";
        blank.is_some() => "blank-attribute", Warning, Practice,
            "a part of its subject is empty, or begins or ends with a space (BR 7.1.4.2)";
        parsed.tbs_certificate.issuer_uid.is_some() || parsed.tbs_certificate.subject_uid.is_some() =>
            "unique-identifier", Warning, Rfc, "has a unique identifier besides its names (RFC 5280, 4.1.2.8)";
        twice.is_some() => "duplicate-extension", Error, Rfc,
            format!("has the extension {} twice (RFC 5280, 4.2)", twice.unwrap_or_default());
        !facts.unreadable.is_empty() => "unreadable-extension", Error, Rfc,
            format!("the extension {} cannot be read (RFC 5280, 4.2)", facts.unreadable.join(" and "));
        facts.has(POISON) => "precertificate", Error, Practice,
            "is a precertificate, which no client accepts (RFC 6962, 3.1)";
        netscape.is_some() => "obsolete-extension", Notice, Practice, "has an extension of Netscape's, which nobody reads";
    }
}

fn twice(oids: &[String]) -> Option<&str> {
    let mut seen = BTreeSet::new();
    oids.iter().find(|oid| !seen.insert(oid.as_str())).map(String::as_str)
}

/// UTCTime reaches from 1950 to 2049; later years have a century, and earlier ones none.
fn is_wrong_kind(time: &Tlv<'_>) -> bool {
    match time.tag {
        UTC_TIME => false,
        GENERALIZED_TIME => time.content.get(..4).is_none_or(|year| *year < *b"2050".as_slice()),
        _ => true,
    }
}

fn is_wrong_form(time: &Tlv<'_>) -> bool {
    let digits = if time.tag == UTC_TIME { 12 } else { 14 };
    match time.content.split_last() {
        Some((b'Z', text)) => text.len() != digits || !text.iter().all(u8::is_ascii_digit),
        _ => true,
    }
}
