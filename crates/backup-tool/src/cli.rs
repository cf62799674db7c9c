//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use maint_core::cli::{ChangeArgs, CommonArgs, CommonCommand, EXIT_CODES};
use maint_core::config::{Section, checked, key};
use maint_core::units::{HumanDuration, HumanSize};

use crate::lsn::Lsn;
use crate::recovery::target::Wanted;

/// The keys of `[backup-tool]` in maint.toml; file sets are tables below it (`[backup-tool.sets.NAME]`).
pub static SECTION: Section = Section {
    name: "backup-tool",
    tables: &["sets"],
    keys: &[
        key(
            "repository",
            "",
            &["BACKUP_REPOSITORY"],
            checked::<String>,
            "directory of the repository, or s3://BUCKET/PREFIX",
        ),
        key("password_file", "", &["BACKUP_PASSWORD_FILE"], checked::<PathBuf>, "file with the repository's password"),
        key(
            "key_file",
            "",
            &["BACKUP_KEY_FILE"],
            checked::<PathBuf>,
            "file with the repository's master keys, made by init, so that unattended runs need not derive them",
        ),
        key("second_repository", "", &[], checked::<String>, "where `copy` copies to"),
        key(
            "second_password_file",
            "",
            &[],
            checked::<PathBuf>,
            "file with the second repository's password; the first one's when not set",
        ),
        key("dsn", "", &["DATABASE_URL"], checked::<String>, "connection string or URL of the server"),
        key("pgdata", "", &["PGDATA"], checked::<PathBuf>, "data directory of the cluster"),
        key(
            "pg_bindir",
            "",
            &["PG_BINDIR"],
            checked::<PathBuf>,
            "directory of the server's programs; found by the cluster's version when not set",
        ),
        key(
            "spool",
            "",
            &[],
            checked::<PathBuf>,
            "directory for asynchronous archiving; not asynchronous when not set",
        ),
        key("spool_limit", "16GiB", &[], checked::<HumanSize>, "warn when more than this waits to be archived"),
        key("wal_workers", "2", &[], checked::<usize>, "threads that archive or fetch at the same time"),
        key("wal_timeout", "60s", &[], checked::<HumanDuration>, "how long wal-push waits for the asynchronous worker"),
        key(
            "full_every",
            "7d",
            &[],
            checked::<HumanDuration>,
            "database-backup takes a full backup when the last one is older",
        ),
        key("reread_every", "6", &[], checked::<u32>, "every so many incremental backups read all files again"),
        key("keep_full", "4", &[], checked::<usize>, "expire keeps this many full backups, and what lies between them"),
        key("keep_days", "30", &[], checked::<u32>, "expire keeps what a recovery into the last so many days needs"),
        key("keep_sets", "30", &[], checked::<usize>, "expire keeps this many backups of every file set"),
        key("max_age_full", "8d", &[], checked::<HumanDuration>, "monitor-backups: a full backup must be younger"),
        key("max_age", "26h", &[], checked::<HumanDuration>, "monitor-backups: some backup must be younger"),
        key("max_rpo", "15m", &[], checked::<HumanDuration>, "monitor-backups: at most so much work may be lost"),
        key(
            "max_backlog",
            "32",
            &[],
            checked::<u64>,
            "monitor-backups: at most so many segments may wait to be archived",
        ),
        key(
            "max_age_verify",
            "8d",
            &[],
            checked::<HumanDuration>,
            "monitor-backups: backups must have been verified since",
        ),
        key(
            "max_age_restore",
            "35d",
            &[],
            checked::<HumanDuration>,
            "monitor-backups: a test restore must have passed since",
        ),
        key("disk_days", "14", &[], checked::<u32>, "monitor-backups: the repository's disk must last so many days"),
    ],
};

