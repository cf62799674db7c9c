//! One step of work on one key: what plans are made of and what `apply -` reads. It carries what the key looked like
//! when the plan was made, because only a key that still looks so is touched.

use jiff::Timestamp;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Expiry};
use crate::key;

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// `UNLINK`.
    Delete,
    /// `PEXPIRE`.
    Expire,
}

impl Action {
    /// The name as it stands in a record.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Delete => "delete",
            Action::Expire => "expire",
        }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// The key, as the subject of its record.
    pub key: String,
    /// The database.
    pub db: u32,
    /// The replication id of the server that the plan was made for, when the user may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The rule that asks for it.
    pub rule: String,
    /// When the key was looked at, by the server's clock.
    pub seen: Timestamp,
    /// Its type then.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Bytes of memory it took then.
    #[serde(rename = "memory_bytes", default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Elements that MEMORY USAGE looked at for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u32>,
    /// When it was to expire: `never`, or a moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Expires>,
    /// Seconds since it had been touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<u64>,
    /// SHA-1 of its value as `DUMP` gives it, for a key whose idle time could not tell whether it was replaced since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Seconds that the rule wants it to have been idle, still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_idle_seconds: Option<u64>,
    /// The time to live to give, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Why.
    pub reason: String,
}

/// When a key expires, in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expires(pub Expiry);

impl Serialize for Expires {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Expiry::Never => serializer.serialize_str("never"),
            Expiry::At(moment) => serializer.collect_str(&moment),
        }
    }
}

impl<'de> Deserialize<'de> for Expires {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        if text == "never" {
            return Ok(Expires(Expiry::Never));
        }
        text.parse().map(|moment| Expires(Expiry::At(moment))).map_err(serde::de::Error::custom)
    }
}

impl Step {
    /// A step on a key as it was seen.
    pub fn on(entry: &Entry, action: Action, rule: &str, seen: Timestamp, reason: String) -> Self {
        Step {
            action,
            key: key::subject(&entry.key),
            db: entry.db,
            server: None,
            rule: rule.to_owned(),
            seen,
            kind: entry.kind.as_ref().map(|kind| kind.as_str().to_owned()),
            bytes: entry.bytes,
            samples: None,
            expires: entry.expiry.map(Expires),
            idle_seconds: entry.idle_seconds,
            digest: None,
            min_idle_seconds: None,
            ttl_ms: None,
            reason,
        }
    }

    /// The key's name as bytes.
    pub fn key_bytes(&self) -> Vec<u8> {
        key::from_subject(&self.key)
    }

    /// The step as a record of the plan; `apply -` reads it back.
    pub fn planned(&self) -> Record {
        self.record(Kind::Plan, Status::Planned, self.reason.clone())
    }

    /// The step as a record of what became of it.
    pub fn record(&self, kind: Kind, status: Status, message: impl Into<String>) -> Record {
        let mut record = Record::new(kind, &self.key, status, message)
            .label("rule", &self.rule)
            .label("action", self.action.as_str());
        if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(self) {
            record.fields = fields;
        }
        record
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn step(action: Action, key: &[u8]) -> Step {
        let entry = Entry { bytes: Some(100), expiry: Some(Expiry::Never), ..Entry::named(0, key.to_vec()) };
        Step::on(&entry, action, "r", "2026-01-01T00:00:00Z".parse().unwrap(), "because".to_owned())
    }

    #[test]
    fn a_planned_step_reads_back_as_itself() {
        for key in [&b"a:1"[..], b"", b"bin:\xff\x00\n%"] {
            let mut step = step(Action::Delete, key);
            step.expires = Some(Expires(Expiry::At("2026-01-02T03:04:05.678Z".parse().unwrap())));
            let back: Step = serde_json::from_value(serde_json::Value::Object(step.planned().fields)).unwrap();
            assert_eq!(back, step);
            assert_eq!(back.key_bytes(), key);
        }
    }
}
