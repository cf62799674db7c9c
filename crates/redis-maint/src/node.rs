//! One server, and one connection to it. Answers are taken as they come: keys are bytes, and an error inside a pipeline
//! belongs to its command alone.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ConnectionAddr, ConnectionInfo, Pipeline, Value};

use crate::info::Info;
use crate::target::{Target, timeouts};
use crate::trouble::Trouble;

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Whether a server takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It does.
    Primary,
    /// It follows a primary.
    Replica,
}

/// What a server says it is. `None` where its user may not ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Changes with every start; a cursor of SCAN is worth nothing under another.
    pub run_id: Option<String>,
    /// Its role now.
    pub role: Option<Role>,
    /// Whether it is a node of a cluster.
    pub cluster: Option<bool>,
    /// `redis` or `valkey` and the version.
    pub version: Option<String>,
    /// The ids of the data's history, the older one second: the same on a primary and its replicas, kept through a
    /// failover.
    pub replication_ids: Vec<String>,
}

impl Identity {
    /// From the sections `server`, `replication` and `cluster` of `INFO`.
    pub fn of(info: &Info) -> Self {
        let role = match info.text("role") {
            Some("master") => Some(Role::Primary),
            Some("slave") => Some(Role::Replica),
            _ => None,
        };
        let version = match info.text("valkey_version") {
            Some(version) => Some(format!("valkey {version}")),
            None => info.text("redis_version").map(|version| format!("redis {version}")),
        };
        // The second is forty zeros where there is none.
        let ids = ["master_replid", "master_replid2"].into_iter().filter_map(|name| info.text(name));
        let replication_ids = ids.filter(|id| id.bytes().any(|byte| byte != b'0')).map(str::to_owned).collect();
        Identity {
            run_id: info.text("run_id").map(str::to_owned),
            role,
            cluster: info.flag("cluster_enabled"),
            version,
            replication_ids,
        }
    }
}

/// A server, with its connection.
pub struct Node {
    /// `host:port`, or the path of a socket.
    pub address: Arc<str>,
    /// What it was when the connection was made.
    pub identity: Identity,
    target: Target,
    info: ConnectionInfo,
    answer: Duration,
    connection: MultiplexedConnection,
}

