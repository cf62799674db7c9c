//! From the command line to the commands.

use std::process::ExitCode;

use jiff::Timestamp;
use maint_core::cancel::Cancel;
use maint_core::cli::{block_on, common, run_command};
use maint_core::config::{COMMON, Settings};
use maint_core::failure::Failure;
use maint_core::run::Run;
use maint_core::status::Exit;

use crate::cli::{Cli, Command};
use crate::config::SECTION;
use crate::work::Work;
use crate::{
    TOOL, account, ca, check_renewal, convert, generate_secrets, history, import, inspect, inventory,
    letsencrypt_renewal, limbo, probe, revoke, rollback, rotate, secrets, validate,
};

const STEP_COLUMNS: &[&str] = &["generation", "not_after", "duration_seconds"];
const DUE_COLUMNS: &[&str] = &["remaining_seconds", "not_after", "renew_at"];
const VERDICT_COLUMNS: &[&str] = &["code", "strict", "webpki", "not_after"];
const AUTHORITY_COLUMNS: &[&str] = &["code", "not_after", "key"];
const CERT_COLUMNS: &[&str] = &["subject", "not_after", "key"];
const FILE_COLUMNS: &[&str] = &["format", "mode"];
const SEEN_COLUMNS: &[&str] = &["protocol", "subject", "not_after"];
const SECRET_COLUMNS: &[&str] = &["kind", "fingerprint", "age_seconds"];

impl Command {
    /// The task's name in records, and the fields that a table shows.
    fn task(&self) -> (&'static str, &'static [&'static str]) {
        match self {
            Command::Rotate(_) => ("rotate", STEP_COLUMNS),
            Command::LetsencryptRenewal(_) => ("letsencrypt-renewal", STEP_COLUMNS),
            Command::CheckRenewal(_) => ("check-renewal", DUE_COLUMNS),
            Command::Validate(_) => ("validate", VERDICT_COLUMNS),
            Command::Rollback(_) => ("rollback", STEP_COLUMNS),
            Command::History(_) => ("history", CERT_COLUMNS),
            Command::Inventory(_) => ("inventory", CERT_COLUMNS),
            Command::Inspect(_) => ("inspect", CERT_COLUMNS),
            Command::Probe(_) => ("probe", SEEN_COLUMNS),
            Command::Convert(_) => ("convert", FILE_COLUMNS),
            Command::Ca { .. } => ("ca", AUTHORITY_COLUMNS),
            Command::Account { .. } => ("account", STEP_COLUMNS),
            Command::Revoke(_) => ("revoke", STEP_COLUMNS),
            Command::Import { .. } => ("import", STEP_COLUMNS),
            Command::GenerateSecrets(_) => ("generate-secrets", SECRET_COLUMNS),
            Command::Secrets { .. } => ("secrets", SECRET_COLUMNS),
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
    // Its answer is a document of its own, which a summary would spoil.
    if matches!(&cli.command, Command::Validate(args) if args.limbo.is_some()) {
        let mut subject = String::new();
        return match block_on(command(cli, &run, &mut subject)) {
            Ok(Ok(_)) => Exit::Ok,
            Ok(Err(failure)) | Err(failure) => run.fail(&subject, &failure),
        }
        .into();
    }
    run_command(run, async |run, subject| command(cli, run, subject).await).into()
}

#[allow(clippy::unused_async, reason = "signals are listened for inside of the runtime")]
async fn command(cli: &Cli, run: &Run, subject: &mut String) -> Result<Option<Exit>, Failure> {
    let settings = Settings::load(cli.common.config.as_deref(), &[&COMMON, &SECTION])?;
    let mut work = Work {
        run,
        settings,
        certs: cli.certs.clone(),
        now: cli.at.unwrap_or_else(Timestamp::now),
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
        Command::Rotate(args) => rotate::run(args, work),
        Command::LetsencryptRenewal(args) => letsencrypt_renewal::run(args, work),
        Command::CheckRenewal(args) => check_renewal::run(args, work),
        Command::Validate(args) => match &args.limbo {
            Some(suite) => limbo::run(suite, work),
            None => validate::run(args, work),
        },
        Command::Rollback(args) => rollback::run(args, work),
        Command::History(args) => history::run(args, work),
        Command::Inventory(args) => inventory::run(args, work),
        Command::Inspect(args) => inspect::run(args, work),
        Command::Probe(args) => probe::run(args, work),
        Command::Convert(args) => convert::run(args, work),
        Command::Ca { action } => ca::run(action, work),
        Command::Account { action } => account::run(action, work),
        Command::Revoke(args) => revoke::run(args, work),
        Command::Import { action } => import::run(action, work),
        Command::GenerateSecrets(args) => generate_secrets::run(args, work),
        Command::Secrets { action } => secrets::run(action, work),
        // Never comes here: see `run`.
        Command::Common(_) => Ok(()),
    }
}
