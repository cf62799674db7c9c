//! From one root to the next, with handshakes: mutual TLS of whatever is trusted with whatever is shown, in every phase.
//! Each is made twice, by rustls in TLS 1.3 and by openssl in TLS 1.2.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use testbed::run;

use super::fixture::{Bench, certificates, codes};

const SERVER: &str = "api.example.test";

/// A key with a chain, and where both were kept.
#[derive(Clone)]
struct Shown {
    what: String,
    chain: PathBuf,
    key: PathBuf,
}

/// A file of roots, as it was.
#[derive(Clone)]
struct Trust {
    what: String,
    file: PathBuf,
}

/// A rollover from `services` to `services-b`, with copies of all that anybody had in it.
struct Rolling {
    bench: Bench,
}

impl Rolling {
    fn new() -> Self {
        let rolling = Rolling { bench: Bench::new() };
        rolling.pair();
        rolling
    }

    fn pair(&self) {
        let server = ["--server", SERVER, "--client", "web.example.test", "--out", "out"];
        self.bench.ok(&[&["mtls-pair", "ca", "services", "api"][..], &server].concat());
    }

    fn plan(&self) {
        let bundles = ["--bundle", "out/api-server/trust.pem", "--bundle", "out/api-client/trust.pem"];
        self.bench.ok(&[&["rollover", "plan", "ca", "services", "services-b"][..], &bundles].concat());
    }

    fn new_root(&self) {
        self.bench.ok(&["init", "ca", "root-b", "--passphrase-file", "pass"]);
        self.bench.intermediate("services-b", "root-b");
    }

    fn cross(&self) {
        self.bench.ok(&["cross-sign", "ca", "root-b", "root", "--passphrase-file", "pass"]);
    }

    #[track_caller]
    fn advance(&self, phase: &str) {
        let told = self.bench.ok(&["rollover", "advance", "ca", "services"]);
        assert_eq!((&told["phase"], &told["status"]), (&phase.into(), &"ok".into()), "{told}");
    }

    /// That it does not advance, and why.
    #[track_caller]
    fn stuck(&self, wanted: &[&str]) {
        let state = self.bench.read("ca/rollovers/services.json");
        let output = self.bench.ca(&["rollover", "advance", "ca", "services"]);
        assert_eq!(output.code, 2, "{output}");
        assert_eq!(codes(&output).iter().map(String::as_str).collect::<Vec<_>>(), wanted, "{output}");
        assert_eq!(self.bench.read("ca/rollovers/services.json"), state, "it advanced all the same");
        let status = self.bench.ca(&["rollover", "status", "ca", "services"]);
        assert_eq!((status.code, codes(&status)), (1, codes(&output)), "{status}");
    }

    /// What somebody has edited into the state.
    fn force(&self, from: &str, to: &str) {
        let state = self.bench.read("ca/rollovers/services.json");
        let (from, to) =
            (format!("\"phase\": \"{from}\",\n  \"bundles\""), format!("\"phase\": \"{to}\",\n  \"bundles\""));
        assert!(state.contains(&from), "{state}");
        self.bench.write("ca/rollovers/services.json", &state.replacen(&from, &to, 1));
    }

    /// What a member shows now, kept for later.
    fn shown(&self, member: &str, what: &str) -> Shown {
        let place = |file: &str| self.bench.path(&format!("{member}-{what}-{file}"));
        let shown = Shown { what: what.to_owned(), chain: place("chain.pem"), key: place("key.pem") };
        for (file, to) in [("fullchain.pem", &shown.chain), ("privkey.pem", &shown.key)] {
            fs::copy(self.bench.path(&format!("out/api-{member}/{file}")), to).unwrap();
        }
        shown
    }

    /// What is trusted now, kept for later.
    fn trust(&self, what: &str) -> Trust {
        let file = self.bench.path(&format!("trust-{what}.pem"));
        fs::copy(self.bench.path("ca/trust.pem"), &file).unwrap();
        Trust { what: what.to_owned(), file }
    }

    /// Copies trust.pem to one of those who read it.
    fn follow(&self, member: &str) {
        let to = self.bench.path(&format!("out/api-{member}/trust.pem"));
        fs::copy(self.bench.path("ca/trust.pem"), to).unwrap();
    }
}

