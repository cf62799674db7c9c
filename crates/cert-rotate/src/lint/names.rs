//! The names that a certificate is for: subjectAltName (RFC 5280, 4.2.1.6; RFC 9525; BR 7.1.2.7.12) and the common name.

use std::collections::BTreeSet;
use std::net::IpAddr;

use x509_parser::extensions::GeneralName;

use super::facts::Facts;
use super::{Lint, lints};
use crate::certificate::hex;

/// The most characters of a common name (RFC 5280, appendix A).
const COMMON_NAME: usize = 64;

pub(super) fn lints(facts: &Facts<'_>) -> Vec<Lint> {
    let mut all = of_names(facts);
    if !facts.is_authority() {
        all.extend(of_subscriber(facts));
    }
    all
}

/// What holds for whoever has names.
fn of_names(facts: &Facts<'_>) -> Vec<Lint> {
    let names = facts.names();
    let dns = || names.iter().filter_map(dns_name);
    let malformed =
        dns().find(|name| name.parse::<IpAddr>().is_err() && !is_host(name.strip_prefix("*.").unwrap_or(name)));
    let address = dns().find(|name| name.parse::<IpAddr>().is_ok());
    let unreadable = names.iter().find_map(|name| match name {
        GeneralName::Invalid(_, bytes) => Some(hex(bytes)),
        GeneralName::IPAddress(bytes) if !matches!(bytes.len(), 4 | 16) => Some(format!("address {}", hex(bytes))),
        _ => None,
    });
    let relative = names.iter().find_map(|name| match name {
        GeneralName::URI(uri) if !is_absolute(uri) => Some(*uri),
        _ => None,
    });
    let mailbox = names.iter().find_map(|name| match name {
        GeneralName::RFC822Name(mail) if !is_mailbox(mail) => Some(*mail),
        _ => None,
    });
    let nameless = facts.parsed.subject().as_raw().len() <= 2;
    let public = dns().find(|name| is_public_wildcard(name));
    lints! {
        facts.san.is_some_and(|san| san.value.is_empty()) => "empty-names", Warning, Rfc,
            "its subjectAltName has no names (RFC 5280, 4.2.1.6)";
        malformed.is_some() => "malformed-name", Error, Rfc,
            format!("`{}` is no host name, and no client compares with it (RFC 5280, 4.2.1.6)", malformed.unwrap_or_default().escape_default());
        address.is_some() => "address-as-name", Error, Practice,
            format!("has the address {} as a host name, where no client looks for it (RFC 9525, 6.5)", address.unwrap_or_default());
        unreadable.is_some() => "unreadable-name", Error, Rfc,
            format!("one of its names cannot be read: {} (RFC 5280, 4.2.1.6)", unreadable.as_deref().unwrap_or_default());
        relative.is_some() => "relative-uri", Warning, Rfc,
            format!("the URI `{}` is not absolute (RFC 5280, 4.2.1.6)", relative.unwrap_or_default().escape_default());
        mailbox.is_some() => "malformed-mailbox", Warning, Rfc,
            format!("`{}` is no mailbox (RFC 5280, 4.2.1.6)", mailbox.unwrap_or_default().escape_default());
        nameless && !facts.is_authority() && facts.san.is_some_and(|san| !san.critical) => "names-not-critical", Warning, Rfc,
            "has no subject, and its subjectAltName is not critical (RFC 5280, 4.2.1.6)";
        public.is_some() => "public-wildcard", Warning, Practice,
            format!("{} is a wildcard for everybody's names below a public suffix (BR 3.2.2.6)", public.unwrap_or_default());
    }
}

