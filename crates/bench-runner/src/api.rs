//! `api`: one URL under load.
//!
//! With `--rate` requests start when they are due, however slow the answers are (an open model); without it each connection
//! sends as soon as it has its answer (a closed model), which finds out how much goes and says little about how long users
//! wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_seconds;

use crate::cli::{ApiArgs, ArrivalArg};
use crate::engine::run::{Load, Ran, run as drive};
use crate::quantile::Quantile;
use crate::report::{judge, responses, summarize};
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
    let ran = driven(&target, &load, work)?;
    let why = verdict::judge(&ran, load.stages.is_some());
    summarize(work.run, &ran, why.as_deref());
    work.run.emit(&overview(&target, &ran, why.as_deref()));
    let sample = responses(&ran);
    for limit in &args.threshold {
        work.run.emit(&judge(limit, &ran, &sample));
    }
    Ok(())
}

/// Runs the load, and ends it early when the program is asked to stop.
fn driven(target: &Target, load: &Load, work: &Work<'_>) -> Result<Ran, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let over = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (stop, over, cancel) = (stop.clone(), over.clone(), work.cancel.clone());
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if cancel.is_cancelled() {
                    stop.store(true, Ordering::Relaxed);
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    };
    let ran = drive(target, load, &stop);
    over.store(true, Ordering::Relaxed);
    let _ = watcher.join();
    ran
}

fn overview(target: &Target, ran: &Ran, why: Option<&str>) -> Record {
    let tally = &ran.tally;
    let sample = responses(ran);
    let shown = |q: f64| match sample.quantile(q) {
        Quantile::Known { value, .. } => format_seconds(value),
        Quantile::AtLeast(bound) => format!(">= {}", format_seconds(bound)),
        Quantile::Unknown => "n/a".to_owned(),
    };
    let (status, verdict) = match why {
        Some(why) => (Status::Unknown, format!("invalid: {why}")),
        None if tally.good == 0 => (Status::Critical, "not one good answer".to_owned()),
        None => (Status::Ok, "valid".to_owned()),
    };
    let mut message = format!(
        "{verdict}; {} of {} answered well, p50 {}, p95 {}, p99 {}",
        tally.good,
        tally.scheduled,
        shown(0.5),
        shown(0.95),
        shown(0.99)
    );
    if let Some(trouble) = &ran.trouble {
        message.push_str("; first trouble: ");
        message.push_str(trouble);
    }
    Record::new(Kind::Check, &target.name, status, message)
        .field("scheduled", tally.scheduled)
        .field("completed", tally.completed())
        .field("requests_per_second", tally.good as f64 / ran.sending.as_secs_f64().max(1e-9))
        .field("response_p50_seconds", sample.quantile(0.5).known())
        .field("response_p95_seconds", sample.quantile(0.95).known())
        .field("response_p99_seconds", sample.quantile(0.99).known())
}
