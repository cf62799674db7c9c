//! generate-secrets: makes what lacks, replaces nothing, tells nothing, and is nobody else's to read at any moment.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::atomic::{AtomicBool, Ordering};

use testbed::{Output, run};

use super::fixture::{Bench, about, ended};

const SPEC: &str = r#"
[secrets.session]
kind = "hex"
destinations = [{ env = "DIR/.env", key = "SESSION_KEY" }, { docker_secret = "DIR/session" }]

[secrets.database]
kind = "pg-scram"
destinations = [{ env = "DIR/.env", key = "DB_PASSWORD" }, { file = "DIR/verifier", form = "verifier" }]

[secrets.cache]
kind = "redis-acl-sha256"
length = 40
classes = ["lower", "digit", "symbol"]
destinations = [{ file = "DIR/cache" }, { file = "DIR/cache.acl", form = "verifier" }]

[secrets.api]
kind = "base64"
bytes = 48
destinations = [{ file = "DIR/api", mode = "0640" }]

[secrets.client]
kind = "uuid"
destinations = [{ file = "DIR/client" }]

[secrets.raw]
kind = "random"
bytes = 64
destinations = [{ file = "DIR/raw" }]

[secrets.tokens]
kind = "jwt-rsa"
bits = 2048
destinations = [{ file = "DIR/rsa.pem" }, { jwks = "DIR/rsa.json" }]
"#;

const NAMES: [&str; 7] = ["api", "cache", "client", "database", "raw", "session", "tokens"];

const ENV: &str =
    "# the application\r\nLEVEL=info # or debug\n\nexport  NAME = \"two\nSESSION_KEY=no\n\"\nSESSION_KEY=\nLAST=1";

fn content(bench: &Bench) -> Vec<(std::path::PathBuf, Vec<u8>, i64)> {
    let mut all: Vec<_> = testbed::files(&bench.path("app"))
        .into_iter()
        .map(|path| {
            let meta = fs::metadata(&path).unwrap();
            (path.clone(), fs::read(&path).unwrap(), meta.mtime_nsec())
        })
        .collect();
    all.sort();
    all
}

fn all_are(output: &Output, code: i32, status: &str) {
    assert_eq!(output.code, code, "{output}");
    for name in NAMES {
        let about = about(output, name);
        assert_eq!((about.len(), &about[0]["status"]), (1, &status.into()), "{name}: {output}");
    }
}

#[test]
fn what_lacks_is_made_once_and_never_replaced() {
    let bench = Bench::new(SPEC);
    fs::write(bench.app(".env"), ENV).unwrap();
    let before = content(&bench);
    all_are(&bench.run(&["generate-secrets", &bench.spec_path(), "--dry-run"]), 0, "planned");
    assert_eq!(content(&bench), before, "a dry run changed something");

    let made = bench.generate();
    all_are(&made, 0, "ok");
    for name in NAMES {
        let fingerprint = about(&made, name)[0]["fingerprint"].as_str().unwrap().to_owned();
        assert!(fingerprint.starts_with(if name == "tokens" { "kid:" } else { "hmac:" }), "{fingerprint}");
    }
    let (session, password) = (bench.read("session"), bench.env("DB_PASSWORD"));
    let expected = ENV.replace("SESSION_KEY=\n", &format!("SESSION_KEY={session}\n"));
    // New lines end as the file's lines do, and those that were there are the same, byte for byte.
    assert_eq!(bench.read(".env"), format!("{expected}\r\nDB_PASSWORD={password}\r\n"));
    assert_eq!((session.len(), password.len()), (64, 32));
    assert_eq!(bench.read("cache").len(), 41);
    assert_eq!(fs::metadata(bench.app("raw")).unwrap().len(), 64);
    let hash =
        run(std::process::Command::new("sh").args(["-c", "tr -d '\\n' <\"$0\" | sha256sum"]).arg(bench.app("cache")));
    assert_eq!(bench.read("cache.acl").trim(), format!("#{}", &hash.unwrap().stdout[..64]));

    let whole = content(&bench);
    let again = bench.generate();
    all_are(&again, 0, "ok");
    assert_eq!(content(&bench), whole, "a second run changed something");
    for name in NAMES {
        assert_eq!(about(&made, name)[0]["fingerprint"], about(&again, name)[0]["fingerprint"]);
    }
    bench.is_at_rest();
}

#[test]
fn what_is_lost_in_one_place_is_put_there_again() {
    let bench = Bench::new(SPEC);
    bench.generate();
    let whole = content(&bench);
    for name in ["session", "rsa.json", "cache.acl"] {
        fs::remove_file(bench.app(name)).unwrap();
    }
    all_are(&bench.generate(), 0, "ok");
    let texts =
        |all: Vec<(std::path::PathBuf, Vec<u8>, i64)>| all.into_iter().map(|(p, b, _)| (p, b)).collect::<Vec<_>>();
    assert_eq!(texts(content(&bench)), texts(whole));
}

