//! Revocation lists (RFC 5280, 5): complete and delta ones, direct and indirect.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;

use super::der::{BIT_STRING, Der, ENUMERATED, INTEGER, Malformed, Parsed, SEQUENCE};
use super::der::{bits, constructed, context, count, dotted, malformed, only};
use super::extension::{ALL_REASONS, place_names};
use super::facts::{Extension, extensions, whole_bytes};
use super::name::{GeneralName, Name};
use super::signature::Signed;

/// A revocation list could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CrlError {
    /// Not a list, or one that breaks its own rules.
    #[error("it is no revocation list: {0}")]
    Malformed(String),
    /// A PEM text does not hold.
    #[error("the PEM text does not hold: {0}")]
    Pem(String),
    /// There is nothing in it.
    #[error("there is no revocation list in it: expected DER, or PEM with `BEGIN X509 CRL`")]
    Nothing,
}

/// A revocation list that was read; whether to believe it is for [`judge`](super::judge) to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crl {
    der: Vec<u8>,
    /// When it was issued.
    pub this_update: Timestamp,
    /// When the next one is due: after it, this one says nothing of who is not on it.
    pub next_update: Timestamp,
    /// How many certificates are on it.
    pub revoked: usize,
}

impl Crl {
    /// Reads one list in DER, or every list of a PEM text.
    ///
    /// # Errors
    /// One of them does not hold, or there is none.
    pub fn all(bytes: &[u8]) -> Result<Vec<Crl>, CrlError> {
        if bytes.first() == Some(&SEQUENCE) {
            return Ok(vec![Crl::from_der(bytes)?]);
        }
        let mut all = Vec::new();
        for block in CertificateRevocationListDer::pem_slice_iter(bytes) {
            let block = block.map_err(|error| CrlError::Pem(error.to_string()))?;
            all.push(Crl::from_der(&block)?);
        }
        if all.is_empty() { Err(CrlError::Nothing) } else { Ok(all) }
    }

    fn from_der(der: &[u8]) -> Result<Crl, CrlError> {
        let list = List::read(der).map_err(|Malformed(why)| CrlError::Malformed(why))?;
        let (this_update, next_update, revoked) = (list.this_update, list.next_update, list.entries.len());
        Ok(Crl { der: der.to_vec(), this_update, next_update, revoked })
    }

    /// The bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

/// issuingDistributionPoint.
#[derive(Debug, Clone)]
pub(super) struct Scope<'a> {
    pub(super) names: Vec<GeneralName<'a>>,
    pub(super) only_users: bool,
    pub(super) only_authorities: bool,
    pub(super) only_attributes: bool,
    pub(super) reasons: u16,
    pub(super) indirect: bool,
    /// As encoded: a delta list must have the same.
    pub(super) raw: &'a [u8],
}

/// A certificate on a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) serial: &'a [u8],
    /// Which of the list's other issuers issued it; `None` for the list's own.
    issuer: Option<usize>,
    pub(super) reason: u32,
}

/// reasonCode: taken off the list again.
pub(super) const REMOVED: u32 = 8;

/// A list, as validation sees it.
#[derive(Debug, Clone)]
pub(super) struct List<'a> {
    pub(super) signed: Signed<'a>,
    pub(super) issuer: Name,
    pub(super) this_update: Timestamp,
    pub(super) next_update: Timestamp,
    entries: Vec<Entry<'a>>,
    others: Vec<Vec<Name>>,
    /// cRLNumber, without leading zeros.
    pub(super) number: Option<&'a [u8]>,
    /// BaseCRLNumber of a delta list.
    pub(super) base: Option<&'a [u8]>,
    pub(super) scope: Option<Scope<'a>>,
    pub(super) authority_key: Option<&'a [u8]>,
    /// Why nobody may go by it.
    pub(super) unusable: Option<String>,
}

