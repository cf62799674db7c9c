//! `outdated`: what cargo's cache knows, told without asking anybody.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testbed::{start, wait_until};

use super::update_world::{World, of_kind};

fn row<'a>(records: &'a [Value], subject: &str) -> &'a Value {
    let found = records.iter().find(|record| record["subject"] == subject);
    &found.unwrap_or_else(|| panic!("{subject} is not in {records:#?}"))["data"]
}

/// `clock` is behind; `pinned` holds `inner` back; `fine` is the newest.
fn world() -> World {
    let world = World::new();
    for name in ["clock", "fine", "inner"] {
        world.publish_as(name, "1.0.0", &[], "2025-06-01T00:00:00Z", "");
    }
    world.publish("pinned", "1.0.0", &["inner =1.0.0"]);
    world.need(&["clock 1", "fine 1", "pinned 1"]);
    world.publish_as("clock", "1.1.0", &[], "2025-12-01T00:00:00Z", "");
    world.publish_as("clock", "2.0.0-rc.1", &[], "2026-05-01T00:00:00Z", "");
    world.publish_as("clock", "2.0.0", &[], "2026-06-01T00:00:00Z", "");
    world.publish_as("clock", "3.0.0", &[], "2026-06-01T00:00:00Z", "");
    world.yank("clock", "3.0.0");
    world.publish("inner", "1.0.1", &[]);
    world.refresh();
    world
}

#[test]
fn what_is_behind_is_told_with_what_holds_it_back() {
    let world = world();
    let (output, records) = world.run(&["outdated"]);
    assert_eq!(output.code, 0, "{output}");
    let clock = row(&records, "clock@1.0.0");
    assert_eq!((&clock["compatible"], &clock["latest"]), (&"1.1.0".into(), &"2.0.0".into()), "{clock:#}");
    assert_eq!(clock["age_days"], 365.0);
    assert_eq!(clock["behind_seconds"], 365.0 * 86_400.0);
    assert_eq!(clock["held_by"], serde_json::json!(["app@0.1.0 requires ^1"]));
    let inner = row(&records, "inner@1.0.0");
    assert_eq!((&inner["compatible"], &inner["latest"]), (&"1.0.0".into(), &"1.0.1".into()));
    assert_eq!(inner["held_by"], serde_json::json!(["pinned@1.0.0 requires =1.0.0"]));
    assert!(!records.iter().any(|record| record["subject"] == "fine@1.0.0"), "{output}");
    let total = of_kind(&records, "metric").into_iter().find(|metric| metric["data"]["packages"] == 4).unwrap();
    assert_eq!(total["data"]["behind"], 2);
    assert!((total["data"]["libyears"].as_f64().unwrap() - 365.0 / 365.25).abs() < 1e-9, "{total:#}");
}

#[test]
fn a_named_crate_is_told_of_even_when_it_is_the_newest_and_one_that_is_not_there_is_an_error() {
    let world = world();
    let (output, records) = world.run(&["outdated", "fine"]);
    assert_eq!((output.code, &row(&records, "fine@1.0.0")["latest"]), (0, &"1.0.0".into()), "{output}");
    let (output, _) = world.run(&["outdated", "nothing"]);
    assert_eq!(output.code, 3, "{output}");
}

#[test]
fn a_version_that_was_taken_back_is_a_warning() {
    let world = world();
    world.publish("fine", "1.0.1", &[]);
    world.yank("fine", "1.0.0");
    world.refresh();
    let (output, records) = world.run(&["outdated"]);
    assert_eq!(output.code, 1, "{output}");
    assert_eq!(row(&records, "fine@1.0.0")["yanked"], true);
}

#[test]
fn a_crate_that_is_not_cached_is_unknown_and_not_up_to_date() {
    let world = world();
    let cache = std::fs::read_dir(world.path("home/registry/index")).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(cache.join(".cache/fi/ne/fine")).unwrap();
    let (output, records) = world.run(&["outdated"]);
    assert_eq!(output.code, 3, "{output}");
    assert_eq!(row(&records, "index")["unknown"], serde_json::json!(["fine@1.0.0"]));
}

#[test]
fn a_release_for_a_newer_compiler_is_not_what_the_workspace_can_take() {
    let world = world();
    let manifest = world.path("app/Cargo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("edition", "rust-version = \"1.60\"\nedition")).unwrap();
    let entry = world.path("registry/cl/oc/clock");
    let text = std::fs::read_to_string(&entry).unwrap();
    let newer = text.replace("\"vers\":\"1.1.0\"", "\"rust_version\":\"1.70\",\"vers\":\"1.1.0\"");
    assert_ne!(text, newer);
    std::fs::write(entry, newer).unwrap();
    world.refresh();
    let (output, records) = world.run(&["outdated", "clock"]);
    assert_eq!(output.code, 0, "{output}");
    let clock = row(&records, "clock@1.0.0");
    assert_eq!((&clock["compatible"], &clock["msrv_compatible"]), (&"1.1.0".into(), &"1.0.0".into()), "{clock:#}");
}

#[test]
fn it_does_not_wait_for_a_cargo_that_holds_its_lock() {
    let world = world();
    let (lock, held) = (world.path("home/.package-cache"), world.path("held"));
    let mut holder = Command::new("flock");
    holder.arg("--exclusive").arg(&lock).args(["sh", "-c", &format!("touch {}; exec sleep 60", held.display())]);
    let _holder = start(&mut holder).unwrap();
    wait_until("the lock is held", Duration::from_secs(10), || held.exists()).unwrap();
    let output = start(&mut world.tool(&["outdated"])).unwrap().finish(Duration::from_secs(20)).unwrap();
    assert_eq!(output.code, 0, "{output}");
    let output = start(&mut world.tool(&["update"])).unwrap().finish(Duration::from_secs(20)).unwrap();
    assert_eq!(output.code, 0, "{output}");
}
