//! Every rule: a certificate that breaks it, and one that differs in nothing else and breaks none.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
    SerialNumber,
};

use super::*;
use crate::tlv::{self, BIT_STRING, OCTET_STRING, OID, SEQUENCE};

const BOOLEAN: u8 = 1;
const POLICY: &[u8] = &[0x67, 0x81, 0x0c, 0x01, 0x02, 0x01];

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut whole = tlv::header(tag, content.len());
    whole.extend(content);
    whole
}

fn extension(oid: &[u64], content: Vec<u8>) -> CustomExtension {
    CustomExtension::from_oid_content(oid, content)
}

fn policies(all: &[&[u8]]) -> CustomExtension {
    let all: Vec<Vec<u8>> = all.iter().map(|policy| der(SEQUENCE, &[&der(OID, &[policy])])).collect();
    extension(&[2, 5, 29, 32], der(SEQUENCE, &[&all.concat()]))
}

fn access(url: &str) -> CustomExtension {
    let method = der(OID, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 2]]);
    let one = der(SEQUENCE, &[&method, &der(0x86, &[url.as_bytes()])]);
    extension(&[1, 3, 6, 1, 5, 5, 7, 1, 1], der(SEQUENCE, &[&one]))
}

fn key_usage(bits: &[u8]) -> CustomExtension {
    let mut usage = extension(&[2, 5, 29, 15], der(BIT_STRING, &[bits]));
    usage.set_criticality(true);
    usage
}

/// Without a complaint, from the first of February 2030 on for 40 days.
fn good() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["www.example.com".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "www.example.com");
    params.not_before = rcgen::date_time_ymd(2030, 2, 1);
    params.not_after = rcgen::date_time_ymd(2030, 3, 13);
    params.serial_number = Some(SerialNumber::from_slice(&[0x51; 16]));
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["http://a.example.com/c".to_owned()] }];
    // A list of one: version, log, time, no extensions, ECDSA with SHA-256, and a signature of one octet.
    let timestamp =
        [&[0, 50, 0, 48, 0][..], &[0x11; 32], &[0, 0, 1, 0, 0, 0, 0, 0], &[0, 0], &[4, 3, 0, 1, 0]].concat();
    let timestamps = extension(&[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2], der(OCTET_STRING, &[&timestamp]));
    params.custom_extensions = vec![policies(&[POLICY]), access("http://a.example.com/i"), timestamps];
    params
}

fn good_authority() -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "An authority");
    params.not_before = rcgen::date_time_ymd(2030, 1, 1);
    params.not_after = rcgen::date_time_ymd(2035, 1, 1);
    params.serial_number = Some(SerialNumber::from_slice(&[0x52; 16]));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn issuer() -> Issuer<'static, KeyPair> {
    let mut params = good_authority();
    common_name(&mut params, "Another authority");
    Issuer::new(params, KeyPair::generate().unwrap())
}

fn signed(params: &CertificateParams) -> Certificate {
    let issuer = issuer();
    let certificate = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    Certificate::from_der(certificate.der()).unwrap()
}

/// The certificate with other bytes in one place; its signature no longer holds, which is not looked at here.
fn patched(params: &CertificateParams, from: &[u8], to: &[u8]) -> Certificate {
    assert_eq!(from.len(), to.len());
    let mut bytes = signed(params).der().to_vec();
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes[at..at + from.len()].copy_from_slice(to);
    Certificate::from_der(&bytes).unwrap()
}

fn codes(certificate: &Certificate, role: Role) -> Vec<&'static str> {
    lint(certificate, role).iter().map(|found| found.code).collect()
}

/// With this change, and no other, exactly these rules are broken.
fn subscriber(expected: &[&str], change: impl FnOnce(&mut CertificateParams)) {
    let mut params = good();
    change(&mut params);
    assert_eq!(codes(&signed(&params), Role::Subscriber), expected);
}

fn authority(expected: &[&str], change: impl FnOnce(&mut CertificateParams)) {
    let mut params = good_authority();
    change(&mut params);
    assert_eq!(codes(&signed(&params), Role::Authority), expected);
}

fn names(all: &[&str]) -> Vec<SanType> {
    all.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect()
}

fn common_name(params: &mut CertificateParams, name: &str) {
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
}

/// A certificate for these names, whose common name is the first of them.
fn named(expected: &[&str], all: &[&str]) {
    subscriber(expected, |params| {
        params.subject_alt_names = names(all);
        common_name(params, all[0]);
    });
}

#[test]
fn a_good_certificate_has_no_complaints() {
    subscriber(&[], |_| {});
    authority(&[], |_| {});
    let mut root = good_authority();
    root.extended_key_usages = Vec::new();
    let root = root.self_signed(&KeyPair::generate().unwrap()).unwrap();
    assert_eq!(codes(&Certificate::from_der(root.der()).unwrap(), Role::Authority), [""; 0]);
}

