//! validate against files, servers, revocation lists and responders, all made and run by openssl: each fault is found under
//! its own code, and its healthy twin is silent.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testbed::{KeyKind, Leaf, Nginx, Output, Pair, Pki, records, run, run_fed, tool};

const NAME: &str = "shop.example.test";

/// A root, an intermediate below it, and a place for files.
struct House {
    pki: Pki,
    root: Pair,
    between: Pair,
}

impl House {
    fn new() -> Self {
        let pki = Pki::new().unwrap();
        let root = pki.root("Root", KeyKind::P256).unwrap();
        let between = pki.intermediate("Between", KeyKind::P256, &root).unwrap();
        Self { pki, root, between }
    }

    fn leaf(&self) -> Pair {
        self.pki.leaf(&Leaf::of(&[NAME]), &self.between).unwrap()
    }

    /// A file of these certificates, in this order.
    fn file(&self, name: &str, of: &[&Path]) -> PathBuf {
        let text: String = of.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        let path = self.pki.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = tool("cert-rotate", self.pki.dir()).unwrap();
        command.args(["-o", "ndjson", "validate", "--roots"]).arg(&self.root.cert).args(args);
        command
    }

    fn validate(&self, path: &Path, args: &[&str]) -> Output {
        run(self.command(args).arg(path)).unwrap()
    }

    /// One target, which must end with this exit code and this code for what is wrong.
    #[track_caller]
    fn says(&self, path: &Path, args: &[&str], exit: i32, code: Option<&str>) -> Value {
        let output = self.validate(path, args);
        assert_eq!(output.code, exit, "{output}");
        let check = checks(&output).remove(0);
        assert_eq!(check["data"]["code"].as_str(), code, "{output}");
        check["data"].clone()
    }
}

fn checks(output: &Output) -> Vec<Value> {
    records(&output.stdout).unwrap().into_iter().filter(|record| record["type"] == "maint.check.v1").collect()
}

/// The codes of the findings that somebody has to see to.
fn codes(output: &Output) -> Vec<String> {
    findings(output, |status| status != "ok")
}

