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
use crate::{TOOL, api, baseline, capacity, compare, database, jwt, load, micro, redis, services, stress, trend};

const LOAD_COLUMNS: &[&str] = &["requests_per_second", "response_p50_seconds", "response_p95_seconds"];

impl Command {
    /// The task's name in records, and the fields that a table shows.
    fn task(&self) -> (&'static str, &'static [&'static str]) {
        match self {
            Command::Api(_) => ("api", LOAD_COLUMNS),
            Command::Database(_) => ("database", LOAD_COLUMNS),
            Command::Redis(_) => ("redis", LOAD_COLUMNS),
            Command::Jwt(_) => ("jwt", &["operations_per_second"]),
            Command::Micro(_) => ("micro", &["change_ratio"]),
            Command::Load(_) => ("load", LOAD_COLUMNS),
            Command::Baseline(_) => ("baseline", &["runs"]),
            Command::Services(_) => ("services", LOAD_COLUMNS),
            Command::Stress(_) => ("stress", &["requests_per_second"]),
            Command::Compare(_) => ("compare", &["difference_ratio"]),
            Command::Trend(_) => ("trend", &["since"]),
            Command::Capacity(_) => ("capacity", &["requests_per_second"]),
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
    let settings = Settings::load(cli.common.config.as_deref(), &[&COMMON, &SECTION])?;
    let mut work = Work { run, settings, cancel: Cancel::on_signals()?, subject: String::new() };
    let cancel = work.cancel.clone();
    let done = tokio::task::block_in_place(|| dispatch(&cli.command, &mut work));
    *subject = work.subject;
    done?;
    Ok(cancel.exit())
}

fn dispatch(command: &Command, work: &mut Work<'_>) -> Result<(), Failure> {
    match command {
        Command::Api(args) => api::run(args, work),
        Command::Database(args) => database::run(args, work),
        Command::Redis(args) => redis::run(args, work),
        Command::Jwt(args) => jwt::run(args, work),
        Command::Micro(args) => micro::run(args, work),
        Command::Load(args) => load::run(args, work),
        Command::Baseline(args) => baseline::run(args, work),
        Command::Services(args) => services::run(args, work),
        Command::Stress(args) => stress::run(args, work),
        Command::Compare(args) => compare::run(args, work),
        Command::Trend(args) => trend::run(args, work),
        Command::Capacity(args) => capacity::run(args, work),
        // Never comes here: see `run`.
        Command::Common(_) => Ok(()),
    }
}
