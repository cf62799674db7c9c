//! Documentation: what is missing, and what is not true.

use super::{GOOD, Project, check, findings, subjects};

/// A program with a subcommand and two flags.
const PROGRAM: &str = r#"//! A program.
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--help"] => println!("Usage: tool <COMMAND>\n\nCommands:\n  greet  Greet\n\nOptions:\n  -q, --quiet  Less"),
        ["greet", "--help"] => println!("Usage: tool greet [NAME]\n\nOptions:\n      --times <N>  How often"),
        ["greet", name] => println!("hello {name}"),
        _ => std::process::exit(2),
    }
}
"#;

#[test]
fn items_without_documentation_and_links_in_it_that_lead_nowhere_are_found() {
    let text = "//! See [`Gone`].\n\npub fn undocumented() {}\n\n/// Documented, as [`undocumented`] is not.\npub fn documented() {}\n";
    let project = Project::new(&[("a", text), ("b", GOOD)]);
    let (out, events) = project.run(&["documentation", "--only", "items"]);
    assert_eq!((out.code, check(&events, "a"), check(&events, "b")), (1, "warning", "ok"), "{out}");
    assert_eq!(subjects(&findings(&events, "kind", "missing-docs")), ["crates/a/src/lib.rs:3"], "{out}");
    assert_eq!(subjects(&findings(&events, "kind", "broken-link")), ["crates/a/src/lib.rs:1"], "{out}");
    // What the compiler warns about while it compiles what another crate needs is not about documentation.
    project.write("crates/a/src/lib.rs", super::ONE_WARNING);
    project.manifest("b", "[dependencies]\na = { path = \"../a\" }\n");
    project.cargo(&["generate-lockfile"]);
    let (out, _) = project.run(&["documentation", "--only", "items"]);
    assert_eq!(out.code, 0, "{out}");
}

#[test]
fn links_and_anchors_that_lead_nowhere_are_found_and_others_hold() {
    let project = Project::new(&[("a", GOOD)]);
    project.write(
        "README.md",
        "# The tool\n[a](docs/a.md) [b](docs/a.md#in-it) [c](#the-tool) [d](https://example.org/x)\n",
    );
    project.write("docs/a.md", "# In it\n\n```text\n[not a link](gone.md)\n```\n");
    let links = ["documentation", "--only", "links"];
    let (out, _) = project.run(&links);
    assert_eq!(out.code, 0, "{out}");
    project.write(
        "README.md",
        "# A tool\n[a](docs/b.md)\n[b](docs/a.md#out-of-it)\n[c](#the-tool)\n[d][e]\n[f](../../x)\n",
    );
    let (out, events) = project.run(&links);
    assert_eq!(out.code, 1, "{out}");
    let found = findings(&events, "kind", "broken-link");
    assert_eq!(subjects(&found), ["README.md:2", "README.md:3", "README.md:4", "README.md:6", "README.md:5"], "{out}");
    let (out, _) = project.run(&[&links[..], &["--exclude", "README.md"]].concat());
    assert_eq!(out.code, 0, "{out}");
}

#[test]
fn a_documented_command_that_the_program_does_not_have_is_found() {
    let project = Project::new(&[("tool", GOOD)]);
    project.write("crates/tool/src/main.rs", PROGRAM);
    let page = |command: &str| format!("# T\n\n```console\n$ {command}\nhello\n```\n");
    project.write("README.md", page("tool greet world"));
    let reference = ["documentation", "--only", "reference"];
    let (out, events) = project.run(&reference);
    assert_eq!((out.code, check(&events, "tool")), (3, "unknown"), "a program that is not built tells nothing: {out}");
    project.cargo(&["build"]);
    for good in [
        "tool greet world",
        "tool -q greet --times 3 world | head -1",
        "FOO=1 target/debug/tool greet --times=3",
        "cargo tool greet x",
        "other --flag",
    ] {
        project.write("README.md", page(good));
        let (out, _) = project.run(&reference);
        assert_eq!(out.code, 0, "{good}: {out}");
    }
    for (bad, why) in [
        ("tool meet", "no subcommand meet"),
        ("tool greet --often 3", "no flag --often"),
        ("tool -x greet", "no flag -x"),
    ] {
        project.write("README.md", page(bad));
        let (out, events) = project.run(&reference);
        assert_eq!(out.code, 1, "{bad}: {out}");
        let found = findings(&events, "kind", "reference");
        assert_eq!(subjects(&found), ["README.md:4"], "{out}");
        assert!(found[0]["data"]["message"].as_str().unwrap().contains(why), "{out}");
    }
}

#[test]
fn examples_that_are_marked_run_when_asked_and_only_then() {
    let project = Project::new(&[("tool", GOOD)]);
    project.write("crates/tool/src/main.rs", PROGRAM);
    project.cargo(&["build"]);
    let marker = project.path("../ran");
    let good = format!(
        "# T\n\n```sh run\ntool greet you | grep -q 'hello you'\ntouch here {}\n```\n\n```sh\nfalse\n```\n",
        marker.display()
    );
    project.write("README.md", &good);
    let links = ["documentation", "--only", "links"];
    assert_eq!(project.run(&links).0.code, 0);
    assert!(!marker.exists());
    let run = [&links[..], &["--run-examples"]].concat();
    let (out, _) = project.run(&run);
    assert_eq!(out.code, 0, "{out}");
    assert!(marker.exists() && !project.path("here").exists());

    project.write("README.md", good.replace("hello you", "goodbye"));
    let (out, events) = project.run(&run);
    assert_eq!(subjects(&findings(&events, "kind", "example")), ["README.md:4"], "{out}");
    project.write("README.md", "# T\n\n```sh run\nsleep 600\n```\n");
    let (out, _) = project.run(&[&run[..], &["--example-timeout", "1s"]].concat());
    assert!(out.code == 1 && out.stdout.contains("does not end within"), "{out}");
}
