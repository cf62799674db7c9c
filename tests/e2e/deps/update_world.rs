//! A registry of a handful of tiny crates on this machine, a workspace that needs them, and advisories that speak of them.
//! Cargo is the real one: it asks the registry over HTTP as it would any other, and fills its own cache.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use testbed::{Output, records, run, tool};

/// When every test takes place.
pub const NOW: &str = "2026-06-01T00:00:00Z";

/// Long before.
pub const OLD: &str = "2025-01-01T00:00:00Z";

pub struct World {
    directory: tempfile::TempDir,
}

impl World {
    /// An empty registry, and a workspace without dependencies in a git repository.
    pub fn new() -> World {
        let world = World { directory: tempfile::tempdir().unwrap() };
        for directory in ["registry", "home", "state", "db/crates", "app/src"] {
            fs::create_dir_all(world.path(directory)).unwrap();
        }
        let address = serve(&world.path("registry"));
        let config = json!({"dl": format!("http://{address}/crates/{{crate}}-{{version}}.crate")});
        fs::write(world.path("registry/config.json"), config.to_string()).unwrap();
        fs::write(
            world.path("home/config.toml"),
            format!(
                "[source.crates-io]\nreplace-with = \"bed\"\n[source.bed]\nregistry = \"sparse+http://{address}/\"\n\
                 [net]\nretry = 0\n[build]\njobs = 1\n"
            ),
        )
        .unwrap();
        // An advisory that speaks of nothing here, as an empty database tells nothing.
        world.advisory("RUSTSEC-2026-0001", "elsewhere", "patched = [\">= 2.0.0\"]");
        fs::write(world.path("app/src/lib.rs"), "").unwrap();
        fs::write(world.path("app/.gitignore"), "/target\n").unwrap();
        world
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.directory.path().join(inside)
    }

    pub fn lockfile(&self) -> PathBuf {
        self.path("app/Cargo.lock")
    }

    pub fn lock(&self) -> Vec<u8> {
        fs::read(self.lockfile()).unwrap()
    }

