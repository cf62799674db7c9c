//! Hit rate, latency, the slow log, commands that cost much, errors, and clients.

use super::{
    Limits, Part, Record, Snapshot, Status, above, check, format_bytes, format_count, format_ratio, format_seconds,
    within,
};
use crate::monitor::Histogram;

/// Commands that look at all of something, and the mean time of a call from which one is worth a word, in microseconds.
const COSTLY: [(&str, u64); 14] = [
    ("keys", 0),
    ("flushall", 0),
    ("flushdb", 0),
    ("sort", 10_000),
    ("smembers", 10_000),
    ("hgetall", 10_000),
    ("hkeys", 10_000),
    ("hvals", 10_000),
    ("lrange", 10_000),
    ("zrange", 10_000),
    ("sunion", 10_000),
    ("sinter", 10_000),
    ("sdiff", 10_000),
    ("zunionstore", 10_000),
];
/// Seconds without a command from which a client counts as idle.
const IDLE: u64 = 3600;

/// The hit rate since the last look, without what we added ourselves. Since the start it is only told: it hardly moves any
/// more on a server that has run for long.
pub(super) fn hit_rate(before: Option<&Snapshot>, now: &Snapshot, limits: &Limits) -> Option<Record> {
    let total = now.count("keyspace_hits")? as f64;
    let all = total + now.count("keyspace_misses")? as f64;
    let since_start =
        if all > 0.0 { format!("; {} since the server started", format_ratio(total / all)) } else { String::new() };
    let grown = now.grown(before, "keyspace_hits").zip(now.grown(before, "keyspace_misses"));
    let Some((hits, misses)) = grown else {
        return Some(check(
            "hit-rate",
            Status::Ok,
            format!("no earlier look at this run of the server: not judged yet{since_start}"),
        ));
    };
    let own = |now: u64, before: Option<u64>| now.saturating_sub(before.unwrap_or(0));
    let hits = hits.saturating_sub(own(now.own_hits, before.map(|before| before.own_hits)));
    let misses = misses.saturating_sub(own(now.own_misses, before.map(|before| before.own_misses)));
    let lookups = hits + misses;
    if lookups < limits.min_lookups {
        let message = format!("only {} lookups{}: not judged{since_start}", format_count(lookups), within(before, now));
        return Some(check("hit-rate", Status::Ok, message).field("lookups", lookups));
    }
    let rate = hits as f64 / lookups as f64;
    let status = above(1.0 - rate, 1.0 - limits.hit_rate_warning + 1e-9, 1.0 - limits.hit_rate_critical + 1e-9);
    let message = format!(
        "{} of {} lookups{} were hits{since_start}",
        format_ratio(rate),
        format_count(lookups),
        within(before, now)
    );
    Some(check("hit-rate", status, message).field("hit_ratio", rate).field("lookups", lookups).limits(
        "hit_ratio",
        format!("{}:", limits.hit_rate_warning),
        format!("{}:", limits.hit_rate_critical),
    ))
}

/// How long commands took since the last look: by the server's histograms where it has them.
pub(super) fn latency(before: Option<&Snapshot>, now: &Snapshot, limits: &Limits) -> Option<Record> {
    let ping = format!("a ping takes {} over the network", format_seconds(now.ping_seconds));
    let Part::Known(histograms) = &now.histograms else {
        return match now.histograms {
            Part::Unsupported => Some(
                check("latency", Status::Ok, format!("{ping}; this server keeps no histograms"))
                    .field("ping_seconds", now.ping_seconds),
            ),
            _ => None,
        };
    };
    let earlier = before.filter(|_| now.since(before).is_some()).and_then(|before| before.histograms.known());
    let Some(earlier) = earlier else {
        let message = format!("{ping}; no earlier look at this run of the server: not judged yet");
        return Some(check("latency", Status::Ok, message).field("ping_seconds", now.ping_seconds));
    };
    let nothing = Histogram::default();
    let windows: Vec<(&String, Histogram)> = histograms
        .iter()
        .filter_map(|(name, all)| Some((name, all.since(earlier.get(name).unwrap_or(&nothing))?)))
        .filter(|(_, window)| window.calls() > 0)
        .collect();
    let all = windows.iter().fold(Histogram::default(), |sum, (_, window)| sum.and(window));
    let Some((p50, p95, p99)) =
        all.within(0.5).zip(all.within(0.95)).zip(all.within(0.99)).map(|((a, b), c)| (a, b, c))
    else {
        let message = format!("{ping}; no commands{}", within(before, now));
        return Some(check("latency", Status::Ok, message).field("ping_seconds", now.ping_seconds));
    };
    // A blocking command takes as long as it waits: that is no latency.
    let blocking =
        |name: &str| name.starts_with('b') || name.starts_with("xread") || name == "wait" || name == "waitaof";
    let worst = windows
        .iter()
        .filter(|(name, _)| !blocking(name))
        .filter_map(|(name, window)| Some((window.within(0.95)?, *name)))
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    let status = above(worst.0, limits.p95_warning, limits.p95_critical);
    let message = format!(
        "{} calls{}: half within {}, 95 % within {}, 99 % within {}; slowest is {} with 95 % within {}; {ping}",
        format_count(all.calls()),
        within(before, now),
        format_seconds(p50),
        format_seconds(p95),
        format_seconds(p99),
        worst.1,
        format_seconds(worst.0)
    );
    Some(
        check("latency", status, message)
            .field("p50_seconds", p50)
            .field("p95_seconds", p95)
            .field("p99_seconds", p99)
            .field("worst_p95_seconds", worst.0)
            .field("ping_seconds", now.ping_seconds)
            .limits("worst_p95_seconds", limits.p95_warning.to_string(), limits.p95_critical.to_string()),
    )
}

