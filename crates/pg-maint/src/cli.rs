//! The command line.

use clap::{Args, Parser, Subcommand};
use maint_core::cli::{ChangeArgs, CommonArgs, CommonCommand, EXIT_CODES};
use maint_core::config::{Key, Section, checked};
use maint_core::units::{HumanDuration, HumanRatio, HumanSize};

use crate::select::Selection;

/// The keys of `[pg-maint]` in maint.toml.
pub static SECTION: Section = Section {
    name: "pg-maint",
    tables: &[],
    keys: &[
        Key {
            name: "dsn",
            default: "",
            env: &["DATABASE_URL"],
            check: checked::<String>,
            help: "URL or key=value string of the server",
        },
        Key {
            name: "jobs",
            default: "2",
            env: &["PG_MAINT_JOBS"],
            check: checked::<std::num::NonZeroU16>,
            help: "steps at a time; fewer where the server has too few free connections",
        },
        Key {
            name: "lock_timeout",
            default: "2s",
            env: &["PG_MAINT_LOCK_TIMEOUT"],
            check: checked::<HumanDuration>,
            help: "how long a step waits for a lock before it is tried again later",
        },
        Key {
            name: "retries",
            default: "3",
            env: &[],
            check: checked::<u32>,
            help: "how often a locked table is tried again",
        },
        Key {
            name: "step_timeout",
            default: "4h",
            env: &[],
            check: checked::<HumanDuration>,
            help: "how long one step may run before it is cancelled",
        },
        Key {
            name: "min_score",
            default: "1",
            env: &[],
            check: checked::<f64>,
            help: "need from which a table is taken; 1 is where autovacuum acts",
        },
        Key {
            name: "bloat",
            default: "30%",
            env: &[],
            check: checked::<HumanRatio>,
            help: "bloat from which an index is rebuilt",
        },
        Key {
            name: "min_index_size",
            default: "8MiB",
            env: &[],
            check: checked::<HumanSize>,
            help: "smaller indexes are not rebuilt for bloat",
        },
        Key {
            name: "connections_warning",
            default: "70%",
            env: &[],
            check: checked::<HumanRatio>,
            help: "share of a connection limit in use that is a warning",
        },
        Key {
            name: "connections_critical",
            default: "90%",
            env: &[],
            check: checked::<HumanRatio>,
            help: "share of a connection limit in use that is critical",
        },
        Key {
            name: "idle_in_transaction",
            default: "5m",
            env: &[],
            check: checked::<HumanDuration>,
            help: "how long a session may idle in a transaction before it is a warning",
        },
    ],
};

/// PostgreSQL upkeep that does what is needed, says what it could not do, and never hides either.
#[derive(Debug, Parser)]
#[command(name = "pg-maint", version, after_help = EXIT_CODES, after_long_help = AFTER)]
pub struct Cli {
    /// Flags of every program.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The server: URL or key=value string [default: DATABASE_URL, then dsn in maint.toml; PG* fill in what is missing]
    #[arg(long, value_name = "DSN", global = true, help_heading = "Common options")]
    pub dsn: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "Exit codes: 0 ok, 1 warning or something left, 2 critical, failed or server down, \
3 could not tell (usage, configuration, privilege), 75 not now (another run, or outside the window), \
130/143 interrupted, after clean-up.

Examples:
  pg-maint vacuum-analyze --dry-run
  pg-maint vacuum-analyze -j 4 --max-duration 30m --window 'Sat..Sun 01:00-05:00 Europe/Madrid'
  pg-maint plan -o ndjson | jq 'select(.data.score > 2)' | pg-maint apply -
  pg-maint monitor-connections -o nagios";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Vacuum and analyze the tables that need it, the most needed first
    VacuumAnalyze(VacuumArgs),
    /// Rebuild broken and bloated indexes concurrently
    ReindexTables(ReindexArgs),
    /// Gather statistics where they are stale or missing, partitioned tables included
    UpdateStatistics(StatisticsArgs),
    /// Judge the connections: by role, database, application and state, against every limit
    MonitorConnections(ConnectionsArgs),
    /// The ranked list of everything that needs doing, with a reason each; `apply -` carries it out
    Plan(PlanArgs),
    /// Carry out the steps of a plan read from FILE or stdin, exactly those; --yes lets them drop what other programs left
    Apply(ApplyArgs),
    /// Completions, manual page, configuration.
    #[command(flatten)]
    Common(CommonCommand),
}

