//! The programs that are compared, each with its own server or none: what they are called with, and where they store.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use maint_core::failure::Failure;
use testbed::{Site, files};

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// backup-tool.
    Ours,
    /// pgBackRest, as good as it gets: bundles, block incremental, two processes.
    Pgbackrest,
    /// pgBackRest by whole files, which is what it does without the beta of block incremental.
    WholeFiles,
    /// restic, which knows files and nothing of servers.
    Restic,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Side::Ours => "backup-tool",
            Side::Pgbackrest => "pgBackRest",
            Side::WholeFiles => "pgBackRest by files",
            Side::Restic => "restic",
        }
    }
}

/// The name of the stanza.
const STANZA: &str = "main";

/// A server and one program's repositories beside it.
pub(super) struct Place<'a> {
    pub(super) site: &'a Site,
}

pub(super) fn failed(error: &testbed::Error) -> Failure {
    Failure::critical(format!("the benchmark's server: {error}"))
}

/// Bytes of the files below a directory.
pub(super) fn bytes_in(directory: &Path) -> f64 {
    files(directory).iter().filter_map(|path| path.symlink_metadata().ok()).map(|meta| meta.len()).sum::<u64>() as f64
}

impl Place<'_> {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.site.dir().join(name)
    }

    /// A fresh directory of the server's account.
    pub(super) fn fresh(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.path(name);
        if path.exists() {
            fs::remove_dir_all(&path)
                .map_err(|error| Failure::critical(format!("cannot remove {}: {error}", path.display())))?;
        }
        self.site.program_ok("mkdir", &["-m", "700", &path.display().to_string()]).map_err(|error| failed(&error))?;
        Ok(path)
    }

    /// A fresh repository of backup-tool's, named by the configuration `NAME.toml`.
    pub(super) fn ours(&self, name: &str, extra: &str) -> Result<PathBuf, Failure> {
        let path = self.fresh(name)?;
        let config = format!("{name}.toml");
        self.site.configure(&config, name, extra).map_err(|error| failed(&error))?;
        let mut init = self.site.tool_with(&config, &["init", "-q"]);
        must(&mut init)?;
        Ok(path)
    }

    /// backup-tool on the repository `name`.
    pub(super) fn ours_on(&self, name: &str, args: &[&str]) -> Command {
        let mut command = self.site.tool_with(&format!("{name}.toml"), args);
        command.arg("-q");
        command
    }

    /// A fresh repository of pgBackRest's for the cluster in `pgdata`, named by the configuration `NAME.conf`.
    pub(super) fn pgbackrest(&self, name: &str, pgdata: &Path, extra: &str) -> Result<PathBuf, Failure> {
        let path = self.fresh(name)?;
        let (server, within) = (self.site.server(), path.display());
        let text = format!(
            "[global]\nrepo1-path={within}/repo\nlock-path={within}/lock\nlog-path={within}/log\nspool-path={within}/spool\n\
             repo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=a password of the benchmark\ncompress-type=zst\n\
             compress-level=3\nprocess-max=2\nstart-fast=y\nexpire-auto=n\nlog-level-console=off\nlog-level-stderr=error\n\
             log-level-file=off\n{extra}\n[{STANZA}]\npg1-path={}\npg1-port={}\npg1-socket-path={}\npg1-user=postgres\n",
            pgdata.display(),
            server.port(),
            server.socket_dir().display()
        );
        self.site.write(&format!("{name}.conf"), &text).map_err(|error| failed(&error))?;
        let online = if pgdata == server.data_dir() { "--online" } else { "--no-online" };
        must(&mut self.pgbackrest_on(name, &["stanza-create", online]))?;
        Ok(path.join("repo"))
    }

    /// pgBackRest on the repository `name`.
    pub(super) fn pgbackrest_on(&self, name: &str, args: &[&str]) -> Command {
        let mut command = self.site.program("pgbackrest");
        command.arg("--config").arg(self.path(&format!("{name}.conf"))).args(["--stanza", STANZA]).args(args);
        command
    }

    /// Lets the server archive with the repository `name` of pgBackRest's.
    pub(super) fn archive_with_pgbackrest(&self, name: &str) -> Result<(), Failure> {
        let config = self.path(&format!("{name}.conf"));
        let command = format!("pgbackrest --config={} --stanza={STANZA} archive-push %p", config.display());
        let sql = format!("ALTER SYSTEM SET archive_command = '{command}'");
        self.sql(&sql)?;
        self.sql("SELECT pg_reload_conf()")
    }

    /// A fresh repository of restic's.
    pub(super) fn restic(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.fresh(name)?;
        must(&mut self.restic_on(name, &["init", "-q"]))?;
        Ok(path)
    }

    /// restic on the repository `name`.
    pub(super) fn restic_on(&self, name: &str, args: &[&str]) -> Command {
        let mut command = self.site.program("restic");
        command.env("RESTIC_PASSWORD_FILE", self.path("password")).arg("--no-cache").arg("-r").arg(self.path(name));
        command.args(args);
        command
    }

    /// The same command for every file that a pattern of the shell names, one process each.
    pub(super) fn for_each(&self, command: &Command, directory: &Path, pattern: &str) -> Command {
        let script = format!("for f in {pattern}; do \"$@\" \"$f\" || exit 1; done");
        let mut shell = self.wrapped(command, &script);
        shell.current_dir(directory);
        shell
    }

    /// A command, and then everything that it wrote below `directory` on disk.
    pub(super) fn and_sync(&self, command: &Command, directory: &Path) -> Command {
        self.wrapped(command, &format!("\"$@\" && sync -f \"{}\"", directory.display()))
    }

    /// A script of the shell in which `"$@"` is the command.
    fn wrapped(&self, command: &Command, script: &str) -> Command {
        let mut shell = self.site.program("sh");
        shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell
    }

    pub(super) fn sql(&self, sql: &str) -> Result<(), Failure> {
        self.site.sql(sql).map(drop).map_err(|error| failed(&error))
    }

    /// Changes rows, then waits until nothing of it is under way any more.
    pub(super) fn work(&self, transactions: u32, seed: u32) -> Result<(), Failure> {
        let (server, each) = (self.site.server(), (transactions / 2).max(1).to_string());
        let mut pgbench = Command::new(server.installation().bin.join("pgbench"));
        pgbench.args(["-n", "-c", "2", "-t", &each, "--random-seed", &seed.to_string(), &server.url("postgres")]);
        must(&mut pgbench)?;
        self.settle()
    }

    /// Waits until pages and log are on disk and in the archive.
    pub(super) fn settle(&self) -> Result<(), Failure> {
        self.sql("CHECKPOINT")?;
        let status = self.site.server().data_dir().join("pg_wal/archive_status");
        testbed::wait_until("the log is archived", testbed::RUN_LIMIT, || {
            files(&status).iter().all(|path| path.extension().is_none_or(|kind| kind != "ready"))
        })
        .map_err(|error| failed(&error))?;
        must(&mut Command::new("sync"))
    }
}

/// Runs what is not measured.
pub(super) fn must(command: &mut Command) -> Result<(), Failure> {
    super::measure::cost(command).map(drop)
}
