//! Aligned columns for people: status, subject, the columns that the command chose, message. The summary stands below.

use serde_json::Value;

use super::humanize;
use crate::record::{Kind, Record};
use crate::status::Severity;

/// Renders all records; the summary, when there is one, as a last line of its own.
pub(super) fn render(records: &[Record], columns: &[&str], colour: bool) -> String {
    let (summaries, rows): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.kind == Kind::Summary);
    // A column that is empty in every row says nothing.
    let columns: Vec<&str> =
        columns.iter().copied().filter(|name| rows.iter().any(|row| !cell(row, name).is_empty())).collect();

    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut head = vec!["STATUS".to_owned(), "SUBJECT".to_owned()];
    head.extend(columns.iter().map(|name| heading(name)));
    head.push("MESSAGE".to_owned());
    lines.push(head);
    for row in &rows {
        let mut line = vec![row.status.to_string(), one_line(&row.subject)];
        line.extend(columns.iter().map(|name| cell(row, name)));
        line.push(one_line(&row.message));
        lines.push(line);
    }

    let mut text = String::new();
    if !rows.is_empty() {
        let numeric: Vec<bool> = columns.iter().map(|name| rows.iter().any(|row| is_number(row, name))).collect();
        let count = columns.len() + 3;
        let width = |index: usize| {
            lines.iter().filter_map(|line| line.get(index)).map(|text| text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..count).map(width).collect();
        for (number, line) in lines.iter().enumerate() {
            let mut out = String::new();
            for (index, value) in line.iter().enumerate() {
                let width = widths.get(index).copied().unwrap_or(0);
                let right = index >= 2 && numeric.get(index - 2).copied().unwrap_or(false);
                let padded = if index + 1 == count {
                    value.clone()
                } else if right {
                    format!("{value:>width$}  ")
                } else {
                    format!("{value:<width$}  ")
                };
                let severity = number.checked_sub(1).and_then(|row| rows.get(row)).map(|row| row.status.severity());
                match severity {
                    Some(severity) if colour && index == 0 => out.push_str(&painted(&padded, severity)),
                    _ => out.push_str(&padded),
                }
            }
            text.push_str(out.trim_end());
            text.push('\n');
        }
    }
    for summary in summaries {
        let severity = summary.status.severity();
        let label = if colour { painted(severity.label(), severity) } else { severity.label().to_owned() };
        if !rows.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("{label}: {}\n", one_line(&summary.message)));
    }
    text
}

fn heading(name: &str) -> String {
    let bare = ["_bytes", "_seconds", "_ratio"].iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name);
    bare.replace('_', " ").to_uppercase()
}

fn is_number(record: &Record, name: &str) -> bool {
    record.fields.get(name).is_some_and(Value::is_number)
}

fn cell(record: &Record, name: &str) -> String {
    match record.fields.get(name) {
        Some(Value::String(text)) => one_line(text),
        Some(Value::Number(number)) => number.as_f64().map(|value| humanize(name, value)).unwrap_or_default(),
        Some(Value::Bool(yes)) => yes.to_string(),
        None | Some(Value::Null) => record.labels.get(name).map(|text| one_line(text)).unwrap_or_default(),
        Some(other) => other.to_string(),
    }
}

/// Control characters in a name must not move the cursor or forge a line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn painted(text: &str, severity: Severity) -> String {
    let code = match severity {
        Severity::Ok => "32",
        Severity::Warning => "33",
        Severity::Unknown => "35",
        Severity::Critical => "31",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;

    #[test]
    fn columns_are_aligned_and_units_are_readable() {
        let rows = [
            Record::new(Kind::Step, "public.a", Status::Ok, "done").field("size_bytes", 1_048_576),
            Record::new(Kind::Step, "public.longer", Status::Deferred, "locked"),
        ];
        let text = render(&rows, &["size_bytes", "never"], false);
        assert!(text.contains("SIZE"), "{text}");
        assert!(!text.contains("NEVER"), "{text}");
        let at: Vec<_> = text
            .lines()
            .map(|line| line.find("MESSAGE").or(line.find("done")).or(line.find("locked")).unwrap())
            .collect();
        assert!(at.iter().all(|&position| position == at[0]), "{text}");
    }

    #[test]
    fn a_name_cannot_forge_a_line() {
        let rows = [Record::new(Kind::Step, "a\nok  b", Status::Failed, "x\r\u{1b}[2J")];
        let text = render(&rows, &[], false);
        assert_eq!(text.lines().count(), 2);
        assert!(!text.contains('\u{1b}'));
    }
}
