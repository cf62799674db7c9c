//! What the scripts that this program replaces did wrong, each with its healthy twin.

use super::{BROKEN, GOOD, Project, check, content, findings};

#[test]
fn a_run_that_could_not_look_never_says_that_all_is_well() {
    let project = Project::new(&[("a", GOOD)]);
    for part in [&["warnings"][..], &["clean"], &["documentation"], &["architecture"]] {
        let mut command = project.command(part);
        command.env("PATH", "/nonexistent").env_remove("CARGO");
        let out = testbed::run(&mut command).unwrap();
        assert_eq!(out.code, 3, "{part:?}: {out}");
        assert!(out.stdout.contains("UNKNOWN") && out.stderr.contains("cargo"), "{part:?}: {out}");
        let (healthy, _) = project.run(part);
        assert_eq!(healthy.code, 0, "{part:?}: {healthy}");
    }
}

#[test]
fn a_part_whose_program_is_missing_is_unknown_and_the_others_are_done() {
    let project = Project::new(&[("a", GOOD)]);
    let sysroot = testbed::run(std::process::Command::new("rustc").args(["--print", "sysroot"])).unwrap();
    let sysroot = std::path::PathBuf::from(sysroot.stdout.trim());
    // A cargo and a compiler alone: rustfmt and clippy are in no directory where they are looked for.
    let bin = project.path("../bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(sysroot.join("bin/rustc"), bin.join("rustc")).unwrap();
    let mut command = project.command(&["clean", "-q", "-o", "ndjson"]);
    command.env("PATH", &bin).env("CARGO", sysroot.join("bin/cargo")).env("CARGO_HOME", project.path("../home"));
    let out = testbed::run(&mut command).unwrap();
    let events = testbed::records(&out.stdout).unwrap();
    assert_eq!(out.code, 3, "{out}");
    let of = |part: &str| check(&events, part);
    assert_eq!((of("format"), of("lints"), of("a")), ("unknown", "unknown", "ok"), "{out}");
    let (healthy, events) = project.run(&["clean"]);
    assert_eq!((healthy.code, check(&events, "format")), (0, "ok"), "{healthy}");
}

#[test]
fn a_crate_that_does_not_compile_does_not_have_no_warnings() {
    let project = Project::new(&[("a", BROKEN)]);
    let (out, events) = project.run(&["warnings"]);
    assert_eq!((out.code, check(&events, "a")), (2, "critical"), "{out}");
    assert!(!events.iter().any(|event| event["data"]["warnings"] == 0), "{out}");
    project.write("crates/a/src/lib.rs", GOOD);
    let (out, events) = project.run(&["warnings"]);
    assert_eq!((out.code, check(&events, "a")), (0, "ok"), "{out}");
    assert!(events.iter().any(|event| event["data"]["warnings"] == 0), "{out}");
}

#[test]
fn warnings_are_counted_and_not_words() {
    // Three warnings of one lint, none of which is called unused; and the word in many places that warn of nothing.
    let text = "//! Unused, unused, warning: unused.\n\n/// Not unused.\n#[deprecated(note = \"unused unused\")]\npub fn unused() {}\n\n\
         /// Calls it.\npub fn calls() {\n    unused();\n    unused();\n    unused();\n    println!(\"warning: unused\");\n}\n";
    let project = Project::new(&[("a", text)]);
    let (out, events) = project.run(&["warnings"]);
    assert_eq!(findings(&events, "code", "deprecated").len(), 3, "{out}");
    assert!(events.iter().any(|event| event["subject"] == "a" && event["data"]["warnings"] == 3), "{out}");
    let silent = text.replace("#[deprecated(note = \"unused unused\")]\n", "");
    project.write("crates/a/src/lib.rs", silent);
    let (out, _) = project.run(&["warnings"]);
    assert_eq!(out.code, 0, "{out}");
}

#[test]
fn looking_changes_nothing_and_leaves_nothing_behind() {
    let project = Project::new(&[("a", &super::ONE_WARNING.replace("    let", "  let"))]);
    project.write("README.md", "[gone](gone.md)\n");
    project.write("ratchet.toml", "[warnings]\na = 5\n");
    project.cargo(&["generate-lockfile"]);
    let before = content(&project.path(""));
    for part in [&["warnings", "--ratchet", "ratchet.toml"][..], &["clean"], &["documentation"], &["architecture"]] {
        project.run(part);
        assert!(content(&project.path("")) == before, "{part:?} changed the workspace");
    }
    assert_eq!(project.run(&["warnings", "--ratchet", "ratchet.toml", "--update"]).0.code, 0);
    let changed: Vec<_> = content(&project.path("")).into_iter().filter(|file| !before.contains(file)).collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert!(changed[0].0.ends_with("ratchet.toml"));
    assert_eq!(content(&project.path("")).len(), before.len());
}
