//! A private PostgreSQL server.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgConnection;

use crate::account::{self, Account, run_as};
use crate::client::{Client, SUPERUSER, ident, literal};
use crate::error::{Doing, Error, Result};
use crate::sandbox::Sandbox;
use crate::session::Session;
use crate::setup::{self, Installation, tail};
use crate::tool::{bounded, clean};
use crate::{port, template};

/// Time for a server to start, crash recovery included, or to stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// What every server has unless the test says otherwise. Dynamic shared memory is kept in the data directory, so that a
/// killed server leaves nothing in /dev/shm.
const DEFAULTS: [(&str, &str); 10] = [
    ("listen_addresses", "127.0.0.1"),
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("max_connections", "60"),
    ("shared_buffers", "64MB"),
    ("dynamic_shared_memory_type", "mmap"),
    ("log_line_prefix", "%m [%p] %q%u@%d %a "),
    ("lc_messages", "C"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
];

/// How a server is to be; see [`Postgres::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    major: u32,
    settings: BTreeMap<String, String>,
    password: Option<String>,
}

impl Builder {
    /// Sets a parameter of `postgresql.conf`, so that `ALTER SYSTEM` and reloading can still change it.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Makes the server ask everybody for a password (SCRAM), and gives the superuser this one.
    #[must_use]
    pub fn auth_password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Starts the server and waits until it takes connections.
    pub fn start(self) -> Result<Postgres> {
        let psql = setup::psql()?;
        let install = setup::installation(self.major)?;
        let account = account::unprivileged()?;
        let sandbox = Sandbox::new(account, Signal::QUIT)?;
        let socket_dir = sandbox.make_dir("socket", account)?;
        // Root's clients and others' may use the socket.
        fs::set_permissions(&socket_dir, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .doing(|| format!("open {} to others", socket_dir.display()))?;
        template::copy_to(sandbox.data(), &install, account)?;
        let mut settings: BTreeMap<_, _> = DEFAULTS.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        settings.insert("unix_socket_directories".into(), socket_dir.display().to_string());
        settings.extend(self.settings);
        let conf: String =
            settings.iter().flat_map(|(k, v)| [k, " = ", &literal(v), "\n"].map(str::to_owned)).collect();
        append(&sandbox.data().join("postgresql.conf"), &conf)?;
        let home = Home { install, account, sandbox, socket_dir };
        if let Some(password) = &self.password {
            home.ask_for_passwords(password)?;
        }
        let (child, port) = home.start_somewhere()?;
        let client = Client { port, password: self.password, psql };
        Ok(Postgres { home, client, child: Mutex::new(Some(child)), databases: AtomicU32::new(0) })
    }
}

/// Where a server lives, before and between its runs.
#[derive(Debug)]
struct Home {
    install: Installation,
    account: Option<Account>,
    sandbox: Sandbox,
    socket_dir: PathBuf,
}

/// How an attempt to start ended.
enum Start {
    Ready(Child),
    PortTaken(String),
}

impl Home {
    fn start_somewhere(&self) -> Result<(Child, u16)> {
        let mut why = String::new();
        for _ in 0..10 {
            let port = port::free()?;
            match self.start_on(port)? {
                Start::Ready(child) => return Ok((child, port)),
                Start::PortTaken(log) => why = log,
            }
        }
        Err(Error::Failed { what: "starting PostgreSQL on ten ports in turn".into(), why })
    }