/// Backups of PostgreSQL and of files, and proof that they come back.
#[derive(Debug, Parser)]
#[command(name = "backup-tool", version, after_help = EXIT_CODES, after_long_help = AFTER)]
pub struct Cli {
    /// Flags of every program.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The repository.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "Exit codes: 0 ok, 1 warning or something left, 2 critical, failed or damaged, \
3 could not tell or refused before anything was touched, 75 not now (another run, or outside the window), \
130/143 interrupted, after clean-up. wal-push and wal-fetch end as PostgreSQL wants: 0, 1, and 200 where the server \
must not go on.

Examples:
  backup-tool init
  backup-tool full-backup --pgdata /var/lib/postgresql/15/main
  backup-tool pitr-backup
  backup-tool list -o ndjson | jq -r 'select(.data.kind == \"full\") | .subject'
  backup-tool pitr-recovery '2026-11-23 05:00+00' --target-dir /srv/restored --dry-run
  backup-tool monitor-backups -o nagios";

/// Where the repository is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Repository")]
pub struct PlaceArgs {
    /// Directory or s3://BUCKET/PREFIX [default: repository in maint.toml]
    #[arg(long, value_name = "PLACE", global = true)]
    pub repository: Option<String>,
    /// File with its password [default: password_file in maint.toml]
    #[arg(long, value_name = "FILE", global = true)]
    pub password_file: Option<PathBuf>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create the repository
    Init(InitArgs),
    /// Passwords of the repository
    Key {
        /// What to do with them
        #[command(subcommand)]
        action: KeyAction,
    },
    /// List backups, oldest first
    List(ListArgs),
    /// Everything about one backup
    Info(BackupArg),
    /// Say which backups and WAL have had their time; remove them with --apply
    Expire(ExpireArgs),
    /// Keep a backup whatever the rules say, or no more
    Pin(PinArgs),
    /// Give back the space of what was expired
    Prune(PruneArgs),
    /// Mend the repository's index and set aside snapshots that lost data
    Repair(ChangeArgs),
    /// Copy what is missing to the second repository
    Copy(CopyArgs),

    /// Take a full backup of a cluster
    FullBackup(ClusterBackupArgs),
    /// Take a backup that reads only the files that changed; it restores alone
    IncrementalBackup(IncrementalArgs),
    /// Take the backup that is due: full or incremental
    DatabaseBackup(ClusterBackupArgs),
    /// Set continuous archiving up and prove that it works
    PitrBackup(PitrBackupArgs),
    /// archive_command: store a WAL file (%p)
    WalPush(WalPushArgs),
    /// restore_command: fetch a WAL file (%f %p)
    WalFetch(WalFetchArgs),
    /// The archived WAL
    Wal {
        /// What to look at
        #[command(subcommand)]
        action: WalAction,
    },
    /// Back up file sets of the configuration
    ConfigBackup(ConfigBackupArgs),

    /// Restore a backup and replay all that was archived since
    DatabaseRecovery(DatabaseRecoveryArgs),
    /// Restore a cluster as it was at a moment
    PitrRecovery(PitrRecoveryArgs),
    /// Bring one table back as it was, beside the one that is there
    TableRecovery(TableRecoveryArgs),

    /// Verify what is stored: all of it, or a slice
    ValidateBackups(ValidateArgs),
    /// Restore into a scratch cluster and prove that it is whole
    TestRestore(TestRestoreArgs),
    /// Ages, backlog, gaps, what could be lost now, and how long the disk lasts
    MonitorBackups(MonitorArgs),
    /// Completions, manual page, configuration.
    #[command(flatten)]
    Common(CommonCommand),
}

/// `init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// Expected size of the cluster, which decides how finely its files are divided: up to 200 GiB by 32 KiB, up to
    /// 1 TiB by 64 KiB, above by 128 KiB
    #[arg(long, value_name = "SIZE", default_value = "100GiB")]
    pub cluster_size: HumanSize,
}

/// `key`.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyAction {
    /// List the passwords' keys
    List,
    /// Add a second password
    Add(NewPasswordArgs),
    /// Replace the password in use by a new one
    Rotate(NewPasswordArgs),
}

/// `key add`, `key rotate`.
#[derive(Debug, Clone, Args)]
pub struct NewPasswordArgs {
    /// File with the new password
    #[arg(long, value_name = "FILE")]
    pub new_password_file: PathBuf,
    /// Guards
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// A backup.
#[derive(Debug, Clone, Args)]
pub struct BackupArg {
    /// Label, the beginning of a snapshot's id, or `latest`
    #[arg(default_value = "latest")]
    pub backup: String,
}

/// `list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Only backups of this file set
    #[arg(long, value_name = "NAME")]
    pub set: Option<String>,
    /// Only backups of clusters
    #[arg(long, conflicts_with = "set")]
    pub clusters: bool,
}

