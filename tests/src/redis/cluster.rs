//! A Redis Cluster of real nodes.
//!
//! `redis-cli --cluster create` works too, but takes its time. Here every node is told of every other at once, so that no
//! gossip has to spread, and the cluster is there in one to three seconds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{BUS_OFFSET, Redis, RedisVersion, Reply};
use crate::error::{Error, Result};
use crate::wait_until;

/// Time for the nodes to agree about something.
const PATIENCE: Duration = Duration::from_mins(1);

/// A cluster has this many slots.
const SLOTS: usize = 16_384;

/// A running cluster. The primaries are its first nodes; the replicas follow, first one for each primary.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    primaries: usize,
}

impl RedisCluster {
    /// Starts `primaries` primaries (at least one; a failover by vote needs three), which share the slots evenly, and
    /// `replicas_per_primary` replicas for each. All nodes agree about all slots when this returns. A node that does not
    /// answer for two seconds is taken to have failed.
    pub fn start(version: RedisVersion, primaries: usize, replicas_per_primary: usize) -> Result<Self> {
        let primaries = primaries.max(1);
        let node = || {
            Redis::builder(version)
                .config("cluster-enabled", "yes")
                .config("cluster-config-file", "nodes.conf")
                .config("cluster-node-timeout", "2000")
                .config("cluster-replica-validity-factor", "0")
                .start()
        };
        let nodes = (0..primaries * (1 + replicas_per_primary)).map(|_| node()).collect::<Result<Vec<_>>>()?;
        let cluster = Self { nodes, primaries };
        cluster.join()?;
        Ok(cluster)
    }

    fn join(&self) -> Result<()> {
        let bus = |port: u16| (port + BUS_OFFSET).to_string();
        for (i, node) in self.nodes.iter().enumerate() {
            // Nodes that begin with the same epoch have to settle that first.
            node.call(&["CLUSTER", "SET-CONFIG-EPOCH", &(i + 1).to_string()])?;
            if i < self.primaries {
                let slots = i * SLOTS / self.primaries..(i + 1) * SLOTS / self.primaries;
                let words = ["CLUSTER", "ADDSLOTS"].map(str::to_owned).into_iter();
                node.call(&words.chain(slots.map(|s| s.to_string())).collect::<Vec<_>>())?;
            }
            for other in self.nodes.iter().take(i) {
                let port = other.port();
                node.call(&["CLUSTER", "MEET", "127.0.0.1", &port.to_string(), &bus(port)])?;
            }
        }
        wait_until("the cluster's nodes know each other", PATIENCE, || {
            self.nodes.iter().all(|n| names(n).is_ok_and(|names| names.len() == self.nodes.len()))
        })?;
        for (i, replica) in self.nodes.iter().enumerate().skip(self.primaries) {
            let Some(primary) = self.nodes.get(i % self.primaries) else { continue };
            replica.call(&["CLUSTER", "REPLICATE", &primary.call(&["CLUSTER", "MYID"])?.text()])?;
        }
        for replica in self.nodes.iter().skip(self.primaries) {
            replica.wait_for_link()?;
        }
        self.wait_until_agreed()
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The URLs of all nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// The node that serves the keys of `slot` now, as the first node that answers has it.
    pub fn owner(&self, slot: u16) -> Result<&Redis> {
        let views = self.nodes.iter().filter_map(|n| n.call(&["CLUSTER", "SLOTS"]).ok());
        let ports = views.flat_map(|view| ranges(&view));
        let port = ports.into_iter().find(|(first, last, _)| (*first..=*last).contains(&i64::from(slot)));
        port.and_then(|(_, _, ports)| self.nodes.iter().find(|n| ports.first() == Some(&i64::from(n.port()))))
            .ok_or_else(|| Error::Failed {
                what: format!("looking for the owner of slot {slot}"),
                why: "no node knows it".into(),
            })
    }

    /// Hands a primary's slots to one of its replicas, in good order, and waits until all nodes agree. `node` is the index
    /// of the replica that takes over.
    pub fn failover(&self, node: usize) -> Result<()> {
        let replica = self.nodes.get(node).ok_or_else(|| Error::Failed {
            what: "a cluster failover".into(),
            why: format!("there is no node {node}"),
        })?;
        let is_primary =
            || replica.call(&["ROLE"]).is_ok_and(|r| r.array().first().is_some_and(|w| w.text() == "master"));
        let end = Instant::now() + PATIENCE;
        loop {
            replica.call(&["CLUSTER", "FAILOVER"])?;
            // The server gives up after five seconds, when a busy machine kept the two from settling in time.
            match wait_until("the replica has taken over", Duration::from_secs(6), is_primary) {
                Err(_) if Instant::now() < end => {}
                result => break result?,
            }
        }
        self.wait_until_agreed()
    }

    /// Waits until every node that runs finds the cluster in order and all have the same view of who serves which slots,
    /// replicas included.
    pub fn wait_until_agreed(&self) -> Result<()> {
        wait_until("the cluster's nodes agree", PATIENCE, || {
            let running = || self.nodes.iter().filter(|n| n.pid().is_some());
            let mut views = BTreeSet::new();
            let well = running().all(|n| {
                let info = n.call(&["CLUSTER", "INFO"]).map(|r| r.text()).unwrap_or_default();
                let slots = n.call(&["CLUSTER", "SLOTS"]).map(|r| ranges(&r)).unwrap_or_default();
                let replicas: BTreeSet<_> = slots.iter().flat_map(|(_, _, ports)| ports).copied().collect();
                let complete = running().all(|n| replicas.contains(&i64::from(n.port())));
                views.insert(slots);
                complete && info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
            });
            well && views.len() == 1
        })
    }
}

/// The ids of the nodes that a node knows and is done greeting.
fn names(node: &Redis) -> Result<BTreeSet<String>> {
    let text = node.call(&["CLUSTER", "NODES"])?.text();
    let known = text.lines().filter(|l| !l.contains("handshake") && !l.contains("noaddr"));
    Ok(known.filter_map(|l| l.split(' ').next()).map(str::to_owned).collect())
}

/// First and last slot of each range, and the ports of the nodes that have it: the primary's, then the replicas' in
/// order, as each node lists them as it likes.
fn ranges(slots: &Reply) -> BTreeSet<(i64, i64, Vec<i64>)> {
    let range = |r: &Reply| {
        let [first, last, nodes @ ..] = r.array() else { return None };
        let mut ports: Vec<i64> = nodes.iter().filter_map(|n| n.array().get(1)?.int()).collect();
        if let Some(replicas) = ports.get_mut(1..) {
            replicas.sort_unstable();
        }
        Some((first.int()?, last.int()?, ports))
    };
    slots.array().iter().filter_map(range).collect()
}
