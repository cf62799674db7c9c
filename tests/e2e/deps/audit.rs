//! security-audit, why, diff and db: real cargo, a registry on this machine, real lock files with a peer's recorded answer.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testbed::{records, run, run_fed, tool};

use super::update_world::{World, of_kind};

/// The findings: id, crate, version, and what is said of the rest.
fn findings(records: &[Value]) -> Vec<&Value> {
    of_kind(records, "finding").into_iter().map(|record| &record["data"]).collect()
}

fn finding<'a>(records: &'a [Value], id: &str) -> &'a Value {
    findings(records).into_iter().find(|data| data["id"] == id).unwrap_or_else(|| panic!("{id}: {records:#?}"))
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/locks")
}

#[test]
fn the_answer_is_that_of_cargo_audit() {
    let recorded: Value = serde_json::from_str(&fs::read_to_string(fixtures().join("recorded.json")).unwrap()).unwrap();
    let mut databases = vec![fixtures().join("advisories")];
    // The whole database is data that is not part of the repository.
    let whole = std::env::var_os("MAINT_ADVISORY_DB").map(PathBuf::from);
    let whole =
        whole.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/advisory-db.tar.zst"));
    if whole.exists() {
        databases.push(whole);
    } else {
        eprintln!("NOT RUN with the whole advisory database: {} is not there (MAINT_ADVISORY_DB)", whole.display());
    }
    for database in databases {
        for (name, expected) in recorded.as_object().unwrap() {
            let state = tempfile::tempdir().unwrap();
            let lock = fixtures().join(format!("{name}.lock"));
            // The few advisories are as old as they are.
            let config = state.path().join("maint.toml");
            fs::write(&config, "[dep-audit]\nmax_db_age = \"1000d\"\nfail_db_age = \"1000d\"\n").unwrap();
            let mut command = tool("dep-audit", state.path()).unwrap();
            command
                .args(["--now", "2026-08-22T00:00:00Z", "-o", "ndjson", "--db"])
                .arg(&database)
                .current_dir(state.path());
            let output = run(command.arg("security-audit").arg(&lock)).unwrap();
            let all = records(&output.stdout).unwrap();
            let found: BTreeSet<[String; 3]> = findings(&all)
                .into_iter()
                .filter(|data| data["id"] != "")
                .map(|data| ["id", "crate", "version"].map(|field| data[field].as_str().unwrap().to_owned()))
                .collect();
            let expected: BTreeSet<[String; 3]> = serde_json::from_value(expected.clone()).unwrap();
            assert_eq!(found, expected, "{name} by {}", database.display());
            assert_eq!(output.code, 2, "{output}");
            // The sum of what is said is all that there is.
            let sum = all.iter().find(|record| record["data"]["advisories"].is_u64()).unwrap();
            assert_eq!(sum["data"]["advisories"], found.len());
            let text = fs::read_to_string(&lock).unwrap();
            for data in findings(&all) {
                let line = usize::try_from(data["line"].as_u64().unwrap()).unwrap();
                let named = format!("name = {}", data["crate"]);
                assert_eq!(text.lines().nth(line - 1), Some("[[package]]"), "{data}");
                assert_eq!(text.lines().nth(line), Some(named.as_str()), "{data}");
            }
        }
    }
}

