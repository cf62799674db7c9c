//! Limits in words. Records carry them as monitoring-plugins ranges
//! (<https://www.monitoring-plugins.org/doc/guidelines.html#THRESHOLDFORMAT>), which few people read without looking.

use maint_core::record::Record;
use serde_json::Value;

use super::values;

/// The limits of a field: `warning above 80.0 %, critical above 90.0 %`; empty when it has none.
pub(super) fn of_field(record: &Record, field: &str) -> String {
    let limits = record.fields.get("limits").and_then(|limits| limits.get(field));
    let parts = ["warning", "critical"].into_iter().filter_map(|level| {
        let range = limits?.get(level).and_then(Value::as_str).filter(|range| !range.is_empty())?;
        Some(format!("{level} {}", in_words(field, range)))
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// Where a range alerts. What is no range stands as it is.
fn in_words(field: &str, range: &str) -> String {
    words(field, range).unwrap_or_else(|| range.to_owned())
}

fn words(field: &str, range: &str) -> Option<String> {
    let (inside, ends) = range.strip_prefix('@').map_or((false, range), |ends| (true, ends));
    if ends.is_empty() {
        return None;
    }
    let (start, end) = ends.split_once(':').unwrap_or(("0", ends));
    let end_of = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    let shown = |number: f64| values::number(field, number);
    let (low, high) = (
        if start == "~" { None } else { Some(end_of(start)?) },
        if end.is_empty() { None } else { Some(end_of(end)?) },
    );
    Some(match (inside, low, high) {
        (_, None, None) => return None,
        (false, None, Some(high)) => format!("above {}", shown(high)),
        (false, Some(low), Some(high)) if low == 0.0 && !ends.contains(':') => format!("above {}", shown(high)),
        (false, Some(low), None) => format!("below {}", shown(low)),
        (false, Some(low), Some(_)) if start == end => format!("other than {}", shown(low)),
        (false, Some(low), Some(high)) => format!("outside {} to {}", shown(low), shown(high)),
        (true, None, Some(high)) => format!("up to {}", shown(high)),
        (true, Some(low), None) => format!("from {}", shown(low)),
        (true, Some(low), Some(_)) if start == end => format!("at {}", shown(low)),
        (true, Some(low), Some(high)) => format!("from {} to {}", shown(low), shown(high)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_say_where_they_alert() {
        let cases = [
            ("0.8", "above 80.0 %"),
            ("~:0.8", "above 80.0 %"),
            ("0.5:", "below 50.0 %"),
            ("0.1:0.2", "outside 10.0 % to 20.0 %"),
            ("@0.8:", "from 80.0 %"),
            ("@~:0.1", "up to 10.0 %"),
            ("1:1", "other than 100.0 %"),
        ];
        for (range, words) in cases {
            assert_eq!(in_words("used_ratio", range), words, "{range}");
        }
    }

    #[test]
    fn what_is_no_range_stands_as_it_is() {
        for text in ["soon", "~:", "@", ":", "nan", "1:2:3"] {
            assert_eq!(in_words("n", text), text);
        }
    }
}
