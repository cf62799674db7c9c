//! maint.toml, the environment and flags: what wins, and how a mistake is named.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use testbed::{Output, records, run};

use super::{Place, pg_maint};

/// The value and source that `config show` gives for a key, as in a run of `-o ndjson config show`.
fn shown(out: &Output, key: &str) -> (String, String) {
    assert_eq!(out.code, 0, "{out}");
    let all = records(&out.stdout).unwrap();
    let record = all.iter().find(|record| record["subject"] == key).unwrap_or_else(|| panic!("no {key}: {out}"));
    let label = |name: &str| record["data"]["labels"][name].as_str().unwrap_or_default().to_owned();
    (label("value"), label("source"))
}

#[test]
fn an_unknown_key_is_named_with_file_line_and_its_nearest_relative() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("maint.toml");
    for (text, line, words) in [
        ("[pg-maint]\njobs = 3\nlock_timout = \"1s\"\n", 3, ["lock_timout", "lock_timeout"]),
        ("\n[maint]\nwindows = \"x\"\n", 3, ["windows", "window"]),
        ("[pg-mint]\n", 1, ["pg-mint", "pg-maint"]),
    ] {
        fs::write(&file, text).unwrap();
        for command in ["plan", "vacuum-analyze", "monitor-connections"] {
            let out = run(&mut pg_maint(dir.path(), &[command])).unwrap();
            assert_eq!(out.code, 3, "{out}");
            assert!(out.stderr.contains(&format!("{}:{line}:", file.display())), "{out}");
            assert!(words.iter().all(|word| out.stderr.contains(&format!("`{word}`")) || text.len() < 15), "{out}");
        }
        let out = run(&mut pg_maint(dir.path(), &["config", "show"])).unwrap();
        assert_eq!(out.code, 3, "{out}");
    }
}

#[test]
fn a_value_that_does_not_fit_is_named_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("maint.toml");
    for line in
        ["jobs = 0", "jobs = [1, 2]", "bloat = \"lots\"", "lock_timeout = \"soon\"", "jobs = 1979-05-27", "jobs ="]
    {
        fs::write(&file, format!("[pg-maint]\n{line}\n")).unwrap();
        let out = run(&mut pg_maint(dir.path(), &["config", "show"])).unwrap();
        assert_eq!(out.code, 3, "{line}: {out}");
        assert!(out.stderr.contains(&format!("{}:2:", file.display())), "{line}: {out}");
    }
}

#[test]
fn the_section_of_another_tool_is_not_judged() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("maint.toml"), "[redis-maint]\nanything = 1\n[pg-maint]\njobs = 7\n").unwrap();
    let out = run(&mut pg_maint(dir.path(), &["-o", "ndjson", "config", "show"])).unwrap();
    assert_eq!(shown(&out, "pg-maint.jobs").0, "7");
}

#[test]
fn a_file_that_others_may_write_is_refused_by_name_and_only_when_it_was_found() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("maint.toml");
    fs::write(&file, "[pg-maint]\njobs = 5\n").unwrap();
    for mode in [0o666, 0o664, 0o646] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let out = run(&mut pg_maint(dir.path(), &["config", "show"])).unwrap();
        assert_eq!(out.code, 3, "{mode:o}: {out}");
        assert!(out.stderr.contains(file.to_str().unwrap()) && out.stderr.contains("chmod"), "{out}");
    }
    let named = file.to_str().unwrap();
    let out = run(&mut pg_maint(dir.path(), &["--config", named, "-o", "ndjson", "config", "show"])).unwrap();
    assert_eq!(shown(&out, "pg-maint.jobs").0, "5");
}

