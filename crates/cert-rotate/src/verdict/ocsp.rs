//! OCSP (RFC 6960): asking a responder about one certificate, and judging what it or the server itself (stapling) says.
//!
//! An answer counts when it is about this certificate, in force, and signed by the issuer or by whom the issuer appointed.
//! Everything else is "not known", and never "good": that is how a responder that is down, or somebody in between, would
//! otherwise make a revoked certificate pass.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use maint_core::status::Status;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::{Finding, Subject, Verdict, http};
use crate::certificate::Certificate;
use crate::tlv::{self, BIT_STRING, INTEGER, OCTET_STRING, OID, SEQUENCE, Tlv};
use crate::work::Work;

/// 1.3.6.1.5.5.7.48.1, a responder in authorityInfoAccess.
const RESPONDER: &str = "1.3.6.1.5.5.7.48.1";
/// TLS feature (RFC 7633), which says that a staple must be there.
const FEATURE: &str = "1.3.6.1.5.5.7.1.24";
/// Its value: a sequence of the one number 5, status_request.
const MUST_STAPLE: &[u8] = &[0x30, 0x03, 0x02, 0x01, 0x05];
/// 1.3.6.1.5.5.7.48.1.1, the basic response.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// 1.3.14.3.2.26 with its parameters.
const SHA1_ALGORITHM: &[u8] = &[0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00];
const SHA1_OID: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
/// 2.16.840.1.101.3.4.2.1.
const SHA256_OID: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

const ENUMERATED: u8 = 0x0a;
const GENERALIZED_TIME: u8 = 0x18;
const fn context(number: u8) -> u8 {
    0x80 | number
}
const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// An answer has a few thousand bytes.
const MAX_BYTES: usize = 1 << 20;
/// How far a responder's clock may be ahead of ours.
const SKEW: SignedDuration = SignedDuration::from_secs(300);
/// How old an answer may be that does not say when the next one comes.
const FRESH: SignedDuration = SignedDuration::from_hours(24);

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not revoked.
    Good,
    /// Revoked, then.
    Revoked(String),
    /// Nothing that can be relied on, and why.
    Unknown(String),
}

/// What is found out about a subject's revocation by OCSP: from the staple, and with `ask` from the responders that the
/// chain's certificates name.
pub fn revocation(subject: &Subject, verdict: &Verdict, ask: bool, timeout: Duration, work: &Work<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let pairs: Vec<(&Certificate, &Certificate)> = verdict.chain.iter().zip(verdict.chain.iter().skip(1)).collect();
    if let Some(staple) = &subject.staple {
        let answer = match pairs.first() {
            Some((leaf, issuer)) => judge(staple, leaf, issuer, work.now),
            None => Answer::Unknown("the issuer's certificate is not at hand".to_owned()),
        };
        // Clients that check a staple refuse one that does not hold; most do not check.
        findings.extend(finding(
            &subject.leaf,
            0,
            answer,
            "the OCSP response that the server sends along",
            Status::Warning,
        ));
    } else if subject.served && must_staple(&subject.leaf) {
        let message = format!(
            "{} asks for an OCSP response to be sent along (RFC 7633), and the server sends none",
            subject.leaf.title()
        );
        findings.push(Finding::new("staple-missing", Status::Critical, message, 0));
    }
    if !ask {
        return findings;
    }
    let last = verdict.chain.len().saturating_sub(1);
    for (depth, certificate) in verdict.chain.iter().enumerate() {
        let is_root = depth > 0 && depth == last && certificate.self_issued;
        let Some(address) = responder(certificate) else {
            if depth == 0 {
                let message =
                    format!("{} names no OCSP responder: revocation can be told by --crl only", certificate.title());
                findings.push(Finding::new("no-responder", Status::Warning, message, 0));
            }
            continue;
        };
        if is_root {
            continue;
        }
        let answer = match pairs.get(depth) {
            Some((_, issuer)) => request(certificate, issuer)
                .ok_or_else(|| "it cannot be asked about".to_owned())
                .and_then(|request| {
                    let asked = http::ask(&address, Some(("application/ocsp-request", request)), MAX_BYTES, timeout);
                    work.block_on(asked)
                })
                .map_or_else(Answer::Unknown, |answer| judge(&answer, certificate, issuer, work.now)),
            None => Answer::Unknown("the issuer's certificate is not at hand".to_owned()),
        };
        findings.extend(finding(certificate, depth, answer, &format!("the OCSP responder {address}"), Status::Unknown));
    }
    findings
}

