//! Whom and what a certificate refers to: its issuer's key and its own, policies, revocation lists, responders and logs
//! (RFC 5280, 4.2.1.1, 4.2.1.2, 4.2.1.4, 4.2.1.13, 4.2.2.1; BR 7.1.2).

use std::collections::BTreeSet;

use jiff::SignedDuration;
use x509_parser::extensions::{DistributionPointName, GeneralName};

use super::facts::Facts;
use super::{Lint, lints};

/// The reserved policies of the Baseline Requirements: extended, domain, organisation and individual validation.
const RESERVED: [&str; 4] = ["2.23.140.1.1", "2.23.140.1.2.1", "2.23.140.1.2.2", "2.23.140.1.2.3"];
/// Signed certificate timestamps (RFC 6962, 3.3).
const TIMESTAMPS: &str = "1.3.6.1.4.1.11129.2.4.2";
/// Those that live for so few days need not be revocable (BR 7.1.2.11.2, since March 2026).
const SHORT_LIVED_DAYS: i64 = 7;

pub(super) fn lints(facts: &Facts<'_>) -> Vec<Lint> {
    let mut all = general(facts);
    if !facts.is_authority() {
        all.extend(subscriber(facts));
    }
    all
}

fn general(facts: &Facts<'_>) -> Vec<Lint> {
    let issuer_key = facts.authority_key.map(|key| key.value);
    let id = issuer_key.and_then(|key| key.key_identifier.as_ref()).map(|id| id.0);
    let half = issuer_key.is_some_and(|key| key.authority_cert_issuer.is_some() != key.authority_cert_serial.is_some());
    let own = facts.subject_key.map(|key| key.value);
    let mut seen = BTreeSet::new();
    let twice = facts.policies.iter().flatten().find(|policy| !seen.insert(policy.as_str()));
    let nowhere = facts.points.is_some_and(|points| {
        points.value.points.iter().any(|point| point.distribution_point.is_none() && point.crl_issuer.is_none())
    });
    lints! {
        !facts.certificate.self_issued && id.is_none() => "authority-key-missing", Warning, Rfc,
            "does not identify its issuer's key (RFC 5280, 4.2.1.1)";
        facts.authority_key.is_some_and(|key| key.critical) => "authority-key-critical", Warning, Rfc,
            "its authorityKeyIdentifier is critical (RFC 5280, 4.2.1.1)";
        half => "authority-key-half", Warning, Rfc,
            "identifies its issuer's certificate by its name or its serial number only (RFC 5280, 4.2.1.1)";
        issuer_key.is_some_and(|key| key.authority_cert_issuer.is_some()) => "authority-key-names-certificate", Warning, Baseline,
            "identifies its issuer by a certificate and not only by its key (BR 7.1.2.11.1)";
        facts.is_root() && id.is_some() && id != own => "authority-key-of-another", Warning, Baseline,
            "is a root that identifies another key as its issuer's (BR 7.1.2.1.3)";
        own.is_none() && facts.is_authority() => "subject-key-missing", Warning, Rfc,
            "is an authority that does not identify its key (RFC 5280, 4.2.1.2)";
        own.is_none() && !facts.is_authority() => "subject-key-missing", Notice, Rfc,
            "does not identify its key (RFC 5280, 4.2.1.2 advises it)";
        facts.subject_key.is_some_and(|key| key.critical) => "subject-key-critical", Warning, Rfc,
            "its subjectKeyIdentifier is critical (RFC 5280, 4.2.1.2)";
        twice.is_some() => "repeated-policy", Warning, Rfc,
            format!("names the policy {} twice (RFC 5280, 4.2.1.4)", twice.map_or("", String::as_str));
        facts.access.is_some_and(|access| access.critical) => "access-critical", Warning, Rfc,
            "its authorityInfoAccess is critical (RFC 5280, 4.2.2.1)";
        nowhere => "list-nowhere", Warning, Rfc,
            "a distribution point names neither a place nor an issuer (RFC 5280, 4.2.1.13)";
        facts.points.is_some_and(|points| points.critical) => "lists-critical", Notice, Rfc,
            "its cRLDistributionPoints are critical (RFC 5280, 4.2.1.13 advises against it)";
    }
}

fn subscriber(facts: &Facts<'_>) -> Vec<Lint> {
    let short_lived = facts.certificate.lifetime() <= SignedDuration::from_hours(SHORT_LIVED_DAYS * 24);
    let revocable = facts.points.is_some() || !locations(facts, OCSP).is_empty();
    let places = || facts.points.iter().flat_map(|points| &points.value.points);
    let list = places().find_map(|point| match &point.distribution_point {
        Some(DistributionPointName::FullName(names)) => names.iter().find_map(not_http),
        _ => None,
    });
    let access =
        facts.access.iter().flat_map(|all| &all.value.accessdescs).find_map(|one| not_http(&one.access_location));
    let policies = facts.policies.as_deref();
    let reserved = |policy: &String| RESERVED.contains(&policy.as_str());
    lints! {
        policies.is_none() => "policies-missing", Warning, Baseline, "names no policy (BR 7.1.2.7.9)";
        policies.is_some_and(|all| !all.iter().any(reserved)) => "policies-not-reserved", Warning, Baseline,
            "names none of the reserved policies (BR 7.1.2.7.9)";
        facts.access.is_none() => "access-missing", Warning, Baseline,
            "does not say where its issuer's certificate is (BR 7.1.2.7.7)";
        access.is_some() => "access-not-http", Warning, Baseline,
            format!("its issuer's certificate or responder is at {}, which is no HTTP (BR 7.1.2.7.7)", access.as_deref().unwrap_or_default());
        !revocable && !short_lived => "not-revocable", Warning, Baseline,
            "names neither a revocation list nor a responder (BR 7.1.2.11.2)";
        list.is_some() => "list-not-http", Warning, Baseline,
            format!("its revocation list is at {}, which is no HTTP (BR 7.1.2.11.2)", list.as_deref().unwrap_or_default());
        !facts.has(TIMESTAMPS) => "not-logged", Notice, Baseline,
            "has no timestamps of logs, without which browsers refuse it unless the server sends them (RFC 6962)";
    }
}

/// Where its responder is.
const OCSP: &str = "1.3.6.1.5.5.7.48.1";

fn locations<'a>(facts: &Facts<'a>, method: &str) -> Vec<&'a GeneralName<'a>> {
    let all = facts.access.iter().flat_map(|all| &all.value.accessdescs);
    all.filter(|one| one.access_method.to_id_string() == method).map(|one| &one.access_location).collect()
}

fn not_http(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::URI(uri) if uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) => None,
        GeneralName::URI(uri) => Some(uri.escape_default().to_string()),
        other => Some(other.to_string()),
    }
}
