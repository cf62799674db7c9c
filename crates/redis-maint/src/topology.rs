//! The servers that hold the keys: one, the primary that sentinels name, or every primary of a cluster. A walk that
//! misses a node would call half of the truth the whole, so a node that cannot be reached ends the run by name.

use std::time::Duration;

use maint_core::failure::Failure;
use redis::Value;

use crate::info;
use crate::node::{Node, Role, integer, text};
use crate::target::{Place, Target};
use crate::trouble::Trouble;

/// Slots of a cluster.
pub const SLOTS: u16 = 16384;

/// Which servers to talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that the keys belong to; the server itself when only its address was given.
    Primaries,
    /// A replica of each, to spare the primaries the reading.
    Replicas,
}

/// The servers, connected.
pub struct Topology {
    /// One for each part of the keyspace.
    pub nodes: Vec<Node>,
    /// Whether it is a cluster.
    pub cluster: bool,
    /// Ranges of slots, both ends included, and the index of the node that serves them.
    ranges: Vec<(u16, u16, usize)>,
}

impl Topology {
    /// The index of the node that serves the key's slot.
    pub fn node_of(&self, key: &[u8]) -> usize {
        if !self.cluster {
            return 0;
        }
        self.node_of_slot(slot_of(key))
    }

    fn node_of_slot(&self, slot: u16) -> usize {
        self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot)).map_or(0, |(_, _, node)| *node)
    }

    /// A slot that the node serves; it finds the node's successor when the node is lost. None outside a cluster.
    pub fn slot_served_by(&self, node: usize) -> Option<u16> {
        self.ranges.iter().find(|(_, _, index)| *index == node).map(|(first, _, _)| *first)
    }
}

/// The server that has taken the place of a lost one: the same when it is back as what it was, or else whatever the cluster
/// or the sentinels now name. `slot` is one that the lost node served.
///
/// # Errors
/// None was found now; a moment later may be another matter.
pub async fn successor(lost: &Node, which: Which, slot: Option<u16>) -> Result<Node, Failure> {
    let again = lost.another().await;
    let elsewhere = slot.is_some() || matches!(lost.target().place, Place::Sentinel(_));
    match again {
        Ok(node) if !elsewhere || node.identity.role == lost.identity.role => return Ok(node),
        Err(trouble) if !elsewhere => return Err(trouble.into()),
        _ => {}
    }
    let mut topology = discover(lost.target(), which, lost.answer()).await?;
    let index = slot.map_or(0, |slot| topology.node_of_slot(slot));
    if index >= topology.nodes.len() {
        return Err(Failure::critical("the cluster names no primary"));
    }
    Ok(topology.nodes.swap_remove(index))
}

/// The slot of a key: CRC16 of the key, or of what stands between the first `{` and the next `}` when that is not
/// empty (Redis cluster specification, "Hash tags").
pub fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let rest = key.get(open + 1..)?;
        let close = rest.iter().position(|&byte| byte == b'}')?;
        rest.get(..close).filter(|tag| !tag.is_empty())
    });
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc16Xmodem, tag.unwrap_or(key));
    crc as u16 % SLOTS
}

/// Finds the servers and connects to all of them. `answer` is how long to wait for each answer.
///
/// # Errors
/// A server cannot be reached or refuses the login; a part of the keyspace is served by nobody.
pub async fn discover(target: &Target, which: Which, answer: Duration) -> Result<Topology, Failure> {
    match &target.place {
        Place::Sentinel(name) => {
            let primary = primary_of(target, name, answer).await?;
            single(target, primary, which, answer).await
        }
        place => {
            let node = first_that_answers(target, answer).await?;
            match node.identity.cluster {
                Some(true) => cluster(target, node, which, answer).await,
                // Without INFO the server itself must tell; a user who may ask neither has one node and says --cluster.
                _ if *place == Place::Cluster => cluster(target, node, which, answer).await,
                _ => single(target, node, which, answer).await,
            }
        }
    }
}

async fn first_that_answers(target: &Target, answer: Duration) -> Result<Node, Failure> {
    let mut last = Failure::usage("no address was given");
    for seed in &target.seeds {
        match Node::connect(target, seed.clone(), answer).await {
            Ok(node) => return Ok(node),
            Err(trouble) => last = trouble.into(),
        }
    }
    Err(last)
}

