//! `api`: one URL under load.
//!
//! With `--rate` requests start when they are due, however slow the answers are (an open model); without it each connection
//! sends as soon as it has its answer (a closed model), which finds out how much goes and says little about how long users
//! wait.

use maint_core::failure::Failure;
use maint_core::units::format_seconds;

use crate::cli::{ApiArgs, ArrivalArg};
use crate::drive::{Job, drive};
use crate::engine::run::{Load, Ran};
use crate::report::{judge, overview, responses, summarize};
use crate::schedule::{Arrival, Stage};
use crate::target::{Ask, Target};
use crate::verdict;
use crate::work::Work;

/// Sends the load and judges what came of it.
///
/// # Errors
/// The target does not hold or cannot be reached.
pub fn run(args: &ApiArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let ask = Ask { method: args.method.clone(), headers: args.header.clone(), body: args.body()? };
    let target = Target::new(&args.url, &ask, &args.allow_host)?;
    work.subject.clone_from(&target.name);
    let duration = args.duration.0;
    let load = Load {
        stages: args.rate.map(|rate| vec![Stage::constant(rate, duration)]),
        arrival: match args.arrival {
            ArrivalArg::Uniform => Arrival::Uniform,
            ArrivalArg::Poisson => Arrival::Poisson(args.seed),
        },
        duration,
        drain: args.drain.0,
        timeout: args.timeout.0,
        connections: args.connections,
        threads: args.threads,
        keep_alive: !args.no_keepalive,
    };
    tracing::info!("{} at {} for {}", target.name, target.address, format_seconds(duration.as_secs_f64()));
    let ran = drive(&[Job { target: &target, load: &load }], &work.cancel, None)?;
    let ran = Ran::together(&ran);
    let why = verdict::judge(&ran, load.stages.is_some());
    summarize(work.run, &ran, why.as_deref());
    work.run.emit(&overview(&target.name, &ran, why.as_deref()));
    let sample = responses(&ran);
    for limit in &args.threshold {
        work.run.emit(&judge(limit, &ran, &sample));
    }
    Ok(())
}
