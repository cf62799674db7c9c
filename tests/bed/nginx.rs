//! nginx and the certificates made for it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testbed::{KeyKind, Leaf, Nginx, Pair, Pki, run, run_fed, wait_until};

/// What s_client has to say of the certificate that is shown.
fn shown(nginx: &Nginx, name: &str, options: &[&str]) -> String {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-servername", name, "-connect", &format!("127.0.0.1:{}", nginx.port())]).args(options);
    run_fed(&mut client, "").unwrap().stdout
}

fn link(pair: &Pair, directory: &Path) {
    let temporary = directory.join("new");
    for (from, to) in [(&pair.chain, "cert"), (&pair.key, "key")] {
        std::os::unix::fs::symlink(from, &temporary).unwrap();
        fs::rename(&temporary, directory.join(to)).unwrap();
    }
}

#[test]
fn each_name_has_its_certificates_and_a_reload_takes_new_ones() {
    let pki = Pki::new().unwrap();
    let root = pki.root("root", KeyKind::P256).unwrap();
    let between = pki.intermediate("between", KeyKind::P256, &root).unwrap();
    let rsa = Leaf { key: KeyKind::Rsa, ..Leaf::of(&["a.test"]) };
    let rsa = pki.leaf(&rsa, &between).unwrap();
    let ec = pki.leaf(&Leaf::of(&["a.test", "127.0.0.1"]), &between).unwrap();
    let other = pki.leaf(&Leaf::of(&["b.test"]), &between).unwrap();
    link(&other, pki.dir());
    let (cert, key) = (pki.dir().join("cert"), pki.dir().join("key"));
    let nginx = Nginx::builder()
        .workers(1)
        .site("a.test", &[(&rsa.chain, &rsa.key), (&ec.chain, &ec.key)])
        .site("b.test", &[(&cert, &key)])
        .start()
        .unwrap();

    let ca = root.cert.display().to_string();
    for (name, options, kind) in [
        ("a.test", ["-sigalgs", "RSA-PSS+SHA256"], "RSA-PSS"),
        ("a.test", ["-sigalgs", "ECDSA+SHA256"], "ECDSA"),
        ("b.test", ["-sigalgs", "ECDSA+SHA256"], "ECDSA"),
    ] {
        let text = shown(&nginx, name, &[&options[..], &["-CAfile", &ca, "-verify_hostname", name]].concat());
        assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
        assert!(text.contains(&format!("signature type: {kind}")), "{name} {options:?}: {text}");
    }

    let before = shown(&nginx, "b.test", &[]);
    let next = pki.leaf(&Leaf { until: "30 days", ..Leaf::of(&["b.test"]) }, &between).unwrap();
    link(&next, pki.dir());
    let end = run(Command::new("openssl").args(["x509", "-noout", "-enddate", "-in"]).arg(&next.cert)).unwrap().stdout;
    let end = end.trim().trim_start_matches("notAfter=");
    assert!(!before.contains(end));
    nginx.reload().unwrap();
    wait_until("the new certificate is shown", Duration::from_secs(20), || shown(&nginx, "b.test", &[]).contains(end))
        .unwrap();
    nginx.stop().unwrap();
    assert!(!nginx.log().contains("[emerg]"), "{}", nginx.log());
}
