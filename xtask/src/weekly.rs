//! `weekly` and `monthly`: run the days of a routine by starting the built programs, one after the other, and passing on what
//! they say.
//!
//! Every step ends as one record of this run, whose status is read from the child's exit code and nothing else. A step
//! whose program is not there is `not-built`, which is never ok: a week that looks green without its backups would be
//! worse than none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use maint_core::cancel::Cancel;
use maint_core::child::{Child, CommandSpec, Ended, Line};
use maint_core::cli::CommonArgs;
use maint_core::failure::Failure;
use maint_core::guard::Guard;
use maint_core::lock::RunLock;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::{Exit, Severity, Status};
use serde_json::Value;

use crate::routine::{Cycle, Day, OnFailure, Routines, Step};
use crate::workspace;

/// After a timeout or an interruption a program has this long to clean up.
const GRACE: Duration = Duration::from_secs(20);

/// `weekly`, `monthly`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WeeklyArgs {
    /// Only this day (monday .. sunday; of a month 1 or 15; or today) [default: all of them]
    #[arg(long, value_name = "DAY")]
    day: Option<String>,
    /// Show what would run, and stop
    #[arg(long)]
    dry_run: bool,
    /// The routines [default: xtask/routines.toml]
    #[arg(long, value_name = "FILE")]
    routines: Option<PathBuf>,
    /// Where the built programs are [default: target/release]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// Where programs and routine keep their journal and state [default: MAINT_STATE_DIR, else the system's]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl WeeklyArgs {
    /// One day with the programs in `bin_dir`, of the project's own routines or of others.
    pub(crate) fn for_day(day: &str, routines: Option<PathBuf>, bin_dir: PathBuf, state_dir: PathBuf) -> Self {
        let (bin_dir, state_dir) = (Some(bin_dir), Some(state_dir));
        WeeklyArgs { day: Some(day.to_owned()), dry_run: false, routines, bin_dir, state_dir }
    }
}

/// Runs the routine; the exit code is there when a signal ended it.
pub(crate) async fn routine(
    cycle: Cycle,
    args: &WeeklyArgs,
    common: &CommonArgs,
    run: &Run,
) -> Result<Option<Exit>, Failure> {
    let path = args.routines.clone().unwrap_or_else(|| workspace::root().join("xtask/routines.toml"));
    let routines = Routines::read(&path)?;
    let now = jiff::Zoned::now();
    let today = match cycle {
        Cycle::Week => now.strftime("%A").to_string().to_lowercase(),
        Cycle::Month => now.day().to_string(),
    };
    let asked = args.day.as_deref().map(str::to_lowercase);
    let is_today = asked.as_deref() == Some("today");
    let day = asked.map(|day| if is_today { today } else { day });
    if let Some(day) = &day
        && !is_today
        && !cycle.days().contains(&day.as_str())
    {
        let near = maint_core::config::nearest(day, cycle.days().iter().copied());
        return Err(Failure::usage(format!("--day {day}: not a day of the {} routine{near}", cycle.name())));
    }
    let bin_dir = args.bin_dir.clone().unwrap_or_else(|| workspace::root().join("target/release"));
    let days = routines.days(cycle, day.as_deref());
    if args.dry_run {
        for (name, day) in days {
            for step in &day.steps {
                run.emit(&planned(name, day, step, &bin_dir));
            }
        }
        return Ok(None);
    }
    let state_dir = match &args.state_dir {
        Some(dir) => dir.clone(),
        None => workspace::state_dir()?,
    };
    let _lock = RunLock::acquire(&state_dir, cycle.name()).map_err(Failure::from)?;
    run.journal_in(&state_dir)?;
    let routine = Routine { bin_dir, state_dir, common, run, cancel: Cancel::on_signals()? };
    for (name, day) in days {
        routine.run_day(name, day).await;
    }
    Ok(routine.cancel.exit())
}

/// What every step of a routine has at hand.
struct Routine<'a> {
    bin_dir: PathBuf,
    state_dir: PathBuf,
    common: &'a CommonArgs,
    run: &'a Run,
    cancel: Cancel,
}

fn subject(day: &str, step: &Step) -> String {
    format!("{day}/{}", step.command.join(" "))
}

fn record(kind: Kind, day: &str, step: &Step, status: Status, message: impl Into<String>) -> Record {
    Record::new(kind, subject(day, step), status, message).field("day", day).field("command", step.command.join(" "))
}

fn planned(name: &str, day: &Day, step: &Step, bin_dir: &Path) -> Record {
    let (status, text) = match program(step, bin_dir) {
        Ok(_) => (Status::Planned, format!("{}, at most {}", day.title, step.timeout)),
        Err(why) => (Status::NotBuilt, why),
    };
    record(Kind::Plan, name, step, status, text)
}

