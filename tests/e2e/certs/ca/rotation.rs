//! What an authority of our own signs, live on nginx: proven, or taken back.

use std::fs;

use testbed::{Output, run};

use super::fixture::Bench;
use crate::certs::deploy::fixture::{NAME, Nginx, is_pair, step};

const LIVE: &str = "certs/live/web";

fn configure(bench: &Bench, consumers: &str) {
    let text = format!(
        "[issuers.inside]\nkind = \"ca\"\ndirectory = \"{}\"\nauthority = \"services\"\n\
         [certs.web]\nnames = [\"{NAME}\"]\nissuer = \"inside\"\n{consumers}",
        bench.path("ca").display()
    );
    bench.write("certs.toml", &text);
}

fn rotate(bench: &Bench) -> Output {
    run(bench.tool(&["rotate", "--force"]).arg("-vv")).unwrap()
}

/// The serial number of the leaf that openssl is shown, after it has verified chain and name.
#[track_caller]
fn served(bench: &Bench, port: u16) -> String {
    let connect = format!("127.0.0.1:{port}");
    let ask = ["s_client", "-connect", &connect, "-servername", NAME, "-verify_hostname", NAME];
    let verify = ["-verify_return_error", "-x509_strict", "-CAfile", "ca/trust.pem", "-brief"];
    let text = bench.openssl(&[&ask[..], &verify].concat());
    assert!(text.contains("Verification: OK"), "{text}");
    let shown = bench.openssl(&[&ask[..], &["-showcerts"]].concat());
    bench.write("shown.pem", &shown);
    bench.openssl(&["x509", "-in", "shown.pem", "-noout", "-serial"])
}

fn live(bench: &Bench) -> String {
    bench.openssl(&["x509", "-in", &format!("{LIVE}/cert.pem"), "-noout", "-serial"])
}

#[test]
fn what_we_sign_is_live_on_nginx_or_what_was_before_is_live_again() {
    let bench = Bench::new();
    configure(&bench, "");
    assert_eq!(rotate(&bench).code, 0);
    let nginx = Nginx::start(&bench.path(LIVE).join("fullchain.pem"), &bench.path(LIVE).join("privkey.pem"));
    let first = served(&bench, nginx.port);
    assert_eq!(first, live(&bench));

    configure(&bench, &nginx.by_pid_file());
    let output = rotate(&bench);
    assert_eq!(output.code, 0, "{output}");
    assert!(step(&output)["connections"].as_u64().unwrap() > 0, "{output}");
    let second = served(&bench, nginx.port);
    assert!(second != first && second == live(&bench));
    bench.keeps_its_secrets(&output);

    // A signal that only opens logs: nginx goes on with what it has, so nothing may have changed afterwards.
    let deaf = nginx
        .consumer(&format!("{{ by = \"pid-file\", path = \"{}\", signal = \"USR1\" }}", nginx.pid_file().display()));
    let settings = fs::read_to_string(bench.path("maint.toml")).unwrap();
    bench.write("maint.toml", &format!("{settings}verify_timeout = \"2s\"\n"));
    configure(&bench, &deaf);
    let output = rotate(&bench);
    assert_eq!(output.code, 10, "{output}");
    assert_eq!(step(&output)["status"], "rolled-back", "{output}");
    assert!(second == live(&bench) && second == served(&bench, nginx.port));
    assert!(is_pair(&bench.path(LIVE)));
    // It is in the ledger, as issued: whoever wants to, revokes it.
    assert_eq!(bench.leaves().len(), 3);
    bench.none_is_unknown();
}
