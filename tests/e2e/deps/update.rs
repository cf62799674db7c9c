//! `update`: what is planned is what is needed, and what is kept was seen to help.

use std::fs;

use serde_json::Value;
use testbed::{run, run_fed};

use super::update_world::{World, of_kind};

/// A workspace that needs `clock`, locked at 0.3.1, of which an advisory speaks up to 0.3.5; 0.3.6 is the lowest way out.
fn clock() -> World {
    let world = World::new();
    world.publish("other", "1.0.0", &[]);
    world.publish("clock", "0.3.1", &[]);
    world.need(&["clock 0.3", "other 1"]);
    for version in ["0.3.4", "0.3.5", "0.3.6", "0.3.9"] {
        world.publish("clock", version, &[]);
    }
    world.publish("other", "1.0.1", &[]);
    world.yank("clock", "0.3.5");
    world.advisory("RUSTSEC-2026-0010", "clock", "patched = [\">= 0.3.5\"]");
    world.refresh();
    world
}

/// `outer` 1.0 pins `inner` 0.1, of which an advisory speaks up to 0.3.
fn pinned() -> World {
    let world = World::new();
    world.publish("inner", "0.1.0", &[]);
    world.publish("outer", "1.0.0", &["inner =0.1.0"]);
    world.need(&["outer 1"]);
    world.publish("inner", "0.3.0", &[]);
    world.publish("inner", "0.3.1", &[]);
    world.publish("outer", "1.1.0", &["inner 0.3"]);
    world.publish("outer", "1.2.0", &["inner 0.3"]);
    world.advisory("RUSTSEC-2026-0011", "inner", "patched = [\">= 0.3.0\"]");
    world.refresh();
    world
}

fn step<'a>(records: &'a [Value], kind: &str) -> &'a Value {
    let steps = of_kind(records, kind);
    assert_eq!(steps.len(), 1, "{records:#?}");
    &steps[0]["data"]
}

#[test]
fn the_lowest_patched_version_is_planned_and_a_plan_changes_nothing() {
    let world = clock();
    let before = world.lock();
    for args in [&["update"][..], &["update", "--plan", "--security-only"], &["update", "--apply", "--dry-run"]] {
        let (output, records) = world.run(args);
        assert_eq!(output.code, 1, "{output}");
        let plan = step(&records, "plan");
        assert_eq!((&plan["from"], &plan["to"]), (&"0.3.1".into(), &"0.3.6".into()), "{plan:#}");
        assert_eq!(plan["fixes"], serde_json::json!(["RUSTSEC-2026-0010"]));
        assert_eq!(world.lock(), before);
    }
    assert_eq!(world.git(&["status", "--porcelain"]).stdout, "");
}

#[test]
fn what_is_applied_is_seen_by_the_audit_and_nothing_else_has_moved() {
    let world = clock();
    let (output, records) = world.run(&["update", "--apply"]);
    assert_eq!(output.code, 0, "{output}");
    let done = step(&records, "step");
    assert_eq!(done["status"], "ok", "{done:#}");
    assert!(done["message"].as_str().unwrap().contains("`cargo check` passes"), "{done:#}");
    assert_eq!(world.locked("clock"), ["0.3.6"]);
    assert_eq!(world.locked("other"), ["1.0.0"]);
    assert_eq!(world.git(&["status", "--porcelain"]).stdout, " M Cargo.lock\n", "no backups are left in the tree");
    assert!(world.leftovers().is_empty());
    world.commit();
    let after = world.lock();
    let (output, records) = world.run(&["update", "--apply"]);
    assert_eq!(output.code, 0, "the second run has nothing to do: {output}");
    assert!(of_kind(&records, "step").is_empty());
    assert_eq!(world.lock(), after);
}

