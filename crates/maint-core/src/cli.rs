//! What every command line shares: the common flags, `completions`, `man`, `config show`, and how usage errors end.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::cancel::Cancel;
use crate::config::{COMMON, Section, Settings};
use crate::failure::Failure;
use crate::guard::Guard;
use crate::output::Format;
use crate::record::{Kind, Record};
use crate::run::{Run, complain};
use crate::status::{Exit, Status};
use crate::units::HumanDuration;
use crate::window::Window;

/// The exit codes, for the end of every `--help`.
pub const EXIT_CODES: &str = "Exit codes: 0 ok, 1 warning or something left, 2 critical, failed or target down, \
3 could not tell (usage, configuration, privilege), 75 not now (locked or outside the window), 130/143 interrupted.";

/// Flags of every program.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common options")]
pub struct CommonArgs {
    /// Read this configuration instead of searching for maint.toml
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// How to write records on stdout
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT", global = true)]
    pub output: Format,
    /// No progress on stderr
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// More log on stderr (-vv: still more; RUST_LOG chooses by module)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
}

/// Flags of every command that changes something.
#[derive(Debug, Clone, Args)]
pub struct ChangeArgs {
    /// Show what would be done, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask before destructive steps
    #[arg(long)]
    pub yes: bool,
    /// Start only inside this window, e.g. 'Sat..Sun 01:00-05:00 Europe/Madrid'
    #[arg(long, value_name = "WINDOW")]
    pub window: Option<Window>,
    /// Start no new step after this long; what is left is listed
    #[arg(long, value_name = "DURATION")]
    pub max_duration: Option<HumanDuration>,
}

/// Subcommands of every program.
#[derive(Debug, Clone, Subcommand)]
pub enum CommonCommand {
    /// Print a shell completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
    /// Show the effective configuration and where each value came from
    Config {
        /// What to do with it
        #[command(subcommand)]
        action: ConfigAction,
    },
}

/// What `config` can do.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ConfigAction {
    /// Every key, its value and its source; secrets are redacted
    Show,
}

/// Parses the command line of this process.
///
/// # Errors
/// The exit code to end with: 0 after `--help` and `--version`, 3 after a usage error (clap itself would use 2, which
/// means critical here).
pub fn parse<C: Parser>() -> Result<C, ExitCode> {
    parse_from(std::env::args_os())
}

/// As [`parse`], from given arguments.
///
/// # Errors
/// As [`parse`].
pub fn parse_from<C: Parser>(args: impl IntoIterator<Item = OsString>) -> Result<C, ExitCode> {
    C::try_parse_from(args).map_err(|error| {
        let code = if error.use_stderr() { Exit::Unknown } else { Exit::Ok };
        // An argument is shown as it was typed, and one in the wrong place may be a connection string. Help is our own text.
        let text = error.render().to_string();
        let shown = if error.use_stderr() { crate::secret::redact_url(&text) } else { text.clone() };
        let printed = if shown == text {
            error.print().and_then(|()| std::io::stdout().flush())
        } else {
            std::io::stderr().write_all(shown.as_bytes())
        };
        match printed {
            Err(error) if code == Exit::Ok && error.kind() != std::io::ErrorKind::BrokenPipe => Exit::Critical.into(),
            _ => code.into(),
        }
    })
}

/// Runs one of the common subcommands. What goes wrong (the configuration does not hold, stdout cannot be written) is said
/// on stderr.
pub fn common<C: CommandFactory>(
    command: &CommonCommand,
    args: &CommonArgs,
    tool: &'static str,
    sections: &[&'static Section],
) -> Exit {
    try_common::<C>(command, args, tool, sections).unwrap_or_else(|failure| {
        complain(tool, &failure);
        failure.exit
    })
}

/// Runs a command of a tool on a new runtime and ends its run: as its records say, as interrupted when the command answers
/// with a signal's exit code, or with its failure. The command is handed what the summary will be about, to sharpen it.
pub fn run_command(run: Run, command: impl AsyncFnOnce(&Run, &mut String) -> Result<Option<Exit>, Failure>) -> Exit {
    let mut subject = String::new();
    match block_on(command(&run, &mut subject)) {
        Ok(Ok(None)) => run.finish(&subject),
        Ok(Ok(Some(exit))) => run.interrupted(&subject, exit),
        Ok(Err(failure)) | Err(failure) => run.fail(&subject, &failure),
    }
}

fn try_common<C: CommandFactory>(
    command: &CommonCommand,
    args: &CommonArgs,
    tool: &'static str,
    sections: &[&'static Section],
) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    match command {
        CommonCommand::Completions { shell } => clap_complete::generate(*shell, &mut C::command(), tool, &mut text),
        CommonCommand::Man => manual(C::command(), &mut text)
            .map_err(|error| Failure::critical(format!("cannot render the manual page: {error}")))?,
        CommonCommand::Config { action: ConfigAction::Show } => {
            let settings = Settings::load(args.config.as_deref(), sections)?;
            return Ok(show_config(&settings, args.output, tool));
        }
    }
    let mut stdout = std::io::stdout();
    match stdout.write_all(&text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::critical(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(Exit::Ok),
    }
}

/// One page for the program and its subcommands.
fn manual(command: clap::Command, out: &mut Vec<u8>) -> std::io::Result<()> {
    let mut command = command;
    command.build();
    clap_mangen::Man::new(command.clone()).render(out)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        writeln!(out, ".SH \"{}\"", sub.get_name().to_uppercase())?;
        let man = clap_mangen::Man::new(sub.clone());
        man.render_description_section(out)?;
        man.render_options_section(out)?;
    }
    Ok(())
}

fn show_config(settings: &Settings, format: Format, tool: &'static str) -> Exit {
    let run = Run::start(tool, "config-show", format, &["value", "source"]);
    for (section, key, setting) in settings.show() {
        let value = crate::secret::redact_url(&setting.value);
        let record = Record::new(Kind::Metric, format!("{}.{}", section.name, key.name), Status::Ok, key.help)
            .label("value", value)
            .label("source", setting.source.to_string());
        run.emit(&record);
    }
    let file = settings.file().map_or_else(|| "no maint.toml found".to_owned(), |path| path.display().to_string());
    run.finish(&file)
}

/// Opens a changing run with the guards of its flags and settings. A dry run changes nothing, so the window does not
/// bind it.
///
/// # Errors
/// A setting does not hold, or it is outside the window now.
pub fn open_guard(args: &ChangeArgs, settings: &mut Settings, cancel: &Cancel) -> Result<Guard, Failure> {
    settings.flag(&COMMON, "window", args.window.as_ref())?;
    settings.flag(&COMMON, "max_duration", args.max_duration)?;
    let window = settings.optional(&COMMON, "window")?;
    let longest = settings.optional::<HumanDuration>(&COMMON, "max_duration")?.map(|duration| duration.0);
    let window = if args.dry_run { None } else { window };
    Guard::open(window.as_ref(), longest, cancel.clone(), jiff::Timestamp::now())
}

/// The state directory of this user.
///
/// # Errors
/// There is none to be had.
pub fn state_directory() -> Result<PathBuf, Failure> {
    crate::state_dir::state_dir().map_err(|error| Failure::usage(error.to_string()))
}

/// Runs a future on a new runtime.
///
/// # Errors
/// The runtime could not be built.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::critical(format!("cannot start the runtime: {error}")))?;
    let value = runtime.block_on(future);
    // A reader of stdin may still sit in a blocking call; the program ends without it.
    runtime.shutdown_background();
    Ok(value)
}
