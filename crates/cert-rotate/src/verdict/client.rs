//! What a client that uses rustls would say: rustls's own validator, with the algorithms of ring.

use std::net::IpAddr;

use maint_core::status::{Severity, Status};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, Error, ExpirationPolicy, KeyUsage,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};

use super::{Finding, Rules, Subject, chain};
use crate::certificate::Certificate;
use crate::cli::Purpose;

/// Whether it would be accepted, under its names as well.
pub(super) fn judge(subject: &Subject, helpers: &[Certificate], rules: &Rules<'_>) -> Result<(), Error> {
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
    let end_entity = EndEntityCert::try_from(subject.leaf.der())?;
    let intermediates: Vec<CertificateDer<'_>> = helpers.iter().map(|one| one.der().clone()).collect();
    // Before 1970 nothing was valid.
    let seconds = u64::try_from(rules.at.as_second()).unwrap_or(0);
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    // Lists that it does not understand (delta lists, indirect ones) are as good as none: then the status is not known.
    let lists: Vec<CertRevocationList<'_>> = rules
        .crls
        .iter()
        .filter_map(|crl| BorrowedCertRevocationList::from_der(crl.der()).ok().map(CertRevocationList::from))
        .collect();
    let lists: Vec<&CertRevocationList<'_>> = lists.iter().collect();
    let revocation = match RevocationOptionsBuilder::new(&lists) {
        _ if !rules.revocation => None,
        Err(_) => return Err(Error::UnknownRevocationStatus),
        Ok(builder) => Some(
            builder
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build(),
        ),
    };
    let verify = |usage| {
        end_entity
            .verify_for_usage(algorithms, &rules.trust.anchors, &intermediates, at, usage, revocation, None)
            .map(drop)
    };
    match rules.purpose {
        Purpose::Server => verify(KeyUsage::server_auth())?,
        Purpose::Client => verify(KeyUsage::client_auth())?,
        Purpose::Any => verify(KeyUsage::server_auth()).or_else(|_| verify(KeyUsage::client_auth()))?,
    }
    for name in &subject.names {
        let name = match name.parse::<IpAddr>() {
            Ok(address) => ServerName::IpAddress(address.into()),
            Err(_) => ServerName::try_from(name.as_str()).map_err(|_| Error::UnsupportedNameType)?,
        };
        end_entity.verify_is_valid_for_subject_name(&name)?;
    }
    Ok(())
}

/// The error's name, without what it holds.
pub(super) fn name(error: &Error) -> String {
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// What a client's refusal adds to what is known: nothing when there is a reason for it already.
pub(super) fn explain(
    error: &Error,
    has_strict: bool,
    known: &[Finding],
    subject: &Subject,
    rules: &Rules<'_>,
) -> Option<Finding> {
    if has_strict && known.iter().any(|finding| finding.status.severity() >= Severity::Unknown) {
        return None;
    }
    let (code, status) = match error {
        Error::UnknownIssuer if !has_strict => return Some(chain::without_issuer(subject, rules)),
        Error::CertExpired { .. } => ("expired", Status::Critical),
        Error::CertNotValidYet { .. } => ("not-yet-valid", Status::Critical),
        Error::CertRevoked => ("revoked", Status::Critical),
        Error::UnknownRevocationStatus | Error::CrlExpired { .. } => ("revocation-unknown", Status::Unknown),
        Error::RequiredEkuNotFoundContext(_) => ("wrong-purpose", Status::Critical),
        Error::CertNotValidForName(_) => ("wrong-name", Status::Critical),
        _ => ("refused-by-rustls", Status::Critical),
    };
    let is_known = known.iter().any(|finding| finding.code == code);
    let message = format!("clients that use rustls refuse {}: {error}", subject.leaf.title());
    (!is_known).then(|| Finding::new(code, status, message, 0))
}