#[test]
fn serial_numbers_are_positive_short_and_by_chance() {
    let serial = |expected: &[&str], bytes: &[u8]| {
        subscriber(expected, |params| params.serial_number = Some(SerialNumber::from_slice(bytes)));
    };
    serial(&["serial-guessable"], &[1]);
    serial(&["serial-not-positive", "serial-guessable"], &[0]);
    serial(&[], &[0x7f; 20]);
    serial(&["serial-too-long"], &[0x7f; 21]);
    let negative = patched(&good(), &[0x51; 16], &[&[0x81][..], &[0x51; 15]].concat());
    assert_eq!(codes(&negative, Role::Subscriber), ["serial-not-positive"]);
}

#[test]
fn times_are_in_the_form_of_their_year() {
    let end = b"300313000000Z";
    let at = |to: &[u8]| codes(&patched(&good(), end, to), Role::Subscriber);
    assert_eq!(at(end), [""; 0]);
    assert_eq!(at(b"290313000000Z"), ["validity-reversed"]);
    let mut params = good();
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2050, 1, 1), rcgen::date_time_ymd(2050, 2, 1));
    assert_eq!(codes(&signed(&params), Role::Subscriber), [""; 0]);
    // A year with a century where there should be none.
    let early = patched(&params, b"20500101000000Z", b"20490601000000Z");
    assert_eq!(codes(&early, Role::Subscriber), ["validity-encoding", "lifetime-too-long"]);
}

#[test]
fn lifetimes_have_the_limit_of_their_first_day() {
    subscriber(&[], |params| params.not_after = rcgen::date_time_ymd(2030, 3, 19));
    subscriber(&["lifetime-too-long"], |params| params.not_after = rcgen::date_time_ymd(2030, 3, 20));
    subscriber(&[], |params| {
        params.not_before = rcgen::date_time_ymd(2024, 1, 1);
        params.not_after = rcgen::date_time_ymd(2025, 1, 1);
    });
    authority(&[], |params| params.not_after = rcgen::date_time_ymd(2049, 1, 1));
}

#[test]
fn subjects_are_well_formed() {
    subscriber(&["country-code"], |params| params.distinguished_name.push(DnType::CountryName, "de"));
    subscriber(&[], |params| params.distinguished_name.push(DnType::CountryName, "DE"));
    subscriber(&["blank-attribute"], |params| params.distinguished_name.push(DnType::OrganizationName, " A"));
    subscriber(&["common-name"], |params| common_name(params, "other.example.com"));
    subscriber(&["common-name", "long-common-name"], |params| common_name(params, &"a".repeat(65)));
    authority(&["empty-subject"], |params| params.distinguished_name = DistinguishedName::new());
    subscriber(&[], |params| params.distinguished_name = DistinguishedName::new());
}

#[test]
fn host_names_are_host_names() {
    named(&[], &["a.example.com", "*.b.example.com", "xn--bcher-kva.example.com"]);
    for bad in
        ["a..example.com", "-a.example.com", ".example.com", "a.example.com.", "a b.example.com", "a.example.com/"]
    {
        named(&["malformed-name"], &[bad]);
    }
    named(&["malformed-wildcard"], &["a*.example.com"]);
    named(&["malformed-wildcard"], &["a.*.example.com"]);
    named(&["address-as-name"], &["192.0.2.1"]);
    named(&["underscore"], &["a_b.example.com"]);
    named(&["reserved-label"], &["ab--c.example.com"]);
    named(&["internal-name"], &["www.company.internal"]);
    named(&["internal-name"], &["localhost"]);
    named(&["public-wildcard"], &["*.co.uk"]);
    named(&[], &["*.example.co.uk"]);
    named(&["repeated-name"], &["a.example.com", "A.example.com"]);
}

