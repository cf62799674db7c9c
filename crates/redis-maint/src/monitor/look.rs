//! Reads everything about one server, without touching a key.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;
use redis::{Cmd, Value};

use super::{Client, Histogram, Part, Slow, Snapshot};
use crate::info::Info;
use crate::node::{Node, integer, text};
use crate::trouble::Trouble;

/// Entries of the slow log that are looked at.
const SLOW_ENTRIES: u32 = 128;
/// Pings of which the median is told.
const PINGS: usize = 11;
/// The sections of INFO.
const SECTIONS: [&str; 12] = [
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cpu",
    "commandstats",
    "errorstats",
    "latencystats",
    "cluster",
    "keyspace",
];

/// Looks at the server.
///
/// # Errors
/// The connection broke, or the server is loading: then nothing can be told. What the user may not ask is no error.
pub async fn look(node: &mut Node) -> Result<Snapshot, Trouble> {
    let mut pings = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let started = Instant::now();
        part(node, redis::cmd("PING"), |_| Some(())).await?;
        pings.push(started.elapsed().as_secs_f64());
    }
    pings.sort_by(f64::total_cmp);
    let now = Timestamp::now();
    Ok(Snapshot {
        address: node.address.to_string(),
        at: now.as_millisecond() as f64 / 1000.0,
        info: info(node).await?,
        slow: slow(node).await?,
        clients: part(node, redis::cmd("CLIENT").arg("LIST").to_owned(), clients).await?,
        histograms: part(node, redis::cmd("LATENCY").arg("HISTOGRAM").to_owned(), histograms).await?,
        events: part(node, redis::cmd("LATENCY").arg("LATEST").to_owned(), events).await?,
        config: config(node).await?,
        ping_seconds: pings.get(PINGS / 2).copied().unwrap_or(f64::NAN),
        own_hits: 0,
        own_misses: 0,
    })
}

/// One question: its answer, or why there is none.
async fn part<T>(node: &mut Node, command: Cmd, read: impl FnOnce(&Value) -> Option<T>) -> Result<Part<T>, Trouble> {
    match node.call(&command).await {
        Ok(value) => Ok(read(&value).map_or(Part::Unsupported, Part::Known)),
        Err(trouble) => refused(trouble),
    }
}

fn refused<T>(trouble: Trouble) -> Result<Part<T>, Trouble> {
    match trouble {
        Trouble::Denied(why) => Ok(Part::Denied(why)),
        trouble if trouble.may_pass() || matches!(trouble, Trouble::Login { .. }) => Err(trouble),
        _ => Ok(Part::Unsupported),
    }
}

async fn info(node: &mut Node) -> Result<Part<Info>, Trouble> {
    match node.read_info(&SECTIONS).await {
        Ok(info) => Ok(Part::Known(info)),
        Err(trouble) => refused(trouble),
    }
}

async fn config(node: &mut Node) -> Result<Part<BTreeMap<String, String>>, Trouble> {
    match node.config("*").await {
        // It holds passwords too, which nobody here needs.
        Ok(mut settings) => {
            settings.retain(|name, _| !name.contains("pass") && !name.contains("auth") && !name.contains("user"));
            Ok(Part::Known(settings))
        }
        Err(trouble) => refused(trouble),
    }
}

/// The slow log; Valkey from 8.1 on keeps it as one of its command logs, and answers to the old name as well.
async fn slow(node: &mut Node) -> Result<Part<Vec<Slow>>, Trouble> {
    part(node, redis::cmd("SLOWLOG").arg("GET").arg(SLOW_ENTRIES).to_owned(), slow_entries).await
}

fn slow_entries(value: &Value) -> Option<Vec<Slow>> {
    let Value::Array(entries) = value else { return None };
    let entries = entries.iter().filter_map(|entry| {
        let Value::Array(fields) = entry else { return None };
        let number = |at: usize| u64::try_from(integer(fields.get(at)?)?).ok();
        let Value::Array(arguments) = fields.get(3)? else { return None };
        let mut words = arguments.iter().map(|word| match word {
            Value::BulkString(bytes) => crate::key::subject(bytes),
            other => text(other).unwrap_or_default(),
        });
        let command = words.next().unwrap_or_default().to_ascii_uppercase();
        // What follows these is no key, and may be a secret.
        let secret = ["AUTH", "CONFIG", "ACL", "HELLO", "MIGRATE", "EVAL", "EVALSHA", "SCRIPT", "FUNCTION"];
        let key = words.next().filter(|_| !secret.contains(&command.as_str()));
        let shown = key.map_or_else(|| command.clone(), |key| format!("{command} {}", shortened(&key)));
        Some(Slow {
            id: number(0)?,
            at: number(1)?,
            micros: number(2)?,
            command: shown,
            client: fields.get(5).and_then(text).unwrap_or_default(),
        })
    });
    Some(entries.collect())
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(57).chain("...".chars()).collect() }
}

