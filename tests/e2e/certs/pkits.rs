//! The path validator on other people's suites: NIST's PKITS, and certificates that are odd.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testbed::{Output, pkits, run, tool};

/// When all of PKITS is valid that is meant to be: 1 July 2014.
const AT: &str = "2014-07-01T00:00:00Z";

/// What we answer wrongly: signatures with DSA, which nobody has made for years and our library cannot verify.
const WRONG: [&str; 2] = ["ValidDSAParameterInheritanceTest5EE", "ValidDSASignaturesTest4EE"];

/// For a good share of those that must be refused, the beginning of their names and why.
const WHY: [(&str, &str); 17] = [
    ("InvalidBasicSelfIssuedNewWithOld", "revoked"),
    ("InvalidCAnotBeforeDate", "not-yet-valid"),
    ("InvalidDNSnameConstraints", "name-forbidden"),
    ("InvalidDNnameConstraints", "name-forbidden"),
    ("InvalidEESignature", "bad-signature"),
    ("InvalidMapping", "any-policy-mapped"),
    ("InvalidMissingCRL", "revocation-unknown"),
    ("InvalidMissingbasicConstraints", "not-an-authority"),
    ("InvalidNameChaining", "unknown-issuer"),
    ("InvalidPolicyMapping", "no-valid-policy"),
    ("InvalidRevoked", "revoked"),
    ("InvalidURInameConstraints", "name-forbidden"),
    ("InvalidUnknownCritical", "unknown-critical-extension"),
    ("InvalidinhibitAnyPolicy", "no-valid-policy"),
    ("InvalidkeyUsageCriticalkeyCertSignFalse", "may-not-sign"),
    ("InvalidpathLenConstraint", "path-too-long"),
    ("Invalidpre2000UTCEEnotAfter", "expired"),
];

/// Every file of a directory, by name.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.is_file());
    all.sort();
    all
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

/// RFC 4648, 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |group: &[u8]| {
        let bits = group.iter().fold(0_usize, |bits, &byte| (bits << 8) | usize::from(byte)) << (8 * (3 - group.len()));
        let digit = move |place: usize| char::from(DIGITS[(bits >> (18 - 6 * place)) & 63]);
        let filled = group.len() + 1;
        (0..4).map(move |place| if place < filled { digit(place) } else { '=' }).collect::<String>()
    };
    bytes.chunks(3).map(digits).collect()
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in base64(der).as_bytes().chunks(64) {
        let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
    }
    text + &format!("-----END {label}-----\n")
}

/// A test case in the schema of x509-limbo; our own feature leaves the form of certificates alone.
fn case(id: &str, leaf: &str, trusted: &[&str], between: &[String], crls: &[String]) -> Value {
    json!({
        "id": id, "description": id, "features": ["path-only"], "validation_kind": "SERVER", "validation_time": AT,
        "trusted_certs": trusted, "untrusted_intermediates": between, "peer_certificate": leaf, "crls": crls,
        "signature_algorithms": [], "key_usage": [], "extended_key_usage": [], "expected_peer_names": [],
        "expected_result": "FAILURE",
    })
}

/// Runs the cases, and returns for each the verdict and what was said about it.
fn answers(cases: &[Value]) -> (Output, BTreeMap<String, (String, String)>) {
    let directory = tempfile::tempdir().unwrap();
    let suite = directory.path().join("suite.json");
    let expected = cases.len();
    fs::write(&suite, serde_json::to_vec(&json!({ "version": 1, "testcases": cases })).unwrap()).unwrap();
    let said = run(tool("cert-rotate", directory.path()).unwrap().args(["validate", "--limbo"]).arg(&suite)).unwrap();
    assert_eq!(said.code, 0, "{}", said.stderr);
    let document: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(document["version"], 1);
    assert!(document["harness"].as_str().unwrap().starts_with("cert-rotate-"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all: BTreeMap<_, _> = document["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (text(&one["id"]), (text(&one["actual_result"]), text(&one["context"]))))
        .collect();
    assert_eq!(all.len(), expected, "a case is unanswered");
    (said, all)
}

#[test]
fn pkits_is_answered_right_but_for_dsa() {
    let data = pkits::vectors().unwrap().join("PKITS_data");
    let certificates: BTreeMap<String, String> = files(&data.join("certs"))
        .iter()
        .map(|path| (stem(path), pem("CERTIFICATE", &fs::read(path).unwrap())))
        .collect();
    let crls: Vec<String> =
        files(&data.join("crls")).iter().map(|path| pem("X509 CRL", &fs::read(path).unwrap())).collect();
    assert_eq!((certificates.len(), crls.len()), (405, 173), "another suite than expected");
    let root = &certificates["TrustAnchorRootCertificate"];
    let between: Vec<String> = certificates
        .iter()
        .filter(|(name, pem)| !name.ends_with("EE") && *pem != root)
        .map(|(_, pem)| pem.clone())
        .collect();
    let is_case = |name: &str| name.ends_with("EE") && (name.starts_with("Valid") || name.starts_with("Invalid"));
    let cases: Vec<Value> = certificates
        .iter()
        .filter(|(name, _)| is_case(name))
        .map(|(name, leaf)| case(name, leaf, &[root], &between, &crls))
        .collect();
    assert_eq!(cases.len(), 203);

    let (_, all) = answers(&cases);
    let wrong: Vec<&str> = all
        .iter()
        .filter(|(name, (verdict, _))| (verdict == "SUCCESS") != name.starts_with("Valid"))
        .map(|(name, _)| name.as_str())
        .collect();
    // None of them is an acceptance of what must be refused.
    assert_eq!(wrong, WRONG, "{:#?}", wrong.iter().map(|name| &all[*name]).collect::<Vec<_>>());
    for (name, why) in WHY {
        let told: Vec<_> = all.iter().filter(|(id, _)| id.starts_with(name)).collect();
        assert!(!told.is_empty(), "{name}");
        for (id, (_, context)) in told {
            assert!(context.starts_with(&format!("{why}:")), "{id}: {context}");
        }
    }
}

#[test]
fn odd_certificates_and_lists_are_answered_too() {
    let odd = pkits::vectors().unwrap().join("custom");
    let good = fs::read_to_string(odd.join("valid_signature_cert.pem")).unwrap();
    let mut cases = Vec::new();
    for path in files(&odd) {
        let bytes = fs::read(&path).unwrap();
        let is_list = stem(&path).contains("crl");
        let label = if is_list { "X509 CRL" } else { "CERTIFICATE" };
        let text =
            if bytes.starts_with(b"-----") { String::from_utf8_lossy(&bytes).into_owned() } else { pem(label, &bytes) };
        let id = path.file_name().unwrap().to_string_lossy().into_owned();
        cases.push(if is_list {
            case(&id, &good, &[&good], &[], &[text])
        } else {
            case(&id, &text, &[&text], &[], &[])
        });
    }
    assert!(cases.len() > 100, "another suite than expected");
    let (said, all) = answers(&cases);
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
    for (name, why) in [
        ("two_basic_constraints.pem", "duplicate-extension"),
        ("unsupported_extension_critical.pem", "unknown-critical-extension"),
        ("mismatch_inner_outer_sig_algorithm.der", "malformed"),
        ("inhibit_any_policy_negative.pem", "malformed"),
        ("invalid_version.pem", "malformed"),
    ] {
        assert!(all[name].1.lines().any(|line| line.starts_with(why)), "{name}: {:?}", all[name]);
    }
}