/// What holds for those that speak for a server.
fn of_subscriber(facts: &Facts<'_>) -> Vec<Lint> {
    let names = facts.names();
    let dns = || names.iter().filter_map(dns_name);
    let common: Vec<&str> = facts.parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok()).collect();
    let strange = common.iter().find(|common| !names.is_empty() && !is_one_of(common, names));
    let long = common.iter().find(|common| common.chars().count() > COMMON_NAME);
    let mut seen = BTreeSet::new();
    let twice = dns().find(|name| !seen.insert(name.to_ascii_lowercase()));
    let wildcard = dns().find(|name| name.strip_prefix("*.").unwrap_or(name).contains('*'));
    let underscore = dns().find(|name| name.contains('_'));
    let reserved = dns().find(|name| name.split('.').any(is_reserved_label));
    let internal = dns()
        .find(|name| name.parse::<IpAddr>().is_err() && is_host(name.trim_start_matches("*.")) && !is_public(name));
    let private = names.iter().find_map(|name| match name {
        GeneralName::IPAddress(bytes) => ip(bytes).filter(is_private),
        _ => None,
    });
    let other = names.iter().any(|name| !matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_)));
    let critical = facts.san.is_some_and(|san| san.critical) && facts.parsed.subject().as_raw().len() > 2;
    let has_none = facts.san.is_none();
    lints! {
        has_none && !facts.is_for_clients_only() => "no-names", Error, Practice,
            "has no subjectAltName, and clients look nowhere else for its names (RFC 9525, 6.2)";
        wildcard.is_some() => "malformed-wildcard", Error, Practice,
            format!("`{}` has an asterisk that is not all of the first label (RFC 9525, 6.3)", wildcard.unwrap_or_default().escape_default());
        strange.is_some() => "common-name", Warning, Baseline,
            format!("its common name `{}` is none of its names (BR 7.1.4.3)", strange.unwrap_or(&"").escape_default());
        common.len() > 1 => "several-common-names", Warning, Baseline, "has more than one common name (BR 7.1.4.3)";
        long.is_some() => "long-common-name", Warning, Rfc, "its common name has more than 64 characters (RFC 5280, appendix A)";
        twice.is_some() => "repeated-name", Notice, Practice, format!("is twice for {}", twice.unwrap_or_default());
        underscore.is_some() => "underscore", Warning, Baseline,
            format!("{} has an underscore, which host names have not (BR 7.1.4.2)", underscore.unwrap_or_default());
        reserved.is_some() => "reserved-label", Warning, Baseline,
            format!("{} has `--` as third and fourth letter and is no international name (BR 7.1.2.7.12)", reserved.unwrap_or_default());
        internal.is_some() => "internal-name", Warning, Baseline,
            format!("{} is below no public suffix (BR 7.1.2.7.12)", internal.unwrap_or_default());
        private.is_some() => "reserved-address", Warning, Baseline,
            format!("{} is reserved, and nobody's (BR 7.1.2.7.12)", private.map_or_else(String::new, |address| address.to_string()));
        other => "other-names", Warning, Baseline, "has names that are neither host names nor addresses (BR 7.1.2.7.12)";
        critical => "critical-names", Notice, Baseline,
            "has a subject, and its subjectAltName is critical all the same (BR 7.1.2.7.12)";
    }
}

fn dns_name<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    }
}

/// Labels of letters, digits, hyphens and underscores; asterisks are another rule's.
fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_public_wildcard(name: &str) -> bool {
    let Some(base) = name.strip_prefix("*.") else { return false };
    let base = base.to_ascii_lowercase();
    psl::suffix(base.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == base.as_bytes())
}

/// Below a suffix that somebody runs in public.
fn is_public(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains('.') && psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known())
}

fn is_reserved_label(label: &str) -> bool {
    label.get(2..4) == Some("--") && !label.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("xn"))
}

fn is_absolute(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|char| char.is_ascii_alphanumeric() || "+-.".contains(char))
            && !rest.is_empty()
    })
}

fn is_mailbox(text: &str) -> bool {
    text.rsplit_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && is_host(host) && !text.contains(['<', '>', ' ']))
}

fn is_one_of(common: &str, names: &[GeneralName<'_>]) -> bool {
    names.iter().any(|name| match name {
        GeneralName::DNSName(name) => name.eq_ignore_ascii_case(common),
        GeneralName::IPAddress(bytes) => ip(bytes).is_some_and(|address| common.parse() == Ok(address)),
        GeneralName::RFC822Name(name) => *name == common,
        _ => false,
    })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(v4), _) => Some(v4.into()),
        (_, Ok(v6)) => Some(v6.into()),
        _ => None,
    }
}

fn is_private(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_documentation()
                || v4.is_multicast()
                || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || matches!(v6.segments(), [0x2001, 0xdb8, ..])
        }
    }
}
