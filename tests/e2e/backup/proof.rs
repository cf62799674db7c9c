//! Proof that what is stored comes back: validation, test restores, one table, file sets.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Duration;

use testbed::{Site, files, records, wait_until};

fn statuses(stdout: &str) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    records(stdout).unwrap().iter().map(|r| (text(&r["subject"]), text(&r["data"]["status"]))).collect()
}

#[test]
fn what_was_verified_is_remembered_and_every_kind_of_damage_is_found() {
    let site = Site::start("").unwrap();
    site.work(20).unwrap();
    site.ok(&["full-backup"]).unwrap();
    let last = site.switch().unwrap();
    let verified = |site: &Site| {
        let output = site.ok(&["validate-backups", "-o", "ndjson"]).unwrap();
        let read = records(&output.stdout).unwrap().iter().find(|r| r["subject"] == "read").cloned();
        read.map_or(0, |read| read["data"]["read_objects"].as_u64().unwrap())
    };
    assert!(verified(&site) > 5);
    assert!(verified(&site) <= 1, "nothing is new but the note of what was verified");
    for place in ["pg/data", "pg/index", "pg/snapshots", "wal"] {
        let object = match place {
            "wal" => site.object(&last).unwrap(),
            _ => files(&site.repository().join(place)).into_iter().max_by_key(|p| p.metadata().unwrap().len()).unwrap(),
        };
        let whole = fs::read(&object).unwrap();
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&object, &bytes).unwrap();
        let output = site.run(&["validate-backups", "--all"]).unwrap();
        assert_eq!(output.code, 2, "{place}: {output}");
        fs::write(&object, &whole).unwrap();
        // That there was an only snapshot, or a last segment, knows who has seen it.
        site.ok(&["validate-backups"]).unwrap();
        fs::remove_file(&object).unwrap();
        let output = site.run(&["validate-backups"]).unwrap();
        assert_eq!(output.code, 2, "{place} lost: {output}");
        fs::write(&object, &whole).unwrap();
    }
    site.ok(&["validate-backups", "--all"]).unwrap();
}

#[test]
fn a_gap_behind_a_backup_and_the_loss_of_the_last_segment_are_found() {
    let site = Site::start("").unwrap();
    site.ok(&["full-backup"]).unwrap();
    let segments: Vec<String> = (0..3)
        .map(|_| {
            site.work(5).unwrap();
            site.switch().unwrap()
        })
        .collect();
    site.ok(&["validate-backups"]).unwrap();
    let code_without = |segment: &str| {
        let object = site.object(segment).unwrap();
        let whole = fs::read(&object).unwrap();
        fs::remove_file(&object).unwrap();
        let output = site.run(&["validate-backups"]).unwrap();
        let again = site.run(&["validate-backups"]).unwrap();
        assert_eq!(again.code, output.code, "it is missed as long as it is missing: {again}");
        fs::write(&object, whole).unwrap();
        site.ok(&["validate-backups"]).unwrap();
        assert!(output.code == 0 || output.stdout.contains(segment), "{output}");
        output.code
    };
    assert_eq!(code_without(&segments[1]), 2, "a gap");
    assert_eq!(code_without(&segments[2]), 2, "the last one");
}

#[test]
fn what_was_let_go_on_purpose_is_not_missed() {
    let site = Site::start("").unwrap();
    for _ in 0..3 {
        site.work(5).unwrap();
        site.ok(&["full-backup"]).unwrap();
    }
    site.ok(&["validate-backups"]).unwrap();
    site.ok(&["expire", "--apply", "--yes", "--keep-full", "1", "--keep-days", "0"]).unwrap();
    site.ok(&["prune", "--yes"]).unwrap();
    site.ok(&["validate-backups", "--all"]).unwrap();
}

