//! `VACUUM` and `ANALYZE` of one table.
//!
//! The server reports success also for a table that it skipped (no privilege) and for a vacuum that could remove
//! nothing. So success here is an effect that was seen: the table's vacuum or analyze counter went up, and the dead
//! tuples went away. Notices are recorded for people and never decided by: their text changes with version and language.

use maint_core::pg::Error;
use maint_core::pg::connect::Session;
use maint_core::record::Kind;
use maint_core::status::Status;
use sqlx::Row;

use super::{Outcome, Shared, failed};
use crate::horizon;
use crate::step::{Action, Step};

/// What can be seen of a table without a lock.
struct Seen {
    dead: i64,
    vacuums: i64,
    analyzes: i64,
    allowed: bool,
    busy: Option<(i32, String)>,
}

pub(super) async fn attempt(shared: &Shared<'_>, session: &mut Session, step: &Step) -> Result<Outcome, Error> {
    let Some(before) = look(session, step).await? else {
        let text = "dropped or renamed since the plan was made";
        return Ok(Outcome::Done(Box::new(step.record(Kind::Step, Status::Gone, text))));
    };
    if !before.allowed {
        let text = format!("role {} may not {} it", session.user(), step.action.as_str());
        return Ok(Outcome::Done(Box::new(step.record(Kind::Step, Status::Denied, text))));
    }
    if let Some((pid, what)) = before.busy {
        // Waiting for its lock would make the server cancel an autovacuum in our favour, and lose its work.
        return Ok(Outcome::Later(format!("{what} (pid {pid}) is working on it")));
    }
    let notices = match shared.run_statement(session, &step.sql()).await {
        Ok(notices) => notices,
        Err(Error::LockTimeout(_)) => return Ok(Outcome::Later(locked_by(session, step.oid).await?)),
        Err(Error::Cancelled(_)) if shared.guard.cancel().is_cancelled() => {
            let text = "cancelled: the run was interrupted";
            return Ok(Outcome::Done(Box::new(step.record(Kind::Step, Status::Left, text))));
        }
        Err(Error::Cancelled(_)) => {
            let text = "took longer than step_timeout and was cancelled";
            return Ok(Outcome::Done(Box::new(step.record(Kind::Step, Status::Failed, text))));
        }
        Err(error) => return Ok(failed(step, &error)),
    };
    let Some(after) = look(session, step).await? else {
        return Ok(Outcome::Done(Box::new(step.record(Kind::Step, Status::Gone, "dropped while it was worked on"))));
    };
    let vacuumed = step.action != Action::Vacuum || after.vacuums > before.vacuums;
    let analyzes = step.action == Action::Analyze || step.options.analyze;
    let analyzed = !analyzes || after.analyzes > before.analyzes;
    let mut record = step
        .record(Kind::Step, Status::Ok, done_text(step, &before, &after))
        .field("dead_tuples_before", before.dead)
        .field("dead_tuples_after", after.dead);
    if !notices.is_empty() {
        record = record.field("notices", &notices);
    }
    if !shared.counts {
        record.status = Status::Unknown;
        "it ran, but track_counts is off: its effect cannot be seen".clone_into(&mut record.message);
    } else if !(vacuumed && analyzed) {
        record.status = Status::Failed;
        let said = notices.first().map_or_else(|| "the server said nothing".to_owned(), Clone::clone);
        record.message = format!("the server reported success but did not do it: {said}");
    } else if step.action == Action::Vacuum && before.dead >= 50 && after.dead.saturating_mul(2) > before.dead {
        record.status = Status::Ineffective;
        record.message = format!("{} of {} dead tuples could not be removed", after.dead, before.dead);
        if let Some(holder) = horizon::holders(session).await?.into_iter().next() {
            record.message = format!("{}: {} still needs them; {}", record.message, holder.what, holder.remedy);
            record = record.field("holder", holder.what).field("holder_age_transactions", holder.age);
        } else {
            record.message.push_str("; whoever needed them is gone, so the next vacuum may");
        }
    }
    Ok(Outcome::Done(Box::new(record)))
}

fn done_text(step: &Step, before: &Seen, after: &Seen) -> String {
    match (step.action, step.options.analyze) {
        (Action::Vacuum, true) => format!("vacuumed and analyzed, dead tuples {} -> {}", before.dead, after.dead),
        (Action::Vacuum, false) => format!("vacuumed, dead tuples {} -> {}", before.dead, after.dead),
        _ => "analyzed".to_owned(),
    }
}