fn finding(certificate: &Certificate, depth: usize, answer: Answer, who: &str, unclear: Status) -> Option<Finding> {
    let title = certificate.title();
    match answer {
        Answer::Good => None,
        Answer::Revoked(when) => {
            let message = format!("{title} was revoked at {when}, says {who}");
            Some(Finding::new("revoked", Status::Critical, message, depth))
        }
        Answer::Unknown(why) => {
            Some(Finding::new("ocsp-unknown", unclear, format!("{who} does not tell about {title}: {why}"), depth))
        }
    }
}

fn responder(certificate: &Certificate) -> Option<String> {
    let parsed = certificate.parsed()?;
    parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => access.accessdescs.iter().find_map(|one| {
            match (&one.access_location, one.access_method.to_id_string() == RESPONDER) {
                (GeneralName::URI(uri), true) => Some((*uri).to_owned()),
                _ => None,
            }
        }),
        _ => None,
    })
}

fn must_staple(certificate: &Certificate) -> bool {
    certificate.parsed().is_some_and(|parsed| {
        parsed.extensions().iter().any(|one| one.oid.to_id_string() == FEATURE && one.value == MUST_STAPLE)
    })
}

fn encode(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut whole = tlv::header(tag, content.len());
    whole.extend(content);
    whole
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

/// An OCSPRequest for one certificate, without a nonce (few responders answer one; times bound a replay). The issuer is
/// named by SHA-1, which is all that RFC 5019 lets a client count on; it protects nothing here.
fn request(certificate: &Certificate, issuer: &Certificate) -> Option<Vec<u8>> {
    let (issuer, parsed) = (issuer.parsed()?, certificate.parsed()?);
    let id = encode(
        SEQUENCE,
        &[
            SHA1_ALGORITHM,
            &encode(OCTET_STRING, &[&sha1(parsed.issuer().as_raw())]),
            &encode(OCTET_STRING, &[&sha1(&issuer.public_key().subject_public_key.data)]),
            &encode(INTEGER, &[parsed.raw_serial()]),
        ],
    );
    let requests = encode(SEQUENCE, &[&encode(SEQUENCE, &[&id])]);
    Some(encode(SEQUENCE, &[&encode(SEQUENCE, &[&requests])]))
}

/// What a response (DER) says about the certificate.
pub(super) fn judge(response: &[u8], certificate: &Certificate, issuer: &Certificate, at: Timestamp) -> Answer {
    match read(response, certificate, issuer, at) {
        Ok(answer) => answer,
        Err(why) => Answer::Unknown(why),
    }
}

/// The next value, which must have this tag.
fn next<'a>(values: &mut impl Iterator<Item = Tlv<'a>>, tag: u8) -> Result<Tlv<'a>, String> {
    match values.next() {
        Some(value) if value.tag == tag => Ok(value),
        _ => Err("its answer is malformed".to_owned()),
    }
}

/// The inside of the one value that these bytes are.
fn only(bytes: &[u8], tag: u8) -> Result<&[u8], String> {
    match tlv::first(bytes) {
        Some((value, [])) if value.tag == tag => Ok(value.content),
        _ => Err("its answer is malformed".to_owned()),
    }
}

