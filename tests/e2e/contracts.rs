//! What every program keeps, seen on the one that there is: exit codes, output formats, configuration, secrets, journal,
//! and documents that say what is true.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use testbed::{Output, Postgres, records, run, shared, tool};

fn state() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn maint(state: &tempfile::TempDir, url: &str, args: &[&str]) -> Output {
    run(tool("pg-maint", state.path()).unwrap().env("DATABASE_URL", url).args(args)).unwrap()
}

fn bare(state: &tempfile::TempDir, args: &[&str]) -> Output {
    run(tool("pg-maint", state.path()).unwrap().args(args)).unwrap()
}

/// A database with something to do.
fn needy(name: &str) -> (&'static Postgres, String) {
    let server = shared(15).unwrap();
    let db = server.fresh_db(name).unwrap();
    let sql = "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 5000); DELETE FROM t WHERE a % 2 = 0";
    server.psql(&db, sql).unwrap();
    (server, server.url(&db))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn a_mistake_on_the_command_line_is_unknown_and_not_critical() {
    let state = state();
    for args in
        [&["no-such-command"][..], &["plan", "--no-such-flag"], &["vacuum-analyze", "--max-duration", "soon"], &[]]
    {
        let output = bare(&state, args);
        assert_eq!(output.code, 3, "{args:?}: {output}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    for args in [&["--help"][..], &["--version"], &["plan", "--help"], &["completions", "bash"], &["man"]] {
        let output = bare(&state, args);
        assert_eq!(output.code, 0, "{args:?}: {output}");
        assert!(!output.stdout.is_empty());
    }
}

#[test]
fn completions_are_valid_shell() {
    let script = bare(&state(), &["completions", "bash"]).stdout;
    let output = testbed::run_fed(Command::new("bash").args(["-n", "-s"]), &script).unwrap();
    assert_eq!(output.code, 0, "{output}");
}

#[test]
fn configuration_is_strict_and_says_where_a_value_came_from() {
    let state = state();
    let config = state.path().join("maint.toml");
    std::fs::write(&config, "[pg-maint]\nlock_timeout = '3s'\njobz = 4\n").unwrap();
    let output = bare(&state, &["config", "show"]);
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stderr.contains("maint.toml:3: unknown key `jobz`") && output.stderr.contains("`jobs`"), "{output}");
    std::fs::write(&config, "[pg-maint]\nlock_timeout = '3s'\ndsn = 'postgres://u:hush@h/d'\n").unwrap();
    let output =
        run(tool("pg-maint", state.path()).unwrap().env("PG_MAINT_JOBS", "7").args(["config", "show", "-o", "ndjson"]))
            .unwrap();
    assert_eq!(output.code, 0, "{output}");
    let shown = records(&output.stdout).unwrap();
    let label = |key: &str, name: &str| {
        let record = shown.iter().find(|r| r["subject"] == format!("pg-maint.{key}")).unwrap();
        record["data"]["labels"][name].as_str().unwrap().to_owned()
    };
    assert_eq!((label("lock_timeout", "value").as_str(), label("jobs", "value").as_str()), ("3s", "7"));
    assert!(label("lock_timeout", "source").ends_with("maint.toml:2"));
    assert_eq!(label("jobs", "source"), "environment PG_MAINT_JOBS");
    assert_eq!(label("retries", "source"), "default");
    assert!(!output.stdout.contains("hush"), "{output}");
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o666)).unwrap();
    let output = bare(&state, &["config", "show"]);
    assert!(output.code == 3 && output.stderr.contains("others may write it"), "{output}");
}

#[test]
fn records_hold_to_the_schema_and_the_schema_holds_to_something() {
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(root().join("docs/records.schema.json")).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let (_, url) = needy("schema");
    let state = state();
    let mut seen = BTreeSet::new();
    for args in [
        &["plan"][..],
        &["vacuum-analyze", "--dry-run"],
        &["vacuum-analyze"],
        &["reindex-tables", "--every", "-n", "public"],
        &["update-statistics"],
        &["monitor-connections"],
        &["config", "show"],
        &["vacuum-analyze", "-t", "no_such_table"],
    ] {
        let mut args = args.to_vec();
        args.extend(["-o", "ndjson"]);
        let output = maint(&state, &url, &args);
        let all = records(&output.stdout).unwrap();
        for record in &all {
            let errors: Vec<String> = validator.iter_errors(record).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{errors:?}\n{record}");
            seen.insert(record["type"].as_str().unwrap().to_owned());
        }
        let summary = all.last().unwrap();
        assert_eq!(summary["type"], "maint.summary.v1");
        assert_eq!(summary["data"]["exit_code"], output.code, "{output}");
        assert!(all.iter().filter(|r| r["type"] == "maint.summary.v1").count() == 1);
    }
    assert!(seen.len() >= 5, "{seen:?}");
    let good = records(&maint(&state, &url, &["plan", "-o", "ndjson"]).stdout).unwrap().pop().unwrap();
    for spoil in ["/type", "/data/status", "/data/exit_code", "/id", "/time"] {
        let mut bad = good.clone();
        *bad.pointer_mut(spoil).unwrap() = "nonsense".into();
        assert!(!validator.is_valid(&bad), "{spoil}");
    }
}

