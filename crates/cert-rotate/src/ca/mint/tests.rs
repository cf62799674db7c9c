use std::collections::BTreeSet;

use super::*;
use crate::key::KeyType;

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> Timestamp {
    "2026-06-01T12:00:00.5Z".parse().unwrap()
}

fn constraints() -> Constraints {
    Constraints::given(&["example.test".to_owned()], &[]).unwrap()
}

struct Bench {
    root: Certificate,
    root_key: PrivateKey,
    services: Certificate,
    services_key: PrivateKey,
}

fn bench() -> Bench {
    let key = || PrivateKey::generate(KeyType::P256).unwrap();
    let (root_key, services_key) = (key(), key());
    let root = root("the root", &root_key, Validity::new(now(), 100 * DAY, true, &[]).unwrap()).unwrap();
    let validity = Validity::new(now(), 50 * DAY, true, &[&root]).unwrap();
    let services = intermediate("services", &services_key, &constraints(), validity, (&root, &root_key)).unwrap();
    Bench { root, root_key, services, services_key }
}

fn make(bench: &Bench, name: &str, profile: Profile) -> Result<Certificate, Failure> {
    let names = [super::super::constraints::name(name)?];
    let public = PrivateKey::generate(KeyType::P256).unwrap().public();
    let validity = Validity::new(now(), DAY, true, &[&bench.services, &bench.root])?;
    let wish = Leaf { names: &names, public: &public, profile, validity, serial: &serial()? };
    leaf(&wish, &[&bench.services, &bench.root], &bench.services_key, now())
}

#[test]
fn a_lifetime_lies_within_that_of_who_signs() {
    let bench = bench();
    let within: &[&Certificate] = &[&bench.services, &bench.root];
    let whole = Validity::new(now(), 50 * DAY, true, within).unwrap();
    assert_eq!(whole.not_after, bench.services.not_after);
    assert_eq!(whole.not_before.to_string(), "2026-06-01T11:55:00Z");
    let long = Validity::new(now(), 51 * DAY, true, within).unwrap_err();
    assert!(long.message.contains("does not fit"), "{long}");
    // Nobody asked for so long.
    assert_eq!(Validity::new(now(), 51 * DAY, false, within).unwrap().not_after, bench.services.not_after);
    let later = now() + SignedDuration::from_hours(24 * 60);
    assert!(Validity::new(later, DAY, false, within).is_err());
    assert!(Validity::new(now(), Duration::ZERO, true, within).is_err());
    assert!(Validity::new(now(), Duration::MAX, true, &[]).is_err());
    assert!(Validity::new(now(), 4_000_000 * DAY, true, &[]).is_err());
}

#[test]
fn a_leaf_is_what_its_profile_says() {
    let bench = bench();
    for (profile, server, client) in
        [(Profile::Server, true, false), (Profile::Client, false, true), (Profile::Both, true, true)]
    {
        let made = make(&bench, "a.example.test", profile).unwrap();
        let parsed = made.parsed().unwrap();
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert_eq!((usage.server_auth, usage.client_auth), (server, client));
        let constraints = parsed.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && !constraints.value.ca);
        assert!(parsed.key_usage().unwrap().unwrap().critical);
        assert_eq!(made.authority_key_id, bench.services.subject_key_id);
        assert_eq!(made.subject, "CN=a.example.test");
    }
}

#[test]
fn an_authority_is_limited_by_its_certificate() {
    let bench = bench();
    let parsed = bench.services.parsed().unwrap();
    let basic = parsed.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca);
    assert_eq!(basic.value.path_len_constraint, Some(0));
    assert!(parsed.name_constraints().unwrap().unwrap().critical);
    let usage = parsed.key_usage().unwrap().unwrap();
    assert!(
        usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign() && !usage.value.digital_signature()
    );
}

#[test]
fn what_a_verifier_would_refuse_is_not_made() {
    let bench = bench();
    let failure = make(&bench, "a.other.test", Profile::Server).unwrap_err();
    assert!(failure.message.contains("verifier would refuse"), "{failure}");
    // The wrong key.
    let other = Bench { services_key: PrivateKey::generate(KeyType::P256).unwrap(), ..bench };
    let failure = make(&other, "a.example.test", Profile::Server).unwrap_err();
    assert!(failure.message.contains("did not sign it"), "{failure}");
}

#[test]
fn a_cross_certificate_is_for_the_same_name_and_key() {
    let (old, new) = (bench(), bench());
    let validity = Validity::new(now(), 365 * DAY, false, &[&old.root, &new.root]).unwrap();
    let crossed = cross(&new.root, validity, (&old.root, &old.root_key)).unwrap();
    assert_eq!(crossed.public_key(), new.root.public_key());
    assert_eq!((&crossed.subject, &crossed.subject_key_id), (&new.root.subject, &new.root.subject_key_id));
    assert_eq!(crossed.not_after, old.root.not_after);
    // Of an authority with constraints: they stay.
    let crossed = cross(&new.services, validity, (&old.root, &old.root_key)).unwrap();
    assert_eq!(Constraints::of(&crossed).unwrap(), Some(constraints()));
    let basic = crossed.parsed().unwrap().basic_constraints().unwrap().unwrap().value.clone();
    assert_eq!(basic.path_len_constraint, Some(0));
}

#[test]
fn serial_numbers_are_128_bits_positive_and_never_the_same() {
    let bench = bench();
    let mut seen = BTreeSet::new();
    let mut with_sign = 0;
    for _ in 0..200 {
        let serial = serial().unwrap();
        assert_eq!(serial.len(), 16);
        with_sign += usize::from(serial_text(&serial).starts_with("00"));
        assert!(seen.insert(serial));
    }
    // Half of them; outside of this less than once in 10^15 runs.
    assert!((40..160).contains(&with_sign), "{with_sign}");
    for _ in 0..8 {
        let made = make(&bench, "a.example.test", Profile::Server).unwrap();
        assert!(matches!(made.serial.len(), 32 | 34), "{}", made.serial);
    }
}

#[test]
fn a_long_name_stands_in_the_alternative_names_only() {
    let bench = bench();
    let name = format!("{}.example.test", "a".repeat(60));
    let made = make(&bench, &name, Profile::Server).unwrap();
    assert_eq!((made.subject.as_str(), made.title()), ("", name));
    assert!(made.parsed().unwrap().subject_alternative_name().unwrap().unwrap().critical);
}
