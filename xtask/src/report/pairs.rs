//! Before and after: the numbers a record carries twice.
//!
//! No list of known measures: any two numeric fields that differ only by a leading `before_`/`after_` or a trailing
//! `_before`/`_after` are a pair, and the unit in the field's name tells how to print it. A tool that measures something
//! new is in the report without a change here.

use maint_core::units::{format_bytes, format_count, format_ratio, format_seconds};

use super::entry::{Entry, Kind};

/// What a number counts, from the unit in its field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Seconds,
    Ratio,
    Count,
}

impl Unit {
    fn of(measure: &str) -> Self {
        match measure.rsplit('_').next() {
            Some("bytes") => Self::Bytes,
            Some("seconds") => Self::Seconds,
            Some("ratio") => Self::Ratio,
            _ => Self::Count,
        }
    }

    /// A value for people, in this unit.
    pub(super) fn format(self, value: f64) -> String {
        let sign = if value < 0.0 { "−" } else { "" };
        let size = value.abs();
        match self {
            Self::Bytes => format!("{sign}{}", format_bytes(size as u64)),
            Self::Seconds => format!("{sign}{}", format_seconds(size)),
            Self::Ratio => format!("{sign}{}", format_ratio(size)),
            Self::Count if size.fract() == 0.0 => format!("{sign}{}", format_count(size as u64)),
            Self::Count => format!("{sign}{size:.2}"),
        }
    }
}

/// One thing measured before and after.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    /// What was measured.
    pub(crate) subject: String,
    /// The database, where the record names one.
    pub(crate) database: String,
    /// In the group's unit.
    pub(crate) before: f64,
    /// In the group's unit.
    pub(crate) after: f64,
}

impl Pair {
    /// The difference in words: `−1.5 GiB (−62.5 %)`.
    pub(super) fn change(&self, unit: Unit) -> String {
        let difference = self.after - self.before;
        if difference == 0.0 {
            return "unchanged".to_owned();
        }
        let plus = if difference > 0.0 { "+" } else { "" };
        let amount = unit.format(difference);
        if self.before == 0.0 || unit == Unit::Ratio {
            return format!("{plus}{amount}");
        }
        let sign = if difference > 0.0 { "+" } else { "−" };
        let percent = (difference / self.before).abs() * 100.0;
        // A little left is not nothing left, and a little less is not unchanged.
        let percent = match percent {
            small if small < 0.05 => format!("under {sign}0.1"),
            most if (99.95..100.0).contains(&most) => format!("over {sign}99.9"),
            percent => format!("{sign}{percent:.1}"),
        };
        format!("{plus}{amount} ({percent} %)")
    }
}

/// The pairs of one measure, comparable with each other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PairGroup {
    /// For people: `reindex: size`.
    pub(crate) title: String,
    /// The unit of every value in the group.
    pub(crate) unit: Unit,
    /// In the order of the records.
    pub(crate) pairs: Vec<Pair>,
}

/// The pairs of one record: measure, before, after.
pub(super) fn pairs_of<'a>(entry: &Entry<'a>) -> Vec<(&'a str, f64, f64)> {
    let number = |name: &str| entry.data.get(name).and_then(serde_json::Value::as_f64);
    entry
        .data
        .keys()
        .filter_map(|name| {
            let (measure, other) = if let Some(measure) = name.strip_prefix("before_") {
                (measure, format!("after_{measure}"))
            } else {
                let measure = name.strip_suffix("_before")?;
                (measure, format!("{measure}_after"))
            };
            Some((measure, number(name)?, number(&other)?))
        })
        .collect()
}

/// A measure's name for people: `size_bytes` and `bytes` are both `size`, because the unit shows in the numbers.
pub(super) fn measure_name(measure: &str) -> String {
    let unit = Unit::of(measure);
    let (suffix, alone) = match unit {
        Unit::Bytes => ("bytes", "size"),
        Unit::Seconds => ("seconds", "time"),
        Unit::Ratio => ("ratio", "ratio"),
        Unit::Count => ("", ""),
    };
    let stem = measure.strip_suffix(suffix).unwrap_or(measure).trim_end_matches('_');
    if stem.is_empty() { alone.to_owned() } else { stem.replace('_', " ") }
}