#[test]
fn a_parent_that_pins_what_is_vulnerable_moves_with_it() {
    let world = pinned();
    let (output, records) = world.run(&["update", "--apply", "--lock-only"]);
    assert_eq!(output.code, 0, "{output}");
    let done = step(&records, "step");
    assert_eq!(done["first"][0]["crate"], "outer", "{done:#}");
    assert_eq!((world.locked("outer"), world.locked("inner")), (vec!["1.1.0".to_owned()], vec!["0.3.0".to_owned()]));
}

#[test]
fn where_a_newcomer_asks_for_more_than_the_lowest_it_comes_as_near_as_it_can() {
    let world = World::new();
    world.publish("inner", "0.1.0", &[]);
    world.publish("outer", "1.0.0", &["inner =0.1.0"]);
    world.need(&["outer 1"]);
    for version in ["0.3.0", "0.3.1", "0.3.2", "0.3.3"] {
        world.publish("inner", version, &[]);
    }
    world.publish("newcomer", "1.0.0", &["inner 0.3.2"]);
    world.publish("outer", "1.1.0", &["inner 0.3", "newcomer 1"]);
    world.advisory("RUSTSEC-2026-0011", "inner", "patched = [\">= 0.3.0\"]");
    world.refresh();
    let (output, _) = world.run(&["update", "--apply", "--lock-only"]);
    assert_eq!(output.code, 0, "{output}");
    assert!(output.stdout.contains("inner has come to 0.3.2"), "{output}");
    assert_eq!((world.locked("outer"), world.locked("inner")), (vec!["1.1.0".to_owned()], vec!["0.3.2".to_owned()]));
}

#[test]
fn where_there_is_no_way_the_chain_that_blocks_is_named() {
    let world = World::new();
    world.publish("stream", "0.3.0", &[]);
    world.publish("http", "0.14.0", &["stream 0.3"]);
    world.publish("sdk", "1.0.0", &["http 0.14"]);
    world.need(&["sdk 1"]);
    world.publish("stream", "0.4.0", &[]);
    world.publish("http", "1.0.0", &["stream 0.4"]);
    world.publish("sdk", "1.0.1", &["http 0.14"]);
    world.advisory("RUSTSEC-2026-0012", "stream", "patched = [\">= 0.4.0\"]");
    world.refresh();
    let before = world.lock();
    let (output, records) = world.run(&["update", "--apply", "--lock-only"]);
    assert_eq!(output.code, 1, "{output}");
    let findings = of_kind(&records, "finding");
    let blocked = findings.iter().find(|finding| finding["data"]["code"] == "blocked").expect("a blocker");
    let chain = &blocked["data"]["chains"][0];
    assert_eq!(chain[0]["by"], "http@0.14.0");
    assert_eq!(chain[0]["requires"], "^0.3");
    assert_eq!(chain[1]["by"], "sdk@1.0.0");
    assert!(chain[1]["because"].as_str().unwrap().contains("no release of sdk"), "{blocked:#}");
    assert_eq!(world.lock(), before);
}

#[test]
fn what_breaks_the_build_is_put_back_byte_for_byte() {
    let world = World::new();
    world.publish("clock", "0.3.1", &[]);
    world.need(&["clock 0.3"]);
    world.publish_as("clock", "0.3.6", &[], super::update_world::OLD, "compile_error!(\"not with us\");");
    world.advisory("RUSTSEC-2026-0010", "clock", "patched = [\">= 0.3.5\"]");
    world.refresh();
    let before = world.lock();
    let (output, records) = world.run(&["update", "--apply"]);
    assert_eq!(output.code, 10, "{output}");
    let done = step(&records, "step");
    assert_eq!(done["status"], "rolled-back");
    assert!(done["message"].as_str().unwrap().contains("not with us"), "{done:#}");
    assert_eq!(world.lock(), before);
    assert!(world.leftovers().is_empty());
    // Its twin: the same move, judged by the audit alone.
    let (output, _) = world.run(&["update", "--apply", "--lock-only"]);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(world.locked("clock"), ["0.3.6"]);
}

