//! Replication and persistence.

use super::{Limits, Record, Snapshot, Status, check, format_bytes, format_count, format_seconds, within};
use crate::info::parts;

/// Seconds between two pings of an idle primary, by default.
const PING_PERIOD: u64 = 10;

/// The link to the primary, or those to the replicas.
pub(super) fn links(now: &Snapshot, limits: &Limits) -> Option<Record> {
    let info = now.info.known()?;
    let lag_status = |seconds: u64| match seconds {
        seconds if seconds >= limits.lag_seconds * 10 => Status::Critical,
        seconds if seconds >= limits.lag_seconds => Status::Warning,
        _ => Status::Ok,
    };
    if info.text("role") == Some("slave") {
        let up = info.text("master_link_status") == Some("up");
        let seconds = info.count("master_last_io_seconds_ago");
        if !up {
            let down = info
                .count("master_link_down_since_seconds")
                .map_or_else(String::new, |seconds| format!(" for {}", format_seconds(seconds as f64)));
            return Some(check("replication", Status::Critical, format!("the link to the primary is down{down}")));
        }
        let silent = seconds.unwrap_or(0);
        let message = format!("replica, link up, heard of its primary {} ago", format_seconds(silent as f64));
        // An idle primary speaks up only every ten seconds (repl-ping-replica-period).
        let status = lag_status(silent.saturating_sub(2 * PING_PERIOD));
        return Some(check("replication", status, message).field("lag_seconds", silent));
    }
    let own = info.count("master_repl_offset").unwrap_or(0);
    let mut status = Status::Ok;
    let mut worst = (0, 0);
    let mut told = Vec::new();
    let replicas = info.starting("slave").filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
    for (_, value) in replicas {
        let fields = parts(value);
        let number = |name: &str| fields.get(name).and_then(|text| text.parse::<u64>().ok());
        let name = format!("{}:{}", fields.get("ip").unwrap_or(&"?"), fields.get("port").unwrap_or(&"?"));
        let (lag, behind) = (number("lag").unwrap_or(0), own.saturating_sub(number("offset").unwrap_or(own)));
        let state = fields.get("state").copied().unwrap_or("unknown");
        let its = if state == "online" { lag_status(lag) } else { Status::Warning };
        if its.severity() > status.severity() {
            status = its;
        }
        worst = (worst.0.max(lag), worst.1.max(behind));
        told.push(format!("{name} {state}, {} behind", format_bytes(behind)));
    }
    let wanted: u64 = now.setting("min-replicas-to-write").and_then(|text| text.parse().ok()).unwrap_or(0);
    if info.count("connected_slaves").is_some_and(|connected| connected < wanted) {
        status = Status::Critical;
        told.push(format!("fewer than min-replicas-to-write ({wanted}): writes are refused"));
    }
    let message = if told.is_empty() { "primary without replicas".to_owned() } else { told.join("; ") };
    let record = check("replication", status, message).field("lag_seconds", worst.0).field("lag_bytes", worst.1);
    Some(record.limits("lag_seconds", limits.lag_seconds.to_string(), (limits.lag_seconds * 10).to_string()))
}

/// Replicas that had to be sent everything again.
pub(super) fn full_syncs(before: Option<&Snapshot>, now: &Snapshot) -> Option<Record> {
    let grown = now.grown(before, "sync_full")?;
    let status = if grown > 0 { Status::Warning } else { Status::Ok };
    let message = format!("{} full synchronisations of replicas{}", format_count(grown), within(before, now));
    Some(check("full-syncs", status, message).field("full_syncs", grown))
}

/// The age and the outcome of the last snapshot.
pub(super) fn snapshots(now: &Snapshot, limits: &Limits) -> Option<Record> {
    let info = now.info.known()?;
    if info.flag("loading") == Some(true) {
        return Some(check("persistence", Status::Critical, "the server is loading its data and serves nobody"));
    }
    if info.text("rdb_last_bgsave_status") == Some("err") {
        return Some(check("persistence", Status::Critical, "the last snapshot failed: see the server's log"));
    }
    let age = (now.at as u64).saturating_sub(info.count("rdb_last_save_time")?);
    let changes = info.count("rdb_changes_since_last_save").unwrap_or(0);
    let configured = now.setting("save").map(|save| !save.is_empty());
    let old = configured == Some(true) && changes > 0 && age > limits.snapshot_age_seconds;
    let mut message = match configured {
        Some(false) => "no snapshots are configured".to_owned(),
        _ => format!("last snapshot {} ago, {} changes since", format_seconds(age as f64), format_count(changes)),
    };
    if configured == Some(false) && info.flag("aof_enabled") == Some(false) {
        message += ", nor an append-only file: what is in memory is all there is";
    }
    let status = if old { Status::Warning } else { Status::Ok };
    let record = check("persistence", status, message).field("changes", changes);
    Some(if configured == Some(false) { record } else { record.field("snapshot_age_seconds", age) })
}

/// The append-only file.
pub(super) fn append_only_file(now: &Snapshot) -> Option<Record> {
    let info = now.info.known()?;
    if info.flag("aof_enabled") != Some(true) {
        return None;
    }
    let failed =
        ["aof_last_write_status", "aof_last_bgrewrite_status"].into_iter().find(|name| info.text(name) == Some("err"));
    if let Some(name) = failed {
        return Some(check("append-only-file", Status::Critical, format!("{name} is err: see the server's log")));
    }
    let running = info.flag("aof_rewrite_in_progress") == Some(true);
    let size = info.count("aof_current_size").unwrap_or(0);
    let mut message = format!("{} large, last write ok", format_bytes(size));
    if running {
        let seconds = info.number("aof_current_rewrite_time_sec").unwrap_or(0.0).max(0.0);
        message += &format!(", being rewritten for {}", format_seconds(seconds));
    }
    Some(check("append-only-file", Status::Ok, message).field("size_bytes", size))
}
