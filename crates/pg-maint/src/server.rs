//! Getting to the server and its databases: sessions, the lock that keeps two runs apart, and how errors end a run.

use maint_core::failure::Failure;
use maint_core::pg::Error;
use maint_core::pg::advisory::{self, AdvisoryLock};
use maint_core::pg::cancel::Control;
use maint_core::pg::connect::{Session, SessionSettings};
use maint_core::pg::dsn::Target;
use maint_core::pg::server::{ServerInfo, SkipReason, databases};
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::Status;

use crate::need::Place;

/// The class of this program's advisory locks: "pgmt" in ASCII.
const LOCK_CLASS: i32 = 0x7067_6d74;

/// A session that only looks: read-only, and it never waits long for a lock, so that it cannot become part of a jam.
///
/// # Errors
/// The server cannot be reached, or refuses.
pub async fn looking(target: &Target, task: &str) -> Result<Session, Failure> {
    let settings = SessionSettings {
        lock_timeout: Some(std::time::Duration::from_millis(100)),
        statement_timeout: Some(std::time::Duration::from_secs(60)),
        read_only: true,
        ..SessionSettings::new(format!("pg-maint {task}"))
    };
    open(target, settings).await
}

/// The session that holds the run's lock and cancels its statements, and beside it one that only looks.
///
/// # Errors
/// The server cannot be reached, a pooler stands before it, or another run is under way in the database: exit 75.
pub async fn control(target: &Target, task: &str) -> Result<(Control, Session), Failure> {
    let settings = SessionSettings::new(format!("pg-maint {task} (control)"));
    let mut control = Control::open(target, settings).await.map_err(Failure::from)?;
    let mut second = looking(target, task).await?;
    advisory::detect_transaction_pooler(control.session(), &mut second).await.map_err(Failure::from)?;
    match AdvisoryLock::try_acquire(control.session(), LOCK_CLASS, "pg-maint").await.map_err(Failure::from)? {
        advisory::Outcome::Acquired(_) => Ok((control, second)),
        advisory::Outcome::Held(holder) => {
            let pid = holder
                .pid
                .map_or_else(|| "of a session that has ended since".to_owned(), |pid| format!("of pid {pid}"));
            let name = holder.application_name.map_or_else(String::new, |name| format!(" ({name})"));
            let since = holder.since.map_or_else(String::new, |since| format!(", connected since {since:.0}"));
            let database = control.session().database().to_owned();
            Err(Failure::not_now(format!("another run is under way in database {database}, that {pid}{name}{since}"))
                .hint("wait for it, or end it"))
        }
    }
}

async fn open(target: &Target, settings: SessionSettings) -> Result<Session, Failure> {
    Session::open(target, settings).await.map_err(Failure::from)
}

/// Where a session is: server, database, version.
///
/// # Errors
/// The server did not answer, or is too old.
pub async fn place(session: &mut Session) -> Result<Place, Failure> {
    let info = ServerInfo::read(session).await.map_err(Failure::from)?;
    if info.version_num < 130_000 {
        let version = info.version_num / 10_000;
        return Err(Failure::usage(format!("PostgreSQL {version} is not supported: 13 is the oldest that is")));
    }
    if info.in_recovery {
        return Err(Failure::usage("this server is a standby: nothing can be maintained on it")
            .hint("connect to its primary; what is done there reaches the standby"));
    }
    Ok(Place {
        server: info.system_identifier.map(|id| id.to_string()),
        database: session.database().to_owned(),
        version: session.server_version_num(),
    })
}

/// The databases to work in: the target's own, or with `all` every one that takes connections. A half-dropped one is
/// reported.
///
/// # Errors
/// The server did not answer.
pub async fn targets(run: &Run, target: &Target, task: &str, all: bool) -> Result<Vec<Target>, Failure> {
    if !all {
        return Ok(vec![target.clone()]);
    }
    let mut session = looking(target, task).await?;
    let found = databases(&mut session).await.map_err(Failure::from)?;
    let mut targets = Vec::new();
    for database in found {
        match database.skip_reason() {
            None => targets.push(target.with_database(&database.name)),
            // Nobody can connect to template0, by design: that is no news.
            Some(SkipReason::ConnectionsNotAllowed) => tracing::info!("{} takes no connections", database.name),
            Some(reason @ SkipReason::HalfDropped) => {
                let record = Record::new(Kind::Finding, &database.name, Status::Warning, reason.to_string());
                run.emit(&record.field("kind", "half-dropped"));
            }
        }
    }
    Ok(targets)
}

/// How many steps may run at a time: as many as asked for, but three connections of the server stay free for others.
///
/// # Errors
/// The server did not answer, or not even one connection is to be had.
pub async fn jobs(run: &Run, session: &mut Session, wanted: usize) -> Result<usize, Failure> {
    let free: i64 = sqlx::query_scalar(
        "SELECT pg_catalog.current_setting('max_connections')::int8
                - pg_catalog.current_setting('superuser_reserved_connections')::int8
                - COALESCE(pg_catalog.current_setting('reserved_connections', true), '0')::int8
                - (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend')",
    )
    .fetch_one(session.conn())
    .await
    .map_err(|error| Failure::from(Error::from(error)))?;
    let room = usize::try_from(free - 3).unwrap_or(0);
    if room >= wanted {
        return Ok(wanted);
    }
    if free < 1 {
        return Err(Failure::critical("the server has no connection left for ordinary roles; nothing was started")
            .hint("see pg-maint monitor-connections"));
    }
    let jobs = room.max(1);
    let text = format!("{jobs} instead of {wanted} steps at a time: only {free} connections are free");
    run.emit(&Record::new(Kind::Finding, session.database(), Status::Ok, text).field("kind", "headroom"));
    Ok(jobs)
}

/// The oid of the session's database.
///
/// # Errors
/// The server did not answer.
pub async fn database_oid(session: &mut Session) -> Result<u32, Failure> {
    let oid: i64 = sqlx::query_scalar(
        "SELECT d.oid::int8 FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()",
    )
    .fetch_one(session.conn())
    .await
    .map_err(|error| Failure::from(Error::from(error)))?;
    Ok(oid as u32)
}
