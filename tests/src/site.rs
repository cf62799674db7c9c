//! A server that is backed up: with a repository, a configuration and a ledger that tells which moment it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::account::{self, Account, can_enter, give, run_as};
use crate::error::{Doing, Error, Result};
use crate::postgres::Postgres;
use crate::setup::{DEBIAN_MAJOR, tail};
use crate::small_disk::SmallDisk;
use crate::tool::{Output, bounded, clean, profile_dir, run};

/// How long a restored server may take to recover, or a program on its files to end.
const PATIENCE: Duration = Duration::from_mins(2);

/// A PostgreSQL server with checksums that archives into a repository of its own, and everything that belongs to it in
/// directories of the server's account.
#[derive(Debug)]
pub struct Site {
    server: Postgres,
    dir: PathBuf,
    account: Option<Account>,
    program: PathBuf,
}

impl Site {
    /// Starts the server, creates the repository, and turns archiving on. `extra` is added to `[backup-tool]`.
    pub fn start(extra: &str) -> Result<Site> {
        Site::with(&[], extra)
    }

    /// As [`Site::start`], with settings of the server.
    pub fn with(settings: &[(&str, &str)], extra: &str) -> Result<Site> {
        Site::of(&profile_dir()?.join("backup-tool"), settings, extra)
    }

    /// As [`Site::with`], with another build of the program.
    pub fn of(built: &Path, settings: &[(&str, &str)], extra: &str) -> Result<Site> {
        let mut builder = Postgres::builder(DEBIAN_MAJOR).setting("archive_mode", "on").setting("archive_command", "");
        for (name, value) in settings {
            builder = builder.setting(name, value);
        }
        let server = builder.setting("synchronous_commit", "on").setting("max_wal_size", "200MB").start()?;
        let account = account::unprivileged()?;
        let dir = server.dir().join("site");
        let make = |path: &Path| -> Result<()> {
            fs::create_dir(path)
                .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
                .doing(|| format!("make {}", path.display()))?;
            give(path, account)
        };
        make(&dir)?;
        for name in ["state", "repository"] {
            make(&dir.join(name))?;
        }
        if !built.is_file() {
            return Err(Error::NotBuilt { name: "backup-tool".to_owned(), path: built.to_owned() });
        }
        // The server calls it, and may not be able to go where it was built.
        let program = if can_enter(built.parent().unwrap_or(built), account) {
            built.to_owned()
        } else {
            let copy = dir.join("backup-tool");
            fs::copy(built, &copy).doing(|| format!("copy {}", built.display()))?;
            give(&copy, account)?;
            copy
        };
        let site = Site { server, dir, account, program };
        site.write("password", "a password of the tests")?;
        site.configure("maint.toml", "repository", extra)?;
        let output = site.run(&["init"])?;
        if output.code != 0 {
            return Err(Error::Failed { what: "backup-tool init".into(), why: output.to_string() });
        }
        site.archive_with("maint.toml")?;
        site.sql(
            "CREATE TABLE ledger (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), payload text)",
        )?;
        Ok(site)
    }

    /// Writes a configuration that names `repository` below the site.
    pub fn configure(&self, name: &str, repository: &str, extra: &str) -> Result<PathBuf> {
        let text = format!(
            "[backup-tool]\nrepository = \"{}\"\npassword_file = \"{}\"\npgdata = \"{}\"\ndsn = \"{}\"\n{extra}\n",
            self.dir.join(repository).display(),
            self.dir.join("password").display(),
            self.server.data_dir().display(),
            self.server.url("postgres"),
        );
        self.write(name, &text)
    }

    /// Lets the server archive with this configuration.
    pub fn archive_with(&self, config: &str) -> Result<()> {
        let command =
            format!("\"{}\" --config \"{}\" wal-push %p", self.program.display(), self.dir.join(config).display());
        self.sql(&format!("ALTER SYSTEM SET archive_command = '{command}'"))?;
        self.sql("SELECT pg_reload_conf()").map(drop)
    }

    /// The server.
    pub fn server(&self) -> &Postgres {
        &self.server
    }

    /// The directory of everything but the server.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The root of the repository.
    pub fn repository(&self) -> PathBuf {
        self.dir.join("repository")
    }

