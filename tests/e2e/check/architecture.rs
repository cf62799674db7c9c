//! Graphs, circles, and what has changed since the last time.

use serde_json::Value;

use super::{GOOD, Project, findings, subjects};

fn metric<'a>(events: &'a [Value], subject: &str) -> &'a Value {
    let found = events.iter().find(|event| event["type"] == "maint.metric.v1" && event["subject"] == subject);
    &found.unwrap_or_else(|| panic!("no metric of {subject}: {events:#?}"))["data"]
}

fn with_circle() -> Project {
    let project = Project::new(&[("a", "//! A.\n\npub mod x;\npub mod y;\npub mod z;\n"), ("b", GOOD)]);
    project.write("crates/a/src/x.rs", "//! X.\n\npub use crate::y::Y;\n");
    project.write("crates/a/src/y.rs", "//! Y.\n\n/// Y.\npub struct Y(pub Option<Box<crate::z::Z>>);\n");
    project.write("crates/a/src/z.rs", "//! Z.\n\n/// Z.\npub struct Z(pub super::x::Y);\n");
    project
}

#[test]
fn modules_in_a_circle_are_a_warning_until_they_are_known() {
    let project = with_circle();
    let (out, events) = project.run(&["architecture"]);
    assert_eq!(out.code, 1, "{out}");
    let found = findings(&events, "kind", "circle");
    assert_eq!(found[0]["data"]["members"], serde_json::json!(["a::x", "a::y", "a::z"]), "{out}");
    let (out, events) = project.run(&["architecture"]);
    assert_eq!((out.code, findings(&events, "kind", "circle").len()), (0, 1), "{out}");
    project.write("crates/a/src/z.rs", "//! Z.\n\n/// Z.\npub struct Z;\n");
    let (out, events) = project.run(&["architecture"]);
    assert_eq!((out.code, findings(&events, "kind", "circle").len()), (0, 0), "{out}");
    assert!(findings(&events, "kind", "change")[0]["data"]["message"].as_str().unwrap().contains("is gone"), "{out}");
}

#[test]
fn what_has_changed_is_told_in_numbers_and_by_name() {
    let project = Project::new(&[("a", GOOD), ("b", GOOD)]);
    let report = project.path("../review.md");
    let architecture = ["architecture", "--report", report.to_str().unwrap()];
    let (out, events) = project.run(&architecture);
    assert_eq!(out.code, 0, "{out}");
    assert_eq!(metric(&events, "a")["code_lines"], 3);
    assert_eq!(metric(&events, "a")["public_items"], 1);
    assert!(metric(&events, "a").get("code_lines_change").is_none());
    project.manifest("a", "[dependencies]\nb = { path = \"../b\" }\n");
    project.write("crates/a/src/lib.rs", format!("{GOOD}\n/// Two.\npub const TWO: u8 = b::more(1);\n"));
    let (_, events) = project.run(&architecture);
    assert_eq!(metric(&events, "a")["code_lines_change"], 1);
    assert_eq!((&metric(&events, "b")["fan_in"], &metric(&events, "a")["fan_out"]), (&1.into(), &1.into()));
    assert_eq!(subjects(&findings(&events, "kind", "change")), ["a"]);
    let text = std::fs::read_to_string(report).unwrap();
    assert!(text.contains("| `a` | 4 (+1) |") && text.contains("- `a`: needs b now"), "{text}");
}

#[test]
fn a_baseline_stays_as_it_is_until_it_is_updated() {
    let project = with_circle();
    let architecture = ["architecture", "--baseline", "baseline.json"];
    assert_eq!(project.run(&architecture).0.code, 3);
    assert_eq!(project.run(&[&architecture[..], &["--update"]].concat()).0.code, 1);
    let first = project.read("baseline.json");
    assert_eq!(project.run(&architecture).0.code, 0);
    project.write("crates/b/src/more.rs", "//! More.\n");
    let (out, events) = project.run(&architecture);
    assert_eq!((out.code, &metric(&events, "b")["files_change"]), (0, &1.into()), "{out}");
    assert_eq!(project.read("baseline.json"), first);
    project.write("baseline.json", "{");
    let (out, _) = project.run(&[&architecture[..], &["--update"]].concat());
    assert_eq!(out.code, 3, "{out}");
    assert_eq!(project.read("baseline.json"), "{");
}

#[test]
fn crates_in_a_circle_are_found() {
    let project = Project::new(&[("a", GOOD), ("b", GOOD)]);
    project.manifest("a", "[dependencies]\nb = { path = \"../b\" }\n");
    project.manifest("b", "[dev-dependencies]\na = { path = \"../a\" }\n");
    let (out, events) = project.run(&["architecture"]);
    assert_eq!(out.code, 1, "{out}");
    assert_eq!(findings(&events, "kind", "circle")[0]["data"]["members"], serde_json::json!(["a", "b"]), "{out}");
    project.manifest("b", "");
    assert_eq!(project.run(&["architecture"]).0.code, 0);
}
