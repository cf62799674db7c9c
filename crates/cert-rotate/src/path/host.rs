//! Host names and addresses against a certificate's names (RFC 9525).

use std::net::IpAddr;

use crate::certificate::{Certificate, SanName};

/// Whether the certificate is for this host name or address. Only subjectAltName counts (RFC 9525, 6.2); a wildcard
/// stands for exactly one label, the first, and never for an address (6.3).
pub fn covers(certificate: &Certificate, name: &str) -> bool {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return certificate.names.contains(&SanName::Ip(address));
    }
    // An absolute name is the same host.
    let wanted = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if !is_host(&wanted) {
        return false;
    }
    certificate.names.iter().any(|name| match name {
        SanName::Dns(presented) => match presented.strip_prefix("*.") {
            // At least two labels must be named: `*.test` would be everybody's.
            Some(base) => {
                is_host(base) && base.contains('.') && wanted.split_once('.').is_some_and(|(_, rest)| rest == base)
            }
            None => *presented == wanted && is_host(presented),
        },
        _ => false,
    })
}

/// Whether it is a host name: labels of letters, digits, hyphens and underscores, none empty, none too long (RFC 1035).
pub(super) fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Certificate::from_der(rcgen::generate_simple_self_signed(names).unwrap().cert.der()).unwrap()
    }

    #[test]
    fn a_certificate_is_for_its_names_only() {
        let certificate = made(&["a.test", "*.b.test", "10.0.0.1", "::1"]);
        for name in ["a.test", "A.Test", "a.test.", "x.b.test", "10.0.0.1", "::1", "[::1]", "0:0:0:0:0:0:0:1"] {
            assert!(covers(&certificate, name), "{name}");
        }
        for name in ["b.test", "x.y.b.test", "xa.test", "10.0.0.2", "", ".b.test", "*.b.test", "a.test..", "10.0.0.1."]
        {
            assert!(!covers(&certificate, name), "{name}");
        }
    }

    #[test]
    fn a_wildcard_is_a_whole_first_label_below_a_domain() {
        let certificate = made(&["ba*.a.test", "x.*.a.test", "*.test", "*"]);
        for name in ["bar.a.test", "x.y.a.test", "a.test", "test"] {
            assert!(!covers(&certificate, name), "{name}");
        }
    }

    #[test]
    fn the_common_name_is_not_asked() {
        let mut params = rcgen::CertificateParams::new(vec!["other.test".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "a.test");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap();
        assert!(!covers(&certificate, "a.test") && covers(&certificate, "other.test"));
    }
}
