//! From the command line to the commands.

use maint_core::cancel::Cancel;
use maint_core::cli::{block_on, common};
use maint_core::config::{COMMON, Settings};
use maint_core::failure::Failure;
use maint_core::run::{Run, complain};
use maint_core::status::Exit;

use crate::TOOL;
use crate::cli::{Cli, Command, KeyAction, SECTION, WalAction};
use crate::work::Work;

const BACKUP_COLUMNS: &[&str] = &["kind", "bytes", "stored_bytes", "stop_time"];
const STEP_COLUMNS: &[&str] = &["bytes", "duration_seconds"];
const CHECK_COLUMNS: &[&str] = &["value", "warning", "critical"];

/// Runs the command and returns how the program ends.
pub fn run(cli: &Cli) -> Exit {
    maint_core::logging::init(cli.common.verbose, cli.common.quiet, None);
    let (task, columns) = match &cli.command {
        Command::Common(command) => {
            return common::<Cli>(command, &cli.common, TOOL, &[&COMMON, &SECTION]).unwrap_or_else(|failure| {
                complain(TOOL, &failure);
                failure.exit
            });
        }
        Command::WalPush(_) => ("wal-push", STEP_COLUMNS),
        _ => ("other", BACKUP_COLUMNS),
    };
    let run = Run::start(TOOL, task, cli.common.output, columns);
    let mut subject = String::new();
    match block_on(command(cli, &run, &mut subject)) {
        Ok(Ok(None)) => run.finish(&subject),
        Ok(Ok(Some(exit))) => run.interrupted(&subject, exit),
        Ok(Err(failure)) | Err(failure) => run.fail(&subject, &failure),
    }
}

#[allow(clippy::unused_async, reason = "signals are listened for inside of the runtime")]
async fn command(cli: &Cli, run: &Run, subject: &mut String) -> Result<Option<Exit>, Failure> {
    let mut settings = Settings::load(cli.common.config.as_deref(), &[&COMMON, &SECTION])?;
    settings.flag(&SECTION, "repository", cli.place.repository.as_ref())?;
    settings.flag(
        &SECTION,
        "password_file",
        cli.place.password_file.as_ref().map(|path| path.display().to_string()),
    )?;
    let cancel = Cancel::on_signals()?;
    let runtime = tokio::runtime::Handle::current();
    let mut work = Work { run, settings, cancel: cancel.clone(), runtime, subject: String::new() };
    let done = tokio::task::block_in_place(|| dispatch(&cli.command, &mut work));
    *subject = work.subject;
    done?;
    Ok(cancel.exit())
}

fn dispatch(command: &Command, work: &mut Work<'_>) -> Result<(), Failure> {
    let _ = (command, work, CHECK_COLUMNS, std::any::type_name::<(KeyAction, WalAction)>());
    Err(Failure::usage("not built yet"))
}
