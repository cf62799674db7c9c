//! Certificates are ordered, by every challenge, and a killed run's order is gone on with.

use std::fs;
use std::time::Duration;

use testbed::{Pebble, wait_until};

use super::{Authority, Place, WEB, quoted};

#[test]
fn a_certificate_is_ordered_once_and_renewed_with_a_new_key() {
    let place = Place::pebble(&Pebble::builder());
    place.renew().ends_with(0);
    assert_eq!(place.openssl(&["-ext", "subjectAltName"]).lines().last().unwrap().trim(), "DNS:www.example.test");
    let (first, key) = (place.live("cert.pem"), place.live("privkey.pem"));
    let told = place.renew().ends_with(0);
    assert!(told.of("check")[0]["message"].as_str().unwrap().starts_with("not due"), "{}", told.all());
    assert_eq!(place.authority.orders(), 1);
    // This server gives no advice, and without an answer the lifetime says enough.
    let told = place.run(&["check-renewal", "web"]).ends_with(0);
    assert_eq!(told.of("check")[0]["reason"], "lifetime", "{}", told.all());
    place.run(&["letsencrypt-renewal", "--force", "web"]).ends_with(0);
    assert!(place.live("cert.pem") != first && place.live("privkey.pem") != key);
    assert_eq!(place.authority.orders(), 2);
    let account = place.path("certs/accounts/public.json");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&account).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    place.server().kill().unwrap();
    place.run(&["check-renewal", "web"]).ends_with(0);
}

#[test]
fn a_dry_run_orders_nothing() {
    let place = Place::pebble(&Pebble::builder());
    let told = place.run(&["letsencrypt-renewal", "--dry-run"]).ends_with(0);
    assert_eq!(told.of("plan").len(), 1, "{}", told.all());
    assert_eq!(place.authority.orders(), 0);
    assert!(!place.path("certs/accounts").exists());
}

#[test]
fn names_are_proven_by_files_of_a_web_server() {
    let place = Place::pebble(&Pebble::builder());
    let root = place.path("www");
    fs::create_dir(&root).unwrap();
    let port = place.server().http_port();
    let mut server = std::process::Command::new("python3");
    server.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(&root).arg(port.to_string());
    let _server = testbed::start(&mut server).unwrap();
    wait_until("the web server answers", Duration::from_secs(20), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    })
    .unwrap();
    place.configure("", &format!("{{ type = \"webroot\", path = {} }}", quoted(&root)), WEB);
    place.renew().ends_with(0);
    assert_eq!(fs::read_dir(root.join(".well-known/acme-challenge")).unwrap().count(), 0);
}

#[test]
fn names_are_proven_by_a_handshake() {
    let place = Place::pebble(&Pebble::builder());
    let port = place.server().tls_alpn_port();
    let challenge = format!("{{ type = \"tls-alpn-01\", listen = \"127.0.0.1:{port}\" }}");
    let names = "names = [\"www.example.test\", \"api.example.test\"]";
    place.configure("", &challenge, &WEB.replace("names = [\"www.example.test\"]", names));
    place.renew().ends_with(0);
    assert!(place.openssl(&["-ext", "subjectAltName"]).contains("api.example.test"));
}

#[test]
fn names_with_a_star_are_proven_by_records_that_are_cleared_again() {
    let place = Place::pebble(&Pebble::builder());
    let log = place.path("hook.log");
    // What it is told is written down, and handed on to what sets records.
    let script = format!("echo \"$4 $5 $6 $7\" >>{}; exec \"$@\"", log.display());
    let mut hook = vec!["sh".to_owned(), "-c".to_owned(), script, "hook".to_owned()];
    hook.extend(place.server().names().hook());
    let challenge = format!("{{ type = \"dns-01\", hook = {}, wait = \"10ms\" }}", serde_json::json!(hook));
    let names = "names = [\"*.example.test\", \"example.test\"]";
    place.configure("", &challenge, &WEB.replace("names = [\"www.example.test\"]", names));
    place.renew().ends_with(0);
    assert!(place.openssl(&["-ext", "subjectAltName"]).contains("DNS:*.example.test"));
    let text = fs::read_to_string(&log).unwrap();
    let calls: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
    let of = |action: &str| -> Vec<String> {
        calls.iter().filter_map(|call| call.strip_prefix(action)).map(str::to_owned).collect()
    };
    assert_eq!(of("set ").len(), 2, "{calls:?}");
    assert_eq!(of("set "), of("clear "), "{calls:?}");
    assert!(of("set ")[0].starts_with("_acme-challenge.example.test "), "{calls:?}");
}

