//! The command line.

use std::path::PathBuf;

use clap::builder::TypedValueParser as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use maint_core::cli::{CommonArgs, CommonCommand, EXIT_CODES};
use maint_core::config::{Section, checked, key};
use maint_core::failure::Failure;
use maint_core::threshold::Threshold;
use maint_core::units::HumanDuration;

use crate::engine::run::Load;
use crate::scenario::LIMITS;
use crate::schedule::{Arrival, Stage};
use crate::target::Ask;
use crate::token::Algorithm;

/// The keys of `[bench-runner]` in maint.toml.
pub static SECTION: Section = Section {
    name: "bench-runner",
    tables: &[],
    keys: &[key("scenario", "", &[], checked::<PathBuf>, "the load test that runs when none is named")],
};

/// Load, benchmarks, capacity and baselines that cannot lie.
#[derive(Debug, Parser)]
#[command(name = "bench-runner", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Flags of every program.
    #[command(flatten)]
    pub common: CommonArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One URL under load, with response times from the planned start
    Api(Box<ApiArgs>),
    /// PostgreSQL under load: pgbench's workloads and scripts, with percentiles
    Database(Box<DatabaseArgs>),
    /// Redis under load
    Redis(Box<RedisArgs>),
    /// Signing and verifying JSON Web Tokens, an algorithm after the other
    Jwt(JwtArgs),
    /// Results of criterion, worked out anew from its samples, against those before
    Micro(MicroArgs),
    /// A scenario of several routes, or one URL, up to a rate and down again
    Load(Box<LoadArgs>),
    /// Is it as fast as it was: a load test against those before it; without an action the one of [bench-runner] is run
    Baseline(BaselineArgs),
    /// How much load goes: the highest rate at which limits hold, or what measured points say
    Capacity(Box<CapacityArgs>),
    /// Several services, each alone and all together, in the order in which they need each other
    Services(ServicesArgs),
    /// Past the breaking point and back: when it breaks, and how long it takes to be well again
    Stress(Box<StressArgs>),
    /// Is one faster than the other: two URLs in turn, several runs each
    Compare(Box<CompareArgs>),
    /// Since when something is slower or faster: lasting changes in a series of measurements
    Trend(TrendArgs),
    /// What every program has
    #[command(flatten)]
    Common(CommonCommand),
}

/// How starts are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ArrivalArg {
    /// At equal distances
    Uniform,
    /// At random, as from many independent callers
    Poisson,
}

impl ArrivalArg {
    /// With a seed for random ones.
    pub fn seeded(self, seed: u64) -> Arrival {
        match self {
            ArrivalArg::Uniform => Arrival::Uniform,
            ArrivalArg::Poisson => Arrival::Poisson(seed),
        }
    }
}

/// Of `api`.
#[derive(Debug, Args)]
pub struct ApiArgs {
    /// http:// or https://
    pub url: String,
    /// How.
    #[command(flatten)]
    pub drive: DriveArgs,
    /// What.
    #[command(flatten)]
    pub ask: AskArgs,
    /// How it is told.
    #[command(flatten)]
    pub told: ToldArgs,
    /// A connection for each request
    #[arg(long)]
    pub no_keepalive: bool,
    /// A host besides this machine that load is meant for; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
}