#[test]
fn that_one_of_several_alike_was_let_go_does_not_excuse_the_loss_of_the_rest() {
    let site = Site::start("keep_sets = 1").unwrap();
    // Directories above are part of a set, too; above this one, nobody writes.
    let source = "/usr/share/base-files";
    let config = fs::read_to_string(site.dir().join("maint.toml")).unwrap();
    site.write("maint.toml", &format!("{config}\n[backup-tool.sets.still]\npaths = [{source:?}]\n")).unwrap();
    for _ in 0..3 {
        site.ok(&["config-backup"]).unwrap();
    }
    site.ok(&["validate-backups"]).unwrap();
    // Labels are unique by the second, so three at once are ahead of the clock.
    let listed = records(&site.ok(&["list", "-o", "ndjson"]).unwrap().stdout).unwrap();
    let last = listed[2]["subject"].as_str().unwrap().to_owned();
    let now = || site.sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD-HH24MISS')").unwrap();
    wait_until("the clock to pass the last label", Duration::from_secs(20), || *now() > *last.as_str()).unwrap();
    site.ok(&["expire", "--apply", "--yes"]).unwrap();
    site.ok(&["prune", "--yes"]).unwrap();
    site.ok(&["validate-backups"]).unwrap();
    let left = files(&site.repository().join("files/snapshots"));
    assert_eq!(left.len(), 1);
    fs::remove_file(&left[0]).unwrap();
    let output = site.run(&["validate-backups"]).unwrap();
    assert_eq!(output.code, 2, "{output}");
}

#[test]
fn a_restore_is_tested_attested_and_seen_by_the_monitor() {
    let site = Site::start("").unwrap();
    site.work(30).unwrap();
    site.ok(&["full-backup"]).unwrap();
    site.work(10).unwrap();
    site.switch().unwrap();
    let scratch = site.dir().join("scratch");
    site.program_ok("mkdir", &["-m", "700", &scratch.display().to_string()]).unwrap();
    let scratch_text = scratch.display().to_string();
    let sql = site.write("questions.sql", "SELECT count(*) = 40 FROM ledger;\n").unwrap().display().to_string();
    let args = ["test-restore", "--scratch", &scratch_text, "--sql", &sql, "-o", "ndjson"];
    let output = site.ok(&args).unwrap();
    let seen = statuses(&output.stdout);
    for subject in ["indexes", "tables", "rows", "fingerprints", "checksums", "attestation"] {
        assert!(seen.contains(&(subject.to_owned(), "ok".to_owned())), "{subject}: {output}");
    }
    assert!(files(&scratch).is_empty(), "the scratch cluster is gone");
    // The second test finds what the first one found.
    site.ok(&args).unwrap();
    let wrong = site.write("wrong.sql", "SELECT count(*) = 41 FROM ledger;\n").unwrap().display().to_string();
    let output = site.run(&["test-restore", "--scratch", &scratch_text, "--sql", &wrong]).unwrap();
    assert_eq!(output.code, 2, "{output}");
    let output = site.run(&["monitor-backups", "-o", "ndjson"]).unwrap();
    let monitored = records(&output.stdout).unwrap();
    let restored = monitored.iter().find(|r| r["subject"] == "test restore").unwrap();
    assert_ne!(restored["data"]["status"], "ok", "the last one did not pass: {restored}");
    site.ok(&args).unwrap();
    let output = site.run(&["monitor-backups", "-o", "nagios"]).unwrap();
    assert_eq!(output.stdout.lines().count(), 1, "{output}");
    let prometheus = site.run(&["monitor-backups", "-o", "prometheus"]).unwrap();
    assert!(prometheus.stdout.contains("# TYPE"), "{prometheus}");
}

