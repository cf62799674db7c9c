//! Extensions (RFC 5280, 4.2; for signed certificate timestamps RFC 6962, 3.3) in words.

use jiff::Timestamp;
use serde::Serialize;
use x509_parser::extensions::{DistributionPointName, ExtendedKeyUsage, GeneralName, ParsedExtension, X509Extension};
use x509_parser::x509::AlgorithmIdentifier;

use crate::certificate::{general_name, hex};

/// One extension.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct Extension {
    oid: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'static str,
    critical: bool,
    value: String,
}

/// Where more about a certificate is to be had.
#[derive(Debug, Default)]
pub(super) struct Urls {
    pub(super) ocsp: Vec<String>,
    pub(super) issuers: Vec<String>,
    pub(super) crls: Vec<String>,
}

/// A log's promise to publish a certificate.
#[derive(Debug, Serialize)]
pub(super) struct Sct {
    log: String,
    timestamp: Option<Timestamp>,
}

/// Every extension, in its order.
pub(super) fn list(extensions: &[X509Extension<'_>]) -> Vec<Extension> {
    extensions.iter().map(one).collect()
}

fn one(extension: &X509Extension<'_>) -> Extension {
    let oid = extension.oid.to_id_string();
    let (name, value) = described(extension, &oid);
    Extension { oid, name, critical: extension.critical, value }
}

/// In the words that `openssl x509 -text` has for the same, where it has some.
fn described(extension: &X509Extension<'_>, oid: &str) -> (&'static str, String) {
    match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => ("subjectKeyIdentifier", hex(id.0)),
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            let mut parts = Vec::new();
            parts.extend(id.key_identifier.as_ref().map(|id| hex(id.0)));
            parts.extend(id.authority_cert_issuer.as_deref().map(|names| format!("issuer {}", list_names(names))));
            parts.extend(id.authority_cert_serial.map(|serial| format!("serial {}", hex(serial))));
            ("authorityKeyIdentifier", parts.join(", "))
        }
        ParsedExtension::BasicConstraints(basic) => {
            let length = basic.path_len_constraint.map(|length| format!(", pathlen:{length}")).unwrap_or_default();
            ("basicConstraints", format!("CA:{}{length}", if basic.ca { "TRUE" } else { "FALSE" }))
        }
        ParsedExtension::KeyUsage(usage) => ("keyUsage", usages(usage.flags)),
        ParsedExtension::ExtendedKeyUsage(usage) => ("extKeyUsage", purposes(usage)),
        ParsedExtension::SubjectAlternativeName(names) => ("subjectAltName", list_names(&names.general_names)),
        ParsedExtension::IssuerAlternativeName(names) => ("issuerAltName", list_names(&names.general_names)),
        ParsedExtension::NameConstraints(constraints) => {
            let part = |what: &str, trees: &Option<Vec<x509_parser::extensions::GeneralSubtree<'_>>>| {
                let trees = trees.as_deref().unwrap_or_default();
                trees.iter().map(|tree| format!("{what} {}", general_name(&tree.base))).collect::<Vec<_>>()
            };
            let mut parts = part("permitted", &constraints.permitted_subtrees);
            parts.extend(part("excluded", &constraints.excluded_subtrees));
            ("nameConstraints", parts.join(", "))
        }
        ParsedExtension::CertificatePolicies(policies) => {
            let policies: Vec<String> = policies.iter().map(|policy| policy.policy_id.to_id_string()).collect();
            ("certificatePolicies", policies.join(", "))
        }
        ParsedExtension::PolicyMappings(mappings) => {
            let pair = |mapping: &x509_parser::extensions::PolicyMapping<'_>| {
                format!("{} = {}", mapping.issuer_domain_policy, mapping.subject_domain_policy)
            };
            ("policyMappings", mappings.mappings.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        ParsedExtension::PolicyConstraints(constraints) => {
            let mut parts = Vec::new();
            parts.extend(constraints.require_explicit_policy.map(|after| format!("requireExplicitPolicy:{after}")));
            parts.extend(constraints.inhibit_policy_mapping.map(|after| format!("inhibitPolicyMapping:{after}")));
            ("policyConstraints", parts.join(", "))
        }
        ParsedExtension::InhibitAnyPolicy(inhibit) => ("inhibitAnyPolicy", inhibit.skip_certs.to_string()),
        ParsedExtension::CRLDistributionPoints(_) => {
            ("cRLDistributionPoints", urls(std::slice::from_ref(extension)).crls.join(", "))
        }
        ParsedExtension::AuthorityInfoAccess(access) => {
            let one = |access: &x509_parser::extensions::AccessDescription<'_>| {
                let method = access.access_method.to_id_string();
                let method = match method.as_str() {
                    OCSP => "OCSP",
                    ISSUERS => "CA Issuers",
                    other => other,
                };
                format!("{method} {}", general_name(&access.access_location))
            };
            ("authorityInfoAccess", access.accessdescs.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        ParsedExtension::SubjectInfoAccess(access) => {
            let places = access.accessdescs.iter().map(|access| general_name(&access.access_location).to_string());
            ("subjectInfoAccess", places.collect::<Vec<_>>().join(", "))
        }
        ParsedExtension::SCT(timestamps) => ("signedCertificateTimestamps", format!("{} of them", timestamps.len())),
        ParsedExtension::NsCertComment(comment) => ("nsComment", (*comment).to_owned()),
        ParsedExtension::NSCertType(kind) => ("nsCertType", kind.to_string()),
        ParsedExtension::IssuingDistributionPoint(_) => ("issuingDistributionPoint", hex(extension.value)),
        ParsedExtension::CRLNumber(number) => ("cRLNumber", number.to_string()),
        ParsedExtension::ParseError { error } => ("", format!("damaged ({error}): {}", hex(extension.value))),
        _ => match oid {
            "1.3.6.1.5.5.7.1.24" if extension.value == [0x30, 3, 2, 1, 5] => ("tlsFeature", "must-staple".to_owned()),
            "1.3.6.1.5.5.7.1.24" => ("tlsFeature", hex(extension.value)),
            "1.3.6.1.5.5.7.48.1.5" => ("ocspNoCheck", String::new()),
            "1.3.6.1.4.1.11129.2.4.3" => ("precertificatePoison", String::new()),
            "2.5.29.46" => ("freshestCRL", hex(extension.value)),
            "2.5.29.27" => ("deltaCRLIndicator", hex(extension.value)),
            _ => ("", hex(extension.value)),
        },
    }
}

