//! Every rule with a path that keeps it and its twin that does not.

mod corpus;
mod limits;
mod revocation;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd,
};

use super::*;

/// When all that is made here is valid.
fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

/// Who issues.
struct Authority {
    certificate: Certificate,
    params: CertificateParams,
    key: KeyPair,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params.use_authority_key_identifier_extension = true;
    params
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Authority {
    fn root(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (mut params, key) = (authority_params(name), KeyPair::generate().unwrap());
        change(&mut params);
        let certificate = Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap();
        Authority { certificate, params, key }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    fn sign(&self, params: &CertificateParams, key: &KeyPair) -> Certificate {
        Certificate::from_der(params.signed_by(key, &self.issuer()).unwrap().der()).unwrap()
    }

    fn authority(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Authority {
        self.authority_with(name, KeyPair::generate().unwrap(), change)
    }

    fn authority_with(&self, name: &str, key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Authority {
        let mut params = authority_params(name);
        change(&mut params);
        Authority { certificate: self.sign(&params, &key), params, key }
    }

    fn leaf(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = params("leaf");
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        change(&mut params);
        self.sign(&params, &KeyPair::generate().unwrap())
    }
}

fn same(_: &mut CertificateParams) {}

/// An extension by the end of its identifier below 2.5.29, critical.
fn extension(last: u64, der: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, last], der.to_vec());
    extension.set_criticality(true);
    extension
}

fn question<'a>(leaf: &'a Certificate, intermediates: &'a [Certificate], roots: &'a [Certificate]) -> Question<'a> {
    let (purpose, revocation) = (Purpose::Server, Revocation::Ignore);
    Question { leaf, intermediates, roots, crls: &[], at: now(), purpose, revocation }
}

/// The codes of what is wrong; none when nothing is.
fn codes_of(question: &Question<'_>) -> Vec<&'static str> {
    match judge(question) {
        Ok(path) => {
            assert!(!path.is_empty());
            Vec::new()
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            problems.iter().map(|problem| problem.code).collect()
        }
    }
}

fn codes(leaf: &Certificate, intermediates: &[&Authority], root: &Authority) -> Vec<&'static str> {
    let intermediates: Vec<Certificate> = intermediates.iter().map(|one| one.certificate.clone()).collect();
    codes_of(&question(leaf, &intermediates, std::slice::from_ref(&root.certificate)))
}

const GOOD: [&str; 0] = [];

#[test]
fn a_path_is_found_whatever_the_order_and_told_from_leaf_to_root() {
    let root = Authority::root("root", same);
    let one = root.authority("one", same);
    let two = one.authority("two", same);
    let leaf = two.leaf("a.test", same);
    let others = [one.certificate.clone(), leaf.clone(), root.certificate.clone(), two.certificate.clone()];
    let roots = [Authority::root("other", same).certificate, root.certificate.clone()];
    let path = judge(&question(&leaf, &others, &roots)).unwrap();
    assert_eq!(path, [leaf, two.certificate, one.certificate, root.certificate]);
}

#[test]
fn who_is_missing_is_named() {
    let root = Authority::root("root", same);
    let one = root.authority("one", same);
    let leaf = one.leaf("a.test", same);
    assert_eq!(codes(&leaf, &[], &root), ["unknown-issuer"]);
    let other = Authority::root("other", same);
    let problems = judge(&question(&leaf, &[one.certificate.clone(), root.certificate.clone()], &[other.certificate]))
        .unwrap_err();
    assert_eq!((problems[0].code, problems[0].depth), ("untrusted-root", 2), "{problems:?}");
}

#[test]
fn a_signature_by_another_key_is_none() {
    let (root, impostor) = (Authority::root("root", same), Authority::root("root", same));
    assert_eq!(codes(&root.leaf("a.test", same), &[], &root), GOOD);
    assert_eq!(codes(&impostor.leaf("a.test", same), &[], &root), ["bad-signature"]);
    let changed = {
        let mut der = root.leaf("a.test", same).der().to_vec();
        let last = der.len() - 1;
        der[last] ^= 1;
        Certificate::from_der(&der).unwrap()
    };
    assert_eq!(codes(&changed, &[], &root), ["bad-signature"]);
}

