//! This workspace itself.

use std::path::{Path, PathBuf};

use serde_json::Value;
use testbed::{records, run, tool};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What code-check says of this workspace, and how it ended.
fn checked(args: &[&str]) -> (i32, Vec<Value>) {
    let state = tempfile::tempdir().unwrap();
    let mut command = tool("code-check", state.path()).unwrap();
    command.args(args).args(["-q", "-o", "ndjson", "--manifest-path"]).arg(root().join("Cargo.toml"));
    let out = run(&mut command).unwrap();
    (out.code, records(&out.stdout).unwrap())
}

fn wrong(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["data"]["status"] != "ok" && event["type"] != "maint.summary.v1").collect()
}

/// Format and lints are the first steps of every test run; here are the limits. What the worst function of ours
/// has stands here, so that it can only become less.
#[test]
fn no_function_of_ours_is_above_the_limits() {
    let limits =
        ["clean", "--only", "limits", "--max-cyclomatic", "31", "--max-cognitive", "31", "--test-max-cognitive", "37"];
    let (code, events) = checked(&limits);
    assert_eq!(code, 0, "{:#?}", wrong(&events));
    let (code, _) = checked(&["clean", "--only", "limits", "--max-cyclomatic", "20"]);
    assert_eq!(code, 1, "a limit that is broken is told");
}

/// Modules that need each other are known by name in `tests/fixtures/architecture.json`; there are to be no more.
#[test]
fn no_new_circle_of_modules_has_come() {
    let known = root().join("tests/fixtures/architecture.json");
    let (_, events) = checked(&["architecture", "--baseline", known.to_str().unwrap()]);
    let circles: Vec<_> = events.iter().filter(|event| event["data"]["kind"] == "circle").collect();
    assert!(!circles.is_empty() && wrong(&events).is_empty(), "{:#?}", wrong(&events));
}

#[test]
fn what_our_own_pages_say_is_true() {
    let state = tempfile::tempdir().unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("Cargo.toml");
    // The programs lie beside code-check itself, wherever that was built.
    let mut command = tool("code-check", state.path()).unwrap();
    let programs = Path::new(command.get_program()).parent().unwrap().to_owned();
    command.args(["documentation", "--only", "links,reference", "--offline", "-q", "-o", "ndjson", "--manifest-path"]);
    command.arg(manifest).arg("--bin-dir").arg(programs);
    let out = run(&mut command).unwrap();
    let events = records(&out.stdout).unwrap();
    let checks: Vec<_> = events.iter().filter(|event| event["type"] == "maint.check.v1").collect();
    assert!(checks.iter().any(|event| event["data"]["checked"].as_u64().is_some_and(|count| count > 5)), "{out}");
    // A program that this run of the tests did not build is unknown, and that is all that may be.
    let wrong: Vec<_> = events.iter().filter(|event| event["data"]["status"] == "warning").collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
