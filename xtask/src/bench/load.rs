//! bench-runner against wrk, pgbench and redis-benchmark: all clients on one processor, the servers on the others, in turn.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::Status;
use testbed::{Nginx, Postgres, Redis, RedisVersion};

use super::{BenchArgs, median, release_dir, scratch};
use crate::{setup, workspace};

/// How long a client runs in a round.
const SECONDS: u32 = 3;
/// The processor of the clients.
const PROCESSOR: &str = "0";
/// Runs a command and tells its processor seconds, its kilobytes at the largest (getrusage(2)), and what it said.
const LAUNCHER: &str = "import resource,subprocess,sys\n\
    done=subprocess.run(sys.argv[1:],stdout=subprocess.PIPE,stderr=subprocess.DEVNULL)\n\
    used=resource.getrusage(resource.RUSAGE_CHILDREN)\n\
    print(used.ru_utime+used.ru_stime,used.ru_maxrss)\n\
    sys.stdout.flush()\n\
    sys.stdout.buffer.write(done.stdout.replace(b'\\r',b'\\n'))";

pub(super) fn bench(args: &BenchArgs, run: &Run) -> Result<(), Failure> {
    setup::setup(run)?;
    workspace::cargo(&["build", "--release", "-p", "bench-runner"], &[])?;
    let bench = Bench { run, rounds: args.rounds, program: release_dir()?.join("bench-runner"), state: scratch()? };
    bench.http()?;
    bench.database()?;
    bench.redis()
}

struct Bench<'a> {
    run: &'a Run,
    rounds: u32,
    program: PathBuf,
    state: PathBuf,
}

/// What a client did.
#[derive(Clone, Copy)]
struct Done {
    /// Requests a second.
    rate: f64,
    /// Processor seconds of the client.
    cpu: f64,
    kilobytes: f64,
}

impl Done {
    /// Processor time of a request, in microseconds.
    fn cost(&self) -> f64 {
        self.cpu / (self.rate * f64::from(SECONDS)) * 1e6
    }
}

fn failed(error: &testbed::Error) -> Failure {
    Failure::critical(format!("the benchmark's server: {error}"))
}

