//! `keys`: the record stream, one a key.

use jiff::Timestamp;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_count, format_seconds};

use crate::entry::{Entry, Expiry};
use crate::expire_keys::left_ms;
use crate::key;
use crate::scan::{Attribute, Report};

/// A key as a record. `ttl_seconds` is null for a key that never expires, and absent when it was not asked.
pub fn record(entry: &Entry, now: Timestamp) -> Record {
    let mut message = Vec::new();
    let mut record = Record::new(Kind::Metric, key::subject(&entry.key), Status::Ok, "").field("db", entry.db);
    if let Some(kind) = &entry.kind {
        message.push(kind.to_string());
        record = record.field("type", kind.as_str());
    }
    if let Some(encoding) = &entry.encoding {
        message.push(encoding.clone());
        record = record.field("encoding", encoding);
    }
    if let Some(bytes) = entry.bytes {
        message.push(format_bytes(bytes));
        record = record.field("memory_bytes", bytes);
    }
    if let Some(length) = entry.length {
        message.push(format!("length {}", format_count(length)));
        record = record.field("length", length);
    }
    match entry.expiry {
        None => {}
        Some(Expiry::Never) => {
            message.push("never expires".to_owned());
            record = record.field("ttl_seconds", None::<f64>).field("expires", "never");
        }
        Some(Expiry::At(moment)) => {
            let seconds = left_ms(moment, now) as f64 / 1000.0;
            message.push(if seconds < 0.0 {
                "expired".to_owned()
            } else {
                format!("expires in {}", format_seconds(seconds))
            });
            record = record.field("ttl_seconds", seconds).field("expires", moment);
        }
    }
    if let Some(idle) = entry.idle_seconds {
        message.push(format!("idle for {}", format_seconds(idle as f64)));
        record = record.field("idle_seconds", idle);
    }
    if let Some(frequency) = entry.frequency {
        message.push(format!("frequency {frequency}"));
        record = record.field("frequency", frequency);
    }
    record.message = message.join(", ");
    record
}

/// What the walk over one part did, as a record: what it added to the server's statistics, and what it could not see.
pub fn walk_record(report: &Report, folded: u64) -> Record {
    let mut message = format!("{} names", format_count(report.names));
    if report.hits_added > 0 {
        message += &format!(", {} hits added to the server's statistics", format_count(report.hits_added));
    } else {
        message += ", no trace left in the server's statistics";
    }
    for (count, what) in [
        (folded, "names came twice and were folded"),
        (report.vanished, "keys vanished meanwhile"),
        (report.backed_off, "times backed off from a busy server"),
        (report.restarts, "times begun anew on another server"),
    ] {
        if count > 0 {
            message += &format!(", {} {what}", format_count(count));
        }
    }
    Record::new(Kind::Metric, &report.address, Status::Ok, message)
        .label("section", "walk")
        .label("db", report.db.to_string())
        .field("names", report.names)
        .field("vanished_keys", report.vanished)
        .field("hits_added", report.hits_added)
        .field("misses_added", report.misses_added)
        .field("backed_off", report.backed_off)
        .field("paused_seconds", report.paused.as_secs_f64())
        .field("restarts", report.restarts)
}

/// What the walk could not see, as records: never left out, never guessed.
pub fn refusals(report: &Report) -> Vec<Record> {
    let finding = |message: String| Record::new(Kind::Finding, &report.address, Status::Denied, message);
    let mut found: Vec<Record> = report
        .denied
        .iter()
        .map(|(attribute, why)| {
            // What an eviction policy or a version does not offer is no lack of privilege.
            let status = if why.starts_with("not permitted") { Status::Denied } else { Status::Unknown };
            let mut record = finding(format!("{attribute} could not be asked: {why}"));
            record.status = status;
            record.label("attribute", attribute.command())
        })
        .collect();
    if report.denied_keys > 0 {
        let keys = format_count(report.denied_keys);
        let questions =
            format!("{keys} questions about keys were refused: the user may not read them (ACL SETUSER ... ~PATTERN)");
        found.push(finding(questions).field("denied", report.denied_keys));
    }
    found
}

/// What `--with` asks, as attributes; lengths need the type.
pub fn attributes(with: impl IntoIterator<Item = Attribute>) -> Vec<Attribute> {
    let mut all: Vec<Attribute> = with.into_iter().collect();
    if all.contains(&Attribute::Length) {
        all.push(Attribute::Type);
    }
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::KeyType;

    #[test]
    fn only_what_is_known_is_in_the_record() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let bare = record(&Entry::named(3, b"a\xff".to_vec()), now);
        assert_eq!(bare.subject, "a%FF");
        assert_eq!(bare.fields.keys().collect::<Vec<_>>(), ["db"]);
        let full = Entry {
            kind: Some(KeyType::Hash),
            bytes: Some(100),
            expiry: Some(Expiry::At("2026-01-01T00:01:00Z".parse().unwrap())),
            ..Entry::named(0, b"a".to_vec())
        };
        let full = record(&full, now);
        assert_eq!(full.fields["ttl_seconds"], 60.0);
        assert_eq!(full.message, "hash, 100 B, expires in 1 min");
    }

    #[test]
    fn a_key_that_never_expires_has_a_null_and_not_a_zero() {
        let entry = Entry { expiry: Some(Expiry::Never), ..Entry::named(0, b"a".to_vec()) };
        assert!(record(&entry, Timestamp::now()).fields["ttl_seconds"].is_null());
    }

    #[test]
    fn what_was_refused_is_said() {
        let mut report = Report { denied_keys: 4, ..Report::default() };
        report.denied.insert(Attribute::Bytes, "not permitted: no permissions to run the 'memory' command".to_owned());
        report.denied.insert(Attribute::Idle, "the server said: ERR An LFU maxmemory policy is selected".to_owned());
        let found = refusals(&report);
        assert_eq!(found.iter().filter(|record| record.status == Status::Denied).count(), 2);
        assert_eq!(found.iter().filter(|record| record.status == Status::Unknown).count(), 1);
    }
}
