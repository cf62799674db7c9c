//! A private Redis server, of several versions, or Valkey.

mod cluster;
mod resp;
mod sentinel;
mod tls;
mod version;
pub mod workload;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::account::{self, Account, run_as};
use crate::error::{Doing, Error, Result};
use crate::sandbox::Sandbox;
use crate::setup::tail;
use crate::tool::{RUN_LIMIT, bounded, clean};
use crate::{port, setup, wait_until};

pub use cluster::RedisCluster;
pub use resp::{Reply, Resp};
pub use sentinel::Sentinels;
pub use tls::Tls;
pub use version::RedisVersion;

/// Time for a server to start, loading its data included, or to stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// What every server has unless the test says otherwise. A replica is served at once instead of waiting for others that
/// might come, and pinged every second: until its first ping a replica of an idle primary has read nothing, and a cluster
/// of Redis 7 or later does not list it.
const DEFAULTS: &str = "bind 127.0.0.1\ndaemonize no\nappendonly no\nsave \"\"\nrepl-diskless-sync-delay 0\n\
                        repl-ping-replica-period 1\n\
                        unixsocket redis.sock\nunixsocketperm 700\n";

/// A node of a cluster takes its messages on a port this much above its own, in every version.
const BUS_OFFSET: u16 = 10_000;

/// How a server is to be; see [`Redis::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    version: RedisVersion,
    config: String,
    args: Vec<String>,
    password: Option<String>,
    tls: bool,
}

impl Builder {
    /// Adds a line to `redis.conf`, where a later line overrides an earlier one, or adds to it (`user`, `save`). The value
    /// is written as the file has it: `""` for an empty one. `CONFIG SET` and `CONFIG REWRITE` work as usual.
    #[must_use]
    pub fn config(mut self, name: &str, value: &str) -> Self {
        let _ = writeln!(self.config, "{name} {value}");
        self
    }

    /// Adds an argument to the server's command line, which overrides `redis.conf`.
    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Makes the server ask everybody for a password (`requirepass`), which the bed's own functions then give.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.config("requirepass", password)
    }

    /// Gives it a second port for TLS, with a certificate of an authority made for it: see [`Redis::tls`]. Client
    /// certificates are not asked for. Only [`RedisVersion::V7_0`] knows TLS; others do not start.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self.config("tls-auth-clients", "no")
    }

    /// Starts the server and waits until it answers.
    pub fn start(self) -> Result<Redis> {
        let program = self.version.server()?;
        let account = account::unprivileged()?;
        let sandbox = Sandbox::new(account, Signal::KILL)?;
        let mut conf = DEFAULTS.to_owned();
        if self.version.since_7() && !self.is_sentinel() {
            conf.push_str("enable-debug-command local\n");
        }
        let tls = if self.tls { Some(Tls::make(&sandbox, account)?) } else { None };
        if let Some(tls) = &tls {
            conf.push_str(&tls.config());
        }
        conf.push_str(&self.config);
        let path = sandbox.data().join("redis.conf");
        fs::write(&path, conf).doing(|| format!("write {}", path.display()))?;
        account::give(&path, account)?;
        let home = Home { version: self.version, program, args: self.args, password: self.password, account, sandbox };
        let mut why = String::new();
        for _ in 0..10 {
            let port = port::free_with(BUS_OFFSET)?;
            let tls_port = if tls.is_some() { Some(port::free()?) } else { None };
            match home.start_on(port, tls_port)? {
                Start::Ready(child) => {
                    let tls = tls.zip(tls_port).map(|(tls, port)| Tls { port, ..tls });
                    return Ok(Redis { home, port, tls, child: Mutex::new(Some(child)) });
                }
                Start::PortTaken(log) => why = log,
            }
        }
        Err(Error::Failed { what: format!("starting {} on ten ports in turn", self.version), why })
    }

    fn is_sentinel(&self) -> bool {
        self.args.iter().any(|a| a == "--sentinel")
    }
}

/// Where a server lives, before and between its runs.
#[derive(Debug)]
struct Home {
    version: RedisVersion,
    program: PathBuf,
    args: Vec<String>,
    password: Option<String>,
    account: Option<Account>,
    sandbox: Sandbox,
}

/// How an attempt to start ended.
enum Start {
    Ready(Child),
    PortTaken(String),
}

impl Home {
    fn start_on(&self, port: u16, tls_port: Option<u16>) -> Result<Start> {
        let log_path = self.log_path();
        let before = fs::metadata(&log_path).map_or(0, |m| m.len());
        let open = || fs::File::options().create(true).append(true).open(&log_path);
        let (log, errors) = open().and_then(|a| Ok((a, open()?))).doing(|| format!("open {}", log_path.display()))?;
        // What a killed server left would be taken for the new one's.
        let _ = fs::remove_file(self.socket());
        let mut command = Command::new(&self.program);
        clean(&mut command);
        command.arg(self.sandbox.data().join("redis.conf")).args(["--port", &port.to_string()]);
        if let Some(port) = tls_port {
            command.args(["--tls-port", &port.to_string()]);
        }
        command.args(&self.args).current_dir(self.sandbox.data());
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        run_as(&mut command, self.account);
        // In a group of its own, or a Ctrl-C meant for the starter would end the server too.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let what = format!("starting {} on port {port}", self.version);
        let mut child = command.spawn().doing(|| what.clone())?;
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().doing(|| format!("wait for {}", self.version))? {
                let all = fs::read(&log_path).doing(|| format!("read {}", log_path.display()))?;
                let start = usize::try_from(before).unwrap_or(0);
                let log = tail(&String::from_utf8_lossy(all.get(start..).unwrap_or_default()), 15);
                if log.contains("Address already in use") {
                    return Ok(Start::PortTaken(log));
                }
                return Err(Error::Failed { what, why: format!("{status}; its log ends:\n{log}") });
            }
            if self.is_ready() {
                return Ok(Start::Ready(child));
            }
            if Instant::now() >= end {
                let _ = self.sandbox.kill_all();
                let _ = child.wait();
                return Err(Error::TimedOut { what, after: PATIENCE });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A server that is still loading its data refuses everything; one that does not know us is up.
    fn is_ready(&self) -> bool {
        match Resp::connect(&self.socket(), None).and_then(|mut c| c.call(&["PING"])) {
            Ok(_) => true,
            Err(Error::Refused { message, .. }) => !message.starts_with("LOADING"),
            Err(_) => false,
        }
    }

    fn socket(&self) -> PathBuf {
        self.sandbox.data().join("redis.sock")
    }

    fn log_path(&self) -> PathBuf {
        self.sandbox.dir().join("log")
    }
}

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
        Builder { version, config: String::new(), args: Vec::new(), password: None, tls: false }
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

    /// Runs redis-cli against it and gives its standard output without the last line end. An error reply, or any exit code
    /// but 0, is an error.
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
        let mut command = Command::new(setup::redis_cli()?);
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
