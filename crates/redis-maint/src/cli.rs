//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use maint_core::cli::{ChangeArgs, CommonArgs, CommonCommand, EXIT_CODES};
use maint_core::config::{Key, Section, checked};
use maint_core::units::{HumanDuration, HumanSize};

use crate::scan::Attribute;

/// The keys of `[redis-maint]` in maint.toml.
pub static SECTION: Section = Section {
    name: "redis-maint",
    tables: &[],
    keys: &[
        Key {
            name: "url",
            default: "redis://127.0.0.1:6379/0",
            env: &["REDIS_URL"],
            check: checked::<String>,
            help: "address of the server, of nodes of a cluster, or of sentinels",
        },
        Key {
            name: "password_file",
            default: "",
            env: &["REDIS_PASSWORD_FILE"],
            check: checked::<PathBuf>,
            help: "file with the password, where the URL has none (REDISCLI_AUTH works too)",
        },
        Key {
            name: "tls_ca",
            default: "",
            env: &["REDIS_TLS_CA"],
            check: checked::<PathBuf>,
            help: "PEM file of the CA to trust for rediss:// instead of the system's roots",
        },
        Key {
            name: "tls_cert",
            default: "",
            env: &["REDIS_TLS_CERT"],
            check: checked::<PathBuf>,
            help: "PEM file of our certificate, where the server asks for one",
        },
        Key {
            name: "tls_key",
            default: "",
            env: &["REDIS_TLS_KEY"],
            check: checked::<PathBuf>,
            help: "PEM file of its key",
        },
        Key {
            name: "answer_timeout",
            default: "10s",
            env: &[],
            check: checked::<HumanDuration>,
            help: "how long to wait for an answer of the server",
        },
        Key {
            name: "max_latency",
            default: "150us",
            env: &["REDIS_MAINT_MAX_LATENCY"],
            check: checked::<HumanDuration>,
            help: "how long one of our batches may keep other clients waiting",
        },
        Key {
            name: "patience",
            default: "30s",
            env: &[],
            check: checked::<HumanDuration>,
            help: "how long to look for a server that was lost, a failover included",
        },
        Key {
            name: "wait",
            default: "5m",
            env: &[],
            check: checked::<HumanDuration>,
            help: "how long changes wait for a fork to end or replicas to catch up",
        },
        Key {
            name: "cleanup_policy",
            default: "",
            env: &[],
            check: checked::<PathBuf>,
            help: "policy file of cache-cleanup",
        },
        Key {
            name: "expire_policy",
            default: "",
            env: &[],
            check: checked::<PathBuf>,
            help: "policy file of expire-keys",
        },
        Key {
            name: "big_key",
            default: "1MiB",
            env: &[],
            check: checked::<HumanSize>,
            help: "memory from which a key is a big one",
        },
    ],
};

/// Redis upkeep that never hurts the server, says what it could not see, and takes no key that changed meanwhile.
#[derive(Debug, Parser)]
#[command(name = "redis-maint", version, after_help = EXIT_CODES, after_long_help = AFTER)]
pub struct Cli {
    /// Flags of every program.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The server
    #[command(flatten)]
    pub server: ServerArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "Exit codes: 0 ok, 1 warning or something left, 2 critical, failed or server down, \
3 could not tell (usage, configuration, privilege), 75 not now (another run, or outside the window), \
130/143 interrupted, after clean-up.

Examples:
  redis-maint check -o nagios
  redis-maint memory-optimization --top 20
  redis-maint cache-cleanup --policy cache.toml --dry-run
  redis-maint cache-cleanup --policy cache.toml --dry-run -o ndjson | jq 'select(.data.memory_bytes > 1e6)' | redis-maint apply -
  redis-maint keys --match 'session:*' --with ttl -o ndjson | jq -r 'select(.data.ttl_seconds == null) | .subject'
  redis-maint rdb /var/lib/redis/dump.rdb -o ndjson";

/// Where the server is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// redis://, rediss:// or unix:// URL [default: REDIS_URL, then url in maint.toml, then 127.0.0.1]
    #[arg(long, value_name = "URL", global = true)]
    pub url: Option<String>,
    /// The URL names nodes of a cluster; a cluster is recognised without it where INFO is permitted
    #[arg(long, global = true, conflicts_with = "sentinel")]
    pub cluster: bool,
    /// The URL names sentinels; ask them for the primary called NAME
    #[arg(long, value_name = "NAME", global = true)]
    pub sentinel: Option<String>,
    /// PEM file of the CA to trust for rediss://
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_ca: Option<PathBuf>,
    /// How long one of our batches may keep other clients waiting [default: 150us]
    #[arg(long, value_name = "DURATION", global = true)]
    pub max_latency: Option<HumanDuration>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Remove the keys that a policy says are to go, each only when it is still what was seen
    CacheCleanup(PolicyArgs),
    /// Give a time to live to the keys that a policy says should have one
    ExpireKeys(PolicyArgs),
    /// Say where the memory goes, and what would save some
    MemoryOptimization(MemoryArgs),
    /// Watch hit rate, latency, slow log, clients, memory, replication and persistence
    PerformanceMonitor(MonitorArgs),
    /// Look at everything once and judge it
    Check,
    /// One record a key, for pipelines
    Keys(KeysArgs),
    /// One record a key of a snapshot file, without a server
    Rdb(RdbArgs),
    /// Everything about the server on one HTML page
    Report(ReportArgs),
    /// Carry out the steps of a plan read from FILE or stdin, exactly those
    Apply(ApplyArgs),
    /// Completions, manual page, configuration.
    #[command(flatten)]
    Common(CommonCommand),
}

