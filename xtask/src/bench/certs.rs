//! cert-rotate against what people use otherwise: a loop over `openssl x509 -checkend`, a loop over `openssl s_client`, and
//! certbot. In every round each side runs right after the other, and what counts is the median of the rounds' ratios.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::Status;
use testbed::{Output, records};

use super::{BenchArgs, median, release_dir, scratch};
use crate::{setup, workspace};

mod due;
mod order;
mod probe;

pub(super) fn bench(args: &BenchArgs, run: &Run) -> Result<(), Failure> {
    setup::setup(run)?;
    workspace::cargo(&["build", "--release", "-p", "cert-rotate"], &[])?;
    let bench = Bench { program: release_dir()?.join("cert-rotate"), state: scratch()?, run, rounds: args.rounds };
    due::bench(&bench)?;
    probe::bench(&bench)?;
    order::bench(&bench)
}

struct Bench<'a> {
    program: PathBuf,
    state: PathBuf,
    run: &'a Run,
    rounds: u32,
}

/// What is compared.
struct Contest {
    name: &'static str,
    peer: &'static str,
    /// How many times as fast we want to be.
    goal: f64,
    /// How many times the peer's work would have to be done to be ours, where it is measured on a part.
    parts: f64,
}

impl Bench<'_> {
    fn ours(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("MAINT_STATE_DIR", &self.state).env("NO_COLOR", "1").current_dir(&self.state);
        command.args(["-q", "-o", "ndjson"]);
        command
    }

    /// Runs both in turn, the other first in every other round.
    fn compare(
        &self,
        contest: &Contest,
        ours: &dyn Fn(u32) -> Result<f64, Failure>,
        peer: &dyn Fn(u32) -> Result<f64, Failure>,
    ) -> Result<(), Failure> {
        let mut times = Vec::new();
        for round in 0..self.rounds {
            workspace::say(&format!("{}: round {} of {}", contest.name, round + 1, self.rounds));
            let (mine, theirs) = if round % 2 == 0 {
                let mine = ours(round)?;
                (mine, peer(round)?)
            } else {
                let theirs = peer(round)?;
                (ours(round)?, theirs)
            };
            times.push((mine, theirs * contest.parts));
        }
        let of = |pick: &dyn Fn(&(f64, f64)) -> f64| median(times.iter().map(pick).collect());
        let (speedup, mine, theirs) = (of(&|t| t.1 / t.0), of(&|t| t.0), of(&|t| t.1));
        let scaled =
            if contest.parts > 1.0 { format!(" (a part of it, times {})", contest.parts) } else { String::new() };
        let message = format!(
            "{speedup:.1} times as fast as {} (goal {:.1}): {mine:.3} s against {theirs:.3} s{scaled}",
            contest.peer, contest.goal
        );
        let status = if speedup >= contest.goal { Status::Ok } else { Status::Warning };
        self.run.emit(
            &Record::new(Kind::Metric, contest.name, status, message)
                .field("speedup_ratio", speedup)
                .field("goal_ratio", contest.goal)
                .field("ours_seconds", mine)
                .field("peer_seconds", theirs)
                .field("peer_parts", contest.parts)
                .field("rounds", times.len()),
        );
        Ok(())
    }
}

fn failed(error: &testbed::Error) -> Failure {
    Failure::critical(format!("the benchmark's servers and files: {error}"))
}

/// Runs a command to its end and tells how long it took. One that fails measured nothing.
fn timed(command: &mut Command) -> Result<(f64, Output), Failure> {
    let started = Instant::now();
    let output = testbed::run(command).map_err(|error| failed(&error))?;
    let seconds = started.elapsed().as_secs_f64();
    if output.code == 0 {
        Ok((seconds, output))
    } else {
        let program = command.get_program().display();
        Err(Failure::critical(format!("{program} failed: {output}")))
    }
}

/// As [`timed`], for our program, which must have reported so many checks: one that skipped some measured nothing.
fn checked(command: &mut Command, count: usize) -> Result<f64, Failure> {
    let (seconds, output) = timed(command)?;
    let all = records(&output.stdout).map_err(|error| failed(&error))?;
    let found = all.iter().filter(|record| record["type"] == "maint.check.v1").count();
    if found == count {
        Ok(seconds)
    } else {
        Err(Failure::critical(format!("cert-rotate reported {found} checks instead of {count}")))
    }
}

/// A loop in the shell over the arguments, which has to come to its end.
fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]);
    command
}
