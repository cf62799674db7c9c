//! Pairs for two services.

use std::fs;
use std::process::Command;

use testbed::run;

use super::fixture::Bench;

const PAIR: [&str; 10] = [
    "mtls-pair",
    "ca",
    "services",
    "api",
    "--server",
    "api.example.test",
    "--client",
    "web.example.test",
    "--out",
    "out",
];

#[test]
fn a_pair_is_made_once_and_is_kept_up_to_date() {
    let bench = Bench::new();
    bench.ok(&["crl", "ca", "services"]);
    let dry = bench.ca(&[&PAIR[..], &["--dry-run"]].concat());
    assert!(dry.code == 0 && !bench.path("out").exists(), "{dry}");
    let output = run(bench.command(&PAIR).arg("-vv")).unwrap();
    assert_eq!(output.code, 0, "{output}");
    bench.keeps_its_secrets(&output);
    for (member, purpose, other) in [("server", "sslserver", "sslclient"), ("client", "sslclient", "sslserver")] {
        let chain = format!("out/api-{member}/fullchain.pem");
        let (ok, text) = bench.verify(&chain, purpose);
        assert!(ok, "{text}");
        assert!(!bench.verify(&chain, other).0);
        assert_eq!(bench.mode(&format!("out/api-{member}/privkey.pem")), 0o600);
        assert_eq!(bench.read(&format!("out/api-{member}/trust.pem")), bench.read("ca/trust.pem"));
    }
    let before = bench.read("out/api-server/fullchain.pem");
    bench.ok(&PAIR);
    assert_eq!((bench.read("out/api-server/fullchain.pem"), bench.leaves().len()), (before.clone(), 2));
    // What it trusts is brought up to date also when nothing else is to be done.
    bench.write("out/api-client/trust.pem", "");
    bench.ok(&PAIR);
    assert_eq!(bench.read("out/api-client/trust.pem"), bench.read("ca/trust.pem"));
    // Due: after two thirds of 47 days.
    let output = run(bench.tool(&["--at", &days_from_now(40), "ca"]).args(PAIR)).unwrap();
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(bench.leaves().len(), 4);
    assert_ne!(bench.read("out/api-server/fullchain.pem"), before);
    let said = bench.refused(&PAIR.map(|word| if word == "web.example.test" { "web.other.test" } else { word }));
    assert!(said.contains("only example.test is permitted"), "{said}");
    assert_eq!(bench.leaves().len(), 4);
}

/// So many days from now, by date(1).
fn days_from_now(days: u32) -> String {
    let output = run(Command::new("date").args(["-u", "-d", &format!("{days} days"), "+%Y-%m-%dT%H:%M:%SZ"]));
    output.unwrap().stdout.trim().to_owned()
}

#[test]
fn a_pair_that_was_killed_is_made_whole_by_the_next_run() {
    for point in ["ca-key-written", "ca-ledger-unsynced", "ca-ledger-written", "ca-certificate-written:2"] {
        let bench = Bench::new();
        let killed = run(bench.command(&PAIR).env("MAINT_KILL_AT", point)).unwrap();
        assert_eq!(killed.code, 137, "{point}: {killed}");
        bench.none_is_unknown();
        let key = fs::read(bench.path("out/api-server/privkey.pem")).unwrap();
        bench.ok(&PAIR);
        assert_eq!(fs::read(bench.path("out/api-server/privkey.pem")).unwrap(), key, "{point}");
        bench.ok(&["crl", "ca", "services"]);
        for (member, purpose) in [("server", "sslserver"), ("client", "sslclient")] {
            let (ok, text) = bench.verify(&format!("out/api-{member}/fullchain.pem"), purpose);
            assert!(ok, "{point}: {text}");
        }
        bench.none_is_unknown();
    }
}
