//! The weekly routine and its report: built programs started as a cron job would start them.

use std::path::PathBuf;

use testbed::{Postgres, Redis, RedisVersion, records, run, shared, tool};

fn state() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A database with something to do.
fn needy(name: &str) -> (&'static Postgres, String) {
    let server = shared(15).unwrap();
    let db = server.fresh_db(name).unwrap();
    let sql = "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 5000); DELETE FROM t WHERE a % 2 = 0";
    server.psql(&db, sql).unwrap();
    (server, server.url(&db))
}

#[test]
fn the_week_runs_the_built_programs() {
    let (server, url) = needy("week");
    let state = state();
    let bin = PathBuf::from(tool("pg-maint", state.path()).unwrap().get_program()).parent().unwrap().to_owned();
    let cache = Redis::start(RedisVersion::V7_0).unwrap();
    cache.call(&["SET", "cache:1", "x"]).unwrap();
    cache.call(&["SET", "session:1", "x"]).unwrap();
    cache.call(&["SET", "user:1", "x"]).unwrap();
    let policy = state.path().join("policy.toml");
    let rules = "[[rule]]\nmatch = \"cache:*\"\n[[rule]]\nmatch = \"session:*\"\nttl = \"1h\"\n";
    std::fs::write(&policy, rules).unwrap();
    let config = state.path().join("maint.toml");
    let repository = state.path().join("repository");
    let password = state.path().join("password");
    maint_core::durable::replace(&password, b"of the week", 0o600).unwrap();
    let text = format!(
        "[redis-maint]\ncleanup_policy = {policy:?}\nexpire_policy = {policy:?}\n\
         [backup-tool]\ndsn = {url:?}\nrepository = {repository:?}\npassword_file = {password:?}\npgdata = {:?}\n",
        server.data_dir()
    );
    std::fs::write(&config, text).unwrap();
    for command in ["init", "full-backup"] {
        let output = run(tool("backup-tool", state.path()).unwrap().arg("--config").arg(&config).arg(command)).unwrap();
        assert_eq!(output.code, 0, "{output}");
    }
    let week = |args: &[&str]| {
        let mut command = tool("xtask", state.path()).unwrap();
        run(command
            .env("DATABASE_URL", &url)
            .env("REDIS_URL", cache.url())
            .arg("--config")
            .arg(&config)
            .args(["weekly", "--day", "tuesday", "-o", "ndjson", "--bin-dir"])
            .arg(&bin)
            .args(args))
        .unwrap()
    };
    let output = week(&["--dry-run"]);
    assert_eq!(output.code, 0, "{output}");
    let db = url.rsplit('/').next().unwrap();
    assert_eq!(server.psql(db, "SELECT sum(vacuum_count) FROM pg_stat_user_tables").unwrap().trim(), "0");
    let output = week(&[]);
    assert_eq!(output.code, 0, "{output}");
    let all = records(&output.stdout).unwrap();
    let step =
        |subject: &str| all.iter().find(|r| r["subject"] == subject).unwrap()["data"]["status"].as_str().unwrap();
    assert_eq!(step("tuesday/pg-maint vacuum-analyze"), "ok");
    assert_eq!(step("tuesday/redis-maint cache-cleanup"), "ok");
    assert_eq!(step("tuesday/redis-maint expire-keys"), "ok");
    assert_eq!(cache.dbsize().unwrap(), 2);
    assert!(cache.call(&["TTL", "session:1"]).unwrap().int().unwrap() > 3000);
    assert_eq!(step("tuesday/backup-tool validate-backups"), "ok");
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

#[test]
fn wednesday_tells_which_certificates_are_due() {
    let state = state();
    let dir = state.path();
    let config = dir.join("maint.toml");
    let authority = dir.join("authority");
    let text = format!(
        "[cert-rotate]\ndirectory = {:?}\n\
         [cert-rotate.issuers.ours]\nkind = \"ca\"\ndirectory = {authority:?}\nauthority = \"servers\"\n\
         [cert-rotate.certs.shop]\nnames = [\"shop.example.test\"]\nissuer = \"ours\"\n",
        dir.join("certs")
    );
    std::fs::write(&config, &text).unwrap();
    let certs = |args: &[&str]| {
        let output = run(tool("cert-rotate", dir).unwrap().arg("--config").arg(&config).args(args)).unwrap();
        assert_eq!(output.code, 0, "{output}");
    };
    let bin = PathBuf::from(tool("cert-rotate", dir).unwrap().get_program()).parent().unwrap().to_owned();
    let path = authority.to_str().unwrap();
    certs(&["ca", "init", path, "--unencrypted", "--yes"]);
    certs(&["ca", "intermediate", path, "servers", "--permit", "example.test", "--unencrypted", "--yes"]);
    let step = || {
        let mut week = tool("xtask", dir).unwrap();
        week.arg("--config").arg(&config).args(["weekly", "--day", "wednesday", "-o", "ndjson", "--bin-dir"]).arg(&bin);
        let output = run(&mut week).unwrap();
        let all = records(&output.stdout).unwrap();
        let step = all.iter().find(|r| r["subject"] == "wednesday/cert-rotate check-renewal");
        step.unwrap_or_else(|| panic!("{output}"))["data"]["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(step(), "warning", "configured, and never issued");
    certs(&["rotate", "shop"]);
    assert_eq!(step(), "ok");
}

#[test]
fn a_step_whose_program_does_not_exist_is_never_ok() {
    let state = state();
    let routines = state.path().join("routines.toml");
    let text =
        "[weekly.monday]\ntitle = 't'\n[[weekly.monday.step]]\ncommand = ['no-such-tool', 'look']\ntimeout = '1m'\n";
    std::fs::write(&routines, text).unwrap();
    let args = ["weekly", "--day", "monday", "-o", "ndjson", "--routines"];
    let output = run(tool("xtask", state.path()).unwrap().args(args).arg(&routines)).unwrap();
    assert_eq!(output.code, 3, "{output}");
    let all = records(&output.stdout).unwrap();
    assert_eq!(all[0]["data"]["status"], "not-built");
}

#[test]
fn the_fifteenth_of_the_month_tests_a_restore() {
    let state = state();
    let args = ["monthly", "--day", "15", "--dry-run", "-o", "ndjson"];
    let output = run(tool("xtask", state.path()).unwrap().args(args)).unwrap();
    let all = records(&output.stdout).unwrap();
    assert!(all.iter().any(|r| r["subject"] == "15/backup-tool test-restore"), "{output}");
    let output = run(tool("xtask", state.path()).unwrap().args(["monthly", "--day", "2"])).unwrap();
    assert_eq!(output.code, 3, "{output}");
}
