use serde_json::{Value, json};

use super::*;
use crate::workspace::{Member, Target};

const ID: &str = "path+file:///w/a#0.1.0";

fn workspace() -> Workspace {
    let target = |path: &str, role| Target { name: "a".into(), role, path: path.into(), optional: false };
    let targets = vec![target("/w/a/src/lib.rs", Role::Library), target("/w/a/tests/t.rs", Role::Test)];
    Workspace::for_tests(
        "/w".into(),
        vec![Member { id: ID.into(), name: "a".into(), directory: "/w/a".into(), targets, needs: Vec::new() }],
    )
}

fn read(messages: &[Value]) -> Result<Compiled, String> {
    let stdout = messages.iter().map(|message| message.as_str().map_or_else(|| message.to_string(), str::to_owned));
    let stderr = vec!["error: it went wrong".to_owned()];
    let answer = Answer { code: Some(101), stdout: stdout.collect(), stderr, timed_out: false };
    Compiled::read(&workspace(), &answer, |_| true)
}

fn target(path: &str) -> Value {
    json!({"kind": ["lib"], "crate_types": ["lib"], "name": "a", "src_path": path, "edition": "2024", "doctest": true, "test": true})
}

fn message(id: &str, level: &str, code: Option<&str>, text: &str, spans: &Value) -> Value {
    let code = code.map(|code| json!({"code": code, "explanation": null}));
    json!({
        "reason": "compiler-message", "package_id": id, "manifest_path": "/w/a/Cargo.toml", "target": target("/w/a/src/lib.rs"),
        "message": {"message": text, "code": code, "level": level, "spans": spans, "children": [], "rendered": null},
    })
}

fn span(file: &str, line: usize, expansion: Option<Value>) -> Value {
    let expansion = expansion.map(|span| json!({"span": span, "macro_decl_name": "m!", "def_site_span": null}));
    json!({
        "file_name": file, "byte_start": 0, "byte_end": 1, "line_start": line, "line_end": line, "column_start": 5, "column_end": 6,
        "is_primary": true, "text": [], "label": null, "suggested_replacement": null, "suggestion_applicability": null,
        "expansion": expansion,
    })
}

fn artifact(path: &str) -> Value {
    json!({
        "reason": "compiler-artifact", "package_id": ID, "manifest_path": "/w/a/Cargo.toml", "target": target(path),
        "profile": {"opt_level": "0", "debuginfo": 2, "debug_assertions": true, "overflow_checks": true, "test": false},
        "features": [], "filenames": [], "executable": null, "fresh": false,
    })
}

fn finished(success: bool) -> Value {
    json!({"reason": "build-finished", "success": success})
}

#[test]
fn sums_of_what_was_said_are_not_said_again() {
    let compiled = read(&[
        message(ID, "warning", Some("dead_code"), "never used", &json!([span("a/src/lib.rs", 3, None)])),
        message(ID, "warning", None, "1 warning emitted", &json!([])),
        message(ID, "error", None, "aborting due to 1 previous error", &json!([])),
        message(ID, "failure-note", None, "for more information", &json!([])),
        finished(true),
    ])
    .unwrap();
    assert_eq!(compiled.diagnostics.len(), 1);
    assert_eq!(compiled.diagnostics[0].place(), "a/src/lib.rs:3");
    assert_eq!(compiled.outcomes["a"], Outcome::Compiled);
}

#[test]
fn what_comes_out_of_another_crate_s_macro_is_where_that_is_called() {
    let call = span("a/src/lib.rs", 7, None);
    let inside = span("/home/me/.cargo/registry/src/m/src/lib.rs", 99, Some(call));
    let compiled =
        read(&[message(ID, "warning", Some("unused_mut"), "need not be mutable", &json!([inside])), finished(true)])
            .unwrap();
    assert_eq!(compiled.diagnostics[0].place(), "a/src/lib.rs:7");
}

#[test]
fn warnings_of_other_crates_are_not_the_workspace_s_and_their_errors_are_in_its_way() {
    let other = "path+file:///elsewhere/b#b@0.1.0";
    let said = |level| message(other, level, Some("x"), "y", &json!([]));
    let compiled = read(&[said("warning"), finished(true)]).unwrap();
    assert!(compiled.diagnostics.is_empty());
    let compiled = read(&[said("error"), finished(false)]).unwrap();
    assert_eq!(compiled.outcomes["b"], Outcome::Broken);
    assert_eq!(compiled.outcomes["a"], Outcome::NotReached);
    assert_eq!(compiled.failure, None);
}

#[test]
fn after_a_failure_only_a_crate_with_all_its_targets_is_compiled() {
    let library = artifact("/w/a/src/lib.rs");
    let compiled = read(&[library.clone(), finished(false)]).unwrap();
    assert_eq!(compiled.outcomes["a"], Outcome::NotReached);
    assert_eq!(compiled.failure.as_deref(), Some("error: it went wrong"));
    let compiled = read(&[library, artifact("/w/a/tests/t.rs"), finished(false)]).unwrap();
    assert_eq!(compiled.outcomes["a"], Outcome::Compiled);
}

#[test]
fn what_did_not_come_to_an_end_or_cannot_be_read_tells_nothing() {
    assert_eq!(read(&[]).unwrap_err(), "error: it went wrong");
    assert!(
        read(&[json!("{\"reason\":\"compiler-message\",\"pack"), finished(true)]).unwrap_err().contains("cannot read")
    );
    // What a procedural macro prints is no message, nor is what a later cargo may add.
    assert!(read(&[json!("hello"), json!("{}"), json!({"reason": "later"}), finished(true)]).is_ok());
}
