//! What an authority does not do: lose a file, certify a key that is known, sign when it was revoked, or go back.

use std::fs;
use std::time::Duration;

use testbed::{RUN_LIMIT, Signal, run, start, wait_until};

use super::fixture::{Bench, certificates, codes, data};

#[test]
fn openssl_believes_a_certificate_for_an_address_alone() {
    let bench = Bench::new();
    let pass = ["--issuer-passphrase-file", "pass", "--unencrypted"];
    let permit = ["--permit", "10.0.0.0/8", "--permit", "example.test"];
    bench.ok(&[&["intermediate", "ca", "inside"][..], &permit, &pass].concat());
    for (file, names, common_name) in
        [("address", "IP:10.1.2.3", None), ("both", "IP:10.1.2.3,DNS:a.example.test", Some("CN = a.example.test"))]
    {
        bench.request(file, names);
        bench.ok(&["sign", "ca", "inside", &format!("{file}.csr")]);
        let chain = format!("{file}.pem");
        let verify = ["verify", "-x509_strict", "-CAfile", "ca/trust.pem", "-untrusted", &chain];
        let (ok, text) = bench.openssl_says(&[&verify[..], &["-verify_ip", "10.1.2.3", &chain]].concat());
        assert!(ok, "{text}");
        let subject = bench.openssl(&["x509", "-in", &chain, "-noout", "-subject"]);
        assert_eq!(subject.trim(), format!("subject={}", common_name.unwrap_or_default()), "{file}");
    }
}

#[test]
fn a_chain_is_written_over_nothing_but_certificates() {
    let bench = Bench::new();
    bench.request("web", "DNS:a.example.test");
    let sign = ["sign", "ca", "services", "web.csr"];
    // Keys often have the name that the chain would get.
    for (content, why) in [
        (bench.read("web.key"), "something else than certificates"),
        (bench.read("web.csr"), "something else than certificates"),
        ("notes of somebody\n".to_owned(), "web.pem"),
    ] {
        bench.private("web.pem", &content);
        for args in [&sign[..], &[&sign[..], &["--dry-run"]].concat(), &[&sign[..], &["--out", "web.pem"]].concat()] {
            let said = bench.refused(args);
            assert!(said.contains(why) && said.contains("--out"), "{said}");
        }
        assert_eq!(bench.read("web.pem"), content);
    }
    fs::remove_file(bench.path("web.pem")).unwrap();
    let said = bench.refused(&[&sign[..], &["--out", "nowhere/web.pem"]].concat());
    assert!(said.contains("no such directory"), "{said}");
    assert!(bench.leaves().is_empty(), "it was issued all the same");
    // Certificates, and nothing at all, may be replaced.
    fs::write(bench.path("web.pem"), "").unwrap();
    bench.ok(&sign);
    let first = bench.read("web.pem");
    bench.ok(&sign);
    assert_ne!(bench.read("web.pem"), first);
    assert_eq!(certificates(&bench.path("web.pem")).len(), 2);
}

#[test]
fn who_was_revoked_signs_nothing_and_says_so() {
    let bench = Bench::new();
    bench.request("web", "DNS:a.example.test");
    bench.ok(&["sign", "ca", "services", "web.csr", "--dry-run"]);
    bench.ok(&["revoke", "ca", "ca/authorities/services/cert.pem", "--yes"]);
    let said = bench.refused(&["sign", "ca", "services", "web.csr"]);
    assert!(said.contains("services was revoked at") && said.contains("ca rollover"), "{said}");
    let pair = ["mtls-pair", "ca", "services", "api", "--server", "a.example.test", "--client", "b.example.test"];
    let said = bench.refused(&[&pair[..], &["--out", "out"]].concat());
    assert!(said.contains("was revoked at"), "{said}");
    assert!(bench.leaves().is_empty());
    let listed = data(&bench.ca(&["list", "ca"]));
    let state = |name: &str| listed.iter().find(|data| data["subject"] == name).cloned();
    let services = state("CN=services").unwrap_or_else(|| panic!("{listed:?}"));
    assert!(services["message"].as_str().unwrap().contains("signs nothing any more"), "{services}");
    // What it signed before can still be taken back.
    bench.ok(&["crl", "ca", "services"]);
    // Another takes its place.
    bench.intermediate("services-b", "root");
    bench.ok(&["sign", "ca", "services-b", "web.csr"]);
}

#[test]
fn a_key_that_somebody_else_knows_is_not_certified_again() {
    let bench = Bench::new();
    bench.leaf("web", "DNS:a.example.test");
    bench.leaf("db", "DNS:db.example.test");
    bench.ok(&["revoke", "ca", "web.pem", "--reason", "key-compromise", "--yes"]);
    bench.ok(&["revoke", "ca", "db.pem", "--reason", "superseded", "--yes"]);
    let said = bench.refused(&["sign", "ca", "services", "web.csr"]);
    assert!(said.contains("somebody else knows it") && said.contains("new key"), "{said}");
    // The key of what was replaced is as good as it was.
    bench.ok(&["sign", "ca", "services", "db.csr"]);
    // A pair gets a new key instead.
    let pair = ["mtls-pair", "ca", "services", "api", "--server", "a.example.test", "--client", "b.example.test"];
    let pair = [&pair[..], &["--out", "out"]].concat();
    bench.ok(&pair);
    let (server, client) = (bench.read("out/api-server/privkey.pem"), bench.read("out/api-client/privkey.pem"));
    bench.ok(&["revoke", "ca", "out/api-server/fullchain.pem", "--reason", "key-compromise", "--yes"]);
    bench.ok(&pair);
    assert_ne!(bench.read("out/api-server/privkey.pem"), server);
    assert_eq!(bench.read("out/api-client/privkey.pem"), client);
}

