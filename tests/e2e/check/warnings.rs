//! Warnings, and the ratchet.

use super::{BROKEN, GOOD, ONE_WARNING, Project, check, findings, subjects};

#[test]
fn a_warning_counts_once_with_its_place_and_lint_although_two_targets_have_it() {
    let project = Project::new(&[("one", ONE_WARNING), ("good", GOOD)]);
    // A test makes the library be compiled twice.
    project.write("crates/one/tests/it.rs", "//! Tests.\n#[test]\nfn t() {\n    one::nothing();\n}\n");
    let (out, events) = project.run(&["warnings"]);
    assert_eq!(out.code, 1, "{out}");
    let found = findings(&events, "code", "unused_variables");
    assert_eq!(subjects(&found), ["crates/one/src/lib.rs:5"], "{out}");
    assert_eq!(found[0]["data"]["file"], "crates/one/src/lib.rs");
    assert_eq!(found[0]["data"]["line"], 5);
    assert_eq!((check(&events, "one"), check(&events, "good")), ("warning", "ok"));

    // What was compiled before says the same again.
    let (again, _) = project.run(&["warnings"]);
    assert_eq!(again.code, 1, "{again}");
    project.write("crates/one/src/lib.rs", ONE_WARNING.replace("never", "_never"));
    let (healthy, events) = project.run(&["warnings"]);
    assert_eq!(healthy.code, 0, "{healthy}");
    assert_eq!(check(&events, "one"), "ok");
}

#[test]
fn flags_of_the_caller_hide_nothing() {
    let project = Project::new(&[("one", ONE_WARNING)]);
    let mut command = project.command(&["warnings"]);
    command.env("RUSTFLAGS", "-Awarnings").env("CARGO_BUILD_RUSTFLAGS", "-Awarnings");
    let out = testbed::run(&mut command).unwrap();
    assert_eq!(out.code, 1, "{out}");
    assert!(out.stdout.contains("unused_variables"), "{out}");
}

#[test]
fn what_cannot_be_reached_because_another_crate_is_broken_is_unknown_and_the_rest_is_counted() {
    let project = Project::new(&[("broken", BROKEN), ("needs", GOOD), ("one", ONE_WARNING)]);
    project.manifest("needs", "[dependencies]\nbroken = { path = \"../broken\" }\n");
    let (out, events) = project.run(&["warnings"]);
    assert_eq!(out.code, 2, "{out}");
    assert_eq!(
        (check(&events, "broken"), check(&events, "needs"), check(&events, "one")),
        ("critical", "unknown", "warning")
    );
    assert_eq!(subjects(&findings(&events, "code", "E0425")), ["crates/broken/src/lib.rs:6"], "{out}");
    project.write("crates/broken/src/lib.rs", GOOD);
    let (out, events) = project.run(&["warnings"]);
    assert_eq!((out.code, check(&events, "needs")), (1, "ok"), "{out}");
}

#[test]
fn a_build_script_that_fails_is_critical_and_told() {
    let project = Project::new(&[("a", GOOD)]);
    project.write(
        "crates/a/build.rs",
        "//! Build.\nfn main() {\n    eprintln!(\"no weather\");\n    std::process::exit(1);\n}\n",
    );
    let (out, events) = project.run(&["warnings"]);
    assert_eq!((out.code, check(&events, "a")), (2, "unknown"), "{out}");
    assert!(out.stdout.contains("custom build command"), "{out}");
    project.write("crates/a/build.rs", "//! Build.\nfn main() {}\n");
    assert_eq!(project.run(&["warnings"]).0.code, 0);
}

#[test]
fn the_ratchet_falls_and_never_rises() {
    let project = Project::new(&[("a", ONE_WARNING), ("b", ONE_WARNING)]);
    let ratchet = ["warnings", "--ratchet", "ratchet.toml"];
    let update = ["warnings", "--ratchet", "ratchet.toml", "--update"];

    let (out, _) = project.run(&ratchet);
    assert_eq!(out.code, 3, "a ratchet that is not there allows nothing and forbids nothing: {out}");
    let (out, _) = project.run(&[&update[..], &["--dry-run"]].concat());
    assert_eq!(out.code, 0, "{out}");
    assert!(!project.path("ratchet.toml").exists());
    assert_eq!(project.run(&update).0.code, 0);
    assert!(project.read("ratchet.toml").ends_with("[warnings]\na = 1\nb = 1\n"), "{}", project.read("ratchet.toml"));

    let (out, events) = project.run(&ratchet);
    assert_eq!((out.code, check(&events, "a")), (0, "ok"), "{out}");
    assert_eq!(
        findings(&events, "code", "unused_variables").len(),
        2,
        "what is let pass is still in the records: {out}"
    );

    // One more in a, one fewer in b: a is critical and its number stays, b's falls.
    project.write("crates/a/src/lib.rs", ONE_WARNING.replace("let never", "let other = 2;\n    let never"));
    project.write("crates/b/src/lib.rs", GOOD);
    let (out, events) = project.run(&ratchet);
    assert_eq!((out.code, check(&events, "a"), check(&events, "b")), (2, "critical", "ok"), "{out}");
    assert!(out.stdout.contains("fewer than the 1 of the ratchet"), "{out}");
    assert_eq!(project.run(&update).0.code, 2);
    assert!(project.read("ratchet.toml").ends_with("[warnings]\na = 1\n"), "{}", project.read("ratchet.toml"));

    // Now b may have none.
    project.write("crates/a/src/lib.rs", ONE_WARNING);
    project.write("crates/b/src/lib.rs", ONE_WARNING);
    let (out, events) = project.run(&update);
    assert_eq!((out.code, check(&events, "a"), check(&events, "b")), (2, "ok", "critical"), "{out}");
    assert!(project.read("ratchet.toml").ends_with("[warnings]\na = 1\n"));
}

#[test]
fn the_ratchet_stays_as_it_is_when_not_everything_compiles() {
    let project = Project::new(&[("a", BROKEN), ("b", GOOD)]);
    project.write("ratchet.json", "{\"warnings\": {\"a\": 3, \"b\": 4}}");
    let (out, _) = project.run(&["warnings", "--ratchet", "ratchet.json", "--update"]);
    assert_eq!(out.code, 2, "{out}");
    assert_eq!(project.read("ratchet.json"), "{\"warnings\": {\"a\": 3, \"b\": 4}}");
    project.write("crates/a/src/lib.rs", ONE_WARNING);
    assert_eq!(project.run(&["warnings", "--ratchet", "ratchet.json", "--update"]).0.code, 0);
    let lowered: serde_json::Value = serde_json::from_str(&project.read("ratchet.json")).unwrap();
    assert_eq!(lowered, serde_json::json!({"warnings": {"a": 1}}));
}

#[test]
fn a_lock_file_that_does_not_fit_is_unknown_and_stays_as_it_is() {
    let project = Project::new(&[("a", GOOD), ("b", GOOD)]);
    assert_eq!(project.run(&["warnings"]).0.code, 0);
    let lock = project.read("Cargo.lock");
    project.manifest("a", "[dependencies]\nb = { path = \"../b\" }\n");
    let (out, _) = project.run(&["warnings"]);
    assert_eq!(out.code, 3, "{out}");
    assert!(out.stderr.contains("lock"), "{out}");
    assert_eq!(project.read("Cargo.lock"), lock);
    project.cargo(&["generate-lockfile"]);
    assert_eq!(project.run(&["warnings"]).0.code, 0);
}
