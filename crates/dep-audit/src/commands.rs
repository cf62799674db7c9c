//! From the command line to the commands.

use std::process::ExitCode;

use jiff::Timestamp;
use maint_core::cancel::Cancel;
use maint_core::cli::{common, run_command};
use maint_core::config::{COMMON, Settings};
use maint_core::failure::Failure;
use maint_core::output::Format;
use maint_core::run::{Run, complain};
use maint_core::status::Exit;

use crate::cli::{Cli, Command, SECTION};
use crate::work::Work;
use crate::{TOOL, alert, bin, database, diff, except, outdated, risk, sbom, security_audit, unused, update, why};

const FINDING_COLUMNS: &[&str] = &["kind", "id", "tier", "severity", "patched"];
const OUTDATED_COLUMNS: &[&str] = &["locked", "compatible", "latest", "libyears"];
const EXCEPTION_COLUMNS: &[&str] = &["kind", "standing", "until", "owner"];
const ALERT_COLUMNS: &[&str] = &["event", "id", "tier", "severity"];
const MOVE_COLUMNS: &[&str] = &["from", "to"];

impl Command {
    /// The task's name in records, and the fields that a table shows.
    fn task(&self) -> (&'static str, &'static [&'static str]) {
        match self {
            Command::SecurityAudit(_) => ("security-audit", FINDING_COLUMNS),
            Command::Update(_) => ("update", MOVE_COLUMNS),
            Command::Outdated(_) => ("outdated", OUTDATED_COLUMNS),
            Command::Unused(_) => ("unused", &["code", "table"]),
            Command::Bin(_) => ("bin", FINDING_COLUMNS),
            Command::Why(_) => ("why", &[]),
            Command::Diff(_) => ("diff", MOVE_COLUMNS),
            Command::Risk(_) => ("risk", &["score"]),
            Command::Except { .. } => ("except", EXCEPTION_COLUMNS),
            Command::Alert { .. } => ("alert", ALERT_COLUMNS),
            Command::Sbom(_) => ("sbom", &["packages"]),
            Command::Db { .. } => ("db", &[]),
            Command::Common(_) => ("", &[]),
        }
    }
}

impl Command {
    /// Whether there is such a document of it.
    fn is_written_as(&self, form: &str) -> bool {
        match self {
            Command::SecurityAudit(_) => true,
            Command::Sbom(_) => form == "cyclonedx",
            _ => false,
        }
    }
}

/// Runs the command and returns how the program ends.
pub fn run(cli: &Cli) -> ExitCode {
    maint_core::logging::init(cli.common.verbose, cli.common.quiet, None);
    if let Command::Common(command) = &cli.command {
        return common::<Cli>(command, &cli.common, TOOL, &[&COMMON, &SECTION]).into();
    }
    let (task, columns) = cli.command.task();
    if let Format::Document(form) = cli.common.output
        && !cli.command.is_written_as(form)
    {
        let failure = Failure::usage(format!("{task} is not written as {form}")).hint("security-audit is");
        complain(TOOL, &failure);
        return failure.exit.into();
    }
    let run = Run::start(TOOL, task, cli.common.output, columns);
    run_command(run, async |run, subject| command(cli, run, subject).await).into()
}

#[allow(clippy::unused_async, reason = "signals are listened for inside of the runtime")]
async fn command(cli: &Cli, run: &Run, subject: &mut String) -> Result<Option<Exit>, Failure> {
    let mut settings = Settings::load(cli.common.config.as_deref(), &[&COMMON, &SECTION])?;
    settings.flag(&SECTION, "db", cli.db.as_ref().map(|path| path.display().to_string()))?;
    let mut work = Work {
        run,
        format: cli.common.output,
        settings,
        now: cli.now.unwrap_or_else(Timestamp::now),
        cancel: Cancel::on_signals()?,
        runtime: tokio::runtime::Handle::current(),
        subject: String::new(),
    };
    let cancel = work.cancel.clone();
    let done = tokio::task::block_in_place(|| dispatch(&cli.command, &mut work));
    *subject = work.subject;
    done?;
    Ok(cancel.exit())
}

fn dispatch(command: &Command, work: &mut Work<'_>) -> Result<(), Failure> {
    match command {
        Command::SecurityAudit(args) => security_audit::run(args, work),
        Command::Update(args) => update::run(args, work),
        Command::Outdated(args) => outdated::run(args, work),
        Command::Unused(args) => unused::run(args, work),
        Command::Bin(args) => bin::run(args, work),
        Command::Why(args) => why::run(args, work),
        Command::Diff(args) => diff::run(args, work),
        Command::Risk(args) => risk::run(args, work),
        Command::Except { action } => except::run(action, work),
        Command::Alert { action } => alert::run(action, work),
        Command::Sbom(args) => sbom::run(args, work),
        Command::Db { action } => database::run(action, work),
        // Never comes here: see `run`.
        Command::Common(_) => Ok(()),
    }
}