/// `expire`.
#[derive(Debug, Clone, Args)]
pub struct ExpireArgs {
    /// Remove them; without it they are only listed
    #[arg(long)]
    pub apply: bool,
    /// Keep this many full backups [default: keep_full in maint.toml]
    #[arg(long, value_name = "N")]
    pub keep_full: Option<usize>,
    /// Keep what a recovery into the last so many days needs [default: keep_days in maint.toml]
    #[arg(long, value_name = "DAYS")]
    pub keep_days: Option<u32>,
    /// Guards
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `pin`.
#[derive(Debug, Clone, Args)]
pub struct PinArgs {
    /// The backup
    #[command(flatten)]
    pub backup: BackupArg,
    /// Let the rules decide again
    #[arg(long)]
    pub remove: bool,
    /// Guards
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `prune`.
#[derive(Debug, Clone, Args)]
pub struct PruneArgs {
    /// Go on although more than half of the snapshots are gone since the last prune
    #[arg(long)]
    pub force: bool,
    /// Guards
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `copy`.
#[derive(Debug, Clone, Args)]
pub struct CopyArgs {
    /// Directory or s3://BUCKET/PREFIX [default: second_repository in maint.toml]
    #[arg(long, value_name = "PLACE")]
    pub to: Option<String>,
    /// Guards
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Which server.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// Connection string or URL [default: DATABASE_URL, then PG* variables]
    #[arg(long, value_name = "DSN")]
    pub dsn: Option<String>,
}

/// Which data directory.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// Data directory [default: PGDATA, then pgdata in maint.toml]
    #[arg(long, short = 'D', value_name = "DIR")]
    pub pgdata: Option<PathBuf>,
}

/// `full-backup`, `database-backup`.
#[derive(Debug, Clone, Args)]
pub struct ClusterBackupArgs {
    /// Where the files are
    #[command(flatten)]
    pub data: DataArgs,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
    /// Let the checkpoint at the beginning take its time instead of hurrying it
    #[arg(long)]
    pub spread_checkpoint: bool,
    /// Guards
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `incremental-backup`.
#[derive(Debug, Clone, Args)]
pub struct IncrementalArgs {
    /// As for a full one
    #[command(flatten)]
    pub backup: ClusterBackupArgs,
    /// Take unchanged files from this backup [default: the newest]
    #[arg(long, value_name = "BACKUP")]
    pub parent: Option<String>,
    /// Read every file all the same
    #[arg(long)]
    pub force_read: bool,
}

/// `pitr-backup`.
#[derive(Debug, Clone, Args)]
pub struct PitrBackupArgs {
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
    /// Change archive_mode, archive_command and archive_timeout where they are not right yet
    #[arg(long)]
    pub setup: bool,
    /// An unfinished segment is archived after this long
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub archive_timeout: HumanDuration,
    /// How long to wait for the proof to arrive in the archive
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub wait: HumanDuration,
    /// Guards
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `wal-push`.
#[derive(Debug, Clone, Args)]
pub struct WalPushArgs {
    /// The file: %p of archive_command; relative to the data directory, which is the working directory then
    #[arg(value_name = "PATH", required_unless_present = "worker")]
    pub path: Option<PathBuf>,
    /// Be the asynchronous worker of this pg_wal directory (started by wal-push itself)
    #[arg(long, value_name = "PG_WAL", hide = true, conflicts_with = "path")]
    pub worker: Option<PathBuf>,
}

/// `wal-fetch`.
#[derive(Debug, Clone, Args)]
pub struct WalFetchArgs {
    /// The file's name: %f of restore_command
    pub name: String,
    /// Where to put it: %p of restore_command
    #[arg(value_name = "DEST")]
    pub destination: PathBuf,
}

/// `wal`.
#[derive(Debug, Clone, Subcommand)]
pub enum WalAction {
    /// Runs of segments that follow each other, a timeline at a time
    List(WalListArgs),
    /// What is missing between the first backup and the end of the archive
    Gaps,
    /// Moments that can be recovered: commits, and named restore points
    Points(WalPointsArgs),
}

/// `wal list`.
#[derive(Debug, Clone, Args)]
pub struct WalListArgs {
    /// Every segment by itself
    #[arg(long)]
    pub each: bool,
}

/// `wal points`.
#[derive(Debug, Clone, Args)]
pub struct WalPointsArgs {
    /// Only from this moment on
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,
    /// Only up to this moment
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// Only named restore points
    #[arg(long)]
    pub named: bool,
}

/// `config-backup`.
#[derive(Debug, Clone, Args)]
pub struct ConfigBackupArgs {
    /// The sets [default: all]
    #[arg(value_name = "SET")]
    pub sets: Vec<String>,
    /// Guards
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Where a restored cluster goes.
#[derive(Debug, Clone, Args)]
pub struct DestinationArgs {
    /// Restore into this directory, which must be empty or not there yet
    #[arg(long, value_name = "DIR", required_unless_present = "in_place")]
    pub target_dir: Option<PathBuf>,
    /// Restore in the place of this stopped cluster; its files are moved aside first, and kept
    #[arg(long, value_name = "PGDATA", conflicts_with = "target_dir")]
    pub in_place: Option<PathBuf>,
    /// Put a tablespace elsewhere (may be given several times)
    #[arg(long, value_name = "OLD=NEW")]
    pub tablespace_map: Vec<String>,
    /// Start the server afterwards and wait until it has recovered
    #[arg(long)]
    pub start: bool,
}

/// `database-recovery`.
#[derive(Debug, Clone, Args)]
pub struct DatabaseRecoveryArgs {
    /// Which
    #[command(flatten)]
    pub backup: BackupArg,
    /// Stop as soon as the cluster is consistent, and replay nothing after the backup
    #[arg(long)]
    pub immediate: bool,
    /// Follow this timeline: `latest`, `current` (the backup's), or a number
    #[arg(long, value_name = "TIMELINE", default_value = "latest")]
    pub timeline: String,
    /// Where to
    #[command(flatten)]
    pub destination: DestinationArgs,
    /// Guards
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `pitr-recovery`.
#[derive(Debug, Clone, Args)]
pub struct PitrRecoveryArgs {
    /// The target
    #[command(flatten)]
    pub target: TargetArgs,
    /// Where to
    #[command(flatten)]
    pub destination: DestinationArgs,
    /// Guards
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// To which point.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false, id = "point")]
pub struct PointArgs {
    /// A moment: '2026-11-23 05:00:00.123456+00' (with an offset, or in this host's time zone)
    #[arg(value_name = "TIMESTAMP")]
    pub timestamp: Option<String>,
    /// A position in the log
    #[arg(long)]
    pub lsn: Option<Lsn>,
    /// A transaction
    #[arg(long)]
    pub xid: Option<u64>,
    /// A named restore point
    #[arg(long)]
    pub name: Option<String>,
}

/// To which point, on which way.
#[derive(Debug, Clone, Args)]
pub struct TargetArgs {
    /// The point
    #[command(flatten)]
    pub point: PointArgs,
    /// Stop just before the point instead of just after it
    #[arg(long)]
    pub exclusive: bool,
    /// `latest` that holds the point, `current` (the backup's), or a number
    #[arg(long, value_name = "TIMELINE")]
    pub timeline: Option<String>,
}

impl TargetArgs {
    /// What was asked for.
    ///
    /// # Errors
    /// A moment or a timeline that cannot be read; the text is for the operator.
    pub fn wanted(&self) -> Result<Wanted, String> {
        Wanted::parse(self)
    }
}

/// `table-recovery`.
#[derive(Debug, Clone, Args)]
pub struct TableRecoveryArgs {
    /// The table: `NAME` or `SCHEMA.NAME`
    pub table: String,
    /// As it was at this moment
    #[arg(long, value_name = "TIMESTAMP")]
    pub to: String,
    /// The database it is in [default: the one of the connection]
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Put it into this schema, which is created when it is not there
    #[arg(long, value_name = "SCHEMA", required_unless_present = "rename")]
    pub into: Option<String>,
    /// Put it beside the one that is there, under this name
    #[arg(long, value_name = "NAME", conflicts_with = "into")]
    pub rename: Option<String>,
    /// Where the scratch cluster may be [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Where the server is
    #[command(flatten)]
    pub server: ServerArgs,
    /// Guards
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// `validate-backups`.
#[derive(Debug, Clone, Args)]
pub struct ValidateArgs {
    /// Only these backups [default: everything in the repository]
    #[arg(value_name = "BACKUP")]
    pub backups: Vec<String>,
    /// Read everything again, also what was verified before
    #[arg(long)]
    pub all: bool,
    /// Read at most this much; the next run goes on where this one stopped
    #[arg(long, value_name = "SIZE")]
    pub slice: Option<HumanSize>,
    /// Read again what was verified longer ago than this
    #[arg(long, value_name = "DURATION", default_value = "30d")]
    pub older_than: HumanDuration,
}

/// `test-restore`.
#[derive(Debug, Clone, Args)]
pub struct TestRestoreArgs {
    /// Which
    #[command(flatten)]
    pub backup: BackupArg,
    /// Replay up to this moment [default: all that was archived]
    #[arg(long, value_name = "TIMESTAMP")]
    pub to: Option<String>,
    /// Where the scratch cluster may be [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// A file of queries that must each return `true` in the restored database
    #[arg(long, value_name = "FILE")]
    pub sql: Option<PathBuf>,
}

/// `monitor-backups`.
#[derive(Debug, Clone, Args)]
pub struct MonitorArgs {
    /// Where the server is; without one only the repository is looked at
    #[command(flatten)]
    pub server: ServerArgs,
}
