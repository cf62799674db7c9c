//! Extensions of certificates (RFC 5280, 4.2): all that path validation goes by. An extension of these that cannot be read
//! makes the certificate unusable, critical or not: what it would have forbidden is not known.

use super::crl::List;
use super::der::{BIT_STRING, BOOLEAN, Der, INTEGER, Malformed, OCTET_STRING, OID, Parsed, SEQUENCE};
use super::der::{bits, constructed, context, count, dotted, malformed, only};
use super::facts::{Extension, extensions};
use super::name::{GeneralName, Name};

/// keyUsage: digitalSignature.
pub(super) const DIGITAL_SIGNATURE: u16 = 1;
/// keyUsage: keyEncipherment.
pub(super) const KEY_ENCIPHERMENT: u16 = 1 << 2;
/// keyUsage: keyAgreement.
pub(super) const KEY_AGREEMENT: u16 = 1 << 4;
/// keyUsage: keyCertSign.
pub(super) const KEY_CERT_SIGN: u16 = 1 << 5;
/// keyUsage: cRLSign.
pub(super) const CRL_SIGN: u16 = 1 << 6;

/// Every reason for which a certificate is revoked: all bits of ReasonFlags but the unused first.
pub(super) const ALL_REASONS: u16 = 0x1fe;

/// The most places that a certificate may name; each may repeat its issuer's name, which would be quadratic.
const PLACES: usize = 100;

/// anyPolicy.
pub(super) const ANY_POLICY: &[u8] = &[0x55, 0x1d, 0x20, 0x00];

/// basicConstraints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Basic {
    pub(super) ca: bool,
    pub(super) path_length: Option<u32>,
    pub(super) critical: bool,
}

/// nameConstraints.
#[derive(Debug, Clone, Default)]
pub(super) struct Constraints<'a> {
    pub(super) permitted: Vec<GeneralName<'a>>,
    pub(super) excluded: Vec<GeneralName<'a>>,
    pub(super) critical: bool,
}

/// A place where a list is published, as a certificate or the list names it.
#[derive(Debug, Clone)]
pub(super) struct Point<'a> {
    /// Its names; a relative one is already put below its issuer's.
    pub(super) names: Vec<GeneralName<'a>>,
    pub(super) reasons: u16,
    /// cRLIssuer: who issues the list, when it is not the certificate's issuer.
    pub(super) issuers: Vec<Name>,
}

impl Point<'_> {
    /// What it costs to compare its names with those of a list.
    pub(super) fn size(&self, list: &List<'_>) -> usize {
        let names = list.scope.as_ref().map_or(0, |scope| scope.names.len());
        names * (self.names.len() + self.issuers.len()) + self.issuers.len()
    }
}

/// authorityKeyIdentifier.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AuthorityKey<'a> {
    pub(super) id: Option<&'a [u8]>,
    /// It names the issuer's certificate as well, or instead.
    pub(super) names_certificate: bool,
}

/// The extensions of a certificate.
#[derive(Debug, Clone, Default)]
pub(super) struct Extensions<'a> {
    pub(super) basic: Option<Basic>,
    pub(super) key_usage: Option<u16>,
    pub(super) purposes: Option<Vec<&'a [u8]>>,
    pub(super) purposes_are_critical: bool,
    /// subjectAltName, and whether it is critical.
    pub(super) names: Option<(Vec<GeneralName<'a>>, bool)>,
    pub(super) constraints: Option<Constraints<'a>>,
    pub(super) policies: Option<Vec<&'a [u8]>>,
    pub(super) mappings: Vec<(&'a [u8], &'a [u8])>,
    pub(super) require_explicit: Option<u32>,
    pub(super) inhibit_mapping: Option<u32>,
    pub(super) inhibit_any: Option<u32>,
    /// cRLDistributionPoints.
    pub(super) points: Vec<Point<'a>>,
    pub(super) subject_key: Option<&'a [u8]>,
    pub(super) authority_key: Option<AuthorityKey<'a>>,
    /// Critical extensions that nobody here knows.
    pub(super) unknown: Vec<String>,
    /// Critical ones that RFC 5280 wants not critical, and the other way round.
    pub(super) wrong_criticality: Vec<&'static str>,
}

