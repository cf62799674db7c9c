//! `demo`: Tuesday's routine for real. A private PostgreSQL is filled with a database that has been worked hard and a
//! private Redis with a key space that has been lived in, the built programs are run against them, and what they changed
//! is measured before and after. Then the test of the 15th, and Wednesday's certificate ([`certs`]).

use std::path::{Path, PathBuf};

use clap::Args;
use maint_core::cli::CommonArgs;
use maint_core::failure::Failure;
use maint_core::output::Format;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::{Exit, Status};
use testbed::{Postgres, Redis, RedisVersion, redis, workload};

use crate::routine::Cycle;
use crate::weekly::{WeeklyArgs, routine};
use crate::{report_files, setup, workspace};

mod certs;
mod load;

/// `demo`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Where to leave the report and the journal [default: target/demo]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How large the databases are: 1 is about 100 MB in PostgreSQL and 200,000 keys in Redis
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    scale: f64,
}

const DATABASE: &str = "shop";

/// Keys in Redis at scale 1.
const KEYS: f64 = 200_000.0;

/// What is to go from Redis: pages that take much room, profiles that were kept without a time to live.
const CLEANUP: &str = "# Policy of cache-cleanup: the first rule that matches a key decides.
[[rule]]
name = \"large pages\"
match = \"cache:page:*\"
larger = \"1KiB\"

[[rule]]
name = \"profiles that never expire\"
match = \"cache:user:*\"
type = \"hash\"
no_ttl = true
";

/// What is to expire: every session, within a day.
const EXPIRE: &str = "# Policy of expire-keys.
[[rule]]
name = \"sessions\"
match = \"session:*\"
ttl = \"24h\"
jitter = \"10%\"
";

/// What must have been done before there is a backup to validate.
const PREPARATION: &str = "[weekly]

[monthly.1]
title = \"A first backup\"