#[test]
fn places_that_differ_are_refused_by_name_and_left_alone() {
    let bench = Bench::new(SPEC);
    bench.generate();
    fs::write(bench.app("session"), "somebody-elses-secret-value").unwrap();
    fs::write(bench.app("verifier"), "SCRAM-SHA-256$4096:YQ==$YQ==:YQ==\n").unwrap();
    fs::remove_file(bench.app("client")).unwrap();
    let before = bench.read(".env");
    let output = bench.generate();
    let session = about(&output, "session").remove(0);
    assert_eq!((output.code, &session["status"]), (2, &"failed".into()), "{output}");
    let message = session["message"].as_str().unwrap();
    assert!(message.contains("SESSION_KEY in ") && message.contains("/session have different values"), "{message}");
    assert_eq!(about(&output, "database")[0]["status"], "failed");
    assert_eq!(about(&output, "client")[0]["status"], "ok", "the others are made all the same");
    assert_eq!(bench.read(".env"), before);
    assert_eq!(bench.read("session"), "somebody-elses-secret-value");
}

#[test]
fn nobody_else_can_read_a_secret_at_any_moment() {
    let bench = Bench::new(SPEC);
    let (dir, stop) = (bench.path("app"), AtomicBool::new(false));
    let mut looks = 0_u64;
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut wide, mut looks) = (Vec::new(), 0_u64);
            while !stop.load(Ordering::Relaxed) {
                looks += 1;
                for entry in fs::read_dir(&dir).unwrap().flatten() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    let Ok(meta) = entry.metadata() else { continue };
                    // The JWKS is public, and one secret is for a group.
                    let allowed = if name.contains("json") {
                        0o044
                    } else if name.contains("api") {
                        0o040
                    } else {
                        0
                    };
                    if meta.mode() & 0o077 & !allowed != 0 {
                        wide.push(format!("{name} {:o}", meta.mode()));
                    }
                }
            }
            (wide, looks)
        });
        for _ in 0..8 {
            // Nothing of the mode may come from the umask.
            let mut command = std::process::Command::new("sh");
            command.args(["-c", "umask 000; exec \"$@\"", "sh"]);
            let tool = bench.command(&["generate-secrets", &bench.spec_path()]);
            command.arg(tool.get_program()).args(tool.get_args()).env("MAINT_STATE_DIR", bench.path("state"));
            let output = run(&mut command).unwrap();
            assert_eq!(output.code, 0, "{output}");
            for path in testbed::files(&bench.path("app")) {
                fs::remove_file(path).unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
        let (wide, seen) = watcher.join().unwrap();
        assert!(wide.is_empty(), "{wide:?}");
        looks = seen;
    });
    assert!(looks > 1000, "only {looks} looks");
}

#[test]
fn owner_group_and_mode_are_those_asked_for() {
    let bench = Bench::new(
        "[secrets.a]\nkind = \"uuid\"\ndestinations = [{ file = \"DIR/a\", owner = \"nobody\", group = \"65534\", mode = \"0440\" }]\n",
    );
    ended(&bench.generate(), 0, "a", "ok");
    let meta = fs::metadata(bench.app("a")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (65534, 65534, 0o440));
}

#[test]
fn killed_anywhere_the_next_run_completes_the_same_secret() {
    for at in ["generate-made", "secret-staged", "secret-placed:1", "secret-placed:2", "secret-placed:3"] {
        let bench = Bench::new(
            "[secrets.a]\nkind = \"hex\"\ndestinations = [{ file = \"DIR/a\" }, { env = \"DIR/.env\", key = \"A\" }, \
             { docker_secret = \"DIR/b\" }]\n",
        );
        fs::write(bench.app(".env"), "B=1\n").unwrap();
        let killed = bench.run_with(&["generate-secrets", &bench.spec_path()], &[("MAINT_KILL_AT", at)]);
        assert_eq!(killed.code, 137, "{at}: {killed}");
        let first = fs::read_to_string(bench.app("a")).ok();
        ended(&bench.generate(), 0, "a", "ok");
        let value = bench.env("A");
        assert_eq!(bench.read("b"), value, "{at}");
        assert_eq!(bench.read("a").trim(), value, "{at}");
        assert!(first.is_none_or(|first| first.trim() == value), "{at}: a secret was replaced");
        bench.is_at_rest();
    }
}

#[test]
fn a_specification_that_does_not_hold_is_refused_with_its_line() {
    let bench = Bench::new("[secrets.a]\nkind = \"hex\"\nbyte = 3\ndestinations = []\n");
    let output = bench.generate();
    assert_eq!(output.code, 3, "{output}");
    assert!(
        output.stderr.contains("secrets.toml:3: unknown key `byte`") && output.stderr.contains("`bytes`"),
        "{output}"
    );
    bench.spec("[secrets.a]\nkind = \"hex\"\ndestinations = [{ file = \"DIR/a\" }]\n");
    fs::set_permissions(bench.path("secrets.toml"), Permissions::from_mode(0o666)).unwrap();
    let output = bench.generate();
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stderr.contains("others may write it"), "{output}");
    assert!(!bench.app("a").exists());
}
