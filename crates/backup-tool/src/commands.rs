//! From the command line to the commands.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use maint_core::cancel::Cancel;
use maint_core::cli::{block_on, common, run_command};
use maint_core::config::{COMMON, Settings};
use maint_core::failure::Failure;
use maint_core::run::Run;
use maint_core::status::Exit;

use crate::cli::{Cli, Command, KeyAction, SECTION, WalAction};
use crate::work::Work;
use crate::{
    TOOL, config_backup, copy, database_backup, database_recovery, expire, full_backup, incremental_backup, info, init,
    key, list, monitor_backups, pin, pitr_backup, pitr_recovery, prune, repair, table_recovery, test_restore,
    validate_backups, wal,
};

const BACKUP_COLUMNS: &[&str] = &["kind", "size_bytes", "stored_bytes", "stop_time", "pinned"];
const STEP_COLUMNS: &[&str] = &["label", "size_bytes", "stored_bytes", "duration_seconds"];
const CHECK_COLUMNS: &[&str] = &["value", "objects", "size_bytes"];
const WAL_COLUMNS: &[&str] = &["first", "last", "segments", "stored_bytes"];
const POINT_COLUMNS: &[&str] = &["time", "lsn", "xid", "name"];

impl Command {
    /// The task's name in records, and the fields that a table shows.
    fn task(&self) -> (&'static str, &'static [&'static str]) {
        match self {
            Command::Init(_) => ("init", STEP_COLUMNS),
            Command::Key { .. } => ("key", STEP_COLUMNS),
            Command::List(_) => ("list", BACKUP_COLUMNS),
            Command::Info(_) => ("info", BACKUP_COLUMNS),
            Command::Expire(_) => ("expire", STEP_COLUMNS),
            Command::Pin(_) => ("pin", STEP_COLUMNS),
            Command::Prune(_) => ("prune", STEP_COLUMNS),
            Command::Repair(_) => ("repair", STEP_COLUMNS),
            Command::Copy(_) => ("copy", STEP_COLUMNS),
            Command::FullBackup(_) => ("full-backup", STEP_COLUMNS),
            Command::IncrementalBackup(_) => ("incremental-backup", STEP_COLUMNS),
            Command::DatabaseBackup(_) => ("database-backup", STEP_COLUMNS),
            Command::PitrBackup(_) => ("pitr-backup", STEP_COLUMNS),
            Command::WalPush(_) => ("wal-push", STEP_COLUMNS),
            Command::WalFetch(_) => ("wal-fetch", STEP_COLUMNS),
            Command::Wal { action: WalAction::Points(_) } => ("wal-points", POINT_COLUMNS),
            Command::Wal { action: WalAction::List(_) } => ("wal-list", WAL_COLUMNS),
            Command::Wal { action: WalAction::Gaps } => ("wal-gaps", WAL_COLUMNS),
            Command::ConfigBackup(_) => ("config-backup", STEP_COLUMNS),
            Command::DatabaseRecovery(_) => ("database-recovery", STEP_COLUMNS),
            Command::PitrRecovery(_) => ("pitr-recovery", STEP_COLUMNS),
            Command::TableRecovery(_) => ("table-recovery", STEP_COLUMNS),
            Command::ValidateBackups(_) => ("validate-backups", CHECK_COLUMNS),
            Command::TestRestore(_) => ("test-restore", CHECK_COLUMNS),
            Command::MonitorBackups(_) => ("monitor-backups", CHECK_COLUMNS),
            Command::Common(_) => ("", &[]),
        }
    }
}

/// Runs the command and returns how the program ends.
pub fn run(cli: &Cli) -> ExitCode {
    maint_core::logging::init(cli.common.verbose, cli.common.quiet, None);
    if let Command::Common(command) = &cli.command {
        return common::<Cli>(command, &cli.common, TOOL, &[&COMMON, &SECTION]).into();
    }
    if let Command::WalPush(_) | Command::WalFetch(_) = &cli.command {
        return called_by_the_server(cli);
    }
    let (task, columns) = cli.command.task();
    let run = Run::start(TOOL, task, cli.common.output, columns);
    run_command(run, async |run, subject| command(cli, run, subject).await).into()
}

/// `wal-push` and `wal-fetch`: PostgreSQL decides what their exit codes mean, and their stdout goes into its log, so they
/// write no records.
fn called_by_the_server(cli: &Cli) -> ExitCode {
    let (task, columns) = cli.command.task();
    let run = Run::start(TOOL, task, cli.common.output, columns);
    let called = async {
        let mut work = work(cli, &run)?;
        Ok::<u8, Failure>(tokio::task::block_in_place(|| match &cli.command {
            Command::WalPush(args) => wal::push::run(args, &mut work),
            Command::WalFetch(args) => wal::fetch::run(args, &mut work),
            _ => wal::push::FAILED,
        }))
    };
    let otherwise = if task == "wal-push" { wal::push::FAILED } else { wal::fetch::ABORT };
    // The code of a panic (101) in a library would be "end of the archive" to the server.
    let code = match catch_unwind(AssertUnwindSafe(|| block_on(called))) {
        Ok(Ok(Ok(code))) => code,
        Ok(Ok(Err(failure)) | Err(failure)) => {
            wal::push::complain(task, &failure);
            otherwise
        }
        Err(_) => otherwise,
    };
    ExitCode::from(code)
}

#[allow(clippy::unused_async, reason = "signals are listened for inside of the runtime")]
async fn command(cli: &Cli, run: &Run, subject: &mut String) -> Result<Option<Exit>, Failure> {
    let mut work = work(cli, run)?;
    let cancel = work.cancel.clone();
    let done = tokio::task::block_in_place(|| dispatch(&cli.command, &mut work));
    *subject = work.subject;
    done?;
    Ok(cancel.exit())
}

fn work<'a>(cli: &Cli, run: &'a Run) -> Result<Work<'a>, Failure> {
    let mut settings = Settings::load(cli.common.config.as_deref(), &[&COMMON, &SECTION])?;
    settings.flag(&SECTION, "repository", cli.place.repository.as_ref())?;
    settings.flag(
        &SECTION,
        "password_file",
        cli.place.password_file.as_ref().map(|path| path.display().to_string()),
    )?;
    let runtime = tokio::runtime::Handle::current();
    Ok(Work { run, settings, cancel: Cancel::on_signals()?, runtime, subject: String::new() })
}

