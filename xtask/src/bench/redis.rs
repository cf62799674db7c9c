//! redis-maint against redis-cli's own analyses, on one server of a million keys: how long a walk takes, what it costs the
//! server, what another client notices, and what it leaves behind in the statistics and in the idle times.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::Status;
use testbed::redis::workload;
use testbed::{Redis, RedisVersion};

use super::{BenchArgs, median, scratch};
use crate::{setup, workspace};

/// Between two requests of the other client.
const BETWEEN: Duration = Duration::from_micros(200);
/// How long the other client is listened to when nothing else happens.
const IDLE: Duration = Duration::from_secs(5);
/// Keys whose idle time is looked at before and after.
const PROBES: usize = 2000;

pub(super) fn bench(args: &BenchArgs, run: &Run) -> Result<(), Failure> {
    setup::setup(run)?;
    workspace::cargo(&["build", "--release", "-p", "redis-maint"], &[])?;
    let server = Redis::start(RedisVersion::V7_0).map_err(|error| failed(&error))?;
    let filled = workload::fill(&server, args.keys, 1).map_err(|error| failed(&error))?;
    let state = scratch()?;
    run.emit(&Record::new(
        Kind::Metric,
        "server",
        Status::Ok,
        format!("redis {} with {} keys", server.version().number(), filled.keys()),
    ));
    let bench = Bench { server: &server, run, rounds: args.rounds, state };
    bench.walks()?;
    bench.neighbour()?;
    bench.traces()?;
    bench.snapshot()?;
    bench.deletion(args.keys / 10)
}

fn failed(error: &testbed::Error) -> Failure {
    Failure::critical(format!("the benchmark's server: {error}"))
}

struct Bench<'a> {
    server: &'a Redis,
    run: &'a Run,
    rounds: u32,
    state: std::path::PathBuf,
}

