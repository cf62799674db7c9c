//! Records: what every program writes on stdout and into the journal.
//!
//! A record is one [CloudEvents 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md) event in JSON
//! format. The envelope says who, when and about what; `data` says what happened. Names of numeric fields carry their
//! unit (`_bytes`, `_seconds`, `_ratio`, `_total`), so that a reader never guesses, and so that the Prometheus and Nagios
//! writers can name and scale them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use ulid::Ulid;

use crate::status::Status;

/// The six kinds of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A judgement of something that was looked at.
    Check,
    /// One step of a plan, carried out (or not, and why).
    Step,
    /// One step that would be carried out.
    Plan,
    /// A measurement without a judgement.
    Metric,
    /// Something noticed that no step of this run takes care of.
    Finding,
    /// The last record of a run: counts, duration, exit code.
    Summary,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 6] = [Kind::Check, Kind::Step, Kind::Plan, Kind::Metric, Kind::Finding, Kind::Summary];

    /// The CloudEvents `type`, with the version of its layout.
    pub fn event_type(self) -> &'static str {
        match self {
            Kind::Check => "maint.check.v1",
            Kind::Step => "maint.step.v1",
            Kind::Plan => "maint.plan.v1",
            Kind::Metric => "maint.metric.v1",
            Kind::Finding => "maint.finding.v1",
            Kind::Summary => "maint.summary.v1",
        }
    }
}

/// What a tool reports, before the run adds its envelope.
#[derive(Debug, Clone)]
pub struct Record {
    /// What kind of record it is.
    pub kind: Kind,
    /// What it is about, e.g. `schema.relation`.
    pub subject: String,
    /// What happened.
    pub status: Status,
    /// For a person: what, and why.
    pub message: String,
    /// Names that tell this record from its siblings; they become Prometheus labels.
    pub labels: BTreeMap<&'static str, String>,
    /// The rest of `data`.
    pub fields: Map<String, Value>,
}

impl Record {
    /// A record about `subject`.
    pub fn new(kind: Kind, subject: impl Into<String>, status: Status, message: impl Into<String>) -> Self {
        Record {
            kind,
            subject: subject.into(),
            status,
            message: message.into(),
            labels: BTreeMap::new(),
            fields: Map::new(),
        }
    }

    /// Adds a field to `data`. A value that JSON cannot hold (NaN, infinity) becomes null: unknown, not zero.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Serialize) -> Self {
        self.fields.insert(name.to_owned(), serde_json::to_value(value).unwrap_or(Value::Null));
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.insert(name, value.into());
        self
    }

    /// Adds the limits that a numeric field was judged by, as Nagios ranges; they appear in perfdata.
    #[must_use]
    pub fn limits(mut self, field: &str, warning: impl Into<String>, critical: impl Into<String>) -> Self {
        let limits = self.fields.entry("limits").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(map) = limits {
            map.insert(field.to_owned(), serde_json::json!({"warning": warning.into(), "critical": critical.into()}));
        }
        self
    }

    /// The numeric fields, by name.
    pub fn numbers(&self) -> impl Iterator<Item = (&str, f64)> {
        self.fields.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_f64()?)))
    }
}

/// A record in its envelope, as it is written.
#[derive(Debug, Serialize)]
pub struct Event<'a> {
    /// Always `1.0`.
    pub specversion: &'static str,
    /// A ULID: unique, and sorts by time.
    pub id: String,
    /// `maint/TOOL/HOST`.
    pub source: &'a str,
    /// The kind and version of the layout of `data`.
    #[serde(rename = "type")]
    pub event_type: &'static str,
    /// RFC 3339, UTC.
    pub time: Timestamp,
    /// What it is about.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub subject: &'a str,
    /// The run that wrote it, a ULID.
    pub run: &'a str,
    /// What happened.
    pub data: Data<'a>,
}

/// The payload of an [`Event`].
#[derive(Debug, Serialize)]
pub struct Data<'a> {
    /// The subcommand.
    pub task: &'a str,
    /// What happened.
    pub status: Status,
    /// For a person.
    pub message: &'a str,
    /// Names that tell this record from its siblings.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: &'a BTreeMap<&'static str, String>,
    /// The rest.
    #[serde(flatten)]
    pub fields: &'a Map<String, Value>,
}

/// Puts records into envelopes: who writes, and in which run.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// `maint/TOOL/HOST`.
    pub source: String,
    /// The run's ULID.
    pub run: String,
    /// The subcommand.
    pub task: String,
}

impl Envelope {
    /// The envelope of a new run of `task` by `tool` on this host.
    pub fn new(tool: &str, task: &str) -> Self {
        let uname = rustix::system::uname();
        let host = uname.nodename().to_string_lossy();
        Envelope { source: format!("maint/{tool}/{host}"), run: Ulid::generate().to_string(), task: task.to_owned() }
    }

    /// `record` as an event, now.
    pub fn seal<'a>(&'a self, record: &'a Record) -> Event<'a> {
        Event {
            specversion: "1.0",
            id: Ulid::generate().to_string(),
            source: &self.source,
            event_type: record.kind.event_type(),
            time: Timestamp::now(),
            subject: &record.subject,
            run: &self.run,
            data: Data {
                task: &self.task,
                status: record.status,
                message: &record.message,
                labels: &record.labels,
                fields: &record.fields,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_required_attributes_of_cloudevents() {
        let envelope = Envelope::new("pg-maint", "vacuum-analyze");
        let record = Record::new(Kind::Step, "public.orders", Status::Ok, "done").field("dead_tuples", 0);
        let event = serde_json::to_value(envelope.seal(&record)).unwrap();
        for name in ["id", "source", "specversion", "type"] {
            assert!(event[name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        }
        assert_eq!(event["data"]["task"], "vacuum-analyze");
        assert_eq!(event["data"]["dead_tuples"], 0);
        assert!(event["data"].get("labels").is_none());
    }

    #[test]
    fn what_cannot_be_known_is_null_and_not_zero() {
        let record = Record::new(Kind::Metric, "x", Status::Ok, "").field("age_seconds", f64::NAN);
        assert_eq!(record.fields["age_seconds"], Value::Null);
        assert_eq!(record.numbers().count(), 0);
    }
}