impl<'a> Extensions<'a> {
    /// Reads the inside of the sequence. `issuer` is the certificate's.
    pub(super) fn read(content: &'a [u8], issuer: &Name) -> Parsed<Self> {
        let mut all = Extensions::default();
        for extension in extensions(content)? {
            all.add(extension, issuer).map_err(|Malformed(why)| {
                Malformed(format!("the extension {} does not hold: {why}", dotted(extension.oid)))
            })?;
        }
        Ok(all)
    }

    fn add(&mut self, extension: Extension<'a>, issuer: &Name) -> Parsed<()> {
        let Extension { oid, critical, value } = extension;
        match oid {
            [0x55, 0x1d, 0x0e] => {
                self.subject_key = Some(only(value, OCTET_STRING)?);
                self.never_critical(critical, "subjectKeyIdentifier");
            }
            [0x55, 0x1d, 0x0f] => self.key_usage = Some(bits(only(value, BIT_STRING)?)?),
            [0x55, 0x1d, 0x11] => self.names = Some((GeneralName::all(only(value, SEQUENCE)?)?, critical)),
            [0x55, 0x1d, 0x12] => drop(GeneralName::all(only(value, SEQUENCE)?)?),
            [0x55, 0x1d, 0x13] => self.basic = Some(basic(value, critical)?),
            [0x55, 0x1d, 0x1e] => self.constraints = Some(constraints(value, critical)?),
            [0x55, 0x1d, 0x1f] => self.points = points(value, issuer)?,
            [0x55, 0x1d, 0x20] => self.policies = Some(policies(value)?),
            [0x55, 0x1d, 0x21] => self.mappings = mappings(value)?,
            [0x55, 0x1d, 0x23] => {
                self.authority_key = Some(authority_key(value)?);
                self.never_critical(critical, "authorityKeyIdentifier");
            }
            [0x55, 0x1d, 0x24] => {
                let mut der = Der::new(only(value, SEQUENCE)?);
                self.require_explicit = der.optional(context(0))?.map(count).transpose()?;
                self.inhibit_mapping = der.optional(context(1))?.map(count).transpose()?;
                der.end()?;
                self.always_critical(critical, "policyConstraints");
            }
            [0x55, 0x1d, 0x25] => {
                self.purposes = Some(identifiers(only(value, SEQUENCE)?)?);
                self.purposes_are_critical = critical;
            }
            [0x55, 0x1d, 0x36] => {
                self.inhibit_any = Some(count(only(value, INTEGER)?)?);
                self.always_critical(critical, "inhibitAnyPolicy");
            }
            // freshestCRL: the lists that it names are looked for among those at hand.
            [0x55, 0x1d, 0x2e] => drop(points(value, issuer)?),
            // authorityInfoAccess and subjectInfoAccess.
            [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01 | 0x0b] => {
                let mut der = Der::new(only(value, SEQUENCE)?);
                if der.is_empty() {
                    return malformed("it names nothing");
                }
                while !der.is_empty() {
                    let mut one = der.sequence()?;
                    one.expect(OID)?;
                    GeneralName::read(&mut one)?;
                    one.end()?;
                }
                self.never_critical(critical, "authorityInfoAccess");
            }
            _ if critical => self.unknown.push(dotted(oid)),
            _ => {}
        }
        Ok(())
    }

    fn never_critical(&mut self, critical: bool, name: &'static str) {
        if critical {
            self.wrong_criticality.push(name);
        }
    }

    fn always_critical(&mut self, critical: bool, name: &'static str) {
        self.never_critical(!critical, name);
    }

    /// The names of subjectAltName.
    pub(super) fn san(&self) -> &[GeneralName<'a>] {
        self.names.as_ref().map_or(&[], |(names, _)| names)
    }
}

fn basic(value: &[u8], critical: bool) -> Parsed<Basic> {
    let mut der = Der::new(only(value, SEQUENCE)?);
    let ca = der.flag(BOOLEAN)?;
    let path_length = der.optional(INTEGER)?.map(count).transpose()?;
    der.end()?;
    Ok(Basic { ca, path_length, critical })
}

fn constraints(value: &[u8], critical: bool) -> Parsed<Constraints<'_>> {
    let mut der = Der::new(only(value, SEQUENCE)?);
    let permitted = der.optional(constructed(0))?.map(subtrees).transpose()?;
    let excluded = der.optional(constructed(1))?.map(subtrees).transpose()?;
    der.end()?;
    if permitted.is_none() && excluded.is_none() {
        return malformed("it constrains nothing");
    }
    Ok(Constraints { permitted: permitted.unwrap_or_default(), excluded: excluded.unwrap_or_default(), critical })
}

