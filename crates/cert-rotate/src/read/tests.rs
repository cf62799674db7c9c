use p12_keystore::{KeyStore, KeyStoreEntry, PrivateKeyChain};

use super::*;
use crate::certificate::pem as block;
use crate::key::KeyType;

/// A store of Java 17 (`keytool -storetype JKS`): the key `web`, and the certificate `root`. Its passphrase is `changeit`.
const STORE: &[u8] = include_bytes!("tests/store.jks");

struct Made {
    certificate: Certificate,
    key: PrivateKey,
}

fn made(name: &str) -> Made {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let signed = rcgen::CertificateParams::new([name.to_owned()]).unwrap().self_signed(key.pair()).unwrap();
    Made { certificate: Certificate::from_der(signed.der()).unwrap(), key }
}

fn crl(made: &Made) -> Vec<u8> {
    let mut authority = rcgen::CertificateParams::new([]).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::Issuer::new(authority, made.key.pair());
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1),
        next_update: rcgen::date_time_ymd(2036, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    list.signed_by(&issuer).unwrap().der().to_vec()
}

fn request(made: &Made) -> Vec<u8> {
    rcgen::CertificateParams::new([]).unwrap().serialize_request(made.key.pair()).unwrap().der().to_vec()
}

fn store(made: &Made, passphrase: &str) -> Vec<u8> {
    let key = p12_keystore::PrivateKey::from_der(made.key.to_der().secret_der()).unwrap();
    let certificate = p12_keystore::Certificate::from_der(made.certificate.der()).unwrap();
    let mut store = KeyStore::new();
    store.add_entry("web", KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new("1", key, [certificate])));
    store.writer(passphrase).encryption_iterations(1).mac_iterations(1).write().unwrap()
}

fn encrypted(made: &Made) -> Vec<u8> {
    let info = pkcs8::PrivateKeyInfoRef::try_from(made.key.to_der().secret_der().to_vec().leak() as &[u8]).unwrap();
    let parameters =
        pkcs8::pkcs5::pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(2, b"saltsalt", [0; 16]).unwrap();
    info.encrypt_with_params(parameters, "open").unwrap().as_bytes().to_vec()
}

fn read(content: &[u8]) -> Read {
    bytes("test", content, None).unwrap()
}

fn read_with(content: &[u8], passphrase: &str) -> Read {
    bytes("test", content, Some(&Secret::from(passphrase.to_owned()))).unwrap()
}

/// One of each, as text.
fn bundle(made: &Made) -> String {
    format!(
        "# a note\n{}subject=/CN=x\n{}{}{}-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n",
        made.certificate.to_pem(),
        *made.key.to_pem(),
        block("X509 CRL", &crl(made)),
        block("CERTIFICATE REQUEST", &request(made)),
    )
}

#[test]
fn a_bundle_gives_everything_in_it() {
    let made = made("one.test");
    let text = bundle(&made);
    for text in [text.clone(), text.replace('\n', "\r\n"), text.replace('\n', "\n    "), format!("\u{feff}{text}")] {
        let found = read(text.as_bytes());
        assert_eq!(found.problems, Vec::<String>::new(), "{text}");
        assert_eq!((found.format, found.certificates.as_slice()), (Format::Pem, &[made.certificate.clone()][..]));
        assert_eq!((found.keys.len(), found.crls.len(), found.requests.len(), found.bare_keys), (1, 1, 1, 1));
        assert!(found.keys[0].is_of(&made.certificate));
    }
}

#[test]
fn der_is_told_apart_by_its_shape() {
    let made = made("one.test");
    let found = read(made.certificate.der());
    assert_eq!((found.format, found.certificates.len()), (Format::Der, 1));
    assert_eq!(read(made.key.to_der().secret_der()).keys.len(), 1);
    assert_eq!(read(&crl(&made)).crls.len(), 1);
    assert_eq!(read(&request(&made)).requests.len(), 1);
    assert_eq!(read_with(&encrypted(&made), "open").keys.len(), 1);
}

