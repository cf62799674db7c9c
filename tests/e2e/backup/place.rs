//! A cluster that archives where the test says, for tests of what becomes of a repository over time.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testbed::{Output, Postgres, records, run, tool};

/// A cluster that archives into a repository, and the configuration of both. All of it belongs to the server's account.
pub(super) struct Site {
    pub(super) server: Postgres,
    home: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Site {
    /// A running cluster, its repository in a directory, made by `init`.
    pub(super) fn new() -> Site {
        let site = Site::with_repository("", Vec::new());
        site.ok(&["init"]);
        site
    }

    /// As [`Site::new`], with the repository at this place (a directory of its own when empty) and not made yet.
    pub(super) fn with_repository(place: &str, environment: Vec<(&'static str, String)>) -> Site {
        let settings = [("archive_mode", "on"), ("archive_command", "false"), ("wal_level", "replica")];
        let builder =
            settings.iter().fold(Postgres::builder(15), |builder, (name, value)| builder.setting(name, value));
        let server = builder.start().unwrap();
        let home = server.dir().join("site");
        let site = Site { server, home, environment };
        for directory in ["", "state", "repository"] {
            let path = site.home.join(directory);
            fs::create_dir(&path).unwrap();
            site.give(&path, 0o700);
        }
        let place = if place.is_empty() { site.path("repository").display().to_string() } else { place.to_owned() };
        let config = format!(
            "[backup-tool]\nrepository = \"{place}\"\npassword_file = \"{}\"\npgdata = \"{}\"\n",
            site.path("password").display(),
            site.server.data_dir().display()
        );
        site.write("maint.toml", &config);
        site.write("password", "a long enough password\n");
        site
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    pub(super) fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        self.give(&path, 0o600);
    }

    /// Gives a path to the server's account.
    pub(super) fn give(&self, path: &Path, mode: u32) {
        let owner = fs::metadata(self.server.data_dir()).unwrap();
        chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let owner = fs::metadata(self.server.data_dir()).unwrap();
        let mut command = tool("backup-tool", &self.path("state")).unwrap();
        command.arg("--config").arg(self.path("maint.toml")).args(args).args(["-o", "ndjson"]);
        command.env("DATABASE_URL", self.server.url("postgres")).envs(self.environment.iter().cloned());
        command.uid(owner.uid()).gid(owner.gid());
        command
    }

    pub(super) fn run(&self, args: &[&str]) -> Output {
        run(&mut self.command(args)).unwrap()
    }

    /// Runs it, and wants it to succeed. The records, without the summary.
    #[track_caller]
    pub(super) fn ok(&self, args: &[&str]) -> Vec<Value> {
        let output = self.run(args);
        assert_eq!(output.code, 0, "{args:?}: {output}");
        told(&output)
    }

    /// Lets the server archive into the repository.
    pub(super) fn archive(&self) {
        let program = tool("backup-tool", &self.path("state")).unwrap().get_program().to_string_lossy().into_owned();
        let variables: Vec<String> =
            self.environment.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let environment = variables.join(" ");
        let command = format!(
            "{environment} MAINT_STATE_DIR=\"{}\" \"{program}\" --config \"{}\" wal-push %p",
            self.path("state").display(),
            self.path("maint.toml").display()
        );
        self.sql(&format!("ALTER SYSTEM SET archive_command = '{command}'"));
        self.sql("SELECT pg_reload_conf()");
    }

    pub(super) fn sql(&self, sql: &str) -> String {
        self.server.psql("postgres", sql).unwrap()
    }

    /// Labels of the backups that are listed, oldest first.
    pub(super) fn labels(&self) -> Vec<String> {
        subjects(&self.ok(&["list"]))
    }

    /// Names of the archived WAL segments, sorted.
    pub(super) fn segments(&self, repository: &str) -> Vec<String> {
        let mut found: Vec<String> = files(&self.path(repository).join("wal"))
            .iter()
            .filter_map(|path| path.file_name()?.to_str()?.strip_suffix(".wal").map(str::to_owned))
            .filter(|name| name.len() == 24)
            .collect();
        found.sort();
        found
    }
}

/// The records of an output without its summary.
pub(super) fn told(output: &Output) -> Vec<Value> {
    let mut all = records(&output.stdout).unwrap();
    all.retain(|record| record["type"] != "maint.summary.v1");
    all
}

pub(super) fn subjects(records: &[Value]) -> Vec<String> {
    records.iter().filter_map(|record| record["subject"].as_str().map(str::to_owned)).collect()
}

/// Every file below a directory, sorted.
pub(super) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}
