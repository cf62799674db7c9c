//! Making certificates. Each is looked at before it is in the ledger: what a verifier would refuse is never issued.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use maint_core::failure::Failure;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa};
use rcgen::{Issuer, KeyUsagePurpose, SanType, SerialNumber, SubjectPublicKeyInfo};
use rustls::pki_types::UnixTime;
use webpki::{EndEntityCert, KeyUsage};

use super::constraints::Constraints;
use super::seal::random;
use crate::certificate::{Certificate, PublicKeyKind, SanName, hex};
use crate::cli::Profile;
use crate::key::PrivateKey;

/// Clocks of those who get a certificate may be behind.
const BACKDATED: SignedDuration = SignedDuration::from_mins(5);

/// The longest name that a subject can have (RFC 5280, appendix A: ub-common-name).
const LONGEST_NAME: usize = 64;

/// How long a certificate of a service is valid when nobody says: what public authorities may give from 2029 on.
pub const LEAF_LIFETIME: Duration = Duration::from_secs(47 * 86_400);

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: Timestamp,
    /// The last second.
    pub not_after: Timestamp,
}

impl Validity {
    /// From now on, inside of all of `within`. A lifetime that was asked for is refused when it does not fit; one that was
    /// not is cut.
    ///
    /// # Errors
    /// It does not fit, or it would be over.
    pub fn new(now: Timestamp, lifetime: Duration, asked: bool, within: &[&Certificate]) -> Result<Self, Failure> {
        let whole = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap_or(time);
        let too_long = || Failure::usage("the lifetime ends later than calendars do");
        let lifetime = SignedDuration::try_from(lifetime).map_err(|_| too_long())?;
        let mut not_before = whole(now.checked_sub(BACKDATED).map_err(|_| too_long())?);
        let mut not_after = whole(now.checked_add(lifetime).map_err(|_| too_long())?);
        for issuer in within {
            not_before = not_before.max(issuer.not_before);
            if not_after > issuer.not_after && asked {
                let (end, issuer) = (issuer.not_after, &issuer.subject);
                return Err(Failure::usage(format!("a lifetime to {not_after} does not fit: {issuer} ends at {end}"))
                    .hint("ask for a shorter one, or make a new authority"));
            }
            not_after = not_after.min(issuer.not_after);
        }
        if not_after <= now.max(not_before) {
            return Err(Failure::usage(format!("it would be over at {not_after} already")));
        }
        Ok(Validity { not_before, not_after })
    }
}

/// 128 random bits (the CA/Browser Forum wants 64), as an INTEGER's content without a leading zero byte.
///
/// # Errors
/// The system has no randomness.
pub fn serial() -> Result<Vec<u8>, Failure> {
    loop {
        let bytes = random::<16>()?;
        // A zero in front would not be encoded.
        if bytes.first() != Some(&0) {
            return Ok(bytes.to_vec());
        }
    }
}

/// As [`Certificate::serial`] will say it: an INTEGER is positive, so a first byte with its highest bit gets a zero before it.
pub fn serial_text(serial: &[u8]) -> String {
    let sign = if serial.first().is_some_and(|byte| byte & 0x80 != 0) { "00" } else { "" };
    format!("{sign}{}", hex(serial))
}

/// A root by itself.
///
/// # Errors
/// It cannot be made.
pub fn root(common_name: &str, key: &PrivateKey, validity: Validity) -> Result<Certificate, Failure> {
    // No limit on the path: a rollover puts the next root below this one.
    let params = authority(common_name, validity, BasicConstraints::Unconstrained)?;
    let made = params.self_signed(key.pair()).map_err(|error| failed(&error))?;
    looked_at(made.der(), &key.public(), validity)
}

/// An authority for services below a root.
///
/// # Errors
/// It cannot be made.
pub fn intermediate(
    common_name: &str,
    key: &PrivateKey,
    constraints: &Constraints,
    validity: Validity,
    issuer: (&Certificate, &PrivateKey),
) -> Result<Certificate, Failure> {
    let mut params = authority(common_name, validity, BasicConstraints::Constrained(0))?;
    params.name_constraints = Some(constraints.to_rcgen());
    params.use_authority_key_identifier_extension = true;
    sign(&params, &key.public(), validity, issuer)
}

/// A certificate for the name and key of an authority by another root.
///
/// # Errors
/// It cannot be made.
pub fn cross(
    subject: &Certificate,
    validity: Validity,
    issuer: (&Certificate, &PrivateKey),
) -> Result<Certificate, Failure> {
    let unreadable = || Failure::critical(format!("{} cannot be read", subject.subject));
    let parsed = subject.parsed().ok_or_else(unreadable)?;
    let limit = parsed.basic_constraints().ok().flatten().and_then(|constraints| constraints.value.path_len_constraint);
    let limit = match limit {
        Some(limit) => BasicConstraints::Constrained(u8::try_from(limit).unwrap_or(u8::MAX)),
        // Below a root there is one level of authorities.
        None => BasicConstraints::Constrained(1),
    };
    let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).ok_or_else(unreadable)?;
    let mut params = authority(name, validity, limit)?;
    params.name_constraints = Constraints::of(subject)?.map(|constraints| constraints.to_rcgen());
    params.use_authority_key_identifier_extension = true;
    let made = sign(&params, subject.public_key(), validity, issuer)?;
    let same = made.parsed().is_some_and(|made| made.subject().as_raw() == parsed.subject().as_raw());
    if same && made.subject_key_id == subject.subject_key_id {
        return Ok(made);
    }
    Err(Failure::critical(format!(
        "{} was not made by this program, and cannot be cross-signed by it",
        subject.subject
    )))
}

