//! Chains and their mistakes, each beside its healthy twin.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use super::*;

const NOW: &str = "2030-02-01T00:00:00Z";

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.not_before = rcgen::date_time_ymd(2029, 1, 1);
    params.not_after = rcgen::date_time_ymd(2039, 1, 1);
    params
}

fn leaf() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = rcgen::date_time_ymd(2030, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 3, 1);
    params
}

fn read(certificate: &rcgen::Certificate) -> Certificate {
    Certificate::from_der(certificate.der()).unwrap()
}

/// root -> intermediate -> leaf; another root signed the intermediate as well, and with it the first root.
struct Made {
    root: Certificate,
    other_root: Certificate,
    intermediate: Certificate,
    /// The root by the other root, over since 2029.
    crossed: Certificate,
    leaf: Certificate,
}

fn made(change: impl FnOnce(&mut CertificateParams)) -> Made {
    let key = || KeyPair::generate().unwrap();
    let (root_key, other_key, intermediate_key) = (key(), key(), key());
    let root_certificate = authority("Root").self_signed(&root_key).unwrap();
    let other_certificate = authority("Other root").self_signed(&other_key).unwrap();
    let other = Issuer::new(authority("Other root"), other_key);
    let mut crossed = authority("Root");
    crossed.not_after = rcgen::date_time_ymd(2029, 6, 1);
    let crossed = crossed.signed_by(&root_key, &other).unwrap();
    let root = Issuer::new(authority("Root"), root_key);
    let intermediate = authority("Intermediate").signed_by(&intermediate_key, &root).unwrap();
    let issuer = Issuer::new(authority("Intermediate"), intermediate_key);
    let mut params = leaf();
    change(&mut params);
    let leaf = params.signed_by(&key(), &issuer).unwrap();
    Made {
        root: read(&root_certificate),
        other_root: read(&other_certificate),
        intermediate: read(&intermediate),
        crossed: read(&crossed),
        leaf: read(&leaf),
    }
}

fn shown(leaf: &Certificate, shown: &[&Certificate]) -> Subject {
    Subject {
        source: "a".to_owned(),
        leaf: leaf.clone(),
        role: Role::Subscriber,
        shown: shown.iter().map(|one| (*one).clone()).collect(),
        ordered: true,
        beside: Vec::new(),
        names: vec!["a.example.com".to_owned()],
        staple: None,
        served: true,
        findings: Vec::new(),
    }
}

fn trust(roots: &[&Certificate]) -> Trust {
    let roots: Vec<Certificate> = roots.iter().map(|root| (*root).clone()).collect();
    let anchors = roots.iter().map(|root| webpki::anchor_from_trusted_cert(root.der()).unwrap().to_owned()).collect();
    Trust { roots, anchors }
}

fn judged(subject: &Subject, trust: &Trust) -> Verdict {
    judge(
        subject,
        &Rules {
            trust,
            crls: &[],
            revocation: false,
            at: NOW.parse().unwrap(),
            purpose: Purpose::Server,
            strict: false,
        },
    )
}

/// The codes that are more than a notice.
fn bad(verdict: &Verdict) -> Vec<&'static str> {
    let bad = |finding: &&Finding| finding.status != Status::Ok;
    verdict.findings.iter().filter(bad).map(|finding| finding.code).collect()
}

#[test]
fn a_good_chain_is_good_for_both() {
    let made = made(|_| {});
    let verdict = judged(&shown(&made.leaf, &[&made.leaf, &made.intermediate]), &trust(&[&made.root]));
    assert_eq!((verdict.strict.as_str(), verdict.webpki.as_str(), bad(&verdict)), ("ok", "ok", vec![]));
    assert_eq!(verdict.chain, [made.leaf, made.intermediate, made.root]);
}

#[test]
fn every_mistake_of_a_chain_has_its_name() {
    let Made { root, other_root, intermediate, crossed, leaf } = made(|_| {});
    let trust = trust(&[&root]);
    let of = |all: &[&Certificate]| bad(&judged(&shown(&leaf, all), &trust));
    assert_eq!(of(&[&leaf]), ["missing-intermediate"]);
    assert_eq!(of(&[&intermediate, &leaf]), ["reversed"]);
    assert_eq!(of(&[&leaf, &intermediate, &intermediate]), ["duplicate"]);
    assert_eq!(of(&[&leaf, &intermediate, &other_root]), ["unrelated"]);
    assert_eq!(of(&[&leaf, &root, &intermediate]), ["out-of-order"]);
    assert_eq!(of(&[&leaf, &intermediate, &crossed]), ["expired-intermediate-but-alternate-path"]);
    let with_root = judged(&shown(&leaf, &[&leaf, &intermediate, &root]), &trust);
    assert_eq!(bad(&with_root), [""; 0]);
    assert!(with_root.findings.iter().any(|finding| finding.code == "extra-root"));
}