/// What the latency monitor caught since the last look.
pub(super) fn latency_events(before: Option<&Snapshot>, now: &Snapshot) -> Option<Record> {
    let events = now.events.known()?;
    if now.setting("latency-monitor-threshold") == Some("0") {
        let message = "the latency monitor is off (latency-monitor-threshold 0)";
        return Some(check("latency-events", Status::Ok, message));
    }
    let since = before.filter(|_| now.since(before).is_some()).map_or(0, |before| before.at as u64);
    let new: Vec<String> =
        events.iter().filter(|(_, (at, _))| *at > since).map(|(name, (_, ms))| format!("{name} {ms} ms")).collect();
    let status = if new.is_empty() || before.is_none() { Status::Ok } else { Status::Warning };
    let message = if new.is_empty() { "no events".to_owned() } else { new.join(", ") };
    Some(check("latency-events", status, message).field("events", new.len()))
}

/// New entries of the slow log. What we ourselves left there is not counted.
pub(super) fn slow_log(before: Option<&Snapshot>, now: &Snapshot) -> Option<Record> {
    let entries = now.slow.known()?;
    let same = now.since(before).is_some();
    let Some(earlier) = before.filter(|_| same).and_then(|before| before.slow.known()) else {
        let message = format!("{} entries; no earlier look at this run of the server: not judged yet", entries.len());
        return Some(check("slow-log", Status::Ok, message));
    };
    // Ids count up. An empty log tells nothing of them, and a log that was reset goes on counting.
    let last = earlier.iter().map(|entry| entry.id).max();
    let started = before.map_or(0, |before| before.at as u64);
    let new: Vec<_> = entries
        .iter()
        .filter(|entry| last.map_or(entry.at >= started, |last| entry.id > last) && entry.client != "redis-maint")
        .collect();
    let newest = entries.iter().map(|entry| entry.id).max();
    let counted = last.zip(newest).map_or(new.len() as u64, |(last, newest)| newest.saturating_sub(last));
    let lost = counted.saturating_sub(entries.len() as u64);
    let slowest = new.iter().max_by_key(|entry| entry.micros);
    let mut message = format!("{} new entries{}", format_count(new.len() as u64), within(before, now));
    if let Some(slowest) = slowest {
        message += &format!(", the slowest {} with {}", slowest.command, format_seconds(slowest.micros as f64 / 1e6));
    }
    if lost > 0 {
        message += &format!("; {} more were pushed out unseen (slowlog-max-len)", format_count(lost));
    }
    let status = if new.is_empty() && lost == 0 { Status::Ok } else { Status::Warning };
    let record = check("slow-log", status, message).field("new_entries", new.len()).field("lost_entries", lost);
    Some(record.field("slowest_seconds", slowest.map(|entry| entry.micros as f64 / 1e6)))
}

/// Commands whose work grows with what they look at.
pub(super) fn costly_commands(before: Option<&Snapshot>, now: &Snapshot) -> Option<Record> {
    let info = now.info.known()?;
    let earlier = before.filter(|_| now.since(before).is_some())?.info.known()?;
    let stat = |info: &crate::info::Info, command: &str, field: &str| -> Option<u64> {
        crate::info::parts(info.text(&format!("cmdstat_{command}"))?).get(field)?.parse().ok()
    };
    let mut found = Vec::new();
    for (command, least) in COSTLY {
        let grown =
            |field: &str| Some(stat(info, command, field)?.saturating_sub(stat(earlier, command, field).unwrap_or(0)));
        let (Some(calls), Some(micros)) = (grown("calls"), grown("usec")) else { continue };
        if calls > 0 && micros / calls >= least {
            let mean = format_seconds(micros as f64 / calls as f64 / 1e6);
            found.push(format!("{} {} times, {mean} each", command.to_uppercase(), format_count(calls)));
        }
    }
    let status = if found.is_empty() { Status::Ok } else { Status::Warning };
    let message = if found.is_empty() { format!("none{}", within(before, now)) } else { found.join("; ") };
    Some(check("costly-commands", status, message).field("commands", found.len()))
}

