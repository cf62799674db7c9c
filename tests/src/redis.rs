//! A private Redis server, of several versions, or Valkey.

mod builder;
mod cluster;
mod home;
mod resp;
mod sentinel;
mod tls;
mod version;
pub mod workload;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use self::home::{Home, Start};
use crate::error::{Doing, Error, Result};
use crate::setup::tail;
use crate::tool::{RUN_LIMIT, bounded, clean};
use crate::wait_until;

pub use builder::Builder;
pub use cluster::RedisCluster;
pub use resp::{Reply, Resp};
pub use sentinel::Sentinels;
pub use tls::Tls;
pub use version::RedisVersion;

/// Time for a server to start, loading its data included, or to stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// A node of a cluster takes its messages on a port this much above its own, in every version.
const BUS_OFFSET: u16 = 10_000;

/// A running Redis server of one's own. Dropping it kills it and removes its directory; so does the end of this process,
/// however it comes.
#[derive(Debug)]
pub struct Redis {
    home: Home,
    port: u16,
    tls: Option<Tls>,
    child: Mutex<Option<Child>>,
}

impl Redis {
    /// A server with the bed's defaults: it saves nothing by itself, and DEBUG is allowed.
    pub fn start(version: RedisVersion) -> Result<Self> {
        Self::builder(version).start()
    }

    /// A server to be adjusted and started.
    pub fn builder(version: RedisVersion) -> Builder {
        Builder::new(version)
    }

    /// Its version.
    pub fn version(&self) -> RedisVersion {
        self.home.version
    }

    /// The port on 127.0.0.1, without TLS; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of its database 0, with the password if it has one, whose characters must need no escaping.
    pub fn url(&self) -> String {
        let password = self.home.password.as_ref().map(|p| format!(":{p}@")).unwrap_or_default();
        format!("redis://{password}127.0.0.1:{}/0", self.port)
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.home.socket()
    }

    /// How it is reached with TLS, if it was built with [`Builder::tls`].
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Its working directory, where `dump.rdb` and `redis.conf` are; gone after the drop.
    pub fn dir(&self) -> &Path {
        self.home.sandbox.data()
    }

