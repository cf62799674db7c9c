//! probe against real servers: what they show is what openssl says of the files they were given, and whoever shows nothing
//! is told apart by why.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{
    KeyKind, Leaf, Nginx, Output, Pair, Pki, Postgres, Redis, RedisVersion, Signal, Smtp, records, run, run_fed, start,
    tool,
};

/// The program in a directory of its own.
fn probe(dir: &Path, args: &[&str]) -> Command {
    let mut command = tool("cert-rotate", dir).unwrap();
    command.args(["-o", "ndjson", "probe"]).args(args);
    command
}

fn probed(args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    run(&mut probe(dir.path(), args)).unwrap()
}

/// The checks, as `[subject, data]`.
#[track_caller]
fn checks(output: &Output) -> Vec<(String, Value)> {
    let all = records(&output.stdout).unwrap().into_iter().filter(|record| record["type"] == "maint.check.v1");
    all.map(|record| (record["subject"].as_str().unwrap().to_owned(), record["data"].clone())).collect()
}

/// One endpoint, which must come out so.
#[track_caller]
fn one(endpoint: &str, code: i32) -> Value {
    let output = probed(&[endpoint, "--timeout", "5s"]);
    assert_eq!(output.code, code, "{output}");
    let mut checks = checks(&output);
    assert_eq!(checks.len(), 1, "{output}");
    let (subject, data) = checks.remove(0);
    assert_eq!(subject, endpoint);
    data
}

/// SHA-256 by openssl, as a record writes it.
fn sha256(pair: &Pair) -> String {
    let mut openssl = Command::new("openssl");
    let output = run(openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&pair.cert)).unwrap();
    output.stdout.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase()
}

struct Authority {
    pki: Pki,
    between: Pair,
}

impl Authority {
    fn new() -> Self {
        let pki = Pki::new().unwrap();
        let root = pki.root("root", KeyKind::P256).unwrap();
        let between = pki.intermediate("between", KeyKind::Rsa, &root).unwrap();
        Authority { pki, between }
    }

    fn leaf(&self, leaf: &Leaf<'_>) -> Pair {
        self.pki.leaf(leaf, &self.between).unwrap()
    }

    fn of(&self, kind: KeyKind, name: &str) -> Pair {
        self.leaf(&Leaf { key: kind, ..Leaf::of(&[name]) })
    }
}

#[test]
fn each_name_and_each_kind_of_key_of_nginx_is_seen() {
    let authority = Authority::new();
    let rsa = authority.leaf(&Leaf { key: KeyKind::Rsa, until: "20 days", ..Leaf::of(&["a.test", "127.0.0.1"]) });
    let (ec, other) = (authority.of(KeyKind::P256, "a.test"), authority.of(KeyKind::Ed25519, "b.test"));
    for (version, named) in [("TLSv1.2", "TLSv1.2"), ("TLSv1.2 TLSv1.3", "TLSv1.3")] {
        let versions = format!("ssl_protocols {version};");
        let pairs: [(&Path, &Path); 2] = [(&rsa.chain, &rsa.key), (&ec.chain, &ec.key)];
        let nginx = Nginx::builder()
            .site_with("a.test", &pairs, &versions)
            .site_with("b.test", &[(&other.cert, &other.key)], &versions)
            .start()
            .unwrap();
        let at = |name: &str| format!("127.0.0.1:{}{name}", nginx.port());
        let targets = [at(";sni=b.test"), at(";sni=a.test"), at("")];
        let output = probed(&targets.each_ref().map(String::as_str));
        assert_eq!(output.code, 0, "{output}");
        let checks = checks(&output);
        assert_eq!(checks.iter().map(|(subject, _)| subject).collect::<Vec<_>>(), targets.iter().collect::<Vec<_>>());
        let data: Vec<&Value> = checks.iter().map(|(_, data)| data).collect();

        assert_eq!(data[0]["keys"], json!(["ed25519"]), "{version}");
        assert_eq!(data[0]["sha256"], sha256(&other));
        assert_eq!(data[0]["names"], json!(["b.test"]));
        assert_eq!(data[0]["chain"].as_array().unwrap().len(), 1);
        // Who asks for no name gets the first block.
        for data in &data[1..] {
            let mut served: Vec<&str> =
                data["served"].as_array().unwrap().iter().map(|leaf| leaf["sha256"].as_str().unwrap()).collect();
            served.sort_unstable();
            let mut expected = [sha256(&rsa), sha256(&ec)];
            expected.sort_unstable();
            assert_eq!(served, expected, "{version}");
            let chain = data["chain"].as_array().unwrap();
            assert_eq!(chain.len(), 2);
            assert_eq!(chain[1]["sha256"], sha256(&authority.between));
            assert_eq!((&data["protocol"], &data["ocsp_stapled"]), (&json!(named), &json!(false)));
            assert!(data["cipher"].as_str().unwrap().starts_with("TLS_"), "{data}");
            let sooner = data["served"].as_array().unwrap().iter().find(|leaf| leaf["key"] == "RSA 2048").unwrap();
            let left = sooner["remaining_seconds"].as_i64().unwrap();
            assert!((19 * 86_400..=20 * 86_400).contains(&left), "{left}");
            // The record is about the one that ends first.
            assert_eq!((&data["sha256"], &data["remaining_seconds"]), (&json!(sha256(&rsa)), &json!(left)));
        }
        assert!(!nginx.log().contains("[alert]"), "{}", nginx.log());
    }
}