#[test]
fn interrupted_while_it_waits_for_another_run_it_says_interrupted() {
    let bench = Bench::new();
    bench.request("web", "DNS:a.example.test");
    let path = bench.path("ca/locks/authorities.lock");
    let lock = fs::File::options().read(true).write(true).open(path).unwrap();
    lock.lock().unwrap();
    let running = start(&mut bench.command(&["sign", "ca", "services", "web.csr"])).unwrap();
    let files = format!("/proc/{}/fd", running.pid());
    // It has the file open for moments, once in 20 ms.
    let waits = || {
        let opened = fs::read_dir(&files).into_iter().flatten().flatten();
        opened.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file.ends_with("locks/authorities.lock"))
    };
    let asks = || (0..2000).any(|_| waits());
    wait_until("it waits", Duration::from_secs(20), asks).unwrap();
    running.signal(Signal::INT);
    let output = running.finish(RUN_LIMIT).unwrap();
    lock.unlock().unwrap();
    assert_eq!(output.code, 130, "{output}");
    assert!(bench.leaves().is_empty());
    let after = run(&mut bench.command(&["sign", "ca", "services", "web.csr"])).unwrap();
    assert_eq!(after.code, 0, "{after}");
}

#[test]
fn an_authority_without_its_certificate_keeps_its_key() {
    let bench = Bench::new();
    bench.leaf("web", "DNS:a.example.test");
    let (cert, key) = ("ca/authorities/services/cert.pem", bench.read("ca/authorities/services/key.pem"));
    let kept = bench.read(cert);
    fs::remove_file(bench.path(cert)).unwrap();
    let again = ["intermediate", "ca", "services", "--permit", "example.test", "--unencrypted"];
    let said = bench.refused(&[&again[..], &["--issuer-passphrase-file", "pass"]].concat());
    assert!(said.contains("signed something") && said.contains("restore"), "{said}");
    assert_eq!(bench.read("ca/authorities/services/key.pem"), key);
    bench.write(cert, &kept);
    bench.ok(&["sign", "ca", "services", "web.csr"]);
}

#[test]
fn lists_do_not_count_backwards_when_the_ledger_comes_back_from_a_backup() {
    let bench = Bench::new();
    bench.leaf("web", "DNS:a.example.test");
    let backup = fs::read(bench.path("ca/ledger")).unwrap();
    for number in 1..=3 {
        assert_eq!(bench.ok(&["crl", "ca", "services"])["number"], number);
    }
    fs::write(bench.path("ca/ledger"), backup).unwrap();
    assert_eq!(bench.ok(&["crl", "ca", "services"])["number"], 4);
}

#[test]
fn two_rollovers_below_one_root_both_come_to_their_end() {
    let bench = Bench::new();
    bench.intermediate("data", "root");
    bench.ok(&["init", "ca", "root-b", "--passphrase-file", "pass"]);
    bench.intermediate("services-b", "root-b");
    bench.intermediate("data-b", "root-b");
    bench.ok(&["cross-sign", "ca", "root-b", "root", "--passphrase-file", "pass"]);
    for (from, to) in [("services", "services-b"), ("data", "data-b")] {
        bench.ok(&["rollover", "plan", "ca", from, to, "--bundle", "ca/trust.pem"]);
    }
    let advance = |from: &str, phase: &str| {
        let told = bench.ok(&["rollover", "advance", "ca", from]);
        assert_eq!(told["phase"], phase, "{told}");
    };
    advance("services", "trust-both");
    advance("services", "sign-new");
    advance("data", "trust-both");
    advance("data", "sign-new");
    advance("services", "new");
    assert_eq!(certificates(&bench.path("ca/trust.pem")).len(), 1);
    let status = bench.ca(&["rollover", "status", "ca"]);
    assert_eq!((status.code, codes(&status).len()), (0, 0), "{status}");
    advance("data", "new");
    for from in ["services", "data"] {
        let over = bench.ok(&["rollover", "advance", "ca", from]);
        assert!(over["message"].as_str().unwrap().contains("over"), "{over}");
    }
}

#[test]
fn a_rollover_to_the_wrong_authority_can_be_planned_anew_until_it_is_begun() {
    let bench = Bench::new();
    bench.intermediate("wrong", "root");
    bench.intermediate("right", "root");
    let plan = |to: &'static str| ["rollover", "plan", "ca", "services", to, "--bundle", "ca/trust.pem"];
    bench.ok(&plan("wrong"));
    bench.ok(&plan("right"));
    let told = bench.ok(&["rollover", "advance", "ca", "services"]);
    assert_eq!(told["to"], "right", "{told}");
    let said = bench.refused(&plan("wrong"));
    assert!(said.contains("there is one to right"), "{said}");
}

#[test]
fn keys_that_are_not_certified_are_named() {
    let bench = Bench::new();
    for (file, key, why) in [
        ("short", &["rsa:1024"][..], "2048 is the least"),
        ("odd", &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"], "P-384"),
    ] {
        let (private, request) = (format!("{file}.key"), format!("{file}.csr"));
        let rest = ["-nodes", "-subj", "/CN=a", "-addext", "subjectAltName=DNS:a.example.test"];
        let out = ["-keyout", &private, "-out", &request];
        bench.openssl(&[&["req", "-new", "-newkey"], key, &rest, &out].concat());
        let said = bench.refused(&["sign", "ca", "services", &request]);
        assert!(said.contains(why), "{said}");
    }
}
