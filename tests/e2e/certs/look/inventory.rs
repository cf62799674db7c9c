//! Many files, every kind of place, and a server.

use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::{KeyKind, Leaf, Nginx, Pki, records, run_fed};

use super::{cert_rotate, codes, done, ends, sh};

fn of<'a>(records: &'a [Value], subject: &str) -> &'a Value {
    &records.iter().find(|record| record["subject"] == subject).unwrap_or_else(|| panic!("{subject}: {records:#?}"))["data"]
}

#[test]
fn a_certificate_is_told_once_with_every_place_where_it_is() {
    let pki = Pki::new().unwrap();
    let root = pki.root("root", KeyKind::P256).unwrap();
    let web = pki.leaf(&Leaf::of(&["web.test"]), &root).unwrap();
    let nginx = Nginx::builder().site("web.test", &[(&web.chain, &web.key)]).start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sh(
        dir,
        &format!(
            "mkdir -p etc/a etc/b; cp {cert} etc/a/cert.pem; install -m 0644 {key} etc/a/key.pem; ln -s a etc/link
             cat {cert} {root} > etc/b/bundle.pem; openssl x509 -in {cert} -outform DER -out etc/b/x
             b() {{ base64 -w0 < $1; }}
             printf 'clusters:\\n- cluster:\\n    certificate-authority-data: %s\\nusers:\\n- user:\\n    client-certificate-data: %s\\n' \
             $(b {root}) $(b {cert}) > etc/kubeconfig
             printf 'kind: Secret\\ndata:\\n  tls.crt: %s\\n  tls.key: %s\\n' $(b {cert}) $(b {key}) > etc/secret.yaml
             chmod 0600 etc/secret.yaml; printf 'pass\\n' > pass; chmod 0600 pass
             openssl pkcs12 -export -in {cert} -inkey {key} -passout file:pass -out etc/b/store.p12; echo hi > etc/readme",
            cert = web.cert.display(),
            key = web.key.display(),
            root = root.cert.display(),
        ),
    );
    let endpoint = format!("127.0.0.1:{};sni=web.test", nginx.port());
    let command = &mut cert_rotate(dir, &["inventory", "-", "--passphrase-file", "pass"]);
    let output = run_fed(command, &format!("etc\n\n{endpoint}\n")).unwrap();
    assert_eq!(output.code, 1, "{output}");
    let records = records(&output.stdout).unwrap();
    let data = of(&records, "web.test");
    let files = [
        "etc/a/cert.pem",
        "etc/b/bundle.pem",
        "etc/b/store.p12",
        "etc/b/x",
        "etc/kubeconfig",
        "etc/link/cert.pem",
        "etc/secret.yaml",
    ];
    assert_eq!(data["files"], serde_json::json!(files));
    assert_eq!(data["endpoints"], serde_json::json!([endpoint]));
    let keys = ["etc/a/key.pem", "etc/b/store.p12", "etc/link/key.pem", "etc/secret.yaml"];
    assert_eq!(data["private_key_files"], serde_json::json!(keys));
    assert_eq!(of(&records, "CN=root")["files"], serde_json::json!(["etc/b/bundle.pem", "etc/kubeconfig"]));
    assert_eq!(codes(&records), ["key-mode", "key-mode"]);
    assert_eq!(of(&records, "etc/a/key.pem")["mode"], "0644");
    assert_eq!(of(&records, "inventory")["certificates_count"], 2);
    // Later it is expired, and a server shows it.
    let later = ends(dir, 2, &["--at", "2099-01-01T00:00:00Z", "inventory", &endpoint]);
    assert_eq!(codes(&later), ["expired"]);
}

#[test]
fn what_cannot_be_looked_at_is_told_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sh(
        dir,
        "mkdir etc; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout etc/k.pem -subj /CN=a \
         -out etc/a.pem 2>/dev/null; sed '4d' etc/a.pem > etc/cut.pem; ln -s nowhere etc/dangling
         openssl pkcs12 -export -in etc/a.pem -inkey etc/k.pem -passout pass:x -out etc/s.p12; rm etc/k.pem",
    );
    let output = done(dir, &["inventory", "etc", "missing", "127.0.0.1:1"]);
    assert_eq!(output.code, 3, "{output}");
    let records = records(&output.stdout).unwrap();
    for (subject, code) in [
        ("missing", "unreadable"),
        ("etc", "unreadable"),
        ("127.0.0.1:1", "unreachable"),
        ("etc/s.p12", "locked"),
        ("etc/cut.pem", "damaged"),
    ] {
        assert_eq!(of(&records, subject)["code"], code, "{output}");
    }
    assert!(of(&records, "etc")["message"].as_str().unwrap().contains("etc/dangling"));
    assert_eq!(of(&records, "CN=a")["status"], "ok");
}

#[test]
fn ten_thousand_files_are_a_matter_of_moments() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sh(
        dir,
        "mkdir many; openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -subj /CN=a -out many/0.pem 2>/dev/null",
    );
    let first = std::fs::read(dir.join("many/0.pem")).unwrap();
    for number in 1..10_000 {
        std::fs::write(dir.join(format!("many/{number}.pem")), &first).unwrap();
    }
    let begun = Instant::now();
    let records = ends(dir, 0, &["inventory", "many"]);
    let took = begun.elapsed();
    assert_eq!(of(&records, "CN=a")["files"].as_array().unwrap().len(), 10_000);
    assert_eq!(of(&records, "inventory")["files_count"], 10_000);
    // A build without optimisation on a busy machine; the release build takes a fraction of it.
    assert!(took < Duration::from_secs(20), "{took:?}");
}
