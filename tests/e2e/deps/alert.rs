//! alert: each thing is told once, nothing is lost, and who is not reachable is told later.

use std::fs;

use serde_json::Value;
use testbed::{Output, records, run};

use super::update_world::{World, of_kind};

const ID: &str = "RUSTSEC-2026-0042";

fn world() -> World {
    let world = World::new();
    world.publish("used", "1.0.0", &[]);
    world.need(&["used 1"]);
    world.cargo(&["fetch"]);
    world.advisory(ID, "used", "patched = []");
    world
}

fn told(output: &Output) -> Vec<(String, String)> {
    let records = records(&output.stdout).unwrap();
    let text = |record: &Value, field: &str| record["data"][field].as_str().unwrap_or_default().to_owned();
    of_kind(&records, "finding").into_iter().map(|record| (text(record, "id"), text(record, "event"))).collect()
}

fn alert(world: &World, args: &[&str]) -> Output {
    run(&mut world.tool(&[&["alert", "run"], args].concat())).unwrap()
}

fn event(id: &str, what: &str) -> (String, String) {
    (id.to_owned(), what.to_owned())
}

#[test]
fn only_what_is_new_has_changed_or_is_gone_is_told() {
    let world = world();
    let dry = alert(&world, &["--dry-run"]);
    assert_eq!(told(&dry), [event(ID, "new")], "{dry}");
    let first = alert(&world, &[]);
    assert_eq!((first.code, told(&first)), (2, vec![event(ID, "new")]), "{first}");
    let quiet = alert(&world, &[]);
    assert_eq!((quiet.code, told(&quiet)), (0, vec![]), "{quiet}");
    // A way out appears; the release is not published, so nobody is late.
    world.advisory(ID, "used", "patched = [\">= 1.0.1\"]");
    assert_eq!(told(&alert(&world, &[])), [event(ID, "changed")]);
    // It is published for a year: that is told until something is done.
    world.publish("used", "1.0.1", &[]);
    world.cargo(&["update", "--dry-run"]);
    for _ in 0..2 {
        let late = alert(&world, &[]);
        assert!(late.code == 1 && late.stdout.contains("\"code\":\"overdue\""), "{late}");
    }
    let ack = run(&mut world.tool(&["alert", "ack", "used", "--by", "ann", "--note", "on it"])).unwrap();
    assert_eq!(ack.code, 0, "{ack}");
    let (output, all) = world.run(&["alert", "summary"]);
    assert_eq!((output.code, &of_kind(&all, "finding")[0]["data"]["acknowledged_by"]), (0, &"ann".into()), "{output}");
    // Of a lock file that cannot be read nothing is gone.
    let lock = world.lock();
    fs::write(world.lockfile(), "[[package").unwrap();
    let broken = alert(&world, &[]);
    assert_eq!((broken.code, told(&broken)), (3, vec![]), "{broken}");
    fs::write(world.lockfile(), lock).unwrap();
    world.cargo(&["update"]);
    assert_eq!(world.locked("used"), ["1.0.1"]);
    let gone = alert(&world, &[]);
    assert_eq!((gone.code, told(&gone)), (0, vec![event(ID, "resolved")]), "{gone}");
    world.cargo(&["update", "--precise", "1.0.0", "used"]);
    assert_eq!(told(&alert(&world, &[])), [event(ID, "reopened")]);
    let (output, all) = world.run(&["alert", "trends"]);
    let day = &of_kind(&all, "metric")[0]["data"];
    assert_eq!((output.code, &day["opened"], &day["resolved"]), (0, &2.into(), &1.into()), "{output}");
    assert_eq!(of_kind(&world.run(&["alert", "export"]).1, "finding").len(), 1);
    let nobody = run(&mut world.tool(&["alert", "ack", "nothing", "--by", "ann"])).unwrap();
    assert_eq!(nobody.code, 3, "{nobody}");
}