impl Bench<'_> {
    fn http(&self) -> Result<(), Failure> {
        let server =
            Nginx::builder().workers(1).plain_with("keepalive_requests 1000000000;", "location / { return 200; }");
        let server = server.start().map_err(|error| failed(&error))?;
        let url = format!("http://127.0.0.1:{}/", server.http_port());
        let seconds = format!("{SECONDS}s");
        let ours = || self.ours(&["api", &url, "-c", "64", "-d", &seconds], "requests_per_second");
        let wrk = || {
            let mut command = Command::new("wrk");
            self.peer(command.args(["-t1", "-c64", "-d", &seconds, &url]), &|said| after(said, "Requests/sec:"))
        };
        self.compare("http", "wrk", &ours, &wrk, 1.0, Some(0.85))?;
        self.pacing(&url)?;
        self.memory(&url)
    }

    /// How late starts are at ten thousand a second.
    fn pacing(&self, url: &str) -> Result<(), Failure> {
        let mut lags = Vec::new();
        for _ in 0..self.rounds {
            let args = ["api", url, "-c", "64", "--rate", "10000", "-d", "3s"];
            lags.push(self.ours(&args, "lag_p50_seconds")?.rate * 1e6);
        }
        let lag = median(lags);
        let status = if lag <= 50.0 { Status::Ok } else { Status::Warning };
        let message = format!("half of the starts at 10000 a second are at most {lag:.0} us late (goal 50)");
        self.run.emit(&Record::new(Kind::Metric, "pacing", status, message).field("lag_p50_seconds", lag / 1e6));
        Ok(())
    }

    /// What it holds after few requests and after many.
    fn memory(&self, url: &str) -> Result<(), Failure> {
        let few = self.ours(&["api", url, "-c", "64", "-d", "1s"], "completed")?;
        let many = self.ours(&["api", url, "-c", "64", "-d", "60s"], "completed")?;
        let ratio = many.kilobytes / few.kilobytes;
        let status = if ratio <= 1.05 { Status::Ok } else { Status::Warning };
        let message = format!(
            "{ratio:.3} times the memory after {:.0} requests as after {:.0} (goal 1.05): {:.0} and {:.0} KiB",
            many.rate, few.rate, many.kilobytes, few.kilobytes
        );
        self.run.emit(&Record::new(Kind::Metric, "memory", status, message).field("memory_ratio", ratio));
        Ok(())
    }

    fn database(&self) -> Result<(), Failure> {
        let server = Postgres::builder(15).start().map_err(|error| failed(&error))?;
        server.create_db("bench").map_err(|error| failed(&error))?;
        let pgbench = server.installation().bin.join("pgbench");
        let dsn = server.dsn("bench");
        let filled = Command::new(&pgbench).args(["-i", "-q", "-s", "10", &dsn]).output();
        if !filled.is_ok_and(|output| output.status.success()) {
            return Err(Failure::critical("pgbench cannot fill the benchmark's database"));
        }
        let seconds = SECONDS.to_string();
        let ours = || {
            let duration = format!("{SECONDS}s");
            self.ours(&["database", &dsn, "-w", "select-only", "-c", "8", "-d", &duration], "requests_per_second")
        };
        let peer = || {
            let mut command = Command::new(&pgbench);
            command.args(["-n", "-S", "-M", "prepared", "-c", "8", "-T", &seconds, &dsn]);
            self.peer(&mut command, &|said| after(said, "tps ="))
        };
        self.compare("database", "pgbench", &ours, &peer, 0.95, None)
    }

    fn redis(&self) -> Result<(), Failure> {
        let server = Redis::start(RedisVersion::V7_0).map_err(|error| failed(&error))?;
        let (url, port) = (server.url(), server.port().to_string());
        for (workload, depth, requests) in
            [("get", "1", "300000"), ("set", "1", "300000"), ("get", "16", "3000000"), ("set", "16", "3000000")]
        {
            let duration = format!("{SECONDS}s");
            let words = if workload == "get" { "GET key:__rand_int__" } else { "SET key:__rand_int__ xxx" };
            let args = ["redis", &url, "-w", words, "-P", depth, "-k", "10000", "-c", "50", "-d", &duration];
            let ours = || self.ours(&args, "commands_per_second");
            let peer = || {
                let mut command = Command::new("redis-benchmark");
                command
                    .args(["-p", &port, "-t", workload, "-P", depth, "-c", "50", "-r", "10000", "-n", requests, "-q"]);
                self.peer(&mut command, &|said| {
                    let line = said.lines().rev().find(|line| line.contains("requests per second"))?;
                    line.split_whitespace().find_map(|word| word.parse().ok())
                })
            };
            self.compare(&format!("redis {workload}, {depth} at once"), "redis-benchmark", &ours, &peer, 1.0, None)?;
        }
        Ok(())
    }

    /// A number of our summary. It is asked with a limit that always holds: what counts here is the number.
    fn ours(&self, args: &[&str], name: &str) -> Result<Done, Failure> {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .args(["--threshold", "error_rate<50%", "-q", "-o", "ndjson"])
            .env("MAINT_STATE_DIR", &self.state);
        self.peer(&mut command, &|said| {
            let summary: serde_json::Value = serde_json::from_str(said.lines().last()?).ok()?;
            summary.get("data")?.get(name)?.as_f64()
        })
    }

    /// Runs a client on its processor; `read` finds its rate in what it says.
    fn peer(&self, command: &mut Command, read: &dyn Fn(&str) -> Option<f64>) -> Result<Done, Failure> {
        let mut launched = Command::new("taskset");
        launched.args(["-c", PROCESSOR, "python3", "-c", LAUNCHER]).arg(command.get_program()).args(command.get_args());
        launched.env("MAINT_STATE_DIR", &self.state);
        let mut shown = command.get_program().display().to_string();
        for arg in command.get_args() {
            let _ = write!(shown, " {}", arg.display());
        }
        let output = launched.output().map_err(|error| Failure::critical(format!("cannot run {shown}: {error}")))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let (first, rest) = said.split_once('\n').unwrap_or_default();
        let mut used = first.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
        match (used.next(), used.next(), read(rest)) {
            (Some(cpu), Some(kilobytes), Some(rate)) => Ok(Done { rate, cpu, kilobytes }),
            _ => Err(Failure::critical(format!("{shown} told no rate: {rest}"))
                .hint("wrk, pgbench and redis-benchmark are in the packages wrk, postgresql-15 and redis-tools")),
        }
    }

    /// In every round both, the other first in every other one; what counts is the median of the rounds' ratios.
    fn compare(
        &self,
        name: &str,
        peer_name: &str,
        ours: &dyn Fn() -> Result<Done, Failure>,
        peer: &dyn Fn() -> Result<Done, Failure>,
        goal: f64,
        cost_goal: Option<f64>,
    ) -> Result<(), Failure> {
        let mut rounds = Vec::new();
        for round in 0..self.rounds {
            workspace::say(&format!("{name}: round {} of {}", round + 1, self.rounds));
            rounds.push(if round % 2 == 0 {
                (ours()?, peer()?)
            } else {
                let theirs = peer()?;
                (ours()?, theirs)
            });
        }
        let of = |pick: &dyn Fn(&(Done, Done)) -> f64| median(rounds.iter().map(pick).collect());
        let rate = of(&|(ours, peer)| ours.rate / peer.rate);
        let cost = of(&|(ours, peer)| ours.cost() / peer.cost());
        let is_met = rate >= goal && cost_goal.is_none_or(|most| cost <= most);
        let mut message = format!(
            "{rate:.2} times the requests of {peer_name} (goal {goal:.2}): {:.0} against {:.0} a second",
            of(&|(ours, _)| ours.rate),
            of(&|(_, peer)| peer.rate)
        );
        if let Some(most) = cost_goal {
            let _ = write!(message, "; {cost:.2} of its processor time a request (goal {most:.2})");
        }
        self.run.emit(
            &Record::new(Kind::Metric, name, if is_met { Status::Ok } else { Status::Warning }, message)
                .field("rate_ratio", rate)
                .field("goal_ratio", goal)
                .field("cpu_ratio", cost_goal.map(|_| cost))
                .field("rounds", rounds.len()),
        );
        Ok(())
    }
}

/// The number behind a word.
fn after(said: &str, word: &str) -> Option<f64> {
    said.split_once(word)?.1.split_whitespace().next()?.parse().ok()
}
