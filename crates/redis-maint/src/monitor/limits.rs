//! What is still good.

/// The limits that checks are judged by; the defaults are the maintenance guide's where it names one.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Hit rate below which it is a warning: 95 %.
    pub hit_rate_warning: f64,
    /// Hit rate below which it is critical: 80 %.
    pub hit_rate_critical: f64,
    /// Lookups below which a hit rate says nothing: 1000.
    pub min_lookups: u64,
    /// Share of maxmemory (or of the host's memory) in use that is a warning: 80 %.
    pub memory_warning: f64,
    /// Share that is critical: 90 %.
    pub memory_critical: f64,
    /// 95th percentile of a command, in seconds, that is a warning: 200 ms.
    pub p95_warning: f64,
    /// The same, critical: 1 s.
    pub p95_critical: f64,
    /// Share of maxclients in use that is a warning: 70 %.
    pub clients_warning: f64,
    /// Share that is critical: 90 %.
    pub clients_critical: f64,
    /// Bytes waiting for one client that are a warning: 64 MiB.
    pub output_buffer: u64,
    /// Seconds that a replica may be behind before it is a warning: 10 s; ten times as long is critical.
    pub lag_seconds: u64,
    /// Seconds since the last snapshot, where snapshots are configured, that are a warning: a day.
    pub snapshot_age_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            hit_rate_warning: 0.95,
            hit_rate_critical: 0.80,
            min_lookups: 1000,
            memory_warning: 0.80,
            memory_critical: 0.90,
            p95_warning: 0.2,
            p95_critical: 1.0,
            clients_warning: 0.70,
            clients_critical: 0.90,
            output_buffer: 64 * 1024 * 1024,
            lag_seconds: 10,
            snapshot_age_seconds: 86_400,
        }
    }
}