fn read(response: &[u8], certificate: &Certificate, issuer: &Certificate, at: Timestamp) -> Result<Answer, String> {
    let mut outer = tlv::all(only(response, SEQUENCE)?);
    match next(&mut outer, ENUMERATED)?.content {
        [0] => {}
        [status] => return Err(format!("it refuses to answer: {}", refusal(*status))),
        _ => return Err("its answer is malformed".to_owned()),
    }
    let mut bytes = tlv::all(only(next(&mut outer, constructed(0))?.content, SEQUENCE)?);
    if next(&mut bytes, OID)?.content != BASIC {
        return Err("its answer is of a kind that is not known".to_owned());
    }
    let mut basic = tlv::all(only(next(&mut bytes, OCTET_STRING)?.content, SEQUENCE)?);
    let data = next(&mut basic, SEQUENCE)?;
    let algorithm = next(&mut basic, SEQUENCE)?;
    let signature = next(&mut basic, BIT_STRING)?;
    let certificates = match basic.next() {
        Some(value) if value.tag == constructed(0) => only(value.content, SEQUENCE)?,
        _ => &[],
    };
    let mut inner = tlv::all(data.content).peekable();
    inner.next_if(|value| value.tag == constructed(0));
    let responder = inner.next().ok_or_else(|| "its answer is malformed".to_owned())?;
    next(&mut inner, GENERALIZED_TIME)?;
    let answers = next(&mut inner, SEQUENCE)?;

    signed_by(data.whole, algorithm.content, signature.content, responder, certificates, issuer, at)?;
    for single in tlv::all(answers.content) {
        let mut parts = tlv::all(single.content);
        let id = next(&mut parts, SEQUENCE)?;
        if is_about(id.content, certificate, issuer)? {
            return status(&mut parts, at);
        }
    }
    Err("its answer is about another certificate".to_owned())
}

/// OCSPResponseStatus (RFC 6960, 4.2.1).
fn refusal(status: u8) -> String {
    match status {
        1 => "the request was malformed".to_owned(),
        2 => "an error of its own".to_owned(),
        3 => "try later".to_owned(),
        5 => "the request must be signed".to_owned(),
        6 => "not authorised, or it does not know this issuer".to_owned(),
        other => format!("status {other}"),
    }
}

/// Whether a CertID is that of the certificate.
fn is_about(id: &[u8], certificate: &Certificate, issuer: &Certificate) -> Result<bool, String> {
    let gone = || "a certificate cannot be read".to_owned();
    let (parsed, issuer) = (certificate.parsed().ok_or_else(gone)?, issuer.parsed().ok_or_else(gone)?);
    let mut parts = tlv::all(id);
    let algorithm = next(&mut parts, SEQUENCE)?;
    let algorithm = next(&mut tlv::all(algorithm.content), OID)?.content;
    let (name, key) = (next(&mut parts, OCTET_STRING)?.content, next(&mut parts, OCTET_STRING)?.content);
    let serial = next(&mut parts, INTEGER)?.content;
    let hash = match algorithm {
        SHA1_OID => &SHA1_FOR_LEGACY_USE_ONLY,
        SHA256_OID => &SHA256,
        // Another answer may be in a hash that we know.
        _ => return Ok(false),
    };
    Ok(serial == parsed.raw_serial()
        && name == digest(hash, parsed.issuer().as_raw()).as_ref()
        && key == digest(hash, &issuer.public_key().subject_public_key.data).as_ref())
}

/// The status that follows a CertID, when it is in force.
fn status<'a>(parts: &mut impl Iterator<Item = Tlv<'a>>, at: Timestamp) -> Result<Answer, String> {
    let status = parts.next().ok_or_else(|| "its answer is malformed".to_owned())?;
    let this = time(next(parts, GENERALIZED_TIME)?)?;
    let until = match parts.next() {
        Some(value) if value.tag == constructed(0) => {
            time(tlv::first(value.content).ok_or_else(|| "its answer is malformed".to_owned())?.0)?
        }
        _ => this.saturating_add(FRESH).map_err(|error| error.to_string())?,
    };
    if at.duration_since(this) < -SKEW {
        return Err(format!("its answer is of {this} only"));
    }
    if at.duration_since(until) > SKEW {
        return Err(format!("its answer was in force until {until}"));
    }
    if status.tag == context(0) {
        Ok(Answer::Good)
    } else if status.tag == constructed(1) {
        let when = time(next(&mut tlv::all(status.content), GENERALIZED_TIME)?)?;
        Ok(Answer::Revoked(when.to_string()))
    } else {
        Ok(Answer::Unknown("it does not know the certificate".to_owned()))
    }
}

