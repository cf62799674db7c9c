//! What goes to stdout and stderr: the five formats, closed pipes, full disks, colour.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use serde_json::Value;
use testbed::{Output, records, run};

use super::{Place, assert_no_panic, pg_maint};

/// A table for every record wanted; all of them need a vacuum.
fn many_tables(place: &Place, count: u32) {
    let sql = format!(
        "DO $$ BEGIN FOR i IN 1..{count} LOOP
             EXECUTE format('CREATE TABLE many_%s AS SELECT generate_series(1, 200) AS n', i);
             EXECUTE format('DELETE FROM many_%s', i);
         END LOOP; END $$;
         SELECT pg_stat_force_next_flush();"
    );
    place.server.psql(&place.db, &sql).unwrap();
}

fn summary_of(events: &[Value]) -> &Value {
    let summary = events.last().unwrap();
    assert_eq!(summary["type"], "maint.summary.v1");
    assert_eq!(events.iter().filter(|event| event["type"] == summary["type"]).count(), 1);
    summary
}

#[test]
fn ndjson_is_an_event_a_line_and_json_one_array_with_the_summary_last() {
    let place = Place::new("formats");
    let cases: [&[&str]; 5] = [
        &["plan"],
        &["monitor-connections"],
        &["vacuum-analyze", "--dry-run"],
        &["config", "show"],
        &["plan", "-t", "no_such_table"],
    ];
    for args in cases {
        let lines = place.run(&[args, &["-o", "ndjson"]].concat());
        let events = records(&lines.stdout).unwrap();
        assert_eq!(summary_of(&events)["data"]["exit_code"], lines.code, "{lines}");
        assert!(lines.stdout.lines().all(|line| line.starts_with("{\"specversion\":\"1.0\"")), "{lines}");
        let array = place.run(&[args, &["-o", "json"]].concat());
        let events: Vec<Value> = serde_json::from_str(&array.stdout).unwrap();
        assert_eq!(summary_of(&events)["data"]["exit_code"], array.code, "{array}");
        let one_run = |event: &Value| event["run"] == events[0]["run"];
        assert!(events.iter().all(one_run), "{array}");
        assert_eq!(lines.code, array.code);
    }
}

#[test]
fn the_summary_s_exit_code_is_the_process_s_also_when_the_server_is_down() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["plan", "monitor-connections", "vacuum-analyze"] {
        let args = ["--dsn", "postgres://u@127.0.0.1:1/x", command, "-o", "ndjson"];
        let out = run(&mut pg_maint(dir.path(), &args)).unwrap();
        let events = records(&out.stdout).unwrap();
        assert_eq!(summary_of(&events)["data"]["exit_code"], 2, "{out}");
        assert_eq!(out.code, 2);
    }
}

/// `PG-MAINT STATE - text | 'label'=value[unit][;warn;crit] ...`
#[track_caller]
fn assert_nagios(out: &Output) {
    let states = ["OK", "WARNING", "CRITICAL", "UNKNOWN"];
    assert_eq!(out.stdout.matches('\n').count(), 1, "{out}");
    let line = out.stdout.trim_end();
    let (text, perf) = line.split_once(" | ").unwrap_or_else(|| panic!("no perfdata: {out}"));
    let (state, message) = text.strip_prefix("PG-MAINT ").and_then(|rest| rest.split_once(" - ")).unwrap();
    assert_eq!(
        states.iter().position(|known| *known == state).map(|code| code.to_string()),
        Some(out.code.to_string())
    );
    assert!(!message.is_empty() && !perf.contains('|'), "{out}");
    let mut rest = perf;
    while !rest.is_empty() {
        let quoted = rest.strip_prefix('\'').unwrap_or_else(|| panic!("label: {rest}"));
        let (label, after) = quoted.split_once("'=").unwrap_or_else(|| panic!("value: {rest}"));
        assert!(!label.is_empty() && !label.contains('='), "{rest}");
        let (datum, next) = after.split_once(' ').unwrap_or((after, ""));
        let value = datum.split(';').next().unwrap();
        let number = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        number.parse::<f64>().unwrap_or_else(|_| panic!("{value:?} in {perf}"));
        assert!(["", "s", "B"].contains(&&value[number.len()..]), "{value}");
        assert!(datum.split(';').count() <= 3, "{datum}");
        rest = next;
    }
}

