//! `jwt`, and `micro` on results in criterion's form.

use std::fs;
use std::path::Path;

use testbed::{Output, records, run, tool};

fn bench(state: &Path, args: &[&str]) -> Output {
    run(tool("bench-runner", state).unwrap().args(["-o", "ndjson"]).args(args)).unwrap()
}

#[test]
fn every_algorithm_signs_and_verifies() {
    let state = tempfile::tempdir().unwrap();
    let output = bench(state.path(), &["jwt", "--time", "200ms"]);
    assert_eq!(output.code, 0, "{output}");
    let all = records(&output.stdout).unwrap();
    let rate = |subject: &str| {
        let found = all.iter().find(|record| record["subject"] == subject);
        found.unwrap_or_else(|| panic!("{subject}: {output}"))["data"]["operations_per_second"].as_f64().unwrap()
    };
    for algorithm in ["HS256", "RS256", "ES256", "EdDSA"] {
        assert!(rate(&format!("{algorithm} sign")) > 1.0 && rate(&format!("{algorithm} verify")) > 1.0, "{output}");
    }
    // What RSA is known for, on every machine.
    assert!(rate("RS256 verify") > 3.0 * rate("RS256 sign") && rate("HS256 sign") > rate("RS256 sign"), "{output}");
    let claims = state.path().join("claims.json");
    for (text, args, code, said) in [
        (r#"{"sub": "a"}"#, &["--alg", "HS256,EdDSA", "--op", "sign", "-t", "2"][..], 0, "over 2 threads"),
        ("[1]", &[], 3, "no JSON object"),
        ("{", &[], 3, "claims.json"),
        (r#"{"exp": 0}"#, &["--alg", "HS256"], 3, "expired"),
        ("{}", &["--alg", "none"], 3, "none"),
    ] {
        fs::write(&claims, text).unwrap();
        let args: Vec<&str> =
            ["jwt", "--time", "100ms", "--claims", claims.to_str().unwrap()].iter().chain(args).copied().collect();
        let output = bench(state.path(), &args);
        assert_eq!(output.code, code, "{args:?}: {output}");
        assert!(output.to_string().contains(said), "{args:?}: {output}");
    }
    // Without openssl there is no RSA key, and the others do not need it.
    let mut command = tool("bench-runner", state.path()).unwrap();
    let output = run(command.env("PATH", "/nonexistent").args(["jwt", "--time", "100ms"])).unwrap();
    assert!(output.code == 2 && output.stderr.contains("leave RS256 out"), "{output}");
}

/// Results as criterion writes them: a hundred samples around so many nanoseconds.
fn results(root: &Path, name: &str, set: &str, nanoseconds: f64) {
    let directory = root.join(name).join(set);
    fs::create_dir_all(&directory).unwrap();
    let iters: Vec<f64> = (1..=100).map(|i| f64::from(i) * 10.0).collect();
    let noise = |i: usize| 1.0 + (i * 37 % 100) as f64 / 2000.0;
    let times: Vec<f64> = iters.iter().enumerate().map(|(i, count)| count * nanoseconds * noise(i)).collect();
    let sample = serde_json::json!({ "sampling_mode": "Linear", "iters": iters, "times": times });
    fs::write(directory.join("sample.json"), sample.to_string()).unwrap();
}

#[test]
fn a_slower_routine_is_told_from_noise() {
    let state = tempfile::tempdir().unwrap();
    let root = state.path().join("criterion");
    for (name, before, now) in
        [("HS256/sign", 1500.0, 1800.0), ("HS256/verify", 2500.0, 2510.0), ("fast/er", 90.0, 40.0)]
    {
        results(&root, name, "base", before);
        results(&root, name, "new", now);
    }
    results(&root, "alone", "new", 12.0);
    fs::create_dir_all(root.join("report")).unwrap();
    let output = bench(state.path(), &["micro", root.to_str().unwrap()]);
    assert_eq!(output.code, 2, "{output}");
    let all = records(&output.stdout).unwrap();
    let said = |subject: &str| {
        let found = all.iter().find(|record| record["subject"] == subject);
        found.unwrap_or_else(|| panic!("{subject}: {output}"))["data"]["message"].as_str().unwrap().to_owned()
    };
    assert!(said("HS256/sign").starts_with("slower") && said("HS256/sign").contains("+20.0 %"), "{output}");
    assert!(said("HS256/verify").starts_with("as before"), "{output}");
    assert!(said("fast/er").starts_with("faster") && said("alone").contains("nothing to compare"), "{output}");
    // What is tolerated is none; other sets have other names.
    let tolerant = bench(state.path(), &["micro", root.to_str().unwrap(), "--tolerance", "25%"]);
    assert_eq!(tolerant.code, 0, "{tolerant}");
    results(&root, "HS256/sign", "main", 1800.0);
    let output = bench(state.path(), &["micro", root.to_str().unwrap(), "--baseline", "main"]);
    assert_eq!(output.code, 0, "{output}");
    // A baseline that nobody saved is no comparison, and neither is criterion's own copy of the same run.
    let output = bench(state.path(), &["micro", root.to_str().unwrap(), "--baseline", "mian"]);
    assert!(output.code == 3 && output.stderr.contains("mian"), "{output}");
    let copy = state.path().join("copy");
    results(&copy, "HS256/sign", "new", 1500.0);
    results(&copy, "HS256/sign", "base", 1500.0);
    let output = bench(state.path(), &["micro", copy.to_str().unwrap()]);
    assert!(output.code == 0 && output.stdout.contains("both are the same run"), "{output}");
    // What cannot be read is named.
    fs::write(root.join("alone/new/sample.json"), r#"{"iters": [1.0], "times": []}"#).unwrap();
    let output = bench(state.path(), &["micro", root.to_str().unwrap()]);
    assert!(output.code == 3 && output.stderr.contains("alone/new/sample.json"), "{output}");
    let output = bench(state.path(), &["micro", state.path().join("nowhere").to_str().unwrap()]);
    assert!(output.code == 3 && output.stderr.contains("nowhere"), "{output}");
}