#[test]
fn config_show_gives_value_and_source_and_hides_the_password() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("maint.toml");
    for dsn in [
        "postgres://maint:very-secret-word@db.example:5433/shop",
        "host=db.example password=very-secret-word user=maint",
        "host=db.example password='very-secret-word' user=maint",
        "postgres://db.example/shop?user=maint&password=very-secret-word",
    ] {
        fs::write(&file, format!("[pg-maint]\ndsn = \"{dsn}\"\njobs = 3\n")).unwrap();
        let mut command = pg_maint(dir.path(), &["-o", "ndjson", "config", "show"]);
        let out = run(command.env("PG_MAINT_LOCK_TIMEOUT", "9s")).unwrap();
        let path = file.display();
        assert_eq!(shown(&out, "pg-maint.jobs"), ("3".into(), format!("{path}:3")));
        assert_eq!(shown(&out, "pg-maint.lock_timeout"), ("9s".into(), "environment PG_MAINT_LOCK_TIMEOUT".into()));
        assert_eq!(shown(&out, "pg-maint.min_score"), ("1".into(), "default".into()));
        let (value, source) = shown(&out, "pg-maint.dsn");
        assert_eq!(source, format!("{path}:2"));
        assert!(value.contains("db.example") && value.contains("[redacted]"), "{value}");
        assert!(!out.to_string().contains("very-secret"), "{out}");
    }
}

#[test]
fn the_environment_wins_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("maint.toml"), "[pg-maint]\ndsn = \"postgres://from-file/x\"\njobs = 3\n").unwrap();
    let mut command = pg_maint(dir.path(), &["-o", "ndjson", "config", "show"]);
    let out = run(command.env("PG_MAINT_JOBS", "4").env("DATABASE_URL", "postgres://from-env/x")).unwrap();
    assert_eq!(shown(&out, "pg-maint.jobs"), ("4".into(), "environment PG_MAINT_JOBS".into()));
    assert_eq!(shown(&out, "pg-maint.dsn"), ("postgres://from-env/x".into(), "environment DATABASE_URL".into()));
    let mut command = pg_maint(dir.path(), &["-o", "ndjson", "config", "show"]);
    let out = run(command.env("PG_MAINT_JOBS", "")).unwrap();
    assert_eq!(shown(&out, "pg-maint.jobs").0, "3", "an empty variable is not set");
}

#[test]
fn a_connection_comes_from_the_flag_then_the_environment_then_the_file() {
    let place = Place::new("precedence");
    let good = place.server.url(&place.db);
    let bad = "postgres://u@127.0.0.1:1/nowhere";
    let file = place.dir().join("maint.toml");
    let code = |in_file: &str, env: Option<&str>, flag: Option<&str>| {
        fs::write(&file, format!("[pg-maint]\ndsn = \"{in_file}\"\n")).unwrap();
        let mut command = pg_maint(place.dir(), &["-q", "plan"]);
        command.args(flag.map(|dsn| format!("--dsn={dsn}")));
        command.envs(env.map(|dsn| ("DATABASE_URL", dsn)));
        run(&mut command).unwrap().code
    };
    assert_eq!(code(&good, None, None), 0);
    assert_eq!(code(bad, None, None), 2);
    assert_eq!(code(bad, Some(&good), None), 0);
    assert_eq!(code(bad, Some(bad), Some(&good)), 0);
    assert_eq!(code(&good, Some(&good), Some(bad)), 2);
}

#[test]
fn a_limit_comes_from_the_flag_then_the_environment_then_the_file() {
    let place = Place::new("flags");
    let judged = |file: Option<&str>, flag: Option<&str>| -> Value {
        let path = place.dir().join("maint.toml");
        match file {
            Some(value) => fs::write(&path, format!("[pg-maint]\nconnections_warning = \"{value}\"\n")).unwrap(),
            None => drop(fs::remove_file(&path)),
        }
        let mut command = place.pg_maint(&["monitor-connections", "-o", "ndjson"]);
        let out = run(command.args(flag.map(|value| format!("--warning={value}")))).unwrap();
        let all = records(&out.stdout).unwrap();
        all[0]["data"]["limits"]["used_ratio"]["warning"].clone()
    };
    assert_eq!(judged(None, None), "0.7");
    assert_eq!(judged(Some("60%"), None), "0.6");
    assert_eq!(judged(Some("60%"), Some("50%")), "0.5");
}
