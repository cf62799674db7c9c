//! What the sums mean: leaks, big keys, cliffs of expiry, encodings that waste memory, values that look alike. Pure.

use std::collections::BTreeMap;

use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_count, format_ratio, format_seconds};

use super::Report;
use super::encoding::{ListpackLimit, ListpackLimits, advise};
use crate::key;
use crate::patterns::Group;

/// Keys without a time to live from which a group that mostly has one counts as leaking.
const LEAK_KEYS: u64 = 100;
/// Keys that expire in one minute from which a cliff is one.
const CLIFF_KEYS: u64 = 1000;
/// Bytes from which a saving is worth a word.
const WORTH_BYTES: u64 = 1024 * 1024;
/// Share of all bytes in names from which shorter names are worth a thought.
const NAMES_SHARE: f64 = 0.3;
/// Big keys that are named.
const NAMED: usize = 5;

/// The findings, the weightiest kind first. `limits` are the server's, when they may be read.
pub fn findings(report: &Report, limits: Option<&ListpackLimits>) -> Vec<Record> {
    let groups = &report.learned.groups;
    let mut found: Vec<Record> = Vec::new();
    let mut leaks: Vec<(u64, Record)> = groups.iter().filter_map(leak).collect();
    leaks.sort_by_key(|(keys, _)| std::cmp::Reverse(*keys));
    found.extend(leaks.into_iter().map(|(_, record)| record));
    found.extend(big_keys(report));
    for cliff in report.sums.minutes.cliffs(CLIFF_KEYS).iter().take(3) {
        let message = format!(
            "{} keys ({}) expire within {} from {} from now: the server will be busy freeing them; give such keys a jitter",
            format_count(cliff.count.keys),
            format_bytes(cliff.count.bytes),
            format_seconds(cliff.minutes as f64 * 60.0),
            format_seconds(cliff.from_minute as f64 * 60.0)
        );
        found.push(finding("expiry-cliff", "expiry", Status::Warning, message).field("keys", cliff.count.keys));
    }
    if let Some(limits) = limits {
        found.extend(groups.iter().flat_map(|group| encodings(group, limits)));
    }
    found.extend(groups.iter().filter_map(alike));
    let (names, all) = (report.sums.name_bytes, report.sums.total.bytes);
    if names >= WORTH_BYTES && names as f64 > all as f64 * NAMES_SHARE {
        let share = format_ratio(names as f64 / all as f64);
        let message =
            format!("names alone take {} ({share} of all bytes): shorter ones would save", format_bytes(names));
        found.push(finding("long-names", "names", Status::Ok, message).field("name_bytes", names));
    }
    found
}

fn finding(code: &str, subject: &str, status: Status, message: String) -> Record {
    Record::new(Kind::Finding, subject, status, message).label("section", "finding").field("code", code)
}

/// A group most of whose keys expire and some of whose do not: these were forgotten, and stay for ever.
fn leak(group: &Group) -> Option<(u64, Record)> {
    let ttl = &group.stats.ttl;
    let (never, known) = (ttl.never_keys, ttl.known_keys());
    let share = never as f64 / known.max(1) as f64;
    if never < LEAK_KEYS || !(0.01..=0.5).contains(&share) {
        return None;
    }
    let message = format!(
        "{} of the keys have a time to live, {} ({} keys, {}) do not: expire-keys with match = \"{}\" would give them one",
        format_ratio(1.0 - share),
        format_ratio(share),
        format_count(never),
        format_bytes(ttl.never_bytes),
        key::subject(&group.glob)
    );
    let record = finding("ttl-leak", &group.name, Status::Warning, message)
        .field("without_ttl_keys", never)
        .field("without_ttl_bytes", ttl.never_bytes)
        .field("without_ttl_ratio", share);
    Some((never, record))
}

fn big_keys(report: &Report) -> Option<Record> {
    let big = report.sums.big;
    if big.keys == 0 {
        return None;
    }
    let named: Vec<String> = report
        .sums
        .top
        .iter()
        .filter(|(_, bytes, _)| *bytes >= report.settings.big_bytes)
        .take(NAMED)
        .map(|((_, name), bytes, _)| format!("{} {}", key::subject(name), format_bytes(bytes)))
        .collect();
    let message = format!(
        "{} big keys take {}: {}",
        format_count(big.keys),
        format_bytes(big.bytes),
        if named.is_empty() { "by their elements".to_owned() } else { named.join(", ") }
    );
    Some(finding("big-keys", "keys", Status::Warning, message).field("keys", big.keys).field("memory_bytes", big.bytes))
}

fn encodings(group: &Group, limits: &ListpackLimits) -> Vec<Record> {
    let advice = advise(&group.stats, limits).into_iter().filter(|advice| advice.saving_bytes >= WORTH_BYTES);
    advice
        .map(|advice| {
            let message = format!(
                "{} {}s would be listpacks with {} {} instead of {}, and take about {} less (computed, not measured); keys that \
                 exist change when they are written anew",
                format_count(advice.keys),
                advice.kind,
                advice.option,
                advice.to,
                advice.from,
                format_bytes(advice.saving_bytes)
            );
            finding("encoding", &group.name, Status::Ok, message)
                .field("option", &advice.option)
                .field("value", advice.to)
                .field("saving_bytes", advice.saving_bytes)
        })
        .collect()
}

