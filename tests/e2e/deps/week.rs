//! The week's days for dependencies and code, as the routine starts them in a workspace: the audit of Monday, the plan of
//! Wednesday, the documentation of Friday.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testbed::{records, run, tool};

use super::update_world::{World, of_kind};

/// Starts a day of a routine in the workspace; what it said.
fn day(world: &World, day: &str, routines: &Path) -> Vec<Value> {
    let state = world.path("state");
    let config = world.path("maint.toml");
    // The advisories were written for another day than today.
    let text = format!("[dep-audit]\ndb = {:?}\nmax_db_age = \"10000d\"\nfail_db_age = \"10000d\"\n", world.path("db"));
    fs::write(&config, text).unwrap();
    let programs = PathBuf::from(tool("dep-audit", &state).unwrap().get_program()).parent().unwrap().to_owned();
    let mut week = tool("xtask", &state).unwrap();
    week.env("CARGO_HOME", world.path("home")).env_remove("CARGO").current_dir(world.path("app"));
    week.arg("--config").arg(&config).args(["weekly", "--day", day, "-o", "ndjson", "--bin-dir"]).arg(programs);
    let output = run(week.arg("--routines").arg(routines)).unwrap();
    records(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}

fn step<'a>(all: &'a [Value], subject: &str) -> &'a Value {
    let step = of_kind(all, "step").into_iter().find(|record| record["subject"] == subject);
    &step.unwrap_or_else(|| panic!("{subject}: {all:#?}"))["data"]["status"]
}

fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask/routines.toml")
}

#[test]
fn monday_audits_and_wednesday_plans_and_changes_nothing() {
    let world = World::new();
    world.publish("used", "1.0.0", &[]);
    world.need(&["used 1"]);
    world.publish("used", "1.0.1", &[]);
    world.refresh();
    world.cargo(&["fetch"]);
    let (monday, wednesday) = ("monday/dep-audit security-audit", "wednesday/dep-audit update");
    assert_eq!(*step(&day(&world, "monday", &own()), monday), "ok");
    assert_eq!(*step(&day(&world, "wednesday", &own()), wednesday), "ok");
    world.advisory("RUSTSEC-2026-0042", "used", "patched = [\">= 1.0.1\"]");
    let all = day(&world, "monday", &own());
    assert_eq!(*step(&all, monday), "failed");
    let found = of_kind(&all, "finding");
    assert!(found.iter().any(|finding| finding["data"]["id"] == "RUSTSEC-2026-0042"), "{all:#?}");
    let before = world.lock();
    let all = day(&world, "wednesday", &own());
    assert_eq!(*step(&all, wednesday), "warning", "something is to do");
    assert_eq!(world.lock(), before, "a plan");
    let plan = of_kind(&all, "plan");
    assert!(plan.iter().any(|record| record["data"]["to"] == "1.0.1"), "{all:#?}");
    // Without advisories nothing is green.
    fs::remove_dir_all(world.path("db")).unwrap();
    assert_eq!(*step(&day(&world, "monday", &own()), monday), "unknown");
    assert_eq!(*step(&day(&world, "wednesday", &own()), wednesday), "unknown");
}

#[test]
fn friday_looks_at_the_documentation() {
    let world = World::new();
    world.need(&[]);
    // That day's backups have tests of their own, and without them it stops there.
    let text = fs::read_to_string(own()).unwrap();
    let documentation = "[[weekly.friday.step]]\ncommand = [\"code-check\", \"documentation\"]";
    assert!(text.contains(documentation), "{text}");
    let routines = world.path("routines.toml");
    fs::write(&routines, format!("[weekly.friday]\ntitle = \"Documentation\"\n{documentation}\ntimeout = \"30m\"\n"))
        .unwrap();
    let subject = "friday/code-check documentation";
    let source = world.path("app/src/lib.rs");
    fs::write(&source, "//! What it is.\n\n/// Adds.\npub fn add(a: u8, b: u8) -> u8 {\n    a.saturating_add(b)\n}\n")
        .unwrap();
    assert_eq!(*step(&day(&world, "friday", &routines), subject), "ok");
    fs::write(&source, "//! What it is, and [`nothing`].\npub fn add() {}\n").unwrap();
    let all = day(&world, "friday", &routines);
    assert_ne!(*step(&all, subject), "ok", "{all:#?}");
    assert!(of_kind(&all, "finding").iter().any(|finding| finding["data"]["code"].is_string()), "{all:#?}");
}