/// Which databases.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// Every database that holds keys, not only the one of the URL
    #[arg(long)]
    pub all_dbs: bool,
}

/// `cache-cleanup` and `expire-keys`.
#[derive(Debug, Clone, Args)]
pub struct PolicyArgs {
    /// The policy [default: cleanup_policy or expire_policy in maint.toml]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Where
    #[command(flatten)]
    pub databases: DatabaseArgs,
    /// Guards
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `memory-optimization`.
#[derive(Debug, Clone, Args)]
pub struct MemoryArgs {
    /// Biggest keys and pattern groups to list
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Ask the lengths of values too: counts as a hit, and before Redis 7.2 resets idle times
    #[arg(long)]
    pub lengths: bool,
    /// Ask MEMORY USAGE only: no types, times to live or encodings, and no trace in the server's statistics
    #[arg(long, conflicts_with = "lengths")]
    pub traceless: bool,
    /// Elements of a collection that MEMORY USAGE looks at; 0 for all
    #[arg(long, value_name = "N", default_value_t = crate::scan::DEFAULT_SAMPLES)]
    pub samples: u32,
    /// Read from a replica
    #[arg(long)]
    pub replica: bool,
    /// Give unused memory back to the system afterwards (MEMORY PURGE)
    #[arg(long)]
    pub purge: bool,
    /// Turn active defragmentation on where fragmentation calls for it (CONFIG SET activedefrag)
    #[arg(long)]
    pub defrag: bool,
    /// With --purge or --defrag: show what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Where
    #[command(flatten)]
    pub databases: DatabaseArgs,
}

/// `performance-monitor`.
#[derive(Debug, Clone, Args)]
pub struct MonitorArgs {
    /// Time between two looks [default: judge once, against the last run]
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<HumanDuration>,
    /// Looks to take; without it, until interrupted
    #[arg(long, value_name = "N", requires = "interval")]
    pub count: Option<u64>,
    /// The N keys that are used most, as a server with an LFU eviction policy counts them; walks over all keys
    #[arg(long, value_name = "N", conflicts_with = "interval")]
    pub hot_keys: Option<usize>,
}

/// What can be asked about keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum With {
    /// Its type
    Type,
    /// Its time to live
    Ttl,
    /// How it is stored
    Encoding,
    /// How long nobody touched it
    Idle,
    /// How often it is used, under an LFU policy
    Freq,
    /// Its length; before Redis 7.2 this resets its idle time
    Length,
}

impl From<With> for Attribute {
    fn from(with: With) -> Self {
        match with {
            With::Type => Attribute::Type,
            With::Ttl => Attribute::Expiry,
            With::Encoding => Attribute::Encoding,
            With::Idle => Attribute::Idle,
            With::Freq => Attribute::Frequency,
            With::Length => Attribute::Length,
        }
    }
}

/// `keys`.
#[derive(Debug, Clone, Args)]
pub struct KeysArgs {
    /// Only names that match this glob
    #[arg(long = "match", value_name = "GLOB")]
    pub pattern: Option<String>,
    /// Ask this as well, at the price of a hit a key in the server's statistics
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    pub with: Vec<With>,
    /// Names only
    #[arg(long, conflicts_with = "with")]
    pub names: bool,
    /// Elements of a collection that MEMORY USAGE looks at; 0 for all
    #[arg(long, value_name = "N", default_value_t = crate::scan::DEFAULT_SAMPLES)]
    pub samples: u32,
    /// Read from a replica
    #[arg(long)]
    pub replica: bool,
    /// Keep the position in FILE, and go on from there when an earlier walk left one
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// Where
    #[command(flatten)]
    pub databases: DatabaseArgs,
}

/// `rdb`.
#[derive(Debug, Clone, Args)]
pub struct RdbArgs {
    /// The snapshot, or - for stdin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only names that match this glob
    #[arg(long = "match", value_name = "GLOB")]
    pub pattern: Option<String>,
    /// Where the memory goes, instead of one record a key
    #[arg(long)]
    pub summary: bool,
    /// With --summary: biggest keys and pattern groups to list
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
}

/// `report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// The page to write
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Biggest keys and pattern groups to list
    #[arg(long, value_name = "N", default_value_t = 25)]
    pub top: usize,
    /// Read the keys from a replica
    #[arg(long)]
    pub replica: bool,
    /// Where
    #[command(flatten)]
    pub databases: DatabaseArgs,
}

/// `apply`.
#[derive(Debug, Clone, Args)]
pub struct ApplyArgs {
    /// The plan: a file of records, or - for stdin
    #[arg(value_name = "FILE")]
    pub plan: PathBuf,
    /// Guards
    #[command(flatten)]
    pub change: ChangeArgs,
}