/// A certificate of a service.
#[derive(Debug)]
pub struct Leaf<'a> {
    /// What it is for, at least one.
    pub names: &'a [SanName],
    /// Its public key, a DER `SubjectPublicKeyInfo`.
    pub public: &'a [u8],
    /// What it may be used for.
    pub profile: Profile,
    /// From when to when.
    pub validity: Validity,
    /// Its serial number, of [`serial`].
    pub serial: &'a [u8],
}

/// Makes it. `above` are the authorities from the one that signs to the root.
///
/// # Errors
/// It cannot be made, or a verifier would refuse it.
pub fn leaf(wish: &Leaf<'_>, above: &[&Certificate], key: &PrivateKey, now: Timestamp) -> Result<Certificate, Failure> {
    let missing = || Failure::usage("a certificate needs at least one name");
    let issuer = *above.first().ok_or_else(missing)?;
    let mut params = base(wish.validity, wish.serial);
    if wish.names.is_empty() {
        return Err(missing());
    }
    // Never an address: without a domain beside it, OpenSSL takes the common name for one, and holds it to the constraints
    // on domains.
    let domain = wish.names.iter().find_map(|name| match name {
        SanName::Dns(name) => Some(name.as_str()),
        _ => None,
    });
    if let Some(domain) = domain.filter(|domain| domain.len() <= LONGEST_NAME) {
        params.distinguished_name.push(DnType::CommonName, domain);
    }
    params.subject_alt_names = wish.names.iter().map(alt_name).collect::<Result<_, _>>()?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match wish.profile {
        Profile::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Profile::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Profile::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    let made = sign(&params, wish.public, wish.validity, (issuer, key))?;
    // TLS 1.2 with RSA key transport is all that would need more key usages than this.
    if matches!(made.key, PublicKeyKind::Other(_)) {
        return Err(Failure::usage(format!("keys of the kind {} are not certified", made.key)));
    }
    if made.names != wish.names || made.serial != serial_text(wish.serial) {
        return Err(failed(&"it does not say what it was to say"));
    }
    let used = match wish.profile {
        Profile::Server => vec![KeyUsage::server_auth()],
        Profile::Client => vec![KeyUsage::client_auth()],
        Profile::Both => vec![KeyUsage::server_auth(), KeyUsage::client_auth()],
    };
    for usage in used {
        verified(&made, above, usage, now).map_err(|error| {
            Failure::critical(format!("{} was not issued, because a verifier would refuse it: {error}", made.title()))
        })?;
    }
    Ok(made)
}

/// What rustls would say to a server or client with it.
fn verified(leaf: &Certificate, above: &[&Certificate], usage: KeyUsage, now: Timestamp) -> Result<(), webpki::Error> {
    let (root, between) = above.split_last().ok_or(webpki::Error::UnknownIssuer)?;
    let anchor = webpki::anchor_from_trusted_cert(root.der())?;
    let between: Vec<_> = between.iter().map(|certificate| certificate.der().clone()).collect();
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
    EndEntityCert::try_from(leaf.der())?
        .verify_for_usage(algorithms, &[anchor], &between, at, usage, None, None)
        .map(drop)
}

/// Seconds since 1970, for [`rcgen::date_time_ymd`]`(1970, 1, 1)` to be added to.
pub fn since_1970(time: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0))
}

fn base(validity: Validity, serial: &[u8]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970(validity.not_before);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970(validity.not_after);
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params
}

fn authority(common_name: &str, validity: Validity, limit: BasicConstraints) -> Result<CertificateParams, Failure> {
    if common_name.is_empty() || common_name.chars().count() > LONGEST_NAME {
        return Err(Failure::usage(format!(
            "`{common_name}` is no common name: it has 1 to {LONGEST_NAME} characters"
        )));
    }
    let mut params = base(validity, &serial()?);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(limit);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn alt_name(name: &SanName) -> Result<SanType, Failure> {
    match name {
        SanName::Dns(name) => {
            let text = name.as_str().try_into().map_err(|error: rcgen::Error| failed(&error))?;
            Ok(SanType::DnsName(text))
        }
        SanName::Ip(address) => Ok(SanType::IpAddress(*address)),
        SanName::Other(other) => Err(Failure::usage(format!("names like {other} are not certified"))),
    }
}

fn sign(
    params: &CertificateParams,
    public: &[u8],
    validity: Validity,
    issuer: (&Certificate, &PrivateKey),
) -> Result<Certificate, Failure> {
    let (certificate, key) = issuer;
    let subject = SubjectPublicKeyInfo::from_der(public)
        .map_err(|error| Failure::usage(format!("a key of this kind is not certified: {error}")))?;
    let issuer = Issuer::from_ca_cert_der(certificate.der(), key.pair()).map_err(|error| failed(&error))?;
    let made = params.signed_by(&subject, &issuer).map_err(|error| failed(&error))?;
    let made = looked_at(made.der(), public, validity)?;
    let signed = made.parsed().zip(certificate.parsed()).is_some_and(|(made, issuer)| {
        made.issuer().as_raw() == issuer.subject().as_raw() && made.verify_signature(Some(issuer.public_key())).is_ok()
    });
    if signed && made.authority_key_id == certificate.subject_key_id {
        return Ok(made);
    }
    Err(failed(&format!("the key of {} did not sign it", certificate.subject)))
}

fn looked_at(der: &[u8], public: &[u8], validity: Validity) -> Result<Certificate, Failure> {
    let made = Certificate::from_der(der).map_err(|error| failed(&error))?;
    let times = Validity { not_before: made.not_before, not_after: made.not_after };
    if made.public_key() == public && times == validity {
        return Ok(made);
    }
    Err(failed(&"it does not say what it was to say"))
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::critical(format!("cannot make the certificate: {error}"))
}

#[cfg(test)]
mod tests;