/// A time as RFC 5280, 4.1.2.5.2 writes it: `20261123204931Z`.
fn time(value: Tlv<'_>) -> Result<Timestamp, String> {
    let text = std::str::from_utf8(value.content).ok().filter(|_| value.tag == GENERALIZED_TIME);
    text.and_then(|text| jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", text).ok())
        .and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC).ok())
        .map(|zoned| zoned.timestamp())
        .ok_or_else(|| "a time in its answer does not hold".to_owned())
}

/// The answer must be signed by the issuer, or by somebody whom the issuer appointed for that with a certificate that is
/// in force (RFC 6960, 4.2.2.2).
fn signed_by(
    data: &[u8],
    algorithm: &[u8],
    signature: &[u8],
    responder: Tlv<'_>,
    certificates: &[u8],
    issuer: &Certificate,
    at: Timestamp,
) -> Result<(), String> {
    if is_responder(responder, issuer) {
        return if verify(issuer, data, algorithm, signature) {
            Ok(())
        } else {
            Err("its answer is not signed by the issuer, in whose name it speaks".to_owned())
        };
    }
    let sent = tlv::all(certificates).filter_map(|one| Certificate::from_der(one.whole).ok());
    let Some(delegate) = sent.into_iter().find(|one| is_responder(responder, one)) else {
        return Err("whoever signed its answer is not the issuer and sent no certificate".to_owned());
    };
    let title = delegate.title();
    let appointed = delegate.parsed().is_some_and(|parsed| {
        matches!(parsed.extended_key_usage(), Ok(Some(purposes)) if purposes.value.ocsp_signing)
            && issuer.parsed().is_some_and(|issuer| issuer.subject().as_raw() == parsed.issuer().as_raw())
    });
    if !appointed || !is_signed(&delegate, issuer) {
        return Err(format!("the issuer did not appoint {title}, who signed its answer"));
    }
    if !delegate.is_valid_at(at) {
        return Err(format!("the certificate of {title}, who signed its answer, is not valid"));
    }
    if verify(&delegate, data, algorithm, signature) {
        Ok(())
    } else {
        Err(format!("its answer is not signed by {title}, in whose name it speaks"))
    }
}

/// Whether a ResponderID is that of the certificate.
fn is_responder(responder: Tlv<'_>, certificate: &Certificate) -> bool {
    let Some(parsed) = certificate.parsed() else { return false };
    if responder.tag == constructed(1) {
        responder.content == parsed.subject().as_raw()
    } else if responder.tag == constructed(2) {
        only(responder.content, OCTET_STRING).is_ok_and(|key| key == sha1(&parsed.public_key().subject_public_key.data))
    } else {
        false
    }
}

/// Whether the issuer's key signed the certificate.
fn is_signed(certificate: &Certificate, issuer: &Certificate) -> bool {
    let parts = || {
        let mut parts = tlv::all(tlv::first(certificate.der())?.0.content);
        Some((parts.next()?, parts.next()?, parts.next()?))
    };
    parts().is_some_and(|(data, algorithm, signature)| verify(issuer, data.whole, algorithm.content, signature.content))
}

/// Whether the certificate's key made the signature (the content of a bit string), with one of ring's algorithms.
fn verify(signer: &Certificate, data: &[u8], algorithm: &[u8], signature: &[u8]) -> bool {
    let Some((0, signature)) = signature.split_first() else { return false };
    let key = || {
        let mut parts = tlv::all(tlv::first(signer.public_key())?.0.content);
        Some((parts.next()?.content, parts.next()?.content.split_first()?.1))
    };
    let Some((kind, key)) = key() else { return false };
    let known = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
    known.iter().any(|one| {
        one.signature_alg_id().as_ref() == algorithm
            && one.public_key_alg_id().as_ref() == kind
            && one.verify_signature(key, data, signature).is_ok()
    })
}