#[test]
fn a_workspace_that_does_not_build_beforehand_blames_no_step() {
    let world = clock();
    fs::write(world.path("app/src/lib.rs"), "compile_error!(\"ours\");").unwrap();
    let before = world.lock();
    let (output, records) = world.run(&["update", "--apply"]);
    assert_eq!(output.code, 2, "{output}");
    assert!(output.stderr.contains("before anything was changed"), "{output}");
    assert!(of_kind(&records, "step").is_empty());
    assert_eq!(world.lock(), before);
}

#[test]
fn a_cargo_that_says_it_went_well_and_moved_nothing_is_not_believed() {
    let world = clock();
    let before = world.lock();
    let fake = world.path("cargo-that-does-nothing");
    fs::write(
        &fake,
        "#!/bin/sh\nif [ \"$1\" = update ]; then echo '    Locking 0 packages to latest compatible versions' >&2; exit 0; fi\n\
         exec cargo \"$@\"\n",
    )
    .unwrap();
    fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = world.tool(&["update", "--apply", "--lock-only"]);
    let output = run(command.env("CARGO", &fake)).unwrap();
    assert_eq!(output.code, 1, "{output}");
    let records = testbed::records(&output.stdout).unwrap();
    let done = step(&records, "step");
    assert_eq!(done["status"], "ineffective", "{done:#}");
    assert!(done["message"].as_str().unwrap().contains("moved nothing"), "{done:#}");
    assert_eq!(world.lock(), before);
}

#[test]
fn a_move_that_leaves_the_finding_is_put_back_however_well_cargo_did() {
    let world = clock();
    let before = world.lock();
    let (output, _) = world.run(&["update"]);
    let plan = output.stdout.replace("\"to\":\"0.3.6\"", "\"to\":\"0.3.4\"");
    let output = run_fed(&mut world.tool(&["update", "--apply", "--lock-only", "-"]), &plan).unwrap();
    assert_eq!(output.code, 1, "{output}");
    let records = testbed::records(&output.stdout).unwrap();
    assert_eq!(step(&records, "step")["status"], "ineffective", "{records:#?}");
    assert_eq!(world.lock(), before);
}

#[test]
fn a_move_that_brings_a_finding_is_put_back() {
    let world = clock();
    world.advisory("RUSTSEC-2026-0013", "clock", "patched = [\">= 0.4.0\"]\nunaffected = [\"< 0.3.9\"]");
    let before = world.lock();
    let (output, _) = world.run(&["update"]);
    let plan = output.stdout.replace("\"to\":\"0.3.6\"", "\"to\":\"0.3.9\"");
    let output = run_fed(&mut world.tool(&["update", "--apply", "--lock-only", "-"]), &plan).unwrap();
    assert_eq!(output.code, 10, "{output}");
    let records = testbed::records(&output.stdout).unwrap();
    let done = step(&records, "step");
    assert_eq!(done["status"], "rolled-back");
    assert!(done["message"].as_str().unwrap().contains("RUSTSEC-2026-0013"), "{done:#}");
    assert_eq!(world.lock(), before);
}

#[test]
fn a_plan_goes_through_a_pipe() {
    let world = clock();
    let (output, _) = world.run(&["update"]);
    let output = run_fed(&mut world.tool(&["update", "--apply", "-"]), &output.stdout).unwrap();
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(world.locked("clock"), ["0.3.6"]);
    // One that was made for what is locked no more does nothing.
    world.commit();
    let stale =
        r#"{"type":"maint.plan.v1","data":{"lockfile":"LOCK","crate":"clock","from":"0.3.1","to":"0.3.9","fixes":[]}}"#
            .replace("LOCK", &world.lockfile().display().to_string());
    let output = run_fed(&mut world.tool(&["update", "--apply", "-"]), &stale).unwrap();
    assert_eq!(output.code, 0, "{output}");
    assert!(output.stdout.contains("plan again"), "{output}");
    assert_eq!(world.locked("clock"), ["0.3.6"]);
}