/// Both sides of a connection.
struct Sides<'a> {
    server: (&'a Shown, &'a Trust),
    client: (&'a Shown, &'a Trust),
}

impl Sides<'_> {
    fn title(&self) -> String {
        let ((shown, trust), (theirs, they)) = (self.server, self.client);
        format!("server {} trusting {}, client {} trusting {}", shown.what, trust.what, theirs.what, they.what)
    }
}

fn roots(trust: &Trust) -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    for root in certificates(&trust.file) {
        store.add(root).unwrap();
    }
    Arc::new(store)
}

fn key(shown: &Shown) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(&shown.key).unwrap()
}

/// A whole handshake with both sides checked, in TLS 1.3.
fn by_rustls(sides: &Sides<'_>) -> Result<(), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let ((shown, trust), (theirs, they)) = (sides.server, sides.client);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(trust), Arc::clone(&provider)).build().unwrap();
    let server =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let server =
        server.with_client_cert_verifier(verifier).with_single_cert(certificates(&shown.chain), key(shown)).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots(they));
    let client = client.with_client_auth_cert(certificates(&theirs.chain), key(theirs)).unwrap();
    let name = ServerName::try_from(SERVER).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().map_err(|error| text(&error))?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().map_err(|error| text(&error))?;
        }
    }
    assert!(server.peer_certificates().is_some() && client.peer_certificates().is_some());
    Ok(())
}

/// The same in TLS 1.2, in which a client has ended its handshake only when the server has believed it.
fn by_openssl(sides: &Sides<'_>) -> Result<(), String> {
    let ((shown, trust), (theirs, they)) = (sides.server, sides.client);
    let identity = |command: &mut Command, shown: &Shown, trust: &Path| {
        command.arg("-cert").arg(&shown.chain).arg("-cert_chain").arg(&shown.chain).arg("-key").arg(&shown.key);
        command.args(["-tls1_2", "-verify_return_error", "-CAfile"]).arg(trust);
    };
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-Verify", "5"]);
    identity(&mut command, shown, &trust.file);
    let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    let port = lines.find_map(|line| line.strip_prefix("ACCEPT 127.0.0.1:").map(str::to_owned)).unwrap();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-verify_hostname", SERVER]);
    identity(&mut command, theirs, &they.file);
    let output = run(command.stdin(Stdio::null())).unwrap();
    let _ = server.kill();
    server.wait().unwrap();
    if output.code == 0 && output.stdout.contains("Verify return code: 0 (ok)") {
        Ok(())
    } else {
        Err(output.to_string())
    }
}

fn handshake(sides: &Sides<'_>) -> Result<(), String> {
    let (one, two) = (by_rustls(sides), by_openssl(sides));
    assert_eq!(one.is_ok(), two.is_ok(), "{}: rustls {one:?}, openssl {two:?}", sides.title());
    one.and(two)
}

/// Every trust with every leaf, both ways; how many there were.
#[track_caller]
fn all_succeed(trusts: &[&Trust], servers: &[&Shown], clients: &[&Shown]) -> usize {
    let mut count = 0;
    for (ours, theirs) in trusts.iter().flat_map(|ours| trusts.iter().map(move |theirs| (*ours, *theirs))) {
        for (server, client) in servers.iter().flat_map(|server| clients.iter().map(move |client| (*server, *client))) {
            let sides = Sides { server: (server, ours), client: (client, theirs) };
            handshake(&sides).unwrap_or_else(|why| panic!("{}: {why}", sides.title()));
            count += 1;
        }
    }
    count
}

