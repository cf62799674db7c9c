//! dep-audit against cargo-audit: one lock file, and a few hundred. Both are asked all that they ask by themselves, versions that
//! were taken back included, of the same advisories, and both read cargo's cache and no network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::Status;

use super::{BenchArgs, median, release_dir, scratch};
use crate::workspace;

/// Lock files of the second part, at most: cargo-audit takes a quarter of a second for each.
const MANY: usize = 300;
/// How much of each other's work both must do: seconds and kilobytes at the largest (getrusage(2)) of a command, whatever it
/// ends with.
const LAUNCHER: &str = "import resource,subprocess,sys,time\n\
    begun=time.monotonic()\n\
    code=subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL).returncode\n\
    print(time.monotonic()-begun,resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,code)";

pub(super) fn bench(args: &BenchArgs, run: &Run) -> Result<(), Failure> {
    workspace::cargo(&["build", "--release", "-p", "dep-audit"], &[])?;
    let bench = Bench::new(run, args.rounds)?;
    // A copy: in its own workspace cargo would be asked how far packages are used, which the other side never tells.
    let own = scratch()?.join("one.lock");
    fs::copy(workspace::root().join("Cargo.lock"), &own)
        .map_err(|error| Failure::critical(format!("cannot write {}: {error}", own.display())))?;
    bench.compare("one lock file", &[own], (5.0, Some(0.5)))?;
    let many = corpus()?;
    bench.compare(&format!("{} lock files", many.len()), &many, (10.0, None))
}

struct Bench<'a> {
    run: &'a Run,
    rounds: u32,
    program: PathBuf,
    peer: PathBuf,
    /// The advisories as the peer wants them, and as ours does.
    advisories: PathBuf,
    pack: PathBuf,
    now: String,
}

/// What a command cost.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    kilobytes: f64,
}

impl<'a> Bench<'a> {
    fn new(run: &'a Run, rounds: u32) -> Result<Self, Failure> {
        let directory = scratch()?;
        let peer = peer(&directory)?;
        let database = std::env::var_os("MAINT_ADVISORY_DB").map(PathBuf::from);
        let database = database.unwrap_or_else(|| workspace::root().join("../shared/data/advisory-db.tar.zst"));
        if !database.exists() {
            return Err(Failure::usage(format!("there is no advisory database at {}", database.display()))
                .hint("name a .tar.zst of RustSec's with MAINT_ADVISORY_DB"));
        }
        let advisories = directory.join("advisories");
        let _ = fs::remove_dir_all(&advisories);
        fs::create_dir_all(&advisories).map_err(|error| Failure::critical(error.to_string()))?;
        done(Command::new("tar").arg("--zstd").arg("-C").arg(&advisories).arg("-xf").arg(&database))?;
        let program = release_dir()?.join("dep-audit");
        let pack = directory.join("advisories.tar.zst");
        done(Command::new(&program).arg("--db").arg(&advisories).args(["db", "pack", "--into"]).arg(&pack))?;
        // The day after its newest advisory, so that its age is no matter here.
        let told = done(Command::new(&program).arg("--db").arg(&pack).args(["-o", "ndjson", "db", "verify"]))?;
        let newest = told.split("\"newest\":\"").nth(1).and_then(|rest| rest.get(..10)).unwrap_or_default();
        let now = format!("{newest}T23:59:59Z");
        Ok(Bench { run, rounds, program, peer, advisories, pack, now })
    }

    fn ours(&self, locks: &[PathBuf]) -> Result<Cost, Failure> {
        let mut command = Command::new("python3");
        command.args(["-c", LAUNCHER]).arg(&self.program).arg("--db").arg(&self.pack).args(["--now", &self.now]);
        cost(command.args(["security-audit", "-q"]).args(locks))
    }

    /// One after the other, as it takes one only.
    fn theirs(&self, locks: &[PathBuf]) -> Result<Cost, Failure> {
        let mut all = Cost { seconds: 0.0, kilobytes: 0.0 };
        for lock in locks {
            let mut command = Command::new("python3");
            command.args(["-c", LAUNCHER]).arg(&self.peer).args(["audit", "--no-fetch", "--stale", "--quiet", "--db"]);
            let one = cost(command.arg(&self.advisories).arg("--file").arg(lock))?;
            all = Cost { seconds: all.seconds + one.seconds, kilobytes: all.kilobytes.max(one.kilobytes) };
        }
        Ok(all)
    }

