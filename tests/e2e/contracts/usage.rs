//! Usage errors, help, completions, the manual page.

use std::process::{Command, Stdio};

use testbed::{run, run_fed};

use super::{assert_no_panic, pg_maint};

const COMMANDS: [&str; 6] =
    ["vacuum-analyze", "reindex-tables", "update-statistics", "monitor-connections", "plan", "apply"];

#[test]
fn a_usage_error_is_unknown_and_not_critical() {
    let dir = tempfile::tempdir().unwrap();
    let cases: &[&[&str]] = &[
        &[],
        &["no-such-command"],
        &["--no-such-flag"],
        &["vacuum-analyze", "--jobs", "0"],
        &["vacuum-analyze", "--jobs", "many"],
        &["vacuum-analyze", "--max-duration", "soon"],
        &["vacuum-analyze", "--window", "Someday 01:00-02:00"],
        &["reindex-tables", "--bloat", "200%"],
        &["monitor-connections", "-o", "xml"],
        &["apply"],
        &["completions", "no-such-shell"],
        &["update-statistics", "--missing", "--every"],
        &["--dsn", "postgres://127.0.0.1:99999/x", "plan"],
        &["--dsn", "host=127.0.0.1 nonsense", "plan"],
        &["--config", "/no/such/maint.toml", "plan"],
        &["apply", "/no/such/plan"],
    ];
    for args in cases {
        let out = run(&mut pg_maint(dir.path(), args)).unwrap();
        assert_eq!(out.code, 3, "{args:?}: {out}");
        assert!(!out.stderr.is_empty(), "{args:?} says nothing");
        assert_no_panic(&out);
    }
}

#[test]
fn help_and_version_are_no_errors_and_go_to_stdout() {
    let dir = tempfile::tempdir().unwrap();
    let mut cases = vec![vec!["--help"], vec!["-h"], vec!["--version"], vec!["help"]];
    for command in COMMANDS {
        cases.push(vec![command, "--help"]);
        cases.push(vec!["help", command]);
    }
    for args in cases {
        let out = run(&mut pg_maint(dir.path(), &args)).unwrap();
        assert_eq!(out.code, 0, "{args:?}: {out}");
        assert!(!out.stdout.is_empty() && out.stderr.is_empty(), "{args:?}: {out}");
    }
    let help = run(&mut pg_maint(dir.path(), &["--help"])).unwrap().stdout;
    for word in ["Exit codes", "Examples", "75"].iter().chain(&COMMANDS) {
        assert!(help.contains(word), "--help lacks {word}");
    }
}

#[test]
fn a_server_that_does_not_answer_is_critical_and_says_what_to_check() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["monitor-connections", "plan", "vacuum-analyze"] {
        let out = run(&mut pg_maint(dir.path(), &["--dsn", "postgres://u@127.0.0.1:1/x", command])).unwrap();
        assert_eq!(out.code, 2, "{out}");
        assert!(out.stderr.contains("127.0.0.1:1") && out.stderr.contains("to do:"), "{out}");
    }
}

#[test]
fn completions_are_printed_for_every_shell_and_bash_accepts_them() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let out = run(&mut pg_maint(dir.path(), &["completions", shell])).unwrap();
        assert_eq!(out.code, 0, "{out}");
        assert!(out.stdout.contains("vacuum-analyze"), "{shell}");
        let installed = Command::new(shell).arg("--version").stdout(Stdio::null()).status().is_ok();
        if installed && shell != "fish" {
            let checked = run_fed(Command::new(shell).args(["-n", "/dev/stdin"]), &out.stdout).unwrap();
            assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{shell} does not accept it");
        }
    }
}

#[test]
fn the_manual_page_names_every_command_and_the_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let out = run(&mut pg_maint(dir.path(), &["man"])).unwrap();
    assert_eq!(out.code, 0, "{out}");
    assert!(out.stdout.starts_with(".ie") || out.stdout.contains(".TH"), "not roff: {}", out.stdout);
    for command in COMMANDS {
        // roff writes a hyphen that must not become a dash as \-.
        assert!(out.stdout.replace("\\-", "-").contains(command), "{command}");
    }
    assert!(out.stdout.contains("Exit codes"));
}