/// Asks the sentinels in turn where the primary is, and checks that the server there says so itself: during a failover
/// a sentinel may still name the old one.
async fn primary_of(target: &Target, name: &str, answer: Duration) -> Result<Node, Failure> {
    let mut last = Failure::usage("no sentinel was given");
    for seed in &target.seeds {
        match ask_sentinel(target, seed.clone(), name, answer).await {
            Ok(node) if node.identity.role == Some(Role::Replica) => {
                last = Failure::critical(format!("{} is named the primary of {name} but is a replica", node.address))
                    .hint("a failover is under way; try again in a moment");
            }
            Ok(node) => return Ok(node),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

async fn ask_sentinel(
    target: &Target,
    seed: redis::ConnectionInfo,
    name: &str,
    answer: Duration,
) -> Result<Node, Failure> {
    // Sentinels have no databases, and mostly no users: the login of the URL is for the server.
    let bare = redis::RedisConnectionInfo::default();
    let sentinel = Node::connect(target, seed.clone().set_redis_settings(bare), answer).await;
    let mut sentinel = match sentinel {
        Err(Trouble::Login { .. }) => {
            let settings = seed.redis_settings().clone().set_db(0);
            Node::connect(target, seed.set_redis_settings(settings), answer).await?
        }
        other => other?,
    };
    let reply = match sentinel.call(redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name)).await {
        Err(Trouble::Unsupported(_)) => {
            return Err(Failure::usage(format!("{} is not a sentinel", sentinel.address))
                .hint("with --sentinel the URL holds the sentinels' addresses, mostly port 26379"));
        }
        other => other?,
    };
    let Value::Array(parts) = &reply else {
        return Err(Failure::usage(format!("the sentinel {} watches no primary called {name}", sentinel.address))
            .hint("SENTINEL MASTERS lists the names"));
    };
    let host = parts.first().and_then(text);
    let port = parts.get(1).and_then(integer).and_then(|port| u16::try_from(port).ok());
    let info = host.zip(port).and_then(|(host, port)| target.at(&host, port));
    let info = info.ok_or_else(|| Failure::from(Trouble::answer("SENTINEL GET-MASTER-ADDR-BY-NAME", &reply)))?;
    Ok(Node::connect(target, info, answer).await?)
}

async fn single(target: &Target, mut node: Node, which: Which, answer: Duration) -> Result<Topology, Failure> {
    if which == Which::Replicas && node.identity.role != Some(Role::Replica) {
        node = replica_of(target, &mut node, answer).await?;
    }
    Ok(Topology { nodes: vec![node], cluster: false, ranges: Vec::new() })
}

/// The online replica that lags the least, as the primary tells it.
async fn replica_of(target: &Target, primary: &mut Node, answer: Duration) -> Result<Node, Failure> {
    let info = primary.read_info(&["replication"]).await?;
    let replicas = info.starting("slave").filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
    let best = replicas
        .filter_map(|(_, value)| {
            let parts = info::parts(value);
            let online = parts.get("state").copied() == Some("online");
            let offset: u64 = parts.get("offset")?.parse().ok()?;
            Some((offset, (*parts.get("ip")?).to_owned(), parts.get("port")?.parse().ok()?)).filter(|_| online)
        })
        .max();
    let none = || {
        Failure::usage(format!("{} has no replica that is online", primary.address))
            .hint("leave --replica out to read from the primary")
    };
    let (_, host, port) = best.ok_or_else(none)?;
    let info = target.at(&host, port).ok_or_else(none)?;
    Ok(Node::connect(target, info, answer).await?)
}

/// A primary and its replicas, with the slots it serves.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shard {
    ranges: Vec<(u16, u16)>,
    primary: (String, u16),
    replicas: Vec<(String, u16)>,
}

async fn cluster(target: &Target, mut node: Node, which: Which, answer: Duration) -> Result<Topology, Failure> {
    let reply = match node.call(redis::cmd("CLUSTER").arg("SLOTS")).await {
        Err(Trouble::Unsupported(_)) => {
            return Err(
                Failure::usage(format!("{} is not a node of a cluster", node.address)).hint("leave --cluster out")
            );
        }
        other => other?,
    };
    let own = target.first_host().unwrap_or_default();
    let shards = shards(&reply, &own).ok_or_else(|| Trouble::answer("CLUSTER SLOTS", &reply))?;
    let served: u32 = shards.iter().flat_map(|shard| &shard.ranges).map(|(a, b)| u32::from(b - a) + 1).sum();
    if served != u32::from(SLOTS) {
        return Err(Failure::critical(format!(
            "the cluster is not whole: {served} of {SLOTS} slots are served, so some keys cannot be seen"
        ))
        .hint("redis-cli --cluster check names the slots"));
    }
    let mut topology = Topology { nodes: Vec::new(), cluster: true, ranges: Vec::new() };
    for shard in shards {
        let mut connected = connect_to(target, &shard.primary, answer).await;
        if which == Which::Replicas {
            for replica in &shard.replicas {
                connected = connect_to(target, replica, answer).await;
                if connected.is_ok() {
                    break;
                }
            }
        }
        let node = connected?;
        let index = topology.nodes.len();
        topology.ranges.extend(shard.ranges.iter().map(|(first, last)| (*first, *last, index)));
        topology.nodes.push(node);
    }
    Ok(topology)
}

async fn connect_to(target: &Target, (host, port): &(String, u16), answer: Duration) -> Result<Node, Failure> {
    let info = target.at(host, *port).ok_or_else(|| Failure::usage("a cluster is not reached by a socket"))?;
    Ok(Node::connect(target, info, answer).await?)
}

/// The answer of `CLUSTER SLOTS`, by primary. A node that does not know its own address gives none: it is where we are
/// connected to.
fn shards(reply: &Value, own: &str) -> Option<Vec<Shard>> {
    let Value::Array(rows) = reply else { return None };
    let mut shards: Vec<Shard> = Vec::new();
    for row in rows {
        let Value::Array(row) = row else { return None };
        let slot = |at: usize| u16::try_from(integer(row.get(at)?)?).ok().filter(|slot| *slot < SLOTS);
        let range = (slot(0)?, slot(1)?);
        if range.0 > range.1 {
            return None;
        }
        let mut nodes = row.get(2..)?.iter().map(|node| {
            let Value::Array(node) = node else { return None };
            let host = node.first().and_then(text).filter(|host| !host.is_empty() && host != "?");
            Some((host.unwrap_or_else(|| own.to_owned()), u16::try_from(integer(node.get(1)?)?).ok()?))
        });
        let primary = nodes.next()??;
        let replicas = nodes.collect::<Option<Vec<_>>>()?;
        match shards.iter_mut().find(|shard| shard.primary == primary) {
            Some(shard) => shard.ranges.push(range),
            None => shards.push(Shard { ranges: vec![range], primary, replicas }),
        }
    }
    Some(shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".to_vec()), Value::Array(vec![])])
    }

    fn host(name: &str) -> Value {
        Value::BulkString(name.as_bytes().to_vec())
    }

    #[test]
    fn a_slot_is_that_of_the_hash_tag_when_there_is_one() {
        // From the cluster specification: the CRC16 of "123456789" is 0x31C3.
        assert_eq!(slot_of(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        // An empty tag is none.
        assert_ne!(slot_of(b"foo{}{bar}"), slot_of(b"bar"));
    }

    #[test]
    fn slots_are_gathered_by_primary() {
        let row = |a, b, nodes: Vec<Value>| {
            let mut row = vec![Value::Int(a), Value::Int(b)];
            row.extend(nodes);
            Value::Array(row)
        };
        let reply = Value::Array(vec![
            row(0, 99, vec![node(host("a"), 1), node(host("r"), 4)]),
            row(100, 199, vec![node(Value::Nil, 2)]),
            row(200, 16383, vec![node(host("a"), 1), node(host("r"), 4)]),
        ]);
        let shards = shards(&reply, "seed").unwrap();
        assert_eq!(shards.len(), 2);
        assert_eq!(shards[0].ranges, [(0, 99), (200, 16383)]);
        assert_eq!(shards[0].replicas, [("r".to_owned(), 4)]);
        assert_eq!(shards[1].primary, ("seed".to_owned(), 2));
    }

    #[test]
    fn an_answer_of_another_shape_is_refused() {
        assert!(shards(&Value::Okay, "h").is_none());
        let backwards = Value::Array(vec![Value::Array(vec![Value::Int(5), Value::Int(4), node(host("a"), 1)])]);
        assert!(shards(&backwards, "h").is_none());
        let outside = Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(16384), node(host("a"), 1)])]);
        assert!(shards(&outside, "h").is_none());
    }
}