impl Node {
    /// Connects to `info`, waiting at most `answer` for each answer from then on.
    ///
    /// # Errors
    /// No connection, or the login is refused. A user that may not run INFO is no error: its identity is unknown.
    pub async fn connect(target: &Target, info: ConnectionInfo, answer: Duration) -> Result<Self, Trouble> {
        let address: Arc<str> = address_of(info.addr()).into();
        let client = target.client(info.clone()).map_err(|failure| Trouble::Server(failure.message))?;
        let connection = client
            .get_multiplexed_async_connection_with_config(&timeouts(CONNECT.min(answer), answer))
            .await
            .map_err(|error| Trouble::of(&error, &address))?;
        let identity = Identity::default();
        let mut node = Node { address, identity, target: target.clone(), info, answer, connection };
        // From 7.2 on a connection can leave the idle times and counters of the keys it looks at alone. It is a second
        // belt: what is sent to read does not touch them anyway.
        for option in [&["NO-TOUCH", "ON"], &["SETNAME", "redis-maint"]] {
            match node.call(redis::cmd("CLIENT").arg(option)).await {
                Ok(_) | Err(Trouble::Unsupported(_) | Trouble::Denied(_) | Trouble::Server(_)) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        match node.read_info(&["server", "replication", "cluster"]).await {
            Ok(info) => node.identity = Identity::of(&info),
            Err(Trouble::Denied(_)) => {}
            Err(trouble) => return Err(trouble),
        }
        node.read_as_replica().await?;
        Ok(node)
    }

    /// Every connection to a replica of a cluster has to say that it only reads, or all keys are answered with MOVED.
    async fn read_as_replica(&mut self) -> Result<(), Trouble> {
        let Identity { cluster, role, .. } = &self.identity;
        let (cluster, role) = (*cluster, *role);
        if cluster == Some(false) || role == Some(Role::Primary) {
            return Ok(());
        }
        let known = cluster.is_some() && role.is_some();
        match self.call(&redis::cmd("READONLY")).await {
            // A user who may not run INFO has not told us what the server is; it may be no cluster.
            Err(Trouble::Unsupported(_) | Trouble::Denied(_) | Trouble::Server(_)) if !known => Ok(()),
            other => other.map(drop),
        }
    }

    /// The same server again, after the connection broke.
    ///
    /// # Errors
    /// As [`Node::connect`].
    pub async fn reconnect(&mut self) -> Result<(), Trouble> {
        *self = Node::connect(&self.target, self.info.clone(), self.answer).await?;
        Ok(())
    }

    /// What it was found by.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// How long it waits for an answer.
    pub fn answer(&self) -> Duration {
        self.answer
    }

    /// A second connection to the same server.
    ///
    /// # Errors
    /// As [`Node::connect`].
    pub async fn another(&self) -> Result<Node, Trouble> {
        Node::connect(&self.target, self.info.clone(), self.answer).await
    }

    /// The same server with another database selected, over a connection of its own.
    ///
    /// # Errors
    /// As [`Node::connect`].
    pub async fn with_db(&self, db: u32) -> Result<Node, Trouble> {
        let settings = self.info.redis_settings().clone().set_db(i64::from(db));
        Node::connect(&self.target, self.info.clone().set_redis_settings(settings), self.answer).await
    }

    /// The database that the connection uses.
    pub fn db(&self) -> u32 {
        u32::try_from(self.info.redis_settings().db()).unwrap_or(0)
    }

    /// Sends one command.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn call(&mut self, command: &Cmd) -> Result<Value, Trouble> {
        match self.connection.send_packed_command(command).await {
            Ok(value) => self.sound(value),
            Err(error) => Err(Trouble::of(&error, &self.address)),
        }
    }

    /// Sends `count` commands at once. An error that is the answer to one of them stands in its place; [`Node::sound`]
    /// tells it.
    ///
    /// # Errors
    /// The connection broke, or no answer came in time.
    pub async fn batch(&mut self, commands: &Pipeline, count: usize) -> Result<Vec<Value>, Trouble> {
        if count == 0 {
            return Ok(Vec::new());
        }
        self.connection
            .send_packed_commands(commands, 0, count)
            .await
            .map_err(|error| Trouble::of(&error, &self.address))
    }

    /// The value, when it is not an error of the server.
    ///
    /// # Errors
    /// What the server said.
    pub fn sound(&self, value: Value) -> Result<Value, Trouble> {
        match value {
            Value::ServerError(error) => {
                Err(Trouble::server(error.code(), error.details().unwrap_or_default(), &self.address))
            }
            value => Ok(value),
        }
    }

    /// How far the server's clock is ahead of ours; nothing where the user may not ask. Moments of expiry are told by the
    /// server's clock.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn clock_ahead(&mut self) -> Result<SignedDuration, Trouble> {
        let value = match self.call(&redis::cmd("TIME")).await {
            Ok(value) => value,
            Err(trouble) if trouble.may_pass() => return Err(trouble),
            Err(_) => return Ok(SignedDuration::ZERO),
        };
        let Value::Array(parts) = &value else { return Ok(SignedDuration::ZERO) };
        let part = |at: usize| parts.get(at).and_then(integer);
        let (Some(seconds), Some(micros)) = (part(0), part(1)) else { return Ok(SignedDuration::ZERO) };
        Ok(SignedDuration::new(seconds, (micros * 1000) as i32) - Timestamp::now().as_duration())
    }

    /// Keys in the database.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn size(&mut self) -> Result<u64, Trouble> {
        let answer = self.call(&redis::cmd("DBSIZE")).await?;
        integer(&answer).and_then(|keys| u64::try_from(keys).ok()).ok_or_else(|| Trouble::answer("DBSIZE", &answer))
    }

    /// Sections of `INFO`.
    ///
    /// # Errors
    /// What went wrong; a section that the server does not know is empty.
    pub async fn read_info(&mut self, sections: &[&str]) -> Result<Info, Trouble> {
        let mut all = Info::default();
        // One section a command: several in one are new in 7.0.
        for section in sections {
            match self.call(redis::cmd("INFO").arg(section)).await? {
                Value::BulkString(bytes) => all = all.and(Info::parse(&bytes)),
                Value::VerbatimString { text, .. } | Value::SimpleString(text) => {
                    all = all.and(Info::parse(text.as_bytes()));
                }
                other => return Err(Trouble::answer("INFO", &other)),
            }
        }
        Ok(all)
    }

    /// Settings of the server whose names match `pattern`, by name.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn config(&mut self, pattern: &str) -> Result<std::collections::BTreeMap<String, String>, Trouble> {
        let answer = self.call(redis::cmd("CONFIG").arg("GET").arg(pattern)).await?;
        let Value::Array(items) = answer else { return Err(Trouble::answer("CONFIG GET", &answer)) };
        let texts: Vec<String> = items.iter().filter_map(text).collect();
        Ok(texts.chunks_exact(2).filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone()))).collect())
    }
}

/// A string answer as text.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        Value::Okay => Some("OK".to_owned()),
        _ => None,
    }
}

/// A whole number, also where the server writes it as a string.
pub fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        other => text(other)?.parse().ok(),
    }
}

/// `host:port`, or the path of a socket.
pub fn address_of(addr: &ConnectionAddr) -> String {
    match addr {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => host_port(host, *port),
        ConnectionAddr::Unix(path) => path.display().to_string(),
        other => format!("{other:?}"),
    }
}

fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