    fn start_on(&self, port: u16) -> Result<Start> {
        let log_path = self.log_path();
        let before = fs::metadata(&log_path).map_or(0, |m| m.len());
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&log_path)
            .doing(|| format!("open {}", log_path.display()))?;
        let mut command = self.postgres();
        command.args(["-p", &port.to_string()]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // In a group of its own, or a Ctrl-C meant for the starter would be a shutdown request to the server too.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let what = format!("starting PostgreSQL {} on port {port}", self.install.major);
        let mut child = command.spawn().doing(|| what.clone())?;
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().doing(|| "wait for postgres".into())? {
                let all = fs::read(&log_path).doing(|| format!("read {}", log_path.display()))?;
                let start = usize::try_from(before).unwrap_or(0);
                let log = tail(&String::from_utf8_lossy(all.get(start..).unwrap_or_default()), 15);
                if log.contains("Address already in use") {
                    return Ok(Start::PortTaken(log));
                }
                return Err(Error::Failed { what, why: format!("{status}; its log ends:\n{log}") });
            }
            if self.is_ready(child.id()) {
                return Ok(Start::Ready(child));
            }
            if Instant::now() >= end {
                let _ = self.sandbox.kill_all();
                let _ = child.wait();
                return Err(Error::TimedOut { what, after: PATIENCE });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// As pg_ctl has it: line 1 of the pid file is the pid and line 8 the state. A crashed server's file says "ready"
    /// too, hence the pid.
    fn is_ready(&self, pid: u32) -> bool {
        let text = fs::read_to_string(self.sandbox.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = text.lines().map(str::trim);
        lines.next() == Some(&pid.to_string()) && lines.nth(6) == Some("ready")
    }

    /// Through the single-user mode, so that there is no moment in which the server trusts everybody.
    fn ask_for_passwords(&self, password: &str) -> Result<()> {
        let sql = format!("ALTER ROLE {SUPERUSER} PASSWORD {}\n", literal(password));
        let mut command = self.postgres();
        // --single must come first, before -D.
        let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = self.bare();
        command.args(["--single"]).args(args).arg("postgres");
        let out = bounded(&mut command, &sql, PATIENCE)?;
        if out.code != 0 || out.stderr.contains("ERROR") {
            return Err(Error::Failed { what: "setting the superuser's password".into(), why: tail(&out.stderr, 15) });
        }
        let hba = self.sandbox.data().join("pg_hba.conf");
        fs::write(&hba, "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n")
            .doing(|| format!("write {}", hba.display()))
    }

    fn postgres(&self) -> Command {
        let mut command = self.bare();
        command.arg("-D").arg(self.sandbox.data());
        command
    }

    fn bare(&self) -> Command {
        let mut command = Command::new(self.install.bin.join("postgres"));
        clean(&mut command);
        run_as(command.current_dir(self.sandbox.data()), self.account);
        command
    }

    fn log_path(&self) -> PathBuf {
        self.sandbox.dir().join("log")
    }
}

/// A running PostgreSQL server of one's own. Dropping it stops it at once and removes its directory; so does the end of
/// this process, however it comes.
#[derive(Debug)]
pub struct Postgres {
    home: Home,
    client: Client,
    child: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Postgres {
    /// A server of this major version (see [`setup::MAJORS`]), to be adjusted and started. Superuser `postgres`, no
    /// password asked, fsync off, locale C.UTF-8, data checksums on.
    pub fn builder(major: u32) -> Builder {
        Builder { major, settings: BTreeMap::new(), password: None }
    }

    /// Its major version.
    pub fn major(&self) -> u32 {
        self.home.install.major
    }

    /// Its programs and modules.
    pub fn installation(&self) -> &Installation {
        &self.home.install
    }

    /// The port on 127.0.0.1; the same after a restart.
    pub fn port(&self) -> u16 {
        self.client.port
    }

    /// The directory of its Unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.home.socket_dir
    }

    /// The directory of its own that all of it is in; gone after the drop.
    pub fn dir(&self) -> &Path {
        self.home.sandbox.dir()
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        self.home.sandbox.data()
    }

    /// The superuser's URL of a database.
    pub fn url(&self, db: &str) -> String {
        self.client.url(db)
    }

    /// A role's URL of a database.
    pub fn url_as(&self, user: &str, password: &str, db: &str) -> String {
        self.client.url_with(user, Some(password), db)
    }

    /// The superuser's connection string in keyword form.
    pub fn dsn(&self, db: &str) -> String {
        self.client.dsn(db)
    }

    /// The superuser's password, if the server asks for one.
    pub fn password(&self) -> Option<&str> {
        self.client.password.as_deref()
    }

    /// The postmaster's process id; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// Kills the postmaster and every backend with SIGKILL, as a power failure would, and waits until they are gone.
    pub fn kill9(&self) -> Result<()> {
        let mut child = self.child();
        let mut running = child.take().ok_or_else(|| self.not_running())?;
        let killed = self.home.sandbox.kill_all();
        running.wait().doing(|| "wait for postgres".into())?;
        killed
    }

    /// Stops it as `pg_ctl stop -m fast` does: sessions are ended, a checkpoint is written.
    pub fn stop_fast(&self) -> Result<()> {
        self.stop(Signal::INT)
    }

    /// Stops it as `pg_ctl stop -m immediate` does: the next start has to recover.
    pub fn stop_immediate(&self) -> Result<()> {
        self.stop(Signal::QUIT)
    }

    /// Starts it again, on the same port and data.
    pub fn start_again(&self) -> Result<()> {
        let mut child = self.child();
        if child.is_some() {
            return Ok(());
        }
        let end = Instant::now() + PATIENCE;
        loop {
            match self.home.start_on(self.port())? {
                Start::Ready(started) => {
                    *child = Some(started);
                    return Ok(());
                }
                Start::PortTaken(why) if Instant::now() >= end => {
                    return Err(Error::Failed { what: "starting PostgreSQL again on its port".into(), why });
                }
                Start::PortTaken(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// Stops it fast and starts it again.
    pub fn restart(&self) -> Result<()> {
        self.stop_fast()?;
        self.start_again()
    }

    /// Freezes the postmaster and every backend: connections are still taken by the kernel, and nobody answers.
    pub fn sigstop(&self) -> Result<()> {
        self.home.sandbox.freeze()
    }

    /// Wakes what [`Postgres::sigstop`] froze.
    pub fn sigcont(&self) {
        self.home.sandbox.signal(Signal::CONT);
    }

    /// All that the server logged so far.
    pub fn log(&self) -> String {
        fs::read(self.home.log_path()).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// Creates a database.
    pub fn create_db(&self, name: &str) -> Result<()> {
        self.psql("postgres", &format!("CREATE DATABASE {}", ident(name))).map(|_| ())
    }

    /// Creates a database whose name begins with `prefix` and that nobody else has.
    pub fn fresh_db(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.create_db(&name)?;
        Ok(name)
    }

    /// Creates a login role with a password, then runs `grants_sql` in the database `postgres`.
    pub fn role(&self, name: &str, password: &str, grants_sql: &str) -> Result<()> {
        let create = format!("CREATE ROLE {} LOGIN PASSWORD {};\n{grants_sql}\n", ident(name), literal(password));
        self.psql("postgres", &create).map(|_| ())
    }

    /// Connects as the superuser, without TLS.
    pub async fn connect(&self, db: &str) -> Result<PgConnection> {
        self.client.connect(db).await
    }

    /// Runs SQL through psql as the superuser, each statement a transaction of its own, until one fails. Gives the rows:
    /// one a line, columns divided by `|`.
    pub fn psql(&self, db: &str, sql: &str) -> Result<String> {
        self.client.psql(db, sql)
    }

    /// Opens a session that stays, and runs `sql` in it (nothing if empty).
    pub fn psql_background(&self, db: &str, sql: &str) -> Result<Session> {
        Session::open(&self.client, db, sql)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    fn stop(&self, signal: Signal) -> Result<()> {
        let mut child = self.child();
        let mut running = child.take().ok_or_else(|| self.not_running())?;
        if let Some(pid) = i32::try_from(running.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, signal).doing(|| format!("send {signal:?} to postgres"))?;
        }
        let end = Instant::now() + PATIENCE;
        while running.try_wait().doing(|| "wait for postgres".into())?.is_none() {
            if Instant::now() >= end {
                *child = Some(running);
                return Err(Error::TimedOut { what: format!("PostgreSQL stops on {signal:?}"), after: PATIENCE });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_running(&self) -> Error {
        Error::NotRunning { server: format!("PostgreSQL {}", self.major()) }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.home.sandbox.remove();
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn append(path: &Path, text: &str) -> Result<()> {
    fs::File::options()
        .append(true)
        .open(path)
        .and_then(|mut f| f.write_all(text.as_bytes()))
        .doing(|| format!("write {}", path.display()))
}