impl Bench<'_> {
    fn ours(&self, args: &[&str]) -> Command {
        let mut command = Command::new(workspace::root().join("target/release/redis-maint"));
        command.args(args).arg("-q").env("REDIS_URL", self.server.url()).env("MAINT_STATE_DIR", &self.state);
        command
    }

    fn cli(&self, args: &[&str]) -> Command {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.server.port().to_string()]).args(args);
        command
    }

    /// Our default walk and the one with everything, against memkeys and bigkeys.
    fn walks(&self) -> Result<(), Failure> {
        let walk = || self.ours(&["memory-optimization", "--traceless"]);
        self.pair("walk: bytes by pattern", "--memkeys", 0.5, 1.0 / 3.0, &walk, &|| self.cli(&["--memkeys"]))?;
        let full = || self.ours(&["memory-optimization"]);
        self.pair("walk: and type, time to live, encoding", "--memkeys", 0.5, 0.5, &full, &|| self.cli(&["--memkeys"]))
    }

    /// Wall time and CPU time of the server, in turn, as the median of the rounds.
    fn pair(
        &self,
        name: &str,
        peer_name: &str,
        time_goal: f64,
        cpu_goal: f64,
        ours: &dyn Fn() -> Command,
        peer: &dyn Fn() -> Command,
    ) -> Result<(), Failure> {
        let mut costs = Vec::new();
        for round in 0..self.rounds {
            let mut cost = [Cost::default(); 2];
            let order: [usize; 2] = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for which in order {
                let mut command = if which == 0 { ours() } else { peer() };
                if let Some(slot) = cost.get_mut(which) {
                    *slot = self.cost(&mut command)?;
                }
            }
            costs.push(cost);
        }
        let of = |pick: &dyn Fn(&[Cost; 2]) -> f64| median(costs.iter().map(pick).collect());
        let (time, cpu) = (of(&|c| c[0].wall / c[1].wall), of(&|c| c[0].cpu / c[1].cpu));
        let (wall, peer_wall) = (of(&|c| c[0].wall), of(&|c| c[1].wall));
        let met = time <= time_goal && cpu <= cpu_goal;
        let message = format!(
            "{time:.2} x the time of redis-cli {peer_name} (goal {time_goal:.2}), {cpu:.2} x the server's CPU (goal \
             {cpu_goal:.2}); {wall:.2} s against {peer_wall:.2} s"
        );
        self.run.emit(
            &Record::new(Kind::Metric, name, if met { Status::Ok } else { Status::Warning }, message)
                .field("time_ratio", time)
                .field("server_cpu_ratio", cpu)
                .field("ours_seconds", wall)
                .field("peer_seconds", peer_wall)
                .field("rounds", costs.len()),
        );
        Ok(())
    }

    fn cost(&self, command: &mut Command) -> Result<Cost, Failure> {
        let before = self.server_cpu()?;
        let started = Instant::now();
        finish(command)?;
        let wall = started.elapsed().as_secs_f64();
        Ok(Cost { wall, cpu: self.server_cpu()? - before })
    }

    /// CPU seconds of the server so far.
    fn server_cpu(&self) -> Result<f64, Failure> {
        let info = self.server.info("cpu").map_err(|error| failed(&error))?;
        let of = |name: &str| info.get(name).and_then(|text| text.parse::<f64>().ok()).unwrap_or(f64::NAN);
        Ok(of("used_cpu_user") + of("used_cpu_sys"))
    }

    fn hits(&self) -> Result<u64, Failure> {
        let info = self.server.info("stats").map_err(|error| failed(&error))?;
        Ok(info.get("keyspace_hits").and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// What another client notices: its 99th percentile while nothing, we, or the peer walks.
    fn neighbour(&self) -> Result<(), Failure> {
        let mut idle = Vec::new();
        let mut ours = Vec::new();
        let mut full = Vec::new();
        let mut peer = Vec::new();
        for _ in 0..self.rounds {
            idle.push(self.listen(|| {
                thread::sleep(IDLE);
                Ok(())
            })?);
            ours.push(self.listen(|| finish(&mut self.ours(&["memory-optimization", "--traceless"])))?);
            full.push(self.listen(|| finish(&mut self.ours(&["memory-optimization"])))?);
            peer.push(self.listen(|| finish(&mut self.cli(&["--memkeys"])))?);
        }
        let [idle, ours, full, peer] = [idle, ours, full, peer].map(median);
        let ms = |seconds: f64| seconds * 1000.0;
        let met = ours <= idle + 0.0005;
        let message = format!(
            "p99 of another client's GET: {:.3} ms idle, {:.3} ms during our walk (goal idle + 0.5 ms), {:.3} ms with \
             everything asked, {:.3} ms during --memkeys",
            ms(idle),
            ms(ours),
            ms(full),
            ms(peer)
        );
        self.run.emit(
            &Record::new(Kind::Metric, "neighbour", if met { Status::Ok } else { Status::Warning }, message)
                .field("idle_p99_seconds", idle)
                .field("ours_p99_seconds", ours)
                .field("ours_full_p99_seconds", full)
                .field("peer_p99_seconds", peer),
        );
        Ok(())
    }

    /// The 99th percentile of a client that asks for one key now and then while `work` is done, in seconds.
    fn listen(&self, work: impl FnOnce() -> Result<(), Failure>) -> Result<f64, Failure> {
        let mut client = self.server.connect().map_err(|error| failed(&error))?;
        client.call(&["SET", "bench:neighbour", "x"]).map_err(|error| failed(&error))?;
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let listener = thread::spawn(move || {
            let mut seen = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let started = Instant::now();
                if client.call(&["GET", "bench:neighbour"]).is_err() {
                    break;
                }
                seen.push(started.elapsed().as_secs_f64());
                thread::sleep(BETWEEN);
            }
            seen
        });
        let result = work();
        over.store(true, Ordering::Relaxed);
        let mut seen = listener.join().unwrap_or_default();
        result?;
        seen.sort_by(f64::total_cmp);
        Ok(seen.get(seen.len() * 99 / 100).copied().unwrap_or(f64::NAN))
    }

    /// Hits that a walk adds to the server's statistics, and keys whose idle time it resets.
    fn traces(&self) -> Result<(), Failure> {
        let keys = self.probes()?;
        // Idle times are whole seconds: they must be some before they can fall.
        thread::sleep(Duration::from_secs(3));
        let tell = |name: &str, goal: bool, command: &mut Command| -> Result<(), Failure> {
            let before = self.idle(&keys)?;
            let hits = self.hits()?;
            finish(command)?;
            let hits = self.hits()? - hits;
            let after = self.idle(&keys)?;
            let touched = before.iter().zip(&after).filter(|(before, after)| after < before).count();
            let message = format!("{hits} hits added, idle time of {touched} of {} keys reset", keys.len());
            let status = if goal && (hits > 0 || touched > 0) { Status::Warning } else { Status::Ok };
            let record = Record::new(Kind::Metric, name, status, message);
            self.run.emit(&record.field("hits_added", hits).field("touched_keys", touched));
            Ok(())
        };
        tell("traces: our walk", true, &mut self.ours(&["memory-optimization", "--traceless"]))?;
        tell("traces: our walk, everything asked", false, &mut self.ours(&["memory-optimization"]))?;
        tell("traces: redis-cli --memkeys", false, &mut self.cli(&["--memkeys"]))?;
        tell("traces: redis-cli --bigkeys", false, &mut self.cli(&["--bigkeys"]))
    }

    fn probes(&self) -> Result<Vec<String>, Failure> {
        let mut client = self.server.connect().map_err(|error| failed(&error))?;
        let mut keys = Vec::new();
        while keys.len() < PROBES {
            let key = client.call(&["RANDOMKEY"]).map_err(|error| failed(&error))?.text();
            if key.is_ascii() {
                keys.push(key);
            }
        }
        Ok(keys)
    }

    fn idle(&self, keys: &[String]) -> Result<Vec<i64>, Failure> {
        let mut client = self.server.connect().map_err(|error| failed(&error))?;
        let mut seconds = Vec::new();
        for key in keys {
            let idle = client.call(&["OBJECT", "IDLETIME", key]).map_err(|error| failed(&error))?;
            seconds.push(idle.int().unwrap_or(i64::MAX));
        }
        Ok(seconds)
    }

    /// Reading a snapshot against the server's own check of it.
    fn snapshot(&self) -> Result<(), Failure> {
        self.server.call(&["SAVE"]).map_err(|error| failed(&error))?;
        let file = self.server.dir().join("dump.rdb");
        let size = std::fs::metadata(&file).map_or(0, |meta| meta.len());
        let name = file.display().to_string();
        let mut times = Vec::new();
        for _ in 0..self.rounds {
            let started = Instant::now();
            finish(&mut self.ours(&["rdb", &name, "--summary"]))?;
            let ours = started.elapsed().as_secs_f64();
            let started = Instant::now();
            finish(Command::new("redis-check-rdb").arg(&file))?;
            times.push([ours, started.elapsed().as_secs_f64()]);
        }
        let ours = median(times.iter().map(|t| t[0]).collect());
        let ratio = median(times.iter().map(|t| t[0] / t[1]).collect());
        let message = format!(
            "{:.0} MB in {ours:.2} s, with sizes and patterns: {ratio:.2} x the time of redis-check-rdb, which only checks",
            size as f64 / 1e6
        );
        let record = Record::new(Kind::Metric, "snapshot", Status::Ok, message);
        self.run.emit(&record.field("ours_seconds", ours).field("time_ratio", ratio).field("file_bytes", size));
        Ok(())
    }

    /// Deleting with the comparison in the same step, against `scan | xargs unlink`, which compares nothing.
    fn deletion(&self, keys: u64) -> Result<(), Failure> {
        let policy = self.state.join("bench-policy.toml");
        std::fs::write(&policy, "[[rule]]\nmatch = \"bench:gone:*\"\n")
            .map_err(|error| Failure::critical(format!("cannot write {}: {error}", policy.display())))?;
        let fill = || {
            let commands =
                (0..keys).map(|number| vec!["SET".to_owned(), format!("bench:gone:{number}"), "x".repeat(100)]);
            self.server.pipeline(commands).map_err(|error| failed(&error))
        };
        let path = policy.display().to_string();
        let mut times = Vec::new();
        for _ in 0..self.rounds {
            fill()?;
            let started = Instant::now();
            finish(&mut self.ours(&["cache-cleanup", "--policy", &path]))?;
            let ours = started.elapsed().as_secs_f64();
            fill()?;
            let port = self.server.port();
            let script = format!(
                "redis-cli -p {port} --scan --pattern 'bench:gone:*' | xargs -n 100 redis-cli -p {port} unlink"
            );
            let started = Instant::now();
            finish(Command::new("sh").args(["-c", &script]))?;
            times.push([ours, started.elapsed().as_secs_f64()]);
        }
        let ours = median(times.iter().map(|t| t[0]).collect());
        let ratio = median(times.iter().map(|t| t[0] / t[1]).collect());
        let rate = keys as f64 / ours;
        let message = format!(
            "{keys} keys in {ours:.2} s, walk and comparison included ({rate:.0} keys/s): {ratio:.2} x the time of \
             redis-cli --scan | xargs unlink, which compares nothing"
        );
        let record = Record::new(Kind::Metric, "deletion", Status::Ok, message);
        self.run.emit(&record.field("ours_seconds", ours).field("time_ratio", ratio).field("keys", keys));
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    wall: f64,
    cpu: f64,
}

/// Runs a command to its end. One that fails measured nothing; a finding is no failure.
fn finish(command: &mut Command) -> Result<(), Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    match command.output() {
        Ok(output) if output.status.code().is_some_and(|code| code <= 1) => Ok(()),
        Ok(output) => Err(Failure::critical(format!(
            "{} ended with {}: {}",
            command.get_program().display(),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
        Err(error) => Err(Failure::critical(format!("cannot start {}: {error}", command.get_program().display()))),
    }
}
