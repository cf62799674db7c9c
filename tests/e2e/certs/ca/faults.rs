//! Killed at every step: whatever anybody has is in the ledger, and the next run works.

use std::fs;

use testbed::run;

use super::fixture::{Bench, data};

#[test]
fn whatever_a_killed_run_leaves_is_in_the_ledger_and_the_next_run_works() {
    let bench = Bench::empty();
    let unencrypted = |args: &[&'static str]| [args, &["--unencrypted"]].concat();
    let init = unencrypted(&["init", "ca"]);
    let services = unencrypted(&["intermediate", "ca", "services", "--permit", "example.test"]);
    let other = unencrypted(&["init", "ca", "other"]);
    let sign = vec!["sign", "ca", "services", "web.csr"];
    let crl = vec!["crl", "ca", "services"];
    let cross = vec!["cross-sign", "ca", "other", "root"];
    bench.request("web", "DNS:a.example.test");
    let new: &[&str] = &["ca-key-written", "ca-ledger-unsynced", "ca-ledger-written"];
    let issued: &[&str] = &["ca-signed", "ca-ledger-unsynced", "ca-ledger-written", "ca-certificate-written"];
    let listed: &[&str] = &["ca-ledger-unsynced", "ca-ledger-written", "ca-crl-written"];
    for (args, points) in [
        (init, &[new, &["ca-trust-written"]].concat()),
        (services, &new.to_vec()),
        (sign, &issued.to_vec()),
        (crl, &listed.to_vec()),
        (other, &new.to_vec()),
        (cross, &issued[1..].to_vec()),
    ] {
        for point in points {
            let killed = run(bench.command(&args).env("MAINT_KILL_AT", point)).unwrap();
            assert_eq!(killed.code, 137, "{args:?} {point}: {killed}");
            bench.none_is_unknown();
        }
        let output = bench.ca(&args);
        assert_eq!(output.code, 0, "{args:?}: {output}");
        assert!(bench.none_is_unknown() > 0, "nothing was written");
    }
    bench.ok(&["crl", "ca", "services"]);
    let (ok, text) = bench.verify("web.pem", "sslserver");
    assert!(ok, "{text}");
    // The first root alone is trusted, whatever was killed before.
    assert_eq!(bench.read("ca/trust.pem"), bench.read("ca/authorities/root/cert.pem"));
    let (ok, text) = bench.openssl_says(&[
        "verify",
        "-x509_strict",
        "-CAfile",
        "ca/trust.pem",
        "ca/authorities/other/cross-root.pem",
    ]);
    assert!(ok, "{text}");
}

#[test]
fn lists_are_numbered_upwards_whatever_happens() {
    let bench = Bench::new();
    let number = || -> u64 {
        let list = "ca/authorities/services/crl.pem";
        let text = bench.openssl(&["crl", "-in", list, "-noout", "-crlnumber"]);
        u64::from_str_radix(text.trim().trim_start_matches("crlNumber=").trim_start_matches("0x"), 16).unwrap()
    };
    bench.ok(&["crl", "ca", "services"]);
    let mut last = number();
    assert_eq!(last, 1);
    for point in ["ca-ledger-unsynced", "ca-ledger-written", "ca-crl-written"] {
        let killed = run(bench.command(&["crl", "ca", "services"]).env("MAINT_KILL_AT", point)).unwrap();
        assert_eq!(killed.code, 137, "{killed}");
        assert!(number() >= last, "{point}: it went back");
        bench.ok(&["crl", "ca", "services"]);
        assert!(number() > last, "{point}: {} after {last}", number());
        last = number();
    }
    let said = bench.refused(&["--at", "2026-01-01T00:00:00Z", "crl", "ca", "services"]);
    assert!(said.contains("is valid from") || said.contains("later than now"), "{said}");
}

#[test]
fn an_unfinished_line_is_forgotten_and_a_broken_one_stops_everything() {
    let bench = Bench::new();
    let path = bench.path("ca/ledger");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{whole}{{\"entry\":\"iss")).unwrap();
    assert_eq!(bench.ca(&["list", "ca"]).code, 0);
    let serial = bench.leaf("web", "DNS:a.example.test");
    assert_eq!(bench.leaves(), [serial]);
    let broken = fs::read_to_string(&path).unwrap().replacen("\"entry\"", "\"entrance\"", 1);
    fs::write(&path, &broken).unwrap();
    let output = bench.ca(&["sign", "ca", "services", "web.csr"]);
    assert!(output.code == 2 && output.stderr.contains("line 1"), "{output}");
    assert_eq!(fs::read_to_string(&path).unwrap(), broken);
}

#[test]
fn a_rotation_that_was_killed_gets_the_certificate_that_was_signed_for_it() {
    let bench = Bench::new();
    let text = format!(
        "[issuers.inside]\nkind = \"ca\"\ndirectory = \"{}\"\nauthority = \"services\"\nprofile = \"both\"\nlifetime = \"9d\"\n\
         [certs.web]\nnames = [\"a.example.test\"]\nissuer = \"inside\"\n",
        bench.path("ca").display()
    );
    bench.write("certs.toml", &text);
    let rotate = |force: bool| bench.tool(if force { &["rotate", "--force"] } else { &["rotate"] });
    // Before it is signed nothing is signed; from the ledger on it is the same certificate, once.
    for (round, point) in ["ca-noted", "ca-signed", "ca-ledger-written", "rotate-issued"].into_iter().enumerate() {
        let killed = run(rotate(true).env("MAINT_KILL_AT", point)).unwrap();
        assert_eq!(killed.code, 137, "{point}: {killed}");
        let signed = bench.leaves();
        let is_signed = matches!(point, "ca-ledger-written" | "rotate-issued");
        assert_eq!(signed.len(), round + usize::from(is_signed), "{point}");
        let output = run(&mut rotate(false)).unwrap();
        assert_eq!(output.code, 0, "{point}: {output}");
        assert_eq!(bench.leaves().len(), round + 1, "{point}: it was signed again");
        let live = bench.openssl(&["x509", "-in", "certs/live/web/cert.pem", "-noout", "-serial"]);
        let last = bench.leaves().pop().unwrap();
        assert!(
            live.trim().to_ascii_lowercase().ends_with(last.trim_start_matches("00")),
            "{point}: {live} is not {last}"
        );
        bench.none_is_unknown();
        bench.keeps_its_secrets(&output);
    }
    // Each took the place of the one before.
    let listed = data(&bench.ca(&["list", "ca"]));
    let states: Vec<_> = listed.iter().filter_map(|data| data["state"].as_str()).collect();
    assert_eq!(states, ["replaced", "replaced", "replaced", "valid"]);
    let chain = bench.openssl(&[
        "verify",
        "-x509_strict",
        "-CAfile",
        "ca/trust.pem",
        "-untrusted",
        "certs/live/web/chain.pem",
        "certs/live/web/cert.pem",
    ]);
    assert!(chain.contains("OK"));
    // Outside of what it may certify it is refused, and the old one stays.
    bench.write("certs.toml", &text.replace("a.example.test", "a.other.test"));
    let output = run(&mut rotate(true)).unwrap();
    assert!(output.code != 0 && output.stdout.contains("only example.test is permitted"), "{output}");
    assert_eq!(bench.leaves().len(), 4);
}

#[test]
fn a_request_to_somebody_else_holds_for_openssl_and_is_not_written_twice() {
    let bench = Bench::new();
    fs::create_dir(bench.path("requests")).unwrap();
    let text = format!(
        "[issuers.somebody]\nkind = \"csr\"\ndirectory = \"{}\"\nroots = \"{}\"\n\
         [certs.web]\nnames = [\"a.example.test\"]\nissuer = \"somebody\"\n",
        bench.path("requests").display(),
        bench.path("ca/trust.pem").display()
    );
    bench.write("certs.toml", &text);
    let rotate = || run(&mut bench.tool(&["rotate"])).unwrap();
    let output = rotate();
    assert_eq!(output.code, 1, "{output}");
    let request = bench.openssl(&["req", "-in", "requests/web.csr", "-noout", "-verify", "-text"]);
    assert!(request.contains("verify OK") && request.contains("DNS:a.example.test"), "{request}");
    let first = bench.read("requests/web.csr");
    assert_eq!(rotate().code, 1);
    assert_eq!(bench.read("requests/web.csr"), first, "who signs it sees it change");
    // By default the chain is written where it is waited for.
    bench.ok(&["sign", "ca", "services", "requests/web.csr"]);
    let output = rotate();
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(bench.read("certs/live/web/fullchain.pem"), bench.read("requests/web.pem"));
    // Other names are another request.
    bench.write("certs.toml", &text.replace("a.example.test", "b.example.test"));
    let _ = run(&mut bench.tool(&["rotate", "--force"])).unwrap();
    assert!(bench.openssl(&["req", "-in", "requests/web.csr", "-noout", "-text"]).contains("b.example.test"));
}
