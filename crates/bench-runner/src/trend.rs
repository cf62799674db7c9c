//! `trend`: since when it is slower, or faster.

use std::collections::BTreeMap;
use std::path::Path;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use serde_json::Value;

use crate::cli::TrendArgs;
use crate::table;
use crate::work::Work;

mod changes;

use changes::{Change, can_tell, changes};

/// How probable a change may be by chance, over all metrics together. That is strict because its place was chosen for the
/// difference: with one in a hundred, seven of a hundred flat series with outliers had a change.
const MISTAKES: f64 = 0.001;
/// Of longer series the newest values are looked at: the time that it takes grows with the square.
const MOST_VALUES: usize = 20_000;

/// A metric over time, the oldest value first.
#[derive(Debug, Default)]
struct Series {
    values: Vec<f64>,
    /// When or of what each value is, as the file has it.
    labels: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// The values cannot be read, or there are none.
pub fn run(args: &TrendArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    work.subject = args.file.display().to_string();
    let mut all = read(&args.file)?;
    all.retain(|name, _| args.metric.is_empty() || args.metric.contains(name));
    if all.is_empty() {
        return Err(Failure::usage(format!("{} has no values to look at", args.file.display()))
            .hint("a table with a heading and numbers, or records of runs (`-o ndjson`), one a line"));
    }
    let count = all.len() as f64;
    for (name, series) in &all {
        let from = series.values.len().saturating_sub(MOST_VALUES);
        let found = changes(series.values.get(from..).unwrap_or_default(), MISTAKES / count);
        let more_is_better = more_is_better(name);
        for change in &found {
            let label = series.labels.get(from + change.at).map(String::as_str).unwrap_or_default();
            work.run.emit(&told(name, change, from, label, more_is_better, args.fail_on_worse));
        }
        work.run.emit(&level(name, series, &found, can_tell(series.values.len(), MISTAKES / count)));
    }
    Ok(())
}

fn told(name: &str, change: &Change, from: usize, label: &str, more_is_better: bool, fail: bool) -> Record {
    let is_worse = (change.after > change.before) != more_is_better;
    let status = match (is_worse, fail) {
        (true, true) => Status::Critical,
        (true, false) => Status::Warning,
        (false, _) => Status::Ok,
    };
    let ratio = change.after / change.before;
    let part = if ratio.is_finite() { format!(" ({:+.1} %)", (ratio - 1.0) * 100.0) } else { String::new() };
    let message = format!(
        "{} since {}: {} -> {}{part}",
        if is_worse { "worse" } else { "better" },
        if label.is_empty() { format!("value {}", from + change.at + 1) } else { label.to_owned() },
        shown(change.before),
        shown(change.after)
    );
    Record::new(Kind::Finding, name, status, message)
        .field("at", from + change.at)
        .field("since", label)
        .field("before", change.before)
        .field("after", change.after)
        .field("p", change.p)
        .field("is_worse", is_worse)
}

fn level(name: &str, series: &Series, found: &[Change], can_tell: bool) -> Record {
    let count = series.values.len();
    let word = |count: usize, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
    let (status, message) = if can_tell {
        (Status::Ok, format!("{}, {}", word(count, "value"), word(found.len(), "change")))
    } else {
        (Status::Unknown, format!("{}: too few to tell a change from chance", word(count, "value")))
    };
    Record::new(Kind::Check, name, status, message).field("values", count).field("changes", found.len())
}

fn shown(value: f64) -> String {
    if value == 0.0 || (1e-3..1e6).contains(&value.abs()) { format!("{value:.4}") } else { format!("{value:.3e}") }
}

/// Rates and throughputs grow when things get better; times, sizes and errors when they get worse.
fn more_is_better(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_rate = ["per_second", "throughput", "tps", "rps", "qps", "ops"].iter().any(|word| name.contains(word));
    is_rate && !name.contains("error")
}

fn read(path: &Path) -> Result<BTreeMap<String, Series>, Failure> {
    let name = path.display().to_string();
    let text = table::text(path)?;
    if text.trim_start().starts_with('{') { of_records(&name, &text) } else { of_table(&name, &text) }
}

/// Summaries of runs, or the lines of a baseline.
fn of_records(name: &str, text: &str) -> Result<BTreeMap<String, Series>, Failure> {
    let mut all: BTreeMap<String, Series> = BTreeMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let record: Value = serde_json::from_str(line)
            .map_err(|error| Failure::usage(format!("{name}, line {}: {error}", index + 1)))?;
        let kind = record.get("type").and_then(Value::as_str);
        let numbers = match kind {
            Some("maint.summary.v1") => record.get("data"),
            Some(_) => continue,
            None => record.get("metrics"),
        };
        // A run that proves nothing is no value of a series.
        if kind.is_some() && numbers.and_then(|data| data.get("verdict")).is_some_and(|verdict| verdict != "valid") {
            continue;
        }
        let label = record.get("time").and_then(Value::as_str).unwrap_or_default();
        for (metric, value) in numbers.and_then(Value::as_object).into_iter().flatten() {
            let is_compared = kind.is_none() || is_compared(metric);
            if let Some(value) = value.as_f64().filter(|_| is_compared) {
                let series = all.entry(metric.clone()).or_default();
                series.values.push(value);
                series.labels.push(label.to_owned());
            }
        }
    }
    Ok(all)
}

