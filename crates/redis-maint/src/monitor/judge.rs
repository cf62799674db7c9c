//! From snapshots to judged records. Pure: every figure comes from the snapshots, every limit from [`Limits`].

use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_count, format_ratio, format_seconds};

use super::{Limits, Part, Snapshot};

mod memory;
mod replication;
mod traffic;

/// Judges what is, and what happened since `before`.
pub fn judge(before: Option<&Snapshot>, now: &Snapshot, limits: &Limits) -> Vec<Record> {
    let mut records = refused(now);
    let checks = [
        traffic::hit_rate(before, now, limits),
        traffic::latency(before, now, limits),
        traffic::latency_events(before, now),
        traffic::slow_log(before, now),
        traffic::costly_commands(before, now),
        traffic::errors(before, now),
        traffic::clients(now, limits),
        traffic::output_buffers(now, limits),
        traffic::rejected(before, now),
        memory::used(now, limits),
        memory::fragmentation(now),
        memory::evictions(before, now),
        memory::expiry(before, now),
        replication::links(now, limits),
        replication::full_syncs(before, now),
        replication::snapshots(now, limits),
        replication::append_only_file(now),
    ];
    records.extend(
        checks.into_iter().flatten().map(|record| record.label("node", &now.address).label("section", "check")),
    );
    records
}

/// A check's record.
fn check(name: &str, status: Status, message: impl Into<String>) -> Record {
    Record::new(Kind::Check, name, status, message)
}

/// What could not be asked: a check that is silently left out would look like a good one.
fn refused(now: &Snapshot) -> Vec<Record> {
    let refusal = |what: &str, right: &str, why: &str| {
        let message = format!("not permitted: {why}; grant {right} (ACL SETUSER)");
        check(what, Status::Denied, message).label("node", &now.address).label("section", "check")
    };
    let mut all = Vec::new();
    if let Part::Denied(why) = &now.info {
        all.push(refusal("info", "+info", why));
    }
    if let Part::Denied(why) = &now.slow {
        all.push(refusal("slow-log", "+slowlog|get", why));
    }
    if let Part::Denied(why) = &now.clients {
        all.push(refusal("output-buffers", "+client|list", why));
    }
    if let Part::Denied(why) = &now.histograms {
        all.push(refusal("latency", "+latency|histogram", why));
    }
    if let Part::Denied(why) = &now.events {
        all.push(refusal("latency-events", "+latency|latest", why));
    }
    if let Part::Denied(why) = &now.config {
        all.push(refusal("settings", "+config|get", why));
    }
    all
}

/// The status of a value that must stay below two limits.
fn above(value: f64, warning: f64, critical: f64) -> Status {
    if value >= critical {
        Status::Critical
    } else if value >= warning {
        Status::Warning
    } else {
        Status::Ok
    }
}

/// `, in 5 min`, for what happened between two looks.
fn within(before: Option<&Snapshot>, now: &Snapshot) -> String {
    now.since(before).map_or_else(String::new, |seconds| format!(" in {}", format_seconds(seconds)))
}

#[cfg(test)]
pub(super) mod tests;