/// How load is sent.
#[derive(Debug, Args)]
pub struct DriveArgs {
    /// Requests a second, however slow the answers are; without it each connection sends when it has its answer
    #[arg(short, long, value_name = "PER SECOND", value_parser = rate)]
    pub rate: Option<f64>,
    /// How many connections
    #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..).map(usize::from))]
    pub connections: usize,
    /// How many threads; more than processors is of no use
    #[arg(short, long, short_alias = 'j', default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256).map(usize::from))]
    pub threads: usize,
    /// How long requests are started
    #[arg(short, long, default_value = "10s")]
    pub duration: HumanDuration,
    /// How long answers are awaited after that; what has none then counts as unfinished
    #[arg(long, default_value = "30s")]
    pub drain: HumanDuration,
    /// When an answer is given up, counted from the planned start
    #[arg(long, default_value = "30s")]
    pub timeout: HumanDuration,
    /// How starts are spread
    #[arg(long, value_enum, default_value_t = ArrivalArg::Uniform)]
    pub arrival: ArrivalArg,
    /// Of random starts: the same seed gives the same ones
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// How a run is told.
#[derive(Debug, Args)]
pub struct ToldArgs {
    /// What must hold, as 'p(95)<200ms', 'error_rate<5%', 'rate>=900'; may be repeated
    #[arg(long, value_name = "LIMIT", default_values = LIMITS)]
    pub threshold: Vec<Threshold>,
    /// Write a page to look at as well, which needs nothing beside it
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// A request of HTTP.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// The method
    #[arg(short, long, default_value = "GET")]
    pub method: String,
    /// A header, NAME: VALUE; may be repeated
    #[arg(short = 'H', long, value_name = "HEADER")]
    pub header: Vec<String>,
    /// The body; @FILE reads it from a file
    #[arg(short, long)]
    pub body: Option<String>,
}

/// Of `database`.
#[derive(Debug, Args)]
pub struct DatabaseArgs {
    /// postgres:// or key=value pairs; without it DATABASE_URL and the PG* variables hold
    #[arg(value_name = "URL")]
    pub dsn: Option<String>,
    /// select-only, simple-update or tpcb on tables that `pgbench -i` has made, or a script of pgbench's
    #[arg(short, long, value_name = "NAME|FILE", default_value = "select-only")]
    pub workload: String,
    /// A variable of the script, NAME=NUMBER; may be repeated
    #[arg(short = 'D', long, value_name = "NAME=NUMBER", value_parser = define)]
    pub define: Vec<(String, i64)>,
    /// How.
    #[command(flatten)]
    pub drive: DriveArgs,
    /// How it is told.
    #[command(flatten)]
    pub told: ToldArgs,
    /// A host besides this machine that load is meant for; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
}

/// Of `redis`.
#[derive(Debug, Args)]
pub struct RedisArgs {
    /// redis://user:password@host:port/db, rediss://... or unix:///path; REDISCLI_AUTH has the password
    #[arg(default_value = "redis://127.0.0.1:6379/0")]
    pub url: String,
    /// get, set, incr, ping, or a command in words, in which __rand_int__ is a random number of twelve digits
    #[arg(short, long, value_name = "NAME|COMMAND", default_value = "get")]
    pub workload: String,
    /// How many commands are sent at once; a request is all of them
    #[arg(short = 'P', long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub pipeline: u16,
    /// How many different keys
    #[arg(short, long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..1_000_000_000_000))]
    pub keys: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64 << 20))]
    pub size: u32,
    /// How.
    #[command(flatten)]
    pub drive: DriveArgs,
    /// How it is told.
    #[command(flatten)]
    pub told: ToldArgs,
    /// A host besides this machine that load is meant for; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
}

/// Of `load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// A scenario (TOML) or http://, https://; without it the one of [bench-runner] in maint.toml
    #[arg(value_name = "FILE|URL")]
    pub what: Option<String>,
    /// Of a URL: requests a second at the top
    #[arg(short, long, value_name = "PER SECOND", value_parser = rate, default_value = "100")]
    pub rate: f64,
    /// Of a URL: how long it takes to get there, and down again
    #[arg(long, default_value = "10s")]
    pub ramp: HumanDuration,
    /// Of a URL: how long it stays there
    #[arg(short, long, default_value = "60s")]
    pub duration: HumanDuration,
    /// Of a URL: what must hold; may be repeated
    #[arg(long, value_name = "LIMIT", default_values = LIMITS)]
    pub threshold: Vec<Threshold>,
    /// A host besides this machine that load is meant for; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
    /// Show what would be sent, and stop
    #[arg(long)]
    pub dry_run: bool,
}

/// Of `baseline`.
#[derive(Debug, Args)]
pub struct BaselineArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: Option<BaselineAction>,
    /// Worse by so much does not matter
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = part, global = true)]
    pub tolerance: f64,
    /// A host besides this machine that load is meant for; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
}

/// What to do with baselines.
#[derive(Debug, Subcommand)]
pub enum BaselineAction {
    /// Add the run whose records are fed in (`-o ndjson`)
    Save {
        /// The baseline
        name: String,
    },
    /// Compare the run whose records are fed in
    Check {
        /// The baseline
        name: String,
    },
    /// What baselines there are
    List,
}

