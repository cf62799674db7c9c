//! Chores and routines of the workspace: `cargo xtask demo | test | setup | weekly | monthly | report | bench`.
//!
//! The routines start the built programs as child processes and link none of them. Every chore reports as the programs
//! do: records on stdout, progress on stderr, one exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use maint_core::cli::{CommonArgs, EXIT_CODES, block_on};
use maint_core::failure::Failure;
use maint_core::run::Run;
use maint_core::status::Exit;

use routine::Cycle;

mod bench;
mod demo;
mod report;
mod report_files;
mod routine;
mod setup;
mod test;
mod weekly;
mod workspace;

const TOOL: &str = "xtask";

/// Chores and routines of the maintenance workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run Tuesday's routine on a private PostgreSQL that has been worked hard, and report before and after
    Demo(demo::DemoArgs),
    /// Format, lint, build and run all tests, those against real servers included
    Test,
    /// Install what the tests and the demo need
    Setup,
    /// Run the maintenance week, or one day of it
    Weekly(weekly::WeeklyArgs),
    /// Run the maintenance month, or one day of it
    Monthly(weekly::WeeklyArgs),
    /// Write report.html and report.md from the journal
    Report(report_files::ReportArgs),
    /// Measure a tool against its peer
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    let cli = match maint_core::cli::parse::<Cli>() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    maint_core::logging::init(cli.common.verbose, cli.common.quiet, None);
    let task = match &cli.command {
        Command::Demo(_) => "demo",
        Command::Test => "test",
        Command::Setup => "setup",
        Command::Weekly(_) => "weekly",
        Command::Monthly(_) => "monthly",
        Command::Report(_) => "report",
        Command::Bench(_) => "bench",
    };
    let run = Run::start(TOOL, task, cli.common.output, &["exit_code", "duration_seconds"]);
    let exit = match chore(&cli, &run) {
        Ok(None) => run.finish(task),
        Ok(Some(exit)) => run.interrupted(task, exit),
        Err(failure) => run.fail(task, &failure),
    };
    exit.into()
}

/// Runs the chore; the exit code is there when a signal ended it.
fn chore(cli: &Cli, run: &Run) -> Result<Option<Exit>, Failure> {
    match &cli.command {
        Command::Demo(args) => block_on(demo::demo(args, &cli.common, run))?,
        Command::Weekly(args) => block_on(weekly::routine(Cycle::Week, args, &cli.common, run))?,
        Command::Monthly(args) => block_on(weekly::routine(Cycle::Month, args, &cli.common, run))?,
        Command::Test => test::test(run).map(|()| None),
        Command::Setup => setup::setup(run).map(|()| None),
        Command::Report(args) => report_files::report(args, run).map(|()| None),
        Command::Bench(args) => bench::bench(args, run).map(|()| None),
    }
}
