use std::collections::BTreeMap;

use super::*;
use crate::certificate::Certificate;
use crate::config::{CertSpec, ChallengeSpec, IssuerSpec, Reload};
use crate::import::certbot::Old;
use crate::import::renewal;
use crate::key::{KeyType, PrivateKey};
use crate::live::Access;

#[derive(serde::Deserialize)]
struct Described {
    issuers: BTreeMap<String, IssuerSpec>,
    certs: BTreeMap<String, CertSpec>,
}

fn lineage(conf: &str) -> Lineage {
    let key = PrivateKey::generate(KeyType::P384).unwrap();
    let names = ["www.a.test".to_owned(), "a.test".to_owned()];
    let signed = rcgen::CertificateParams::new(names).unwrap().self_signed(key.pair()).unwrap();
    let chain = vec![Certificate::from_der(signed.der()).unwrap()];
    Lineage {
        name: "a.test".to_owned(),
        generations: vec![Old { number: 3, chain, key, access: Access::default() }],
        links: Vec::new(),
        current: Some(3),
        renewal: Some(renewal::parse(&format!("[renewalparams]\n{conf}"))),
    }
}

fn described(conf: &str) -> Described {
    let text = describe(&lineage(conf));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn what_is_described_is_what_our_configuration_reads() {
    let read = described(
        "server = https://acme-staging-v02.api.letsencrypt.org/directory\nauthenticator = webroot\n\
         webroot_path = /srv/www,\nreuse_key = True\nrenew_hook = systemctl reload nginx\n",
    );
    let spec = &read.certs["a.test"];
    assert_eq!((spec.names.len(), spec.key_type, spec.reuse_key), (2, KeyType::P384, true));
    let IssuerSpec::Acme(acme) = &read.issuers[&spec.issuer] else { panic!("not ACME") };
    assert_eq!(spec.issuer, "letsencrypt-staging");
    assert!(matches!(&acme.challenge, ChallengeSpec::Webroot { path } if path.ends_with("srv/www")));
    let Reload::Command { command, .. } = &spec.consumers[0].reload else { panic!("no command") };
    assert_eq!(command, &["systemctl", "reload", "nginx"]);
}

#[test]
fn a_hook_for_a_shell_stays_one() {
    let read =
        described("server = https://ca.inside.test:14000/dir\nrenew_hook = cp \"$RENEWED_LINEAGE\"/* /srv && true\n");
    let spec = &read.certs["a.test"];
    assert_eq!(spec.issuer, "ca-inside-test");
    let Reload::Command { command, .. } = &spec.consumers[0].reload else { panic!("no command") };
    assert_eq!(command, &["/bin/sh", "-c", "cp \"$RENEWED_LINEAGE\"/* /srv && true"]);
}

#[test]
fn every_way_of_proving_names_gives_something_that_can_be_read() {
    for authenticator in ["webroot", "standalone", "nginx", "dns-route53", "manual", ""] {
        let read = described(&format!("authenticator = {authenticator}\n"));
        assert_eq!(read.certs["a.test"].issuer, "letsencrypt", "{authenticator}");
    }
    let read = described("authenticator = standalone\nhttp01_port = 5002\nhttp01_address = 127.0.0.1\n");
    let IssuerSpec::Acme(acme) = &read.issuers["letsencrypt"] else { panic!("not ACME") };
    assert!(matches!(&acme.challenge, ChallengeSpec::Http01 { listen: Some(listen) } if listen == "127.0.0.1:5002"));
}