/// Of `capacity`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct CapacityArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: Option<CapacityAction>,
    /// What is loaded: http://, https://, postgres://, redis:// or rediss://
    #[arg(required = true)]
    pub url: Option<String>,
    /// What is asked there.
    #[command(flatten)]
    pub what: WhatArgs,
    /// How it is searched.
    #[command(flatten)]
    pub search: SearchArgs,
}

/// What is asked of a URL, whatever it speaks.
#[derive(Debug, Args)]
pub struct WhatArgs {
    /// Of databases and Redis: the workload, as `database` and `redis` know it
    #[arg(short, long, value_name = "NAME|FILE|COMMAND")]
    pub workload: Option<String>,
    /// A variable of the workload's script, NAME=NUMBER; may be repeated
    #[arg(short = 'D', long, value_name = "NAME=NUMBER", value_parser = define)]
    pub define: Vec<(String, i64)>,
    /// The request of HTTP.
    #[command(flatten)]
    pub ask: AskArgs,
    /// A host besides this machine that load is meant for; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
}

/// Of `capacity URL`.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// What must hold, separated by commas
    #[arg(long, value_name = "LIMITS", value_delimiter = ',', default_values = LIMITS)]
    pub slo: Vec<Threshold>,
    /// How many connections at most
    #[arg(short, long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..).map(usize::from))]
    pub connections: usize,
    /// How long a rate is tried
    #[arg(short, long, value_name = "DURATION", default_value = "5s")]
    pub probe: HumanDuration,
    /// How close the rate that holds and the one that does not are to come
    #[arg(long, value_name = "PERCENT", default_value = "3%", value_parser = part)]
    pub precision: f64,
    /// How starts are spread
    #[arg(long, value_enum, default_value_t = ArrivalArg::Uniform)]
    pub arrival: ArrivalArg,
    /// Fewer requests a second than this are critical
    #[arg(long, value_name = "PER SECOND", value_parser = rate)]
    pub at_least: Option<f64>,
}

/// Of `services`.
#[derive(Debug, Args)]
pub struct ServicesArgs {
    /// The services (TOML)
    pub file: PathBuf,
    /// A host besides this machine that load is meant for; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
    /// Show what would be sent, and stop
    #[arg(long)]
    pub dry_run: bool,
}

/// Of `jwt`.
#[derive(Debug, Args)]
pub struct JwtArgs {
    /// Which algorithms
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Algorithm::ALL)]
    pub alg: Vec<Algorithm>,
    /// Which operations
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Operation::Sign, Operation::Verify])]
    pub op: Vec<Operation>,
    /// How long each is measured
    #[arg(long, default_value = "1s")]
    pub time: HumanDuration,
    /// How many threads do it at the same time
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256).map(usize::from))]
    pub threads: usize,
    /// The claims, a JSON object in a file; without it a usual set of them
    #[arg(long, value_name = "FILE")]
    pub claims: Option<PathBuf>,
}

/// What is done with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Operation {
    /// It is made
    Sign,
    /// It is checked
    Verify,
}

/// Of `micro`.
#[derive(Debug, Args)]
pub struct MicroArgs {
    /// Where criterion keeps its results; without it CRITERION_HOME, or target/criterion
    pub directory: Option<PathBuf>,
    /// The results that are looked at, as criterion names them
    #[arg(long, value_name = "NAME", default_value = "new")]
    pub results: String,
    /// What they are compared with (`cargo bench -- --save-baseline NAME`); without it `base`, where that is of another run
    #[arg(long, value_name = "NAME")]
    pub baseline: Option<String>,
    /// Slower by so much does not matter
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = part)]
    pub tolerance: f64,
}

