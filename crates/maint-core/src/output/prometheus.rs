//! The [text exposition format](https://prometheus.io/docs/instrumenting/exposition_formats/), for node_exporter's
//! textfile collector: gauges without timestamps (the collector refuses files that have them).
//!
//! Every numeric field becomes one family, `TOOL_TASK_FIELD`; every record that judges becomes one sample of
//! `TOOL_TASK_status` with the exit code's number (0 ok, 1 warning, 2 critical, 3 unknown).

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::record::{Kind, Record};
use crate::status::Exit;

/// Renders all records.
pub(super) fn render(records: &[Record], tool: &str, task: &str) -> String {
    let prefix = name(&format!("{tool}_{task}"));
    // Two records with the same labels (a step tried twice) would be two samples of one series, which is an error to
    // the reader of the file: the later one stands.
    let mut families: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for record in records {
        let labels = labels(record);
        let status = f64::from(Exit::from(record.status.severity()).code());
        if record.kind != Kind::Metric {
            let family = if record.kind == Kind::Summary { "run_status" } else { "status" };
            families.entry(format!("{prefix}_{family}")).or_default().insert(labels.clone(), status);
        }
        for (field, value) in record.numbers() {
            let family = if record.kind == Kind::Summary { format!("run_{field}") } else { field.to_owned() };
            families.entry(format!("{prefix}_{}", name(&family))).or_default().insert(labels.clone(), value);
        }
    }
    let mut text = String::new();
    for (family, samples) in families {
        let _ = writeln!(text, "# HELP {family} {}", help(&family, tool, task));
        let _ = writeln!(text, "# TYPE {family} gauge");
        for (labels, value) in samples {
            let _ = writeln!(text, "{family}{labels} {value}");
        }
    }
    text
}

fn help(family: &str, tool: &str, task: &str) -> String {
    if family.ends_with("_status") {
        format!("State found by {tool} {task}: 0 ok, 1 warning, 2 critical, 3 unknown.")
    } else {
        format!("Reported by {tool} {task}.")
    }
}

fn labels(record: &Record) -> String {
    let mut pairs = Vec::new();
    if record.kind != Kind::Summary && !record.subject.is_empty() {
        pairs.push(format!("subject=\"{}\"", escaped(&record.subject)));
    }
    pairs.extend(record.labels.iter().map(|(key, value)| format!("{}=\"{}\"", name(key), escaped(value))));
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn name(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;

    #[test]
    fn label_values_are_escaped() {
        let record = Record::new(Kind::Check, "We\"ird\\n\n", Status::Critical, "").label("role", "a\"b");
        let text = render(&[record], "pg-maint", "monitor-connections");
        let line = r#"pg_maint_monitor_connections_status{subject="We\"ird\\n\n",role="a\"b"} 2"#;
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn the_run_has_its_own_families() {
        let record = Record::new(Kind::Summary, "db", Status::Unknown, "").field("duration_seconds", 0.5);
        let text = render(&[record], "pg-maint", "plan");
        assert!(text.contains("\npg_maint_plan_run_status 3\n"), "{text}");
        assert!(text.contains("\npg_maint_plan_run_duration_seconds 0.5\n"), "{text}");
    }
}