/// `app` builds `used`, has `optional` behind a feature and `elsewhere-only` for another platform; `dead` stays in the lock
/// file although nothing asks for it.
fn tiers() -> World {
    let world = World::new();
    for name in ["used", "optional", "abroad"] {
        world.publish(name, "1.0.0", &[]);
        world.advisory(&format!("RUSTSEC-2026-{}", 100 + name.len()), name, "patched = [\">= 2.0.0\"]");
    }
    world.need(&["used 1"]);
    let manifest = world.path("app/Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap()
        + "optional = { version = \"1\", optional = true }\n[target.'cfg(windows)'.dependencies]\nabroad = \"1\"\n";
    fs::write(manifest, text).unwrap();
    world.cargo(&["generate-lockfile"]);
    world.cargo(&["fetch"]);
    world
}

#[test]
fn how_far_a_package_is_used_decides_how_urgent_it_is() {
    let world = tiers();
    let (output, records) = world.run(&["security-audit"]);
    assert_eq!(output.code, 2, "{output}");
    let tier = |name: &str| {
        let data = finding(&records, &format!("RUSTSEC-2026-{}", 100 + name.len()));
        (data["tier"].as_str().unwrap().to_owned(), data["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(tier("used"), ("active".into(), "critical".into()));
    assert_eq!(tier("optional"), ("gated".into(), "warning".into()));
    assert_eq!(tier("abroad"), ("gated".into(), "warning".into()));
    assert_eq!(finding(&records, "RUSTSEC-2026-104")["members"], serde_json::json!(["app"]));
    let sum = of_kind(&records, "metric").into_iter().find(|metric| metric["data"]["advisories"] == 3).unwrap();
    assert_eq!(
        (&sum["data"]["active"], &sum["data"]["gated"], &sum["data"]["lock_only"]),
        (&1.into(), &2.into(), &0.into())
    );
    // A lock file alone tells nothing of that: nobody looked, so nothing is excused.
    let copy = world.path("elsewhere.lock");
    fs::copy(world.lockfile(), &copy).unwrap();
    let (output, records) = world.run(&["security-audit", copy.to_str().unwrap()]);
    assert_eq!(output.code, 2, "{output}");
    assert!(findings(&records).iter().all(|data| data["tier"].is_null() && data["status"] == "critical"), "{output}");
}

#[test]
fn an_advisory_without_a_score_is_never_dropped_by_a_threshold() {
    let world = tiers();
    let (output, records) = world.run(&["security-audit", "--fail-on", "critical"]);
    assert_eq!(output.code, 2, "{output}");
    assert_eq!(finding(&records, "RUSTSEC-2026-104")["severity"], "unknown");
    let (output, _) = world.run(&["security-audit", "--fail-on", "hihg"]);
    assert_eq!(output.code, 3, "{output}");
}

#[test]
fn a_healthy_workspace_is_ok_and_says_by_what() {
    let world = World::new();
    world.publish("used", "1.0.0", &[]);
    world.need(&["used 1"]);
    let (output, records) = world.run(&["security-audit"]);
    assert_eq!(output.code, 0, "{output}");
    let summary = of_kind(&records, "summary")[0]["data"].clone();
    assert_eq!(summary["database"]["advisories"], 1, "{summary}");
    assert_eq!(summary["database"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(summary["database_age_seconds"], 7 * 86_400);
    world.publish("used", "1.0.1", &[]);
    world.yank("used", "1.0.0");
    world.refresh();
    let (output, records) = world.run(&["security-audit"]);
    assert_eq!((output.code, findings(&records)[0]["kind"].as_str()), (1, Some("yanked")), "{output}");
}

#[test]
fn what_no_advisory_speaks_of_is_said_and_not_ok() {
    let world = World::new();
    world.publish("used", "1.0.0", &[]);
    world.need(&["used 1"]);
    let lock = world.path("git.lock");
    let text = fs::read_to_string(world.lockfile()).unwrap();
    let at = text.find("source = ").unwrap();
    let end = at + text[at..].find('\n').unwrap();
    let commit = "0123456789012345678901234567890123456789";
    let source = format!("source = \"git+https://example.test/used?rev={commit}#{commit}\"");
    fs::write(&lock, [&text[..at], &source, &text[end..]].concat()).unwrap();
    let (output, records) = world.run(&["security-audit", lock.to_str().unwrap()]);
    assert_eq!((output.code, findings(&records)[0]["kind"].as_str()), (1, Some("unscanned")), "{output}");
}

#[test]
fn without_evidence_nothing_is_green() {
    let world = World::new();
    world.publish("used", "1.0.0", &[]);
    world.need(&["used 1"]);
    let code = |args: &[&str]| {
        let mut command = tool("dep-audit", &world.path("state")).unwrap();
        let output =
            run(command.env("CARGO_HOME", world.path("home")).current_dir(world.path("app")).args(args)).unwrap();
        (output.code, output.stdout + &output.stderr)
    };
    let db = world.path("db");
    let good = ["--now", "2026-06-01T00:00:00Z", "--db", db.to_str().unwrap(), "security-audit"];
    assert_eq!(code(&good).0, 0);
    let none = world.path("none");
    assert_eq!(code(&["--db", none.to_str().unwrap(), "security-audit"]).0, 3, "missing");
    assert_eq!(code(&["security-audit"]).0, 3, "not named");
    let empty = world.path("empty");
    fs::create_dir_all(empty.join("crates")).unwrap();
    assert_eq!(code(&["--db", empty.to_str().unwrap(), "security-audit"]).0, 3, "empty");
    let at = |now: &str| code(&["--now", now, "--db", db.to_str().unwrap(), "security-audit"]);
    assert_eq!(at("2026-06-03T00:00:00Z").0, 1, "nine days old");
    assert_eq!(at("2026-07-01T00:00:00Z").0, 3, "five weeks old");
    assert_eq!(at("2026-05-01T00:00:00Z").0, 3, "from the future");
    let lock = world.path("gone/Cargo.lock");
    assert_eq!(code(&[&good[..], &[lock.to_str().unwrap()]].concat()).0, 3, "no lock file");
    let bare = world.path("bare.lock");
    fs::write(&bare, "version = 4\n").unwrap();
    assert_eq!(code(&[&good[..], &[bare.to_str().unwrap()]].concat()).0, 3, "no package in it");
    fs::write(db.join("crates/elsewhere/RUSTSEC-2026-0002.md"), "```toml\n[advisory\n```\n").unwrap();
    let (exit, text) = code(&good);
    assert_eq!(exit, 3, "an advisory that cannot be read: {text}");
    assert!(text.contains("RUSTSEC-2026-0002.md"), "{text}");
}

#[test]
fn many_lock_files_are_looked_at_and_a_broken_one_hides_no_other() {
    let world = tiers();
    for place in ["many/a", "many/fuzz", "many/target"] {
        fs::create_dir_all(world.path(place)).unwrap();
        fs::copy(world.lockfile(), world.path(place).join("Cargo.lock")).unwrap();
    }
    fs::write(world.path("many/fuzz/Cargo.lock"), "[[package]]\nname = ").unwrap();
    fs::write(world.path("many/.gitignore"), "target\n").unwrap();
    let (output, records) = world.run(&["security-audit", "--root", world.path("many").to_str().unwrap()]);
    assert_eq!(output.code, 2, "{output}");
    let files: BTreeSet<&str> = findings(&records).iter().map(|data| data["lockfile"].as_str().unwrap()).collect();
    assert_eq!(files, BTreeSet::from([world.path("many/a/Cargo.lock").to_str().unwrap()]), "{output}");
    let broken = of_kind(&records, "check").into_iter().find(|check| check["data"]["status"] == "unknown").unwrap();
    assert!(broken["subject"].as_str().unwrap().ends_with("fuzz/Cargo.lock"), "{output}");
    // Cargo cannot tell of a lock file without its workspace: that one is unknown, and judged all the same.
    let (output, records) =
        world.run(&["security-audit", "--trust", world.path("many/a/Cargo.lock").to_str().unwrap()]);
    assert_eq!((output.code, findings(&records).len()), (2, 3), "{output}");
    assert!(of_kind(&records, "check").iter().any(|check| check["data"]["status"] == "unknown"), "{output}");
    // As a pipe hands it over.
    let text = fs::read_to_string(world.lockfile()).unwrap();
    let output = run_fed(&mut world.tool(&["security-audit", "-"]), &text).unwrap();
    assert_eq!(output.code, 2, "{output}");
}

#[test]
fn advisories_are_other_peoples_text() {
    let world = World::new();
    world.publish("used", "1.0.0", &[]);
    world.need(&["used 1"]);
    world.advisory("RUSTSEC-2026-0009", "used", "patched = []");
    let file = world.path("db/crates/used/RUSTSEC-2026-0009.md");
    let text = fs::read_to_string(&file).unwrap().replace("# Something in used", "# Red \u{1b}[31malert\u{7}");
    fs::write(file, text).unwrap();
    let output = run(&mut world.tool(&["security-audit", "--fail-on", "any"])).unwrap();
    assert!(!output.stdout.contains('\u{1b}') && !output.stdout.contains("\\u001b"), "{output}");
}

#[test]
fn a_pack_is_the_database_and_a_damaged_one_is_none() {
    let world = tiers();
    let pack = world.path("advisories.tar.zst");
    let path = pack.to_str().unwrap();
    let (output, all) = world.run(&["db", "pack", "--into", path, "--dry-run"]);
    assert_eq!((output.code, pack.exists()), (0, false), "{output}");
    assert_eq!(of_kind(&all, "plan").len(), 1);
    let (output, _) = world.run(&["db", "pack", "--into", path]);
    assert_eq!(output.code, 0, "{output}");
    let mut command = tool("dep-audit", &world.path("state")).unwrap();
    command.env("CARGO_HOME", world.path("home")).current_dir(world.path("app"));
    let output =
        run(command.args(["--now", super::update_world::NOW, "--db", path, "-o", "ndjson", "security-audit"])).unwrap();
    let packed: Vec<Value> = records(&output.stdout)
        .unwrap()
        .into_iter()
        .filter(|record| record["type"] == "maint.finding.v1")
        .map(|record| record["data"]["id"].clone())
        .collect();
    assert_eq!(packed.len(), 3, "{output}");
    // One bit, anywhere in it.
    let whole = fs::read(&pack).unwrap();
    for at in [10, whole.len() / 2, whole.len() - 5] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&pack, damaged).unwrap();
        let mut command = tool("dep-audit", &world.path("state")).unwrap();
        let output = run(command.args(["--db", path, "db", "verify"])).unwrap();
        assert_ne!(output.code, 0, "a bit at {at}: {output}");
    }
    fs::write(&pack, &whole[..whole.len() - 20]).unwrap();
    let mut command = tool("dep-audit", &world.path("state")).unwrap();
    assert_ne!(run(command.args(["--db", path, "db", "verify"])).unwrap().code, 0, "cut short");
}

#[test]
fn a_database_is_fetched_whole_or_the_old_one_stays() {
    let world = tiers();
    let git = |args: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@localhost"]).args(args).current_dir(world.path("db"));
        let output = run(&mut command).unwrap();
        assert_eq!(output.code, 0, "{output}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "advisories"]);
    let pack = world.path("fetched.tar.zst");
    let path = pack.to_str().unwrap();
    let from = format!("file://{}", world.path("db").display());
    let (output, all) = world.run(&["db", "fetch", "--from", &from, "--into", path]);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(of_kind(&all, "step")[0]["data"]["commit"].as_str().unwrap().len(), 40, "{output}");
    let before = fs::read(&pack).unwrap();
    let nowhere = format!("file://{}", world.path("nowhere").display());
    let (output, _) = world.run(&["db", "fetch", "--from", &nowhere, "--into", path]);
    assert_eq!(output.code, 2, "{output}");
    assert_eq!(fs::read(&pack).unwrap(), before);
    // Only what is pinned is taken, even where there is something newer.
    let step =
        |all: &[Value]| of_kind(all, "step").first().map(|step| step["data"]["commit"].as_str().unwrap().to_owned());
    let (_, all) = world.run(&["db", "fetch", "--from", &from, "--into", path]);
    let first = step(&all).unwrap();
    let digest = format!("sha256:{}", of_kind(&all, "step")[0]["data"]["sha256"].as_str().unwrap());
    world.advisory("RUSTSEC-2026-0778", "used", "patched = []");
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "one more"]);
    let pinned = |pin: &str| world.run(&["db", "fetch", "--from", &from, "--into", path, "--pin", pin]);
    let (output, all) = pinned(&first);
    assert_eq!((output.code, step(&all)), (0, Some(first.clone())), "{output}");
    assert_eq!(fs::read(&pack).unwrap(), before);
    for other in [digest.as_str(), &"0".repeat(40)] {
        let (output, _) = pinned(other);
        assert_eq!(output.code, 2, "{other}: {output}");
        assert_eq!(fs::read(&pack).unwrap(), before, "{other}");
    }
    let (output, _) = pinned(&first[..12]);
    assert_eq!(output.code, 3, "a part of a commit: {output}");
    git(&["reset", "--quiet", "--hard", &first]);
    let (output, _) = pinned(&digest);
    assert_eq!(output.code, 0, "{output}");
    // What was added since is told.
    world.advisory("RUSTSEC-2026-0777", "used", "patched = []");
    let (output, all) = world.run(&["db", "diff", path, world.path("db").to_str().unwrap()]);
    assert_eq!(output.code, 0, "{output}");
    let new: Vec<_> = of_kind(&all, "metric").into_iter().map(|metric| metric["subject"].clone()).collect();
    assert_eq!(new, ["RUSTSEC-2026-0777"], "{output}");
}

#[test]
fn an_archive_of_osv_is_a_database() {
    let world = World::new();
    world.publish("used", "1.0.0", &[]);
    world.need(&["used 1"]);
    let archive = world.path("all.zip");
    let entry = serde_json::json!({
        "id": "RUSTSEC-2026-0042", "modified": "2026-05-26T00:00:00Z", "published": "2026-05-25T12:00:00Z", "summary": "It reads too far",
        "affected": [{"package": {"ecosystem": concat!("crates", ".io"), "name": "used"},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "0.0.0-0"}, {"fixed": "1.0.1"}]}]}],
    });
    let zipped = |entry: &str| {
        let made =
            "import sys,zipfile; zipfile.ZipFile(sys.argv[1],'w',zipfile.ZIP_DEFLATED).writestr('a.json',sys.argv[2])";
        let output = run(std::process::Command::new("python3").args(["-c", made]).arg(&archive).arg(entry)).unwrap();
        assert_eq!(output.code, 0, "{output}");
    };
    let audit = || {
        let mut command = tool("dep-audit", &world.path("state")).unwrap();
        command.args(["--now", super::update_world::NOW, "-o", "ndjson", "--db"]).arg(&archive);
        let output = run(command.arg("security-audit").arg(world.lockfile())).unwrap();
        let all = records(&output.stdout).unwrap();
        (output, all)
    };
    zipped(&entry.to_string());
    let (output, all) = audit();
    assert_eq!(output.code, 2, "{output}");
    assert_eq!(finding(&all, "RUSTSEC-2026-0042")["patched"], serde_json::json!([">=1.0.1"]));
    let summary = of_kind(&all, "summary")[0]["data"].clone();
    assert_eq!(
        (&summary["database"]["form"], &summary["database"]["advisories"]),
        (&"osv".into(), &1.into()),
        "{output}"
    );
    // The healthy twin, and one that cannot be read.
    zipped(&entry.to_string().replace("1.0.1", "1.0.0"));
    let (output, _) = audit();
    assert_eq!(output.code, 0, "{output}");
    zipped(&entry.to_string().replace("1.0.1", "x"));
    let (output, _) = audit();
    assert_eq!(output.code, 3, "{output}");
}

