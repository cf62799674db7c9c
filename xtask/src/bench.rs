//! `bench`: a tool against its peer, in one run, on one server.

use clap::{Args, ValueEnum};
use maint_core::failure::Failure;
use maint_core::run::Run;

use crate::workspace;

mod backup;
mod certs;
mod deps;
mod load;
mod pg;
mod redis;

/// `bench`.
#[derive(Debug, Clone, Args)]
pub(crate) struct BenchArgs {
    /// What to measure
    tool: Tool,
    /// Rounds; in each, both programs run once
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Jobs of both programs (pg)
    #[arg(short, long, default_value_t = 2)]
    jobs: u32,
    /// Keys on the server (redis)
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Scale of the cluster: 25 MB each (backup)
    #[arg(long, default_value_t = 20)]
    scale: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tool {
    /// pg-maint against vacuumdb and reindexdb
    Pg,
    /// redis-maint against redis-cli's own analyses
    Redis,
    /// backup-tool against pgBackRest and restic
    Backup,
    /// cert-rotate against openssl and certbot
    Certs,
    /// dep-audit against cargo-audit
    Deps,
    /// bench-runner against wrk, pgbench and redis-benchmark
    Load,
}

/// Runs the benchmark.
pub(crate) fn bench(args: &BenchArgs, run: &Run) -> Result<(), Failure> {
    if args.rounds == 0 || args.jobs == 0 || args.keys < 10_000 || args.scale == 0 {
        return Err(Failure::usage("--rounds, --jobs and --scale must be at least 1, --keys at least 10000"));
    }
    match args.tool {
        Tool::Pg => pg::bench(args, run),
        Tool::Redis => redis::bench(args, run),
        Tool::Backup => backup::bench(args, run),
        Tool::Certs => certs::bench(args, run),
        Tool::Deps => deps::bench(args, run),
        Tool::Load => load::bench(args, run),
    }
}

fn scratch() -> Result<std::path::PathBuf, Failure> {
    let dir = workspace::root().join("target/bench-state");
    std::fs::create_dir_all(&dir)
        .map_err(|error| Failure::critical(format!("cannot create {}: {error}", dir.display())))?;
    Ok(dir)
}

/// Where cargo puts optimised programs: beside the directory this program is in.
fn release_dir() -> Result<std::path::PathBuf, Failure> {
    let exe =
        std::env::current_exe().map_err(|error| Failure::critical(format!("cannot find this program: {error}")))?;
    exe.parent()
        .and_then(|profile| profile.parent())
        .map(|target| target.join("release"))
        .ok_or_else(|| Failure::critical(format!("{} is in no target directory", exe.display())))
}

/// The middle of the values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
