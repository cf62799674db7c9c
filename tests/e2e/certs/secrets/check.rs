//! secrets check: what is wrong is found, and what is right is not complained about.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::fixture::{Bench, about};

const SPEC: &str = r#"
[secrets.good]
kind = "password"
max_age = "90d"
destinations = [{ env = "DIR/.env", key = "GOOD" }]

[secrets.other]
kind = "password"
destinations = [{ file = "DIR/other" }]

[secrets.typed]
kind = "password"
destinations = [{ file = "DIR/typed", mode = "0640" }]

[secrets.lost]
kind = "jwt-ed25519"
destinations = [{ file = "DIR/key.pem" }, { jwks = "DIR/jwks.json" }]
"#;

fn codes(bench: &Bench, name: &str) -> Vec<String> {
    let about = about(&bench.check(), name);
    about
        .iter()
        .map(|data| format!("{} {}", data["labels"]["code"].as_str().unwrap_or("-"), data["status"].as_str().unwrap()))
        .collect()
}

#[test]
fn what_was_made_here_is_fine_until_it_is_old() {
    let bench = Bench::new(SPEC);
    bench.generate();
    let output = bench.check();
    assert_eq!(output.code, 0, "{output}");
    let good = &about(&output, "good")[0];
    assert_eq!((&good["age_from"], &good["status"]), (&"note".into(), &"ok".into()));
    assert!(good["age_seconds"].as_f64().unwrap() < 600.0);
    let later = |days: i64| {
        let time = std::time::SystemTime::now() + std::time::Duration::from_secs(days as u64 * 86_400);
        let seconds = time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let date =
            testbed::run(std::process::Command::new("date").args(["-u", "+%FT%TZ", "-d", &format!("@{seconds}")]));
        bench.run(&["secrets", "check", &bench.spec_path(), "--at", date.unwrap().stdout.trim()])
    };
    let warned = later(100);
    assert_eq!(warned.code, 1, "{warned}");
    assert_eq!(about(&warned, "good")[0]["labels"]["code"], "too-old");
    assert_eq!(later(200).code, 2);
}

#[test]
fn what_is_wrong_has_a_code_each() {
    let bench = Bench::new(SPEC);
    assert_eq!(codes(&bench, "good"), ["missing critical"]);
    bench.generate();
    let mode = |name: &str, mode| fs::set_permissions(bench.app(name), Permissions::from_mode(mode)).unwrap();

    fs::write(bench.app("typed"), "changeme\n").unwrap();
    mode("typed", 0o644);
    assert_eq!(codes(&bench, "typed"), ["mode critical", "malformed warning", "placeholder critical"]);
    fs::write(bench.app("typed"), "Summer2026andthenSummer2027\n").unwrap();
    mode("typed", 0o600);
    assert_eq!(codes(&bench, "typed"), ["mode warning", "malformed warning"]);

    mode(".env", 0o640);
    assert_eq!(codes(&bench, "good"), ["mode warning"]);
    mode(".env", 0o600);
    fs::write(bench.app("other"), format!("{}\n", bench.env("GOOD"))).unwrap();
    assert_eq!(codes(&bench, "good"), ["reused critical"]);
    assert_eq!(codes(&bench, "other"), ["reused critical"]);

    fs::write(bench.app("jwks.json"), "{\"keys\": []}\n").unwrap();
    assert_eq!(codes(&bench, "lost"), ["missing critical"]);
    fs::write(bench.app("jwks.json"), "[]").unwrap();
    assert_eq!(codes(&bench, "lost"), ["differs critical"]);
    fs::remove_file(bench.app("key.pem")).unwrap();
    std::os::unix::fs::symlink("other", bench.app("key.pem")).unwrap();
    assert_eq!(codes(&bench, "lost"), ["unreadable critical"]);
}