/// Where to work.
#[derive(Debug, Clone, Args)]
pub struct WhereArgs {
    /// Which tables
    #[command(flatten)]
    pub selection: Selection,
    /// Every database of the server that takes connections
    #[arg(long)]
    pub all: bool,
}

/// How steps run.
#[derive(Debug, Clone, Args)]
pub struct StepArgs {
    /// Steps at a time
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<std::num::NonZeroU16>,
    /// How long a step waits for a lock
    #[arg(long, value_name = "DURATION")]
    pub lock_timeout: Option<HumanDuration>,
    /// How often a locked table is tried again
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    /// How long one step may run
    #[arg(long, value_name = "DURATION")]
    pub step_timeout: Option<HumanDuration>,
    /// Guards
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `vacuum-analyze`.
#[derive(Debug, Clone, Args)]
pub struct VacuumArgs {
    /// Where
    #[command(flatten)]
    pub place: WhereArgs,
    /// How
    #[command(flatten)]
    pub steps: StepArgs,
    /// Take every table, needed or not, the longest not vacuumed first
    #[arg(long)]
    pub every: bool,
    /// Take tables from this need on [default: 1, where autovacuum acts]
    #[arg(long, value_name = "SCORE")]
    pub min_score: Option<f64>,
    /// Freeze every tuple that can be frozen
    #[arg(long)]
    pub freeze: bool,
    /// Give empty pages back to the file system (takes an ACCESS EXCLUSIVE lock for a moment)
    #[arg(long)]
    pub truncate: bool,
}

/// `update-statistics`.
#[derive(Debug, Clone, Args)]
pub struct StatisticsArgs {
    /// Where
    #[command(flatten)]
    pub place: WhereArgs,
    /// How
    #[command(flatten)]
    pub steps: StepArgs,
    /// Take every table, the longest not analyzed first
    #[arg(long)]
    pub every: bool,
    /// Only what has no statistics at all
    #[arg(long, conflicts_with = "every")]
    pub missing: bool,
    /// Take tables from this need on [default: 1, where autovacuum acts]
    #[arg(long, value_name = "SCORE")]
    pub min_score: Option<f64>,
}

/// What makes an index due.
#[derive(Debug, Clone, Args)]
pub struct BloatArgs {
    /// Rebuild indexes with this much bloat or more [default: 30%]
    #[arg(long, value_name = "RATIO")]
    pub bloat: Option<HumanRatio>,
    /// Leave smaller indexes alone, unless they are broken [default: 8MiB]
    #[arg(long, value_name = "SIZE")]
    pub min_index_size: Option<HumanSize>,
    /// Also drop what unfinished rebuilds of other programs left behind
    #[arg(long)]
    pub cleanup_leftovers: bool,
}

/// `reindex-tables`.
#[derive(Debug, Clone, Args)]
pub struct ReindexArgs {
    /// Where
    #[command(flatten)]
    pub place: WhereArgs,
    /// How
    #[command(flatten)]
    pub steps: StepArgs,
    /// What
    #[command(flatten)]
    pub bloat: BloatArgs,
    /// Rebuild every index, the largest first; with --max-duration the longest not rebuilt first
    #[arg(long)]
    pub every: bool,
}

/// `plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// Where
    #[command(flatten)]
    pub place: WhereArgs,
    /// What
    #[command(flatten)]
    pub bloat: BloatArgs,
    /// List what has at least this need [default: 1]
    #[arg(long, value_name = "SCORE")]
    pub min_score: Option<f64>,
}

/// `apply`.
#[derive(Debug, Clone, Args)]
pub struct ApplyArgs {
    /// The plan: a file of records, or - for stdin
    #[arg(value_name = "FILE")]
    pub plan: std::path::PathBuf,
    /// How
    #[command(flatten)]
    pub steps: StepArgs,
}

/// `monitor-connections`.
#[derive(Debug, Clone, Args)]
pub struct ConnectionsArgs {
    /// Share of a limit in use that is a warning [default: 70%]
    #[arg(short, long, value_name = "RATIO")]
    pub warning: Option<HumanRatio>,
    /// Share of a limit in use that is critical [default: 90%]
    #[arg(short, long, value_name = "RATIO")]
    pub critical: Option<HumanRatio>,
    /// How long a session may idle in a transaction [default: 5m]
    #[arg(long, value_name = "DURATION")]
    pub idle_in_transaction: Option<HumanDuration>,
}
