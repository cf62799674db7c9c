//! Exceptions: what somebody lets pass stays in sight, comes back by itself, and is nobody's secret.

use std::fs;

use serde_json::Value;
use testbed::run;

use super::update_world::{World, of_kind};

const ID: &str = "RUSTSEC-2026-0042";

fn world() -> World {
    let world = World::new();
    world.publish("used", "1.0.0", &[]);
    world.need(&["used 1"]);
    world.cargo(&["fetch"]);
    world.advisory(ID, "used", "patched = [\">= 1.0.1\"]");
    let file = world.path(&format!("db/crates/used/{ID}.md"));
    let aliases = "aliases = [\"CVE-2026-4242\"]\ndate =";
    let text = fs::read_to_string(&file).unwrap().replace("date =", aliases);
    fs::write(file, text).unwrap();
    world
}

fn add(world: &World, id: &str, until: &str, more: &[&str]) -> (testbed::Output, Vec<Value>) {
    let args = ["except", "add", id, "--reason", "not reachable", "--owner", "ann", "--until", until];
    world.run(&[&args[..], more].concat())
}

fn text(world: &World) -> String {
    fs::read_to_string(world.path("app/dep-audit.toml")).unwrap_or_default()
}

fn at(world: &World, now: &str, args: &[&str]) -> (i32, Vec<Value>) {
    let output = run(&mut world.tool_at(now, "ndjson", args)).unwrap();
    (output.code, testbed::records(&output.stdout).unwrap())
}

#[test]
fn what_is_let_pass_is_seen_and_counted_and_comes_back_the_day_after() {
    let world = world();
    assert_eq!(world.run(&["security-audit"]).0.code, 2);
    // By another name of the same advisory.
    let (output, _) = add(&world, "cve-2026-4242", "2026-06-10", &["--crate", "used"]);
    assert_eq!(output.code, 0, "{output}");
    let (output, records) = world.run(&["security-audit"]);
    assert_eq!(output.code, 0, "{output}");
    let found = &of_kind(&records, "finding")[0]["data"];
    assert_eq!((&found["id"], &found["status"]), (&ID.into(), &"ok".into()));
    assert_eq!((&found["excepted"]["owner"], &found["excepted"]["until"]), (&"ann".into(), &"2026-06-10".into()));
    assert!(found["message"].as_str().unwrap().ends_with("let pass by ann until 2026-06-10: not reachable"), "{found}");
    let sums = &of_kind(&records, "metric")[0]["data"];
    assert_eq!((&sums["advisories"], &sums["excepted"]), (&1.into(), &1.into()), "{sums}");
    assert_eq!(records.last().unwrap()["data"]["excepted"], 1);
    let sarif: Value =
        serde_json::from_str(&run(&mut world.tool_as("sarif", &["security-audit"])).unwrap().stdout).unwrap();
    let suppression = &sarif["runs"][0]["results"][0]["suppressions"][0];
    assert!(suppression["justification"].as_str().unwrap().contains("not reachable"), "{sarif}");
    // The last day is one of them.
    assert_eq!(at(&world, "2026-06-10T23:59:59Z", &["security-audit"]).0, 1, "the database is old by then");
    let (code, records) = at(&world, "2026-06-11T00:00:00Z", &["security-audit"]);
    assert_eq!(code, 2);
    let findings = of_kind(&records, "finding");
    let messages: Vec<&str> = findings.iter().map(|record| record["data"]["message"].as_str().unwrap()).collect();
    assert!(messages[0].contains("the exception of ann ended with 2026-06-10"), "{messages:?}");
    assert!(messages[1].contains("renew it or mend"), "{messages:?}");
    assert_eq!((&findings[1]["data"]["kind"], &findings[1]["data"]["line"]), (&"exception".into(), &1.into()));
    let check = world.run(&["except", "check"]);
    assert_eq!(check.0.code, 0, "{}", check.0);
    assert_eq!(at(&world, "2026-06-11T00:00:00Z", &["except", "check"]).0, 1);
}

#[test]
fn one_that_nothing_needs_or_that_names_nothing_is_told() {
    let world = world();
    let (output, _) = add(&world, "RUSTSEC-2026-0001", "2026-07-01", &[]);
    assert_eq!(output.code, 0, "{output}");
    let (output, _) = add(&world, "RUSTSEC-2026-9999", "2026-07-01", &[]);
    assert!(output.code == 3 && output.stderr.contains("is no advisory of the database"), "{output}");
    let (output, _) = add(&world, ID, "2026-07-01", &["--pending"]);
    assert_eq!(output.code, 0, "{output}");
    let (output, records) = world.run(&["security-audit"]);
    assert_eq!(output.code, 2, "pending is not agreed: {output}");
    let told: Vec<String> = of_kind(&records, "finding")
        .iter()
        .map(|record| record["data"]["message"].as_str().unwrap().to_owned())
        .collect();
    assert!(told.iter().any(|text| text.contains("nothing needs this exception")), "{told:?}");
    assert!(told.iter().any(|text| text.contains("nobody has agreed")), "{told:?}");
    // Another lock file says nothing about whether it is needed.
    fs::copy(world.lockfile(), world.path("app/other.lock")).unwrap();
    let (_, records) = world.run(&["security-audit", "other.lock"]);
    assert!(!records.iter().any(|record| record["data"]["message"].as_str().unwrap().contains("nothing needs")));
    // By hand, one can name what there is not.
    let misspelt = text(&world).replace("RUSTSEC-2026-0001", "RUSTSEC-2026-0000");
    fs::write(world.path("app/dep-audit.toml"), misspelt).unwrap();
    let (output, _) = world.run(&["security-audit"]);
    assert!(output.code == 2 && output.stdout.contains("misspelt, or was withdrawn"), "{output}");
    assert_eq!(world.run(&["except", "check"]).0.code, 3);
    fs::write(world.path("app/dep-audit.toml"), "[[exception]]\nid = \"A\"\n").unwrap();
    let (output, _) = world.run(&["security-audit"]);
    assert!(
        output.code == 3 && output.stderr.contains("dep-audit.toml") && output.stderr.contains("line 1"),
        "{output}"
    );
}

