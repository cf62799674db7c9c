//! A private PgBouncer in front of a private server.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::account::{self, run_as};
use crate::client::{Client, SUPERUSER};
use crate::error::{Doing, Error, Result};
use crate::port;
use crate::postgres::Postgres;
use crate::sandbox::Sandbox;
use crate::setup::{self, tail};
use crate::tool::clean;

/// A PgBouncer that pools by transaction. Whoever connects, with whatever name, becomes the superuser. It goes as a
/// [`Postgres`] goes.
#[derive(Debug)]
pub struct Pgbouncer {
    sandbox: Sandbox,
    client: Client,
    child: Child,
}

impl Pgbouncer {
    /// Starts one in front of `server`. Of the parameters that clients send it lets `extra_float_digits` pass unseen, as
    /// most installations do, and refuses those it does not know.
    pub fn start(server: &Postgres) -> Result<Self> {
        let program = setup::program("pgbouncer")?;
        let mut why = String::new();
        for _ in 0..10 {
            match Self::start_on(&program, server, port::free()?) {
                Err(Error::Failed { why: log, .. }) if log.contains("ddress already in use") => why = log,
                result => return result,
            }
        }
        Err(Error::Failed { what: "starting PgBouncer on ten ports in turn".into(), why })
    }

    fn start_on(program: &Path, server: &Postgres, port: u16) -> Result<Self> {
        let account = account::unprivileged()?;
        let sandbox = Sandbox::new(account, Signal::QUIT)?;
        let ini = sandbox.data().join("pgbouncer.ini");
        fs::write(&ini, config(server, port, sandbox.data())).doing(|| format!("write {}", ini.display()))?;
        account::give(&ini, account)?;
        let log_path = sandbox.dir().join("log");
        let log = fs::File::create(&log_path).doing(|| format!("make {}", log_path.display()))?;
        let mut command = Command::new(program);
        clean(&mut command);
        command.arg(&ini).current_dir(sandbox.data());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        run_as(&mut command, account);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().doing(|| "start pgbouncer".into())?;
        let client = Client { port, ..server.client().clone() };
        let mut bouncer = Self { sandbox, client, child };
        bouncer.wait_for_start()?;
        Ok(bouncer)
    }

    fn wait_for_start(&mut self) -> Result<()> {
        let patience = Duration::from_secs(30);
        let end = Instant::now() + patience;
        loop {
            let log = self.log();
            if let Some(status) = self.child.try_wait().doing(|| "wait for pgbouncer".into())? {
                let why = format!("{status}; its log ends:\n{}", tail(&log, 15));
                return Err(Error::Failed { what: "starting PgBouncer".into(), why });
            }
            // It warns and goes on when it cannot have its port, and then serves nobody.
            if log.contains("ddress already in use") {
                return Err(Error::Failed { what: "starting PgBouncer".into(), why: tail(&log, 15) });
            }
            if log.contains("process up") {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(Error::TimedOut { what: "PgBouncer starts".into(), after: patience });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.client.port
    }

    /// The URL of a database behind it.
    pub fn url(&self, db: &str) -> String {
        self.client.url(db)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The directory that all of it is in; gone after the drop.
    pub fn dir(&self) -> &Path {
        self.sandbox.dir()
    }

    /// Runs SQL through psql through it.
    pub fn psql(&self, db: &str, sql: &str) -> Result<String> {
        self.client.psql(db, sql)
    }

    /// All that it logged so far.
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.sandbox.dir().join("log")
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        self.sandbox.remove();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// auth_type `any` takes every name; the server's role is then the one of the database line.
fn config(server: &Postgres, port: u16, dir: &Path) -> String {
    let mut text = format!("[databases]\n* = host=127.0.0.1 port={} user={SUPERUSER}", server.port());
    if let Some(password) = server.password() {
        let _ = write!(text, " password='{}'", password.replace('\'', "''"));
    }
    let _ = write!(
        text,
        "\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir = {}\nauth_type = any\n\
         pool_mode = transaction\nmax_client_conn = 100\ndefault_pool_size = 4\n\
         ignore_startup_parameters = extra_float_digits\n",
        dir.display()
    );
    text
}