    /// Its process id; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// All that it logged so far.
    pub fn log(&self) -> String {
        fs::read(self.home.log_path()).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// Opens a connection of the bed's own, authenticated as the default user.
    pub fn connect(&self) -> Result<Resp> {
        Resp::connect(&self.socket(), self.home.password.as_deref())
    }

    /// Sends one command, over a connection of its own that leaves nothing behind. An error reply is [`Error::Refused`].
    pub fn call<A: AsRef<[u8]>>(&self, args: &[A]) -> Result<Reply> {
        self.connect()?.call(args)
    }

    /// Sends many commands at once, over a connection of their own, and gives the number of replies; the first error reply
    /// is [`Error::Refused`]. [`Resp::pipeline`] shows the replies too.
    pub fn pipeline<A: AsRef<[u8]>>(&self, commands: impl IntoIterator<Item = impl AsRef<[A]>>) -> Result<u64> {
        self.connect()?.pipeline(commands, drop)
    }

    /// The fields of a section of INFO (`all`, `keyspace`).
    pub fn info(&self, section: &str) -> Result<BTreeMap<String, String>> {
        let text = self.call(&["INFO", section])?.text();
        let fields = text.lines().filter_map(|l| l.trim_end().split_once(':'));
        Ok(fields.map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    /// The number of keys in database 0.
    pub fn dbsize(&self) -> Result<u64> {
        let reply = self.call(&["DBSIZE"])?;
        Ok(reply.int().and_then(|n| u64::try_from(n).ok()).unwrap_or_default())
    }

    /// Runs redis-cli (see [`RedisVersion::cli`]) against it and gives its standard output without the last line end. An
    /// error reply, or any exit code but 0, is an error.
    pub fn cli(&self, args: &[&str]) -> Result<String> {
        self.run_cli(&["-p", &self.port.to_string()], args)
    }

    /// As [`Redis::cli`], over TLS and with the certificate checked. Without TLS it is an error.
    pub fn cli_tls(&self, args: &[&str]) -> Result<String> {
        let tls = self.tls.as_ref().ok_or_else(|| Error::Failed {
            what: "using TLS".into(),
            why: "the server was built without; call tls() on its builder".into(),
        })?;
        let ca = tls.ca.to_string_lossy();
        self.run_cli(&["-h", "localhost", "-p", &tls.port.to_string(), "--tls", "--cacert", &ca], args)
    }

    fn run_cli(&self, how: &[&str], args: &[&str]) -> Result<String> {
        let mut command = Command::new(self.version().cli()?);
        clean(&mut command);
        if let Some(password) = &self.home.password {
            command.env("REDISCLI_AUTH", password);
        }
        let out = bounded(command.args(how).arg("-e").args(args), "", RUN_LIMIT)?;
        if out.code == 0 {
            Ok(out.stdout.trim_end_matches('\n').to_owned())
        } else {
            Err(Error::Failed {
                what: format!("redis-cli {}", args.join(" ")),
                why: tail(&(out.stdout + &out.stderr), 15),
            })
        }
    }

    /// Kills it and its children with SIGKILL, as a power failure would, and waits until they are gone.
    pub fn kill9(&self) -> Result<()> {
        let mut child = self.child();
        let mut running = child.take().ok_or_else(|| self.not_running())?;
        let killed = self.home.sandbox.kill_all();
        running.wait().doing(|| format!("wait for {}", self.version()))?;
        killed
    }

    /// Stops it in good order with SIGTERM: it saves if it has save points.
    pub fn stop(&self) -> Result<()> {
        let mut child = self.child();
        let mut running = child.take().ok_or_else(|| self.not_running())?;
        if let Some(pid) = i32::try_from(running.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).doing(|| format!("send TERM to {}", self.version()))?;
        }
        let end = Instant::now() + PATIENCE;
        while running.try_wait().doing(|| format!("wait for {}", self.version()))?.is_none() {
            if Instant::now() >= end {
                *child = Some(running);
                return Err(Error::TimedOut { what: format!("{} stops on TERM", self.version()), after: PATIENCE });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Starts it again, on the same port and data, and waits until the data is loaded.
    pub fn start_again(&self) -> Result<()> {
        let mut child = self.child();
        if child.is_some() {
            return Ok(());
        }
        let end = Instant::now() + PATIENCE;
        loop {
            match self.home.start_on(self.port, self.tls.as_ref().map(|t| t.port))? {
                Start::Ready(started) => {
                    *child = Some(started);
                    return Ok(());
                }
                Start::PortTaken(why) if Instant::now() >= end => {
                    return Err(Error::Failed { what: format!("starting {} again on its port", self.version()), why });
                }
                Start::PortTaken(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// Stops it and starts it again.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.start_again()
    }

    /// Freezes it and its children: connections are still taken by the kernel, and nobody answers.
    pub fn freeze(&self) -> Result<()> {
        self.home.sandbox.freeze()
    }

    /// Wakes what [`Redis::freeze`] froze.
    pub fn thaw(&self) {
        self.home.sandbox.signal(Signal::CONT);
    }

    /// Makes it a replica of `primary`, and waits until it has all the data and the link is up.
    pub fn replica_of(&self, primary: &Redis) -> Result<()> {
        if let Some(password) = &primary.home.password {
            self.call(&["CONFIG", "SET", "masterauth", password])?;
        }
        self.call(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()])?;
        self.wait_for_link()
    }

    pub(crate) fn wait_for_link(&self) -> Result<()> {
        wait_until("the replica's link is up", PATIENCE, || {
            self.info("replication").is_ok_and(|i| i.get("master_link_status").is_some_and(|s| s == "up"))
        })
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_running(&self) -> Error {
        Error::NotRunning { server: self.version().to_string() }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.home.sandbox.remove();
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