/// Of a summary's many numbers, those that say how fast something was.
fn is_compared(metric: &str) -> bool {
    let is_time = metric.starts_with("response_p") && metric.ends_with("_seconds") && !metric.contains("at_least");
    is_time || metric == "requests_per_second" || metric == "error_ratio"
}

/// Columns of numbers under a heading; a column `time`, `date` or `commit` says what each line is of.
fn of_table(name: &str, text: &str) -> Result<BTreeMap<String, Series>, Failure> {
    let mut rows = table::rows(text);
    let heading = rows.next().map(|(_, cells)| cells).unwrap_or_default();
    if heading.iter().any(|title| title.parse::<f64>().is_ok()) {
        return Err(Failure::usage(format!("{name} begins with a number, not with the names of its columns")));
    }
    let is_label = |title: &str| ["time", "date", "commit"].iter().any(|word| title.eq_ignore_ascii_case(word));
    let label_at = heading.iter().position(|title| is_label(title));
    let mut all: BTreeMap<String, Series> = BTreeMap::new();
    for (line, cells) in rows {
        let label = label_at.and_then(|at| cells.get(at)).copied().unwrap_or_default();
        for (title, cell) in heading.iter().zip(&cells).filter(|(title, cell)| !is_label(title) && !cell.is_empty()) {
            let series = all.entry((*title).to_owned()).or_default();
            series.values.push(table::number(name, line, title, cell)?);
            series.labels.push(label.to_owned());
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_records_are_read_and_invalid_runs_left_out() {
        let table = of_table("x", "date,p95,tps\n2026-01-01,0.1,100\n2026-01-02,0.2,\n").unwrap();
        assert_eq!((table["p95"].values.clone(), table["tps"].values.clone()), (vec![0.1, 0.2], vec![100.0]));
        assert_eq!(table["p95"].labels, ["2026-01-01", "2026-01-02"]);
        assert!(of_table("x", "date,p95\n2026-01-01,fast\n").unwrap_err().message.contains("line 2"));
        assert!(of_table("x", "1,2\n3,4\n").unwrap_err().message.contains("names"));
        let text = r#"{"type":"maint.check.v1","data":{"response_p50_seconds":9}}
            {"type":"maint.summary.v1","time":"t1","data":{"verdict":"valid","response_p50_seconds":1,"scheduled":5}}
            {"type":"maint.summary.v1","time":"t2","data":{"verdict":"late","response_p50_seconds":7}}
            {"version":1,"time":"t3","metrics":{"response_p50_seconds":2}}"#;
        let records = of_records("x", text).unwrap();
        assert_eq!(records.keys().collect::<Vec<_>>(), ["response_p50_seconds"]);
        assert_eq!(records["response_p50_seconds"].values, [1.0, 2.0]);
        assert!(of_records("x", "{").unwrap_err().message.contains("line 1"));
    }

    #[test]
    fn what_is_better_depends_on_what_it_is() {
        assert!(more_is_better("requests_per_second") && more_is_better("TPS") && more_is_better("throughput"));
        assert!(!more_is_better("response_p95_seconds") && !more_is_better("errors_per_second"));
    }
}
