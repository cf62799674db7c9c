//! `pitr-backup`: continuous archiving, set up and proven.
//!
//! That the settings look right proves nothing. What proves it is one round trip: a segment is finished on purpose, and
//! must turn up in the archive, whole, within the time that was given.

use std::time::{Duration, Instant};

use maint_core::cli::{open_guard, state_directory};
use maint_core::confirm::confirm;
use maint_core::failure::Failure;
use maint_core::pg::connect::{Session, SessionSettings};
use maint_core::pg::quote_literal;
use maint_core::record::{Kind, Record};
use maint_core::status::{Exit, Status};
use sqlx::Row as _;

use crate::TOOL;
use crate::cli::PitrBackupArgs;
use crate::server::archiving::{self, Archiving};
use crate::wal::archive::{Archive, ArchiveError};
use crate::wal::name::{Segment, WalName};
use crate::work::Work;

/// A setting of the server, as it is and as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    name: &'static str,
    is: String,
    should_be: String,
    /// Whether the server must be restarted for it.
    restart: bool,
}

/// Looks at the settings, changes them with `--setup`, and proves the archive.
///
/// # Errors
/// The server or the repository cannot be reached.
pub fn run(args: &PitrBackupArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    let store = work.store()?;
    let target = work.target(&args.server)?;
    work.subject = target.to_string();
    let mut session = work.block_on(Session::open(&target, SessionSettings::new(format!("{TOOL} pitr-backup"))))?;
    let now = work.block_on(archiving::settings(&mut session))?;
    if now.in_recovery {
        return Err(Failure::usage("this server is a standby: what it archives is its primary's")
            .hint("connect to the primary"));
    }
    let command = work.own_command("wal-push %p")?;
    let wrong = wanted(&now, &command, args.archive_timeout.0);
    if !wrong.is_empty() && !args.setup {
        for setting in &wrong {
            let message = format!("{} should be {}", shown(&setting.is), shown(&setting.should_be));
            work.run
                .emit(&Record::new(Kind::Check, setting.name, Status::Critical, message).field("value", &setting.is));
        }
        return Err(
            Failure::critical("archiving is not set up").hint("run it again with --setup, or change these settings")
        );
    }
    if args.change.dry_run {
        for setting in &wrong {
            let message = format!("{} -> {}", shown(&setting.is), shown(&setting.should_be));
            work.run.emit(&Record::new(Kind::Plan, setting.name, Status::Planned, message));
        }
        let message = "finish a segment and wait for it in the archive";
        work.run.emit(&Record::new(Kind::Plan, "proof", Status::Planned, message));
        return Ok(());
    }
    work.run.journal_in(&state_directory()?)?;
    if !wrong.is_empty() {
        if !now.command.is_empty() && now.command != command {
            let what = format!("replace archive_command of {target}, which is `{}`", now.command);
            confirm(&what, args.change.yes).map_err(|error| Failure::usage(error.to_string()))?;
        }
        let restart = set_up(work, &mut session, &wrong)?;
        if restart {
            return Err(Failure::new(Exit::Warning, "archiving begins when the server is restarted")
                .hint("restart it, then run pitr-backup again for the proof"));
        }
    }
    let identifier = identifier(work, &mut session)?;
    let archive = Archive::new(store.storage().clone(), store.keys(), identifier);
    prove(work, &mut session, &archive, args.wait.0)
}

fn shown(value: &str) -> String {
    if value.is_empty() { "empty".to_owned() } else { format!("`{value}`") }
}

/// What is not as it should be.
fn wanted(now: &Archiving, command: &str, timeout: Duration) -> Vec<Wanted> {
    let mut wrong = Vec::new();
    let mut want = |name, is: &str, should_be: &str, right: bool, restart| {
        if !right {
            wrong.push(Wanted { name, is: is.to_owned(), should_be: should_be.to_owned(), restart });
        }
    };
    want("wal_level", &now.wal_level, "replica", now.wal_level != "minimal", true);
    want("archive_mode", &now.mode, "on", now.mode != "off", true);
    want("archive_library", &now.library, "", now.library.is_empty(), false);
    want("archive_command", &now.command, command, now.command == command, false);
    let limit = timeout.as_secs();
    let right = now.timeout_seconds > 0 && now.timeout_seconds <= limit;
    want("archive_timeout", &now.timeout_seconds.to_string(), &limit.to_string(), right, false);
    wrong
}

