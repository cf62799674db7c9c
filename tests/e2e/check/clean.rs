//! Format, lints and limits.

use super::{GOOD, Project, check, findings, subjects};

#[test]
fn what_is_not_formatted_is_named() {
    let project = Project::new(&[("a", GOOD), ("b", GOOD)]);
    project.write("crates/a/src/lib.rs", GOOD.replace("    a.", "  a."));
    let (out, events) = project.run(&["clean", "--only", "format"]);
    assert_eq!(out.code, 1, "{out}");
    assert_eq!(subjects(&findings(&events, "kind", "format")), ["crates/a/src/lib.rs"], "{out}");
    project.write("crates/a/src/lib.rs", GOOD);
    let (out, _) = project.run(&["clean", "--only", "format"]);
    assert_eq!(out.code, 0, "{out}");
}

#[test]
fn lints_can_be_asked_for_and_let_pass() {
    let text = GOOD.replace("a.saturating_add(1)", "Some(a).unwrap()");
    let project = Project::new(&[("a", &text)]);
    let clean = ["clean", "--only", "lints"];
    let (out, events) = project.run(&clean);
    assert_eq!((out.code, check(&events, "a")), (1, "warning"), "{out}");
    let found = findings(&events, "code", "clippy::unnecessary_literal_unwrap");
    assert_eq!(subjects(&found), ["crates/a/src/lib.rs:5"], "{out}");
    let allow = ["--allow-lint", "clippy::unnecessary_literal_unwrap"];
    assert_eq!(project.run(&[&clean[..], &allow].concat()).0.code, 0);
    let warn = ["--warn-lint", "clippy::unwrap_used"];
    let (out, events) = project.run(&[&clean[..], &allow, &warn].concat());
    assert_eq!((out.code, findings(&events, "code", "clippy::unwrap_used").len()), (1, 1), "{out}");
    // A lint that the workspace denies is an error, and the crate is not clean.
    project.write("crates/a/src/lib.rs", format!("#![deny(clippy::unwrap_used)]\n{text}"));
    let (out, events) = project.run(&[&clean[..], &allow].concat());
    assert_eq!((out.code, check(&events, "a")), (2, "critical"), "{out}");
}

const LONG: &str = "//! Long.

/// A type.
pub struct Type;

impl Type {
    /// A method.
    pub fn method(&self, a: u8) -> u8 {
        let mut b = a;
        if a > 1 {
            if a > 2 {
                b = 3;
            }
        }
        b
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn long() {
        let a = 1;
        let b = 2;
        let c = 3;
        let d = 4;
        let e = 5;
        let f = 6;
        let g = 7;
        assert_eq!(a + b + c + d + e + f + g, 28);
    }
}
";

#[test]
fn functions_above_a_limit_are_named_by_their_path_and_tests_have_limits_of_their_own() {
    let project = Project::new(&[("my-crate", LONG)]);
    let limits = ["clean", "--only", "limits"];
    assert_eq!(project.run(&limits).0.code, 0);
    let (out, events) = project.run(&[&limits[..], &["--max-function-lines", "8", "--max-nesting", "1"]].concat());
    assert_eq!(out.code, 1, "{out}");
    let found = findings(&events, "kind", "function-length");
    assert_eq!(subjects(&found), ["my_crate::Type::method"], "{out}");
    assert_eq!(
        (&found[0]["data"]["line"], &found[0]["data"]["value"], &found[0]["data"]["limit"]),
        (&8.into(), &9.into(), &8.into())
    );
    assert_eq!(subjects(&findings(&events, "kind", "nesting")), ["my_crate::Type::method"]);
    // The limits of maint.toml, and flags above them.
    project.write("maint.toml", "[code-check]\ntest_max_function_lines = 9\nmax_function_lines = 9\n");
    let (out, events) = project.run(&limits);
    assert_eq!(subjects(&findings(&events, "kind", "function-length")), ["my_crate::tests::long"], "{out}");
    let (out, _) = project.run(&[&limits[..], &["--test-max-function-lines", "10"]].concat());
    assert_eq!(out.code, 0, "{out}");
    project.write("maint.toml", "[code-check]\nmax_funktion_lines = 9\n");
    let (out, _) = project.run(&limits);
    assert!(out.code == 3 && out.stderr.contains("did you mean `max_function_lines`"), "{out}");
}

#[test]
fn a_file_that_does_not_parse_is_told_and_not_skipped_unless_it_is_excluded() {
    let project = Project::new(&[("a", GOOD)]);
    project.write("crates/a/src/generated/odd.rs", "fn f() {\n\nfn {}\n");
    let limits = ["clean", "--only", "limits"];
    let (out, events) = project.run(&limits);
    assert_eq!((out.code, check(&events, "a")), (3, "unknown"), "{out}");
    assert_eq!(findings(&events, "kind", "unparsed").len(), 1, "{out}");
    let (out, _) = project.run(&[&limits[..], &["--exclude", "generated/"]].concat());
    assert_eq!(out.code, 0, "{out}");
    project.write("maint.toml", "[code-check]\nexclude = [\"generated/\", \"*.pb.rs\"]\n");
    assert_eq!(project.run(&limits).0.code, 0);
}

#[test]
fn unsafe_code_is_counted_and_limited() {
    let text = "//! Unsafe.\n\n/// Reads.\n///\n/// # Safety\n/// It must point to something.\npub unsafe fn read(a: *const u8) -> u8 {\n    unsafe { *a }\n}\n";
    let project = Project::new(&[("a", text), ("b", GOOD)]);
    let limits = ["clean", "--only", "limits"];
    let (out, events) = project.run(&limits);
    assert_eq!(out.code, 0, "{out}");
    let a = events.iter().find(|event| event["type"] == "maint.check.v1" && event["subject"] == "a").unwrap();
    assert_eq!((&a["data"]["unsafe_blocks"], &a["data"]["unsafe_functions"]), (&1.into(), &1.into()), "{out}");
    let (out, events) = project.run(&[&limits[..], &["--max-unsafe", "1"]].concat());
    assert_eq!((out.code, findings(&events, "kind", "unsafe").len()), (1, 3), "{out}");
    assert_eq!(project.run(&[&limits[..], &["--max-unsafe", "2"]].concat()).0.code, 0);
}