fn findings(output: &Output, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let all = records(&output.stdout).unwrap().into_iter().filter(|record| record["type"] == "maint.finding.v1");
    all.filter(|record| wanted(record["data"]["status"].as_str().unwrap()))
        .map(|record| record["data"]["code"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_good_chain_is_good_for_both_verdicts() {
    let house = House::new();
    let leaf = house.leaf();
    let data = house.says(&leaf.chain, &["--name", NAME], 0, None);
    assert_eq!((&data["strict"], &data["webpki"]), (&"ok".into(), &"ok".into()));
    assert_eq!(data["depth"], 2, "leaf, intermediate, root");
    // The key beside it is its own, and so is one that is named.
    house.says(&leaf.chain, &["--key", leaf.key.to_str().unwrap()], 0, None);
}

#[test]
fn what_is_wrong_with_a_chain_is_told_apart() {
    let house = House::new();
    let leaf = house.leaf();
    let data = house.says(&leaf.cert, &[], 2, Some("missing-intermediate"));
    assert!(data["message"].as_str().unwrap().contains("CN=Between"), "{data}");
    let reversed = house.file("reversed.pem", &[&house.between.cert, &leaf.cert]);
    house.says(&reversed, &[], 2, Some("reversed"));
    let alone = house.pki.root("Alone", KeyKind::P256).unwrap();
    let strange = house.pki.leaf(&Leaf::of(&[NAME]), &alone).unwrap();
    let foreign = house.file("foreign.pem", &[&strange.cert, &alone.cert]);
    house.says(&foreign, &[], 2, Some("untrusted-root"));
    // The root in the chain is useless, and no fault.
    let with_root = house.file("with-root.pem", &[&leaf.chain, &house.root.cert]);
    let output = house.validate(&with_root, &[]);
    assert_eq!((output.code, codes(&output)), (0, vec![]), "{output}");
    assert!(findings(&output, |_| true).contains(&"extra-root".to_owned()), "{output}");
    let stranger = house.file("stranger.pem", &[&leaf.chain, &alone.cert]);
    let output = house.validate(&stranger, &[]);
    assert_eq!((output.code, codes(&output)), (1, vec!["unrelated".to_owned()]), "{output}");
}

#[test]
fn an_expired_cross_certificate_is_passed_over_and_told_of() {
    let house = House::new();
    let old = house.pki.root("Old root", KeyKind::P256).unwrap();
    let expired = house.pki.cross("Between", &house.between, &old, "-1 month").unwrap();
    let leaf = house.leaf();
    let both = house.file("both.pem", &[&leaf.cert, &expired.cert, &house.between.cert]);
    let data = house.says(&both, &[], 1, Some("expired-intermediate-but-alternate-path"));
    assert_eq!((&data["strict"], &data["webpki"]), (&"ok".into(), &"ok".into()));
    // While the cross certificate is in force nothing is wrong with it.
    let fresh = house.pki.cross("Between", &house.between, &old, "1 year").unwrap();
    let both = house.file("fresh.pem", &[&leaf.cert, &fresh.cert, &house.between.cert]);
    house.says(&both, &[], 0, None);
    // Without the other way it is expired, as in May 2020.
    let only = house.file("only.pem", &[&leaf.cert, &expired.cert]);
    let roots = old.cert.to_str().unwrap();
    let output = run(house.command(&["--roots", roots]).arg(&only)).unwrap();
    assert_eq!(output.code, 3, "--roots twice is no usage: {output}");
    let mut command = tool("cert-rotate", house.pki.dir()).unwrap();
    let output = run(command.args(["-o", "ndjson", "validate", "--roots", roots]).arg(&only)).unwrap();
    assert_eq!((output.code, checks(&output)[0]["data"]["code"].as_str()), (2, Some("expired")), "{output}");
}

#[test]
fn time_names_purposes_and_keys_are_held_to() {
    let house = House::new();
    let leaf = house.leaf();
    let old = house.pki.leaf(&Leaf { until: "-1 hour", ..Leaf::of(&[NAME]) }, &house.between).unwrap();
    house.says(&old.chain, &[], 2, Some("expired"));
    house.says(&old.chain, &["--at", "2020-01-01T00:00:00Z"], 2, Some("not-yet-valid"));
    let yesterday = hours_ago(12);
    house.says(&old.chain, &["--at", &yesterday], 0, None);
    house.says(&leaf.chain, &["--name", "other.example.test"], 2, Some("wrong-name"));
    house.says(&leaf.chain, &["--purpose", "client"], 2, Some("wrong-purpose"));
    let client = house.pki.leaf_with(&Leaf::of(&[NAME]), &house.between, "extendedKeyUsage = clientAuth\n").unwrap();
    house.says(&client.chain, &["--purpose", "client"], 0, None);
    house.says(&client.chain, &[], 2, Some("wrong-purpose"));
    house.says(&leaf.chain, &["--key", client.key.to_str().unwrap()], 2, Some("wrong-key"));
    // A key in the same file that is another's is a fault without being asked for.
    let mixed = house.file("mixed.pem", &[&leaf.chain, &client.key]);
    house.says(&mixed, &[], 2, Some("wrong-key"));
    let whole = house.file("whole.pem", &[&leaf.chain, &leaf.key]);
    house.says(&whole, &[], 0, None);
}

/// A moment so many hours ago, as the program reads it.
fn hours_ago(hours: u32) -> String {
    let mut date = Command::new("date");
    let output = run(date.args(["-u", "-d", &format!("-{hours} hours"), "+%Y-%m-%dT%H:%M:%SZ"])).unwrap();
    output.stdout.trim().to_owned()
}

#[test]
fn weak_algorithms_are_critical_even_in_a_chain_that_holds() {
    let house = House::new();
    let request = house.pki.dir().join("weak.csr");
    let weak = house.pki.dir().join("weak.pem");
    let key = house.pki.dir().join("weak.key");
    let openssl = |args: &[&str]| {
        let output = run(Command::new("openssl").args(args).current_dir(house.pki.dir())).unwrap();
        assert_eq!(output.code, 0, "{output}");
    };
    let (request, weak, key) = (request.to_str().unwrap(), weak.to_str().unwrap(), key.to_str().unwrap());
    openssl(&["req", "-new", "-newkey", "rsa:1024", "-nodes", "-keyout", key, "-subj", "/CN=w", "-out", request]);
    let extensions = house.file("weak.ext", &[]);
    let text = format!("subjectAltName=DNS:{NAME}\nextendedKeyUsage=serverAuth\nkeyUsage=critical,digitalSignature\n");
    std::fs::write(&extensions, text).unwrap();
    let (ca, ca_key) = (house.between.cert.to_str().unwrap(), house.between.key.to_str().unwrap());
    let sign = ["x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "30"];
    openssl(&[&sign[..], &["-sha256", "-extfile", extensions.to_str().unwrap(), "-out", weak]].concat());
    let chain = house.file("weak-chain.pem", &[Path::new(weak), &house.between.cert]);
    let output = house.validate(&chain, &[]);
    assert_eq!(output.code, 2, "{output}");
    assert!(codes(&output).contains(&"weak-key".to_owned()), "{output}");
}

#[test]
fn lists_decide_and_what_they_do_not_tell_is_unknown() {
    let house = House::new();
    let (good, bad) = (house.leaf(), house.leaf());
    let list = house.pki.list(&house.between, &[&bad], "1 day").unwrap();
    let above = house.pki.list(&house.root, &[], "1 day").unwrap();
    let [list, above] = [list.to_str().unwrap(), above.to_str().unwrap()];
    house.says(&bad.chain, &[], 0, None);
    house.says(&bad.chain, &["--crl", list, "--crl", above], 2, Some("revoked"));
    house.says(&good.chain, &["--crl", list, "--crl", above], 0, None);
    house.says(&good.chain, &["--crl", list], 3, Some("revocation-unknown"));
    let stale = house.pki.list(&house.between, &[], "-1 hour").unwrap();
    house.says(&good.chain, &["--crl", stale.to_str().unwrap(), "--crl", above], 3, Some("revocation-unknown"));
    let output = house.validate(&good.chain, &["--crl", good.cert.to_str().unwrap()]);
    assert_eq!(output.code, 3, "a certificate is no list: {output}");
}

#[test]
fn lists_are_fetched_where_certificates_say_and_silence_is_not_good() {
    let house = House::new();
    let port = house.pki.port().unwrap();
    let says = |file: &str| {
        format!("extendedKeyUsage = serverAuth\ncrlDistributionPoints = URI:http://127.0.0.1:{port}/{file}\n")
    };
    // Directly below the root: one list tells all.
    let of = |file: &str| house.pki.leaf_with(&Leaf::of(&[NAME]), &house.root, &says(file)).unwrap();
    let (good, bad, lost) = (of("list.crl"), of("list.crl"), of("nowhere.crl"));
    let output = house.validate(&good.chain, &["--crl", "fetch"]);
    assert_eq!((output.code, codes(&output).last().unwrap().as_str()), (3, "list-unreachable"), "{output}");
    let list = house.pki.list(&house.root, &[&bad], "1 day").unwrap();
    std::fs::copy(list, house.pki.dir().join("list.crl")).unwrap();
    house.pki.publish(port).unwrap();
    house.says(&good.chain, &["--crl", "fetch"], 0, None);
    house.says(&bad.chain, &["--crl", "fetch"], 2, Some("revoked"));
    let output = house.validate(&lost.chain, &["--crl", "fetch"]);
    assert_eq!((output.code, codes(&output).last().unwrap().as_str()), (3, "list-unreachable"), "{output}");
    assert!(output.stdout.contains("HTTP status 404"), "{output}");
}

#[test]
fn responders_are_asked_and_silence_is_not_good() {
    let house = House::new();
    let port = house.pki.port().unwrap();
    let says = format!("extendedKeyUsage = serverAuth\nauthorityInfoAccess = OCSP;URI:http://127.0.0.1:{port}\n");
    let of = || house.pki.leaf_with(&Leaf::of(&[NAME]), &house.root, &says).unwrap();
    let (good, bad, unknown) = (of(), of(), of());
    let code = |pair: &Pair, exit: i32| {
        let output = house.validate(&pair.chain, &["--ocsp", "--timeout", "5s"]);
        assert_eq!(output.code, exit, "{output}");
        checks(&output)[0]["data"]["code"].as_str().map(str::to_owned)
    };
    let silent = code(&good, 3);
    assert!(silent.is_some(), "nobody answers");
    house.pki.responder(&house.root, &[&good], &[&bad], port).unwrap();
    assert_eq!(code(&good, 0), None);
    assert_eq!(code(&bad, 2).as_deref(), Some("revoked"));
    assert!(code(&unknown, 3).is_some(), "the responder does not know it");
}

#[test]
fn servers_are_judged_by_their_own_name() {
    let house = House::new();
    let leaf = house.leaf();
    let nginx = Nginx::builder()
        .site(NAME, &[(&leaf.chain, &leaf.key)])
        .site("bare.example.test", &[(&leaf.cert, &leaf.key)])
        .start()
        .unwrap();
    let at = |name: &str| PathBuf::from(format!("127.0.0.1:{};sni={name}", nginx.port()));
    let data = house.says(&at(NAME), &[], 0, None);
    assert_eq!(data["webpki"], "ok");
    let output = house.validate(&at("bare.example.test"), &[]);
    assert_eq!(output.code, 2, "{output}");
    let codes = codes(&output);
    for code in ["missing-intermediate", "wrong-name"] {
        assert!(codes.iter().any(|one| one == code), "{code}: {output}");
    }
    nginx.stop().unwrap();
    let output = house.validate(&at(NAME), &[]);
    assert!(output.code == 2 || output.code == 3, "nobody is there: {output}");
}

#[test]
fn one_that_cannot_be_looked_at_leaves_the_others_and_is_not_ok() {
    let house = House::new();
    let leaf = house.leaf();
    let empty = tempfile::tempdir().unwrap();
    let good = leaf.chain.to_str().unwrap();
    let none = empty.path().join("none.pem");
    let targets = format!("{good}\n{}\n{}\n", none.display(), empty.path().display());
    let output = run_fed(&mut house.command(&["-"]), &targets).unwrap();
    assert_eq!(output.code, 3, "{output}");
    let found: Vec<_> =
        checks(&output).iter().map(|check| check["data"]["status"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found, ["ok", "unknown", "unknown"], "{output}");
    let output = run(&mut house.command(&[])).unwrap();
    assert_eq!(output.code, 3, "nothing to validate: {output}");
    let junk = house.file("junk.pem", &[]);
    std::fs::write(&junk, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert_ne!(house.validate(&junk, &[]).code, 0);
}

#[test]
fn a_directory_is_looked_through_and_chains_may_be_in_files_of_their_own() {
    let house = House::new();
    let (leaf, old) = (house.leaf(), Leaf { until: "-1 hour", ..Leaf::of(&[NAME]) });
    let old = house.pki.leaf(&old, &house.between).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, from: &Path| std::fs::copy(from, dir.path().join(name)).map(drop).unwrap();
    put("cert.pem", &leaf.cert);
    put("chain.pem", &house.between.cert);
    std::fs::write(dir.path().join("notes.txt"), "nothing of the kind").unwrap();
    let output = house.validate(dir.path(), &[]);
    assert_eq!(output.code, 0, "{output}");
    put("old.pem", &old.cert);
    let output = house.validate(dir.path(), &[]);
    assert_eq!(output.code, 2, "{output}");
    let bad: Vec<_> = checks(&output)
        .into_iter()
        .filter(|check| check["data"]["status"] == "critical")
        .map(|check| check["subject"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(bad, [dir.path().join("old.pem").to_str().unwrap()], "{output}");
}

#[test]
fn keystores_are_opened_with_their_passphrase_only() {
    let house = House::new();
    let leaf = house.leaf();
    let store = house.pki.dir().join("store.p12");
    let (word, wrong) = (house.pki.dir().join("word"), house.pki.dir().join("wrong"));
    maint_core::durable::replace(&word, b"of the store\n", 0o600).unwrap();
    maint_core::durable::replace(&wrong, b"another\n", 0o600).unwrap();
    let mut export = Command::new("openssl");
    export.args(["pkcs12", "-export", "-passout", "pass:of the store", "-in"]).arg(&leaf.chain);
    let output = run(export.arg("-inkey").arg(&leaf.key).arg("-out").arg(&store)).unwrap();
    assert_eq!(output.code, 0, "{output}");
    house.says(&store, &["--passphrase-file", word.to_str().unwrap()], 0, None);
    for args in [&["--passphrase-file", wrong.to_str().unwrap()][..], &[]] {
        let output = house.validate(&store, args);
        assert_eq!(output.code, 3, "{output}");
        assert!(!output.stdout.contains("another"), "{output}");
    }
}

#[test]
fn verdicts_differ_where_clients_do() {
    let house = House::new();
    // RFC 5280 wants a certificate that signs others to say so in its key usage; rustls does not look.
    let says =
        "[these]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\n";
    let dir = house.pki.dir();
    std::fs::write(dir.join("half.ext"), says).unwrap();
    let openssl = |args: &[&str]| {
        let output = run(Command::new("openssl").args(args).current_dir(dir)).unwrap();
        assert_eq!(output.code, 0, "{output}");
    };
    let new = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "half.key"];
    openssl(&[&new[..], &["-subj", "/CN=Half", "-out", "half.csr"]].concat());
    let (ca, ca_key) = (house.root.cert.to_str().unwrap(), house.root.key.to_str().unwrap());
    let sign = ["x509", "-req", "-in", "half.csr", "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "30"];
    openssl(&[&sign[..], &["-extfile", "half.ext", "-extensions", "these", "-out", "half.pem"]].concat());
    let half = Pair { cert: dir.join("half.pem"), chain: dir.join("half.pem"), key: dir.join("half.key") };
    let leaf = house.pki.leaf(&Leaf::of(&[NAME]), &half).unwrap();
    let chain = house.file("half-chain.pem", &[&leaf.cert, &half.cert]);
    let output = house.validate(&chain, &[]);
    let check = checks(&output).remove(0);
    assert_eq!(check["data"]["webpki"], "ok", "{output}");
    assert_ne!(check["data"]["strict"], "ok", "{output}");
    assert_eq!(output.code, 2, "the stricter one decides: {output}");
}

#[test]
fn the_roots_of_browsers_and_of_the_system_do_not_know_ours() {
    let house = House::new();
    let leaf = house.leaf();
    for roots in ["mozilla", "system"] {
        let mut command = tool("cert-rotate", house.pki.dir()).unwrap();
        command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        let output = run(command.args(["-o", "ndjson", "validate", "--roots", roots]).arg(&leaf.chain)).unwrap();
        assert_eq!(output.code, 2, "{roots}: {output}");
        let code = checks(&output)[0]["data"]["code"].clone();
        assert_eq!(code, "missing-intermediate", "{roots}: {output}");
    }
}