    /// In every round both, the other first in every other one; what counts is the median of the rounds' ratios.
    fn compare(&self, name: &str, locks: &[PathBuf], goals: (f64, Option<f64>)) -> Result<(), Failure> {
        let mut costs = Vec::new();
        for round in 0..self.rounds {
            workspace::say(&format!("{name}: round {} of {}", round + 1, self.rounds));
            costs.push(if round % 2 == 0 {
                (self.ours(locks)?, self.theirs(locks)?)
            } else {
                let theirs = self.theirs(locks)?;
                (self.ours(locks)?, theirs)
            });
        }
        let of = |pick: &dyn Fn(&(Cost, Cost)) -> f64| median(costs.iter().map(pick).collect());
        let speedup = of(&|(ours, theirs)| theirs.seconds / ours.seconds);
        let memory = of(&|(ours, theirs)| ours.kilobytes / theirs.kilobytes);
        let (mine, theirs) = (of(&|cost| cost.0.seconds), of(&|cost| cost.1.seconds));
        let (goal, most) = goals;
        let is_met = speedup >= goal && most.is_none_or(|most| memory <= most);
        let wanted = most.map_or_else(String::new, |most| format!(" (goal {most:.2})"));
        let message = format!(
            "{speedup:.1} times as fast as cargo-audit (goal {goal:.1}): {mine:.3} s against {theirs:.3} s; {memory:.2} of its memory{wanted}"
        );
        let status = if is_met { Status::Ok } else { Status::Warning };
        self.run.emit(
            &Record::new(Kind::Metric, name, status, message)
                .field("speedup_ratio", speedup)
                .field("goal_ratio", goal)
                .field("memory_ratio", memory)
                .field("ours_seconds", mine)
                .field("peer_seconds", theirs)
                .field("rounds", costs.len()),
        );
        Ok(())
    }
}

/// Real lock files: those that published crates brought with them into cargo's cache.
fn corpus() -> Result<Vec<PathBuf>, Failure> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let sources = home.unwrap_or_default().join("registry/src");
    let mut found = Vec::new();
    for registry in fs::read_dir(&sources).into_iter().flatten().flatten() {
        for package in fs::read_dir(registry.path()).into_iter().flatten().flatten() {
            found.push(package.path().join("Cargo.lock"));
        }
    }
    found.retain(|path| path.is_file());
    found.sort();
    found.truncate(MANY);
    if found.len() < 100 {
        return Err(Failure::usage(format!(
            "{} has {} lock files: a hundred are needed to tell anything",
            sources.display(),
            found.len()
        ))
        .hint("`cargo fetch` in this workspace fills it"));
    }
    Ok(found)
}

/// cargo-audit, where it is installed.
fn peer(directory: &Path) -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = directory.join("peers/bin");
    std::env::split_paths(&path)
        .chain([own])
        .map(|place| place.join("cargo-audit"))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Failure::usage("cargo-audit is not installed, and there is nothing to compare with").hint(format!(
                "`cargo install --locked cargo-audit --root {}` puts it where this looks",
                directory.join("peers").display()
            ))
        })
}

fn done(command: &mut Command) -> Result<String, Failure> {
    let output = testbed::run(command).map_err(|error| Failure::critical(error.to_string()))?;
    if output.code == 0 { Ok(output.stdout) } else { Err(Failure::critical(format!("{output}"))) }
}

fn cost(command: &mut Command) -> Result<Cost, Failure> {
    let said = done(command)?;
    let told: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match told.as_slice() {
        // Findings are no failure here; cargo-audit has one code for both, so a database or lock file that it cannot read
        // would look the same: ours has read them.
        [seconds, kilobytes, code] if (0.0..=2.0).contains(code) => {
            Ok(Cost { seconds: *seconds, kilobytes: *kilobytes })
        }
        _ => Err(Failure::critical(format!("{} measured nothing: {said}", command.get_program().display()))),
    }
}
