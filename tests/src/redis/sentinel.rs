//! A primary, its replica, and three sentinels that watch over them.

use std::time::Duration;

use super::{Redis, RedisVersion};
use crate::error::{Error, Result};
use crate::wait_until;

/// Time for sentinels to find out about something: they greet each other every two seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// The name that the sentinels know the primary by.
const NAME: &str = "testbed";

/// A running group. Sentinels agree by two of three, take a server that is silent for a second to be down, and allow a
/// failover three seconds.
#[derive(Debug)]
pub struct Sentinels {
    servers: [Redis; 2],
    sentinels: Vec<Redis>,
}

impl Sentinels {
    /// Starts all five, and waits until every sentinel knows the replica and the other two.
    pub fn start(version: RedisVersion) -> Result<Self> {
        let primary = Redis::start(version)?;
        let replica = Redis::start(version)?;
        replica.replica_of(&primary)?;
        let sentinel = || {
            Redis::builder(version)
                .config("sentinel", &format!("monitor {NAME} 127.0.0.1 {} 2", primary.port()))
                .config("sentinel", &format!("down-after-milliseconds {NAME} 1000"))
                .config("sentinel", &format!("failover-timeout {NAME} 3000"))
                .arg("--sentinel")
                .start()
        };
        let sentinels = (0..3).map(|_| sentinel()).collect::<Result<Vec<_>>>()?;
        let group = Self { servers: [primary, replica], sentinels };
        wait_until("the sentinels know the replica and each other", PATIENCE, || {
            let field = |s: &Redis, name: &str| {
                let reply = s.call(&["SENTINEL", "MASTER", NAME]).ok()?;
                let mut words = reply.array().iter().map(super::Reply::text);
                words.find(|w| w == name)?;
                words.next()
            };
            let knows = |s: &Redis, name: &str, n: &str| field(s, name).as_deref() == Some(n);
            group.sentinels.iter().all(|s| knows(s, "num-slaves", "1") && knows(s, "num-other-sentinels", "2"))
        })?;
        Ok(group)
    }

    /// The name that the sentinels know the primary by.
    pub fn master_name(&self) -> &'static str {
        NAME
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// `redis+sentinel://HOST:PORT,HOST:PORT,HOST:PORT/NAME/0`, the form most clients have for a group of sentinels.
    pub fn sentinel_url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|s| format!("127.0.0.1:{}", s.port())).collect();
        format!("redis+sentinel://{}/{NAME}/0", hosts.join(","))
    }

    /// Both servers: the one that was primary first, then the other.
    pub fn servers(&self) -> &[Redis; 2] {
        &self.servers
    }

    /// The server that the first sentinel takes for the primary now.
    pub fn primary(&self) -> Result<&Redis> {
        let port = self.sentinels.first().and_then(primary_port);
        self.servers.iter().find(|s| Some(s.port()) == port).ok_or_else(|| Error::Failed {
            what: "asking a sentinel for the primary".into(),
            why: format!("it answered with port {port:?}"),
        })
    }

    /// Makes the other server the primary, in good order, and waits until all sentinels say so. They make the old one
    /// follow it about eight seconds later.
    pub fn fail_over(&self) -> Result<()> {
        let old = self.primary()?;
        let sentinel = self.sentinels.first();
        sentinel.map(|s| s.call(&["SENTINEL", "FAILOVER", NAME])).transpose()?;
        self.wait_for_new_primary(old)
    }

    /// Kills the primary, and waits until all sentinels have the other server for it. The killed one can be started again.
    pub fn kill_primary(&self) -> Result<()> {
        let old = self.primary()?;
        old.kill9()?;
        self.wait_for_new_primary(old)
    }

    fn wait_for_new_primary(&self, old: &Redis) -> Result<()> {
        let new = self.servers.iter().find(|s| s.port() != old.port());
        wait_until("the other server is the primary", PATIENCE, || {
            let told = self.sentinels.iter().all(|s| primary_port(s).is_some_and(|p| Some(p) == new.map(Redis::port)));
            let role = new.and_then(|n| n.call(&["ROLE"]).ok());
            told && role.is_some_and(|r| r.array().first().is_some_and(|r| r.text() == "master"))
        })
    }
}

fn primary_port(sentinel: &Redis) -> Option<u16> {
    let reply = sentinel.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).ok()?;
    reply.array().get(1)?.text().parse().ok()
}
