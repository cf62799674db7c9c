//! `-o prometheus` is what node_exporter's textfile collector takes, checked by a parser that forgives nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::Place;

/// The samples of an exposition text, by series.
///
/// Stricter than the [format](https://prometheus.io/docs/instrumenting/exposition_formats/) is: HELP and TYPE once
/// before the samples of each family, all of a family together, no timestamps, no series twice, no blank lines.
fn parse(text: &str) -> Result<BTreeMap<String, f64>, String> {
    let mut samples = BTreeMap::new();
    let mut families = BTreeSet::new();
    let (mut family, mut typed) = (String::new(), false);
    if !text.ends_with('\n') {
        return Err("the last line has no end".into());
    }
    for line in text.lines() {
        let bad = |why: &str| Err(format!("{why}: {line}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = rest.split_once(' ') else { return bad("HELP without text") };
            if help.is_empty() || !is_name(name) || !families.insert(name.to_owned()) {
                return bad("HELP");
            }
            (family, typed) = (name.to_owned(), false);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            if typed || rest != format!("{family} gauge") {
                return bad("TYPE");
            }
            typed = true;
        } else {
            let end = line.find(['{', ' ']).unwrap_or(line.len());
            if line[..end] != family || !typed {
                return bad("sample outside its family");
            }
            let rest = if line[end..].starts_with('{') { after_labels(&line[end..])? } else { &line[end..] };
            let series = line[..line.len() - rest.len()].to_owned();
            let Some(value) = rest.strip_prefix(' ') else { return bad("no blank before the value") };
            if value.contains(' ') {
                return bad("a timestamp");
            }
            let Ok(value) = value.parse::<f64>() else { return bad("value") };
            if samples.insert(series, value).is_some() {
                return bad("series twice");
            }
        }
    }
    Ok(samples)
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What follows the closing brace of `{name="value",...}`.
fn after_labels(text: &str) -> Result<&str, String> {
    let mut rest = &text[1..];
    let mut names = BTreeSet::new();
    loop {
        let (name, value) = rest.split_once("=\"").ok_or_else(|| format!("label: {text}"))?;
        if !is_name(name) || !names.insert(name) {
            return Err(format!("label name {name:?}: {text}"));
        }
        let mut escaped = false;
        let mut end = None;
        for (at, c) in value.char_indices() {
            match (escaped, c) {
                (true, '\\' | '"' | 'n') => escaped = false,
                (true, _) => return Err(format!("escape \\{c}: {text}")),
                (false, '\\') => escaped = true,
                (false, '"') => {
                    end = Some(at);
                    break;
                }
                (false, _) => {}
            }
        }
        rest = &value[end.ok_or_else(|| format!("open label value: {text}"))? + 1..];
        match rest.as_bytes().first() {
            Some(b',') => rest = &rest[1..],
            Some(b'}') => return Ok(&rest[1..]),
            _ => return Err(format!("after a label: {text}")),
        }
    }
}

#[test]
fn the_parser_itself_refuses_what_is_wrong() {
    let head = "# HELP a_b x\n# TYPE a_b gauge\n";
    assert_eq!(parse(&format!("{head}a_b{{k=\"v\\\"{{,}}\"}} 1.5\n")).unwrap().len(), 1);
    for (body, why) in [
        ("a_b 1", "end"),
        ("a_b 1 1600000000\n", "timestamp"),
        ("a_b 1\na_b 2\n", "twice"),
        ("a_b one\n", "value"),
        ("other 1\n", "family"),
        ("a_b{k=\"v} 1\n", "open label"),
        ("a_b{1k=\"v\"} 1\n", "label name"),
        ("a_b{k=\"v\",k=\"w\"} 1\n", "label name"),
        ("a_b{k=\"\\x\"} 1\n", "escape"),
        ("# HELP a_b x\n", "HELP"),
        ("\n", "family"),
    ] {
        let error = parse(&format!("{head}{body}")).unwrap_err();
        assert!(error.contains(why), "{body}: {error}");
    }
}

#[test]
fn every_command_s_exposition_is_well_formed() {
    let place = Place::new("prometheus");
    place
        .server
        .psql(
            &place.db,
            "CREATE TABLE \"a\\b\"\"c{d},=\ne\" AS SELECT generate_series(1, 500) AS n;
             DELETE FROM \"a\\b\"\"c{d},=\ne\"; SELECT pg_stat_force_next_flush();",
        )
        .unwrap();
    let cases: [&[&str]; 6] = [
        &["plan"],
        &["monitor-connections"],
        &["vacuum-analyze", "--dry-run"],
        &["config", "show"],
        &["vacuum-analyze"],
        &["update-statistics", "--every"],
    ];
    for args in cases {
        let out = place.run(&[args, &["-o", "prometheus"]].concat());
        let samples = parse(&out.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}\n{out}"));
        let prefix = format!(
            "pg_maint_{}",
            args.iter().take(1 + usize::from(args[0] == "config")).copied().collect::<Vec<_>>().join("_")
        );
        let prefix = prefix.replace('-', "_");
        assert!(samples.keys().all(|series| series.starts_with(&prefix)), "{args:?}: {out}");
        assert_eq!(samples[&format!("{prefix}_run_exit_code")].to_string(), out.code.to_string(), "{out}");
    }
    let out = place.run(&["monitor-connections", "-o", "prometheus"]);
    let samples = parse(&out.stdout).unwrap();
    let used = samples["pg_maint_monitor_connections_used_ratio{subject=\"server\"}"];
    assert!(used > 0.0 && used < 1.0, "{used}");
}

#[test]
fn a_server_that_is_down_is_told_to_prometheus_too() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--dsn", "postgres://u@127.0.0.1:1/x", "monitor-connections", "-o", "prometheus"];
    let out = testbed::run(&mut super::pg_maint(dir.path(), &args)).unwrap();
    let samples = parse(&out.stdout).unwrap();
    assert_eq!(samples["pg_maint_monitor_connections_status{subject=\"server\"}"].to_string(), "2");
    assert_eq!(samples["pg_maint_monitor_connections_run_exit_code"].to_string(), "2");
}
