use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa};

use super::*;

/// An authority, and its root in a file.
struct Bench {
    _dir: tempfile::TempDir,
    root: PathBuf,
    authority: CertifiedIssuer<'static, rcgen::KeyPair>,
    spec: CertSpec,
}

impl Bench {
    fn of(authority: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, authority);
        let authority = CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
        let root = dir.path().join("root.pem");
        std::fs::write(&root, authority.pem()).unwrap();
        let spec = toml::from_str("names = ['a.example.test', '127.0.0.1']\nissuer = 'inside'").unwrap();
        Bench { _dir: dir, root, authority, spec }
    }

    fn signed(&self, kind: KeyType, names: &[&str], years: (i32, i32)) -> (Vec<Certificate>, PrivateKey) {
        let key = PrivateKey::generate(kind).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let made = params.signed_by(key.pair(), &self.authority).unwrap();
        (vec![Certificate::from_der(made.der()).unwrap()], key)
    }

    fn good(&self) -> (Vec<Certificate>, PrivateKey) {
        self.signed(KeyType::P256, &["a.example.test", "127.0.0.1"], (2026, 2027))
    }

    fn codes(&self, chain: &[Certificate], key: &PrivateKey, replaces: Option<&[Certificate]>) -> Vec<&'static str> {
        let candidate = Candidate {
            chain,
            key,
            spec: &self.spec,
            roots: &Roots::File(self.root.clone()),
            replaces,
            may_end_earlier: false,
            now: "2026-06-01T00:00:00Z".parse().unwrap(),
        };
        judge(&candidate).into_iter().map(|problem| problem.code).collect()
    }
}

#[test]
fn a_good_certificate_passes() {
    let bench = Bench::of("an authority");
    let (chain, key) = bench.good();
    assert!(bench.codes(&chain, &key, None).is_empty());
    assert!(bench.codes(&chain, &key, Some(&chain)).is_empty());
    assert_eq!(bench.codes(&[], &key, None), ["chain-empty"]);
}

#[test]
fn each_fault_has_its_code() {
    let bench = Bench::of("an authority");
    let names = ["a.example.test", "127.0.0.1"];
    let (good, good_key) = bench.good();
    let (other, _) = bench.signed(KeyType::P256, &names, (2026, 2027));
    assert_eq!(bench.codes(&other, &good_key, None), ["key-mismatch"]);
    let (chain, key) = bench.signed(KeyType::P256, &["a.example.test"], (2026, 2027));
    assert_eq!(bench.codes(&chain, &key, None), ["names-missing"]);
    let (chain, key) = bench.signed(KeyType::P256, &names, (2020, 2021));
    assert_eq!(bench.codes(&chain, &key, None), ["expired"]);
    assert_eq!(bench.codes(&chain, &key, Some(&good)), ["expired", "ends-earlier"]);
    let (chain, key) = bench.signed(KeyType::P256, &names, (2027, 2028));
    assert_eq!(bench.codes(&chain, &key, Some(&good)), ["not-yet-valid"]);
    let stranger = Bench::of("a stranger");
    let (chain, key) = stranger.good();
    assert_eq!(bench.codes(&chain, &key, None), ["chain-untrusted"]);
}

#[test]
fn a_staging_authority_does_not_replace_a_real_one() {
    let staging = Bench::of("(STAGING) Pretend Pear X1");
    let (pretended, key) = staging.good();
    let (real, _) = Bench::of("an authority").good();
    assert_eq!(staging.codes(&pretended, &key, Some(&real)), ["staging-issuer"]);
    assert!(staging.codes(&pretended, &key, Some(&pretended)).is_empty());
}

#[test]
fn a_weaker_key_comes_only_when_it_is_asked_for() {
    let mut bench = Bench::of("an authority");
    let names = ["a.example.test", "127.0.0.1"];
    let (strong, _) = bench.signed(KeyType::P384, &names, (2026, 2027));
    let (weak, key) = bench.good();
    assert!(bench.codes(&weak, &key, Some(&strong)).is_empty());
    bench.spec.key_type = KeyType::P384;
    assert_eq!(bench.codes(&weak, &key, Some(&strong)), ["key-weaker"]);
}

#[test]
fn a_wildcard_is_for_one_label_and_for_itself() {
    let bench = Bench::of("an authority");
    let (chain, _) = bench.signed(KeyType::P256, &["*.example.test", "10.0.0.1"], (2026, 2027));
    let wanted = ["b.example.test", "*.example.test", "B.Example.Test", "10.0.0.1"].map(str::to_owned);
    assert!(lacking(&chain[0], &wanted).is_empty());
    let wanted = ["example.test", "a.b.example.test", "10.0.0.2", "*.b.example.test"].map(str::to_owned);
    assert_eq!(lacking(&chain[0], &wanted), wanted);
}