[[monthly.1.step]]
command = [\"backup-tool\", \"init\"]
timeout = \"1m\"

[[monthly.1.step]]
command = [\"backup-tool\", \"full-backup\"]
timeout = \"10m\"
";

/// Of the fifteenth of the month, what a demo can show: the programs for the rest come later.
const RECOVERY: &str = "[weekly]

[monthly.15]
title = \"Disaster recovery\"

[[monthly.15.step]]
command = [\"backup-tool\", \"test-restore\"]
timeout = \"10m\"
";

/// Runs the demo; the exit code is there when a signal ended it.
pub(crate) async fn demo(args: &DemoArgs, common: &CommonArgs, run: &Run) -> Result<Option<Exit>, Failure> {
    if !(0.01..=100.0).contains(&args.scale) {
        return Err(Failure::usage("--scale must be between 0.01 and 100"));
    }
    setup::setup(run)?;
    workspace::cargo(&["build", "--release", "--workspace", "--bins", "--exclude", "xtask"], &[])?;
    let dir = args.dir.clone().unwrap_or_else(|| workspace::root().join("target/demo"));
    fresh(&dir)?;
    run.journal_in(&dir.join("state"))?;

    say(common, "starting a private PostgreSQL and filling the database \"shop\"");
    let failed = |error: testbed::Error| Failure::critical(format!("the demo's server: {error}"));
    let server =
        Postgres::builder(testbed::setup::DEBIAN_MAJOR).setting("autovacuum", "off").start().map_err(failed)?;
    server.create_db(DATABASE).map_err(failed)?;
    let filled = workload::fill(&server, DATABASE, args.scale).map_err(failed)?;
    say(
        common,
        &format!("{} in {:.1} s", maint_core::units::format_bytes(filled.size_bytes), filled.elapsed.as_secs_f64()),
    );
    say(common, "starting a private Redis and filling it");
    let cache = Redis::start(RedisVersion::V7_0).map_err(failed)?;
    let keys = redis::workload::fill(&cache, (KEYS * args.scale) as u64, 1).map_err(failed)?;
    say(
        common,
        &format!("{} keys in {:.1} s", maint_core::units::format_count(keys.keys()), keys.elapsed.as_secs_f64()),
    );
    let measure = || -> Result<Vec<Figure>, testbed::Error> {
        let mut figures = measure_postgres(&server)?;
        figures.extend(measure_redis(&cache)?);
        Ok(figures)
    };
    let before = measure().map_err(failed)?;
    let started = jiff::Timestamp::now();
    let demo = Routine { server: &server, cache: &cache, dir: &dir };
    let config = demo.configure()?;

    say(common, "a first backup, for Tuesday to validate");
    let preparation = demo.write("preparation.toml", PREPARATION)?;
    demo.run(Cycle::Month, "1", Some(preparation.into()), &config, common, run).await?;

    say(
        common,
        "Tuesday: pg-maint vacuums and rebuilds, redis-maint expires, cleans and analyses, backup-tool validates",
    );
    let mut exit = demo.run(Cycle::Week, "tuesday", None, &config, common, run).await?;
    if exit.is_none() {
        say(common, "the disaster recovery test of the 15th: the backup is restored, replayed and compared");
        let recovery = demo.write("recovery.toml", RECOVERY)?;
        exit = demo.run(Cycle::Month, "15", Some(recovery.into()), &config, common, run).await?;
    }
    if exit.is_none() {
        let base = std::fs::read_to_string(&config)
            .map_err(|error| Failure::critical(format!("cannot read {}: {error}", config.display())))?;
        exit = load::days(&demo, &base, common, run).await?;
        if exit.is_none() {
            exit = certs::wednesday(&demo, &base, common, run).await?;
        }
    }

    for (before, after) in before.iter().zip(measure().map_err(failed)?) {
        let text = format!("{} -> {}", shown(before), shown(&after));
        run.emit(
            &Record::new(Kind::Metric, before.name, Status::Ok, text)
                .field(&format!("before_{}", before.unit), before.value)
                .field(&format!("after_{}", before.unit), after.value),
        );
    }
    run.flush_journal();
    let report_dir = dir.join("report");
    let (html, journal) =
        report_files::write(&dir.join("state"), &report_dir, "Demo: databases, a restore, a certificate", started)?;
    run.emit(&journal);
    run.emit(&Record::new(Kind::Metric, "report", Status::Ok, format!("open {}", html.display())));
    drop(server);
    drop(cache);
    run.emit(&Record::new(Kind::Metric, "servers", Status::Ok, "every server that was started has been stopped"));
    Ok(exit)
}

struct Routine<'a> {
    server: &'a Postgres,
    cache: &'a Redis,
    dir: &'a Path,
}

impl Routine<'_> {
    fn write(&self, name: &str, text: &str) -> Result<String, Failure> {
        let path = self.dir.join(name);
        maint_core::durable::replace(&path, text.as_bytes(), 0o600)
            .map_err(|error| Failure::critical(error.to_string()))?;
        Ok(path.display().to_string())
    }

    /// Gives a path to the server's account, whose server fetches its log from the repository.
    fn give(&self, path: &Path) -> Result<(), Failure> {
        use std::os::unix::fs::{MetadataExt as _, chown};
        let given = std::fs::metadata(self.server.data_dir())
            .and_then(|owner| chown(path, Some(owner.uid()), Some(owner.gid())));
        given.map_err(|error| Failure::critical(format!("cannot give {} to the server: {error}", path.display())))
    }

    /// The configuration of all programs, and what it names.
    fn configure(&self) -> Result<PathBuf, Failure> {
        let repository = self.dir.join("repository");
        std::fs::create_dir(&repository)
            .map_err(|error| Failure::critical(format!("cannot make {}: {error}", repository.display())))?;
        self.give(&repository)?;
        let password = self.write("password", "a password for the demo")?;
        self.give(Path::new(&password))?;
        let text = format!(
            "[pg-maint]\ndsn = \"{}\"\njobs = 2\nmin_index_size = \"1MiB\"\n\n\
             [redis-maint]\nurl = \"{}\"\ncleanup_policy = \"{}\"\nexpire_policy = \"{}\"\n\n\
             [backup-tool]\ndsn = \"{}\"\nrepository = \"{}\"\npassword_file = \"{}\"\npgdata = \"{}\"\n",
            self.server.url(DATABASE),
            self.cache.url(),
            self.write("cleanup.toml", CLEANUP)?,
            self.write("expire.toml", EXPIRE)?,
            self.server.url(DATABASE),
            repository.display(),
            password,
            self.server.data_dir().display(),
        );
        self.write("maint.toml", &text).map(PathBuf::from)
    }

    /// A day of a routine as cron would start it: processes of their own, told by file and environment where the servers
    /// are.
    async fn run(
        &self,
        cycle: Cycle,
        day: &str,
        routines: Option<PathBuf>,
        config: &Path,
        common: &CommonArgs,
        run: &Run,
    ) -> Result<Option<Exit>, Failure> {
        let common = CommonArgs { config: Some(config.to_owned()), output: Format::Ndjson, ..common.clone() };
        let args = WeeklyArgs::for_day(day, routines, workspace::root().join("target/release"), self.dir.join("state"));
        routine(cycle, &args, &common, run).await
    }
}

/// An empty directory of our own. One that holds something else than an earlier demo is not touched.
fn fresh(dir: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::critical(format!("cannot prepare {}: {error}", dir.display()));
    let mark = dir.join(".maint-demo");
    if dir.exists() {
        let empty = std::fs::read_dir(dir).map_err(failed)?.next().is_none();
        if !empty && !mark.exists() {
            return Err(Failure::usage(format!("{} is not empty and not from an earlier demo", dir.display()))
                .hint("name another directory with --dir"));
        }
        std::fs::remove_dir_all(dir).map_err(failed)?;
    }
    std::fs::create_dir_all(dir.join("state")).map_err(failed)?;
    std::fs::write(mark, "").map_err(failed)
}

fn say(common: &CommonArgs, text: &str) {
    if !common.quiet {
        workspace::say(&format!("demo: {text}"));
    }
}

/// One figure of the database.
struct Figure {
    name: &'static str,
    unit: &'static str,
    value: f64,
}

fn shown(figure: &Figure) -> String {
    maint_core::output::humanize(&format!("_{}", figure.unit), figure.value)
}

/// The figures that the routine is meant to change.
fn measure_postgres(server: &Postgres) -> Result<Vec<Figure>, testbed::Error> {
    let figures = [
        ("dead tuples", "tuples", "SELECT COALESCE(sum(n_dead_tup), 0) FROM pg_stat_user_tables"),
        ("size of all indexes", "bytes", "SELECT COALESCE(sum(pg_relation_size(indexrelid)), 0) FROM pg_stat_user_indexes"),
        ("size of the database", "bytes", "SELECT pg_database_size(current_database())"),
        ("invalid indexes", "indexes", "SELECT count(*) FROM pg_index WHERE NOT indisvalid"),
        (
            "tables whose statistics are stale or missing",
            "tables",
            "SELECT count(*) FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
             WHERE s.last_analyze IS NULL AND s.last_autoanalyze IS NULL OR s.n_mod_since_analyze > 50 + 0.1 * GREATEST(c.reltuples, 0)",
        ),
    ];
    let mut seen = Vec::new();
    for (name, unit, sql) in figures {
        let text = server.psql(DATABASE, sql)?;
        seen.push(Figure { name, unit, value: text.trim().parse().unwrap_or(f64::NAN) });
    }
    Ok(seen)
}

fn measure_redis(cache: &Redis) -> Result<Vec<Figure>, testbed::Error> {
    let keyspace = cache.info("keyspace")?;
    let line = keyspace.get("db0").map_or("", String::as_str);
    let part = |name: &str| {
        let value = line.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse::<f64>().ok()).unwrap_or(f64::NAN)
    };
    let memory = cache.info("memory")?;
    let used = memory.get("used_memory").and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
    Ok(vec![
        Figure { name: "keys in Redis", unit: "keys", value: part("keys") },
        Figure { name: "keys that never expire", unit: "keys", value: part("keys") - part("expires") },
        Figure { name: "memory that Redis uses", unit: "bytes", value: used },
    ])
}
