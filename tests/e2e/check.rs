//! code-check, end to end: the real cargo, rustfmt, clippy and rustdoc on small workspaces.

mod architecture;
mod clean;
mod documentation;
mod ourselves;
mod safety;
mod scripts;
mod warnings;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use testbed::{Output, records, run, tool};

/// A workspace of crates that need nothing but each other, and a directory for the program's state.
struct Project {
    dir: TempDir,
}

impl Project {
    /// A workspace with these crates; each has a `src/lib.rs` with this text.
    fn new(crates: &[(&str, &str)]) -> Self {
        let project = Project { dir: tempfile::tempdir().unwrap() };
        project.write("Cargo.toml", "[workspace]\nmembers = [\"crates/*\"]\nresolver = \"3\"\n");
        project.write(".gitignore", "/target\n");
        for (name, text) in crates {
            project.manifest(name, "");
            project.write(&format!("crates/{name}/src/lib.rs"), text);
        }
        std::fs::create_dir_all(project.state()).unwrap();
        project
    }

    /// The manifest of a crate; `rest` is appended.
    fn manifest(&self, name: &str, rest: &str) {
        let text = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n{rest}");
        self.write(&format!("crates/{name}/Cargo.toml"), &text);
    }

    /// A path in the workspace.
    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("work").join(path)
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        std::fs::create_dir_all(self.state()).unwrap();
        let mut command = tool("code-check", &self.state()).unwrap();
        command.current_dir(self.path("")).args(args).arg("--offline");
        command
    }

    /// Runs it for its records.
    fn run(&self, args: &[&str]) -> (Output, Vec<Value>) {
        let out = run(self.command(args).args(["-q", "-o", "ndjson"])).unwrap();
        let events = records(&out.stdout).unwrap();
        (out, events)
    }

    /// Runs cargo itself.
    fn cargo(&self, args: &[&str]) {
        let out = run(Command::new("cargo").args(args).arg("--offline").current_dir(self.path(""))).unwrap();
        assert_eq!(out.code, 0, "{out}");
    }
}

/// The status of a check of this subject.
fn check<'a>(events: &'a [Value], subject: &str) -> &'a str {
    let found = events.iter().find(|event| event["type"] == "maint.check.v1" && event["subject"] == subject);
    found.unwrap_or_else(|| panic!("no check of {subject}: {events:#?}"))["data"]["status"].as_str().unwrap()
}

/// The findings for which a field has a value.
fn findings<'a>(events: &'a [Value], field: &str, value: &str) -> Vec<&'a Value> {
    let is_meant = |event: &&Value| event["type"] == "maint.finding.v1" && event["data"][field] == value;
    events.iter().filter(is_meant).collect()
}

fn subjects<'a>(found: &[&'a Value]) -> Vec<&'a str> {
    found.iter().map(|event| event["subject"].as_str().unwrap()).collect()
}

/// Every file below a directory with its content, but the target directory.
fn content(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().unwrap() != "target" {
                    directories.push(path);
                }
            } else {
                found.push((path.clone(), std::fs::read(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// A library that nobody can object to.
const GOOD: &str = "//! Good.\n\n/// Adds one.\npub fn more(a: u8) -> u8 {\n    a.saturating_add(1)\n}\n";

/// A library with one warning, `unused_variables` in line 5.
const ONE_WARNING: &str = "//! One.\n\n/// Does nothing.\npub fn nothing() {\n    let never = 1;\n}\n";

/// A library that does not compile, which would have a warning besides.
const BROKEN: &str =
    "//! Broken.\n\n/// Does nothing.\npub fn nothing() {\n    let never = 1;\n    no_such_function();\n}\n";