fn clients(value: &Value) -> Option<Vec<Client>> {
    let text = text(value)?;
    let clients = text.lines().map(|line| {
        let fields: BTreeMap<&str, &str> = line.split(' ').filter_map(|field| field.split_once('=')).collect();
        let number = |name: &str| fields.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        let word = |name: &str| fields.get(name).copied().unwrap_or_default().to_owned();
        Client {
            addr: word("addr"),
            name: word("name"),
            idle: number("idle"),
            output: number("omem"),
            flags: word("flags"),
        }
    });
    Some(clients.collect())
}

/// `[command, [calls, n, histogram_usec, [edge, count, ...]], ...]`.
fn histograms(value: &Value) -> Option<BTreeMap<String, Histogram>> {
    let Value::Array(items) = value else { return None };
    let mut all = BTreeMap::new();
    for pair in items.chunks_exact(2) {
        let (Some(name), Some(Value::Array(fields))) = (pair.first().and_then(text), pair.get(1)) else { continue };
        let Some(Value::Array(buckets)) = fields.get(3) else { continue };
        let up_to = buckets.chunks_exact(2).filter_map(|bucket| {
            let number = |at: usize| u64::try_from(integer(bucket.get(at)?)?).ok();
            Some((number(0)?, number(1)?))
        });
        all.insert(name, Histogram { up_to: up_to.collect() });
    }
    Some(all)
}

/// `[[event, when, latest ms, highest ms], ...]`.
fn events(value: &Value) -> Option<BTreeMap<String, (u64, u64)>> {
    let Value::Array(rows) = value else { return None };
    let events = rows.iter().filter_map(|row| {
        let Value::Array(row) = row else { return None };
        let number = |at: usize| u64::try_from(integer(row.get(at)?)?).ok();
        Some((text(row.first()?)?, (number(1)?, number(2)?)))
    });
    Some(events.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn entry(words: &[&str]) -> Value {
        let words = words.iter().map(|word| bulk(word)).collect();
        let fields = vec![Value::Int(7), Value::Int(1_700_000_000), Value::Int(12_000), Value::Array(words)];
        Value::Array(vec![Value::Array([fields, vec![bulk("127.0.0.1:5"), bulk("web")]].concat())])
    }

    #[test]
    fn the_slow_log_is_told_without_values() {
        let entries = slow_entries(&entry(&["set", "session:1", "s3cret"])).unwrap();
        assert_eq!(entries[0].command, "SET session:1");
        assert_eq!((entries[0].id, entries[0].micros, entries[0].client.as_str()), (7, 12_000, "web"));
        for words in [["AUTH", "s3cret"], ["config", "s3cret"], ["EVAL", "s3cret"]] {
            assert!(!slow_entries(&entry(&words)).unwrap()[0].command.contains("s3cret"));
        }
    }

    #[test]
    fn clients_are_read_whatever_else_a_version_says_of_them() {
        let text = "id=3 addr=10.0.0.1:99 laddr=x name=web age=10 idle=4000 flags=b db=0 omem=70000000 tot-mem=7 cmd=blpop new=1\n";
        let clients = clients(&bulk(text)).unwrap();
        let want = Client {
            addr: "10.0.0.1:99".into(),
            name: "web".into(),
            idle: 4000,
            output: 70_000_000,
            flags: "b".into(),
        };
        assert_eq!(clients, [want]);
    }

    #[test]
    fn the_buckets_of_the_latency_histogram_are_read() {
        let buckets = Value::Array([1, 100, 2, 150].map(Value::Int).to_vec());
        let fields = Value::Array(vec![bulk("calls"), Value::Int(150), bulk("histogram_usec"), buckets]);
        let all = histograms(&Value::Array(vec![bulk("get"), fields])).unwrap();
        assert_eq!(all["get"].calls(), 150);
    }
}
