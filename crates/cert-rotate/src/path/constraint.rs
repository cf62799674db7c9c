//! Name constraints (RFC 5280, 4.2.1.10): the space within which the names of what an authority issues must be.
//!
//! A constraint or a name that cannot be understood is never taken for one that does not apply. A certificate for
//! `*.a.test` is judged by every name that it would be good for.

use super::extension::Constraints;
use super::facts::Facts;
use super::host;
use super::name::GeneralName;

/// The space that is left on the way from the root to the leaf.
#[derive(Debug, Default)]
pub(super) struct Space<'a> {
    /// A name must be within one of each of these that has any of its kind.
    permitted: Vec<Vec<GeneralName<'a>>>,
    excluded: Vec<GeneralName<'a>>,
}

/// Why a certificate's names will not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outside {
    /// The name is excluded, or not within what is permitted.
    Forbidden(String),
    /// A constraint or the name makes no sense.
    Unclear(String),
    /// More comparisons than anybody needs.
    TooMuch,
}

impl<'a> Space<'a> {
    /// Narrows the space by an authority's constraints.
    pub(super) fn narrow(&mut self, constraints: &Constraints<'a>) {
        self.excluded.extend(constraints.excluded.iter().cloned());
        if !constraints.permitted.is_empty() {
            self.permitted.push(constraints.permitted.clone());
        }
    }

    /// Whether every name of the certificate is in the space. Every comparison takes one off `budget`.
    pub(super) fn admit(&self, facts: &Facts<'_>, budget: &mut usize) -> Result<(), Outside> {
        if self.permitted.is_empty() && self.excluded.is_empty() {
            return Ok(());
        }
        if !facts.subject.is_empty() {
            self.admit_name(&GeneralName::Directory(facts.subject.clone()), budget)?;
        }
        // An address in the subject counts where nothing else says what the certificate is for.
        if facts.extensions.names.is_none() {
            facts.subject.emails.iter().try_for_each(|email| self.admit_name(&GeneralName::Email(email), budget))?;
        }
        facts.extensions.san().iter().try_for_each(|name| self.admit_name(name, budget))
    }

    fn admit_name(&self, name: &GeneralName<'_>, budget: &mut usize) -> Result<(), Outside> {
        let mut spend = |constraint: &GeneralName<'_>| {
            let cost = constraint.directory().map_or(1, |name| name.len().max(1));
            *budget = budget.checked_sub(cost).ok_or(Outside::TooMuch)?;
            Ok(is_same_kind(name, constraint))
        };
        for constraint in &self.excluded {
            if spend(constraint)? && is_within(name, constraint, true)? {
                return Err(Outside::Forbidden(format!("{} is excluded", shown(name))));
            }
        }
        for group in &self.permitted {
            let (mut applies, mut admitted) = (false, false);
            for constraint in group {
                if spend(constraint)? {
                    applies = true;
                    admitted = admitted || is_within(name, constraint, false)?;
                }
            }
            if applies && !admitted {
                return Err(Outside::Forbidden(format!("{} is not within what is permitted", shown(name))));
            }
        }
        Ok(())
    }
}

fn is_same_kind(name: &GeneralName<'_>, constraint: &GeneralName<'_>) -> bool {
    match (name, constraint) {
        (GeneralName::Other(one, _), GeneralName::Other(other, _)) => one == other,
        _ => std::mem::discriminant(name) == std::mem::discriminant(constraint),
    }
}