#[test]
fn they_are_renewed_revoked_and_pruned_and_comments_stay() {
    let world = world();
    fs::write(world.path("app/dep-audit.toml"), "# asked the board\n").unwrap();
    let dry = add(&world, ID, "2026-07-01", &["--dry-run"]).0;
    assert!(dry.code == 0 && dry.stdout.contains("maint.plan.v1"), "{dry}");
    assert_eq!(text(&world), "# asked the board\n");
    assert_eq!(add(&world, ID, "2026-07-01", &[]).0.code, 0);
    let twice = add(&world, ID, "2026-08-01", &[]).0;
    assert!(twice.code == 3 && twice.stderr.contains("except renew"), "{twice}");
    for until in ["2026-05-31", "2027-06-02"] {
        let far = world.run(&["except", "renew", ID, "--until", until]).0;
        assert!(far.code == 3 && far.stderr.contains("from 2026-06-01 to 2027-06-01"), "{far}");
    }
    assert_eq!(world.run(&["except", "renew", ID, "--until", "2026-09-01"]).0.code, 0);
    assert!(text(&world).contains("2026-09-01") && text(&world).starts_with("# asked the board\n"));
    let (output, records) = world.run(&["except", "list"]);
    let listed = &of_kind(&records, "check")[0]["data"];
    assert_eq!((output.code, &listed["standing"], &listed["approval"]), (0, &"in-force".into(), &"approved".into()));
    assert_eq!(world.run(&["except", "prune"]).0.code, 0);
    assert!(text(&world).contains(ID), "it is needed");
    assert_eq!(world.run(&["except", "revoke", ID]).0.code, 0);
    assert_eq!(world.run(&["security-audit"]).0.code, 2);
    let unread = world.path("app/fuzz/Cargo.lock");
    fs::create_dir(world.path("app/fuzz")).unwrap();
    fs::write(&unread, "[[package").unwrap();
    let unsure = world.run(&["except", "prune"]).0;
    assert!(unsure.code == 3 && text(&world).contains(ID), "{unsure}");
    fs::remove_file(unread).unwrap();
    assert_eq!(world.run(&["except", "prune"]).0.code, 0);
    assert!(!text(&world).contains(ID));
    let none = world.run(&["except", "revoke", ID]).0;
    assert!(none.code == 3 && none.stderr.contains("there is no exception"), "{none}");
}

#[test]
fn other_programs_exceptions_come_in_and_go_out() {
    let world = world();
    fs::create_dir(world.path("app/.cargo")).unwrap();
    fs::write(world.path("app/.cargo/audit.toml"), format!("[advisories]\nignore = [\"{ID}\"]\n")).unwrap();
    let deny = "# keep me\n[advisories]\nignore = [\"RUSTSEC-1999-0001\"]\n[bans]\n";
    fs::write(world.path("app/deny.toml"), deny).unwrap();
    let import = ["except", "import", ".cargo/audit.toml", "--owner", "ann", "--until", "2026-07-01"];
    let (output, _) = world.run(&import);
    assert!(output.code == 3 && output.stderr.contains("--reason"), "{output}");
    assert_eq!(text(&world), "");
    let import = [&import[..], &["--reason", "taken over"]].concat();
    for _ in 0..2 {
        assert_eq!(world.run(&import).0.code, 0);
    }
    assert_eq!(text(&world).matches(ID).count(), 1);
    assert_eq!(world.run(&["security-audit"]).0.code, 0);
    let export = ["except", "export", "--to", "deny", "--into", "deny.toml"];
    assert_eq!(world.run(&export).0.code, 0);
    let once = fs::read_to_string(world.path("app/deny.toml")).unwrap();
    assert!(once.contains("# keep me") && once.contains("taken over (ann, until 2026-07-01)"), "{once}");
    assert!(!once.contains("1999"), "{once}");
    let again = world.run(&export).0;
    assert!(again.code == 0 && again.stdout.contains("it is so already"), "{again}");
    assert_eq!(fs::read_to_string(world.path("app/deny.toml")).unwrap(), once);
}

#[test]
fn what_was_not_looked_at_may_need_an_exception_so_it_stays() {
    let world = world();
    world.publish("used", "1.0.1", &[]);
    world.yank("used", "1.0.0");
    world.cargo(&["update", "--dry-run"]);
    let add = ["except", "add", "--kind", "maintenance", "--crate", "used", "--reason", "r", "--owner", "o"];
    assert_eq!(world.run(&[&add[..], &["--until", "2026-07-01"]].concat()).0.code, 0);
    assert_eq!(world.run(&["except", "prune"]).0.code, 0);
    assert!(text(&world).contains("maintenance"), "it is needed");
    // Without cargo's cache nobody knows whether the version was taken back.
    fs::remove_dir_all(world.path("home/registry")).unwrap();
    let blind = world.run(&["except", "prune"]).0;
    assert!(blind.code == 1 && blind.stdout.contains("stays"), "{blind}");
    assert!(text(&world).contains("maintenance"));
}