const OCSP: &str = "1.3.6.1.5.5.7.48.1";
const ISSUERS: &str = "1.3.6.1.5.5.7.48.2";

fn list_names(names: &[GeneralName<'_>]) -> String {
    names.iter().map(|name| general_name(name).to_string()).collect::<Vec<_>>().join(", ")
}

/// KeyUsage's bits, from the first (RFC 5280, 4.2.1.3).
fn usages(flags: u16) -> String {
    const NAMES: [&str; 9] = [
        "Digital Signature",
        "Non Repudiation",
        "Key Encipherment",
        "Data Encipherment",
        "Key Agreement",
        "Certificate Sign",
        "CRL Sign",
        "Encipher Only",
        "Decipher Only",
    ];
    let set = NAMES.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

fn purposes(usage: &ExtendedKeyUsage<'_>) -> String {
    let known = [
        (usage.any, "any"),
        (usage.server_auth, "TLS server"),
        (usage.client_auth, "TLS client"),
        (usage.code_signing, "code signing"),
        (usage.email_protection, "e-mail protection"),
        (usage.time_stamping, "time stamping"),
        (usage.ocsp_signing, "OCSP signing"),
    ];
    let known = known.iter().filter(|(has, _)| *has).map(|(_, name)| (*name).to_owned());
    known.chain(usage.other.iter().map(x509_parser::der_parser::Oid::to_id_string)).collect::<Vec<_>>().join(", ")
}

/// The addresses in authorityInfoAccess and cRLDistributionPoints.
pub(super) fn urls(extensions: &[X509Extension<'_>]) -> Urls {
    let url = |name: &GeneralName<'_>| match name {
        GeneralName::URI(url) => Some((*url).to_owned()),
        _ => None,
    };
    let mut urls = Urls::default();
    for extension in extensions {
        match extension.parsed_extension() {
            ParsedExtension::AuthorityInfoAccess(access) => {
                for access in &access.accessdescs {
                    match access.access_method.to_id_string().as_str() {
                        OCSP => urls.ocsp.extend(url(&access.access_location)),
                        ISSUERS => urls.issuers.extend(url(&access.access_location)),
                        _ => {}
                    }
                }
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                for point in &points.points {
                    if let Some(DistributionPointName::FullName(names)) = &point.distribution_point {
                        urls.crls.extend(names.iter().filter_map(url));
                    }
                }
            }
            _ => {}
        }
    }
    urls
}

/// The logs' promises.
pub(super) fn scts(extensions: &[X509Extension<'_>]) -> Vec<Sct> {
    let lists = extensions.iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SCT(list) => Some(list),
        _ => None,
    });
    let all = lists.flatten().map(|sct| Sct {
        log: hex(sct.id.key_id),
        timestamp: i64::try_from(sct.timestamp).ok().and_then(|time| Timestamp::from_millisecond(time).ok()),
    });
    all.collect()
}

/// What signature algorithms are called.
pub(super) fn signature_name(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let oid = algorithm.algorithm.to_id_string();
    let name = match oid.as_str() {
        "1.2.840.113549.1.1.2" => "md2WithRSAEncryption",
        "1.2.840.113549.1.1.4" => "md5WithRSAEncryption",
        "1.2.840.113549.1.1.5" => "sha1WithRSAEncryption",
        "1.2.840.113549.1.1.10" => "rsassaPss",
        "1.2.840.113549.1.1.11" => "sha256WithRSAEncryption",
        "1.2.840.113549.1.1.12" => "sha384WithRSAEncryption",
        "1.2.840.113549.1.1.13" => "sha512WithRSAEncryption",
        "1.2.840.113549.1.1.14" => "sha224WithRSAEncryption",
        "1.2.840.10045.4.1" => "ecdsa-with-SHA1",
        "1.2.840.10045.4.3.1" => "ecdsa-with-SHA224",
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4" => "ecdsa-with-SHA512",
        "1.2.840.10040.4.3" => "dsa-with-SHA1",
        "2.16.840.1.101.3.4.3.2" => "dsa_with_SHA256",
        "1.3.101.112" => "ED25519",
        "1.3.101.113" => "ED448",
        other => other,
    };
    name.to_owned()
}