/// Whether a name is within a constraint of its kind; for an excluded one, whether any name that it stands for is.
fn is_within(name: &GeneralName<'_>, constraint: &GeneralName<'_>, excluded: bool) -> Result<bool, Outside> {
    let unclear = |what: &str, text: &str| Err(Outside::Unclear(format!("the {what} `{text}` makes no sense")));
    match (name, constraint) {
        (GeneralName::Directory(name), GeneralName::Directory(constraint)) => Ok(name.is_within(constraint)),
        (GeneralName::Dns(name), GeneralName::Dns(constraint)) => {
            if !constraint.is_empty() && !host::is_host(constraint) {
                return unclear("constraint", constraint);
            }
            let (base, wild) = name.strip_prefix("*.").map_or((*name, false), |base| (base, true));
            if !host::is_host(base) {
                return unclear("name", name);
            }
            let below = constraint.split_once('.').map(|(_, rest)| rest);
            let could_be = wild && excluded && below.is_some_and(|below| below.eq_ignore_ascii_case(base));
            Ok(is_host_within(base, constraint) || could_be)
        }
        (GeneralName::Email(name), GeneralName::Email(constraint)) => {
            let Some((local, domain)) = mailbox(name) else { return unclear("name", name) };
            if constraint.contains('@') {
                let Some((permitted, host)) = mailbox(constraint) else { return unclear("constraint", constraint) };
                return Ok(local == permitted && domain.eq_ignore_ascii_case(host));
            }
            host_or_domain(domain, constraint).map_or_else(|| unclear("constraint", constraint), Ok)
        }
        (GeneralName::Uri(name), GeneralName::Uri(constraint)) => {
            let Some(host) = uri_host(name) else { return unclear("name", name) };
            host_or_domain(host, constraint).map_or_else(|| unclear("constraint", constraint), Ok)
        }
        (GeneralName::Ip(address), GeneralName::Ip(constraint)) => {
            let (network, mask) = constraint.split_at(constraint.len() / 2);
            let ones = mask.iter().map(|byte| byte.leading_ones()).sum::<u32>();
            let is_prefix = mask.iter().map(|byte| byte.count_ones()).sum::<u32>() == ones
                && mask.windows(2).all(|pair| matches!(pair, [0xff, _] | [_, 0]));
            if !matches!(constraint.len(), 8 | 32) || !is_prefix {
                return unclear("constraint", &crate::certificate::hex(constraint));
            }
            if !matches!(address.len(), 4 | 16) {
                return unclear("address", &crate::certificate::hex(address));
            }
            let matches = |((byte, network), mask): ((&u8, &u8), &u8)| (byte ^ network) & mask == 0;
            Ok(address.len() == network.len() && address.iter().zip(network).zip(mask).all(matches))
        }
        // A kind that is not understood: nothing of it may be there (RFC 5280, 4.2.1.10).
        _ => unclear("kind of name in a constraint,", &shown(name)),
    }
}

/// A host is within a host name and everything below it.
fn is_host_within(host: &str, constraint: &str) -> bool {
    let Some(start) = host.len().checked_sub(constraint.len()) else { return false };
    let ends = host.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(constraint));
    ends && (constraint.is_empty() || start == 0 || host.get(..start).is_some_and(|before| before.ends_with('.')))
}

/// For addresses of mail and URIs a constraint is one host, or with a point in front all hosts of a domain.
fn host_or_domain(host: &str, constraint: &str) -> Option<bool> {
    match constraint.strip_prefix('.') {
        Some(domain) => {
            host::is_host(domain).then(|| is_host_within(host, domain) && !host.eq_ignore_ascii_case(domain))
        }
        None if constraint.is_empty() => Some(true),
        None => host::is_host(constraint).then(|| host.eq_ignore_ascii_case(constraint)),
    }
}

fn mailbox(text: &str) -> Option<(&str, &str)> {
    let (local, domain) = text.split_once('@')?;
    (!local.is_empty() && !local.contains([' ', '"']) && host::is_host(domain)).then_some((local, domain))
}

/// The host of a URI; an address is none, and a constraint cannot be applied to it.
fn uri_host(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    (host::is_host(host) && host.parse::<std::net::IpAddr>().is_err()).then_some(host)
}

