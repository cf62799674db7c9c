//! Names, and what an authority may certify (name constraints, RFC 5280, 4.2.1.10).
//!
//! What an authority may sign stands in its own certificate, where every verifier reads it, and nowhere else: a second
//! list in a configuration could say something different.

use std::net::IpAddr;
use std::str::FromStr;

use maint_core::failure::Failure;
use x509_parser::extensions::{GeneralName, GeneralSubtree};

use crate::certificate::{Certificate, SanName};

/// A part of the names there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subtree {
    /// A domain and all below it; with a leading dot only what is below it; empty: all.
    Dns(String),
    /// The addresses that agree with the first in the bits of the second.
    Network(Vec<u8>, Vec<u8>),
}

/// What an authority may certify.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraints {
    /// If there is one of a name's kind, the name must be in one of these.
    pub permitted: Vec<Subtree>,
    /// It must be in none of these.
    pub excluded: Vec<Subtree>,
}

impl FromStr for Subtree {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let refuse = |why: &str| Failure::usage(format!("`{text}` is no domain and no network: {why}"));
        let Some((address, length)) = text.split_once('/') else {
            if text.parse::<IpAddr>().is_ok() {
                return Err(refuse("an address needs the length of its network").hint("write for example 10.0.0.0/8"));
            }
            let plain = text.strip_prefix('.').unwrap_or(text).to_ascii_lowercase();
            return match domain(&plain) {
                Err(why) => Err(refuse(&why)),
                Ok(()) if plain.starts_with("*.") => Err(refuse("all below a domain is included without `*.`")),
                Ok(()) => Ok(Subtree::Dns(text.to_ascii_lowercase())),
            };
        };
        let address: IpAddr = address.parse().map_err(|_| refuse("there is no address before the `/`"))?;
        let bytes = octets(address);
        let length: usize = length.parse().map_err(|_| refuse("there is no number after the `/`"))?;
        if length > bytes.len() * 8 {
            return Err(refuse("it has fewer bits than that"));
        }
        let mask = mask(bytes.len(), length);
        if bytes.iter().zip(&mask).any(|(byte, mask)| byte & !mask != 0) {
            return Err(refuse("there are bits behind the network's length"));
        }
        Ok(Subtree::Network(bytes, mask))
    }
}

impl Subtree {
    /// Whether a name can be of this kind of subtree at all. An IPv4 network says nothing of IPv6 addresses.
    fn is_about(&self, name: &SanName) -> bool {
        match (self, name) {
            (Subtree::Dns(_), SanName::Dns(_)) => true,
            (Subtree::Network(base, _), SanName::Ip(address)) => base.len() == octets(*address).len(),
            _ => false,
        }
    }

    fn contains(&self, name: &SanName) -> bool {
        match (self, name) {
            (Subtree::Dns(domain), SanName::Dns(name)) => within(name, domain),
            (Subtree::Network(base, mask), SanName::Ip(address)) => {
                let bytes = octets(*address);
                let agrees = |((byte, base), mask): ((&u8, &u8), &u8)| byte & mask == base & mask;
                bytes.len() == base.len() && bytes.iter().zip(base).zip(mask).all(agrees)
            }
            _ => false,
        }
    }

    /// Whether the name can stand for something inside: a wildcard for `*.a` also stands for what is excluded as `b.a`.
    fn touches(&self, name: &SanName) -> bool {
        let below = |domain: &str, parent: &str| within(domain.trim_start_matches('.'), parent);
        match (self, name) {
            (Subtree::Dns(domain), SanName::Dns(name)) if name.starts_with("*.") => {
                let parent = name.strip_prefix("*.").unwrap_or(name);
                within(name, domain) || below(domain, parent)
            }
            _ => self.contains(name),
        }
    }

    fn to_rcgen(&self) -> Option<rcgen::GeneralSubtree> {
        use rcgen::{CidrSubnet, GeneralSubtree};
        Some(match self {
            Subtree::Dns(domain) => GeneralSubtree::DnsName(domain.clone()),
            Subtree::Network(base, mask) => GeneralSubtree::IpAddress(match base.len() {
                4 => CidrSubnet::V4(base.as_slice().try_into().ok()?, mask.as_slice().try_into().ok()?),
                _ => CidrSubnet::V6(base.as_slice().try_into().ok()?, mask.as_slice().try_into().ok()?),
            }),
        })
    }
}