#[test]
fn damage_is_told_with_its_line() {
    let pem = made("one.test").certificate.to_pem();
    let lines: Vec<&str> = pem.lines().collect();
    let without = |at: usize| [&lines[..at], &lines[at + 1..]].concat().join("\n");
    let last = lines.len() - 1;
    for (text, expected) in [
        (format!("\n{}", without(last)), "line 2: BEGIN CERTIFICATE has no END".to_owned()),
        (without(0), format!("line {last}: an END CERTIFICATE without its BEGIN")),
        (without(2), "line 1: CERTIFICATE: it is no X.509 certificate".to_owned()),
        (format!("# note\n{}", pem.replacen(lines[3], "*", 1)), "line 2: CERTIFICATE: no base64 in line 5".to_owned()),
        (format!("-{pem}"), "line 1: `------BEGIN CERTIFICATE-----` looks like".to_owned()),
        (
            pem.replace("CERTIFICATE-----", "CERTIFICATE----"),
            "line 1: `-----BEGIN CERTIFICATE----` looks like".to_owned(),
        ),
        (format!("{}\n{pem}", without(last)), "line 1: BEGIN CERTIFICATE has no END".to_owned()),
        (
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----".to_owned(),
            "line 1: CERTIFICATE: there is nothing in it".to_owned(),
        ),
        (
            "-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----".to_owned(),
            "line 1: PKCS7: PKCS #7 is not read".to_owned(),
        ),
    ] {
        let found = read(text.as_bytes());
        assert!(found.problems.first().is_some_and(|problem| problem.starts_with(&expected)), "{:?}", found.problems);
        assert!(!found.is_empty());
    }
}

#[test]
fn one_damaged_block_does_not_hide_the_others() {
    let (one, two) = (made("one.test"), made("two.test"));
    let text = format!("{}-----BEGIN CERTIFICATE-----\n{}", one.certificate.to_pem(), two.certificate.to_pem());
    let found = read(text.as_bytes());
    assert_eq!(found.certificates, [one.certificate, two.certificate]);
    assert_eq!(found.problems.len(), 1);
}

#[test]
fn damaged_der_is_a_problem_and_other_files_are_nothing() {
    let made = made("one.test");
    let mut der = made.certificate.der().to_vec();
    der[6] = 0xff;
    assert_eq!(read(&der).problems.len(), 1);
    for nothing in [&b""[..], b"hello\n", b"0\n", b"\x7fELF\0\0-----BEGIN CERTIFICATE-----\n", b"\x30\x03\x02\x01\x05"]
    {
        let found = read(nothing);
        assert!(found.is_empty() && found.format == Format::Nothing, "{found:?}");
    }
}

#[test]
fn keys_that_are_not_used_here_are_named_and_counted() {
    // From `openssl genpkey -algorithm ed448`.
    let ed448 = "-----BEGIN PRIVATE KEY-----\nMEcCAQAwBQYDK2VxBDsEObnA5JsIIHddM/SO+fBEOMlfhBekkBxqiBfWbvEOfmfF\n\
                 mEu+8NS+JbTE8N/tRRItEPVuCMFdeBamjg==\n-----END PRIVATE KEY-----\n";
    let found = read(ed448.as_bytes());
    assert_eq!((found.keys.len(), found.bare_keys), (0, 1));
    assert_eq!(found.problems, ["line 1: PRIVATE KEY: a private key of a kind that is not used here: Ed448"]);
}

#[test]
fn an_encrypted_key_is_opened_by_its_passphrase_alone() {
    let made = made("one.test");
    let text = block("ENCRYPTED PRIVATE KEY", &encrypted(&made));
    assert_eq!(read_with(text.as_bytes(), "open").keys.len(), 1);
    for found in [read(text.as_bytes()), read_with(text.as_bytes(), "wrong")] {
        assert!(
            found.locked && found.keys.is_empty() && found.problems.len() == 1 && found.bare_keys == 0,
            "{found:?}"
        );
    }
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,00\n\nAAAA\n\
               -----END RSA PRIVATE KEY-----\n";
    assert!(read(old.as_bytes()).locked);
}

#[test]
fn a_passphrase_that_would_take_forever_is_not_tried() {
    let made = made("one.test");
    let mut der = encrypted(&made);
    // The rounds stand after the salt: an INTEGER of 2. Four bytes need room, which a longer salt gives away.
    let at = der.windows(11).position(|bytes| bytes == b"\x04\x08saltsalt\x02").unwrap();
    der.splice(at..at + 13, *b"\x04\x05salts\x02\x04\x7f\xff\xff\xff");
    let found = read_with(&der, "open");
    assert!(found.problems[0].contains("more time or memory"), "{:?}", found.problems);
}