impl<'a> List<'a> {
    pub(super) fn read(der: &'a [u8]) -> Parsed<Self> {
        let mut outer = Der::new(der);
        let mut inner = outer.sequence()?;
        outer.end()?;
        let tbs = inner.item()?;
        let algorithm = inner.expect(SEQUENCE)?;
        let signature = whole_bytes(inner.expect(BIT_STRING)?)?;
        inner.end()?;
        if tbs.tag != SEQUENCE {
            return malformed("what is signed is no list");
        }
        let mut tbs_inner = Der::new(tbs.content);
        if tbs_inner.optional(INTEGER)?.is_some_and(|version| version != [1]) {
            return malformed("its version is not 2");
        }
        if tbs_inner.expect(SEQUENCE)? != algorithm {
            return malformed("it names one signature algorithm inside and another outside");
        }
        let issuer = Name::read(tbs_inner.expect(SEQUENCE)?)?;
        let this_update = time(&mut tbs_inner)?;
        let next_update = time(&mut tbs_inner)?;
        let mut list = List {
            signed: Signed { message: tbs.raw, algorithm, signature },
            issuer,
            this_update,
            next_update,
            entries: Vec::new(),
            others: Vec::new(),
            number: None,
            base: None,
            scope: None,
            authority_key: None,
            unusable: None,
        };
        if let Some(content) = tbs_inner.optional(SEQUENCE)? {
            list.read_entries(content)?;
        }
        if let Some(content) = tbs_inner.optional(constructed(0))? {
            for extension in extensions(only(content, SEQUENCE)?)? {
                list.add(extension)?;
            }
        }
        tbs_inner.end()?;
        if list.number.is_none() {
            list.unusable = Some("it has no number".to_owned());
        }
        Ok(list)
    }

    fn read_entries(&mut self, content: &'a [u8]) -> Parsed<()> {
        let mut der = Der::new(content);
        let mut issuer = None;
        let mut seen = std::collections::HashSet::new();
        while !der.is_empty() {
            let mut one = der.sequence()?;
            let serial = one.expect(INTEGER)?;
            time(&mut one)?;
            let mut reason = 0;
            if let Some(content) = one.optional(SEQUENCE)? {
                for extension in extensions(content)? {
                    match extension.oid {
                        [0x55, 0x1d, 0x15] => reason = count(only(extension.value, ENUMERATED)?)?,
                        // certificateIssuer: from here on, until another is named.
                        [0x55, 0x1d, 0x1d] => {
                            let names = GeneralName::all(only(extension.value, SEQUENCE)?)?;
                            self.others.push(names.iter().filter_map(|name| name.directory().cloned()).collect());
                            issuer = Some(self.others.len() - 1);
                        }
                        _ if extension.critical => self.is_unknown(extension.oid),
                        _ => {}
                    }
                }
            }
            one.end()?;
            if !seen.insert((issuer, serial)) {
                self.unusable = Some("a certificate is on it twice".to_owned());
            }
            self.entries.push(Entry { serial, issuer, reason });
        }
        Ok(())
    }

    fn add(&mut self, extension: Extension<'a>) -> Parsed<()> {
        let Extension { oid, critical, value } = extension;
        match oid {
            [0x55, 0x1d, 0x14] => {
                self.number = Some(number(value)?);
                if critical {
                    self.unusable = Some("its number is critical, which it may not be".to_owned());
                }
            }
            [0x55, 0x1d, 0x1b] => {
                self.base = Some(number(value)?);
                if !critical {
                    self.unusable = Some("that it is a delta is not critical, as it must be".to_owned());
                }
            }
            [0x55, 0x1d, 0x1c] => self.scope = Some(scope(value, &self.issuer)?),
            [0x55, 0x1d, 0x23] => {
                let mut der = Der::new(only(value, SEQUENCE)?);
                self.authority_key = der.optional(context(0))?;
            }
            _ if critical => self.is_unknown(oid),
            _ => {}
        }
        Ok(())
    }

    fn is_unknown(&mut self, oid: &[u8]) {
        self.unusable = Some(format!("it has the critical extension {}, which nobody here knows", dotted(oid)));
    }

