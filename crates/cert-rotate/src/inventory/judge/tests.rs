use super::*;
use crate::key::{KeyType, PrivateKey};

fn certificate(key: &PrivateKey, names: &[&str], days: i32) -> Certificate {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut wanted = rcgen::CertificateParams::new(names).unwrap();
    wanted.not_before = rcgen::date_time_ymd(2026, 1, 1);
    wanted.not_after = rcgen::date_time_ymd(2026 + days / 365, 1, 2);
    Certificate::from_der(wanted.self_signed(key.pair()).unwrap().der()).unwrap()
}

fn file(path: &str, certificates: &[&Certificate], keys: &[&PrivateKey], mode: u32) -> Looked {
    Looked {
        path: path.to_owned(),
        format: Format::Pem,
        certificates: certificates.iter().map(|one| (*one).clone()).collect(),
        keys: keys.iter().map(|key| hex(&sha256(&key.public()))).collect(),
        bare_keys: keys.len(),
        mode,
        problems: Vec::new(),
        locked: false,
    }
}

fn judged(files: Vec<Looked>, servers: &[ServerResult]) -> Vec<Record> {
    let files = Files { read: files.len(), with_something: files.into_iter().map(Ok).collect() };
    all(&files, servers, "2026-11-01T00:00:00Z".parse().unwrap())
}

fn codes(records: &[Record]) -> Vec<&str> {
    records.iter().filter_map(|record| record.fields.get("code")?.as_str()).collect()
}

#[test]
fn a_certificate_is_told_once_with_every_place() {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let one = certificate(&key, &["a.test"], 730);
    let server = ("a.test:443".parse().unwrap(), Ok(vec![one.clone()]));
    let records = judged(vec![file("a.pem", &[&one], &[], 0o644), file("b.pem", &[&one], &[&key], 0o640)], &[server]);
    assert_eq!(records.len(), 2, "{records:?}");
    assert_eq!(records[0].fields["files"], serde_json::json!(["a.pem", "b.pem"]));
    assert_eq!(records[0].fields["endpoints"], serde_json::json!(["a.test:443"]));
    assert_eq!(records[0].fields["private_key_files"], serde_json::json!(["b.pem"]));
    assert_eq!((records[0].status, records[1].fields["certificates_count"].as_u64()), (Status::Ok, Some(1)));
}

#[test]
fn one_key_for_different_names_is_found_and_a_renewal_is_not() {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let (first, renewed) =
        (certificate(&key, &["a.test", "b.test"], 730), certificate(&key, &["b.test", "a.test"], 1100));
    let other = certificate(&key, &["c.test"], 730);
    let with = |certificates: &[&Certificate]| judged(vec![file("a.pem", certificates, &[], 0o644)], &[]);
    assert!(codes(&with(&[&first, &renewed])).is_empty());
    let records = with(&[&first, &other]);
    assert_eq!(codes(&records), ["key-reuse"]);
    assert!(records.iter().any(|record| record.message.contains("a.test, c.test")));
}

#[test]
fn a_key_that_others_can_read_is_found_by_its_mode() {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    for (mode, found) in [(0o600, false), (0o640, false), (0o400, false), (0o660, true), (0o644, true), (0o604, true)] {
        let records = judged(vec![file("k.pem", &[], &[&key], mode)], &[]);
        assert_eq!(codes(&records) == ["key-mode"], found, "{mode:o}");
    }
    let mut encrypted = file("k.pem", &[], &[&key], 0o644);
    encrypted.bare_keys = 0;
    assert!(codes(&judged(vec![encrypted], &[])).is_empty());
}

#[test]
fn what_is_expired_is_worse_where_it_is_served() {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let old = certificate(&key, &["a.test"], 0);
    let records = judged(vec![file("a.pem", &[&old], &[], 0o644)], &[]);
    assert_eq!((records[0].status, codes(&records)), (Status::Warning, vec!["expired"]));
    let server = ("a.test:443".parse().unwrap(), Ok(vec![old]));
    assert_eq!(judged(Vec::new(), &[server])[0].status, Status::Critical);
}

#[test]
fn what_could_not_be_looked_at_is_told() {
    let mut store = file("s.p12", &[], &[], 0o600);
    (store.format, store.locked, store.problems) = (Format::Pkcs12, true, vec!["no passphrase".to_owned()]);
    let mut cut = file("c.pem", &[], &[], 0o600);
    cut.problems = vec!["line 1: no END".to_owned()];
    let server = ("a.test:443".parse().unwrap(), Err("refused".to_owned()));
    let records = judged(vec![store, cut], &[server]);
    assert_eq!(codes(&records), ["locked", "damaged", "unreachable"]);
    assert_eq!(records[0].status, Status::Unknown);
}