fn dispatch(command: &Command, work: &mut Work<'_>) -> Result<(), Failure> {
    match command {
        Command::Init(args) => init::run(args, work),
        Command::Key { action: KeyAction::List } => key::list(work),
        Command::Key { action: KeyAction::Add(args) } => key::add(args, work),
        Command::Key { action: KeyAction::Rotate(args) } => key::rotate(args, work),
        Command::List(args) => list::run(args, work),
        Command::Info(args) => info::run(args, work),
        Command::Expire(args) => expire::run(args, work),
        Command::Pin(args) => pin::run(args, work),
        Command::Prune(args) => prune::run(args, work),
        Command::Repair(args) => repair::run(args, work),
        Command::Copy(args) => copy::run(args, work),
        Command::FullBackup(args) => full_backup::run(args, work),
        Command::IncrementalBackup(args) => incremental_backup::run(args, work),
        Command::DatabaseBackup(args) => database_backup::run(args, work),
        Command::PitrBackup(args) => pitr_backup::run(args, work),
        Command::Wal { action: WalAction::List(args) } => wal::list::run(args, work),
        Command::Wal { action: WalAction::Gaps } => wal::gaps::run(work),
        Command::Wal { action: WalAction::Points(args) } => wal::points::run(args, work),
        Command::ConfigBackup(args) => config_backup::run(args, work),
        Command::DatabaseRecovery(args) => database_recovery::run(args, work),
        Command::PitrRecovery(args) => pitr_recovery::run(args, work),
        Command::TableRecovery(args) => table_recovery::run(args, work),
        Command::ValidateBackups(args) => validate_backups::run(args, work),
        Command::TestRestore(args) => test_restore::run(args, work),
        Command::MonitorBackups(args) => monitor_backups::run(args, work),
        // These two never come here: see `run`.
        Command::WalPush(_) | Command::WalFetch(_) | Command::Common(_) => Ok(()),
    }
}