#[test]
fn the_certificate_that_expired_is_found_beside_the_one_that_did_not() {
    let authority = Authority::new();
    let old = authority.leaf(&Leaf { key: KeyKind::Rsa, from: "-9 days", until: "-1 day", ..Leaf::of(&["a.test"]) });
    let ec = authority.of(KeyKind::P256, "a.test");
    let nginx = Nginx::builder().site("a.test", &[(&old.cert, &old.key), (&ec.cert, &ec.key)]).start().unwrap();
    let data = one(&format!("127.0.0.1:{};sni=a.test", nginx.port()), 2);
    assert_eq!((&data["status"], &data["code"]), (&json!("critical"), &json!("expired")));
    assert!(data["message"].as_str().unwrap().contains("RSA"), "{data}");
    // Healthy as of the day before.
    let before = run(Command::new("date").args(["-u", "-d", "-25 hours", "+%Y-%m-%dT%H:%M:%SZ"])).unwrap().stdout;
    let dir = tempfile::tempdir().unwrap();
    let mut then = probe(dir.path(), &[&format!("127.0.0.1:{}", nginx.port()), "--at", before.trim()]);
    let output = run(&mut then).unwrap();
    assert!(!output.stdout.contains("\"expired\""), "{output}");
}

#[test]
fn a_stapled_response_is_seen() {
    let authority = Authority::new();
    let leaf = authority.of(KeyKind::P256, "a.test");
    let response = authority.pki.dir().join("response.der");
    let mut ocsp = Command::new("openssl");
    ocsp.current_dir(authority.pki.dir()).args(["ocsp", "-index", "index", "-ndays", "7", "-issuer"]);
    ocsp.arg(&authority.between.cert).arg("-CA").arg(&authority.between.cert);
    ocsp.arg("-rsigner").arg(&authority.between.cert).arg("-rkey").arg(&authority.between.key);
    ocsp.arg("-cert").arg(&leaf.cert).arg("-respout").arg(&response).arg("-noverify");
    let made = run(&mut ocsp).unwrap();
    assert!(response.is_file(), "{made}");
    let staple = format!("ssl_stapling on;\nssl_stapling_file {};", response.display());
    let nginx = Nginx::builder().site_with("a.test", &[(&leaf.chain, &leaf.key)], &staple).start().unwrap();
    let data = one(&format!("127.0.0.1:{};sni=a.test", nginx.port()), 0);
    assert_eq!(data["ocsp_stapled"], true, "{data}");
}

