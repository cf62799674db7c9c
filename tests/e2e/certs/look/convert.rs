//! What is converted is read by openssl and keytool, and what they write is converted.

use super::{codes, done, ends, mode, sh};

/// A root, an intermediate, a certificate with its key, and another key; each in PEM, and two files with passphrases.
const MADE: &str = "umask 077
    printf 'opensesame\\n' > pass
    new() { openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -subj /CN=$1 -out $1.csr; }
    sign() { openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial -days 30 -out $1.pem -extfile <(echo \"$3\"); }
    { new root; new middle; new leaf; new other
    openssl x509 -req -in root.csr -signkey root.key -days 30 -out root.pem -extfile <(echo basicConstraints=critical,CA:TRUE)
    sign middle root basicConstraints=critical,CA:TRUE
    sign leaf middle subjectAltName=DNS:leaf.test; } 2>/dev/null
    openssl x509 -in leaf.pem -noout -fingerprint -sha256 | cut -d= -f2 | tr -d : | tr A-F a-f";

#[test]
fn several_files_become_one_keystore_that_openssl_and_java_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sh(dir, MADE);
    let args = ["convert", "root.pem", "leaf.key", "middle.pem", "leaf.pem", "--into", "out.p12"];
    let with = |more: &[&'static str]| [&args[..], &["--new-passphrase-file", "pass"], more].concat();
    let plan = ends(dir, 0, &with(&["--dry-run"]));
    assert_eq!(plan[0]["data"]["status"], "planned");
    assert!(!dir.join("out.p12").exists());
    let done = ends(dir, 0, &with(&[]));
    assert_eq!(done[0]["data"]["certificates"], serde_json::json!(["leaf.test", "CN=middle", "CN=root"]));
    assert_eq!(mode(&dir.join("out.p12")), 0o600);
    let by_openssl = sh(
        dir,
        "openssl pkcs12 -in out.p12 -passin file:pass -nokeys | grep -c BEGIN; \
        openssl pkcs12 -in out.p12 -passin file:pass -nocerts -nodes | openssl pkey -pubout | \
        diff - <(openssl pkey -in leaf.key -pubout) && echo same",
    );
    assert_eq!(by_openssl, "3\nsame\n");
    let by_java = sh(dir, "keytool -list -v -keystore out.p12 -storepass:file pass 2>/dev/null");
    assert!(by_java.contains("Certificate chain length: 3") && by_java.contains("PrivateKeyEntry"), "{by_java}");
    // Once more changes nothing, and something else is only put in its place by consent.
    let again = ends(dir, 0, &with(&[]));
    assert!(again[0]["data"]["message"].as_str().unwrap().starts_with("nothing to do"));
    ends(dir, 3, &["convert", "root.pem", "--into", "out.p12", "--new-passphrase-file", "pass"]);
    ends(dir, 0, &["convert", "root.pem", "--into", "out.p12", "--new-passphrase-file", "pass", "--yes"]);
}

#[test]
fn stores_of_java_and_openssl_become_pem_and_der() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let fingerprint = sh(dir, MADE);
    sh(
        dir,
        "openssl pkcs12 -export -in <(cat leaf.pem middle.pem) -inkey leaf.key -name web -passout file:pass -out new.p12
         openssl pkcs12 -export -in leaf.pem -inkey leaf.key -legacy -passout file:pass -out old.p12
         keytool -importkeystore -srckeystore new.p12 -srcstorepass:file pass -destkeystore a.jks -deststoretype JKS \
         -deststorepass:file pass 2>/dev/null
         keytool -genkeypair -keystore java.p12 -storepass:file pass -alias j -keyalg EC -groupname secp384r1 -dname CN=j 2>/dev/null
         keytool -genkeypair -keystore rsa.jks -storetype JKS -storepass:file pass -keypass:file pass -alias r -keyalg RSA \
         -dname CN=r 2>/dev/null",
    );
    for (store, certificates) in [("new.p12", 2), ("old.p12", 1), ("a.jks", 2)] {
        let into = format!("{store}.pem");
        ends(dir, 0, &["convert", store, "--passphrase-file", "pass", "--into", &into]);
        assert_eq!(mode(&dir.join(&into)), 0o600, "{store}");
        let script = format!(
            "grep -c 'BEGIN CERT' {into}; openssl x509 -in {into} -noout -fingerprint -sha256 | cut -d= -f2 | tr -d : | \
             tr A-F a-f; diff <(openssl pkey -in {into} -pubout) <(openssl pkey -in leaf.key -pubout) && echo same"
        );
        assert_eq!(sh(dir, &script), format!("{certificates}\n{fingerprint}same\n"), "{store}");
    }
    // Java leaves the public half out of its keys on elliptic curves.
    for store in ["java.p12", "rsa.jks"] {
        ends(dir, 0, &["convert", store, "--passphrase-file", "pass", "--into", "j.pem", "--yes"]);
        sh(dir, "diff <(openssl pkey -in j.pem -pubout) <(openssl x509 -in j.pem -noout -pubkey)");
    }
    ends(dir, 0, &["convert", "leaf.pem", "--into", "leaf.der"]);
    assert_eq!(mode(&dir.join("leaf.der")), 0o644);
    sh(dir, "cmp leaf.der <(openssl x509 -in leaf.pem -outform DER)");
    ends(dir, 0, &["convert", "leaf.key", "--into", "key.der"]);
    assert_eq!(mode(&dir.join("key.der")), 0o600);
    ends(dir, 0, &["convert", "leaf.key", "--into", "locked.pem", "--new-passphrase-file", "pass"]);
    sh(dir, "openssl pkey -in locked.pem -passin file:pass -out /dev/null; grep -q ENCRYPTED locked.pem");
}

#[test]
fn what_does_not_fit_together_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    sh(dir, MADE);
    sh(
        dir,
        "sed '5d' leaf.pem > cut.pem; openssl pkcs12 -export -in leaf.pem -inkey leaf.key -passout file:pass -out s.p12
        echo hello > text; cat leaf.pem middle.pem > two.pem",
    );
    for (code, inputs, says) in [
        (2, &["leaf.pem", "other.key"][..], "belongs to none of the certificates (leaf.test)"),
        (2, &["cut.pem", "leaf.key"], "cut.pem: line 1: CERTIFICATE"),
        (2, &["s.p12"], "keystore is encrypted"),
        (2, &["text"], "nothing to convert in text"),
        (3, &["missing.pem"], "missing.pem"),
    ] {
        let output = done(dir, &[&["convert", "--into", "out.pem"], inputs].concat());
        assert_eq!(output.code, code, "{inputs:?}: {output}");
        assert!(output.stderr.contains(says), "{inputs:?}: {output}");
    }
    for into in ["out.der", "out.p12", "out.txt"] {
        assert_eq!(done(dir, &["convert", "two.pem", "--into", into]).code, 3, "{into}");
    }
    let left = sh(dir, "ls -A | grep out || true");
    assert_eq!(left, "");
    assert!(codes(&ends(dir, 0, &["inspect", "leaf.key"])).is_empty());
}