#[test]
fn one_table_comes_back_beside_the_one_that_is_there() {
    let site = Site::start("").unwrap();
    site.sql(
        "CREATE TYPE mood AS ENUM ('good', 'bad');
         CREATE TABLE customer (id int PRIMARY KEY);
         INSERT INTO customer SELECT generate_series(1, 5);
         CREATE TABLE \"Order\" (id serial PRIMARY KEY, customer int REFERENCES customer, mood mood, t text);
         CREATE INDEX ON \"Order\" (t);
         INSERT INTO \"Order\" (customer, mood, t) SELECT 1 + g % 5, 'good', 'x' || g FROM generate_series(1, 200) g",
    )
    .unwrap();
    site.ok(&["full-backup"]).unwrap();
    site.sql("INSERT INTO \"Order\" (customer, mood, t) VALUES (1, 'bad', 'the last one')").unwrap();
    let then = site.sql("SELECT clock_timestamp()").unwrap();
    // Gone with its type: what a table needs comes back with it.
    site.sql("DROP TABLE \"Order\"; DROP TYPE mood").unwrap();
    site.work(3).unwrap();
    site.switch().unwrap();
    let scratch = site.dir().join("scratch");
    site.program_ok("mkdir", &["-m", "700", &scratch.display().to_string()]).unwrap();
    let scratch = scratch.display().to_string();
    let args = |more: &[&'static str]| {
        let mut all = vec!["table-recovery", "Order", "--to", &then, "--scratch", &scratch];
        all.extend(more);
        site.run(&all).unwrap()
    };
    let output = args(&["--into", "rescued", "--dry-run"]);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(site.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'rescued'").unwrap(), "0");
    let output = args(&["--into", "rescued", "--yes"]);
    assert_eq!(output.code, 0, "{output}");
    assert!(output.stdout.contains("FOREIGN KEY"), "what was left out is told: {output}");
    let row = site.sql("SELECT count(*), max(mood), max(id) FROM rescued.\"Order\"").unwrap();
    assert_eq!(row, "201|bad|201");
    let next: u64 = site.sql("SELECT nextval('rescued.\"Order_id_seq\"')").unwrap().parse().unwrap();
    assert!(next > 201, "{next}");
    let output = args(&["--into", "rescued", "--yes"]);
    assert_eq!(output.code, 3, "the place is taken: {output}");
    let output = site
        .run(&["table-recovery", "no_such_table", "--to", &then, "--into", "x", "--scratch", &scratch, "--yes"])
        .unwrap();
    assert_eq!(output.code, 3, "{output}");
    assert_eq!(site.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'x'").unwrap(), "0");
}

#[test]
fn a_file_set_comes_back_as_it_was_and_a_part_of_one_is_none() {
    let site = Site::start("").unwrap();
    let root = site.dir().join("etc");
    let text = |path: &std::path::Path| path.display().to_string();
    site.program_ok("mkdir", &["-p", &text(&root.join("sub"))]).unwrap();
    let write = |name: &str, content: &str| site.write(&format!("etc/{name}"), content).unwrap();
    write("plain", "one");
    write("sub/deep", "two");
    write("left.swp", "no");
    site.program_ok("ln", &[&text(&root.join("plain")), &text(&root.join("hard"))]).unwrap();
    site.program_ok("ln", &["-s", "plain", &text(&root.join("soft"))]).unwrap();
    site.program_ok("mkfifo", &[&text(&root.join("pipe"))]).unwrap();
    site.program_ok("chmod", &["4750", &text(&root.join("sub/deep"))]).unwrap();
    let sets = format!(
        "[backup-tool.sets.etc]\npaths = [\"{}\"]\nexclude = [\"*.swp\"]\n[backup-tool.sets.none]\npaths = [\"/nonexistent/x\"]",
        root.display()
    );
    site.configure("maint.toml", "repository", &sets).unwrap();
    let output = site.ok(&["config-backup", "etc", "-o", "ndjson"]).unwrap();
    let step = &records(&output.stdout).unwrap()[0]["data"];
    assert_eq!(step["set"], "etc");
    let output = site.run(&["config-backup"]).unwrap();
    assert_eq!(output.code, 2, "the other set's path is missing: {output}");
    let output = site.run(&["config-backup", "ect"]).unwrap();
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stderr.contains("did you mean"), "{output}");
    let listed = records(&site.ok(&["list", "--set", "etc", "-o", "ndjson"]).unwrap().stdout).unwrap();
    assert_eq!(listed.iter().filter(|r| r["data"]["kind"] == "files").count(), 2);
    let out = site.dir().join("out");
    let repository = text(&site.repository().join("files"));
    site.program_ok("restic", &["-r", &repository, "--no-cache", "check", "--read-data"]).unwrap();
    site.program_ok("restic", &["-r", &repository, "--no-cache", "restore", "latest", "--target", &text(&out)])
        .unwrap();
    let restored = out.join(root.strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(restored.join("plain")).unwrap(), "one");
    assert_eq!(fs::metadata(restored.join("plain")).unwrap().ino(), fs::metadata(restored.join("hard")).unwrap().ino());
    assert_eq!(fs::read_link(restored.join("soft")).unwrap().display().to_string(), "plain");
    assert_eq!(fs::metadata(restored.join("sub/deep")).unwrap().permissions().mode() & 0o7777, 0o4750);
    assert!(restored.join("pipe").symlink_metadata().is_ok());
    assert!(!restored.join("left.swp").exists());
}