/// Errors that the server answered with.
pub(super) fn errors(before: Option<&Snapshot>, now: &Snapshot) -> Option<Record> {
    let info = now.info.known()?;
    let earlier = before.filter(|_| now.since(before).is_some())?.info.known()?;
    let count =
        |text: &str| crate::info::parts(text).get("count").and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
    let mut found = Vec::new();
    let mut status = Status::Ok;
    for (name, value) in info.starting("errorstat_") {
        let grown = count(value).saturating_sub(earlier.text(&format!("errorstat_{name}")).map_or(0, count));
        if grown == 0 {
            continue;
        }
        // Redirections are how a cluster works, and a script that is not loaded is loaded then.
        match name {
            "MOVED" | "ASK" | "NOSCRIPT" => continue,
            "OOM" | "MISCONF" | "NOREPLICAS" => status = Status::Critical,
            _ if status == Status::Ok
                && matches!(name, "READONLY" | "LOADING" | "CLUSTERDOWN" | "BUSY" | "MASTERDOWN") =>
            {
                status = Status::Warning;
            }
            _ => {}
        }
        found.push(format!("{name} {} times", format_count(grown)));
    }
    let message = if found.is_empty() { format!("none{}", within(before, now)) } else { found.join(", ") };
    Some(check("errors", status, message).field("kinds", found.len()))
}

/// Clients against maxclients.
pub(super) fn clients(now: &Snapshot, limits: &Limits) -> Option<Record> {
    let connected = now.count("connected_clients")?;
    let blocked = now.count("blocked_clients").unwrap_or(0);
    let mut message = format!("{} clients", format_count(connected));
    let mut record = check("clients", Status::Ok, "").field("clients", connected).field("blocked_clients", blocked);
    if let Some(most) = now.count("maxclients").filter(|most| *most > 0) {
        let used = connected as f64 / most as f64;
        message += &format!(" of {} ({})", format_count(most), format_ratio(used));
        record.status = above(used, limits.clients_warning, limits.clients_critical);
        let (warning, critical) = (limits.clients_warning.to_string(), limits.clients_critical.to_string());
        record = record.field("used_ratio", used).limits("used_ratio", warning, critical);
    }
    if blocked > 0 {
        message += &format!(", {} blocked", format_count(blocked));
    }
    if let Some(all) = now.clients.known() {
        let idle = all
            .iter()
            .filter(|client| client.idle >= IDLE && !client.flags.contains(['S', 'M', 'O', 'P', 'b']))
            .count();
        record = record.field("idle_clients", idle);
        if idle > 0 {
            message += &format!(", {} idle for more than an hour", format_count(idle as u64));
            if now.setting("timeout") == Some("0") {
                message += " (timeout is 0: the server never closes them)";
            }
        }
    }
    record.message = message;
    Some(record)
}

/// The client that most bytes wait for.
pub(super) fn output_buffers(now: &Snapshot, limits: &Limits) -> Option<Record> {
    let clients = now.clients.known()?;
    let total: u64 = clients.iter().map(|client| client.output).sum();
    let worst = clients.iter().max_by_key(|client| client.output)?;
    let status = if worst.output >= limits.output_buffer { Status::Warning } else { Status::Ok };
    let mut message = format!("{} wait to be read by clients", format_bytes(total));
    if worst.output > 0 {
        let name = if worst.name.is_empty() { &worst.addr } else { &worst.name };
        message += &format!(", {} of it by {name}", format_bytes(worst.output));
    }
    let record =
        check("output-buffers", status, message).field("total_bytes", total).field("worst_bytes", worst.output);
    Some(record.limits("worst_bytes", limits.output_buffer.to_string(), ""))
}

/// Connections that were turned away.
pub(super) fn rejected(before: Option<&Snapshot>, now: &Snapshot) -> Option<Record> {
    let grown = now.grown(before, "rejected_connections")?;
    let status = if grown > 0 { Status::Critical } else { Status::Ok };
    let message =
        format!("{} connections turned away{} because of maxclients", format_count(grown), within(before, now));
    Some(check("rejected-connections", status, message).field("rejected", grown))
}