/// What one record changed, in words: `dead tuples 120,000 to 0`.
pub(super) fn effect(entry: &Entry<'_>) -> String {
    let parts: Vec<String> = pairs_of(entry)
        .into_iter()
        .map(|(measure, before, after)| {
            let unit = Unit::of(measure);
            format!("{} {} to {}", measure_name(measure), unit.format(before), unit.format(after))
        })
        .collect();
    parts.join("; ")
}

/// Every pair in the records: a routine's own measurements first, then by action and measure as they come.
pub(super) fn group_pairs(entries: &[Entry<'_>]) -> Vec<PairGroup> {
    let mut groups: Vec<PairGroup> = Vec::new();
    let (metrics, others): (Vec<_>, Vec<_>) = entries.iter().partition(|e| e.kind == Kind::Metric);
    for entry in metrics.into_iter().chain(others) {
        let what = match (entry.kind, entry.label("action"), entry.task) {
            (Kind::Metric, _, _) => "measured",
            (_, "", task) => task,
            (_, action, _) => action,
        };
        for (measure, before, after) in pairs_of(entry) {
            let title = format!("{what}: {}", measure_name(measure));
            let unit = Unit::of(measure);
            let pair =
                Pair { subject: entry.subject.to_owned(), database: entry.label("database").to_owned(), before, after };
            match groups.iter_mut().find(|group| group.title == title && group.unit == unit) {
                Some(group) => group.pairs.push(pair),
                None => groups.push(PairGroup { title, unit, pairs: vec![pair] }),
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn groups(records: &[serde_json::Value]) -> Vec<PairGroup> {
        let entries: Vec<_> = records.iter().filter_map(Entry::read).collect();
        group_pairs(&entries)
    }

    #[test]
    fn pairs_are_found_by_prefix_and_by_suffix_and_measurements_stand_first() {
        let found = groups(&[
            json!({"type": "maint.step.v1", "subject": "public.orders", "data": {"action": "vacuum",
                "dead_tuples_before": 1200, "dead_tuples_after": 0, "size_bytes": 5}}),
            json!({"type": "maint.metric.v1", "subject": "database size", "data": {
                "before_bytes": 4096, "after_bytes": 1024}}),
        ]);
        let titles: Vec<_> = found.iter().map(|g| (g.title.as_str(), g.unit)).collect();
        assert_eq!(titles, [("measured: size", Unit::Bytes), ("vacuum: dead tuples", Unit::Count)]);
        assert_eq!(found[1].pairs[0].change(Unit::Count), "−1,200 (−100.0 %)");
        assert_eq!(found[0].pairs[0].change(Unit::Bytes), "−3.0 KiB (−75.0 %)");
    }

    #[test]
    fn half_a_pair_and_pairs_that_are_no_numbers_are_left_out() {
        let found = groups(&[json!({"type": "maint.step.v1", "data": {"size_bytes_before": 1,
            "before_state": "a", "after_state": "b", "x_before": 1, "x_after": null}})]);
        assert_eq!(found, []);
    }

    #[test]
    fn a_change_from_zero_has_no_percentage() {
        let pair = |before, after| Pair { subject: String::new(), database: String::new(), before, after };
        assert_eq!(pair(0.0, 10.0).change(Unit::Count), "+10");
        assert_eq!(pair(5.0, 5.0).change(Unit::Count), "unchanged");
        assert_eq!(pair(100_000.0, 99_999.0).change(Unit::Count), "−1 (under −0.1 %)");
        assert_eq!(pair(100_000.0, 1.0).change(Unit::Count), "−99,999 (over −99.9 %)");
        assert_eq!(pair(0.5, 0.75).change(Unit::Ratio), "+25.0 %");
    }
}
