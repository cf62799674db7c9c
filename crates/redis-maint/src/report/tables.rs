//! The tables and drawings, made of whatever fields the records have.

use std::collections::BTreeMap;

use maint_core::record::Record;
use maint_core::report::svg::{Amount, Bar, bars, meter};
use maint_core::report::{Column, Html, badge, table};
use maint_core::status::Status;
use serde_json::Value;

use super::{LONGEST_NAME, limits, values};

/// Columns of fields at most; what is more than that stands together in the last one.
const MOST_COLUMNS: usize = 5;

fn status(record: &Record) -> Html {
    badge(record.status.severity(), record.status.as_str())
}

/// Texts under each other.
fn lines(texts: impl IntoIterator<Item = Html>) -> Html {
    let mut out = Html::new();
    for text in texts {
        if !out.is_empty() {
            out.push(&Html::raw("<br>"));
        }
        out.push(&text);
    }
    out
}

/// The subject, and under it the labels that tell it from its siblings.
fn subject(record: &Record) -> Html {
    let mut out = Html::name(&record.subject, LONGEST_NAME);
    let labels: Vec<&str> = values::labels(record).map(|(_, value)| value).collect();
    if !labels.is_empty() {
        out.push(&Html::code(&labels.join(" · ")));
    }
    out
}

/// Every check with its value and the limits it was judged by.
pub(super) fn checks(records: &[&Record]) -> Html {
    let columns = [
        Column::text("Check"),
        Column::text("Status"),
        Column::text("Value"),
        Column::text("Limits"),
        Column::text("Message"),
    ];
    let rows = records.iter().map(|record| {
        let named = values::fields(record).count() > 1;
        let shown = values::fields(record).map(|(name, value)| {
            let mut text = Html::new();
            if named {
                text.push(&Html::text(&format!("{} ", values::heading(name).to_lowercase())));
            }
            text.push(&values::value(name, value));
            text
        });
        let limits = values::fields(record)
            .map(|(name, _)| (name, limits::of_field(record, name)))
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| {
                let text = if named { format!("{}: {text}", values::heading(name).to_lowercase()) } else { text };
                Html::text(&text)
            });
        vec![subject(record), status(record), lines(shown), lines(limits), Html::text(&record.message)]
    });
    table("Checks", &columns, rows)
}

/// What was not looked at, and why.
pub(super) fn unseen(records: &[&Record]) -> Html {
    let columns = [Column::text("What"), Column::text("Status"), Column::text("Why")];
    let rows = records.iter().map(|record| vec![subject(record), status(record), Html::text(&record.message)]);
    table("Not looked at", &columns, rows)
}

/// Names and values, record by record: such records have many fields and little in common.
pub(super) fn facts(records: &[&Record]) -> Html {
    let names = headings(records);
    let mut out = Html::new();
    for record in records {
        if records.len() > 1 {
            out.push(&Html::raw("<p class=\"name\">"));
            out.push(&Html::name(&record.subject, LONGEST_NAME));
            out.push(&Html::raw("</p>\n"));
        }
        if record.status != Status::Ok || !record.message.is_empty() {
            out.push(&Html::raw("<p>"));
            out.push(&status(record));
            out.push(&Html::text(&format!(" {}", record.message)));
            out.push(&Html::raw("</p>\n"));
        }
        let labels = values::labels(record).map(|(name, text)| (values::heading(name), Html::text(text)));
        let fields = values::fields(record)
            .map(|(name, value)| (names.get(name).cloned().unwrap_or_default(), values::value(name, value)));
        let pairs: Vec<(String, Html)> = labels.chain(fields).collect();
        out.push(&Html::pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.clone()))));
    }
    out
}

/// A table ordered by memory, largest first, with a bar each.
pub(super) fn by_size(label: &str, records: &[&Record]) -> Html {
    let Some(size) = values::size_field(records) else { return generic(label, records) };
    let amount = |record: &Record| record.fields.get(&size).and_then(Value::as_f64).unwrap_or(0.0);
    let mut records = records.to_vec();
    records.sort_by(|a, b| amount(b).total_cmp(&amount(a)).then_with(|| a.subject.cmp(&b.subject)));
    let most = records.iter().map(|record| amount(record)).fold(0.0, f64::max);
    fields_table(label, &records, Some((&size, most)))
}