#[test]
fn an_expired_way_that_is_the_only_one_is_critical() {
    let Made { other_root, intermediate, crossed, leaf, .. } = made(|_| {});
    let verdict = judged(&shown(&leaf, &[&leaf, &intermediate, &crossed]), &trust(&[&other_root]));
    assert_eq!((verdict.strict.as_str(), verdict.webpki.as_str()), ("expired", "CertExpired"));
    assert_eq!(verdict.findings[0].depth, 2);
}

#[test]
fn who_is_not_trusted_is_told_from_what_is_missing() {
    let Made { root, other_root, intermediate, leaf, .. } = made(|_| {});
    let verdict = judged(&shown(&leaf, &[&leaf, &intermediate, &root]), &trust(&[&other_root]));
    assert_eq!(bad(&verdict), ["untrusted-root"]);
    let alone = read(&super::tests::leaf().self_signed(&KeyPair::generate().unwrap()).unwrap());
    let verdict = judged(&shown(&alone, &[&alone]), &trust(&[&root]));
    assert_eq!(bad(&verdict), ["self-signed"]);
}

#[test]
fn a_wrong_name_and_a_wrong_purpose_are_critical() {
    let made_one = made(|_| {});
    let mut subject = shown(&made_one.leaf, &[&made_one.leaf, &made_one.intermediate]);
    subject.names = vec!["b.example.com".to_owned()];
    let verdict = judged(&subject, &trust(&[&made_one.root]));
    assert_eq!((verdict.strict.as_str(), bad(&verdict)), ("ok", vec!["wrong-name"]));
    assert_eq!(verdict.webpki, "CertNotValidForName");
    let client = made(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let verdict = judged(&shown(&client.leaf, &[&client.leaf, &client.intermediate]), &trust(&[&client.root]));
    assert_eq!((verdict.strict.as_str(), bad(&verdict)), ("wrong-purpose", vec!["wrong-purpose"]));
}

#[test]
fn where_the_two_verdicts_differ_both_are_told() {
    // rustls does not ask whether the authority may sign certificates; the standard does.
    let key = || KeyPair::generate().unwrap();
    let mut params = authority("Root");
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let root_key = key();
    let root = read(&params.self_signed(&root_key).unwrap());
    let leaf = read(&leaf().signed_by(&key(), &Issuer::new(params, root_key)).unwrap());
    let verdict = judged(&shown(&leaf, &[&leaf]), &trust(&[&root]));
    assert_eq!((verdict.strict.as_str(), verdict.webpki.as_str()), ("may-not-sign", "ok"));
    assert_eq!(verdict.findings[0].status, Status::Critical);
}

#[test]
fn roots_without_certificates_leave_the_verdict_of_rustls() {
    let Made { root, intermediate, leaf, .. } = made(|_| {});
    let trust = Trust { roots: Vec::new(), anchors: trust(&[&root]).anchors };
    let verdict = judged(&shown(&leaf, &[&leaf, &intermediate]), &trust);
    assert_eq!((verdict.strict.as_str(), verdict.webpki.as_str(), bad(&verdict)), ("not-asked", "ok", vec![]));
    let verdict = judged(&shown(&leaf, &[&leaf]), &trust);
    assert_eq!((verdict.webpki.as_str(), bad(&verdict)), ("UnknownIssuer", vec!["missing-intermediate"]));
}

#[test]
fn what_lists_do_not_tell_is_not_known_and_not_good() {
    let Made { root, intermediate, leaf, .. } = made(|_| {});
    let trust = trust(&[&root]);
    let rules = Rules {
        trust: &trust,
        crls: &[],
        revocation: true,
        at: NOW.parse().unwrap(),
        purpose: Purpose::Server,
        strict: false,
    };
    let verdict = judge(&shown(&leaf, &[&leaf, &intermediate]), &rules);
    assert_eq!((verdict.strict.as_str(), verdict.webpki.as_str()), ("revocation-unknown", "UnknownRevocationStatus"));
    assert!(verdict.findings.iter().all(|finding| matches!(finding.status, Status::Unknown | Status::Ok)));
}

#[test]
fn weak_form_is_a_failure_only_when_asked_for() {
    let Made { root, intermediate, leaf, .. } = made(|params| {
        params.distinguished_name.push(DnType::CountryName, "de");
    });
    let trust = trust(&[&root]);
    let subject = shown(&leaf, &[&leaf, &intermediate]);
    let status = |strict| {
        let rules = Rules {
            trust: &trust,
            crls: &[],
            revocation: false,
            at: NOW.parse().unwrap(),
            purpose: Purpose::Server,
            strict,
        };
        let verdict = judge(&subject, &rules);
        let found = verdict.findings.iter().find(|finding| finding.code == "country-code").map(|one| one.status);
        (found, verdict.findings[0].status)
    };
    assert_eq!(status(false), (Some(Status::Warning), Status::Warning));
    assert_eq!(status(true), (Some(Status::Critical), Status::Critical));
}
