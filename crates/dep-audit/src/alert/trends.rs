//! `alert summary`, `trends` and `export`: what the state knows; nothing is looked at anew.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_seconds;

use super::state::{Entry, State};
use crate::work::Work;

/// What is open, how bad, and since when.
pub(super) fn summary(state: &State, work: &Work<'_>) {
    let mut by: BTreeMap<String, usize> = BTreeMap::new();
    for entry in state.open() {
        *by.entry(word(entry.finding.severity)).or_default() += 1;
        work.run.emit(&record(entry, work.now));
    }
    let seen = state.open().filter(|entry| entry.ack.is_some()).count();
    let told = state.history.last().map(|last| last.at);
    let open = state.open().count();
    let message = match told {
        Some(at) => format!("{open} open, {seen} of them seen by somebody; last news {at}"),
        None => format!("{open} open"),
    };
    let record = Record::new(Kind::Metric, work.subject.as_str(), Status::Ok, message);
    work.run.emit(
        &record.field("open", open).field("acknowledged", seen).field("by_severity", by).field("last_news", told),
    );
}

fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn record(entry: &Entry, now: Timestamp) -> Record {
    let end = entry.resolved.unwrap_or(now);
    let age = end.duration_since(entry.opened).max(SignedDuration::ZERO);
    let mut record = entry.finding.record(Status::Ok);
    let state = if entry.resolved.is_some() { "was open for" } else { "open for" };
    record.message = format!("{state} {}: {}", format_seconds(age.as_secs_f64()), record.message);
    if let Some(ack) = &entry.ack {
        record.message.push_str(&format!("; seen by {}", ack.by));
    }
    record
        .field("opened", entry.opened)
        .field("resolved", entry.resolved)
        .field("age_seconds", age.as_secs())
        .field("acknowledged_by", entry.ack.as_ref().map(|ack| ack.by.clone()))
        .field("acknowledged_at", entry.ack.as_ref().map(|ack| ack.at))
        .field("note", entry.ack.as_ref().and_then(|ack| ack.note.clone()))
}

/// Everything that was ever told, what is gone as well.
pub(super) fn export(state: &State, work: &Work<'_>) {
    for entry in &state.entries {
        work.run.emit(&record(entry, work.now));
    }
}

/// By day: what came, what went, what was open; and how long it took until something was gone.
pub(super) fn run(state: &State, days: u32, work: &Work<'_>) {
    let from = work.now - SignedDuration::from_hours(24 * i64::from(days));
    let mut by_day: BTreeMap<Date, (usize, usize, usize)> = BTreeMap::new();
    for past in state.history.iter().filter(|past| past.at >= from) {
        let day = by_day.entry(past.at.to_zoned(TimeZone::UTC).date()).or_default();
        *day = (day.0 + past.opened, day.1 + past.resolved, past.open);
    }
    for (day, (opened, resolved, open)) in &by_day {
        let message = format!("{opened} came, {resolved} went, {open} open");
        let record = Record::new(Kind::Metric, day.to_string(), Status::Ok, message);
        work.run.emit(&record.field("opened", opened).field("resolved", resolved).field("open", open));
    }
    let mut took: Vec<i64> = state
        .entries
        .iter()
        .filter_map(|entry| Some((entry.opened, entry.resolved?)))
        .filter(|(_, resolved)| *resolved >= from)
        .map(|(opened, resolved)| resolved.duration_since(opened).as_secs())
        .collect();
    took.sort_unstable();
    let median = took.get(took.len() / 2).copied();
    work.run.result("days", days);
    work.run.result("resolved", took.len());
    work.run.result("median_open_seconds", median);
}