#[test]
fn nagios_is_exactly_one_line_whose_state_is_the_exit_code() {
    let place = Place::new("nagios");
    assert_nagios(&place.run(&["monitor-connections", "-o", "nagios"]));
    assert_nagios(&place.run(&["monitor-connections", "-w", "0.1%", "-c", "100%", "-o", "nagios"]));
    assert_nagios(&place.run(&["monitor-connections", "-w", "0.1%", "-c", "0.1%", "-o", "nagios"]));
    assert_nagios(&place.run(&["monitor-connections", "-w", "90%", "-c", "10%", "-o", "nagios"]));
    // A name cannot add a line or start perfdata.
    place.server.psql(&place.db, "ALTER TABLE orders RENAME TO \"a | b = 'c'\nd\"").unwrap();
    assert_nagios(&place.run(&["plan", "-o", "nagios"]));
    assert_nagios(&place.run(&["vacuum-analyze", "-o", "nagios"]));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let place = Place::new("head");
    many_tables(&place, 600);
    for format in ["ndjson", "json", "table", "prometheus"] {
        for args in [["plan"], ["monitor-connections"]] {
            let program = place.pg_maint(&[]);
            let mut shell = Command::new("bash");
            shell.envs(program.get_envs().filter_map(|(key, value)| Some((key, value?)))).current_dir(place.dir());
            let script = "\"$0\" \"$@\" | head -1; echo \"code ${PIPESTATUS[0]}\"";
            shell.args(["-c", script]).arg(program.get_program()).args(args).args(["-o", format]);
            let out = run(&mut shell).unwrap();
            assert_no_panic(&out);
            assert!(out.stdout.ends_with("code 0\n"), "{format} {args:?}: {out}");
            assert_eq!(out.stderr, "", "{format} {args:?}");
        }
    }
}

#[test]
fn a_closed_pipe_does_not_stop_the_work() {
    let place = Place::new("closed");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = place.pg_maint(&["vacuum-analyze", "-q", "-o", "ndjson"]).stdout(writer).spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(place.vacuums(), "4", "vacuumed and analyzed once more than at the start");
}

#[test]
fn a_full_disk_under_stdout_is_critical_and_no_panic() {
    let place = Place::new("full");
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut cases: Vec<Vec<&str>> = ["table", "ndjson", "json", "prometheus", "nagios"]
        .iter()
        .flat_map(|format| [vec!["monitor-connections", "-o", format], vec!["plan", "-t", "orders", "-o", format]])
        .collect();
    cases.extend([vec!["config", "show", "-o", "ndjson"], vec!["completions", "bash"], vec!["man"], vec!["--help"]]);
    cases.extend([vec!["--version"], vec!["vacuum-analyze", "-N", "public", "-n", "public", "-o", "ndjson"]]);
    for args in cases {
        let child = place.pg_maint(&args).stdout(full()).stderr(Stdio::piped()).spawn().unwrap();
        let out = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        let out = Output { code: out.status.code().unwrap_or(-1), stdout: String::new(), stderr };
        assert_no_panic(&out);
        assert_eq!(out.code, 2, "{args:?}: {out}");
    }
}

#[test]
fn a_stderr_that_nobody_can_write_to_changes_nothing() {
    let place = Place::new("stderr");
    for args in [&["vacuum-analyze", "-vvv", "-o", "ndjson"][..], &["monitor-connections", "-vvv", "-o", "ndjson"]] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let out = place.pg_maint(args).stderr(full).stdout(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{args:?}");
        let events = records(&String::from_utf8(out.stdout).unwrap()).unwrap();
        assert_eq!(summary_of(&events)["data"]["exit_code"], 0);
    }
}

#[test]
fn without_a_terminal_there_is_no_colour() {
    let place = Place::new("colour");
    for no_color in [true, false] {
        let cases: [&[&str]; 6] = [
            &["plan"],
            &["monitor-connections", "-w", "0.1%"],
            &["vacuum-analyze", "-vvv"],
            &["--help"],
            &["--no-such-flag"],
            &["plan", "-t", "no_such_table"],
        ];
        for args in cases {
            let mut command = place.pg_maint(args);
            if !no_color {
                command.env_remove("NO_COLOR");
            }
            let out = run(&mut command).unwrap();
            assert!(!out.stdout.contains('\u{1b}') && !out.stderr.contains('\u{1b}'), "{args:?}: {out:?}");
        }
    }
}

#[test]
fn a_terminal_gets_colour_unless_no_color_says_otherwise() {
    let place = Place::new("tty");
    if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
        return;
    }
    let on_terminal = |no_color: bool| {
        let program = place.pg_maint(&[]);
        let line = format!("{} monitor-connections -w 0.1%", program.get_program().display());
        let mut command = Command::new("script");
        command.envs(program.get_envs().filter_map(|(key, value)| Some((key, value?)))).env("TERM", "xterm");
        if !no_color {
            command.env_remove("NO_COLOR");
        }
        run(command.args(["-qec", &line, "/dev/null"]).current_dir(place.dir())).unwrap().stdout
    };
    assert!(on_terminal(false).contains("\u{1b}[33mWARNING"), "no colour on a terminal");
    assert!(!on_terminal(true).contains('\u{1b}'), "colour in spite of NO_COLOR");
}
