//! What we say of a file, beside what openssl says of it.

use std::path::Path;

use serde_json::Value;

use super::{codes, done, ends, sh};

/// Certificates of many kinds, each with what makes it different: options of its key, of its signature, and extensions.
const KINDS: &[(&str, &str, &str, &str)] = &[
    ("rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "-sha256", "subjectAltName=DNS:a.test"),
    ("sha1", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "-sha1", "subjectAltName=DNS:a.test"),
    ("weak", "-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "-sha256", "subjectAltName=DNS:a.test"),
    (
        "pss",
        "-algorithm RSA -pkeyopt rsa_keygen_bits:3072",
        "-sha384 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32",
        "subjectAltName=DNS:a.test",
    ),
    ("p256", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "-sha256", "keyUsage=critical,digitalSignature"),
    (
        "p384",
        "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
        "-sha384",
        "extendedKeyUsage=serverAuth,clientAuth,1.2.3.4",
    ),
    ("p521", "-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "-sha512", "keyUsage=keyAgreement,decipherOnly"),
    ("ed25519", "-algorithm ED25519", "", "extendedKeyUsage=emailProtection,codeSigning,timeStamping,OCSPSigning"),
    ("ed448", "-algorithm ED448", "", "subjectAltName=email:a@b.test,URI:https://a.test/x"),
    (
        "names",
        "-algorithm ED25519",
        "",
        "subjectAltName=DNS:*.A.test,DNS:xn--bcher-kva.test,IP:192.0.2.1,IP:2001:db8::1,email:a@b.test,URI:spiffe://a/b",
    ),
    (
        "authority",
        "-algorithm ED25519",
        "",
        "basicConstraints=critical,CA:TRUE,pathlen:3\nkeyUsage=critical,keyCertSign,cRLSign\n\
         nameConstraints=critical,permitted;DNS:a.test,excluded;IP:192.0.2.0/255.255.255.0\n\
         certificatePolicies=2.23.140.1.2.1,1.2.3",
    ),
    (
        "addresses",
        "-algorithm ED25519",
        "",
        "authorityInfoAccess=OCSP;URI:http://o.test/,caIssuers;URI:http://i.test/i.der\n\
         crlDistributionPoints=URI:http://c.test/1.crl,URI:http://c.test/2.crl\ntlsfeature=status_request",
    ),
    ("odd", "-algorithm ED25519", "", "nsComment=hello\n1.2.3.4.5=critical,ASN1:UTF8:what\nsubjectKeyIdentifier=hash"),
];

/// What a script with openssl says, without the line's end.
fn said(dir: &Path, script: &str) -> String {
    sh(dir, script).trim().to_owned()
}

fn made(dir: &Path, (name, key, sign, extensions): (&str, &str, &str, &str)) {
    std::fs::write(
        dir.join("x.cnf"),
        format!("[req]\ndistinguished_name=dn\nx509_extensions=x\n[dn]\n[x]\n{extensions}\n"),
    )
    .unwrap();
    sh(
        dir,
        &format!(
            "openssl genpkey {key} -out {name}.key 2>/dev/null; openssl req -x509 -new -key {name}.key -config x.cnf {sign} \
             -subj '/C=ES/O=Ours, and \"theirs\"/CN={name}' -set_serial 0x00d4$(printf {name} | od -An -tx1 | tr -d ' ') \
             -days 3650 -out {name}.pem"
        ),
    );
}

#[test]
fn the_fields_of_a_certificate_are_those_that_openssl_shows() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for kind in KINDS {
        made(dir, *kind);
        let name = kind.0;
        let records = ends(dir, 0, &["inspect", &format!("{name}.pem")]);
        let data = &records[0]["data"];
        let x509 = |options: &str| said(dir, &format!("openssl x509 -in {name}.pem -noout {options}"));
        let value = |options: &str| x509(options).split_once('=').unwrap().1.to_owned();
        let plain = |text: &str| text.replace(':', "").to_lowercase();
        assert_eq!(data["fingerprint"], plain(&value("-fingerprint -sha256")), "{name}");
        assert_eq!(data["fingerprint_sha1"], plain(&value("-fingerprint -sha1")), "{name}");
        assert_eq!(
            data["serial"].as_str().unwrap().trim_start_matches("00"),
            value("-serial").to_lowercase(),
            "{name}"
        );
        for (field, option) in [("not_before", "-startdate"), ("not_after", "-enddate")] {
            let time = value(&format!("-dateopt iso_8601 {option}")).replace(' ', "T");
            assert_eq!(data[field], time, "{name}");
        }
        let public = said(
            dir,
            &format!(
                "openssl x509 -in {name}.pem -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum | cut -c1-64"
            ),
        );
        assert_eq!(data["public_key_fingerprint"], public, "{name}");
        let text = x509("-text");
        let algorithm = data["signature_algorithm"].as_str().unwrap();
        assert!(text.contains(&format!("Signature Algorithm: {algorithm}")), "{name}: {algorithm}\n{text}");
        let urls = |field: &str| {
            let all = data[field].as_array().unwrap().iter();
            all.map(|url| url.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(urls("ocsp_urls"), x509("-ocsp_uri").lines().collect::<Vec<_>>(), "{name}");
        assert!(urls("crl_urls").iter().all(|url| text.contains(&format!("URI:{url}"))));
        same_extensions(name, data, &text);
    }
}

/// Every extension that openssl lists, with the same weight and, where we use its words, the same words.
fn same_extensions(name: &str, data: &Value, text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    let titles: Vec<(usize, &str)> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.starts_with("            ") && !line.starts_with("             "))
        .filter(|(_, line)| line.trim_end().ends_with(':') || line.contains(": critical"))
        .map(|(at, line)| (at, line.trim()))
        .skip_while(|(at, _)| !lines[..*at].iter().any(|line| line.contains("X509v3 extensions")))
        .collect();
    let ours = data["extensions"].as_array().unwrap();
    assert_eq!(ours.len(), titles.len(), "{name}: {ours:?}\n{titles:?}");
    for (extension, (at, title)) in ours.iter().zip(&titles) {
        assert_eq!(extension["critical"].as_bool().unwrap(), title.ends_with("critical"), "{name}: {title}");
        let theirs = lines[at + 1].trim();
        let ours = extension["value"].as_str().unwrap();
        match extension["name"].as_str() {
            Some("basicConstraints" | "keyUsage" | "nsComment") => assert_eq!(ours, theirs, "{name}"),
            Some("subjectKeyIdentifier") => assert_eq!(ours, theirs.replace(':', "").to_lowercase(), "{name}"),
            Some("subjectAltName") => {
                assert_eq!(ours.split(", ").count(), theirs.split(", ").count(), "{name}: {ours} / {theirs}");
                let mut pairs = ours.split(", ").zip(theirs.split(", "));
                let dns = |theirs: &str| theirs.strip_prefix("DNS:").map(str::to_lowercase);
                assert!(
                    pairs.all(|(ours, theirs)| dns(theirs).is_none_or(|theirs| ours == theirs)),
                    "{ours} / {theirs}"
                );
            }
            _ => {}
        }
    }
}

#[test]
fn requests_and_revocation_lists_say_what_openssl_says() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sh(
        dir,
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem -subj /CN=a.test \
         -addext subjectAltName=DNS:a.test,IP:192.0.2.7 -out r.csr 2>/dev/null
         openssl req -x509 -key k.pem -subj /CN=ca -out ca.pem
         printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=i\\ncrlnumber=n\\ndefault_md=sha256\\ndefault_crl_days=30\\n' > c.cnf
         printf 'R\\t300101000000Z\\t260101000000Z,keyCompromise\\t0A0B\\tunknown\\t/CN=x\\n' > i; echo 2A > n
         openssl ca -config c.cnf -gencrl -keyfile k.pem -cert ca.pem -out l.pem 2>/dev/null
         openssl crl -in l.pem -outform DER -out l.crl",
    );
    let records = ends(dir, 0, &["inspect", "r.csr", "l.pem", "l.crl"]);
    let data = |at: usize| &records[at]["data"];
    assert_eq!(data(0)["names"], serde_json::json!(["a.test", "192.0.2.7"]));
    assert_eq!((&data(0)["key"], &data(0)["signature_valid"]), (&"EC P-256".into(), &true.into()));
    assert_eq!((&data(1)["crl_number"], &data(1)["revoked_count"]), (&"42".into(), &1.into()));
    assert_eq!(data(1)["revoked"][0]["serial"], "0a0b");
    assert_eq!(data(1)["revoked"][0]["reason"], "keyCompromise");
    assert_eq!(data(1)["fingerprint"], data(2)["fingerprint"]);
    let next = said(dir, "openssl crl -in l.pem -noout -dateopt iso_8601 -nextupdate | cut -d= -f2 | tr ' ' T");
    assert_eq!(data(1)["next_update"], next);
}

#[test]
fn keys_in_every_form_are_known_by_their_public_half_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sh(
        dir,
        "umask 077; printf 'open\\n' > pass; printf 'wrong\\n' > wrong
         openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out pkcs8.pem
         openssl ec -in pkcs8.pem -out sec1.pem 2>/dev/null
         openssl pkey -in pkcs8.pem -outform DER -out pkcs8.der
         openssl pkcs8 -topk8 -in pkcs8.pem -v2 aes-256-cbc -passout file:pass -out pbkdf2.pem
         openssl pkcs8 -topk8 -in pkcs8.pem -scrypt -passout file:pass -out scrypt.pem
         openssl pkcs8 -topk8 -in pkcs8.pem -scrypt -passout file:pass -outform DER -out scrypt.der
         openssl ec -in pkcs8.pem -aes256 -passout file:pass -out old.pem 2>/dev/null
         openssl genrsa -traditional -out pkcs1.pem 2048 2>/dev/null
         openssl genpkey -algorithm ED448 -out ed448.pem",
    );
    let public = said(dir, "openssl pkey -in pkcs8.pem -pubout -outform DER | sha256sum | cut -c1-64");
    for file in ["pkcs8.pem", "sec1.pem", "pkcs8.der", "pbkdf2.pem", "scrypt.pem", "scrypt.der"] {
        let records = ends(dir, 0, &["inspect", file, "--passphrase-file", "pass"]);
        assert_eq!(records[0]["data"]["public_key_fingerprint"], public, "{file}");
        assert_eq!(records[0]["data"]["key"], "EC P-256");
    }
    assert_eq!(ends(dir, 0, &["inspect", "pkcs1.pem"])[0]["data"]["key"], "RSA 2048");
    for (file, pass) in [("pbkdf2.pem", "wrong"), ("scrypt.der", "wrong"), ("old.pem", "pass")] {
        assert_eq!(codes(&ends(dir, 3, &["inspect", file, "--passphrase-file", pass])), ["locked"], "{file}");
    }
    let records = ends(dir, 2, &["inspect", "ed448.pem"]);
    assert!(records[0]["data"]["message"].as_str().unwrap().ends_with("Ed448"), "{records:?}");
    sh(dir, "chmod 0644 pass");
    assert_eq!(done(dir, &["inspect", "scrypt.pem", "--passphrase-file", "pass"]).code, 3);
    // No line of the key is in what is written.
    let secret = std::fs::read_to_string(dir.join("pkcs8.pem")).unwrap();
    let output = done(dir, &["inspect", "pkcs8.pem", "-vv"]);
    assert!(!output.to_string().contains(secret.lines().nth(1).unwrap()));
}

#[test]
fn odd_certificates_and_keystores_of_others_end_in_an_answer() {
    let vectors = testbed::pkits::vectors().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let places = ["custom", "PKITS_data/certs", "PKITS_data/crls", "../pkcs12", "../asymmetric/PKCS8", "."];
    let mut read = 0;
    for place in places {
        let mut files: Vec<String> = std::fs::read_dir(vectors.join(place))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| path.display().to_string())
            .collect();
        files.sort();
        let mut args = vec!["inspect"];
        args.extend(files.iter().map(String::as_str));
        let output = done(dir.path(), &args);
        assert!(matches!(output.code, 0..=3), "{place}: {output}");
        let records = testbed::records(&output.stdout).unwrap();
        // Each file is spoken of.
        let of = |record: &Value| record["subject"].as_str().unwrap_or_default().split('#').next().unwrap().to_owned();
        let told: std::collections::BTreeSet<String> = records.iter().map(of).collect();
        for file in &files {
            assert!(told.contains(file), "{file} is not told");
        }
        read += records.iter().filter(|record| record["data"]["kind"] == "certificate").count();
        if place.starts_with("PKITS") {
            assert_eq!(output.code, 0, "{place}: {:?}", codes(&records));
        }
    }
    assert!(read > 450, "{read}");
}

#[test]
fn keystores_of_others_are_opened() {
    let vectors = testbed::pkits::vectors().unwrap().join("../pkcs12");
    let dir = tempfile::tempdir().unwrap();
    sh(dir.path(), "umask 077; printf 'cryptography\\n' > 1; printf 'password\\n' > 2");
    let mut files: Vec<_> = std::fs::read_dir(&vectors).unwrap().map(|entry| entry.unwrap().path()).collect();
    // One is encrypted with no passphrase at all, which is another thing than the empty one.
    files.retain(|path| path.extension().is_some_and(|ending| ending == "p12") && !path.ends_with("no-password.p12"));
    assert!(files.len() >= 20, "{files:?}");
    for path in &files {
        let path = path.to_str().unwrap();
        let passphrases: [&[&str]; 3] = [&[], &["--passphrase-file", "1"], &["--passphrase-file", "2"]];
        let tried = passphrases.map(|passphrase| done(dir.path(), &[&["inspect", path], passphrase].concat()));
        let opened: Vec<_> = tried.iter().filter(|output| output.code == 0).collect();
        assert!(!opened.is_empty(), "{path}: {}", tried[0]);
        assert!(opened[0].stdout.contains("\"kind\":\""), "{path}: {}", opened[0]);
    }
}
