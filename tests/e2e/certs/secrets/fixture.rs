//! A directory with a specification, its destinations and its state.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Mutex;

use serde_json::Value;
use testbed::{Output, Postgres, Redis, records, run, tool};

pub(super) struct Bench {
    dir: tempfile::TempDir,
    /// Every secret that was in a destination, to look for it where it must not be.
    secrets: Mutex<BTreeSet<String>>,
}

impl Bench {
    pub(super) fn new(spec: &str) -> Self {
        let bench = Bench { dir: tempfile::tempdir().unwrap(), secrets: Mutex::default() };
        fs::create_dir(bench.path("app")).unwrap();
        fs::create_dir(bench.path("state")).unwrap();
        bench.spec(spec);
        bench
    }

    /// Writes the specification; `DIR` in it stands for the directory of the destinations.
    pub(super) fn spec(&self, spec: &str) {
        let path = self.path("secrets.toml");
        fs::write(&path, spec.replace("DIR", &self.path("app").display().to_string())).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn app(&self, name: &str) -> PathBuf {
        self.path("app").join(name)
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.app(name)).unwrap()
    }

    /// The value of a variable in `app/.env`, which has no quotes.
    pub(super) fn env(&self, key: &str) -> String {
        let text = self.read(".env");
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).unwrap();
        line.to_owned()
    }

    pub(super) fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = tool("cert-rotate", &self.path("state")).unwrap();
        command.args(args).args(["-o", "ndjson", "-vv"]);
        command
    }

    pub(super) fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, &[])
    }

    /// Runs a command, and looks for secrets in all that it printed and journalled.
    pub(super) fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        self.note();
        let output = run(self.command(args).envs(env.iter().copied())).unwrap();
        self.note();
        self.tells_nothing(&output);
        output
    }

    pub(super) fn spec_path(&self) -> String {
        self.path("secrets.toml").display().to_string()
    }

    pub(super) fn generate(&self) -> Output {
        self.run(&["generate-secrets", &self.spec_path()])
    }

    pub(super) fn rotate(&self, name: &str) -> Output {
        self.run(&["secrets", "rotate", &self.spec_path(), name])
    }

    pub(super) fn rotate_killed(&self, name: &str, at: &str) -> Output {
        let output = self.run_with(&["secrets", "rotate", &self.spec_path(), name], &[("MAINT_KILL_AT", at)]);
        assert_eq!(output.code, 137, "{at}: {output}");
        output
    }

    pub(super) fn check(&self) -> Output {
        self.run(&["secrets", "check", &self.spec_path()])
    }

    /// Remembers what is in the destinations as secrets.
    fn note(&self) {
        let mut secrets = self.secrets.lock().unwrap();
        for path in testbed::files(&self.path("app")) {
            if path.extension().is_some_and(|extension| extension == "json" || extension == "public") {
                continue;
            }
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            for line in text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("-----")) {
                let value =
                    line.split_once('=').filter(|(_, value)| !value.is_empty()).map_or(line, |(_, value)| value);
                let value = value.trim().trim_matches('\'');
                if value.len() >= 16 {
                    secrets.insert(value.to_owned());
                }
            }
        }
    }

    fn tells_nothing(&self, output: &Output) {
        let mut texts = vec![("output", output.to_string())];
        for path in testbed::files(&self.path("state/journal")) {
            texts.push(("journal", String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()));
        }
        for (whose, text) in texts {
            self.is_clean(whose, &text);
        }
    }

    /// No secret that ever was is in a text.
    pub(super) fn is_clean(&self, whose: &str, text: &str) {
        for secret in self.secrets.lock().unwrap().iter() {
            assert!(!text.contains(secret.as_str()), "{whose} tells a secret: {secret}");
        }
    }

    /// What is kept between runs has no secret, and nothing half done lies about.
    #[track_caller]
    pub(super) fn is_at_rest(&self) {
        assert!(!self.secrets.lock().unwrap().is_empty());
        for path in testbed::files(&self.path("state")) {
            self.is_clean("the state", &String::from_utf8_lossy(&fs::read(&path).unwrap()));
        }
        let left: Vec<_> = testbed::files(self.dir.path())
            .into_iter()
            .filter(|path| path.file_name().unwrap().to_string_lossy().contains(".new-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// The `data` of the records about a secret.
pub(super) fn about(output: &Output, name: &str) -> Vec<Value> {
    let all = records(&output.stdout).unwrap();
    all.into_iter()
        .filter(|record| record["subject"] == name && record["type"] != "maint.summary.v1")
        .map(|mut record| record["data"].take())
        .collect()
}

/// The status of the one record about a secret.
#[track_caller]
pub(super) fn ended(output: &Output, code: i32, name: &str, status: &str) -> Value {
    assert_eq!(output.code, code, "{output}");
    let mut about = about(output, name);
    assert_eq!(about.len(), 1, "{output}");
    assert_eq!(about[0]["status"], status, "{output}");
    about.remove(0)
}

/// Whether Redis lets a user in.
pub(super) fn redis_lets_in(server: &Redis, user: &str, password: &str) -> bool {
    server.connect().unwrap().call(&["AUTH", user, password]).is_ok()
}

/// Whether PostgreSQL lets a role in, over TCP.
pub(super) fn postgres_lets_in(server: &Postgres, role: &str, password: &str) -> bool {
    let mut psql = std::process::Command::new("psql");
    psql.env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "10").args(["-X", "-w", "-c", "SELECT 1", "-d"]);
    psql.arg(format!("host=127.0.0.1 port={} user={role} dbname=postgres", server.port()));
    let output = run(&mut psql).unwrap();
    assert!(output.code == 0 || output.stderr.contains("password authentication failed"), "{output}");
    output.code == 0
}
