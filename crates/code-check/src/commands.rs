//! From the command line to the commands.

use std::process::ExitCode;

use maint_core::cancel::Cancel;
use maint_core::cli::{common, run_command};
use maint_core::config::{COMMON, Settings};
use maint_core::failure::Failure;
use maint_core::run::Run;
use maint_core::status::Exit;

use crate::cli::{Cli, Command, SECTION};
use crate::work::Work;
use crate::workspace::Workspace;
use crate::{TOOL, architecture, clean, documentation, warnings};

const WARNING_COLUMNS: &[&str] = &["code", "warnings", "ratchet"];
const CLEAN_COLUMNS: &[&str] = &["kind", "file", "line", "value", "limit"];
const DOCUMENTATION_COLUMNS: &[&str] = &["kind", "checked", "findings"];
const ARCHITECTURE_COLUMNS: &[&str] = &["code_lines", "public_items", "modules", "fan_in", "fan_out"];

impl Command {
    /// The task's name in records, and the fields that a table shows.
    fn task(&self) -> (&'static str, &'static [&'static str]) {
        match self {
            Command::Warnings(_) => ("warnings", WARNING_COLUMNS),
            Command::Clean(_) => ("clean", CLEAN_COLUMNS),
            Command::Documentation(_) => ("documentation", DOCUMENTATION_COLUMNS),
            Command::Architecture(_) => ("architecture", ARCHITECTURE_COLUMNS),
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
    let (task, columns) = cli.command.task();
    let run = Run::start(TOOL, task, cli.common.output, columns);
    run_command(run, async |run, subject| command(cli, run, subject).await).into()
}

#[allow(clippy::unused_async, reason = "signals are listened for inside of the runtime")]
async fn command(cli: &Cli, run: &Run, subject: &mut String) -> Result<Option<Exit>, Failure> {
    let mut settings = Settings::load(cli.common.config.as_deref(), &[&COMMON, &SECTION])?;
    settings.flag(&SECTION, "timeout", cli.place.timeout)?;
    let mut work = Work {
        run,
        settings,
        cancel: Cancel::on_signals()?,
        runtime: tokio::runtime::Handle::current(),
        subject: String::new(),
    };
    let cancel = work.cancel.clone();
    let done = tokio::task::block_in_place(|| dispatch(cli, &mut work));
    *subject = work.subject;
    // What a command says that was stopped is about being stopped.
    match cancel.exit() {
        Some(exit) => Ok(Some(exit)),
        None => done.map(|()| None),
    }
}

fn dispatch(cli: &Cli, work: &mut Work<'_>) -> Result<(), Failure> {
    let workspace = Workspace::load(&cli.place, work)?;
    work.subject = workspace.root.display().to_string();
    match &cli.command {
        Command::Warnings(args) => warnings::run(args, &workspace, work),
        Command::Clean(args) => clean::run(args, &workspace, work),
        Command::Documentation(args) => documentation::run(args, &workspace, work),
        Command::Architecture(args) => architecture::run(args, &workspace, work),
        // Never comes here: see `run`.
        Command::Common(_) => Ok(()),
    }
}