#[test]
fn in_every_phase_everybody_believes_everybody() {
    let rolling = Rolling::new();
    let mut count = 0;
    // The phase `old`.
    let (server_a, client_a, trust_a) =
        (rolling.shown("server", "A"), rolling.shown("client", "A"), rolling.trust("A"));
    count += all_succeed(&[&trust_a], &[&server_a], &[&client_a]);
    rolling.new_root();
    assert_eq!(rolling.bench.read("ca/trust.pem"), fs::read_to_string(&trust_a.file).unwrap(), "trusted too early");
    let early = rolling.bench.refused(&["sign", "ca", "services-b", "x.csr"]);
    assert!(early.contains("x.csr"), "{early}");
    rolling.bench.request("x", "DNS:x.example.test");
    let early = rolling.bench.refused(&["sign", "ca", "services-b", "x.csr"]);
    assert!(early.contains("is not in ca/trust.pem"), "{early}");
    rolling.plan();
    let early = rolling.bench.refused(&["sign", "ca", "services-b", "x.csr"]);
    assert!(early.contains("does not sign yet"), "{early}");
    rolling.stuck(&["cross-missing"]);
    rolling.cross();

    rolling.advance("trust-both");
    let trust_both = rolling.trust("A+B");
    assert_eq!(certificates(&trust_both.file).len(), 2);
    let early = rolling.bench.refused(&["sign", "ca", "services-b", "x.csr"]);
    assert!(early.contains("does not sign yet"), "{early}");
    // One follows after the other, so both bundles are in use.
    count += all_succeed(&[&trust_a, &trust_both], &[&server_a], &[&client_a]);
    rolling.stuck(&["bundle-without-new"]);
    rolling.follow("client");
    rolling.stuck(&["bundle-without-new"]);
    rolling.follow("server");

    rolling.advance("sign-new");
    rolling.pair();
    let (server_b, client_b) = (rolling.shown("server", "B"), rolling.shown("client", "B"));
    let issuer = |shown: &Shown| {
        let chain = shown.chain.display().to_string();
        rolling.bench.openssl(&["x509", "-in", &chain, "-noout", "-issuer"])
    };
    assert!(issuer(&server_b).contains("CN = services-b") && issuer(&server_a).ends_with("CN = services\n"));
    count += all_succeed(&[&trust_both], &[&server_a, &server_b], &[&client_a, &client_b]);
    // Somebody whose bundle nobody named still believes the new ones, by the cross certificate.
    count += all_succeed(&[&trust_a, &trust_both], &[&server_b], &[&client_b]);

    // Something else by the old authority, of which nobody thought.
    rolling.force("sign-new", "trust-both");
    let forgotten = rolling.bench.leaf("forgotten", "DNS:f.example.test");
    rolling.force("trust-both", "sign-new");
    rolling.stuck(&["leaf-old"]);
    rolling.bench.ok(&["revoke", "ca", &forgotten, "--reason", "superseded", "--yes"]);
    rolling.advance("new");
    let trust_b = rolling.trust("B");
    assert_eq!(certificates(&trust_b.file).len(), 1);
    count += all_succeed(&[&trust_both, &trust_b], &[&server_b], &[&client_b]);
    rolling.stuck(&["bundle-with-old"]);
    for member in ["server", "client"] {
        rolling.follow(member);
    }
    let over = rolling.bench.ok(&["rollover", "advance", "ca", "services"]);
    assert!(over["message"].as_str().unwrap().contains("over"), "{over}");
    rolling.pair();
    let server_b = rolling.shown("server", "B2");
    count += all_succeed(&[&trust_b], &[&server_b], &[&client_b]);
    // What is asked of the old authority is signed by the new one, for ever.
    let told = rolling.bench.ok(&["sign", "ca", "services", "x.csr"]);
    assert_eq!(told["authority"], "services-b");
    println!("{count} handshakes by rustls, as many by openssl");
    assert_eq!(count, 1 + 4 + 4 + 4 + 4 + 1);
}

/// What the refusals are for: the same steps in the wrong order fail, so the matrix above could.
#[test]
fn forced_in_the_wrong_order_somebody_is_not_believed() {
    let rolling = Rolling::new();
    let (server_a, client_a, trust_a) =
        (rolling.shown("server", "A"), rolling.shown("client", "A"), rolling.trust("A"));
    rolling.new_root();
    rolling.plan();
    rolling.cross();
    rolling.advance("trust-both");
    let trust_both = rolling.trust("A+B");
    // Nobody followed, and the old root goes although the old certificates are shown.
    rolling.force("trust-both", "new");
    let _ = rolling.bench.ca(&["rollover", "advance", "ca", "services"]);
    let trust_b = rolling.trust("B");
    assert_eq!(certificates(&trust_b.file).len(), 1);
    rolling.pair();
    let (server_b, client_b) = (rolling.shown("server", "B"), rolling.shown("client", "B"));
    let fails = |server: (&Shown, &Trust), client: (&Shown, &Trust)| {
        let sides = Sides { server, client };
        assert!(handshake(&sides).is_err(), "{} succeeded", sides.title());
    };
    // Who trusts the new root only does not believe the old certificates.
    fails((&server_a, &trust_both), (&client_a, &trust_b));
    fails((&server_a, &trust_b), (&client_a, &trust_both));
    // Who did not follow does not believe the new ones, which come without the cross certificate now.
    fails((&server_b, &trust_b), (&client_b, &trust_a));
    fails((&server_b, &trust_a), (&client_b, &trust_b));
    // And where all agree, they do.
    handshake(&Sides { server: (&server_b, &trust_b), client: (&client_b, &trust_b) }).unwrap();
}