impl std::fmt::Display for Subtree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Subtree::Dns(domain) if domain.is_empty() => f.write_str("every domain"),
            Subtree::Dns(domain) => f.write_str(domain),
            Subtree::Network(base, mask) => {
                let bits: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
                let address = <[u8; 4]>::try_from(base.as_slice()).map(IpAddr::from);
                let address = address.or_else(|_| <[u8; 16]>::try_from(base.as_slice()).map(IpAddr::from));
                match address {
                    Ok(address) => write!(f, "{address}/{bits}"),
                    Err(_) => f.write_str("a network"),
                }
            }
        }
    }
}

impl Constraints {
    /// As an operator gives them. What is not spoken of is forbidden: a verifier takes a kind of names that no constraint
    /// is about as permitted, and an authority for domains would be one for all addresses as well.
    ///
    /// # Errors
    /// One of them is no domain and no network.
    pub fn given(permit: &[String], exclude: &[String]) -> Result<Self, Failure> {
        let read = |texts: &[String]| texts.iter().map(|text| text.parse()).collect::<Result<Vec<Subtree>, Failure>>();
        let mut constraints = Constraints { permitted: read(permit)?, excluded: read(exclude)? };
        let everything = [
            Subtree::Dns(String::new()),
            Subtree::Network(vec![0; 4], vec![0; 4]),
            Subtree::Network(vec![0; 16], vec![0; 16]),
        ];
        for all in everything {
            let same_kind = |other: &Subtree| match (other, &all) {
                (Subtree::Dns(_), Subtree::Dns(_)) => true,
                (Subtree::Network(one, _), Subtree::Network(two, _)) => one.len() == two.len(),
                _ => false,
            };
            if !constraints.permitted.iter().any(same_kind) {
                constraints.excluded.retain(|other| !same_kind(other));
                constraints.excluded.push(all);
            }
        }
        Ok(constraints)
    }

    /// As they stand in an authority's certificate; `None` when it has none.
    ///
    /// # Errors
    /// They are about kinds of names that are not certified here: such an authority was not made here.
    pub fn of(certificate: &Certificate) -> Result<Option<Self>, Failure> {
        let broken = |why: &str| {
            Failure::critical(format!("{}: its name constraints cannot be kept to: {why}", certificate.subject))
        };
        let parsed = certificate.parsed().ok_or_else(|| broken("they cannot be read"))?;
        let Some(extension) = parsed.name_constraints().map_err(|error| broken(&error.to_string()))? else {
            return Ok(None);
        };
        let read = |subtrees: &Option<Vec<GeneralSubtree<'_>>>| {
            subtrees
                .iter()
                .flatten()
                .map(|subtree| match &subtree.base {
                    GeneralName::DNSName(domain) => Ok(Subtree::Dns(domain.to_ascii_lowercase())),
                    GeneralName::IPAddress(bytes) if matches!(bytes.len(), 8 | 32) => {
                        let (base, mask) = bytes.split_at_checked(bytes.len() / 2).unwrap_or_default();
                        Ok(Subtree::Network(base.to_vec(), mask.to_vec()))
                    }
                    other => Err(broken(&format!("{other} is not understood"))),
                })
                .collect::<Result<Vec<_>, Failure>>()
        };
        let value = &extension.value;
        Ok(Some(Constraints { permitted: read(&value.permitted_subtrees)?, excluded: read(&value.excluded_subtrees)? }))
    }

    /// Whether they allow the name.
    ///
    /// # Errors
    /// Why not.
    pub fn allow(&self, name: &SanName) -> Result<(), String> {
        if let Some(excluded) = self.excluded.iter().find(|subtree| subtree.touches(name)) {
            return Err(format!("{excluded} is excluded"));
        }
        let about: Vec<&Subtree> = self.permitted.iter().filter(|subtree| subtree.is_about(name)).collect();
        if about.is_empty() || about.iter().any(|subtree| subtree.contains(name)) {
            return Ok(());
        }
        let permitted: Vec<String> = about.iter().map(ToString::to_string).collect();
        Err(format!("only {} is permitted", permitted.join(", ")))
    }

    /// For a certificate that is to be made.
    pub fn to_rcgen(&self) -> rcgen::NameConstraints {
        let all = |subtrees: &[Subtree]| subtrees.iter().filter_map(Subtree::to_rcgen).collect();
        rcgen::NameConstraints { permitted_subtrees: all(&self.permitted), excluded_subtrees: all(&self.excluded) }
    }
}