/// Bars for one number a record, in the order of the records, and all their fields as a table.
pub(super) fn drawn(id: &str, label: &str, records: &[&Record]) -> Html {
    let names = |record: &Record| record.numbers().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    let all: Vec<String> = records.iter().flat_map(|record| names(record)).collect();
    let usual = all.iter().find(|name| matches!(name.as_str(), "keys" | "keys_total"));
    let Some(field) = usual.or(all.first()) else { return generic(label, records) };
    let drawn: Vec<Bar> = records
        .iter()
        .map(|record| {
            let value = record.fields.get(field).and_then(Value::as_f64);
            let text = value.map_or_else(|| "unknown".to_owned(), |value| values::number(field, value));
            Bar { label: record.subject.clone(), before: None, now: Amount { value: value.unwrap_or(0.0), text } }
        })
        .collect();
    let mut out = bars(id, &format!("{label}: {}", values::heading(field).to_lowercase()), &drawn);
    out.push(&generic(label, records));
    out
}

/// Everything the records have, as it comes.
pub(super) fn generic(label: &str, records: &[&Record]) -> Html {
    fields_table(label, records, None)
}

/// The headings of all fields. Where two fields would get the same, they keep their units.
fn headings<'a>(records: &[&'a Record]) -> BTreeMap<&'a str, String> {
    let mut by_heading: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, _) in records.iter().flat_map(|record| values::fields(record)) {
        let same = by_heading.entry(values::heading(name)).or_default();
        if !same.contains(&name) {
            same.push(name);
        }
    }
    let named = by_heading.into_iter().flat_map(|(heading, names)| {
        let alone = names.len() == 1;
        names.into_iter().map(move |name| (name, if alone { heading.clone() } else { values::full_heading(name) }))
    });
    named.collect()
}

/// A table of all fields: memory first, then counts of keys and what is said of their time to live, then the rest.
fn fields_table(label: &str, records: &[&Record], size: Option<(&str, f64)>) -> Html {
    let headings = headings(records);
    let rank = |name: &str| match name {
        name if size.is_some_and(|(size, _)| size == name) => 0,
        name if name.starts_with("keys") => 1,
        name if name.contains("ttl") => 2,
        _ => 3,
    };
    let mut names: Vec<&str> = headings.keys().copied().collect();
    names.sort_by_key(|name| rank(name));
    let more = names.split_off(names.len().min(MOST_COLUMNS));
    let heading = |name: &str| headings.get(name).map_or("", String::as_str);
    let numeric = |name: &str| {
        let mut held = records.iter().filter_map(|record| record.fields.get(name));
        held.all(|value| value.is_number() || value.is_null())
    };

    let mut columns = vec![Column::text("What")];
    columns.extend(names.iter().map(|name| Column { name: heading(name), number: numeric(name) }));
    columns.extend([Column::text("More"), Column::text("Status"), Column::text("Message")]);
    let judged = records.iter().any(|record| record.status != Status::Ok);
    let rows = records.iter().map(|record| {
        let mut row = vec![subject(record)];
        for name in &names {
            let value = record.fields.get(*name);
            let mut cell = value.map_or_else(Html::new, |value| values::value(name, value));
            if let (Some((field, most)), Some(amount)) = (size, value.and_then(Value::as_f64))
                && field == *name
            {
                cell.push(&meter(amount, most));
            }
            row.push(cell);
        }
        let rest = more.iter().filter_map(|name| Some((name, record.fields.get(*name)?)));
        row.push(lines(rest.map(|(name, value)| {
            let mut text = Html::text(&format!("{} ", heading(name).to_lowercase()));
            text.push(&values::value(name, value));
            text
        })));
        row.push(if judged { status(record) } else { Html::new() });
        row.push(Html::text(&record.message));
        row
    });
    table(label, &columns, rows)
}