#[test]
fn what_rotate_made_live_keeps_the_old_root_until_it_is_renewed() {
    let rolling = Rolling { bench: Bench::new() };
    let text = format!(
        "[issuers.inside]\nkind = \"ca\"\ndirectory = \"{}\"\nauthority = \"services\"\n\
         [certs.web]\nnames = [\"{SERVER}\"]\nissuer = \"inside\"\n",
        rolling.bench.path("ca").display()
    );
    rolling.bench.write("certs.toml", &text);
    let rotate = |args: &[&str]| run(rolling.bench.tool(&["rotate"]).args(args)).unwrap();
    assert_eq!(rotate(&[]).code, 0);
    rolling.new_root();
    rolling.cross();
    rolling.bench.ok(&["rollover", "plan", "ca", "services", "services-b", "--bundle", "ca/trust.pem"]);
    rolling.advance("trust-both");
    rolling.advance("sign-new");
    rolling.stuck(&["leaf-old-live"]);
    // It is signed and was not deployed: the old one is served.
    let killed = run(rolling.bench.tool(&["rotate", "--force"]).env("MAINT_KILL_AT", "rotate-issued")).unwrap();
    assert_eq!(killed.code, 137, "{killed}");
    rolling.stuck(&["leaf-old-live"]);
    assert_eq!(rotate(&[]).code, 0);
    rolling.advance("new");
    assert_eq!(rolling.bench.leaves().len(), 2);
    assert_eq!(rotate(&["--force"]).code, 0);
}

#[test]
fn a_killed_advance_is_ended_by_the_next() {
    let rolling = Rolling::new();
    rolling.new_root();
    rolling.cross();
    rolling.plan();
    let killed = |point: &str| {
        let mut command = rolling.bench.command(&["rollover", "advance", "ca", "services"]);
        let output = run(command.env("MAINT_KILL_AT", point)).unwrap();
        assert_eq!(output.code, 137, "{point}: {output}");
    };
    // The phase is begun, and trust.pem does not know yet: status says so, and the next run goes on from there.
    killed("ca-rollover-written");
    assert_eq!(certificates(&rolling.bench.path("ca/trust.pem")).len(), 1);
    let status = rolling.bench.ca(&["rollover", "status", "ca"]);
    assert!(codes(&status).contains("trust-differs"), "{status}");
    rolling.stuck(&["bundle-without-new"]);
    assert_eq!(certificates(&rolling.bench.path("ca/trust.pem")).len(), 2);
    for member in ["server", "client"] {
        rolling.follow(member);
    }
    killed("ca-rollover-written");
    rolling.pair();
    killed("ca-trust-written");
    assert_eq!(certificates(&rolling.bench.path("ca/trust.pem")).len(), 1);
    rolling.stuck(&["bundle-with-old"]);
}

#[test]
fn a_rollover_of_one_root_changes_who_signs_and_not_what_is_trusted() {
    let rolling = Rolling::new();
    let trust = rolling.bench.read("ca/trust.pem");
    rolling.bench.intermediate("services-b", "root");
    rolling.plan();
    let twice = ["rollover", "plan", "ca", "services-b", "services", "--bundle", "ca/trust.pem"];
    assert!(rolling.bench.refused(&twice).contains("goes itself"));
    let of_roots = ["rollover", "plan", "ca", "root", "services-b", "--bundle", "ca/trust.pem"];
    assert!(rolling.bench.refused(&of_roots).contains("is a root"));
    rolling.advance("trust-both");
    rolling.advance("sign-new");
    rolling.stuck(&["leaf-old"]);
    rolling.pair();
    rolling.advance("new");
    assert_eq!(rolling.bench.read("ca/trust.pem"), trust);
    let over = rolling.bench.ok(&["rollover", "advance", "ca", "services"]);
    assert!(over["message"].as_str().unwrap().contains("over"), "{over}");
}