#[test]
fn keys_of_every_kind_that_we_issue_verify() {
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let root = Authority::root("root", same);
        let one = root.authority_with("one", KeyPair::generate_for(algorithm).unwrap(), same);
        assert_eq!(codes(&one.leaf("a.test", same), &[&one], &root), GOOD);
    }
}

#[test]
fn everything_in_a_path_must_be_valid_at_the_time() {
    let root = Authority::root("root", same);
    let leaf = root.leaf("a.test", same);
    let roots = [root.certificate.clone()];
    for (at, expected) in [
        ("2025-12-31T23:59:59.9Z", &["not-yet-valid", "not-yet-valid"][..]),
        ("2026-01-01T00:00:00Z", &[]),
        ("2027-01-01T00:00:00.9Z", &[]),
        ("2027-01-01T00:00:01Z", &["expired", "expired"]),
    ] {
        assert_eq!(codes_of(&Question { at: at.parse().unwrap(), ..question(&leaf, &[], &roots) }), expected, "{at}");
    }
    let old = root.authority("old", |params| params.not_after = date_time_ymd(2026, 2, 1));
    assert_eq!(codes(&old.leaf("a.test", same), &[&old], &root), ["expired"]);
}

#[test]
fn a_good_path_is_found_beside_a_bad_one() {
    // The same authority twice: by a root that has expired, and as a root itself.
    let old = Authority::root("old", |params| params.not_after = date_time_ymd(2026, 2, 1));
    let new = Authority::root("new", same);
    let cross = old.authority_with("new", KeyPair::from_pem(&new.key.serialize_pem()).unwrap(), same);
    let leaf = new.leaf("a.test", same);
    assert_eq!(codes(&leaf, &[&cross], &old), ["expired"]);
    let roots = [old.certificate, new.certificate.clone()];
    let path = judge(&question(&leaf, &[cross.certificate], &roots)).unwrap();
    assert_eq!(path, [leaf, new.certificate]);
}

#[test]
fn a_trusted_leaf_is_a_path_of_one() {
    let key = KeyPair::generate().unwrap();
    let mut params = params("alone");
    params.subject_alt_names = vec![rcgen::SanType::DnsName("a.test".try_into().unwrap())];
    let alone = Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap();
    let trusted = [alone.clone()];
    assert_eq!(judge(&question(&alone, &[], &trusted)).unwrap(), trusted);
    let late = "2030-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(codes_of(&Question { at: late, ..question(&alone, &[], &trusted) }), ["expired"]);
    let other = [Authority::root("other", same).certificate];
    assert_eq!(codes_of(&question(&alone, &[], &other)), ["untrusted-root"]);
}

#[test]
fn only_an_authority_that_may_sign_issues() {
    let root = Authority::root("root", same);
    let good = root.authority("good", |params| params.key_usages.clear());
    assert_eq!(codes(&good.leaf("a.test", same), &[&good], &root), GOOD, "without keyUsage all is allowed");
    let none = root.authority("none", |params| params.is_ca = IsCa::ExplicitNoCa);
    assert_eq!(codes(&none.leaf("a.test", same), &[&none], &root), ["not-an-authority"]);
    let mute = root.authority("mute", |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    assert_eq!(codes(&mute.leaf("a.test", same), &[&mute], &root), ["may-not-sign"]);
}

#[test]
fn a_path_is_as_long_as_every_authority_allows() {
    let limited =
        |limit| move |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(limit));
    for (limit, expected) in [(1, &GOOD[..]), (0, &["path-too-long"])] {
        let root = Authority::root("root", limited(limit));
        let one = root.authority("one", limited(5));
        assert_eq!(codes(&one.leaf("a.test", same), &[&one], &root), expected, "root {limit}");
        let free = Authority::root("root", same);
        let one = free.authority("one", limited(limit));
        let two = one.authority("two", same);
        assert_eq!(codes(&two.leaf("a.test", same), &[&one, &two], &free), expected, "one {limit}");
    }
    // A self-issued certificate takes no place in the path (RFC 5280, 4.2.1.9).
    let root = Authority::root("root", limited(0));
    let renewed = root.authority("root", same);
    assert_eq!(codes(&renewed.leaf("a.test", same), &[&renewed], &root), GOOD);
}