fn shown(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::Email(text) | GeneralName::Dns(text) | GeneralName::Uri(text) => (*text).to_owned(),
        GeneralName::Directory(_) => "a distinguished name".to_owned(),
        GeneralName::Ip(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(v4), _) => std::net::IpAddr::from(v4).to_string(),
            (_, Ok(v6)) => std::net::IpAddr::from(v6).to_string(),
            _ => format!("the address {}", crate::certificate::hex(bytes)),
        },
        GeneralName::Other(..) => "a name of another kind".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(text: &str) -> GeneralName<'_> {
        GeneralName::Dns(text)
    }

    fn space<'a>(permitted: &[GeneralName<'a>], excluded: &[GeneralName<'a>]) -> Space<'a> {
        let mut space = Space::default();
        let (permitted, excluded) = (permitted.to_vec(), excluded.to_vec());
        space.narrow(&Constraints { permitted, excluded, critical: true });
        space
    }

    fn admits(space: &Space<'_>, name: &GeneralName<'_>) -> Option<bool> {
        match space.admit_name(name, &mut 1_000) {
            Ok(()) => Some(true),
            Err(Outside::Forbidden(_)) => Some(false),
            Err(_) => None,
        }
    }

    #[test]
    fn host_names_are_within_a_domain_and_below_it() {
        let space = space(&[dns("a.test")], &[dns("no.a.test")]);
        for (name, expected) in [
            ("a.test", Some(true)),
            ("b.A.test", Some(true)),
            ("xa.test", Some(false)),
            ("test", Some(false)),
            ("no.a.test", Some(false)),
            ("deep.no.a.test", Some(false)),
            (".a.test", None),
            ("a..a.test", None),
        ] {
            assert_eq!(admits(&space, &dns(name)), expected, "{name}");
        }
        assert_eq!(admits(&space, &GeneralName::Uri("http://b.test/")), Some(true), "another kind");
    }

    #[test]
    fn a_wildcard_is_judged_by_all_that_it_stands_for() {
        let excluded = space(&[dns("a.test")], &[dns("no.a.test")]);
        assert_eq!(admits(&excluded, &dns("*.a.test")), Some(false));
        assert_eq!(admits(&excluded, &dns("*.yes.a.test")), Some(true));
        assert_eq!(admits(&space(&[dns("yes.a.test")], &[]), &dns("*.a.test")), Some(false));
        assert_eq!(admits(&space(&[dns("a.test")], &[]), &dns("*.a.test")), Some(true));
    }

    #[test]
    fn constraints_that_make_no_sense_admit_nothing() {
        for bad in [".a.test", "*.a.test"] {
            assert_eq!(admits(&space(&[dns(bad)], &[]), &dns("b.a.test")), None, "{bad}");
        }
        let short = space(&[GeneralName::Ip(&[127, 0, 0, 1])], &[]);
        assert_eq!(admits(&short, &GeneralName::Ip(&[127, 0, 0, 1])), None);
        let holes = space(&[], &[GeneralName::Ip(&[10, 0, 0, 0, 255, 0, 255, 0])]);
        assert_eq!(admits(&holes, &GeneralName::Ip(&[127, 0, 0, 1])), None);
        let other = space(&[], &[GeneralName::Other(0xa0, &[])]);
        assert_eq!(admits(&other, &GeneralName::Other(0xa0, &[1])), None);
        assert_eq!(admits(&other, &dns("a.test")), Some(true));
    }

    #[test]
    fn addresses_are_within_networks() {
        let network = space(&[GeneralName::Ip(&[192, 0, 2, 0, 255, 255, 255, 0])], &[]);
        assert_eq!(admits(&network, &GeneralName::Ip(&[192, 0, 2, 7])), Some(true));
        assert_eq!(admits(&network, &GeneralName::Ip(&[192, 0, 3, 7])), Some(false));
        assert_eq!(admits(&network, &GeneralName::Ip(&[0; 16])), Some(false));
        assert_eq!(admits(&network, &GeneralName::Ip(&[192, 0, 2, 0, 255, 255, 255, 0])), None);
    }

    #[test]
    fn mail_and_uris_are_of_a_host_or_of_a_domain() {
        let email = GeneralName::Email;
        for (constraint, name, expected) in [
            ("a.test", "me@a.test", Some(true)),
            ("a.test", "me@b.a.test", Some(false)),
            (".a.test", "me@b.a.test", Some(true)),
            (".a.test", "me@a.test", Some(false)),
            ("me@a.test", "me@A.test", Some(true)),
            ("me@a.test", "you@a.test", Some(false)),
            ("a.test", "me@you@a.test", None),
            ("me@you@a.test", "me@a.test", None),
        ] {
            assert_eq!(admits(&space(&[email(constraint)], &[]), &email(name)), expected, "{constraint} {name}");
        }
        let uri = GeneralName::Uri;
        for (constraint, name, expected) in [
            ("a.test", "https://me@a.test:8443/x?y", Some(true)),
            (".a.test", "https://b.a.test", Some(true)),
            ("a.test", "https://b.a.test", Some(false)),
            ("a.test", "https://127.0.0.1/", None),
            ("a.test", "mailto:me@a.test", None),
        ] {
            assert_eq!(admits(&space(&[uri(constraint)], &[]), &uri(name)), expected, "{constraint} {name}");
        }
    }

    #[test]
    fn a_later_authority_can_only_narrow() {
        let mut two = space(&[dns("a.test")], &[]);
        two.narrow(&Constraints { permitted: vec![dns("b.test"), dns("x.a.test")], ..Constraints::default() });
        assert_eq!(admits(&two, &dns("x.a.test")), Some(true));
        assert_eq!(admits(&two, &dns("y.a.test")), Some(false));
        assert_eq!(admits(&two, &dns("b.test")), Some(false));
    }

    #[test]
    fn comparisons_are_bounded() {
        let names: Vec<String> = (0..100).map(|number| format!("a{number}.test")).collect();
        let many: Vec<GeneralName<'_>> = names.iter().map(|name| dns(name)).collect();
        assert_eq!(space(&many, &[]).admit_name(&dns("a1.test"), &mut 99), Err(Outside::TooMuch));
        assert_eq!(space(&many, &[]).admit_name(&dns("a1.test"), &mut 100), Ok(()));
    }
}
