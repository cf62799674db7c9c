//! `demo`: Tuesday's routine for real. A private PostgreSQL is filled with a database that has been worked hard, the
//! built programs are run against it, and what they changed is measured before and after.

use std::path::{Path, PathBuf};

use clap::Args;
use maint_core::cli::CommonArgs;
use maint_core::failure::Failure;
use maint_core::output::Format;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::{Exit, Status};
use testbed::{Postgres, workload};

use crate::weekly::{WeeklyArgs, weekly};
use crate::{report_files, setup, workspace};

/// `demo`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Where to leave the report and the journal [default: target/demo]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How large the database is: 1 is about 100 MB
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    scale: f64,
}

const DATABASE: &str = "shop";

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
    let before = measure(&server).map_err(failed)?;
    let started = jiff::Timestamp::now();

    say(common, "Tuesday: pg-maint vacuum-analyze, pg-maint reindex-tables, backup-tool validate-backups");
    let tuesday = Routine { server: &server, dir: &dir };
    let exit = tuesday.run(common, run).await?;

    for (before, after) in before.iter().zip(measure(&server).map_err(failed)?) {
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
        report_files::write(&dir.join("state"), &report_dir, "Demo: Tuesday's database routine", started)?;
    run.emit(&journal);
    run.emit(&Record::new(Kind::Metric, "report", Status::Ok, format!("open {}", html.display())));
    drop(server);
    run.emit(&Record::new(Kind::Metric, "servers", Status::Ok, "every server that was started has been stopped"));
    Ok(exit)
}

struct Routine<'a> {
    server: &'a Postgres,
    dir: &'a Path,
}

impl Routine<'_> {
    /// The routine as cron would start it: a process of its own, told by the environment where the server is.
    async fn run(&self, common: &CommonArgs, run: &Run) -> Result<Option<Exit>, Failure> {
        let config = self.dir.join("maint.toml");
        let text =
            format!("[pg-maint]\ndsn = \"{}\"\njobs = 2\nmin_index_size = \"1MiB\"\n", self.server.url(DATABASE));
        maint_core::durable::replace(&config, text.as_bytes(), 0o600)
            .map_err(|error| Failure::critical(error.to_string()))?;
        let common = CommonArgs { config: Some(config), output: Format::Ndjson, ..common.clone() };
        let args = WeeklyArgs::for_day("tuesday", workspace::root().join("target/release"), self.dir.join("state"));
        weekly(&args, &common, run).await
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
fn measure(server: &Postgres) -> Result<Vec<Figure>, testbed::Error> {
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
