//! What happened between two looks, as figures a second: the lines of `performance-monitor --interval`.

use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_count, format_ratio, format_seconds};

use super::{Histogram, Snapshot};

/// The interval as a record; none when the server became another one in between.
pub fn record(before: &Snapshot, now: &Snapshot) -> Option<Record> {
    let seconds = now.since(Some(before))?;
    let rate = |name: &str| now.grown(Some(before), name).map(|grown| grown as f64 / seconds);
    let operations = rate("total_commands_processed");
    let hits = now
        .grown(Some(before), "keyspace_hits")
        .map(|hits| hits.saturating_sub(now.own_hits.saturating_sub(before.own_hits)));
    let lookups = hits.zip(now.grown(Some(before), "keyspace_misses")).map(|(hits, misses)| hits + misses);
    let hit_ratio = hits.zip(lookups).filter(|(_, all)| *all > 0).map(|(hits, all)| hits as f64 / all as f64);
    let nothing = Histogram::default();
    let window = now.histograms.known().zip(before.histograms.known()).map(|(after, earlier)| {
        let windows = after.iter().filter_map(|(name, all)| all.since(earlier.get(name).unwrap_or(&nothing)));
        windows.fold(Histogram::default(), |sum, window| sum.and(&window))
    });
    let within = |share: f64| window.as_ref().and_then(|window| window.within(share));
    let cpu = |snapshot: &Snapshot| {
        let info = snapshot.info.known()?;
        Some(info.number("used_cpu_user")? + info.number("used_cpu_sys")?)
    };
    let busy = cpu(now).zip(cpu(before)).map(|(now, before)| (now - before) / seconds);
    let mut told = vec![
        operations
            .map_or_else(|| "operations not known".to_owned(), |rate| format!("{} ops/s", format_count(rate as u64))),
    ];
    told.extend(hit_ratio.map(|ratio| format!("hits {}", format_ratio(ratio))));
    told.extend(within(0.95).map(|p95| format!("p95 {}", format_seconds(p95))));
    told.extend(now.count("used_memory").map(format_bytes));
    let mut record = Record::new(Kind::Metric, &now.address, Status::Ok, told.join(", "))
        .label("section", "interval")
        .field("interval_seconds", seconds)
        .field("operations_per_second", operations)
        .field("hit_ratio", hit_ratio)
        .field("p50_seconds", within(0.5))
        .field("p95_seconds", within(0.95))
        .field("p99_seconds", within(0.99))
        .field("cpu_ratio", busy);
    for (name, field) in [
        ("total_net_input_bytes", "input_bytes_per_second"),
        ("total_net_output_bytes", "output_bytes_per_second"),
        ("evicted_keys", "evicted_per_second"),
        ("expired_keys", "expired_per_second"),
        ("total_connections_received", "connections_per_second"),
    ] {
        record = record.field(field, rate(name));
    }
    for (name, field) in
        [("used_memory", "used_bytes"), ("connected_clients", "clients"), ("blocked_clients", "blocked_clients")]
    {
        record = record.field(field, now.count(name));
    }
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::super::judge::tests::snapshot;
    use super::*;

    #[test]
    fn rates_are_differences_over_the_time_between() {
        let text = |commands: u64, hits: u64| {
            format!("run_id:a\r\ntotal_commands_processed:{commands}\r\nkeyspace_hits:{hits}\r\nkeyspace_misses:10\r\n")
        };
        let before = snapshot(100.0, &text(1000, 500));
        let now = snapshot(110.0, &text(3000, 900));
        let record = record(&before, &now).unwrap();
        assert_eq!(record.fields["operations_per_second"], 200.0);
        assert_eq!(record.fields["hit_ratio"], 1.0);
        // What the server does not say is not zero.
        assert!(record.fields["evicted_per_second"].is_null());
        assert!(super::record(&before, &snapshot(110.0, "run_id:b\r\n")).is_none());
    }
}