#[test]
fn who_cannot_be_told_is_told_by_the_next_run() {
    let world = world();
    world.publish("other", "1.0.0", &[]);
    world.need(&["used 1", "other 1"]);
    world.cargo(&["fetch"]);
    world.advisory("RUSTSEC-2026-0043", "other", "patched = []");
    let file = format!("file:{}", world.path("told.ndjson").display());
    // One of the two is taken.
    let picky = "exec:grep -q RUSTSEC-2026-0042";
    let half = alert(&world, &["--sink", picky]);
    assert!(half.code == 2 && half.stdout.contains("the next run tells it again"), "{half}");
    let rest = alert(&world, &["--sink", &file]);
    assert_eq!(told(&rest), [event("RUSTSEC-2026-0043", "new")], "{rest}");
    let lines = fs::read_to_string(world.path("told.ndjson")).unwrap();
    let line: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!((&line["event"], &line["finding"]["crate"]), (&"new".into(), &"other".into()));
    let bad = alert(&world, &["--sink", "mail:ann"]);
    assert!(bad.code == 3 && bad.stderr.contains("exec:COMMAND"), "{bad}");
}

#[test]
fn killed_anywhere_it_loses_nothing() {
    for (point, again) in [("alert-delivered", 1), ("alert-noted", 0), ("alert-written", 0)] {
        let world = world();
        let file = format!("file:{}", world.path("told.ndjson").display());
        let args = ["alert", "run", "--sink", &file];
        let killed = run(world.tool(&args).env("MAINT_KILL_AT", point)).unwrap();
        assert_eq!(killed.code, 137, "{point}: {killed}");
        let next = run(&mut world.tool(&args)).unwrap();
        assert_eq!(told(&next).len(), again, "{point}: {next}");
        let lines = fs::read_to_string(world.path("told.ndjson")).unwrap();
        let ids: Vec<String> = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids.len(), 1 + again, "{point}");
        assert!(ids.iter().all(|id| *id == ids[0]), "{point}: told twice as two");
        assert_eq!(told(&run(&mut world.tool(&args)).unwrap()).len(), 0, "{point}");
    }
    let world = world();
    alert(&world, &[]);
    let state = world.path("state/dep-audit/alert.json");
    fs::write(&state, "{\"schema\":").unwrap();
    let broken = alert(&world, &[]);
    assert!(broken.code == 3 && broken.stderr.contains("move it away"), "{broken}");
    assert_eq!(fs::read_to_string(&state).unwrap(), "{\"schema\":");
}

#[test]
fn new_is_what_an_earlier_run_did_not_find() {
    let world = world();
    let new = |baseline: &str| {
        let args = ["security-audit", "--fail-on", "new", "--baseline", baseline];
        run(&mut world.tool(&args)).unwrap()
    };
    let before = run(&mut world.tool(&["security-audit"])).unwrap();
    fs::write(world.path("app/before.ndjson"), &before.stdout).unwrap();
    let same = new("before.ndjson");
    assert!(same.code == 1 && same.stdout.contains("\"known\":true"), "{same}");
    world.advisory("RUSTSEC-2026-0044", "used", "patched = []");
    assert_eq!(new("before.ndjson").code, 2);
    let bare = run(&mut world.tool(&["security-audit", "--fail-on", "new"])).unwrap();
    assert!(bare.code == 3 && bare.stderr.contains("--baseline"), "{bare}");
    // Cut off, it would make everything after the cut new, or, empty, everything.
    let cut: Vec<&str> = before.stdout.lines().take(1).collect();
    fs::write(world.path("app/cut.ndjson"), cut.join("\n")).unwrap();
    assert_eq!(new("cut.ndjson").code, 3);
}

#[test]
fn what_it_could_not_know_is_told_with_every_run() {
    let world = world();
    assert_eq!(alert(&world, &[]).code, 2);
    // Nothing is new, and the advisories are older than they should be: that is no quiet run.
    let old = run(&mut world.tool_at("2026-06-15T00:00:00Z", "ndjson", &["alert", "run"])).unwrap();
    assert!(old.code == 1 && old.stdout.contains("is 21 d old"), "{old}");
    // Without cargo's cache nobody knows since when there is a patched release.
    world.advisory(ID, "used", "patched = [\">= 1.0.1\"]");
    fs::remove_dir_all(world.path("home/registry")).unwrap();
    let blind = alert(&world, &[]);
    assert!(blind.stdout.contains("whether 1 of the open findings is overdue is not known"), "{blind}");
}
