//! A server's directory and program, and how it is started in it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{PATIENCE, RedisVersion, Resp};
use crate::account::{Account, run_as};
use crate::error::{Doing, Error, Result};
use crate::sandbox::Sandbox;
use crate::setup::tail;
use crate::tool::clean;

/// Where a server lives, before and between its runs.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) version: RedisVersion,
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) password: Option<String>,
    pub(super) account: Option<Account>,
    pub(super) sandbox: Sandbox,
}

/// How an attempt to start ended.
pub(super) enum Start {
    Ready(Child),
    PortTaken(String),
}

impl Home {
    pub(super) fn start_on(&self, port: u16, tls_port: Option<u16>) -> Result<Start> {
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

    pub(super) fn socket(&self) -> PathBuf {
        self.sandbox.data().join("redis.sock")
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.sandbox.dir().join("log")
    }
}
