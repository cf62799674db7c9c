//! What a walk added up to, as records: totals, types, encodings, patterns of names, times to live and the biggest keys.
//! What it means is told by the findings of [`crate::analysis`].

use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_count, format_ratio, format_seconds};

use crate::analysis::{Count, Report};
use crate::key;
use crate::patterns::Group;
use crate::sketch::Distinct;

/// The records of a report, the `top` largest of what there may be many of.
pub fn records(subject: &str, report: &Report, top: usize) -> Vec<Record> {
    let mut records = vec![total(subject, report)];
    let sums = &report.sums;
    let all = sums.total.bytes;
    for (kind, stats) in &sums.types {
        let mut record = counted("type", kind.as_str(), stats.count, all);
        if let Some(((_, name), bytes, ())) = stats.biggest_by_bytes.iter().next() {
            let name = key::subject(name);
            record.message += &format!(", the biggest {name} with {}", format_bytes(bytes));
            record = record.label("biggest", name).field("biggest_bytes", bytes);
        }
        if let Some(((_, name), length, ())) = stats.biggest_by_length.iter().next() {
            record = record.label("longest", key::subject(name)).field("longest", length).field("length", stats.length);
        }
        records.push(record);
    }
    for ((kind, encoding), count) in &sums.encodings.rows {
        records.push(counted("encoding", &format!("{kind} {encoding}"), *count, all));
    }
    if sums.databases.rows.len() > 1 {
        let databases = sums.databases.rows.iter();
        records.extend(databases.map(|(db, count)| counted("database", &format!("db{db}"), *count, all)));
    }
    let known = sums.ttl.unknown.keys < sums.total.keys;
    for (class, count) in sums.ttl.rows().filter(|(_, count)| known && count.keys > 0) {
        records.push(counted("ttl", class, count, all));
    }
    let known = sums.idle.unknown.keys < sums.total.keys;
    for (class, count) in sums.idle.rows().filter(|(_, count)| known && count.keys > 0) {
        records.push(counted("idle", class, count, all));
    }
    records.extend(report.learned.groups.iter().take(top).map(|group| group_record(group, all)));
    let rest = report.learned.groups.iter().skip(top);
    let (groups, keys, bytes) = rest
        .fold((0u64, report.learned.other.keys, report.learned.other.bytes), |(groups, keys, bytes), group| {
            (groups + 1, keys + group.stats.keys, bytes + group.stats.bytes)
        });
    if keys > 0 {
        let mut record = counted("group", "(other)", Count { keys, bytes }, all);
        record.message += &format!(", in {} smaller groups", format_count(groups));
        records.push(record);
    }
    for ((db, name), bytes, big) in sums.top.iter().take(top) {
        let mut message = format_bytes(bytes);
        if let Some(kind) = &big.kind {
            message += &format!(", {kind}");
        }
        if let Some(length) = big.length {
            message += &format!(" of length {}", format_count(length));
        }
        let record = Record::new(Kind::Metric, key::subject(name), Status::Ok, message);
        let mut record = record.label("section", "key").label("db", db.to_string()).field("memory_bytes", bytes);
        if let Some(kind) = &big.kind {
            record = record.field("type", kind.as_str());
        }
        if let Some(length) = big.length {
            record = record.field("length", length);
        }
        records.push(record);
    }
    records
}

fn total(subject: &str, report: &Report) -> Record {
    let sums = &report.sums;
    let mut message = format!("{} keys take {}", format_count(sums.total.keys), format_bytes(sums.total.bytes));
    if sums.bytes_unknown_keys > 0 {
        message += &format!(", {} more of unknown size", format_count(sums.bytes_unknown_keys));
    }
    message += &format!(", names {}", format_bytes(sums.name_bytes));
    Record::new(Kind::Metric, subject, Status::Ok, message)
        .label("section", "total")
        .field("keys", sums.total.keys)
        .field("memory_bytes", sums.total.bytes)
        .field("unknown_keys", sums.bytes_unknown_keys)
        .field("name_bytes", sums.name_bytes)
        .field("big_keys", sums.big.keys)
        .field("distinct_keys_estimate", report.distinct_keys)
        .field("distinct_keys_standard_error_ratio", Distinct::STANDARD_ERROR)
}

fn counted(section: &'static str, subject: &str, count: Count, all: u64) -> Record {
    let share = if all == 0 { 0.0 } else { count.bytes as f64 / all as f64 };
    let message = format!(
        "{} keys, {}, {} of all bytes",
        format_count(count.keys),
        format_bytes(count.bytes),
        format_ratio(share)
    );
    Record::new(Kind::Metric, subject, Status::Ok, message)
        .label("section", section)
        .field("keys", count.keys)
        .field("memory_bytes", count.bytes)
        .field("memory_ratio", share)
}

fn group_record(group: &Group, all: u64) -> Record {
    let stats = &group.stats;
    let count = Count { keys: stats.keys, bytes: stats.bytes };
    let mut record = counted("group", &group.name, count, all).label("glob", key::subject(&group.glob));
    let known = stats.ttl.known_keys();
    if known > 0 {
        let without = stats.ttl.never_keys as f64 / known as f64;
        record.message += &format!(", {} never expire", format_ratio(without));
        record = record.field("without_ttl_ratio", without).field("without_ttl_keys", stats.ttl.never_keys);
        if let Some(most) = stats.ttl.max_seconds {
            record.message += &format!(", the others in {} at most", format_seconds(most as f64));
            record = record.field("longest_ttl_seconds", most);
        }
    }
    let mut kinds: Vec<_> = stats.kinds.iter().filter(|kind| kind.kind.is_some()).collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.keys));
    if let Some(kind) = kinds.first() {
        let name = kind.kind.as_ref().map(ToString::to_string).unwrap_or_default();
        let encoding = kind.encoding.as_deref().unwrap_or("");
        record = record.field("type", &name).field("encoding", encoding);
        record.message += &format!(", {}", format!("{name} {encoding}").trim());
    }
    if let Some((name, bytes)) = &stats.biggest {
        record = record.label("biggest", key::subject(name)).field("biggest_bytes", bytes);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Analysis, Settings};
    use crate::entry::{Entry, Expiry, KeyType};

    #[test]
    fn the_records_add_up_to_the_total() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut analysis = Analysis::new(Settings::at(now));
        for number in 0..1000u64 {
            let key = format!("{}:{number}", ["session", "cache", "q"][number as usize % 3]).into_bytes();
            analysis.add(&Entry {
                kind: Some(if number % 2 == 0 { KeyType::String } else { KeyType::Hash }),
                bytes: Some(number),
                expiry: Some(Expiry::Never),
                ..Entry::named(0, key)
            });
        }
        let records = records("h:1", &analysis.finish(), 2);
        let sum = |section: &str, field: &str| -> u64 {
            let of = records.iter().filter(|record| record.labels.get("section").is_some_and(|name| name == section));
            of.filter_map(|record| record.fields[field].as_u64()).sum()
        };
        assert_eq!(sum("total", "memory_bytes"), 499_500);
        for section in ["type", "group", "ttl"] {
            assert_eq!((sum(section, "keys"), sum(section, "memory_bytes")), (1000, 499_500), "{section}");
        }
        assert_eq!(sum("key", "memory_bytes"), 999 + 998);
    }
}
