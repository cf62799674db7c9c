use super::*;
use crate::key::KeyType;
use crate::read;

struct Signed {
    certificate: Certificate,
    key: PrivateKey,
    wanted: rcgen::CertificateParams,
}

fn signed(name: &str, by: Option<&Signed>) -> Signed {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let mut wanted = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    wanted.distinguished_name.push(rcgen::DnType::CommonName, name);
    wanted.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let made = match by {
        Some(by) => wanted.signed_by(key.pair(), &rcgen::Issuer::from_params(&by.wanted, by.key.pair())),
        None => wanted.self_signed(key.pair()),
    };
    Signed { certificate: Certificate::from_der(made.unwrap().der()).unwrap(), key, wanted }
}

fn read_of(texts: &[String]) -> Vec<Read> {
    texts.iter().map(|text| read::bytes("test", text.as_bytes(), None).unwrap()).collect()
}

#[test]
fn a_chain_is_put_in_order_and_doubles_go() {
    let root = signed("root", None);
    let middle = signed("middle", Some(&root));
    let leaf = signed("leaf", Some(&middle));
    // An authority of the same name that signed nothing.
    let double = signed("middle", Some(&root));
    let pem = |one: &Signed| one.certificate.to_pem();
    let texts = [pem(&root), pem(&double), pem(&middle), format!("{}{}", pem(&leaf), *leaf.key.to_pem()), pem(&leaf)];
    let contents = arrange(read_of(&texts)).unwrap();
    assert_eq!(contents.titles(), ["leaf", "middle", "root", "middle"]);
    assert_eq!(contents.certificates[1], middle.certificate);
    assert_eq!(contents.summary(), "4 certificates, 1 private key");
    let without_key = arrange(read_of(&texts[..3])).unwrap();
    assert_eq!(without_key.certificates.last(), Some(&middle.certificate), "{:?}", without_key.titles());
}

#[test]
fn a_key_of_none_of_the_certificates_is_refused_and_a_key_alone_is_not() {
    let (one, two) = (signed("one", None), signed("two", None));
    let texts = [one.certificate.to_pem(), two.key.to_pem().to_string()];
    let failure = arrange(read_of(&texts)).unwrap_err();
    assert!(failure.message.contains("belongs to none of the certificates (one)"), "{failure}");
    assert_eq!(arrange(read_of(&texts[1..])).unwrap().keys.len(), 1);
}
