//! A run: its threads, and what they add up to.

use std::time::Duration;

use maint_core::failure::Failure;

use super::plan::{Done, Meeting, Plan};
use super::target::Target;
use super::watch::Watch;
use super::worker::work;
use crate::schedule::{Arrival, Slots, Stage};
use crate::tally::{Fault, Tally};

/// A run as it is asked for.
#[derive(Debug, Clone)]
pub struct Load {
    /// When requests start; `None`: on each connection as soon as it is free, for [`Load::duration`].
    pub stages: Option<Vec<Stage>>,
    /// How starts are spread.
    pub arrival: Arrival,
    /// How long requests are started.
    pub duration: Duration,
    /// How long answers are awaited after that.
    pub drain: Duration,
    /// When an answer is given up.
    pub timeout: Duration,
    /// Connections, over all threads.
    pub connections: usize,
    /// Threads.
    pub threads: usize,
    /// Use connections for more than one request.
    pub keep_alive: bool,
}

/// What came of a run.
#[derive(Debug)]
pub struct Ran {
    /// What became of the requests.
    pub tally: Tally,
    /// How long requests were started: the time asked for, or less when the run was stopped.
    pub sending: Duration,
    /// How long it lasted, until the last answer.
    pub elapsed: Duration,
    /// Processor time of each thread over the run's time.
    pub cpu: Vec<f64>,
    /// The first thing that went wrong.
    pub trouble: Option<String>,
    /// It was stopped before its end.
    pub is_partial: bool,
}

/// Runs.
///
/// # Errors
/// Nobody is there, or this machine cannot do it.
pub fn run(target: &Target, load: &Load, watch: &Watch) -> Result<Ran, Failure> {
    let connections = load.connections.max(1);
    let threads = load.threads.clamp(1, connections);
    let meeting = Meeting::new(threads);
    let done = std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|thread| {
                let share = connections / threads + usize::from(thread < connections % threads);
                let slots =
                    load.stages.as_ref().map(|stages| Slots::new(stages, load.arrival, thread as u64, threads as u64));
                let plan = Plan {
                    target,
                    connections: share,
                    slots,
                    until: nanoseconds(load.duration),
                    drain: nanoseconds(load.drain),
                    timeout: nanoseconds(load.timeout),
                    keep_alive: load.keep_alive,
                    watch,
                    thread,
                };
                let meeting = &meeting;
                scope.spawn(move || work(plan, meeting))
            })
            .collect();
        let gone = |_| Err(std::io::Error::other("a thread ended before its time"));
        started.into_iter().map(|thread| thread.join().unwrap_or_else(gone)).collect::<Vec<std::io::Result<Done>>>()
    });
    let mut tally = Tally::default();
    let mut elapsed = Duration::ZERO;
    let mut cpu = Vec::new();
    let mut trouble = None;
    for one in done {
        let one =
            one.map_err(|error| Failure::critical(format!("the load cannot be made on this machine: {error}")))?;
        tally.add(&one.tally);
        elapsed = elapsed.max(one.elapsed);
        cpu.push(one.cpu.as_secs_f64() / one.elapsed.as_secs_f64().max(1e-9));
        trouble = trouble.or(one.trouble);
    }
    if meeting.open() == 0 {
        let why = trouble.unwrap_or_else(|| "it does not answer".to_owned());
        let what = if why.starts_with(Fault::Login.as_str()) { "cannot be used" } else { "cannot be reached" };
        return Err(Failure::critical(format!("{} ({}) {what}: {why}", target.name, target.address)));
    }
    let is_partial = watch.stop.load(std::sync::atomic::Ordering::Relaxed) && elapsed < load.duration;
    Ok(Ran { tally, sending: load.duration.min(elapsed), elapsed, cpu, trouble, is_partial })
}

impl Ran {
    /// Several runs that went side by side, as one.
    pub fn together(runs: &[Ran]) -> Ran {
        let mut tally = Tally::default();
        for ran in runs {
            tally.add(&ran.tally);
        }
        Ran {
            tally,
            sending: runs.iter().map(|ran| ran.sending).max().unwrap_or_default(),
            elapsed: runs.iter().map(|ran| ran.elapsed).max().unwrap_or_default(),
            cpu: runs.iter().flat_map(|ran| ran.cpu.iter().copied()).collect(),
            trouble: runs.iter().find_map(|ran| ran.trouble.clone()),
            is_partial: runs.iter().any(|ran| ran.is_partial),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
