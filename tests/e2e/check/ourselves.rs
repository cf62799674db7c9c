//! This workspace itself.

use std::path::Path;

use testbed::{records, run, tool};

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
