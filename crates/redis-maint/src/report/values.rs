//! Fields for people: their names as headings, their values in the unit that the name ends with.

use maint_core::output::humanize;
use maint_core::record::Record;
use maint_core::report::Html;
use maint_core::units::format_count;
use serde_json::Value;

use super::LONGEST_NAME;

/// Endings that the value itself shows.
const UNITS: [&str; 4] = ["_bytes", "_seconds", "_ratio", "_total"];

/// A field's name as a heading: `without_ttl_ratio` is `Without TTL`.
pub(super) fn heading(field: &str) -> String {
    full_heading(
        UNITS.iter().find_map(|unit| field.strip_suffix(unit)).filter(|stem| !stem.is_empty()).unwrap_or(field),
    )
}

/// The same with its unit.
pub(super) fn full_heading(field: &str) -> String {
    let words = field.split(['_', '-']).map(|word| match word {
        "ttl" | "lru" | "lfu" | "rdb" | "aof" | "cpu" => word.to_uppercase(),
        word => word.to_owned(),
    });
    let text = words.collect::<Vec<_>>().join(" ");
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A number for people; a bare count with commas.
pub(super) fn number(field: &str, value: f64) -> String {
    let bare = !["_bytes", "_seconds", "_ratio"].iter().any(|unit| field.ends_with(unit));
    if bare && value >= 0.0 && value.fract() == 0.0 { format_count(value as u64) } else { humanize(field, value) }
}

/// Any value.
pub(super) fn value(field: &str, value: &Value) -> Html {
    match value {
        Value::Null => Html::text("unknown"),
        Value::Bool(yes) => Html::text(if *yes { "yes" } else { "no" }),
        Value::Number(n) => n.as_f64().map_or_else(|| Html::text(&n.to_string()), |n| Html::text(&number(field, n))),
        // Advice is there to be read; anything else may be a key.
        Value::String(text) if field == "advice" => Html::text(text),
        Value::String(text) => Html::name(text, LONGEST_NAME),
        other => Html::name(&other.to_string(), LONGEST_NAME),
    }
}

/// The fields to show; limits stand beside the values they judge.
pub(super) fn fields(record: &Record) -> impl Iterator<Item = (&str, &Value)> {
    record.fields.iter().map(|(name, value)| (name.as_str(), value)).filter(|(name, _)| *name != "limits")
}

/// The labels to show.
pub(super) fn labels(record: &Record) -> impl Iterator<Item = (&str, &str)> {
    record.labels.iter().map(|(name, value)| (*name, value.as_str())).filter(|(name, _)| *name != "section")
}

/// The field that says how much memory: what a table is ordered by and its bar shows.
pub(super) fn size_field(records: &[&Record]) -> Option<String> {
    let names: std::collections::BTreeSet<&str> = records
        .iter()
        .flat_map(|record| record.numbers())
        .map(|(name, _)| name)
        .filter(|n| n.ends_with("_bytes"))
        .collect();
    let usual = ["memory_bytes", "total_bytes", "used_bytes", "size_bytes"];
    let part = |name: &str| ["biggest", "max", "average", "mean", "p50", "p99"].iter().any(|word| name.contains(word));
    let found = usual.iter().copied().find(|name| names.contains(name));
    found.or_else(|| names.iter().copied().find(|name| !part(name))).map(str::to_owned)
}

/// `first`, or `second` where it is empty.
pub(super) fn or<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_leaves_the_unit_to_the_value() {
        assert_eq!(heading("without_ttl_ratio"), "Without TTL");
        assert_eq!(heading("_bytes"), " bytes");
        assert_eq!(heading(""), "");
        assert_eq!(number("keys", 1_204_882.0), "1,204,882");
        assert_eq!(number("memory_bytes", 1024.0), "1.0 KiB");
        assert_eq!(number("drift", -3.0), "-3");
    }

    #[test]
    fn what_is_not_known_is_said() {
        assert_eq!(value("memory_bytes", &Value::Null).to_string(), "unknown");
    }
}
