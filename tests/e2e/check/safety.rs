//! Odd input, interruption, and the forms of output.

use std::time::Duration;

use testbed::{Signal, start, wait_until};

use super::{GOOD, ONE_WARNING, Project};
use crate::contracts::schema::{assert_valid, validator};

#[test]
fn no_input_makes_it_fail_in_another_way_than_by_saying_so() {
    let project = Project::new(&[("a", GOOD)]);
    project.write("crates/a/src/latin.rs", b"//! \xe9\n");
    project.write("crates/a/src/deep.rs", format!("fn f() {{ {}{} }}", "(".repeat(200_000), ")".repeat(200_000)));
    project.write("crates/a/src/not.rs", format!("fn f() {{ {}x }}", "!".repeat(400_000)));
    project.write("crates/a/src/null.rs", [0_u8; 4096]);
    project.write("docs/latin.md", b"# \xe9\n");
    project.write("docs/deep.md", "> ".repeat(20_000) + &"[".repeat(20_000));
    std::os::unix::fs::symlink(project.path("crates/a/src"), project.path("crates/a/src/again")).unwrap();
    std::os::unix::fs::symlink("nowhere.rs", project.path("crates/a/src/dangling.rs")).unwrap();
    for part in [&["clean", "--only", "limits"][..], &["architecture"], &["documentation", "--only", "links,reference"]]
    {
        let (out, events) = project.run(part);
        assert_eq!(out.code, 3, "{part:?}: {out}");
        let unknown =
            events.iter().filter(|event| event["type"] == "maint.finding.v1" && event["data"]["status"] == "unknown");
        let expected = if part[0] == "documentation" { 1 } else { 4 };
        assert_eq!(unknown.count(), expected, "{part:?}: {out}");
    }
}

#[test]
fn interrupted_it_ends_what_it_started() {
    let project = Project::new(&[("a", GOOD)]);
    let pid = project.path("../pid");
    project.write(
        "crates/a/build.rs",
        format!(
            "//! Waits.\nfn main() {{\n    std::fs::write({:?}, std::process::id().to_string()).unwrap();\n    std::thread::sleep(std::time::Duration::from_secs(600));\n}}\n",
            pid.display().to_string()
        ),
    );
    let running = start(&mut project.command(&["warnings"])).unwrap();
    wait_until("the build script runs", Duration::from_secs(60), || {
        std::fs::read_to_string(&pid).is_ok_and(|text| !text.is_empty())
    })
    .unwrap();
    running.signal(Signal::INT);
    let out = running.finish(Duration::from_secs(30)).unwrap();
    assert_eq!(out.code, 130, "{out}");
    let process = format!("/proc/{}/stat", std::fs::read_to_string(&pid).unwrap());
    let is_gone = || std::fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z "));
    wait_until("the build script has ended", Duration::from_secs(10), is_gone).unwrap();
}

#[test]
fn what_takes_too_long_is_unknown() {
    let project = Project::new(&[("a", GOOD)]);
    project.write(
        "crates/a/build.rs",
        "//! Waits.\nfn main() {\n    std::thread::sleep(std::time::Duration::from_secs(600));\n}\n",
    );
    let (out, _) = project.run(&["warnings", "--timeout", "3s"]);
    assert!(out.code == 3 && out.stderr.contains("did not end within"), "{out}");
}

#[test]
fn records_are_valid_and_every_form_of_output_is_written() {
    let project = Project::new(&[("a", ONE_WARNING)]);
    project.write("README.md", "[gone](gone.md)\n");
    let validator = validator();
    for part in ["warnings", "clean", "documentation", "architecture"] {
        let (out, _) = project.run(&[part]);
        assert_valid(&validator, &out);
        let nagios = testbed::run(project.command(&[part]).args(["-q", "-o", "nagios"])).unwrap();
        assert!(nagios.stdout.starts_with("CODE-CHECK ") && nagios.stdout.lines().count() == 1, "{nagios}");
        let prometheus = testbed::run(project.command(&[part]).args(["-q", "-o", "prometheus"])).unwrap();
        assert!(prometheus.stdout.contains(&format!("code_check_{part}_run_status")), "{prometheus}");
        let help = testbed::run(project.command(&[part]).arg("--help")).unwrap();
        assert!(help.code == 0 && help.stdout.contains("Examples:"), "{help}");
    }
}

#[test]
fn it_is_found_by_cargo_and_works_on_a_workspace_elsewhere() {
    let project = Project::new(&[("a", ONE_WARNING)]);
    let mut command = testbed::tool("code-check", &project.state()).unwrap_or_else(|error| panic!("{error}"));
    std::fs::create_dir_all(project.state()).unwrap();
    let manifest = project.path("crates/a/Cargo.toml");
    let target = project.path("../elsewhere");
    command
        .args(["code-check", "warnings", "--offline", "--manifest-path"])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&target);
    let out = testbed::run(&mut command).unwrap();
    assert!(out.code == 1 && out.stdout.contains("unused_variables"), "{out}");
    assert!(target.is_dir() && !project.path("target").exists());
    let mut nowhere = testbed::tool("code-check", &project.state()).unwrap();
    let out = testbed::run(nowhere.arg("warnings")).unwrap();
    assert!(out.code == 3 && out.stderr.contains("--manifest-path"), "{out}");
}