#[test]
fn postgresql_goes_over_to_tls_when_asked() {
    let authority = Authority::new();
    let leaf = authority.of(KeyKind::Rsa, "db.test");
    let builder = Postgres::builder(15).setting("ssl", "on").setting("log_connections", "on");
    let builder = builder.setting("ssl_cert_file", &leaf.chain.display().to_string());
    let server = builder.setting("ssl_key_file", &leaf.key.display().to_string()).start().unwrap();
    let before = server.log().len();
    let data = one(&format!("127.0.0.1:{};sni=db.test;starttls=postgres", server.port()), 0);
    assert_eq!((&data["sha256"], &data["keys"]), (&json!(sha256(&leaf)), &json!(["rsa"])));
    assert_eq!(data["protocol"], "TLSv1.3");
    // It may say that somebody came and left, not that somebody broke its protocol.
    let log = server.log().split_off(before);
    assert!(!log.contains("reset by peer") && !log.contains("unexpected eof"), "{log}");

    // Without the word before, it hangs up.
    let data = one(&format!("127.0.0.1:{}", server.port()), 2);
    assert_eq!(data["code"], "closed", "{data}");
    let plain = Postgres::builder(15).start().unwrap();
    let data = one(&format!("127.0.0.1:{};starttls=postgres", plain.port()), 2);
    assert_eq!(data["code"], "starttls-refused", "{data}");
    assert!(data["message"].as_str().unwrap().contains("ssl = off"), "{data}");
}

#[test]
fn a_redis_that_wants_our_certificate_shows_its_own() {
    let redis = |version: &str| {
        let builder = Redis::builder(RedisVersion::V7_0).tls().config("tls-protocols", version);
        builder.config("tls-auth-clients", "yes").start().unwrap()
    };
    for (version, named) in [("TLSv1.2", "TLSv1.2"), ("TLSv1.3", "TLSv1.3")] {
        let server = redis(version);
        let tls = server.tls().unwrap();
        let data = one(&format!("localhost:{}", tls.port), 0);
        assert_eq!((&data["protocol"], &data["keys"]), (&json!(named), &json!(["ecdsa"])));
        assert_eq!(
            data["sha256"],
            sha256(&Pair { cert: tls.cert.clone(), chain: tls.cert.clone(), key: tls.key.clone() })
        );
        // Its other port speaks, but not TLS.
        let data = one(&format!("localhost:{};sni=a.test", server.port()), 2);
        assert!(["not-tls", "closed", "timed-out"].contains(&data["code"].as_str().unwrap()), "{data}");
    }
}

#[test]
fn a_mail_server_goes_over_to_tls_when_asked() {
    let authority = Authority::new();
    let leaf = authority.of(KeyKind::P256, "mail.test");
    let server = Smtp::start(Some((&leaf.chain, &leaf.key))).unwrap();
    let data = one(&format!("127.0.0.1:{};sni=mail.test;starttls=smtp", server.port()), 0);
    assert_eq!(data["sha256"], sha256(&leaf));
    let data = one(&format!("127.0.0.1:{}", server.port()), 2);
    assert_eq!(data["code"], "not-tls", "{data}");
    assert!(data["message"].as_str().unwrap().contains("220 "), "{data}");
    let plain = Smtp::start(None).unwrap();
    let data = one(&format!("127.0.0.1:{};starttls=smtp", plain.port()), 2);
    assert_eq!(data["code"], "starttls-refused", "{data}");
}

#[test]
fn whoever_shows_nothing_is_told_apart() {
    let authority = Authority::new();
    let leaf = authority.of(KeyKind::P256, "a.test");
    let nginx = || Nginx::builder().site("a.test", &[(&leaf.cert, &leaf.key)]);
    let (server, frozen) = (nginx().start().unwrap(), nginx().start().unwrap());
    // It takes connections and says nothing.
    frozen.freeze().unwrap();
    let stopped = nginx().start().unwrap();
    stopped.stop().unwrap();
    // It reads what we say, and leaves.
    let leaves = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = leaves.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = leaves.accept().unwrap();
        let count = stream.read(&mut [0; 4096]).unwrap();
        assert!(count > 100);
        stream.write_all(&[0x16, 3, 3, 0, 100, 2, 0, 0, 96, 3, 3]).unwrap();
    });
    let targets = [
        (format!("127.0.0.1:{}", frozen.port()), "timed-out"),
        (format!("127.0.0.1:{}", stopped.port()), "refused"),
        (format!("127.0.0.1:{}", server.http_port()), "not-tls"),
        (format!("127.0.0.1:{port}"), "closed"),
        ("no-such-host.invalid:443".to_owned(), "unresolvable"),
        (format!("127.0.0.1:{}", server.port()), ""),
    ];
    let mut args: Vec<&str> = targets.iter().map(|(target, _)| target.as_str()).collect();
    args.extend(["--timeout", "1s"]);
    let output = probed(&args);
    assert_eq!(output.code, 2, "{output}");
    let checks = checks(&output);
    assert_eq!(checks.len(), targets.len());
    for ((subject, data), (target, code)) in checks.iter().zip(&targets) {
        assert_eq!(subject, target);
        assert_eq!(data["code"].as_str().unwrap_or_default(), *code, "{data}");
        assert_eq!(data["status"], if code.is_empty() { "ok" } else { "critical" });
    }
    thread.join().unwrap();
}