#[test]
fn the_cooldown_holds_back_plain_updates_and_not_what_ends_a_finding() {
    let world = World::new();
    world.publish("clock", "0.3.1", &[]);
    world.publish("other", "1.0.0", &[]);
    world.need(&["clock 0.3", "other 1"]);
    world.publish_as("clock", "0.3.6", &[], "2026-05-30T00:00:00Z", "");
    world.publish_as("other", "1.0.1", &[], "2026-05-20T00:00:00Z", "");
    world.publish_as("other", "1.0.2", &[], "2026-05-30T00:00:00Z", "");
    world.advisory("RUSTSEC-2026-0010", "clock", "patched = [\">= 0.3.5\"]");
    world.refresh();
    let (output, records) = world.run(&["update", "--compatible", "--apply", "--lock-only"]);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!((world.locked("clock"), world.locked("other")), (vec!["0.3.6".to_owned()], vec!["1.0.1".to_owned()]));
    let waived = of_kind(&records, "step").into_iter().find(|step| step["data"]["crate"] == "clock").unwrap();
    assert_eq!(waived["data"]["waived"], true);
    assert_eq!(waived["data"]["age_seconds"], 172_800.0);
    // Its twin: without the cooldown the newest is taken.
    world.commit();
    let (output, _) = world.run(&["update", "--compatible", "--apply", "--lock-only", "--cooldown", "0"]);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(world.locked("other"), ["1.0.2"]);
}

#[test]
fn a_young_release_that_would_come_along_is_not_taken() {
    let world = World::new();
    world.publish("clock", "0.3.1", &[]);
    world.need(&["clock 0.3"]);
    world.publish_as("fresh", "1.0.0", &[], "2026-05-31T00:00:00Z", "");
    world.publish("clock", "0.3.6", &["fresh 1"]);
    world.advisory("RUSTSEC-2026-0010", "clock", "patched = [\">= 0.3.5\"]");
    world.refresh();
    let before = world.lock();
    let (output, records) = world.run(&["update", "--apply", "--lock-only"]);
    assert_eq!(output.code, 10, "{output}");
    assert!(step(&records, "step")["message"].as_str().unwrap().contains("fresh 1.0.0"), "{output}");
    assert_eq!(world.lock(), before);
}

#[test]
fn a_version_that_was_taken_back_is_left_for_the_next_one() {
    let world = World::new();
    world.publish("clock", "1.0.0", &[]);
    world.need(&["clock 1"]);
    world.publish("clock", "1.0.1", &[]);
    world.publish("clock", "1.0.2", &[]);
    world.refresh();
    let (output, _) = world.run(&["update"]);
    assert_eq!(output.code, 0, "nothing is wrong yet: {output}");
    world.yank("clock", "1.0.0");
    world.refresh();
    let (output, records) = world.run(&["update", "--apply", "--lock-only"]);
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(step(&records, "step")["fixes"], serde_json::json!(["yanked"]));
    assert_eq!(world.locked("clock"), ["1.0.1"]);
}

#[test]
fn what_cargo_takes_along_without_need_goes_back() {
    let world = World::new();
    world.publish("grain", "1.0.0", &[]);
    world.publish("sand", "1.0.0", &["grain 1"]);
    world.publish("glass", "1.0.0", &[]);
    world.publish("clock", "0.3.1", &["sand 1", "glass 1"]);
    world.need(&["clock 0.3"]);
    world.publish("grain", "1.1.0", &[]);
    world.publish("sand", "1.1.0", &["grain 1"]);
    world.publish("glass", "1.2.0", &[]);
    world.publish("glass", "1.3.0", &[]);
    world.publish_as("glass", "1.4.0", &[], "2026-05-31T00:00:00Z", "");
    world.publish("clock", "0.3.6", &["sand 1", "glass 1.2"]);
    world.advisory("RUSTSEC-2026-0010", "clock", "patched = [\">= 0.3.5\"]");
    world.refresh();
    let (output, records) = world.run(&["update", "--apply", "--lock-only"]);
    assert_eq!(output.code, 0, "{output}");
    let locked = |name: &str| world.locked(name).join(" ");
    assert_eq!((locked("clock"), locked("sand"), locked("grain")), ("0.3.6".into(), "1.0.0".into(), "1.0.0".into()));
    assert_eq!(locked("glass"), "1.2.0", "the lowest that is accepted");
    assert!(
        step(&records, "step")["message"].as_str().unwrap().contains("2 of the lock file's entries changed"),
        "{output}"
    );
}