#[test]
fn json_is_an_array_and_nagios_is_a_line() {
    let (_, url) = needy("formats");
    let state = state();
    let output = maint(&state, &url, &["plan", "-o", "json"]);
    let array: Vec<Value> = serde_json::from_str(&output.stdout).unwrap();
    assert!(array.len() > 1);
    let output = maint(&state, &url, &["monitor-connections", "-o", "nagios"]);
    assert_eq!(output.stdout.lines().count(), 1, "{output}");
    let (text, perf) = output.stdout.trim().split_once(" | ").unwrap();
    assert!(text.starts_with("PG-MAINT OK - "), "{text}");
    assert!(perf.contains("'server used_ratio'=0.") && perf.contains(";0.7;0.9"), "{perf}");
}

#[test]
fn prometheus_text_is_what_a_strict_reader_takes() {
    let (_, url) = needy("prometheus");
    let output = maint(&state(), &url, &["monitor-connections", "-o", "prometheus"]);
    let (mut typed, mut series) = (BTreeSet::new(), BTreeSet::new());
    for line in output.stdout.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(typed.insert(rest.split(' ').next().unwrap().to_owned()), "typed twice: {line}");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap();
        let family = name.split('{').next().unwrap();
        assert!(typed.contains(family), "no TYPE before {line}");
        assert!(family.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{line}");
        assert!(!name.ends_with(' ') && name.split('}').count() <= 2, "a timestamp? {line}");
        assert!(series.insert(name.to_owned()), "twice: {line}");
    }
    assert!(series.iter().any(|name| name.starts_with("pg_maint_monitor_connections_used_ratio{subject=\"server\"}")));
}

#[test]
fn a_secret_shows_nowhere() {
    let server = Postgres::builder(15).auth_password("hush-hush").start().unwrap();
    server.psql("postgres", "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 5000)").unwrap();
    let state = state();
    let url = server.url_as("postgres", "hush-hush", "postgres");
    let wrong = server.url_as("postgres", "hush-wrong", "postgres");
    for url in [&url, &wrong] {
        for args in [
            &["plan", "-vvv"][..],
            &["vacuum-analyze", "-vvv", "-o", "ndjson"],
            &["config", "show"],
            &["apply", "/nonexistent"],
        ] {
            let output = maint(&state, url, args);
            assert!(!output.stdout.contains("hush") && !output.stderr.contains("hush"), "{args:?}: {output}");
        }
    }
    let journal = std::fs::read_to_string(state.path().join("journal/journal.ndjson")).unwrap();
    assert!(journal.contains("public.t") && !journal.contains("hush"));
}

#[test]
fn a_closed_pipe_is_quiet_and_a_full_disk_is_not() {
    let (_, url) = needy("pipes");
    let state = state();
    let program = tool("pg-maint", state.path()).unwrap().get_program().to_owned();
    let script = r#""$0" plan -o ndjson | head -c 1 >/dev/null; echo "${PIPESTATUS[0]}""#;
    let output = run(Command::new("bash")
        .arg("-c")
        .arg(script)
        .arg(&program)
        .env("DATABASE_URL", &url)
        .env("MAINT_STATE_DIR", state.path()))
    .unwrap();
    assert_eq!(output.stdout.trim(), "0", "{output}");
    assert!(output.stderr.is_empty(), "{output}");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = tool("pg-maint", state.path()).unwrap();
    let child = command.env("DATABASE_URL", &url).args(["plan"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("cannot write to stdout") && !stderr.contains("panicked"), "{stderr}");
}

#[test]
fn what_is_not_a_terminal_gets_no_escape_codes() {
    let (_, url) = needy("colour");
    let output = maint(&state(), &url, &["vacuum-analyze"]);
    assert!(!output.stdout.contains('\u{1b}') && !output.stderr.contains('\u{1b}'), "{output}");
}

#[test]
fn every_change_is_in_the_journal_and_a_changed_byte_is_found() {
    let (_, url) = needy("journal");
    let state = state();
    let output = maint(&state, &url, &["vacuum-analyze", "-n", "public", "-o", "ndjson"]);
    assert_eq!(output.code, 0, "{output}");
    let path = state.path().join("journal/journal.ndjson");
    let written = maint_core::journal::verify(&path).unwrap().lines;
    assert_eq!(written, output.stdout.lines().count() as u64);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("vacuumed", "vacuumeD", 1)).unwrap();
    assert!(maint_core::journal::verify(&path).is_err());
}