fn subtrees(content: &[u8]) -> Parsed<Vec<GeneralName<'_>>> {
    let (mut der, mut all) = (Der::new(content), Vec::new());
    while !der.is_empty() {
        let mut subtree = der.sequence()?;
        all.push(GeneralName::read(&mut subtree)?);
        if subtree.optional(context(0))?.is_some_and(|minimum| minimum != [0]) || !subtree.is_empty() {
            return malformed("a subtree has a depth, which nobody may use");
        }
    }
    if all.is_empty() { malformed("a list of subtrees is empty") } else { Ok(all) }
}

fn identifiers(content: &[u8]) -> Parsed<Vec<&[u8]>> {
    let (mut der, mut all) = (Der::new(content), Vec::new());
    while !der.is_empty() {
        all.push(der.expect(OID)?);
    }
    if all.is_empty() { malformed("a list of identifiers is empty") } else { Ok(all) }
}

fn policies(value: &[u8]) -> Parsed<Vec<&[u8]>> {
    let (mut der, mut all) = (Der::new(only(value, SEQUENCE)?), Vec::new());
    while !der.is_empty() {
        let mut one = der.sequence()?;
        all.push(one.expect(OID)?);
        one.optional(SEQUENCE)?;
        one.end()?;
    }
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    if all.is_empty() || distinct.len() != all.len() {
        return malformed("it names no policy, or one twice");
    }
    Ok(all)
}

fn mappings(value: &[u8]) -> Parsed<Vec<(&[u8], &[u8])>> {
    let (mut der, mut all) = (Der::new(only(value, SEQUENCE)?), Vec::new());
    while !der.is_empty() {
        let mut one = der.sequence()?;
        all.push((one.expect(OID)?, one.expect(OID)?));
        one.end()?;
    }
    if all.is_empty() { malformed("it maps nothing") } else { Ok(all) }
}

fn authority_key(value: &[u8]) -> Parsed<AuthorityKey<'_>> {
    let mut der = Der::new(only(value, SEQUENCE)?);
    let id = der.optional(context(0))?;
    let issuer = der.optional(constructed(1))?;
    let serial = der.optional(context(2))?;
    der.end()?;
    Ok(AuthorityKey { id, names_certificate: issuer.is_some() || serial.is_some() })
}

fn points<'a>(value: &'a [u8], issuer: &Name) -> Parsed<Vec<Point<'a>>> {
    let (mut der, mut all) = (Der::new(only(value, SEQUENCE)?), Vec::new());
    while !der.is_empty() {
        let mut one = der.sequence()?;
        let place = one.optional(constructed(0))?;
        let reasons = one.optional(context(1))?.map(bits).transpose()?.map_or(ALL_REASONS, |some| some & ALL_REASONS);
        let issuers = match one.optional(constructed(2))? {
            Some(content) => {
                GeneralName::all(content)?.iter().filter_map(|name| name.directory().cloned()).collect::<Vec<_>>()
            }
            None => Vec::new(),
        };
        one.end()?;
        let names = place.map(|place| place_names(place, issuers.first().unwrap_or(issuer))).transpose()?;
        if names.is_none() && issuers.is_empty() {
            return malformed("a distribution point names neither a place nor an issuer");
        }
        all.push(Point { names: names.unwrap_or_default(), reasons, issuers });
        if all.len() > PLACES {
            return malformed("it names more places than anybody needs");
        }
    }
    if all.is_empty() { malformed("it names no place") } else { Ok(all) }
}

/// The inside of a DistributionPointName, which is tagged explicitly.
pub(super) fn place_names<'a>(content: &'a [u8], issuer: &Name) -> Parsed<Vec<GeneralName<'a>>> {
    const FULL: u8 = constructed(0);
    const RELATIVE: u8 = constructed(1);
    let mut der = Der::new(content);
    let item = der.item()?;
    der.end()?;
    match item.tag {
        FULL => GeneralName::all(item.content),
        RELATIVE => Ok(vec![GeneralName::Directory(issuer.with(item.content)?)]),
        _ => malformed("a place has no name of a known kind"),
    }
}