#[test]
fn why_shows_the_way_and_diff_what_is_new() {
    let world = World::new();
    world.publish("inner", "1.0.0", &[]);
    world.publish("outer", "1.0.0", &["inner 1"]);
    world.need(&["outer 1"]);
    let old = world.path("old.lock");
    fs::copy(world.lockfile(), &old).unwrap();
    let (output, all) = world.run(&["why", "inner"]);
    assert_eq!((output.code, &of_kind(&all, "check")[0]["data"]["tier"]), (0, &Value::Null), "not fetched: {output}");
    world.cargo(&["fetch"]);
    let (output, all) = world.run(&["why", "inner"]);
    assert_eq!(output.code, 0, "{output}");
    let way = &of_kind(&all, "check")[0]["data"];
    assert_eq!(
        (&way["ways"], &way["tier"]),
        (&serde_json::json!(["app > outer > inner"]), &"active".into()),
        "{output}"
    );
    let (output, _) = world.run(&["why", "iner"]);
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stderr.contains("inner"), "the nearest name: {output}");

    world.publish("bad", "1.0.0", &[]);
    world.advisory("RUSTSEC-2026-0042", "bad", "patched = []");
    world.need(&["outer 1", "bad 1"]);
    let paths = [&old, &world.lockfile()].map(|path| path.to_str().unwrap().to_owned());
    let (output, all) = world.run(&["diff", &paths[0], &paths[1]]);
    assert_eq!(output.code, 2, "{output}");
    assert_eq!(findings(&all).len(), 1);
    assert!(
        of_kind(&all, "metric").iter().any(|metric| metric["subject"] == "bad" && metric["data"]["message"] == "new")
    );
    let (output, _) = world.run(&["diff", &paths[0], &paths[0]]);
    assert_eq!(output.code, 0, "{output}");
}
