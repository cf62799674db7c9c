//! What private keys, requests and revocation lists say.

use jiff::Timestamp;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509CertificationRequest};
use x509_parser::revocation_list::RevokedCertificate;
use x509_parser::time::ASN1Time;
use x509_parser::x509::ReasonCode;

use super::extensions;
use crate::certificate::{general_name, hex, public_key_kind, sha256};
use crate::key::PrivateKey;

/// How many revoked certificates are told one by one; a public list has a million.
const TOLD: usize = 100;

/// A private key's public side. `of` is the place of its certificate in the same file.
pub(super) fn key(key: &PrivateKey, of: Option<usize>) -> Record {
    let public = key.public();
    let kind = public_key_kind(&public);
    let kind = kind.map_or_else(|| "unknown".to_owned(), |kind| kind.to_string());
    let belongs = match of {
        Some(at) => format!("that of certificate {} in this file", at + 1),
        None => "no certificate in this file is its".to_owned(),
    };
    Record::new(Kind::Metric, "", Status::Ok, format!("private key, {kind}; {belongs}"))
        .field("kind", "private-key")
        .field("key", kind)
        .field("public_key_fingerprint", hex(&sha256(&public)))
}

/// A certificate signing request. Its signature shows that whoever made it has the key.
pub(super) fn request(der: &[u8]) -> Record {
    let Ok((_, parsed)) = X509CertificationRequest::from_der(der) else { return lost("request") };
    let info = &parsed.certification_request_info;
    let mut names = Vec::new();
    for extension in parsed.requested_extensions().into_iter().flatten() {
        if let x509_parser::extensions::ParsedExtension::SubjectAlternativeName(san) = extension {
            names.extend(san.general_names.iter().map(|name| general_name(name).to_string()));
        }
    }
    let subject = info.subject.to_string();
    let title = names.first().map_or(subject.as_str(), String::as_str).to_owned();
    let key = public_key_kind(info.subject_pki.raw);
    Record::new(Kind::Metric, "", Status::Ok, format!("request for a certificate of {title}"))
        .field("kind", "request")
        .field("subject", subject)
        .field("names", names)
        .field("key", key.map(|kind| kind.to_string()))
        .field("public_key_fingerprint", hex(&sha256(info.subject_pki.raw)))
        .field("signature_algorithm", extensions::signature_name(&parsed.signature_algorithm))
        .field("signature_valid", parsed.verify_signature().is_ok())
        .field("fingerprint", hex(&sha256(der)))
}

/// A revocation list.
pub(super) fn crl(der: &[u8], now: Timestamp) -> Record {
    let Ok((_, parsed)) = CertificateRevocationList::from_der(der) else { return lost("revocation list") };
    let next = parsed.next_update().and_then(time);
    let revoked: Vec<serde_json::Value> = parsed.iter_revoked_certificates().take(TOLD).map(revoked).collect();
    let count = parsed.iter_revoked_certificates().count();
    let issuer = parsed.issuer().to_string();
    Record::new(Kind::Metric, "", Status::Ok, format!("revocation list of {issuer}, {count} revoked"))
        .field("kind", "crl")
        .field("issuer", issuer)
        .field("this_update", time(parsed.last_update()))
        .field("next_update", next)
        .field("remaining_seconds", next.map(|next| next.as_second() - now.as_second()))
        .field("crl_number", parsed.crl_number().map(ToString::to_string))
        .field("revoked_count", count)
        .field("revoked", revoked)
        .field("signature_algorithm", extensions::signature_name(&parsed.signature_algorithm))
        .field("extensions", extensions::list(parsed.extensions()))
        .field("fingerprint", hex(&sha256(der)))
}

fn revoked(one: &RevokedCertificate<'_>) -> serde_json::Value {
    serde_json::json!({
        "serial": hex(one.raw_serial()),
        "revoked": time(one.revocation_date).map(|at| at.to_string()),
        "reason": one.reason_code().map(|(_, reason)| reason_name(reason)),
    })
}

/// As RFC 5280, 5.3.1, writes it.
fn reason_name(reason: ReasonCode) -> String {
    match reason {
        ReasonCode::AACompromise => "aACompromise".to_owned(),
        ReasonCode::CACompromise => "cACompromise".to_owned(),
        ReasonCode::RemoveFromCRL => "removeFromCRL".to_owned(),
        other => {
            let name = other.to_string();
            let mut chars = name.chars();
            chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
        }
    }
}

fn time(at: ASN1Time) -> Option<Timestamp> {
    Timestamp::from_second(at.timestamp()).ok()
}

/// What was read once is read again, so this does not happen.
fn lost(what: &str) -> Record {
    Record::new(Kind::Check, "", Status::Critical, format!("the {what} cannot be read a second time"))
}
