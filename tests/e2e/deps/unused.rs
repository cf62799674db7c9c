//! unused: the compiler's own word, and no false alarm. Every dependency is a crate of the workspace's neighbourhood.

use std::fs;
use std::path::Path;

use serde_json::Value;
use testbed::{Output, records, run, tool};

use super::update_world::of_kind;

struct Bed {
    directory: tempfile::TempDir,
}

/// Name, its Cargo.toml besides name and version, and its code.
const CRATES: &[(&str, &str, &str)] = &[
    ("plain", "", "pub fn f() {}"),
    ("dashed-name", "[lib]\nname = \"other_name\"\n", "pub fn f() {}"),
    ("by-macro", "", "#[macro_export] macro_rules! hello { () => { $crate::f() } }\npub fn f() {}"),
    ("in-script", "", "pub fn f() {}"),
    ("in-test", "", "pub fn f() {}"),
    ("in-unit-test", "", "pub fn f() {}"),
    ("in-doctest", "", "pub fn f() {}"),
    ("on-windows", "", "pub fn f() {}"),
    ("by-feature", "[features]\nextra = []\n", "pub fn f() {}"),
    ("left-alone", "", "pub fn f() {}"),
    ("never", "", "pub fn f() {}"),
    ("never-dev", "", "pub fn f() {}"),
    ("never-build", "", "pub fn f() {}"),
];

const MANIFEST: &str = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
    [package.metadata.cargo-machete]\nignored = [\"left-alone\"]\n\
    [features]\nmore = [\"by-feature/extra\"]\n\
    [dependencies]\nplain = { path = \"near/plain\" } # used\nrenamed = { path = \"near/dashed-name\", package = \"dashed-name\" }\n\
    by-macro = { path = \"near/by-macro\" }\nin-unit-test = { path = \"near/in-unit-test\" }\n\
    in-doctest = { path = \"near/in-doctest\" }\non-windows = { path = \"near/on-windows\" }\n\
    by-feature = { path = \"near/by-feature\" }\nleft-alone = { path = \"near/left-alone\" }\nnever = { path = \"near/never\" } # old\n\
    [dev-dependencies]\nin-test = { path = \"near/in-test\" }\nnever-dev = { path = \"near/never-dev\" }\n\
    [build-dependencies]\nin-script = { path = \"near/in-script\" }\nnever-build = { path = \"near/never-build\" }\n\
    [lints.rust]\nunused_crate_dependencies = \"allow\"\n[workspace]\n";

const CODE: &str = "#![allow(unused_crate_dependencies)]\n/// ```\n/// in_doctest::f();\n/// ```\npub fn all() { plain::f(); renamed::f(); \
    by_macro::hello!(); }\n#[cfg(windows)]\npub fn windows() { on_windows::f(); }\n\
    #[cfg(test)]\nmod tests { #[test] fn it_works() { in_unit_test::f(); } }\n";

impl Bed {
    fn new() -> Self {
        let bed = Bed { directory: tempfile::tempdir().unwrap() };
        for (name, more, code) in CRATES {
            let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{more}");
            bed.write(&format!("near/{name}/Cargo.toml"), &manifest);
            bed.write(&format!("near/{name}/src/lib.rs"), code);
        }
        bed.write("Cargo.toml", MANIFEST);
        bed.write("src/lib.rs", CODE);
        bed.write("build.rs", "fn main() { in_script::f(); }");
        bed.write("tests/all.rs", "#[test] fn it_works() { in_test::f(); app::all(); }");
        bed.write(".gitignore", "/target\n");
        let mut lock = std::process::Command::new("cargo");
        let done = run(lock.args(["generate-lockfile", "--offline"]).current_dir(bed.path(""))).unwrap();
        assert_eq!(done.code, 0, "{done}");
        bed
    }

    fn path(&self, inside: &str) -> std::path::PathBuf {
        self.directory.path().join("app").join(inside)
    }

    fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, text).unwrap();
    }

    fn unused(&self, args: &[&str]) -> Output {
        let mut command = tool("dep-audit", &self.directory.path().join("state")).unwrap();
        command.env_remove("RUSTFLAGS").env_remove("CARGO").current_dir(self.path(""));
        run(command.args(["-o", "ndjson", "unused"]).args(args)).unwrap()
    }
}

fn with_code(output: &Output, code: &str) -> Vec<String> {
    let all = records(&output.stdout).unwrap();
    let is_it = |data: &&Value| data["code"] == code;
    let found = of_kind(&all, "finding").into_iter().map(|record| &record["data"]).filter(is_it);
    let mut names: Vec<String> = found.map(|data| data["dependency"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn only_what_nothing_uses_is_unused_and_it_is_proven_before_it_goes() {
    let bed = Bed::new();
    let output = bed.unused(&[]);
    assert_eq!(output.code, 1, "{output}");
    assert_eq!(with_code(&output, "unused"), ["never", "never-build", "never-dev"], "{output}");
    assert_eq!(with_code(&output, "only-tests"), ["in-unit-test"], "{output}");
    assert_eq!(with_code(&output, "kept"), ["by-feature", "in-doctest", "left-alone", "on-windows"], "{output}");
    // Again, with everything built already, cargo says the same.
    assert_eq!(with_code(&bed.unused(&[]), "unused").len(), 3);
    assert_eq!(fs::read_to_string(bed.path("Cargo.toml")).unwrap(), MANIFEST);
    let dry = bed.unused(&["--fix", "--dry-run"]);
    assert!(dry.stdout.contains("maint.plan.v1"), "{dry}");
    assert_eq!(fs::read_to_string(bed.path("Cargo.toml")).unwrap(), MANIFEST);
    let fixed = bed.unused(&["--fix"]);
    assert_eq!(fixed.code, 1, "the one for tests stays: {fixed}");
    let manifest = fs::read_to_string(bed.path("Cargo.toml")).unwrap();
    assert!(
        !manifest.contains("never") && manifest.contains("# used") && manifest.contains("left-alone"),
        "{manifest}"
    );
    assert!(!fs::read_to_string(bed.path("Cargo.lock")).unwrap().contains("never"), "the lock file has them still");
    let after = bed.unused(&["--prove"]);
    assert_eq!(with_code(&after, "unused"), Vec::<String>::new(), "{after}");
}

#[test]
fn of_what_does_not_compile_nothing_is_said() {
    let bed = Bed::new();
    bed.write("tests/broken.rs", "fn main() { nothing_of_that_name(); }");
    let output = bed.unused(&[]);
    assert!(output.code == 3 && output.stderr.contains("does not compile"), "{output}");
    assert_eq!(with_code(&output, "unused"), Vec::<String>::new());
    let output = bed.unused(&["--fix"]);
    assert_eq!(output.code, 3, "{output}");
    assert_eq!(fs::read_to_string(bed.path("Cargo.toml")).unwrap(), MANIFEST);
}

#[test]
fn what_no_target_was_given_is_counted_and_not_called_used() {
    let bed = Bed::new();
    fs::remove_file(bed.path("build.rs")).unwrap();
    let output = bed.unused(&[]);
    assert_eq!(with_code(&output, "unused"), ["never", "never-dev"], "{output}");
    assert_eq!(records(&output.stdout).unwrap().last().unwrap()["data"]["not_judged"], 2, "{output}");
}
