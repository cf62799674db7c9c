//! What a certificate says.

use jiff::Timestamp;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use x509_parser::prelude::X509Certificate;

use super::extensions;
use crate::certificate::{Certificate, hex, sha256};

/// All of it.
pub(super) fn record(certificate: &Certificate, now: Timestamp) -> Record {
    let message = format!("certificate of {}, issued by {}", certificate.title(), certificate.issuer);
    let record = Record::new(Kind::Metric, "", Status::Ok, message)
        .field("kind", "certificate")
        .field("subject", &certificate.subject)
        .field("issuer", &certificate.issuer)
        .field("serial", &certificate.serial)
        .field("not_before", certificate.not_before)
        .field("not_after", certificate.not_after)
        .field("remaining_seconds", certificate.not_after.as_second() - now.as_second())
        .field("names", certificate.names.iter().map(ToString::to_string).collect::<Vec<_>>())
        .field("key", certificate.key.to_string())
        .field("public_key_fingerprint", hex(&sha256(certificate.public_key())))
        .field("fingerprint", certificate.fingerprint())
        .field("fingerprint_sha1", hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate.der()).as_ref()))
        .field("is_ca", certificate.is_ca)
        .field("self_issued", certificate.self_issued);
    match certificate.parsed() {
        Some(parsed) => details(record, &parsed),
        None => record,
    }
}

fn details(record: Record, parsed: &X509Certificate<'_>) -> Record {
    let urls = extensions::urls(parsed.extensions());
    record
        .field("version", parsed.version().0 + 1)
        .field("signature_algorithm", extensions::signature_name(&parsed.signature_algorithm))
        .field("extensions", extensions::list(parsed.extensions()))
        .field("ocsp_urls", urls.ocsp)
        .field("issuer_urls", urls.issuers)
        .field("crl_urls", urls.crls)
        .field("scts", extensions::scts(parsed.extensions()))
}