#[test]
fn names_stay_within_every_authoritys_constraints() {
    let root = Authority::root("root", |params| {
        let subtree = |name: &str| vec![GeneralSubtree::DnsName(name.to_owned())];
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: subtree("a.test"), excluded_subtrees: subtree("no.a.test") });
    });
    let one = root.authority("one", same);
    for (name, expected) in [
        ("a.test", &GOOD[..]),
        ("x.a.test", &[]),
        ("b.test", &["name-forbidden"]),
        ("x.no.a.test", &["name-forbidden"]),
    ] {
        assert_eq!(codes(&one.leaf(name, same), &[&one], &root), expected, "{name}");
    }
    let strange = Authority::root("root", |params| {
        let permitted_subtrees = vec![GeneralSubtree::DnsName(".a.test".to_owned())];
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    });
    assert_eq!(codes(&strange.leaf("x.a.test", same), &[], &strange), ["name-constraint-unclear"]);
}

#[test]
fn a_required_policy_must_be_there() {
    // policyConstraints { requireExplicitPolicy 0 }, certificatePolicies { 1.2.3.4 }.
    let requires = extension(36, &[0x30, 0x03, 0x80, 0x01, 0x00]);
    let policy = extension(32, &[0x30, 0x07, 0x30, 0x05, 0x06, 0x03, 0x2a, 0x03, 0x04]);
    let root = Authority::root("root", same);
    let one = root.authority("one", |params| params.custom_extensions = vec![requires, policy.clone()]);
    assert_eq!(codes(&one.leaf("a.test", |params| params.custom_extensions.push(policy)), &[&one], &root), GOOD);
    assert_eq!(codes(&one.leaf("a.test", same), &[&one], &root), ["no-valid-policy"]);
    // policyMappings { anyPolicy to 1.2.3.4 }.
    let maps =
        extension(33, &[0x30, 0x0d, 0x30, 0x0b, 0x06, 0x04, 0x55, 0x1d, 0x20, 0x00, 0x06, 0x03, 0x2a, 0x03, 0x04]);
    let two = root.authority("two", |params| params.custom_extensions.push(maps));
    assert_eq!(codes(&two.leaf("a.test", same), &[&two], &root), ["any-policy-mapped"]);
}

#[test]
fn an_unknown_extension_is_passed_over_unless_it_is_critical() {
    let unknown = |critical| {
        move |params: &mut CertificateParams| {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
            extension.set_criticality(critical);
            params.custom_extensions.push(extension);
        }
    };
    for (critical, expected) in [(false, &GOOD[..]), (true, &["unknown-critical-extension"])] {
        let root = Authority::root("root", same);
        assert_eq!(codes(&root.leaf("a.test", unknown(critical)), &[], &root), expected);
        let one = root.authority("one", unknown(critical));
        assert_eq!(codes(&one.leaf("a.test", same), &[&one], &root), expected);
        let strange = Authority::root("root", unknown(critical));
        assert_eq!(codes(&strange.leaf("a.test", same), &[], &strange), expected);
    }
}

#[test]
fn an_extension_that_is_there_twice_or_does_not_hold_is_refused() {
    let root = Authority::root("root", same);
    let policy = extension(32, &[0x30, 0x07, 0x30, 0x05, 0x06, 0x03, 0x2a, 0x03, 0x04]);
    let twice = |params: &mut CertificateParams| params.custom_extensions = vec![policy.clone(), policy.clone()];
    assert_eq!(codes(&root.leaf("a.test", |params| params.custom_extensions.push(policy.clone())), &[], &root), GOOD);
    assert_eq!(codes(&root.leaf("a.test", twice), &[], &root), ["duplicate-extension"]);
    let bad = extension(32, b"policy");
    assert_eq!(
        codes(&root.leaf("a.test", |params| params.custom_extensions.push(bad.clone())), &[], &root),
        ["malformed"]
    );
    let one = root.authority("one", |params| params.custom_extensions.push(bad));
    assert_eq!(codes(&one.leaf("a.test", same), &[&one], &root), ["malformed"]);
}