/// Many large values of one type, size and length: perhaps one value kept many times.
fn alike(group: &Group) -> Option<Record> {
    let most = group.stats.alike.most();
    let (print, count) = most.first()?;
    let bytes = print.bytes * count;
    if *count < 10 || bytes < 10 * WORTH_BYTES {
        return None;
    }
    let message = format!(
        "at least {} values look alike (type {}, length {}, {} each, {} in all): perhaps one value kept many times",
        format_count(*count),
        print.kind,
        format_count(print.length),
        format_bytes(print.bytes),
        format_bytes(bytes)
    );
    Some(finding("values-alike", &group.name, Status::Ok, message).field("keys", count).field("memory_bytes", bytes))
}

/// The limits from a server's settings, under their new names or those before 7.0.
pub fn limits_from(settings: &BTreeMap<String, String>) -> Option<ListpackLimits> {
    let number = |name: &str| {
        let old = name.replace("listpack", "ziplist");
        settings.get(name).or_else(|| settings.get(&old))?.parse::<u64>().ok()
    };
    let limit = |kind: &str| {
        let of = |what: &str| number(&format!("{kind}-max-listpack-{what}"));
        Some(ListpackLimit { entries: of("entries")?, value: of("value")? })
    };
    Some(ListpackLimits { hash: limit("hash")?, zset: limit("zset")?, set: limit("set") })
}

#[cfg(test)]
mod tests {
    use super::super::{Analysis, Settings};
    use super::*;
    use crate::entry::{Entry, Expiry, KeyType};
    use jiff::{SignedDuration, Timestamp};

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn codes(entries: impl Iterator<Item = Entry>) -> Vec<(String, String, String)> {
        let mut analysis = Analysis::new(Settings::at(now()));
        for entry in entries {
            analysis.add(&entry);
        }
        let limit = ListpackLimit { entries: 128, value: 64 };
        let limits = ListpackLimits { hash: limit, zset: limit, set: Some(limit) };
        let found = findings(&analysis.finish(), Some(&limits)).into_iter();
        found
            .map(|record| (record.fields["code"].as_str().unwrap().to_owned(), record.subject, record.message))
            .collect()
    }

    fn session(number: u64, expiry: Expiry) -> Entry {
        let id = format!("{:08x}-1234-4321-8888-{:012x}", number * 77_777, number);
        Entry { bytes: Some(200), expiry: Some(expiry), ..Entry::named(0, format!("session:{id}").into_bytes()) }
    }

    fn later(seconds: u64) -> Expiry {
        Expiry::At(now() + SignedDuration::from_secs(seconds as i64))
    }

    #[test]
    fn sessions_that_were_forgotten_come_first() {
        let entries = (0..10_000u64)
            .map(|number| session(number, if number % 100 < 7 { Expiry::Never } else { later(600 + number) }));
        let found = codes(entries);
        assert_eq!(found[0].0, "ttl-leak");
        assert_eq!(found[0].1, "session:{uuid}");
        assert!(found[0].2.starts_with("93.0 % of the keys have a time to live, 7.0 % (700 keys"), "{}", found[0].2);
    }

    #[test]
    fn a_group_that_is_of_one_mind_is_no_leak() {
        assert!(codes((0..5000).map(|number| session(number, Expiry::Never))).is_empty());
        assert!(codes((0..5000).map(|number| session(number, later(600 + number * 7)))).is_empty());
    }

    #[test]
    fn keys_that_expire_at_once_are_a_cliff() {
        let at_once = (0..5000).map(|number| session(number, later(7200 + number % 30)));
        assert_eq!(codes(at_once)[0].0, "expiry-cliff");
    }

    #[test]
    fn big_keys_are_named() {
        let whale = Entry { bytes: Some(20 << 20), kind: Some(KeyType::String), ..Entry::named(0, b"whale".to_vec()) };
        let found = codes(std::iter::once(whale));
        assert_eq!(found[0].0, "big-keys");
        assert!(found[0].2.contains("whale 20.0 MiB"), "{}", found[0].2);
    }

    #[test]
    fn settings_have_old_names_before_7() {
        let of = |text: &str| {
            let pairs =
                text.split(' ').filter_map(|pair| pair.split_once('=')).map(|(a, b)| (a.to_owned(), b.to_owned()));
            limits_from(&pairs.collect())
        };
        let new = "hash-max-listpack-entries=128 hash-max-listpack-value=64 zset-max-listpack-entries=128 zset-max-listpack-value=64";
        assert!(of(new).unwrap().set.is_none());
        assert_eq!(of(&new.replace("listpack", "ziplist")), of(new));
        assert_eq!(of("maxmemory=0"), None);
    }
}