#[test]
fn a_pkcs12_store_gives_its_entries() {
    let made = made("one.test");
    let bytes = store(&made, "open");
    let found = read_with(&bytes, "open");
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!((found.format, found.certificates.as_slice()), (Format::Pkcs12, &[made.certificate.clone()][..]));
    let entry = Entry { alias: "web".to_owned(), key: Some(0), certificates: vec![0], locked: false };
    assert_eq!(found.entries, [entry]);
    for found in [read(&bytes), read_with(&bytes, "wrong")] {
        assert!(found.locked && found.certificates.is_empty() && found.problems.len() == 1);
    }
    assert_eq!(read(&store(&made, "")).keys.len(), 1);
}

#[test]
fn a_java_store_gives_certificates_always_and_keys_for_its_passphrase() {
    let found = read_with(STORE, "changeit");
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!((found.format, found.certificates.len(), found.keys.len()), (Format::Jks, 2, 1));
    let web = found.entries.iter().find(|entry| entry.alias == "web").unwrap();
    let certificate = &found.certificates[web.certificates[0]];
    assert!(found.keys[web.key.unwrap()].is_of(certificate));
    assert_eq!(certificate.title(), "web.test");
    for found in [read(STORE), read_with(STORE, "wrong")] {
        assert!(found.locked && found.certificates.len() == 2 && found.keys.is_empty(), "{:?}", found.problems);
    }
}

#[test]
fn base64_inside_of_yaml_is_found_also_over_several_lines() {
    let made = made("one.test");
    let encode = |text: &str| {
        let pem = block("X", text.as_bytes());
        pem.lines().filter(|line| !line.starts_with('-')).collect::<Vec<_>>().join("\n")
    };
    let (certificate, key) = (encode(&made.certificate.to_pem()), encode(&made.key.to_pem()));
    let flat = |text: &str| text.replace('\n', "");
    for yaml in [
        format!("data:\n  tls.crt: {}\n  tls.key: {}\n", flat(&certificate), flat(&key)),
        format!("{{\"a\":\"{}\",\"b\":\"{}\"}}", flat(&certificate), flat(&key)),
        format!("a: |\n    {}\nb: |\n    {}\n", certificate.replace('\n', "\n    "), key.replace('\n', "\n    ")),
    ] {
        let found = read(yaml.as_bytes());
        assert_eq!(found.problems, Vec::<String>::new(), "{yaml}");
        assert_eq!((found.format, found.certificates.len(), found.keys.len()), (Format::Embedded, 1, 1));
    }
    let cut = format!("a: {}", &flat(&certificate)[..200]);
    assert!(read(cut.as_bytes()).problems[0].contains("line 1"));
}

#[test]
fn what_is_too_large_is_refused() {
    let content = vec![b'\n'; MAX_BYTES as usize + 1];
    assert!(matches!(bytes("test", &content, None), Err(ReadError::TooLarge(_))));
}

#[test]
fn damage_anywhere_ends_in_an_answer() {
    let made = made("one.test");
    let whole = [store(&made, "open"), STORE.to_vec(), encrypted(&made), bundle(&made).into_bytes(), crl(&made)];
    for content in whole {
        for at in 0..content.len() {
            let mut damaged = content.clone();
            for value in [0x00, 0x7f, 0x80, 0xff, content[at] ^ 1] {
                damaged[at] = value;
                // Reading it and getting here is the promise; with a passphrase, to get as deep as it goes.
                let _ = read_with(&damaged, "open");
            }
            let _ = read_with(&content[..at], "open");
        }
    }
}

#[test]
fn a_walk_visits_files_once_a_name_and_ends() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    std::fs::create_dir_all(path("archive/1")).unwrap();
    std::fs::write(path("archive/1/cert.pem"), "").unwrap();
    std::fs::write(path("b.pem"), "").unwrap();
    std::os::unix::fs::symlink("archive/1", path("live")).unwrap();
    std::os::unix::fs::symlink("b.pem", path("a.pem")).unwrap();
    std::os::unix::fs::symlink("..", path("archive/up")).unwrap();
    let mut seen = Vec::new();
    walk(root.path(), &mut |path| seen.push(path.strip_prefix(&root).unwrap().display().to_string())).unwrap();
    assert_eq!(seen, ["a.pem", "archive/1/cert.pem", "b.pem", "live/cert.pem"]);
    std::os::unix::fs::symlink("nowhere", path("c.pem")).unwrap();
    let mut count = 0;
    let error = walk(root.path(), &mut |_| count += 1).unwrap_err();
    assert!(count == 4 && error.to_string().contains("c.pem"), "{error}");
    assert!(walk(&path("nowhere"), &mut |_| ()).is_err());
}
