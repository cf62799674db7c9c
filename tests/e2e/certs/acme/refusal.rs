//! What an authority refuses is told, not repeated, and never costs what is live.

use std::fs;

use testbed::Pebble;

use super::{Place, WEB, quoted};

#[test]
fn an_authority_that_is_down_is_critical_and_costs_nothing_later() {
    let place = Place::pebble(&Pebble::builder());
    let challenge = place.authority.http();
    let down = format!(
        "[issuers.public]\nkind = \"acme\"\ndirectory = \"https://localhost:9/dir\"\nca_file = {}\nroots = {}\n\
         challenge = {challenge}\n{WEB}",
        quoted(place.server().ca()),
        quoted(&place.server().root(0).unwrap())
    );
    let usual = fs::read_to_string(place.path("certs.toml")).unwrap();
    place.write(&down);
    let told = place.renew().ends_with(2);
    assert!(told.all().contains("cannot reach https://localhost:9/dir"), "{}", told.all());
    place.write(&usual);
    place.renew().ends_with(0);
}

#[test]
fn an_authority_that_is_overloaded_is_left_alone_until_it_wants_to_be_asked() {
    let place = Place::pebble(&Pebble::builder());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (ca, dir) = (place.server().ca().to_owned(), place.path("front"));
    fs::create_dir(&dir).unwrap();
    // One process: a worker would outlive its master when that is killed.
    let config = format!(
        "daemon off; master_process off; error_log stderr; pid {0}/pid; events {{}} http {{ access_log {0}/asked; server {{ \
         listen 127.0.0.1:{port} ssl; ssl_certificate {1}/server.pem; ssl_certificate_key {1}/server.key; \
         add_header Retry-After 120 always; return 503; }} }}",
        dir.display(),
        ca.parent().unwrap().display(),
    );
    fs::write(dir.join("nginx.conf"), config).unwrap();
    let mut nginx = std::process::Command::new("/usr/sbin/nginx");
    nginx.arg("-p").arg(&dir).arg("-c").arg(dir.join("nginx.conf")).args(["-e", "stderr"]);
    let _nginx = testbed::start(&mut nginx).unwrap();
    testbed::wait_until("nginx answers", std::time::Duration::from_secs(20), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    })
    .unwrap();
    let usual = fs::read_to_string(place.path("certs.toml")).unwrap();
    place.write(&usual.replace(&place.authority.directory(), &format!("https://localhost:{port}/dir")));
    let told = place.renew().ends_with(75);
    assert!(told.all().contains("it may be asked again at 20"), "{}", told.all());
    let told = place.run(&["letsencrypt-renewal", "--force", "web"]).ends_with(75);
    assert!(told.all().contains("asked not to come back before 20"), "{}", told.all());
    assert_eq!(fs::read_to_string(dir.join("asked")).unwrap().lines().count(), 1);
    // Another authority has asked for nothing.
    place.write(&usual);
    place.renew().ends_with(0);
}

#[test]
fn a_certificate_that_ends_elsewhere_than_at_the_given_root_is_not_believed() {
    let (place, other) = (Place::pebble(&Pebble::builder()), Pebble::start().unwrap());
    let text = fs::read_to_string(place.path("certs.toml")).unwrap();
    let ours = place.server().ca().display().to_string();
    place.write(&text.replacen(&ours, &other.ca().display().to_string(), 1));
    let told = place.renew().ends_with(2);
    assert!(told.all().contains("invalid peer certificate"), "{}", told.all());
    assert_eq!(place.authority.orders(), 0);
}

#[test]
fn a_failed_proof_is_not_tried_again_at_once_unless_somebody_says_so() {
    let place = Place::pebble(&Pebble::builder());
    place.server().names().mislead("www.example.test").unwrap();
    let told = place.renew().ends_with(2);
    // Whether the order or the authorization is seen to have failed first is the authority's affair.
    assert!(told.all().contains("www.example.test") && told.all().contains("connection refused"), "{}", told.all());
    let orders = place.authority.orders();
    for _ in 0..3 {
        let told = place.renew().ends_with(75);
        assert!(told.all().contains("not tried again before 20"), "{}", told.all());
    }
    assert_eq!(place.authority.orders(), orders);
    place.run(&["letsencrypt-renewal", "--force", "web"]).ends_with(2);
    assert_eq!(place.authority.orders(), orders + 1);
    assert!(!place.issued());
}

#[test]
fn a_challenge_that_is_not_offered_and_a_port_that_is_taken_are_told_before_anything_is_proven() {
    let place = Place::pebble(&Pebble::builder());
    let http = place.authority.http();
    place.configure("", &http, &WEB.replace("www.", "*."));
    let told = place.renew().ends_with(3);
    assert!(told.all().contains("need dns-01"), "{}", told.all());
    place.configure("", &http, WEB);
    let _taken = std::net::TcpListener::bind(("127.0.0.1", place.server().http_port())).unwrap();
    let told = place.renew().ends_with(2);
    assert!(told.all().contains("another program has that port"), "{}", told.all());
}

#[test]
fn a_hook_that_fails_is_told_with_its_words_and_cleared() {
    let place = Place::pebble(&Pebble::builder());
    let log = place.path("log");
    let script = format!("echo $1 >>{}; [ $1 = clear ] || {{ echo zone is locked >&2; exit 4; }}", log.display());
    let hook = serde_json::json!(["sh", "-c", script, "hook"]);
    place.configure("", &format!("{{ type = \"dns-01\", hook = {hook} }}"), WEB);
    let told = place.renew().ends_with(2);
    assert!(told.all().contains("exit code 4; its last words: zone is locked"), "{}", told.all());
    assert_eq!(fs::read_to_string(&log).unwrap(), "set\nclear\n");
}
