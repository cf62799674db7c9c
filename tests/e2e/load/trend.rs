//! `trend`: a series with a change that is known, and one without.

use std::fmt::Write as _;

use serde_json::Value;
use testbed::{Output, records, run_fed, tool};

fn trend(text: &str, args: &[&str]) -> (Output, Vec<Value>) {
    let state = tempfile::tempdir().unwrap();
    let mut command = tool("bench-runner", state.path()).unwrap();
    let output = run_fed(command.args(["-o", "ndjson", "trend", "-"]).args(args), text).unwrap();
    let found = records(&output.stdout).unwrap();
    (output, found)
}

/// Sixty days, with an outlier; from the fortieth on the times are `slower` times as long.
fn days(slower: f64) -> String {
    let mut text = "date,p95_seconds,throughput\n".to_owned();
    for day in 0..60_u32 {
        let wave = f64::from((day * 7919) % 13) / 1000.0;
        let level = if day >= 40 { slower } else { 1.0 };
        let outlier = if day == 20 { 3.0 } else { 1.0 };
        let _ =
            writeln!(text, "day {day},{:.5},{:.2}", (0.1 + wave) * level * outlier, (900.0 + wave * 3000.0) / level);
    }
    text
}

fn changes(all: &[Value]) -> Vec<(&Value, &Value, &Value)> {
    let found = all.iter().filter(|record| record["type"] == "maint.finding.v1");
    found.map(|record| (&record["subject"], &record["data"]["since"], &record["data"]["is_worse"])).collect()
}

#[test]
fn a_lasting_change_is_told_with_its_day_and_an_outlier_is_none() {
    let (output, all) = trend(&days(1.0), &[]);
    assert_eq!((output.code, changes(&all)), (0, Vec::new()), "{output}");
    let (output, all) = trend(&days(1.3), &[]);
    let (p95, throughput, since) = ("p95_seconds".into(), "throughput".into(), "day 40".into());
    assert_eq!(output.code, 1, "{output}");
    assert_eq!(changes(&all), [(&p95, &since, &true.into()), (&throughput, &since, &true.into())], "{output}");
    assert_eq!(trend(&days(1.3), &["--fail-on-worse"]).0.code, 2);
    // Faster is a change, and no reason to worry.
    let (output, all) = trend(&days(0.7), &["--metric", "throughput", "--fail-on-worse"]);
    assert_eq!((output.code, changes(&all)), (0, vec![(&throughput, &since, &false.into())]), "{output}");
    // The same input gives the same words.
    let told = |text: &str| trend(text, &[]).1.into_iter().map(|record| record["data"].clone()).collect::<Vec<_>>();
    let (one, two) = (told(&days(1.3)), told(&days(1.3)));
    assert_eq!(one[..one.len() - 1], two[..two.len() - 1], "all but the time that it took");
}

#[test]
fn what_is_no_series_is_refused() {
    let few = "date,p95\nmonday,1\ntuesday,9\n";
    let (output, _) = trend(few, &[]);
    assert_eq!(output.code, 3, "nothing could be told: {output}");
    for (text, said) in [
        ("", "no values"),
        ("date,p95\n", "no values"),
        ("1,2\n3,4\n", "names of its columns"),
        ("date,p95\nmonday,fast\n", "line 2"),
        ("{\"type\":\"maint.check.v1\"}\n{\n", "line 2"),
    ] {
        let (output, _) = trend(text, &[]);
        assert_eq!(output.code, 3, "{text:?}: {output}");
        assert!(output.stderr.contains(said), "{text:?}: {output}");
    }
}
