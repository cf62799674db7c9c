//! One line with perfdata, as the
//! [monitoring-plugins guidelines](https://www.monitoring-plugins.org/doc/guidelines.html) describe it.

use serde_json::Value;

use crate::record::{Kind, Record};

/// Renders all records as one line: the state and message of the summary, then the worst records by name, then perfdata
/// of the checks and metrics.
pub(super) fn render(records: &[Record], tool: &str) -> String {
    let (summaries, rest): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.kind == Kind::Summary);
    let Some(summary) = summaries.last() else {
        return format!("{} UNKNOWN - the run ended without a summary", tool.to_uppercase());
    };
    let mut line = format!("{} {} - {}", tool.to_uppercase(), summary.status.severity().label(), summary.message);
    let mut worst: Vec<_> = rest.iter().filter(|record| record.status.severity() > super::Severity::Ok).collect();
    worst.sort_by_key(|record| std::cmp::Reverse(record.status.severity()));
    for record in worst.iter().take(3) {
        line.push_str(&format!("; {} {}: {}", record.subject, record.status, record.message));
    }
    if worst.len() > 3 {
        line.push_str(&format!("; and {} more", worst.len() - 3));
    }
    let line = clean(&line);

    let mut perf: Vec<String> = Vec::new();
    for record in rest.iter().filter(|record| matches!(record.kind, Kind::Check | Kind::Metric)) {
        for (field, value) in record.numbers() {
            perf.push(datum(record, field, value));
        }
    }
    for (field, value) in summary.numbers() {
        if field != "exit_code" {
            perf.push(format!("'{field}'={value}{}", unit(field)));
        }
    }
    if perf.is_empty() { line } else { format!("{line} | {}", perf.join(" ")) }
}

fn datum(record: &Record, field: &str, value: f64) -> String {
    let label = clean(&format!("{} {field}", record.subject)).replace('\'', "''").replace('=', "-");
    let limit = |which: &str| {
        let limits = record.fields.get("limits").and_then(|limits| limits.get(field));
        limits.and_then(|limit| limit.get(which)).and_then(Value::as_str).unwrap_or("").to_owned()
    };
    let (warning, critical) = (limit("warning"), limit("critical"));
    let text = format!("'{label}'={value}{};{warning};{critical}", unit(field));
    text.trim_end_matches(';').to_owned()
}

fn unit(field: &str) -> &'static str {
    if field.ends_with("_seconds") {
        "s"
    } else if field.ends_with("_bytes") {
        "B"
    } else {
        ""
    }
}

/// A bar starts perfdata and a line feed starts long output: neither may come from a name or a message.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '|' {
                '/'
            } else if c.is_control() {
                ' '
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;

    #[test]
    fn perfdata_carries_unit_and_limits() {
        let records = [
            Record::new(Kind::Check, "connections", Status::Warning, "80 % used").field("used_ratio", 0.8).limits(
                "used_ratio",
                "0.7",
                "0.9",
            ),
            Record::new(Kind::Summary, "db", Status::Warning, "1 warning").field("duration_seconds", 0.25),
        ];
        let line = render(&records, "pg-maint");
        assert_eq!(
            line,
            "PG-MAINT WARNING - 1 warning; connections warning: 80 % used | 'connections used_ratio'=0.8;0.7;0.9 \
             'duration_seconds'=0.25s"
        );
    }

    #[test]
    fn a_run_without_summary_is_unknown() {
        assert!(render(&[], "pg-maint").starts_with("PG-MAINT UNKNOWN"));
    }
}