#[test]
fn other_names_are_what_they_say() {
    let with = |expected: &[&str], name: SanType| subscriber(expected, |params| params.subject_alt_names.push(name));
    with(&["other-names"], SanType::URI("https://a.example.com".try_into().unwrap()));
    with(&["relative-uri", "other-names"], SanType::URI("/a".try_into().unwrap()));
    with(&["other-names"], SanType::Rfc822Name("a@example.com".try_into().unwrap()));
    with(&["malformed-mailbox", "other-names"], SanType::Rfc822Name("a".try_into().unwrap()));
    with(&["reserved-address"], SanType::IpAddress(IpAddr::from([10, 0, 0, 1])));
    with(&[], SanType::IpAddress(IpAddr::from([8, 8, 8, 8])));
    let named = |names: Vec<u8>| {
        move |params: &mut CertificateParams| {
            params.subject_alt_names = Vec::new();
            params.custom_extensions.push(extension(&[2, 5, 29, 17], der(SEQUENCE, &[&names])));
        }
    };
    subscriber(&["unreadable-name", "common-name"], named(der(0x87, &[&[1, 2, 3]])));
    subscriber(&["empty-names"], named(Vec::new()));
    subscriber(&["no-names"], |params| params.subject_alt_names = Vec::new());
    // Servers ask clients for no name.
    subscriber(&[], |params| {
        params.subject_alt_names = Vec::new();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let names = || der(SEQUENCE, &[&der(0x82, &[b"www.example.com"])]);
    subscriber(&["names-not-critical"], |params| {
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = Vec::new();
        params.custom_extensions.push(extension(&[2, 5, 29, 17], names()));
    });
    subscriber(&["critical-names"], |params| {
        params.subject_alt_names = Vec::new();
        let mut critical = extension(&[2, 5, 29, 17], names());
        critical.set_criticality(true);
        params.custom_extensions.push(critical);
    });
}

#[test]
fn a_key_is_used_for_what_it_can_do() {
    let usage = |expected: &[&str], bits: &[u8]| {
        subscriber(expected, |params| {
            params.key_usages = Vec::new();
            params.custom_extensions.push(key_usage(bits));
        });
    };
    usage(&[], &[7, 0x80]);
    usage(&["no-key-usage", "purpose-without-usage"], &[0, 0]);
    usage(&["key-usage-unfit"], &[5, 0xa0]);
    usage(&["key-usage-undefined"], &[0, 0x81]);
    usage(&[], &[0, 0x89]);
    usage(&["subscriber-signs"], &[2, 0x84]);
    usage(&["purpose-without-usage"], &[6, 0x40]);
    subscriber(&["key-usage-missing"], |params| params.key_usages = Vec::new());
    subscriber(&["key-usage-not-critical"], |params| {
        params.key_usages = Vec::new();
        params.custom_extensions.push(extension(&[2, 5, 29, 15], der(BIT_STRING, &[&[7, 0x80]])));
    });
}

#[test]
fn purposes_are_named_and_few() {
    let purposes = |expected: &[&str], all: &[ExtendedKeyUsagePurpose]| {
        subscriber(expected, |params| params.extended_key_usages = all.to_vec());
    };
    purposes(&["purpose-missing"], &[]);
    purposes(&["any-purpose"], &[ExtendedKeyUsagePurpose::Any]);
    purposes(&["mixed-purposes"], &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::CodeSigning]);
    purposes(&[], &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]);
    subscriber(&["any-purpose-critical", "any-purpose"], |params| {
        params.extended_key_usages = Vec::new();
        let any = der(SEQUENCE, &[&der(OID, &[&[0x55, 0x1d, 0x25, 0]])]);
        let mut critical = extension(&[2, 5, 29, 37], any);
        critical.set_criticality(true);
        params.custom_extensions.push(critical);
    });
}