    /// Writes a file of the account's own (0600).
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        let _ = fs::remove_file(&path);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
            .doing(|| format!("write {}", path.display()))?;
        give(&path, self.account)?;
        Ok(path)
    }

    /// Runs SQL in the database `postgres`.
    pub fn sql(&self, sql: &str) -> Result<String> {
        self.server.psql("postgres", sql).map(|text| text.trim().to_owned())
    }

    /// backup-tool as the server's account runs it.
    pub fn tool(&self, args: &[&str]) -> Command {
        self.tool_with("maint.toml", args)
    }

    /// The same with another configuration.
    pub fn tool_with(&self, config: &str, args: &[&str]) -> Command {
        let mut command = self.program(&self.program);
        command.arg("--config").arg(self.dir.join(config)).args(args);
        command
    }

    /// Any program as the server's account runs it.
    pub fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        clean(&mut command);
        command.env("NO_COLOR", "1").env("MAINT_STATE_DIR", self.dir.join("state")).env("HOME", &self.dir);
        command.current_dir(&self.dir).stdin(Stdio::null());
        run_as(&mut command, self.account);
        command
    }

    /// backup-tool as the server's account runs it, with input and output that fail as `rule` of fiu-run(1) says, such as
    /// `enable_random name=posix/io/rw/write,probability=0.05`.
    pub fn tool_failing(&self, rule: &str, args: &[&str]) -> Command {
        let mut command = self.program("fiu-run");
        command.args(["-x", "-c", rule]).arg(&self.program).arg("--config").arg(self.dir.join("maint.toml")).args(args);
        command
    }

    /// A disk of its own of so many bytes, as the directory `name` of the site. `None` where this process may not mount
    /// one, which is said loudly: what was to be tested then is not.
    pub fn small_disk(&self, name: &str, bytes: u64) -> Result<Option<SmallDisk>> {
        SmallDisk::mount(&self.dir.join(name), bytes, self.account)
    }

    /// The path of a program of the server's.
    pub fn server_program(&self, name: &str) -> PathBuf {
        self.server.installation().bin.join(name)
    }

    /// Runs backup-tool to its end.
    pub fn run(&self, args: &[&str]) -> Result<Output> {
        run(&mut self.tool(args))
    }

    /// Runs backup-tool, which must end with 0.
    pub fn ok(&self, args: &[&str]) -> Result<Output> {
        let output = self.run(args)?;
        if output.code == 0 {
            return Ok(output);
        }
        Err(Error::Failed { what: format!("backup-tool {}", args.join(" ")), why: output.to_string() })
    }

    /// Runs another program, which must end with 0.
    pub fn program_ok(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Result<Output> {
        let mut command = self.program(program.as_ref());
        command.args(args).env("RESTIC_PASSWORD_FILE", self.dir.join("password"));
        let output = bounded(&mut command, "", PATIENCE)?;
        if output.code == 0 {
            return Ok(output);
        }
        let what = format!("{} {}", program.as_ref().to_string_lossy(), args.join(" "));
        Err(Error::Failed { what, why: output.to_string() })
    }

    /// Adds `rows` to the ledger, each a transaction of its own.
    pub fn work(&self, rows: u32) -> Result<()> {
        let one = "INSERT INTO ledger (payload) VALUES (repeat('x', 300));\n";
        self.sql(&one.repeat(rows as usize)).map(drop)
    }

    /// Finishes the current segment and waits until it is in the archive.
    pub fn switch(&self) -> Result<String> {
        let segment = self.sql("SELECT pg_walfile_name(pg_logical_emit_message(false, 'test', 'switch'))")?;
        self.sql("SELECT pg_switch_wal()")?;
        self.wait_archived(&segment)?;
        Ok(segment)
    }

    /// Waits until a segment is in the archive.
    pub fn wait_archived(&self, segment: &str) -> Result<()> {
        crate::wait_until(&format!("{segment} is archived"), Duration::from_mins(1), || self.object(segment).is_some())
    }

    /// The object of an archived file.
    pub fn object(&self, name: &str) -> Option<PathBuf> {
        files(&self.repository().join("wal"))
            .into_iter()
            .find(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}."))))
    }

    /// Starts a server in a restored directory and waits until it has recovered; its own words when it does not.
    pub fn recover(&self, data: &Path) -> Result<Recovered> {
        let socket = self.dir.join(format!("s{}", COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed)));
        fs::create_dir(&socket).doing(|| format!("make {}", socket.display()))?;
        give(&socket, self.account)?;
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(socket.join("log"))
            .doing(|| format!("open the log in {}", socket.display()))?;
        let mut command = self.program(self.server_program("postgres"));
        command.arg("-D").arg(data).args(["-c", "listen_addresses=", "-p", "5432", "-c"]);
        command.arg(format!("unix_socket_directories={}", socket.display())).current_dir(data);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().doing(|| "start a restored server".into())?;
        let mut recovered = Recovered { child, socket, psql: self.server_program("psql"), data: data.to_owned() };
        let end = Instant::now() + PATIENCE;
        loop {
            if recovered.child.try_wait().doing(|| "wait for a restored server".into())?.is_some() {
                let what = format!("recovery in {}", data.display());
                return Err(Error::Failed { what, why: tail(&recovered.log(), 30) });
            }
            if recovered.sql("SELECT pg_is_in_recovery()").is_ok_and(|text| text == "f") {
                return Ok(recovered);
            }
            if Instant::now() >= end {
                return Err(Error::TimedOut { what: "a restored server recovers".into(), after: PATIENCE });
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

static COUNTER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

/// Every file below a directory.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A restored server that has recovered; dropping it ends it.
#[derive(Debug)]
pub struct Recovered {
    child: Child,
    socket: PathBuf,
    psql: PathBuf,
    data: PathBuf,
}

impl Recovered {
    /// Runs SQL in the database `postgres`.
    pub fn sql(&self, sql: &str) -> Result<String> {
        self.sql_in("postgres", sql)
    }

    /// Runs SQL in a database.
    pub fn sql_in(&self, database: &str, sql: &str) -> Result<String> {
        let mut command = Command::new(&self.psql);
        clean(&mut command);
        command.arg("-h").arg(&self.socket).args(["-p", "5432", "-U", "postgres", "-qAtX", "-v", "ON_ERROR_STOP=1"]);
        command.args(["-d", database, "-c", sql]);
        let output = run(&mut command)?;
        if output.code == 0 {
            return Ok(output.stdout.trim().to_owned());
        }
        Err(Error::Failed { what: sql.to_owned(), why: output.to_string() })
    }

    /// Directory of its socket, for other clients.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// All that it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.socket.join("log")).unwrap_or_default()
    }

    /// Stops it in order, so that its files are whole.
    pub fn stop(mut self) -> Result<PathBuf> {
        self.signal(Signal::INT);
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait().doing(|| "wait for a restored server".into())?.is_none() {
            if Instant::now() >= end {
                return Err(Error::TimedOut { what: "a restored server stops".into(), after: PATIENCE });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(self.data.clone())
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Recovered {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::QUIT);
            let end = Instant::now() + Duration::from_secs(10);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
