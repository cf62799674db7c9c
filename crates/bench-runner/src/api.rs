//! `api`: one URL under load.
//!
//! With `--rate` requests start when they are due, however slow the answers are (an open model); without it each connection
//! sends as soon as it has its answer (a closed model), which finds out how much goes and says little about how long users
//! wait.

use std::time::Duration;

use maint_core::failure::Failure;
use maint_core::units::format_seconds;

use crate::cli::{ApiArgs, ToldArgs};
use crate::drive::{Job, drive};
use crate::engine::run::{Load, Ran};
use crate::page::{self, Told};
use crate::report::{judge, overview, responses, summarize};
use crate::seconds::Seconds;
use crate::tally::Tally;
use crate::target::Target;
use crate::verdict;
use crate::work::Work;

/// Sends the load and judges what came of it.
///
/// # Errors
/// The target does not hold or cannot be reached.
pub fn run(args: &ApiArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let target = Target::new(&args.url, &args.ask.ask()?, &args.allow_host)?;
    let load = Load { keep_alive: !args.no_keepalive, ..args.drive.load() };
    one(&target, &load, &args.told, work).map(|_| ())
}

/// Loads one target, tells of it and judges its limits.
///
/// # Errors
/// The target cannot be reached, or this machine cannot do it.
pub fn one(target: &Target, load: &Load, told: &ToldArgs, work: &mut Work<'_>) -> Result<Ran, Failure> {
    work.subject.clone_from(&target.name);
    told.html.as_deref().map_or(Ok(()), page::possible)?;
    tracing::info!("{} at {} for {}", target.name, target.address, format_seconds(load.duration.as_secs_f64()));
    let mut seconds = Seconds::default();
    let mut look = |_: Duration, counted: &[Tally]| {
        seconds.look(counted.first());
        false
    };
    let ran = drive(&[Job { target, load }], &work.cancel, if told.html.is_some() { Some(&mut look) } else { None })?;
    let ran = Ran::together(&ran);
    let why = verdict::judge(&ran, load.stages.is_some());
    summarize(work.run, &ran, why.as_deref());
    work.run.emit(&overview(&target.name, &ran, why.as_deref()));
    let sample = responses(&ran);
    for limit in &told.threshold {
        work.run.emit(&judge(limit, &ran, &sample));
    }
    if let Some(path) = &told.html {
        seconds.finish(&ran.tally);
        let limits = &told.threshold;
        page::write(path, &Told { name: &target.name, ran: &ran, seconds: &seconds, limits, why: why.as_deref() })?;
    }
    Ok(ran)
}