#[test]
fn a_certificate_serves_the_purposes_that_it_and_its_authorities_name() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    let root = Authority::root("root", same);
    let asked = |leaf: &[ExtendedKeyUsagePurpose], authority: &[ExtendedKeyUsagePurpose], purpose| {
        let one = root.authority("one", |params| params.extended_key_usages = authority.to_vec());
        let leaf = one.leaf("a.test", |params| params.extended_key_usages = leaf.to_vec());
        let (intermediates, roots) = ([one.certificate], [root.certificate.clone()]);
        codes_of(&Question { purpose, ..question(&leaf, &intermediates, &roots) })
    };
    assert_eq!(asked(&[], &[], Purpose::Server), GOOD);
    assert_eq!(asked(&[ServerAuth], &[ServerAuth], Purpose::Server), GOOD);
    assert_eq!(asked(&[Any], &[], Purpose::Client), GOOD);
    assert_eq!(asked(&[ServerAuth], &[], Purpose::Client), ["wrong-purpose"]);
    assert_eq!(asked(&[ClientAuth], &[], Purpose::Server), ["wrong-purpose"]);
    assert_eq!(asked(&[ServerAuth], &[ClientAuth], Purpose::Server), ["wrong-purpose"]);
    assert_eq!(asked(&[ServerAuth], &[ClientAuth], Purpose::Any), GOOD);
}

#[test]
fn a_key_that_may_do_nothing_in_tls_is_told() {
    let root = Authority::root("root", same);
    let with = |usage: KeyUsagePurpose| root.leaf("a.test", |params| params.key_usages = vec![usage]);
    assert_eq!(codes(&with(KeyUsagePurpose::DigitalSignature), &[], &root), GOOD);
    assert_eq!(codes(&with(KeyUsagePurpose::KeyEncipherment), &[], &root), GOOD);
    assert_eq!(codes(&with(KeyUsagePurpose::DataEncipherment), &[], &root), ["wrong-key-usage"]);
}

#[test]
fn form_is_complained_of_apart() {
    let root = Authority::root("root", same);
    let path = |change: fn(&mut CertificateParams)| {
        let leaf = root.leaf("a.test", change);
        let found = judge(&question(&leaf, &[], std::slice::from_ref(&root.certificate))).unwrap();
        form::complaints(&found).iter().map(|problem| problem.code).collect::<Vec<_>>()
    };
    assert_eq!(path(same), GOOD);
    assert_eq!(path(|params| params.use_authority_key_identifier_extension = false), ["no-authority-key-identifier"]);
    assert_eq!(path(|params| params.subject_alt_names.clear()), ["no-names"]);
    assert_eq!(path(|params| params.serial_number = Some(vec![0].into())), ["serial-number"]);
    assert_eq!(path(|params| params.serial_number = Some(vec![1; 21].into())), ["serial-number"]);
    assert_eq!(path(|params| params.distinguished_name.push(DnType::CommonName, "b.test")), ["common-name"]);
    assert_eq!(path(|params| params.distinguished_name.push(DnType::CommonName, "a.test")), GOOD);
    let public = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("*.co.uk".try_into().unwrap())];
    };
    assert_eq!(path(public), ["public-wildcard"]);
    assert_eq!(path(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]), ["any-purpose"]);
    use ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};
    assert_eq!(path(|params| params.extended_key_usages = vec![ServerAuth, ClientAuth]), GOOD);
    assert_eq!(path(|params| params.extended_key_usages = vec![ServerAuth, CodeSigning]), ["mixed-purposes"]);
    assert_eq!(
        path(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature]),
        ["inconsistent-authority"]
    );
}
