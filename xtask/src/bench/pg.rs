//! pg-maint against vacuumdb and reindexdb, on one server, with the same number of jobs.

use std::process::{Command, Stdio};
use std::time::Instant;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::Status;
use testbed::Postgres;

use super::{BenchArgs, scratch};
use crate::{setup, workspace};

/// Tables of the database, beside those of pgbench.
const TABLES: u32 = 120;
const DATABASE: &str = "bench";

pub(super) fn bench(args: &BenchArgs, run: &Run) -> Result<(), Failure> {
    setup::setup(run)?;
    workspace::cargo(&["build", "--release", "-p", "pg-maint"], &[])?;
    let failed = |error: testbed::Error| Failure::critical(format!("the benchmark's server: {error}"));
    let server = Postgres::builder(testbed::setup::DEBIAN_MAJOR)
        .setting("autovacuum", "off")
        .setting("max_wal_size", "4GB")
        .start()
        .map_err(failed)?;
    server.create_db(DATABASE).map_err(failed)?;
    let bench = Bench { server: &server, run, jobs: args.jobs, rounds: args.rounds, state: scratch()? };
    let pgbench = bench.client("pgbench");
    bench.time(Command::new(pgbench).args(["-q", "-i", "-s", "20"]).arg(server.url(DATABASE)))?;
    server
        .psql(
            DATABASE,
            &format!(
                "SELECT format('CREATE TABLE t%s (id int PRIMARY KEY, a int, v text); CREATE INDEX ON t%s (a)', n, n)
                 FROM generate_series(1, {TABLES}) n \\gexec
                 SELECT format('INSERT INTO t%s SELECT g, g %% 100, repeat(''x'', 80) FROM generate_series(1, 20000) g', n)
                 FROM generate_series(1, {TABLES}) n \\gexec
                 VACUUM ANALYZE;"
            ),
        )
        .map_err(failed)?;

    let maint = workspace::root().join("target/release/pg-maint");
    let vacuum = |every: bool| {
        let mut ours = Command::new(&maint);
        ours.args(["vacuum-analyze", "-q", "-j", &args.jobs.to_string()]);
        if every {
            ours.arg("--every");
        }
        ours
    };
    let vacuumdb = || {
        let mut peer = Command::new(bench.client("vacuumdb"));
        peer.args(["--analyze", "-q", "-j", &args.jobs.to_string()]);
        peer
    };
    let everything =
        "SELECT format('UPDATE t%s SET a = a + 1 WHERE id %% 2 = 0', n) FROM generate_series(1, 120) n \\gexec
        UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 3 = 0;";
    let a_tenth =
        "SELECT format('UPDATE t%s SET a = a + 1 WHERE id %% 2 = 0', n * 10) FROM generate_series(1, 12) n \\gexec";
    bench.pair("vacuum, everything needy", 1.10, everything, &|| vacuum(true), &vacuumdb)?;
    bench.pair("vacuum, 10 % needy", 0.25, a_tenth, &|| vacuum(false), &vacuumdb)?;

    let reindex = || {
        let mut ours = Command::new(&maint);
        ours.args(["reindex-tables", "-q", "--every", "-j", &args.jobs.to_string(), "-n", "public"]);
        ours
    };
    let reindexdb = || {
        let mut peer = Command::new(bench.client("reindexdb"));
        peer.args(["--concurrently", "-q", "-S", "public", "-j", &args.jobs.to_string()]);
        peer
    };
    bench.pair("reindex, everything", 1.10, "SELECT 1", &reindex, &reindexdb)?;
    // Nothing but two indexes is bloated: the peer cannot know.
    let bloat = "INSERT INTO t10 SELECT g, g, 'x' FROM generate_series(20001, 400000) g ON CONFLICT DO NOTHING;
        DELETE FROM t10 WHERE id > 20000 AND id % 50 <> 0; VACUUM ANALYZE t10;";
    let needed = || {
        let mut ours = Command::new(&maint);
        ours.args(["reindex-tables", "-q", "--min-index-size", "1MB", "-j", &args.jobs.to_string(), "-n", "public"]);
        ours
    };
    bench.pair("reindex, one table bloated", 0.25, bloat, &needed, &reindexdb)?;
    Ok(())
}

struct Bench<'a> {
    server: &'a Postgres,
    run: &'a Run,
    jobs: u32,
    rounds: u32,
    state: std::path::PathBuf,
}

impl Bench<'_> {
    /// A client program of the server's own installation.
    fn client(&self, name: &str) -> std::path::PathBuf {
        self.server.installation().bin.join(name)
    }

    /// Runs ours and the peer's in turn, each on a database made needy anew, and reports the median of the ratios.
    fn pair(
        &self,
        name: &str,
        goal: f64,
        make_needy: &str,
        ours: &dyn Fn() -> Command,
        peer: &dyn Fn() -> Command,
    ) -> Result<(), Failure> {
        let mut pairs = Vec::new();
        // The first round is a warm-up.
        for round in 0..=self.rounds {
            let mut seconds = [0.0_f64; 2];
            let order: [usize; 2] = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for which in order {
                self.server
                    .psql(DATABASE, make_needy)
                    .and_then(|_| self.server.psql(DATABASE, "CHECKPOINT"))
                    .map_err(|error| Failure::critical(format!("making the database needy: {error}")))?;
                let mut command = if which == 0 { ours() } else { peer() };
                if let Some(slot) = seconds.get_mut(which) {
                    *slot = self.time(&mut command)?;
                }
            }
            if round > 0 {
                pairs.push(seconds);
            }
        }
        let median = |of: &dyn Fn(&[f64; 2]) -> f64| {
            let mut values: Vec<f64> = pairs.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        let (ours, peer, ratio) = (median(&|p| p[0]), median(&|p| p[1]), median(&|p| p[0] / p[1]));
        let met = if ratio <= goal { "met" } else { "missed" };
        let text =
            format!("{ratio:.2} x the peer's time (goal at most {goal:.2}: {met}); {ours:.2} s against {peer:.2} s");
        self.run.emit(
            &Record::new(Kind::Metric, name, if ratio <= goal { Status::Ok } else { Status::Warning }, text)
                .field("ours_seconds", ours)
                .field("peer_seconds", peer)
                .field("time_ratio", ratio)
                .field("goal_ratio", goal)
                .field("rounds", pairs.len())
                .field("jobs", self.jobs),
        );
        Ok(())
    }

    /// Wall seconds of one run. A program that fails measured nothing.
    fn time(&self, command: &mut Command) -> Result<f64, Failure> {
        command
            .env("DATABASE_URL", self.server.url(DATABASE))
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.server.port().to_string())
            .env("PGUSER", "postgres")
            .env("PGDATABASE", DATABASE)
            .env("MAINT_STATE_DIR", &self.state)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let started = Instant::now();
        let output = command.stderr(Stdio::piped()).output();
        let seconds = started.elapsed().as_secs_f64();
        match output {
            Ok(output) if output.status.success() => Ok(seconds),
            Ok(output) => Err(Failure::critical(format!(
                "{} ended with {}: {} {}",
                command.get_program().display(),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim(),
                String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default(),
            ))),
            Err(error) => Err(Failure::critical(format!("cannot start {}: {error}", command.get_program().display()))),
        }
    }
}
