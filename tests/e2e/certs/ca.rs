//! An authority of our own, and handshakes at every phase of its rollover. openssl is the judge.

mod faults;
mod fixture;
mod pair;
mod refusals;
mod rollover;
mod rotation;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use testbed::{RUN_LIMIT, run, start};

use fixture::{Bench, PASSPHRASE, data};

#[test]
fn openssl_takes_what_is_signed_until_it_is_revoked() {
    let bench = Bench::new();
    let serial = bench.leaf("web", "DNS:a.example.test,DNS:*.b.example.test");
    assert_eq!(bench.ok(&["crl", "ca", "services"])["number"], 1);
    let (ok, text) = bench.verify("web.pem", "sslserver");
    assert!(ok, "{text}");
    assert!(!bench.verify("web.pem", "sslclient").0, "it is for servers only");

    let no_yes = bench.refused(&["revoke", "ca", &serial]);
    assert!(no_yes.contains("--yes"), "{no_yes}");
    let told = bench.ok(&["revoke", "ca", "web.pem", "--reason", "key-compromise", "--yes"]);
    assert_eq!(told["serial"], serial.as_str());
    assert!(bench.verify("web.pem", "sslserver").0, "nobody knows yet");
    let list = bench.ok(&["crl", "ca", "services"]);
    assert_eq!((&list["number"], &list["revoked_total"]), (&2.into(), &1.into()));
    let (ok, text) = bench.verify("web.pem", "sslserver");
    assert!(!ok && text.contains("certificate revoked"), "{text}");
    let list = "ca/authorities/services/crl.pem";
    let text = bench.openssl(&["crl", "-in", list, "-noout", "-text", "-CAfile", "ca/authorities/services/cert.pem"]);
    for part in ["X509v3 CRL Number: \n                2", "Key Compromise", "Next Update", "verify OK"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let again = bench.ok(&["revoke", "ca", &serial, "--yes"]);
    assert!(again["message"].as_str().unwrap().contains("nothing to do"), "{again}");
}

#[test]
fn certificates_say_what_openssl_reads() {
    let bench = Bench::new();
    bench.request("both", "DNS:a.example.test");
    let told =
        bench.ok(&["sign", "ca", "services", "both.csr", "--profile", "both", "--lifetime", "3d", "--out", "x.pem"]);
    bench.ok(&["crl", "ca", "services"]);
    for purpose in ["sslserver", "sslclient"] {
        let (ok, text) = bench.verify("x.pem", purpose);
        assert!(ok, "{purpose}: {text}");
    }
    let text = |file: &str| bench.openssl(&["x509", "-in", file, "-noout", "-text"]);
    let leaf = text("x.pem");
    for part in ["CN = a.example.test", "CA:FALSE", "DNS:a.example.test", "TLS Web Client Authentication"] {
        assert!(leaf.contains(part), "{part}: {leaf}");
    }
    let serial = bench.openssl(&["x509", "-in", "x.pem", "-noout", "-serial"]);
    let plain = |text: &str| text.trim().to_ascii_lowercase().trim_start_matches('0').to_owned();
    assert_eq!(plain(serial.strip_prefix("serial=").unwrap()), plain(told["serial"].as_str().unwrap()));
    let services = text("ca/authorities/services/cert.pem");
    let wanted =
        ["CA:TRUE, pathlen:0", "Basic Constraints: critical", "Name Constraints: critical", "DNS:example.test"];
    for part in wanted.into_iter().chain(["Key Usage: critical", "Certificate Sign, CRL Sign", "IP:0.0.0.0/0.0.0.0"]) {
        assert!(services.contains(part), "{part}: {services}");
    }
    let until = |days: i64| {
        let output = bench.openssl_says(&["x509", "-in", "x.pem", "-noout", "-checkend", &(days * 86_400).to_string()]);
        output.0
    };
    assert!(until(2) && !until(4));
}

#[test]
fn outside_of_its_constraints_we_refuse_to_sign_and_openssl_to_believe() {
    let bench = Bench::new();
    let before = bench.ledger().len();
    for (file, names, why) in [
        ("other", "DNS:a.other.test", "only example.test is permitted"),
        ("both", "DNS:a.example.test,DNS:evil.test", "only example.test is permitted"),
        ("suffix", "DNS:badexample.test", "only example.test is permitted"),
        ("address", "IP:10.0.0.1", "0.0.0.0/0 is excluded"),
        ("address6", "IP:fd00::1", "::/0 is excluded"),
        ("mail", "email:a@example.test", "only domains and addresses"),
    ] {
        bench.request(file, names);
        let said = bench.refused(&["sign", "ca", "services", &format!("{file}.csr")]);
        assert!(said.contains(why), "{names}: {said}");
        assert!(!bench.path(&format!("{file}.pem")).exists());
    }
    assert_eq!(bench.ledger().len(), before, "something was issued");
    // What openssl signs with the very same key, openssl does not believe.
    let authority = "ca/authorities/services";
    let (cert, key) = (format!("{authority}/cert.pem"), format!("{authority}/key.pem"));
    for (file, good) in [("other", false), ("address", false), ("inside", true)] {
        if good {
            bench.request(file, "DNS:a.example.test");
        }
        let (request, out) = (format!("{file}.csr"), format!("{file}.crt"));
        let signing = ["x509", "-req", "-in", &request, "-CA", &cert, "-CAkey", &key, "-days", "1", "-out", &out];
        bench.openssl(&[&signing[..], &["-copy_extensions", "copy"]].concat());
        let verify = ["verify", "-CAfile", "ca/trust.pem", "-untrusted", &cert, &out];
        let (ok, text) = bench.openssl_says(&verify);
        assert_eq!(ok, good, "{file}: {text}");
        let violated = text.contains("permitted subtree violation") || text.contains("excluded subtree violation");
        assert!(good || violated, "{text}");
    }
}

#[test]
fn who_does_not_show_to_have_the_key_gets_no_certificate() {
    let bench = Bench::new();
    bench.request("web", "DNS:a.example.test");
    bench.openssl(&["req", "-in", "web.csr", "-outform", "DER", "-out", "web.der"]);
    assert!(bench.openssl(&["req", "-in", "web.der", "-inform", "DER", "-noout", "-verify"]).contains("verify OK"));
    let mut bytes = fs::read(bench.path("web.der")).unwrap();
    let at = bytes.windows(14).position(|window| window == b"a.example.test").unwrap();
    bytes[at] = b'b';
    fs::write(bench.path("forged.csr"), bytes).unwrap();
    let (_, text) = bench.openssl_says(&["req", "-in", "forged.csr", "-inform", "DER", "-noout", "-verify"]);
    assert!(!text.contains("verify OK"), "{text}");
    let said = bench.refused(&["sign", "ca", "services", "forged.csr"]);
    assert!(said.contains("did not show to have its key"), "{said}");
    assert!(bench.leaves().is_empty());
    // In DER it is as good as in PEM.
    bench.ok(&["sign", "ca", "services", "web.der", "--dry-run"]);
    assert!(bench.leaves().is_empty());
    bench.ok(&["sign", "ca", "services", "web.der"]);
    assert_eq!(bench.leaves().len(), 1);
}

#[test]
fn the_root_key_is_encrypted_and_wanted_for_what_roots_do_only() {
    let bench = Bench::new();
    let key = "ca/authorities/root/key.pem";
    assert_eq!((bench.mode(key), bench.mode("ca/authorities/services/key.pem")), (0o600, 0o600));
    assert!(bench.read(key).starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    let pass = |text: &str| format!("pass:{text}");
    assert!(bench.openssl_says(&["pkey", "-in", key, "-passin", &pass(PASSPHRASE), "-noout"]).0);
    assert!(!bench.openssl_says(&["pkey", "-in", key, "-passin", &pass("wrong"), "-noout"]).0);
    let scheme = bench.openssl(&["asn1parse", "-in", key]);
    assert!(scheme.contains("scrypt") && scheme.contains("aes-256-cbc"), "{scheme}");
    let other = ["intermediate", "ca", "other", "--permit", "other.test", "--unencrypted"];
    let said = bench.refused(&other);
    assert!(said.contains("it is encrypted") && said.contains("CA_PASSPHRASE_FILE"), "{said}");
    bench.private("wrong", "something else\n");
    let with = |file: &'static str| [&other[..], &["--issuer-passphrase-file", file]].concat();
    let said = bench.refused(&with("wrong"));
    assert!(said.contains("passphrase does not open"), "{said}");
    bench.write("open", PASSPHRASE);
    fs::set_permissions(bench.path("open"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = bench.refused(&with("open"));
    assert!(said.contains("chmod 0600"), "{said}");
    assert!(!bench.path("ca/authorities/other/cert.pem").exists());
    let output = run(bench.command(&other).env("CA_PASSPHRASE_FILE", bench.path("pass")).arg("-vv")).unwrap();
    assert_eq!(output.code, 0, "{output}");
    bench.keeps_its_secrets(&output);
    // To keep a key in the clear has to be asked for.
    let bare = bench.ca(&["init", "elsewhere"]);
    assert_eq!(bare.code, 3, "{bare}");
    assert!(bare.stderr.contains("--passphrase-file") && !bench.path("elsewhere").exists(), "{bare}");
    // A key that others can read is not used.
    let services = bench.path("ca/authorities/services/key.pem");
    fs::set_permissions(&services, fs::Permissions::from_mode(0o640)).unwrap();
    bench.request("web", "DNS:a.example.test");
    let said = bench.refused(&["sign", "ca", "services", "web.csr"]);
    assert!(said.contains("others can read it"), "{said}");
}

#[test]
fn lifetimes_and_levels_are_kept_to() {
    let bench = Bench::empty();
    bench.ok(&["init", "ca", "--unencrypted", "--lifetime", "30d"]);
    let services = ["intermediate", "ca", "services", "--permit", "example.test", "--unencrypted", "--lifetime"];
    let said = bench.refused(&[&services[..], &["31d"]].concat());
    assert!(said.contains("does not fit"), "{said}");
    bench.ok(&[&services[..], &["20d"]].concat());
    bench.request("web", "DNS:a.example.test");
    let said = bench.refused(&["sign", "ca", "services", "web.csr", "--lifetime", "21d"]);
    assert!(said.contains("does not fit"), "{said}");
    // Nobody asked for more than there is.
    let told = bench.ok(&["sign", "ca", "services", "web.csr"]);
    let services = bench.ok(&["show", "ca", "services"]);
    assert_eq!(told["not_after"], services["not_after"]);
    let said = bench.refused(&["sign", "ca", "root", "web.csr"]);
    assert!(said.contains("roots sign authorities only"), "{said}");
    let below = ["intermediate", "ca", "below", "--issuer", "services", "--permit", "example.test", "--unencrypted"];
    assert!(bench.refused(&below).contains("is no root"));
    let over = ["--at", "2099-01-01T00:00:00Z", "sign", "ca", "services", "web.csr"];
    assert!(bench.refused(&over).contains("is valid from"));
    assert!(bench.refused(&["init", "ca", "--unencrypted"]).contains("already"));
}

#[test]
fn signatures_at_once_have_a_line_and_a_number_each() {
    const COUNT: usize = 8;
    let bench = Bench::new();
    bench.ok(&["crl", "ca", "services"]);
    let files: Vec<String> = (0..COUNT).map(|number| format!("w{number}")).collect();
    for file in &files {
        bench.request(file, &format!("DNS:{file}.example.test"));
    }
    let sign = |file: &String| start(&mut bench.command(&["sign", "ca", "services", &format!("{file}.csr")])).unwrap();
    let running: Vec<_> = files.iter().map(sign).collect();
    for running in running {
        let output = running.finish(RUN_LIMIT).unwrap();
        assert_eq!(output.code, 0, "{output}");
    }
    let serials: BTreeSet<String> = bench.leaves().into_iter().collect();
    assert_eq!((bench.leaves().len(), serials.len()), (COUNT, COUNT));
    for file in &files {
        let (ok, text) = bench.verify(&format!("{file}.pem"), "sslserver");
        assert!(ok, "{text}");
    }
    bench.none_is_unknown();
}

#[test]
fn what_is_there_is_listed_and_shown() {
    let bench = Bench::new();
    let serial = bench.leaf("web", "DNS:a.example.test");
    bench.leaf("db", "DNS:db.example.test");
    bench.ok(&["revoke", "ca", "db.pem", "--yes"]);
    let listed = data(&bench.ca(&["list", "ca"]));
    let states: Vec<_> = listed.iter().filter_map(|data| data["state"].as_str()).collect();
    assert_eq!(states, ["valid", "revoked"]);
    assert_eq!(bench.ok(&["show", "ca", "services"])["permitted"], serde_json::json!(["example.test"]));
    let shown = bench.ok(&["show", "ca", &serial]);
    assert!(bench.read("web.pem").starts_with(shown["pem"].as_str().unwrap()));
    let later = bench.ca(&["--at", "2099-01-01T00:00:00Z", "list", "ca"]);
    assert_eq!(later.code, 1, "{later}");
    let said = bench.refused(&["list", "nowhere"]);
    assert!(said.contains("there is no authority in nowhere"), "{said}");
    assert!(bench.refused(&["sign", "ca", "servcies", "web.csr"]).contains("services"));
}