/// Of `stress`.
#[derive(Debug, Args)]
pub struct StressArgs {
    /// What is loaded: http://, https://, postgres://, redis:// or rediss://
    pub url: String,
    /// Requests a second before and after; without it a third of what goes when nobody waits
    #[arg(short, long, value_name = "PER SECOND", value_parser = rate)]
    pub rate: Option<f64>,
    /// Requests a second at the top; without it twice what goes when nobody waits
    #[arg(short, long, value_name = "PER SECOND", value_parser = rate)]
    pub peak: Option<f64>,
    /// How long it takes to get there
    #[arg(long, default_value = "20s")]
    pub ramp: HumanDuration,
    /// How long it stays there
    #[arg(long, default_value = "5s")]
    pub hold: HumanDuration,
    /// How long it has to be well again
    #[arg(long, default_value = "30s")]
    pub recovery: HumanDuration,
    /// What must hold, separated by commas
    #[arg(long, value_name = "LIMITS", value_delimiter = ',', default_values = LIMITS)]
    pub slo: Vec<Threshold>,
    /// How many connections
    #[arg(short, long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..).map(usize::from))]
    pub connections: usize,
    /// What is asked.
    #[command(flatten)]
    pub what: WhatArgs,
    /// Show what would be sent, and stop
    #[arg(long)]
    pub dry_run: bool,
}

/// Of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// What the other is compared with: http://, https://, postgres://, redis:// or rediss://
    pub before: String,
    /// What may be faster or slower
    pub after: String,
    /// How many runs each
    #[arg(short = 'n', long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(8..=100))]
    pub runs: u8,
    /// Less of a difference does not matter
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = part)]
    pub tolerance: f64,
    /// What is asked.
    #[command(flatten)]
    pub what: WhatArgs,
    /// How.
    #[command(flatten)]
    pub drive: DriveArgs,
}

/// What to do with capacity.
#[derive(Debug, Subcommand)]
pub enum CapacityAction {
    /// Fit the Universal Scalability Law to measured points: contention, coherency, the peak
    Fit(CapacityFitArgs),
}

/// Of `capacity fit`.
#[derive(Debug, Args)]
pub struct CapacityFitArgs {
    /// CSV with the columns load and throughput; `-` reads stdin
    #[arg(value_name = "FILE.csv")]
    pub file: PathBuf,
    /// Which load gives this throughput
    #[arg(long, value_name = "THROUGHPUT", value_parser = rate)]
    pub target: Option<f64>,
}

/// Of `trend`.
#[derive(Debug, Args)]
pub struct TrendArgs {
    /// A table with a heading, or records of runs (a baseline's file is one); the oldest first; `-` reads stdin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only this metric; may be repeated
    #[arg(long, value_name = "NAME")]
    pub metric: Vec<String>,
    /// A change for the worse is critical instead of a warning
    #[arg(long)]
    pub fail_on_worse: bool,
}

/// A part of something: `10%` or `0.1`.
fn part(text: &str) -> Result<f64, String> {
    let value = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    value.ok().filter(|value| (0.0..=10.0).contains(value)).ok_or_else(|| "write 10% or 0.1, at most 1000%".to_owned())
}

/// A variable and its value.
fn define(text: &str) -> Result<(String, i64), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=NUMBER")?;
    Ok((name.to_owned(), value.parse().map_err(|_| format!("{value:?} is no whole number"))?))
}

impl AskArgs {
    /// The request.
    ///
    /// # Errors
    /// The body's file cannot be read.
    pub fn ask(&self) -> Result<Ask, Failure> {
        let body = match self.body.as_deref() {
            None => Vec::new(),
            Some(text) => match text.strip_prefix('@') {
                None => text.as_bytes().to_vec(),
                Some(path) => std::fs::read(PathBuf::from(path))
                    .map_err(|error| Failure::usage(format!("cannot read the body {path}: {error}")))?,
            },
        };
        Ok(Ask { method: self.method.clone(), headers: self.header.clone(), body })
    }
}

impl DriveArgs {
    /// The load.
    pub fn load(&self) -> Load {
        let duration = self.duration.0;
        Load {
            stages: self.rate.map(|rate| vec![Stage::constant(rate, duration)]),
            arrival: self.arrival.seeded(self.seed),
            duration,
            drain: self.drain.0,
            timeout: self.timeout.0,
            connections: self.connections,
            threads: self.threads,
            keep_alive: true,
        }
    }
}

/// A rate that time can be divided by.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1e7).contains(&rate) => Ok(rate),
        _ => Err("a rate is a number of requests a second, from 0.001 to 10000000".to_owned()),
    }
}
