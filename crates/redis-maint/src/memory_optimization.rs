//! `memory-optimization`, the server's side: what its own figures say about fragmentation, limits and eviction, and what
//! can be done about it. Pure; the keys' side is [`crate::analysis`].

use std::collections::BTreeMap;

use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_ratio};

use crate::info::Info;

/// Below this a ratio of memory says nothing: the program itself is a large part of it. In bytes.
const TOO_SMALL: u64 = 100 * 1024 * 1024;
/// Fragmentation from which MEMORY DOCTOR speaks up: allocated pages to used bytes, and at least so many bytes wasted.
const FRAGMENTED: f64 = 1.1;
const FRAGMENTED_BYTES: u64 = 10 * 1024 * 1024;
/// Share of the limit from which the choice of what to evict matters.
const NEAR_LIMIT: f64 = 0.7;

/// What a server says of its memory.
#[derive(Debug, Clone, Default)]
pub struct ServerMemory {
    /// The sections `memory`, `stats`, `keyspace` and `server` of INFO.
    pub info: Info,
    /// Its settings, when they may be read.
    pub config: Option<BTreeMap<String, String>>,
    /// What MEMORY DOCTOR says, when it may be asked.
    pub doctor: Option<String>,
}

impl ServerMemory {
    fn setting(&self, name: &str) -> Option<&str> {
        self.config.as_ref()?.get(name).map(String::as_str)
    }

    /// Whether memory is fragmented so that defragmenting or purging is worth it: the ratio and the bytes wasted.
    pub fn fragmentation(&self) -> Option<(f64, u64)> {
        let ratio = self.info.number("allocator_frag_ratio")?;
        let bytes = self.info.count("allocator_frag_bytes")?;
        (ratio > FRAGMENTED && bytes > FRAGMENTED_BYTES).then_some((ratio, bytes))
    }

    /// Bytes that the allocator holds and nobody uses: what MEMORY PURGE can give back.
    pub fn purgeable(&self) -> Option<u64> {
        self.info.count("allocator_rss_bytes").filter(|bytes| *bytes > FRAGMENTED_BYTES)
    }

    /// Whether the allocator can be told to defragment and purge: jemalloc alone can.
    pub fn has_jemalloc(&self) -> Option<bool> {
        self.info.text("mem_allocator").map(|allocator| allocator.starts_with("jemalloc"))
    }
}

/// Totals and advice about one server.
pub fn judge(address: &str, server: &ServerMemory) -> Vec<Record> {
    let mut records = vec![totals(address, server)];
    let finding = |code: &str, status: Status, message: String| {
        Record::new(Kind::Finding, address, status, message).label("section", "finding").field("code", code)
    };
    if let Some((ratio, bytes)) = server.fragmentation() {
        let way = match (server.has_jemalloc(), server.setting("activedefrag")) {
            (Some(false), _) => "this build's allocator cannot defragment; a restart or failover would",
            (_, Some("yes")) => "active defragmentation is on",
            _ => "--defrag turns active defragmentation on",
        };
        let message = format!(
            "{} are lost to fragmentation (allocated pages are {ratio:.2} times what is used); {way}",
            format_bytes(bytes)
        );
        records.push(finding("fragmentation", Status::Warning, message).field("fragmentation_bytes", bytes));
    }
    if let Some(bytes) = server.purgeable() {
        let message = format!(
            "the allocator holds {} that nobody uses; --purge gives them back to the system",
            format_bytes(bytes)
        );
        records.push(finding("allocator-holds", Status::Ok, message).field("allocator_rss_bytes", bytes));
    }
    records.extend(eviction(address, server));
    if let Some(doctor) = server.doctor.as_deref().filter(|text| is_complaint(text)) {
        let text = doctor.split_whitespace().collect::<Vec<_>>().join(" ");
        records.push(finding("memory-doctor", Status::Warning, format!("MEMORY DOCTOR: {text}")));
    }
    records
}

/// Whether the doctor found something: these are its words for a server that is well, and for one too small to tell.
fn is_complaint(text: &str) -> bool {
    !text.contains("can't find any memory issue") && !text.contains("is empty or is using very little memory")
}

fn totals(address: &str, server: &ServerMemory) -> Record {
    let info = &server.info;
    let used = info.count("used_memory");
    let peak = info.count("used_memory_peak");
    let limit = info.count("maxmemory").filter(|limit| *limit > 0);
    let mut message =
        used.map_or_else(|| "used memory is not known".to_owned(), |used| format!("{} used", format_bytes(used)));
    if let Some((used, limit)) = used.zip(limit) {
        message += &format!(" of {} ({})", format_bytes(limit), format_ratio(used as f64 / limit as f64));
    }
    if let Some(peak) = peak {
        message += &format!(", {} at most", format_bytes(peak));
    }
    let status = if used.is_some() { Status::Ok } else { Status::Unknown };
    let mut record = Record::new(Kind::Metric, address, status, message).label("section", "total");
    for (field, name) in [
        ("used_memory", "used_bytes"),
        ("used_memory_rss", "rss_bytes"),
        ("used_memory_peak", "peak_bytes"),
        ("used_memory_dataset", "dataset_bytes"),
        ("used_memory_overhead", "overhead_bytes"),
        ("maxmemory", "maxmemory_bytes"),
        ("mem_clients_normal", "clients_bytes"),
        ("mem_replication_backlog", "backlog_bytes"),
        ("used_memory_scripts", "scripts_bytes"),
    ] {
        if let Some(bytes) = info.count(field) {
            record = record.field(name, bytes);
        }
    }
    if let Some(ratio) = info.number("mem_fragmentation_ratio").filter(|_| used.is_some_and(|used| used >= TOO_SMALL)) {
        record = record.field("fragmentation_ratio", ratio);
    }
    record
}