#[test]
fn without_a_journal_nothing_is_changed() {
    let (server, url) = needy("unwritable");
    let state = state();
    std::fs::write(state.path().join("journal"), "a file where a directory should be").unwrap();
    let output = maint(&state, &url, &["vacuum-analyze", "-n", "public"]);
    assert_eq!(output.code, 3, "{output}");
    let db = url.rsplit('/').next().unwrap();
    assert_eq!(server.psql(db, "SELECT sum(vacuum_count) FROM pg_stat_user_tables").unwrap().trim(), "0");
}

#[test]
fn the_table_of_commands_claims_only_what_there_is() {
    let text = std::fs::read_to_string(root().join("docs/commands.md")).unwrap();
    let mut scripts = BTreeSet::new();
    let mut working = 0;
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.contains("| command |")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [script, command, claim] = cells[..] else { panic!("three columns: {line}") };
        assert!(scripts.insert(script.to_owned()), "twice: {script}");
        let words: Vec<&str> = command.trim_matches('`').split(' ').collect();
        match claim {
            "planned" => continue,
            "works" => working += 1,
            other => panic!("{other}: {line}"),
        }
        let state = state();
        let (program, subcommand) =
            if words[..2] == ["cargo", "xtask"] { ("xtask", words[2]) } else { (words[0], words[1]) };
        let output = run(tool(program, state.path()).unwrap().args([subcommand, "--help"])).unwrap();
        assert_eq!(output.code, 0, "{line}: {output}");
        if let (Some(script), true) = (script.strip_suffix(".sh"), program != "xtask") {
            let base = script.rsplit('/').next().unwrap();
            let output = run(tool(program, state.path()).unwrap().args([base, "--help"])).unwrap();
            assert_eq!(output.code, 0, "the script's own name is accepted: {line}");
        }
    }
    assert!(working >= 6 && scripts.len() > 80, "{working} of {}", scripts.len());
}

#[test]
fn the_week_runs_the_built_programs_and_a_missing_one_is_never_ok() {
    let (server, url) = needy("week");
    let state = state();
    let bin = PathBuf::from(tool("pg-maint", state.path()).unwrap().get_program()).parent().unwrap().to_owned();
    let week = |args: &[&str]| {
        let mut command = tool("xtask", state.path()).unwrap();
        run(command
            .env("DATABASE_URL", &url)
            .args(["weekly", "--day", "tuesday", "-o", "ndjson", "--bin-dir"])
            .arg(&bin)
            .args(args))
        .unwrap()
    };
    let output = week(&["--dry-run"]);
    assert_eq!(output.code, 3, "{output}");
    let db = url.rsplit('/').next().unwrap();
    assert_eq!(server.psql(db, "SELECT sum(vacuum_count) FROM pg_stat_user_tables").unwrap().trim(), "0");
    let output = week(&[]);
    assert_eq!(output.code, 3, "{output}");
    let all = records(&output.stdout).unwrap();
    let step =
        |subject: &str| all.iter().find(|r| r["subject"] == subject).unwrap()["data"]["status"].as_str().unwrap();
    assert_eq!(step("tuesday/pg-maint vacuum-analyze"), "ok");
    assert_eq!(step("tuesday/backup-tool validate-backups"), "not-built");
    assert!(
        all.iter().any(|r| r["subject"] == "public.t" && r["data"]["action"] == "vacuum"),
        "the program's own records"
    );
    assert_eq!(server.psql(db, "SELECT sum(vacuum_count) FROM pg_stat_user_tables").unwrap().trim(), "1");
    maint_core::journal::verify(&state.path().join("journal/journal.ndjson")).unwrap();

    let dir = state.path().join("out");
    let output = run(tool("xtask", state.path()).unwrap().args(["report", "--dir"]).arg(&dir)).unwrap();
    assert_eq!(output.code, 0, "{output}");
    let html = std::fs::read_to_string(dir.join("report.html")).unwrap();
    assert!(html.contains("public.t") && !html.contains("<script") && !html.contains("http-equiv"));
    assert!(std::fs::read_to_string(dir.join("report.md")).unwrap().contains("public.t"));
}
