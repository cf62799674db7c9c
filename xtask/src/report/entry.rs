//! One journal record, read leniently.
//!
//! A report is made after the fact, often of a run that went wrong, so a field that is missing or of another type costs
//! that field and not the report. What cannot be read as a record at all is counted by the caller and shown: silence
//! would look like success.

use jiff::{SignedDuration, Timestamp};
use maint_core::status::Severity;
use serde_json::{Map, Value};

/// Every status word, worst first. Within one severity the word that says most stands first: `warning` is what a
/// routine says of a step whose own records know better.
const STATUS_WORDS: [(&str, Severity); 13] = [
    ("failed", Severity::Critical),
    ("critical", Severity::Critical),
    ("denied", Severity::Unknown),
    ("unknown", Severity::Unknown),
    ("not-built", Severity::Unknown),
    ("left", Severity::Warning),
    ("deferred", Severity::Warning),
    ("ineffective", Severity::Warning),
    ("skipped", Severity::Warning),
    ("warning", Severity::Warning),
    ("ok", Severity::Ok),
    ("planned", Severity::Ok),
    ("gone", Severity::Ok),
];

/// A status word and how bad it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// The word as the record has it.
    pub(crate) word: String,
    /// What the word means; a word this program does not know cannot be called good.
    pub(crate) severity: Severity,
}

impl Status {
    pub(super) fn new(word: &str) -> Self {
        let severity = STATUS_WORDS.iter().find(|(known, _)| *known == word).map_or(Severity::Unknown, |(_, s)| *s);
        Self { word: word.to_owned(), severity }
    }

    /// Lower is worse; words nobody knows stand after the known ones of their severity.
    pub(super) fn rank(&self) -> (std::cmp::Reverse<Severity>, usize) {
        let place = STATUS_WORDS.iter().position(|(known, _)| *known == self.word).unwrap_or(STATUS_WORDS.len());
        (std::cmp::Reverse(self.severity), place)
    }
}

/// The kind of a record, from its `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Check,
    Finding,
    Metric,
    Plan,
    Step,
    Summary,
}

impl Kind {
    fn from_type(text: &str) -> Option<Self> {
        Some(match text {
            "maint.check.v1" => Self::Check,
            "maint.finding.v1" => Self::Finding,
            "maint.metric.v1" => Self::Metric,
            "maint.plan.v1" => Self::Plan,
            "maint.step.v1" => Self::Step,
            "maint.summary.v1" => Self::Summary,
            _ => return None,
        })
    }

    /// The kind as a noun, for counts.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Finding => "finding",
            Self::Metric => "measurement",
            Self::Plan => "plan entry",
            Self::Step => "step",
            Self::Summary => "summary",
        }
    }
}

/// The parts of a record that the report uses, borrowed from it.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) kind: Kind,
    /// The program that wrote it: the second part of `source`.
    pub(super) tool: &'a str,
    pub(super) run: &'a str,
    pub(super) subject: &'a str,
    pub(super) task: &'a str,
    pub(super) status: Status,
    pub(super) message: &'a str,
    pub(super) time: Option<Timestamp>,
    pub(super) data: &'a Map<String, Value>,
}

impl<'a> Entry<'a> {
    /// Reads a record; `None` when it has no known type or no data.
    pub(super) fn read(record: &'a Value) -> Option<Self> {
        let kind = Kind::from_type(record.get("type")?.as_str()?)?;
        let data = record.get("data")?.as_object()?;
        let top = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
        let inner = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
        let status = match inner("status") {
            "" if kind == Kind::Metric => "ok",
            "" if kind == Kind::Plan => "planned",
            "" => "unknown",
            word => word,
        };
        Some(Self {
            kind,
            tool: top("source").split('/').nth(1).unwrap_or_default(),
            run: top("run"),
            subject: top("subject"),
            task: inner("task"),
            status: Status::new(status),
            message: inner("message"),
            time: top("time").parse().ok(),
            data,
        })
    }

    /// A text field of the data; empty when missing.
    pub(super) fn text(&self, name: &str) -> &'a str {
        self.data.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A label, or else the field of the same name; empty when missing.
    pub(super) fn label(&self, name: &str) -> &'a str {
        let label = self.data.get("labels").and_then(|labels| labels.get(name)).and_then(Value::as_str);
        label.unwrap_or_else(|| self.text(name))
    }

    /// How long it took, in seconds.
    pub(super) fn duration(&self) -> Option<f64> {
        self.data.get("duration_seconds").and_then(Value::as_f64).filter(|seconds| *seconds >= 0.0)
    }

    /// When it began: `started` where the record says so, else its time less its duration, because a record is written
    /// when its work is over.
    pub(super) fn start(&self) -> Option<Timestamp> {
        if let Ok(started) = self.text("started").parse() {
            return Some(started);
        }
        let time = self.time?;
        let length = SignedDuration::try_from_secs_f64(self.duration().unwrap_or(0.0)).unwrap_or_default();
        Some(time.checked_sub(length).unwrap_or(time))
    }

    /// Whether this is a step of a routine: work that another program did and this program started.
    pub(super) fn is_routine_step(&self) -> bool {
        self.kind == Kind::Step && self.tool == "xtask"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_status_has_its_severity_and_a_word_nobody_knows_is_never_fine() {
        let severity = |word| Status::new(word).severity;
        assert!(["critical", "failed"].iter().all(|w| severity(w) == Severity::Critical));
        assert!(["denied", "unknown", "not-built"].iter().all(|w| severity(w) == Severity::Unknown));
        let left = ["warning", "deferred", "skipped", "ineffective", "left"];
        assert!(left.iter().all(|w| severity(w) == Severity::Warning));
        assert!(["ok", "planned", "gone"].iter().all(|w| severity(w) == Severity::Ok));
        assert_eq!(severity("splendid"), Severity::Unknown);
    }

    #[test]
    fn a_step_without_a_status_is_unknown() {
        let record = json!({"type": "maint.step.v1", "data": {}});
        assert_eq!(Entry::read(&record).unwrap().status.word, "unknown");
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for record in [json!(null), json!(7), json!({"type": "maint.step.v1"}), json!({"type": "x", "data": {}})] {
            assert!(Entry::read(&record).is_none(), "{record}");
        }
    }

    #[test]
    fn a_step_starts_its_duration_before_its_record_unless_it_says_when() {
        let record = json!({"type": "maint.step.v1", "time": "2024-06-04T02:01:00Z", "data": {"duration_seconds": 60}});
        assert_eq!(Entry::read(&record).unwrap().start().unwrap().to_string(), "2024-06-04T02:00:00Z");
        let record = json!({"type": "maint.summary.v1", "time": "2024-06-04T02:01:00Z",
            "data": {"duration_seconds": 60, "started": "2024-06-04T01:00:00Z"}});
        assert_eq!(Entry::read(&record).unwrap().start().unwrap().to_string(), "2024-06-04T01:00:00Z");
    }
}
