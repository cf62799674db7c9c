//! How a server is to be.

use std::fmt::Write as _;
use std::fs;
use std::sync::Mutex;

use rustix::process::Signal;

use super::home::{Home, Start};
use super::{BUS_OFFSET, Redis, RedisVersion, Tls};
use crate::error::{Doing, Error, Result};
use crate::sandbox::Sandbox;
use crate::{account, port};

/// What every server has unless the test says otherwise. A replica is served at once instead of waiting for others that
/// might come, and pinged every second: until its first ping a replica of an idle primary has read nothing, and a cluster
/// of Redis 7 or later does not list it.
const DEFAULTS: &str = "bind 127.0.0.1\ndaemonize no\nappendonly no\nsave \"\"\nrepl-diskless-sync-delay 0\n\
                        repl-ping-replica-period 1\nunixsocket redis.sock\nunixsocketperm 700\n";

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
    pub(super) fn new(version: RedisVersion) -> Self {
        Self { version, config: String::new(), args: Vec::new(), password: None, tls: false }
    }

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
    /// certificates are not asked for. Only Redis 7.0 and 7.4 know TLS; others do not start.
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
