//! `capacity fit`: a data set whose answer is published, and files that do not hold.

use std::fs;

use serde_json::Value;
use testbed::{Output, records, run, run_fed, tool};

/// SPEC SDM of 1991; the literature on the law fits it.
const SPEC: &str = "load,throughput\n1,64.9\n18,995.9\n36,1652.4\n72,1853.2\n108,1828.9\n144,1775.0\n216,1702.2\n";

fn fit(text: &str, args: &[&str]) -> (Output, Vec<Value>) {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("points.csv");
    fs::write(&file, text).unwrap();
    let mut command = tool("bench-runner", state.path()).unwrap();
    let output = run(command.args(["-o", "ndjson", "capacity", "fit"]).arg(&file).args(args)).unwrap();
    let found = records(&output.stdout).unwrap();
    (output, found)
}

fn of<'a>(all: &'a [Value], subject: &str) -> &'a Value {
    &all.iter().find(|record| record["subject"] == subject).unwrap_or_else(|| panic!("{subject}: {all:#?}"))["data"]
}

#[test]
fn the_published_answer_comes_out() {
    let (output, all) = fit(SPEC, &[]);
    assert_eq!(output.code, 0, "{output}");
    let near = |data: &Value, wanted: f64| {
        let found = data.as_f64().unwrap();
        assert!((found / wanted - 1.0).abs() < 0.001, "{found}, and {wanted} is published");
    };
    near(&of(&all, "alpha")["value"], 0.027_73);
    near(&of(&all, "beta")["value"], 0.000_104_37);
    near(&of(&all, "peak")["load"], 96.52);
    assert!(of(&all, "beta")["margin"].as_f64().unwrap() > 0.0);
    // The same from a pipe, in another order of columns.
    let turned: String = SPEC.lines().map(|line| line.split(',').rev().collect::<Vec<_>>().join(";") + "\n").collect();
    let state = tempfile::tempdir().unwrap();
    let mut command = tool("bench-runner", state.path()).unwrap();
    let output = run_fed(command.args(["-o", "ndjson", "capacity", "fit", "-"]), &turned).unwrap();
    near(&of(&records(&output.stdout).unwrap(), "peak")["load"], 96.52);
    // What is beyond the peak cannot be had, and what nobody measured is no promise.
    for (target, code) in [("1000", 0), ("3000", 2)] {
        let (output, _) = fit(SPEC, &["--target", target]);
        assert_eq!(output.code, code, "{target}: {output}");
    }
    let half = SPEC.lines().take(4).collect::<Vec<_>>().join("\n");
    let (output, _) = fit(&half, &["--target", "1800"]);
    assert_ne!(output.code, 0, "{output}");
}

#[test]
fn points_that_do_not_hold_are_named() {
    for (from, to, said) in [
        ("load,throughput", "load,speed", "throughput"),
        ("995.9", "many", "line 3"),
        ("995.9", "NaN", "line 3"),
        ("18,", ",", "line 3"),
        ("64.9", "-1", "nothing can be fitted"),
    ] {
        let (output, _) = fit(&SPEC.replace(from, to), &[]);
        assert_eq!(output.code, 3, "{to}: {output}");
        assert!(output.stderr.contains(said), "{to}: {output}");
    }
    for text in ["", "load,throughput\n", "load,throughput\n1,5\n2,9\n"] {
        assert_eq!(fit(text, &[]).0.code, 3, "{text:?}");
    }
}