/// A name that a certificate can be for here: a domain, perhaps with `*.` before it, or an address.
///
/// # Errors
/// It is neither.
pub fn name(text: &str) -> Result<SanName, Failure> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SanName::Ip(address));
    }
    let lower = text.to_ascii_lowercase();
    match domain(&lower) {
        Ok(()) => Ok(SanName::Dns(lower)),
        Err(why) => Err(Failure::usage(format!("`{text}` is no name for a certificate: {why}"))),
    }
}

/// Letters, digits, `-` and `_` (which names of containers have) in labels of up to 63 characters, 253 in all.
fn domain(text: &str) -> Result<(), String> {
    let plain = text.strip_prefix("*.").unwrap_or(text);
    if plain.is_empty() || text.len() > 253 {
        return Err("it has no length that a domain can have".to_owned());
    }
    for label in plain.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err("a part between dots has no length that it can have".to_owned());
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a part begins or ends with `-`".to_owned());
        }
        if let Some(odd) = label.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))) {
            return Err(format!("{odd:?} stands in no domain (write others than English letters as xn--...)"));
        }
    }
    // A verifier may take it for an address.
    if plain.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("its last part is a number".to_owned());
    }
    Ok(())
}

fn within(name: &str, domain: &str) -> bool {
    if let Some(parent) = domain.strip_prefix('.') {
        return name.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
    }
    domain.is_empty() || name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn mask(bytes: usize, length: usize) -> Vec<u8> {
    (0..bytes)
        .map(|byte| match length.saturating_sub(byte * 8) {
            8.. => 0xff,
            bits => !(0xff_u8 >> bits),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(permit: &[&str], exclude: &[&str]) -> Constraints {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Constraints::given(&owned(permit), &owned(exclude)).unwrap()
    }

    fn allows(constraints: &Constraints, text: &str) -> bool {
        constraints.allow(&name(text).unwrap()).is_ok()
    }

    #[test]
    fn a_domain_is_itself_and_all_below_it_and_nothing_that_only_ends_so() {
        let constraints = given(&["example.test"], &[]);
        for good in ["example.test", "a.example.test", "A.B.EXAMPLE.test", "*.example.test", "*.a.example.test"] {
            assert!(allows(&constraints, good), "{good}");
        }
        for bad in ["badexample.test", "test", "*.test", "example.test.evil", "10.0.0.1", "::1"] {
            assert!(!allows(&constraints, bad), "{bad}");
        }
        let below = given(&[".example.test"], &[]);
        assert!(allows(&below, "a.example.test") && !allows(&below, "example.test"));
    }

    #[test]
    fn a_wildcard_that_stands_for_something_excluded_is_refused() {
        let constraints = given(&["example.test"], &["db.example.test"]);
        for bad in ["db.example.test", "a.db.example.test", "*.db.example.test", "*.example.test"] {
            assert!(!allows(&constraints, bad), "{bad}");
        }
        for good in ["web.example.test", "*.web.example.test", "example.test"] {
            assert!(allows(&constraints, good), "{good}");
        }
    }

    #[test]
    fn networks_hold_by_their_bits_and_kinds_that_are_not_spoken_of_are_forbidden() {
        let constraints = given(&["10.128.0.0/9", "fd00::/8"], &["10.200.0.0/16"]);
        for good in ["10.128.0.1", "10.255.255.255", "fd12::1"] {
            assert!(allows(&constraints, good), "{good}");
        }
        for bad in ["10.127.255.255", "10.200.0.7", "fe80::1", "example.test"] {
            assert!(!allows(&constraints, bad), "{bad}");
        }
    }

    #[test]
    fn what_is_no_subtree_and_no_name_is_refused() {
        for bad in ["", "10.0.0.1", "10.0.0.1/8", "10.0.0.0/33", "a b", "*.example.test", "x/8", "-a.test", "."] {
            assert!(bad.parse::<Subtree>().is_err(), "{bad}");
        }
        for bad in ["", "*", "a..b", "a.b.", "1.2.3", "300.1.1.1", "ü.test", "a.*.b", "*.*.b", "a@b", "http://a"] {
            assert!(name(bad).is_err(), "{bad}");
        }
        assert!(name("auth_service").is_ok() && name("xn--bcher-kva.test").is_ok());
    }

    #[test]
    fn what_is_written_into_a_certificate_is_read_again() {
        let constraints = given(&["example.test", "10.0.0.0/8"], &["db.example.test", "10.1.0.0/16"]);
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params.name_constraints = Some(constraints.to_rcgen());
        let key = rcgen::KeyPair::generate().unwrap();
        let made = Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap();
        assert_eq!(Constraints::of(&made).unwrap(), Some(constraints));
    }
}
