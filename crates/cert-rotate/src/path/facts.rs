//! What validation needs to know of a certificate (RFC 5280, 4.1), read strictly.

use super::der::{BIT_STRING, BOOLEAN, Der, INTEGER, Malformed, OCTET_STRING, OID, Parsed, SEQUENCE};
use super::der::{constructed, context, count, dotted, malformed};
use super::extension::Extensions;
use super::name::Name;
use super::signature::{Key, Signed};
use crate::certificate::Certificate;

/// A certificate, as validation sees it.
#[derive(Debug, Clone)]
pub(super) struct Facts<'a> {
    pub(super) certificate: &'a Certificate,
    pub(super) signed: Signed<'a>,
    /// 1, 2 or 3.
    pub(super) version: u32,
    /// The serial number's octets.
    pub(super) serial: &'a [u8],
    pub(super) issuer: Name,
    pub(super) subject: Name,
    pub(super) key: Key<'a>,
    pub(super) extensions: Extensions<'a>,
}

/// Marks a certificate that has an extension twice: its own finding, as readers differ in which one they believe.
pub(super) const TWICE: &str = "is there twice";

impl<'a> Facts<'a> {
    /// Reads a certificate.
    pub(super) fn read(certificate: &'a Certificate) -> Parsed<Self> {
        let mut outer = Der::new(certificate.der());
        let mut inner = outer.sequence()?;
        outer.end()?;
        let tbs = inner.item()?;
        let algorithm = inner.expect(SEQUENCE)?;
        let signature = whole_bytes(inner.expect(BIT_STRING)?)?;
        inner.end()?;
        if tbs.tag != SEQUENCE {
            return malformed("what is signed is no certificate");
        }
        let mut tbs_inner = Der::new(tbs.content);
        let version = match tbs_inner.optional(constructed(0))? {
            None => 1,
            Some(content) => count(super::der::only(content, INTEGER)?)?.saturating_add(1),
        };
        if !(1..=3).contains(&version) {
            return Err(Malformed(format!("there is no version {version} of X.509")));
        }
        let serial = tbs_inner.expect(INTEGER)?;
        if tbs_inner.expect(SEQUENCE)? != algorithm {
            return malformed("it names one signature algorithm inside and another outside");
        }
        let issuer = Name::read(tbs_inner.expect(SEQUENCE)?)?;
        // The times were read already.
        tbs_inner.expect(SEQUENCE)?;
        let subject = Name::read(tbs_inner.expect(SEQUENCE)?)?;
        let mut spki = tbs_inner.sequence()?;
        let key = Key { algorithm: spki.expect(SEQUENCE)?, key: whole_bytes(spki.expect(BIT_STRING)?)? };
        spki.end()?;
        // Unique identifiers, which nobody uses.
        tbs_inner.optional(context(1))?;
        tbs_inner.optional(context(2))?;
        let extensions = match tbs_inner.optional(constructed(3))? {
            None => Extensions::default(),
            Some(_) if version < 3 => return malformed("it has extensions, which its version has not"),
            Some(content) => Extensions::read(super::der::only(content, SEQUENCE)?, &issuer)?,
        };
        tbs_inner.end()?;
        let signed = Signed { message: tbs.raw, algorithm, signature };
        Ok(Facts { certificate, signed, version, serial, issuer, subject, key, extensions })
    }

    /// Issuer and subject are the same name.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Whether basicConstraints says that it is an authority.
    pub(super) fn is_ca(&self) -> bool {
        self.extensions.basic.is_some_and(|basic| basic.ca)
    }

    /// Whether keyUsage, if there is one, allows this.
    pub(super) fn may(&self, usage: u16) -> bool {
        self.extensions.key_usage.is_none_or(|allowed| allowed & usage != 0)
    }

    /// Whether the other one is of the same authority with the same key.
    pub(super) fn is_same_entity(&self, other: &Facts<'_>) -> bool {
        self.key == other.key && self.subject == other.subject
    }
}

/// A bit string of whole octets.
pub(super) fn whole_bytes(content: &[u8]) -> Parsed<&[u8]> {
    match content.split_first() {
        Some((0, bytes)) => Ok(bytes),
        _ => malformed("a bit string is not of whole octets"),
    }
}

/// One extension.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extension<'a> {
    pub(super) oid: &'a [u8],
    pub(super) critical: bool,
    pub(super) value: &'a [u8],
}

/// Reads the inside of a sequence of extensions; none may be there twice.
pub(super) fn extensions(content: &[u8]) -> Parsed<Vec<Extension<'_>>> {
    let mut all = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut der = Der::new(content);
    while !der.is_empty() {
        let mut one = der.sequence()?;
        let oid = one.expect(OID)?;
        let critical = one.flag(BOOLEAN)?;
        let value = one.expect(OCTET_STRING)?;
        one.end()?;
        if !seen.insert(oid) {
            return Err(Malformed(format!("the extension {} {TWICE}", dotted(oid))));
        }
        all.push(Extension { oid, critical, value });
    }
    if all.is_empty() { malformed("a list of extensions is empty") } else { Ok(all) }
}