#[test]
fn authorities_are_authorities_and_others_are_not() {
    let mut params = good_authority();
    params.subject_alt_names = names(&["www.example.com"]);
    assert!(codes(&signed(&params), Role::Subscriber).contains(&"authority-as-subscriber"));
    authority(&["not-an-authority"], |params| params.is_ca = IsCa::ExplicitNoCa);
    authority(&["key-usage-missing"], |params| params.key_usages = Vec::new());
    authority(&["may-not-sign"], |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    authority(&["may-not-sign-lists"], |params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    authority(&["authority-purpose-missing"], |params| params.extended_key_usages = Vec::new());
    authority(&[], |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let limited = NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("example.com".to_owned())],
        excluded_subtrees: Vec::new(),
    };
    authority(&[], |params| params.name_constraints = Some(limited.clone()));
    subscriber(&["constrained-subscriber"], |params| {
        let inner = der(0xa0, &[&der(SEQUENCE, &[&der(0x82, &[b"a.example.com"])])]);
        let mut constraints = extension(&[2, 5, 29, 30], der(SEQUENCE, &[&inner]));
        constraints.set_criticality(true);
        params.custom_extensions.push(constraints);
    });
}

#[test]
fn criticality_is_as_the_standard_has_it() {
    let empty = || der(SEQUENCE, &[]);
    let with = |oid: &[u64], content: Vec<u8>, critical: bool| {
        let mut one = extension(oid, content);
        one.set_criticality(critical);
        move |params: &mut CertificateParams| params.custom_extensions.push(one)
    };
    authority(&["name-constraints-empty"], with(&[2, 5, 29, 30], empty(), true));
    authority(&["policy-limits-empty"], with(&[2, 5, 29, 36], empty(), true));
    let limits = || der(SEQUENCE, &[&[0x80, 1, 0]]);
    authority(&[], with(&[2, 5, 29, 36], limits(), true));
    authority(&["policy-limits-not-critical"], with(&[2, 5, 29, 36], limits(), false));
    authority(&["policy-limits-not-critical"], with(&[2, 5, 29, 54], vec![2, 1, 0], false));
    authority(&["basic-constraints-not-critical"], |params| {
        params.is_ca = IsCa::NoCa;
        let basic = extension(&[2, 5, 29, 19], der(SEQUENCE, &[&der(BOOLEAN, &[&[0xff]])]));
        params.custom_extensions.push(basic);
        params.custom_extensions.push(extension(&[2, 5, 29, 14], der(OCTET_STRING, &[&[7; 20]])));
    });
    subscriber(&["path-length-without-authority"], |params| {
        params.is_ca = IsCa::NoCa;
        let mut basic = extension(&[2, 5, 29, 19], der(SEQUENCE, &[&[2, 1, 0]]));
        basic.set_criticality(true);
        params.custom_extensions.push(basic);
        params.custom_extensions.push(extension(&[2, 5, 29, 14], der(OCTET_STRING, &[&[7; 20]])));
    });
}

#[test]
fn references_are_there_and_can_be_followed() {
    let custom = |expected: &[&str], all: Vec<CustomExtension>| {
        subscriber(expected, |params| params.custom_extensions = all);
    };
    let timestamps = || good().custom_extensions.pop().unwrap();
    let issuer = || access("http://a.example.com/i");
    custom(&["policies-missing"], vec![issuer(), timestamps()]);
    custom(&["policies-not-reserved"], vec![policies(&[&[0x2a, 3]]), issuer(), timestamps()]);
    custom(&["repeated-policy"], vec![policies(&[POLICY, POLICY]), issuer(), timestamps()]);
    custom(&["access-missing"], vec![policies(&[POLICY]), timestamps()]);
    custom(&["access-not-http"], vec![policies(&[POLICY]), access("ldap://a.example.com"), timestamps()]);
    custom(&["not-logged"], vec![policies(&[POLICY]), issuer()]);
    subscriber(&["authority-key-missing"], |params| params.use_authority_key_identifier_extension = false);
    subscriber(&["not-revocable"], |params| params.crl_distribution_points = Vec::new());
    subscriber(&[], |params| {
        params.crl_distribution_points = Vec::new();
        params.not_after = params.not_before + (rcgen::date_time_ymd(2030, 1, 7) - rcgen::date_time_ymd(2030, 1, 1));
    });
    subscriber(&["list-not-http"], |params| {
        params.crl_distribution_points =
            vec![CrlDistributionPoint { uris: vec!["https://a.example.com/c".to_owned()] }];
    });
    let half = der(SEQUENCE, &[&[0x80, 1, 7], &[0x82, 1, 7]]);
    subscriber(&["authority-key-half"], |params| {
        params.use_authority_key_identifier_extension = false;
        params.custom_extensions.push(extension(&[2, 5, 29, 35], half));
    });
}

#[test]
fn extensions_are_there_once_and_readable() {
    subscriber(&["duplicate-extension"], |params| params.custom_extensions.push(access("http://b.example.com")));
    subscriber(&["unreadable-extension"], |params| {
        params.crl_distribution_points = Vec::new();
        params.custom_extensions.push(extension(&[2, 5, 29, 31], vec![2, 1, 0]));
        params.not_after = params.not_before + (rcgen::date_time_ymd(2030, 1, 7) - rcgen::date_time_ymd(2030, 1, 1));
    });
    subscriber(&["obsolete-extension"], |params| {
        params.custom_extensions.push(extension(&[2, 16, 840, 1, 113_730, 1, 1], vec![3, 2, 6, 0x40]));
    });
    subscriber(&["precertificate"], |params| {
        let mut poison = extension(&[1, 3, 6, 1, 4, 1, 11129, 2, 4, 3], vec![5, 0]);
        poison.set_criticality(true);
        params.custom_extensions.push(poison);
    });
}

#[test]
fn keys_are_of_the_usual_kinds() {
    let issuer = issuer();
    let of = |key: &KeyPair| Certificate::from_der(good().signed_by(key, &issuer).unwrap().der()).unwrap();
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    assert_eq!(codes(&of(&ed25519), Role::Subscriber), ["kind-of-key"]);
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    assert_eq!(codes(&of(&p384), Role::Subscriber), [""; 0]);
    // ecdsa-with-SHA256 becomes ecdsa-with-SHA384 inside only.
    let (sha256, sha384) = ([0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]);
    assert_eq!(codes(&patched(&good(), &sha256, &sha384), Role::Subscriber), ["signature-algorithms-differ"]);
}