/// Changes the settings, and looks whether the server took them; says whether it must be restarted.
fn set_up(work: &Work<'_>, session: &mut Session, wrong: &[Wanted]) -> Result<bool, Failure> {
    for setting in wrong {
        let sql = format!("ALTER SYSTEM SET {} = {}", setting.name, quote_literal(&setting.should_be));
        work.block_on(session.execute_raw(&sql)).result?;
    }
    work.block_on(session.execute_raw("SELECT pg_catalog.pg_reload_conf()")).result?;
    let mut restart = false;
    for setting in wrong {
        let (status, message) = if setting.restart {
            restart = true;
            (Status::Warning, format!("set to {}; the server must be restarted for it", shown(&setting.should_be)))
        } else if effective(work, session, setting)? {
            (Status::Ok, format!("set to {}", shown(&setting.should_be)))
        } else {
            (Status::Ineffective, format!("set to {}, but another place overrides it", shown(&setting.should_be)))
        };
        work.run.emit(&Record::new(Kind::Step, setting.name, status, message).field("value", &setting.should_be));
    }
    Ok(restart)
}

/// Whether the server works with the new value: it takes a moment after the reload.
fn effective(work: &Work<'_>, session: &mut Session, setting: &Wanted) -> Result<bool, Failure> {
    for _ in 0..50 {
        let sql = "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = $1";
        let query = sqlx::query_scalar::<_, String>(sql).bind(setting.name);
        let value = work.block_on(query.fetch_one(session.conn())).map_err(maint_core::pg::Error::from)?;
        if value == setting.should_be {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(false)
}

fn identifier(work: &Work<'_>, session: &mut Session) -> Result<u64, Failure> {
    let sql = "SELECT system_identifier FROM pg_catalog.pg_control_system()";
    let query = sqlx::query_scalar::<_, i64>(sql);
    let identifier = work.block_on(query.fetch_one(session.conn())).map_err(maint_core::pg::Error::from)?;
    Ok(identifier.cast_unsigned())
}

/// Finishes a segment and waits for it in the archive.
fn prove(work: &Work<'_>, session: &mut Session, archive: &Archive, wait: Duration) -> Result<(), Failure> {
    // A segment into which nothing was written is not finished by a switch.
    let sql = "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_logical_emit_message(false, 'backup-tool', 'proof'))";
    let query = sqlx::raw_sql(sql).fetch_one(session.conn());
    let row = work.block_on(query).map_err(maint_core::pg::Error::from)?;
    let name: String = row.try_get(0).map_err(maint_core::pg::Error::from)?;
    let segment: Segment = name.parse().map_err(|error| Failure::critical(format!("the server says {error}")))?;
    work.block_on(session.execute_raw("SELECT pg_catalog.pg_switch_wal()")).result?;
    let begun = Instant::now();
    let arrived = loop {
        match archive.fetch(WalName::Segment(segment)) {
            Ok(_) => break true,
            Err(ArchiveError::Absent { .. }) if begun.elapsed() < wait && !work.cancel.is_cancelled() => {
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(ArchiveError::Absent { .. }) => break false,
            Err(error) => return Err(error.into()),
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    let record = |status, message: String| {
        Record::new(Kind::Step, name.clone(), status, message).field("duration_seconds", seconds)
    };
    if arrived {
        work.run.emit(&record(Status::Ok, "finished on purpose, archived by the server, read back whole".to_owned()));
        return Ok(());
    }
    let archiver = work.block_on(archiving::archiver(session))?;
    let why = match (&archiver.last_failed_wal, archiver.is_failing()) {
        (Some(name), true) => format!("the server's archiver fails on {name}: see the server's log"),
        _ => "the server's archiver says nothing of a failure: is its archive another one?".to_owned(),
    };
    work.run.emit(&record(Status::Failed, format!("not in the archive after {seconds:.0} s; {why}")));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> Archiving {
        Archiving {
            wal_level: "replica".into(),
            mode: "on".into(),
            command: "ours".into(),
            library: String::new(),
            timeout_seconds: 60,
            in_recovery: false,
        }
    }

    #[test]
    fn settings_that_are_right_are_left_alone() {
        let minute = Duration::from_secs(60);
        assert!(wanted(&right(), "ours", minute).is_empty());
        let logical = Archiving { wal_level: "logical".into(), mode: "always".into(), timeout_seconds: 30, ..right() };
        assert!(wanted(&logical, "ours", minute).is_empty());
    }

    #[test]
    fn each_setting_that_is_wrong_is_named() {
        let wrong = Archiving {
            wal_level: "minimal".into(),
            mode: "off".into(),
            command: "true".into(),
            library: "other".into(),
            timeout_seconds: 0,
            ..right()
        };
        let names: Vec<_> = wanted(&wrong, "ours", Duration::from_secs(60)).iter().map(|w| w.name).collect();
        assert_eq!(names, ["wal_level", "archive_mode", "archive_library", "archive_command", "archive_timeout"]);
    }
}