/// Whether what is evicted at the limit fits what the keys are.
fn eviction(address: &str, server: &ServerMemory) -> Option<Record> {
    let info = &server.info;
    let policy = info.text("maxmemory_policy").or_else(|| server.setting("maxmemory-policy"))?;
    let limit = info.count("maxmemory")?;
    let used = info.count("used_memory")?;
    let (keys, expires) =
        info.keyspace().iter().fold((0u64, 0u64), |(keys, expires), line| (keys + line.keys, expires + line.expires));
    let finding = |code: &str, status: Status, message: String| {
        Some(
            Record::new(Kind::Finding, address, status, message)
                .label("section", "finding")
                .field("code", code)
                .label("maxmemory_policy", policy),
        )
    };
    if limit == 0 {
        let status = if used >= TOO_SMALL { Status::Warning } else { Status::Ok };
        let message = "maxmemory is not set: the server grows until the system kills it; set it to what the host can spare, \
                       less the copy that a fork makes";
        return finding("maxmemory-unset", status, message.to_owned());
    }
    let share = used as f64 / limit as f64;
    if share < NEAR_LIMIT || keys == 0 {
        return None;
    }
    let with_ttl = expires as f64 / keys as f64;
    if policy == "noeviction" {
        let message = format!(
            "{} of maxmemory are used and the policy is noeviction: at the limit every write fails; {}",
            format_ratio(share),
            if with_ttl > 0.5 {
                "most keys have a time to live, so volatile-ttl or volatile-lru would drop those first"
            } else {
                "if this is a cache, allkeys-lru or allkeys-lfu would make room"
            }
        );
        return finding("eviction-policy", Status::Warning, message);
    }
    if policy.starts_with("volatile") && with_ttl < 0.1 {
        let message = format!(
            "the policy is {policy} but only {} of the keys have a time to live: there is little to evict, and writes \
             will fail at the limit",
            format_ratio(with_ttl)
        );
        return finding("eviction-policy", Status::Warning, message);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> ServerMemory {
        ServerMemory { info: Info::parse(text.as_bytes()), ..ServerMemory::default() }
    }

    fn codes(records: &[Record]) -> Vec<String> {
        records.iter().filter_map(|record| record.fields.get("code")?.as_str().map(str::to_owned)).collect()
    }

    const HEALTHY: &str = "used_memory:500000000\r\nmaxmemory:1000000000\r\nmaxmemory_policy:allkeys-lru\r\n\
        allocator_frag_ratio:1.02\r\nallocator_frag_bytes:5000000\r\nallocator_rss_bytes:1000\r\nmem_allocator:jemalloc-5.2.1\r\n\
        mem_fragmentation_ratio:1.05\r\ndb0:keys=100,expires=90,avg_ttl=1\r\n";

    #[test]
    fn a_healthy_server_gets_no_advice() {
        let records = judge("h:1", &server(HEALTHY));
        assert!(codes(&records).is_empty(), "{records:?}");
        assert_eq!(records[0].fields["used_bytes"], 500_000_000);
    }

    #[test]
    fn fragmentation_is_told_with_the_bytes_it_costs() {
        let text = HEALTHY.replace("ratio:1.02", "ratio:1.5").replace("frag_bytes:5000000", "frag_bytes:200000000");
        let records = judge("h:1", &server(&text));
        assert_eq!(codes(&records), ["fragmentation"]);
        assert!(records[1].message.contains("--defrag"), "{}", records[1].message);
        // Few bytes are no matter, whatever the ratio.
        let text = HEALTHY.replace("ratio:1.02", "ratio:9.5");
        assert!(codes(&judge("h:1", &server(&text))).is_empty());
    }

    #[test]
    fn an_eviction_policy_that_cannot_work_is_told_near_the_limit() {
        let near = HEALTHY.replace("used_memory:500000000", "used_memory:900000000");
        assert!(codes(&judge("h:1", &server(&near))).is_empty());
        let none = near.replace("allkeys-lru", "noeviction");
        assert!(judge("h:1", &server(&none))[1].message.contains("volatile-ttl"));
        let volatile = near.replace("allkeys-lru", "volatile-lru").replace("expires=90", "expires=2");
        assert_eq!(codes(&judge("h:1", &server(&volatile))), ["eviction-policy"]);
        let far = HEALTHY.replace("allkeys-lru", "noeviction");
        assert!(codes(&judge("h:1", &server(&far))).is_empty());
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        let records = judge("h:1", &server(""));
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].status, Status::Unknown);
    }

    #[test]
    fn the_doctor_is_quoted_only_when_there_is_something_wrong() {
        let mut well = server(HEALTHY);
        well.doctor = Some("Hi Sam, I can't find any memory issue in your instance. I can only account for what occurs on this base.\n".into());
        assert!(codes(&judge("h:1", &well)).is_empty());
        well.doctor =
            Some("Sam, I detected a few issues in this Redis instance memory implants:\n\n * Peak memory: ...".into());
        assert_eq!(codes(&judge("h:1", &well)), ["memory-doctor"]);
    }
}