#[test]
fn a_patch_that_is_out_for_longer_than_a_day_is_overdue_and_one_of_today_is_not() {
    for (published, overdue) in [("2026-05-30T00:00:00Z", true), ("2026-05-31T12:00:00Z", false)] {
        let world = World::new();
        world.publish("clock", "0.3.1", &[]);
        world.need(&["clock 0.3"]);
        world.publish_as("clock", "0.3.6", &[], published, "");
        world.advisory("RUSTSEC-2026-0010", "clock", "patched = [\">= 0.3.5\"]");
        world.refresh();
        let (output, records) = world.run(&["update"]);
        assert_eq!(output.code, 1, "{output}");
        let late = of_kind(&records, "finding").into_iter().find(|finding| finding["data"]["code"] == "overdue");
        assert_eq!(
            late.map(|late| late["data"]["overdue_seconds"].clone()),
            overdue.then(|| 86_400.0.into()),
            "{output}"
        );
    }
}

#[test]
fn uncommitted_changes_of_the_lock_file_or_a_manifest_are_refused() {
    let world = clock();
    for (file, more) in [("Cargo.lock", "\n"), ("Cargo.toml", "\n# more\n")] {
        let path = world.path("app").join(file);
        let clean = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{clean}{more}")).unwrap();
        let before = world.lock();
        for args in [&["update", "--apply"][..], &["update", "--apply", "--lock-only"]] {
            let (output, _) = world.run(args);
            assert_eq!(output.code, 3, "{file}: {output}");
            assert!(output.stderr.contains(file) && output.stderr.contains("commit"), "{output}");
            assert_eq!(world.lock(), before);
        }
        fs::write(&path, clean).unwrap();
    }
    let (output, _) = world.run(&["update", "--apply", "--lock-only"]);
    assert_eq!(output.code, 0, "{output}");
}

#[test]
fn no_more_steps_are_made_than_allowed_and_the_others_are_listed() {
    let world = clock();
    let (output, records) = world.run(&["update", "--compatible", "--apply", "--lock-only", "--max-changes", "1"]);
    assert_eq!(output.code, 1, "{output}");
    assert_eq!((world.locked("clock"), world.locked("other")), (vec!["0.3.6".to_owned()], vec!["1.0.0".to_owned()]));
    assert!(of_kind(&records, "finding").iter().any(|left| left["data"]["status"] == "left"), "{output}");
}

#[test]
fn requirements_of_our_own_that_keep_a_release_out_are_listed_and_never_changed() {
    let world = clock();
    world.publish("other", "2.0.0", &[]);
    world.refresh();
    let manifest = fs::read(world.path("app/Cargo.toml")).unwrap();
    let (output, records) = world.run(&["update", "--breaking", "--apply", "--lock-only"]);
    assert_eq!(output.code, 1, "{output}");
    let listed = of_kind(&records, "finding").into_iter().find(|f| f["data"]["code"] == "breaking").unwrap();
    assert_eq!((&listed["data"]["crate"], &listed["data"]["to"]), (&"other".into(), &"2.0.0".into()));
    assert_eq!(fs::read(world.path("app/Cargo.toml")).unwrap(), manifest);
    assert_eq!(world.locked("other"), ["1.0.0"]);
}