#[test]
fn nine_refused_nonces_of_ten_only_take_longer() {
    let place = Place::pebble(&Pebble::builder().reject_nonces(90));
    place.renew().ends_with(0);
    // An order takes about ten requests when none is refused.
    let asked = place.server().log().matches("POST /").count();
    assert!(asked > 30, "{asked}");
    assert_eq!(place.authority.orders(), 1);
}

#[test]
fn an_issued_certificate_is_fetched_and_not_ordered_again_after_a_kill() {
    for point in ["acme-order-placed", "acme-finalized", "rotate-issued"] {
        let place = Place::pebble(&Pebble::builder());
        place.run_with(&[("MAINT_KILL_AT", point)], &["letsencrypt-renewal"]).ends_with(137);
        assert!(!place.issued());
        place.renew().ends_with(0);
        assert!(place.issued(), "{point}");
        assert_eq!(place.authority.orders(), 1, "{point}");
    }
}

#[test]
fn an_order_whose_key_was_lost_is_not_gone_on_with() {
    let place = Place::pebble(&Pebble::builder());
    place.run_with(&[("MAINT_KILL_AT", "acme-finalized")], &["letsencrypt-renewal"]).ends_with(137);
    fs::remove_file(place.path("certs/pending/web/privkey.pem")).unwrap();
    place.renew().ends_with(0);
    assert_eq!(place.authority.orders(), 2);
}

#[test]
fn the_chain_is_the_one_that_was_asked_for() {
    let place = Place::pebble(&Pebble::builder().alternate_roots(2));
    let name = |which: u8| {
        let mut command = std::process::Command::new("openssl");
        command.args(["x509", "-noout", "-subject", "-nameopt", "multiline", "-in"]);
        let out = testbed::run(command.arg(place.server().root(which).unwrap())).unwrap();
        out.stdout.split_once("= ").unwrap().1.trim().to_owned()
    };
    let root = place.server().root(1).unwrap();
    let issuer = format!("preferred_chain = {:?}", name(1));
    let http = place.authority.http();
    place.configure(&issuer, &http, &format!("{WEB}roots = {}\n", quoted(&root)));
    place.renew().ends_with(0);
    // The usual root is told, and that nobody offers another.
    place.configure("preferred_chain = \"No Such Root\"", &http, WEB);
    let told = place.run(&["letsencrypt-renewal", "--force", "web"]).ends_with(1);
    let finding = told.of("finding")[0];
    assert_eq!(finding["code"], "preferred-chain-missing");
    assert!(finding["message"].as_str().unwrap().contains(&name(2)), "{finding}");
}

#[test]
fn a_certificate_of_45_seconds_is_renewed_at_half_of_them() {
    let place = Place::pebble(&Pebble::builder().lifetime(Duration::from_secs(45)));
    place.renew().ends_with(0);
    place.renew().ends_with(0);
    assert_eq!(place.authority.orders(), 1);
    wait_until("half of the lifetime has passed", Duration::from_secs(40), || {
        place.renew().ends_with(0);
        place.authority.orders() == 2
    })
    .unwrap();
}

#[test]
fn an_authority_with_advice_that_does_not_repeat_what_is_replaced() {
    let place = Place::certifier();
    place.configure("profile = \"shortlived\"", &place.authority.http(), WEB);
    let Authority::Certifier(server) = &place.authority else { unreachable!() };
    let told = place.renew();
    assert_eq!(told.out.code, 0, "{}\n{}", told.all(), server.log());
    let told = place.run(&["check-renewal", "web"]).ends_with(0);
    let check = told.of("check")[0].clone();
    assert_eq!(check["reason"], "advice", "{check}");
    // Half of six days have to pass; the moment is picked once.
    let again = place.run(&["check-renewal", "web"]).ends_with(0);
    assert_eq!(again.of("check")[0]["renew_at"], check["renew_at"]);
    assert_eq!(place.authority.orders(), 1);
    // The order that the server did not confirm as a replacement is the one that is used.
    let told = place.run(&["-v", "letsencrypt-renewal", "--force", "web"]).ends_with(0);
    assert!(told.out.stderr.contains("without a word on `replaces`"), "{}", told.all());
    assert_eq!(place.authority.orders(), 2);
    assert_eq!(server.query("SELECT DISTINCT profile FROM orders").unwrap(), "shortlived");
    place.configure("profile = \"longlived\"", &place.authority.http(), WEB);
    let told = place.run(&["letsencrypt-renewal", "--force", "web"]);
    assert!(told.all().contains("classic, shortlived"), "{}", told.all());
    assert_eq!(place.authority.orders(), 2);
}