    /// The entry of a certificate of this issuer and serial number.
    pub(super) fn entry(&self, issuer: &Name, serial: &[u8]) -> Option<Entry<'a>> {
        let is_of = |entry: &&Entry<'a>| match entry.issuer.and_then(|index| self.others.get(index)) {
            Some(names) => names.contains(issuer),
            None => *issuer == self.issuer,
        };
        self.entries.iter().filter(|entry| entry.serial == serial).find(is_of).copied()
    }

    /// What it costs to look for a certificate in it: a share of its length.
    pub(super) fn size(&self) -> usize {
        1 + self.entries.len() / 16
    }

    /// Whether this delta list goes on from that complete one (RFC 5280, 5.2.4).
    pub(super) fn goes_on_from(&self, complete: &List<'_>) -> bool {
        let (Some(base), Some(number), Some(from)) = (self.base, self.number, complete.number) else { return false };
        let same_scope = match (&self.scope, &complete.scope) {
            (Some(one), Some(other)) => one.raw == other.raw,
            (None, None) => true,
            _ => false,
        };
        same_scope
            && self.issuer == complete.issuer
            && self.authority_key == complete.authority_key
            && !is_less(from, base)
            && is_less(from, number)
    }
}

/// Numbers of any length.
fn is_less(one: &[u8], other: &[u8]) -> bool {
    (one.len(), one) < (other.len(), other)
}

/// A list's number: not negative, without leading zeros.
fn number(value: &[u8]) -> Parsed<&[u8]> {
    match only(value, INTEGER)? {
        [] => malformed("a number is empty"),
        [first, ..] if first & 0x80 != 0 => malformed("a number is negative"),
        [0, rest @ ..] => Ok(rest),
        digits => Ok(digits),
    }
}

fn scope<'a>(value: &'a [u8], issuer: &Name) -> Parsed<Scope<'a>> {
    let mut der = Der::new(only(value, SEQUENCE)?);
    let names = der.optional(constructed(0))?.map(|place| place_names(place, issuer)).transpose()?.unwrap_or_default();
    let only_users = der.flag(context(1))?;
    let only_authorities = der.flag(context(2))?;
    let reasons = der.optional(context(3))?.map(bits).transpose()?.map_or(ALL_REASONS, |some| some & ALL_REASONS);
    let indirect = der.flag(context(4))?;
    let only_attributes = der.flag(context(5))?;
    der.end()?;
    Ok(Scope { names, only_users, only_authorities, only_attributes, reasons, indirect, raw: value })
}

/// UTCTime, or from 2050 on GeneralizedTime (RFC 5280, 5.1.2.4), both in seconds and UTC.
fn time(der: &mut Der<'_>) -> Parsed<Timestamp> {
    const UTC: u8 = 0x17;
    const GENERALIZED: u8 = 0x18;
    let item = der.item()?;
    let Some((digits, b"Z")) = item.content.split_last_chunk::<1>() else {
        return malformed("a time does not end in Z");
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return malformed("a time is not of digits");
    }
    let pairs: Vec<i16> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0'))).collect();
    let (year, rest) = match (item.tag, pairs.as_slice()) {
        (UTC, [year, rest @ ..]) if digits.len() == 12 => (if *year < 50 { 2000 + year } else { 1900 + year }, rest),
        (GENERALIZED, [century, year, rest @ ..]) if digits.len() == 14 && *century * 100 + year >= 2050 => {
            (century * 100 + year, rest)
        }
        _ => return malformed("a time is not in its form"),
    };
    let parts: Vec<i8> = rest.iter().filter_map(|&part| i8::try_from(part).ok()).collect();
    let [month, day, hour, minute, second] = parts.as_slice() else { return malformed("a time is cut off") };
    let Ok(civil) = DateTime::new(year, *month, *day, *hour, *minute, *second, 0) else {
        return malformed("there is no such time");
    };
    // The last hours of the year 9999 are beyond what a timestamp can be.
    Ok(civil.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |zoned| zoned.timestamp()))
}