#[test]
fn many_are_probed_at_once_and_told_in_their_order() {
    let authority = Authority::new();
    let leaf = authority.of(KeyKind::P256, "a.test");
    let nginx = Nginx::builder().site("a.test", &[(&leaf.cert, &leaf.key)]).start().unwrap();
    let frozen = Nginx::builder().site("a.test", &[(&leaf.cert, &leaf.key)]).start().unwrap();
    frozen.freeze().unwrap();
    let targets: Vec<String> = (0..100)
        .map(|number| {
            let port = if number % 10 == 5 { frozen.port() } else { nginx.port() };
            format!("127.0.0.1:{port};sni=n{number}.test")
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let output = run_fed(&mut probe(dir.path(), &["-", "--timeout", "2s"]), &(targets.join("\n") + "\n\n")).unwrap();
    // Ten that hang, one after the other, would take twenty seconds.
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert_eq!(output.code, 2, "{output}");
    let checks = checks(&output);
    assert_eq!(checks.iter().map(|(subject, _)| subject).collect::<Vec<_>>(), targets.iter().collect::<Vec<_>>());
    for (number, (_, data)) in checks.iter().enumerate() {
        assert_eq!(data["status"], if number % 10 == 5 { "critical" } else { "ok" }, "{number}: {data}");
    }
}

#[test]
fn a_probe_can_be_interrupted() {
    let authority = Authority::new();
    let leaf = authority.of(KeyKind::P256, "a.test");
    let nginx = Nginx::builder().site("a.test", &[(&leaf.cert, &leaf.key)]).start().unwrap();
    let (open, dir) = (format!("127.0.0.1:{}", nginx.port()), tempfile::tempdir().unwrap());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = silent.local_addr().unwrap().to_string();
    let running = start(&mut probe(dir.path(), &[&open, &target, "--timeout", "100s"])).unwrap();
    let (_connected, _) = silent.accept().unwrap();
    running.signal(Signal::INT);
    let output = running.finish(Duration::from_secs(20)).unwrap();
    assert_eq!(output.code, 130, "{output}");
    assert!(output.stdout.contains("interrupted"), "{output}");
}

#[test]
fn what_is_no_endpoint_is_refused_before_anything_is_asked() {
    for args in [&[][..], &["127.0.0.1"], &["127.0.0.1:443;starttls=gopher"], &["127.0.0.1:1", "--jobs", "0"]] {
        let output = probed(args);
        assert_eq!(output.code, 3, "{args:?}: {output}");
        assert!(checks(&output).is_empty());
    }
}

#[test]
fn a_certificate_that_no_client_would_take_is_seen() {
    // Of version 1, without any extension: libraries that validate do not even read it.
    let authority = Authority::new();
    let leaf = authority.of(KeyKind::P256, "a.test");
    let old = authority.pki.dir().join("old.pem");
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-new", "-subj", "/CN=old", "-config", "openssl.cnf", "-key"]).arg(&leaf.key);
    openssl.args(["-out", "old.csr"]).current_dir(authority.pki.dir());
    assert_eq!(run(&mut openssl).unwrap().code, 0);
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-req", "-in", "old.csr", "-days", "9", "-signkey"]).arg(&leaf.key).arg("-out").arg(&old);
    assert_eq!(run(openssl.current_dir(authority.pki.dir())).unwrap().code, 0);
    let text = run(Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(&old)).unwrap().stdout;
    assert!(text.contains("Version: 1"), "{text}");
    let nginx = Nginx::builder().site("a.test", &[(&old, &leaf.key)]).start().unwrap();
    let data = one(&format!("127.0.0.1:{}", nginx.port()), 0);
    assert_eq!((&data["subject"], &data["names"]), (&json!("CN=old"), &json!([])));
}