async fn look(session: &mut Session, step: &Step) -> Result<Option<Seen>, Error> {
    let allowed = if session.server_version_num() >= 170_000 {
        "pg_catalog.has_table_privilege(c.oid, 'MAINTAIN')"
    } else {
        "pg_catalog.pg_has_role(c.relowner, 'USAGE')"
    };
    let sql = format!(
        "SELECT pg_catalog.pg_stat_get_dead_tuples(c.oid) + COALESCE(pg_catalog.pg_stat_get_dead_tuples(
                    NULLIF(c.reltoastrelid, 0::oid)), 0) AS dead,
                pg_catalog.pg_stat_get_vacuum_count(c.oid) + pg_catalog.pg_stat_get_autovacuum_count(c.oid) AS vacuums,
                pg_catalog.pg_stat_get_analyze_count(c.oid) + pg_catalog.pg_stat_get_autoanalyze_count(c.oid)
                    AS analyzes,
                {allowed} OR NOT c.relisshared AND pg_catalog.pg_has_role((SELECT d.datdba
                    FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()), 'USAGE') AS allowed,
                a.pid, COALESCE(NULLIF(a.backend_type, 'client backend'), a.application_name) AS what
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN (SELECT v.pid, v.relid, v.datid FROM pg_catalog.pg_stat_progress_vacuum v
                    UNION ALL SELECT z.pid, z.relid, z.datid FROM pg_catalog.pg_stat_progress_analyze z) p
             ON p.relid IN (c.oid, NULLIF(c.reltoastrelid, 0::oid)) AND p.pid <> pg_catalog.pg_backend_pid()
             AND p.datid = (SELECT d.oid FROM pg_catalog.pg_database d
                            WHERE d.datname = pg_catalog.current_database())
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = p.pid
         WHERE c.oid = $1::int8::oid AND n.nspname = $2 AND c.relname = $3 AND c.relkind IN ('r', 'm', 'p') LIMIT 1"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(i64::from(step.oid))
        .bind(&step.schema)
        .bind(&step.relation)
        .fetch_optional(session.conn())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let pid: Option<i32> = row.try_get("pid")?;
    let what: Option<String> = row.try_get("what")?;
    Ok(Some(Seen {
        dead: row.try_get::<Option<i64>, _>("dead")?.unwrap_or(0),
        vacuums: row.try_get::<Option<i64>, _>("vacuums")?.unwrap_or(0),
        analyzes: row.try_get::<Option<i64>, _>("analyzes")?.unwrap_or(0),
        allowed: row.try_get("allowed")?,
        busy: pid.map(|pid| (pid, what.unwrap_or_else(|| "another session".to_owned()))),
    }))
}

/// Who holds the lock that a step waited for in vain.
pub(super) async fn locked_by(session: &mut Session, table_oid: u32) -> Result<String, Error> {
    let rows = sqlx::query(
        "SELECT l.pid, l.mode, a.usename::text AS role, a.application_name AS application, a.state,
                EXTRACT(epoch FROM pg_catalog.now() - a.xact_start)::float8 AS seconds
         FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
         WHERE l.locktype = 'relation' AND l.relation = $1::int8::oid AND l.granted
           AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
         ORDER BY l.mode IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock'), a.xact_start LIMIT 1",
    )
    .bind(i64::from(table_oid))
    .fetch_all(session.conn())
    .await?;
    let Some(row) = rows.first() else {
        return Ok("locked by a session that has let go since".to_owned());
    };
    let since = row.try_get::<Option<f64>, _>("seconds")?;
    let since = since.map_or_else(String::new, |s| format!(" for {}", maint_core::units::format_seconds(s)));
    // A prepared transaction holds its locks without a process.
    let Some(pid) = row.try_get::<Option<i32>, _>("pid")? else {
        return Ok(format!(
            "locked ({}) by a prepared transaction; see pg_prepared_xacts",
            row.try_get::<String, _>("mode")?
        ));
    };
    Ok(format!(
        "locked ({}) by pid {pid} (role {}, application {}, {}{since})",
        row.try_get::<String, _>("mode")?,
        row.try_get::<Option<String>, _>("role")?.unwrap_or_else(|| "unknown".to_owned()),
        row.try_get::<Option<String>, _>("application")?
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| "unnamed".to_owned()),
        row.try_get::<Option<String>, _>("state")?.unwrap_or_else(|| "state hidden".to_owned()),
    ))
}
