//! `database`: PostgreSQL under load, with the workloads and scripts of pgbench.

use std::path::Path;

use maint_core::failure::Failure;
use maint_core::pg::{self, Session, SessionSettings};
use sqlx::Row as _;

use crate::TOOL;
use crate::api::one;
use crate::cli::DatabaseArgs;
use crate::script::{Script, builtin};
use crate::target::Target;
use crate::work::Work;

const MAKE_TABLES: &str = "the tables of the built-in workloads are made by `pgbench -i`";

/// Sends the load and judges what came of it.
///
/// # Errors
/// The database or the script does not hold, or the server cannot be reached.
pub fn run(args: &DatabaseArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let target = target(args.dsn.as_deref(), &args.workload, &args.define, &args.allow_host)?;
    let ran = one(&target, &args.drive.load(), &args.told, work);
    ran.map(|_| ())
        .map_err(|failure| if failure.message.contains("42P01") { failure.hint(MAKE_TABLES) } else { failure })
}

/// A workload for a database.
///
/// # Errors
/// The database or the script does not hold, or the scale is needed and the server cannot be asked for it.
pub fn target(
    dsn: Option<&str>,
    workload: &str,
    define: &[(String, i64)],
    allowed: &[String],
) -> Result<Target, Failure> {
    let database = pg::Target::resolve(dsn, &|name| std::env::var(name).ok())?;
    let text = match builtin(workload) {
        Some(text) => text,
        None => read(workload)?,
    };
    let is_given = define.iter().any(|(name, _)| name == "scale");
    let prepare = |scale: i64| {
        let mut given = define.to_vec();
        given.extend((!is_given).then(|| ("scale".to_owned(), scale)));
        let script =
            Script::parse(&text, &given).map_err(|why| Failure::usage(format!("workload {workload}: {why}")))?;
        Target::postgres(&database, script, allowed)
    };
    // With any scale at first, so that nobody is asked for it before script and host are known to hold.
    let mut target = prepare(1)?;
    if text.contains(":scale") && !is_given {
        target = prepare(tokio::runtime::Handle::current().block_on(scale(&database))?)?;
    }
    Ok(target)
}

fn read(path: &str) -> Result<String, Failure> {
    std::fs::read_to_string(Path::new(path)).map_err(|error| {
        Failure::usage(format!("cannot read the workload {path}: {error}"))
            .hint("select-only, simple-update and tpcb are built in; everything else is a file")
    })
}

/// The scale that `pgbench -i` made its tables with: the number of branches.
async fn scale(database: &pg::Target) -> Result<i64, Failure> {
    let mut session = Session::open(database, SessionSettings::new(TOOL)).await?;
    let found =
        sqlx::raw_sql("SELECT count(*) AS branches FROM public.pgbench_branches").fetch_one(session.conn()).await;
    let branches: i64 = found.and_then(|row| row.try_get("branches")).map_err(|error| {
        Failure::from(pg::Error::from(error))
            .hint("make the tables with `pgbench -i`, or say how large they are: -D scale=1")
    })?;
    session.close().await?;
    if branches < 1 {
        return Err(Failure::usage("pgbench_branches is empty").hint("make the tables with `pgbench -i`"));
    }
    Ok(branches)
}