impl Routine<'_> {
    async fn run_day(&self, name: &str, day: &Day) {
        let window = day.window();
        if let Err(failure) = Guard::open(window.as_ref(), None, self.cancel.clone(), jiff::Timestamp::now()) {
            for step in &day.steps {
                self.run.emit(&record(Kind::Step, name, step, Status::Deferred, failure.message.clone()));
            }
            return;
        }
        let mut stopped: Option<String> = None;
        for step in &day.steps {
            let interrupted = self.cancel.is_cancelled().then(|| "not started: the routine was interrupted".to_owned());
            if let Some(why) = interrupted.or_else(|| stopped.clone()) {
                self.run.emit(&record(Kind::Step, name, step, Status::Left, why));
                continue;
            }
            let done = match program(step, &self.bin_dir) {
                Ok(program) => self.run_step(name, step, &program).await,
                Err(why) => record(Kind::Step, name, step, Status::NotBuilt, why),
            };
            if step.on_failure == OnFailure::Stop && done.status.severity() >= Severity::Unknown {
                stopped = Some(format!("not started: {} did not succeed", step.command.join(" ")));
            }
            self.run.emit(&done);
        }
    }

    async fn run_step(&self, day: &str, step: &Step, program: &Path) -> Record {
        let mut args: Vec<String> = step.command.iter().skip(1).cloned().collect();
        args.extend(["-o".to_owned(), "ndjson".to_owned()]);
        if let Some(config) = &self.common.config {
            args.extend(["--config".to_owned(), config.display().to_string()]);
        }
        if self.common.quiet {
            args.push("--quiet".to_owned());
        }
        let mut spec = CommandSpec::new(program, args);
        spec.env.push(("MAINT_STATE_DIR".into(), self.state_dir.clone().into()));
        let child = match Child::spawn(spec, Some(step.timeout.0), GRACE) {
            Ok(child) => child,
            Err(error) => return record(Kind::Step, day, step, Status::Failed, error.to_string()),
        };
        let mut summary: Option<Value> = None;
        let mut records = 0_u64;
        let mut strange = 0_u64;
        let waiting = self.cancel.clone();
        let asked = async move {
            waiting.cancelled().await;
        };
        let ended = child
            .run(asked, |line| match line {
                Line::Stdout(text) => match serde_json::from_str::<Value>(&text) {
                    Ok(event) if event.get("type").is_some() => {
                        records += 1;
                        self.run.forward(&text);
                        if event.get("type").and_then(Value::as_str) == Some(Kind::Summary.event_type()) {
                            summary = Some(event);
                        }
                    }
                    _ => strange += 1,
                },
                Line::Stderr(text) => {
                    if !self.common.quiet {
                        workspace::say(&text);
                    }
                }
            })
            .await;
        match ended {
            Ok(ended) => judged(day, step, &ended, summary.as_ref(), strange).field("records", records),
            Err(error) => record(Kind::Step, day, step, Status::Failed, error.to_string()),
        }
    }
}

/// The program of a step, or why there is none.
fn program(step: &Step, bin_dir: &Path) -> Result<PathBuf, String> {
    let name = step.command.first().map(String::as_str).unwrap_or_default();
    if name == "xtask" {
        return std::env::current_exe().map_err(|error| format!("cannot find this program itself: {error}"));
    }
    let path = bin_dir.join(name);
    if path.is_file() {
        return Ok(path);
    }
    if workspace::root().join("crates").join(name).is_dir() {
        return Err(format!("{} is not there: cargo build --release -p {name}", path.display()));
    }
    Err(format!("{name} does not exist yet: nothing looked after this"))
}

/// The record of a step that ran: its status follows from how the program ended.
fn judged(day: &str, step: &Step, ended: &Ended, summary: Option<&Value>, strange: u64) -> Record {
    let said = summary.and_then(|event| event.pointer("/data/message")).and_then(Value::as_str);
    let child_run = summary.and_then(|event| event.get("run")).and_then(Value::as_str);
    let (mut status, mut text) = match ended.code {
        _ if ended.timed_out => (Status::Failed, format!("ended after its timeout of {}", step.timeout)),
        _ if ended.cancelled => (Status::Left, "interrupted".to_owned()),
        Some(code @ (0..=3 | 75)) => (
            match (code, Exit::severity_of_code(code)) {
                (75, _) => Status::Deferred,
                (_, Severity::Critical) => Status::Failed,
                (_, severity) => severity.status(),
            },
            said.unwrap_or("it wrote no summary").to_owned(),
        ),
        Some(code) => (Status::Failed, format!("ended with code {code}: {}", said.unwrap_or("it wrote no summary"))),
        None => (Status::Failed, format!("killed by signal {}", ended.signal.unwrap_or(0))),
    };
    // Ending well without a summary is not ending well: something other than our program ran.
    if status == Status::Ok && (summary.is_none() || strange > 0) {
        status = Status::Unknown;
        text = format!("{text}; {strange} lines were not records");
    }
    record(Kind::Step, day, step, status, text)
        .field("exit_code", ended.code)
        .field("duration_seconds", ended.duration.as_secs_f64())
        .field("child_run", child_run)
        .field("child_summary", said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> Step {
        toml::from_str("command = ['pg-maint', 'plan']\ntimeout = '1m'").unwrap()
    }

    fn status(code: Option<i32>, timed_out: bool, with_summary: bool) -> Status {
        let ended = Ended { code, signal: None, timed_out, cancelled: false, duration: Duration::from_secs(1) };
        let summary = serde_json::json!({"run": "R", "data": {"message": "fine"}});
        judged("tuesday", &step(), &ended, with_summary.then_some(&summary), 0).status
    }

    #[test]
    fn the_exit_code_decides_and_a_crash_is_a_failure() {
        assert_eq!(status(Some(0), false, true), Status::Ok);
        assert_eq!(status(Some(1), false, true), Status::Warning);
        assert_eq!(status(Some(2), false, true), Status::Failed);
        assert_eq!(status(Some(3), false, true), Status::Unknown);
        assert_eq!(status(Some(75), false, true), Status::Deferred);
        assert_eq!(status(Some(101), false, true), Status::Failed);
        assert_eq!(status(None, false, true), Status::Failed);
        assert_eq!(status(Some(0), true, true), Status::Failed);
    }

    #[test]
    fn ending_well_without_a_summary_is_not_ok() {
        assert_eq!(status(Some(0), false, false), Status::Unknown);
    }

    #[test]
    fn a_program_that_does_not_exist_is_not_built() {
        let mut step = step();
        step.command = vec!["no-such-tool".into()];
        let day: Day = toml::from_str("title = 't'").unwrap();
        assert_eq!(planned("monday", &day, &step, Path::new("/nonexistent")).status, Status::NotBuilt);
    }
}
