//! Memory, evictions and expiry.

use super::{Limits, Record, Snapshot, Status, above, check, format_bytes, format_count, format_ratio, within};

/// Below this a ratio of memory says nothing: the program itself is a large part of it. In bytes.
const TOO_SMALL: u64 = 100 * 1024 * 1024;

/// Memory in use against the limit, or against the host's memory where there is none.
pub(super) fn used(now: &Snapshot, limits: &Limits) -> Option<Record> {
    let used = now.count("used_memory")?;
    let limit = now.count("maxmemory").filter(|limit| *limit > 0);
    let host = now.count("total_system_memory").filter(|total| *total > 0);
    let (most, of) = match (limit, host) {
        (Some(limit), _) => (limit, "maxmemory"),
        (None, Some(host)) => (host, "the host's memory (maxmemory is not set)"),
        (None, None) => {
            let message = format!("{} used; there is no limit to judge it by", format_bytes(used));
            return Some(check("memory", Status::Ok, message).field("used_bytes", used));
        }
    };
    let share = used as f64 / most as f64;
    let mut status = above(share, limits.memory_warning, limits.memory_critical);
    let mut message = format!("{} of {} used, {} of {of}", format_bytes(used), format_bytes(most), format_ratio(share));
    let policy = now.info.known().and_then(|info| info.text("maxmemory_policy"));
    if let Some(policy) = policy.filter(|_| limit.is_some() && status != Status::Ok) {
        if policy == "noeviction" {
            message += "; the policy is noeviction, so writes fail at the limit";
        } else {
            // A cache that evicts is full by design.
            status = Status::Warning;
            message += &format!("; {policy} makes room at the limit");
        }
    }
    let (warning, critical) = (limits.memory_warning.to_string(), limits.memory_critical.to_string());
    let record = check("memory", status, message).field("used_bytes", used).field("limit_bytes", most);
    Some(record.field("used_ratio", share).limits("used_ratio", warning, critical))
}

/// Memory lost between used pages.
pub(super) fn fragmentation(now: &Snapshot) -> Option<Record> {
    let used = now.count("used_memory")?;
    let info = now.info.known()?;
    let ratio = info.number("allocator_frag_ratio")?;
    let bytes = info.count("allocator_frag_bytes").unwrap_or(0);
    let bad = used >= TOO_SMALL && ratio > 1.4 && bytes > 10 * 1024 * 1024;
    let status = if bad { Status::Warning } else { Status::Ok };
    let message = if used < TOO_SMALL {
        format!("{} lost; too little memory is used to judge it", format_bytes(bytes))
    } else {
        format!("{} lost between used pages (ratio {ratio:.2})", format_bytes(bytes))
    };
    Some(check("fragmentation", status, message).field("fragmentation_bytes", bytes))
}

/// Keys that went because memory was full.
pub(super) fn evictions(before: Option<&Snapshot>, now: &Snapshot) -> Option<Record> {
    let grown = now.grown(before, "evicted_keys")?;
    let status = if grown > 0 { Status::Warning } else { Status::Ok };
    let message = format!("{} keys evicted{}", format_count(grown), within(before, now));
    Some(check("evictions", status, message).field("evicted_keys", grown))
}

/// Whether expired keys are removed as fast as they expire.
pub(super) fn expiry(before: Option<&Snapshot>, now: &Snapshot) -> Option<Record> {
    let stale = now.info.known()?.number("expired_stale_perc")?;
    let status = if stale > 10.0 { Status::Warning } else { Status::Ok };
    let mut message = format!("about {stale:.1} % of the keys with a time to live are past it");
    let mut record = check("expiry", status, "").field("stale_ratio", stale / 100.0);
    if let Some(grown) = now.grown(before, "expired_keys") {
        message += &format!(", {} expired{}", format_count(grown), within(before, now));
        record = record.field("expired_keys", grown);
    }
    if status == Status::Warning {
        message += "; raise active-expire-effort, or run expire-keys";
    }
    record.message = message;
    Some(record.limits("stale_ratio", "0.1", ""))
}