    /// The locked versions of a crate.
    pub fn locked(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.lockfile()).unwrap();
        let mut found = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line == format!("name = \"{name}\"") {
                let version = lines.next().unwrap();
                found.push(version.trim_start_matches("version = ").trim_matches('"').to_owned());
            }
        }
        found
    }

    /// Publishes a release: its dependencies as `name requirement`, when, and what is in its library.
    pub fn publish_as(&self, name: &str, version: &str, needs: &[&str], published: &str, code: &str) {
        let folder = format!("{name}-{version}");
        let source = self.path("source").join(&folder);
        fs::create_dir_all(source.join("src")).unwrap();
        let mut manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n[dependencies]\n");
        let mut deps = Vec::new();
        for need in needs {
            let (package, requirement) = need.split_once(' ').unwrap();
            writeln!(manifest, "{package} = \"{requirement}\"").unwrap();
            deps.push(json!({"name": package, "req": requirement, "features": [], "optional": false,
                "default_features": true, "target": null, "kind": "normal"}));
        }
        fs::write(source.join("Cargo.toml"), manifest).unwrap();
        fs::write(source.join("src/lib.rs"), code).unwrap();
        let crates = self.path("registry/crates");
        fs::create_dir_all(&crates).unwrap();
        let package = crates.join(format!("{folder}.crate"));
        good(Command::new("tar").arg("-C").arg(self.path("source")).arg("-czf").arg(&package).arg(&folder));
        let sum = good(Command::new("sha256sum").arg(&package));
        let sum = sum.stdout.split_whitespace().next().unwrap();
        let line = json!({"name": name, "vers": version, "deps": deps, "cksum": sum, "features": {}, "yanked": false,
            "pubtime": published});
        let entry = self.entry(name);
        let before = fs::read_to_string(&entry).unwrap_or_default();
        fs::create_dir_all(entry.parent().unwrap()).unwrap();
        fs::write(entry, format!("{before}{line}\n")).unwrap();
    }

    /// Publishes a release long ago that builds.
    pub fn publish(&self, name: &str, version: &str, needs: &[&str]) {
        self.publish_as(name, version, needs, OLD, "");
    }

    /// Takes a release back.
    pub fn yank(&self, name: &str, version: &str) {
        let entry = self.entry(name);
        let text = fs::read_to_string(&entry).unwrap();
        let lines = text.lines().map(|line| {
            let mut release: Value = serde_json::from_str(line).unwrap();
            if release["vers"] == version {
                release["yanked"] = true.into();
            }
            format!("{release}\n")
        });
        let text: String = lines.collect();
        fs::write(entry, text).unwrap();
    }

    fn entry(&self, name: &str) -> PathBuf {
        let folder = match name.len() {
            1 | 2 => name.len().to_string(),
            3 => format!("3/{}", &name[..1]),
            _ => format!("{}/{}", &name[..2], &name[2..4]),
        };
        self.path("registry").join(folder).join(name)
    }

    /// An advisory; `versions` is its table of that name.
    pub fn advisory(&self, id: &str, package: &str, versions: &str) {
        let directory = self.path("db/crates").join(package);
        fs::create_dir_all(&directory).unwrap();
        let text = format!(
            "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{package}\"\ndate = \"2026-05-25\"\n[versions]\n{versions}\n\
             ```\n\n# Something in {package}\n\nMore of it.\n"
        );
        fs::write(directory.join(format!("{id}.md")), text).unwrap();
    }

    /// Makes the workspace need these (`name requirement`), locks what there is now, and commits it.
    pub fn need(&self, needs: &[&str]) {
        let mut manifest =
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\n".to_owned();
        for need in needs {
            let (package, requirement) = need.split_once(' ').unwrap();
            writeln!(manifest, "{package} = \"{requirement}\"").unwrap();
        }
        fs::write(self.path("app/Cargo.toml"), manifest).unwrap();
        self.cargo(&["generate-lockfile"]);
        if !self.path("app/.git").exists() {
            self.git(&["init", "--quiet"]);
        }
        self.commit();
    }

    pub fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "as it is"]);
    }

    pub fn git(&self, args: &[&str]) -> Output {
        let mut command = Command::new("git");
        command
            .args(["-c", "user.name=test", "-c", "user.email=test@localhost"])
            .args(args)
            .current_dir(self.path("app"));
        good(&mut command)
    }

    /// Has cargo look at the registry, so that its cache knows what was published meanwhile.
    pub fn refresh(&self) {
        self.cargo(&["update", "--dry-run"]);
    }

    pub fn cargo(&self, args: &[&str]) -> Output {
        let mut command = Command::new("cargo");
        command.args(args).current_dir(self.path("app")).env("CARGO_HOME", self.path("home"));
        good(&mut command)
    }

    /// `dep-audit` with these arguments, in the workspace, as of [`NOW`].
    pub fn tool(&self, args: &[&str]) -> Command {
        self.tool_as("ndjson", args)
    }

    /// As [`World::tool`], with another form of output.
    pub fn tool_as(&self, form: &str, args: &[&str]) -> Command {
        self.tool_at(NOW, form, args)
    }

    /// As [`World::tool_as`], on another day.
    pub fn tool_at(&self, now: &str, form: &str, args: &[&str]) -> Command {
        let mut command = tool("dep-audit", &self.path("state")).unwrap();
        command
            .env("CARGO_HOME", self.path("home"))
            .env_remove("CARGO")
            .env_remove("RUSTFLAGS")
            .current_dir(self.path("app"))
            .args(["--now", now, "--db"])
            .arg(self.path("db"))
            .args(["-o", form])
            .args(args);
        command
    }

    /// Runs it: how it ended, and its records.
    pub fn run(&self, args: &[&str]) -> (Output, Vec<Value>) {
        let output = run(&mut self.tool(args)).unwrap();
        let found = records(&output.stdout).unwrap();
        (output, found)
    }

    /// The step notes and copies that a run has left behind.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for place in fs::read_dir(self.path("state/dep-audit/update")).into_iter().flatten() {
            for file in fs::read_dir(place.unwrap().path()).unwrap() {
                let file = file.unwrap().path();
                if file.file_name().unwrap() != "unverified.lock" {
                    found.push(file);
                }
            }
        }
        found
    }
}

/// The records of a kind.
pub fn of_kind<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["type"] == format!("maint.{kind}.v1")).collect()
}

/// Runs a program that must succeed.
fn good(command: &mut Command) -> Output {
    let output = run(command).unwrap();
    assert_eq!(output.code, 0, "{command:?}: {output}");
    output
}

/// Serves the files below a directory over HTTP for as long as the test runs.
fn serve(directory: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let directory = directory.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let directory = directory.clone();
            std::thread::spawn(move || answer(stream, &directory));
        }
    });
    address
}

fn answer(mut stream: TcpStream, directory: &Path) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let asked = lines.next()?.ok()?;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let path = asked.split_whitespace().nth(1)?.trim_start_matches('/');
    let (status, body) = match fs::read(directory.join(path)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok()
}
