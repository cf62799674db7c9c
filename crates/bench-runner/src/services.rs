//! `services`: several services that need each other.
//!
//! Each is loaded alone first, those that others need before those others, so that what is slow is told from what only waits
//! for it. Then all are loaded at once: what they share shows there.

mod file;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_seconds;

use crate::cli::ServicesArgs;
use crate::drive::{Job, drive};
use crate::engine::run::Ran;
use crate::report::{judge, overview, responses, summarize};
use crate::verdict;
use crate::work::Work;
use file::{Service, Services};

/// Loads them.
///
/// # Errors
/// The file does not hold, or a service cannot be reached.
pub fn run(args: &ServicesArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let services = Services::read(&args.file)?.prepare(&args.allow_host)?;
    work.subject = args.file.display().to_string();
    if args.dry_run {
        for service in &services {
            let message = format!("{} at {}", service.asked(), service.target.address);
            work.run.emit(&Record::new(Kind::Plan, &service.name, Status::Planned, message));
        }
        return Ok(());
    }
    let mut alone: Vec<Ran> = Vec::new();
    for service in &services {
        let ran = Ran::together(&drive(&[service.job()], &work.cancel, None)?);
        tell(service, "alone", &ran, None, &suspects(service, &services, &alone), work);
        alone.push(ran);
        if work.cancel.is_cancelled() {
            return Ok(());
        }
    }
    let jobs: Vec<Job<'_>> = services.iter().map(Service::job).collect();
    let together = drive(&jobs, &work.cancel, None)?;
    for ((service, ran), before) in services.iter().zip(&together).zip(&alone) {
        tell(service, "together", ran, Some(before), &suspects(service, &services, &together), work);
    }
    let why = together.iter().find_map(|ran| verdict::judge(ran, true));
    summarize(work.run, &Ran::together(&together), why.as_deref());
    Ok(())
}

/// Which of those that a service needs break their own limits.
fn suspects<'a>(service: &Service, services: &'a [Service], ran: &[Ran]) -> Vec<&'a str> {
    services
        .iter()
        .zip(ran)
        .filter(|(other, ran)| service.needs.contains(&other.name) && other.is_broken(ran))
        .map(|(other, _)| other.name.as_str())
        .collect()
}

fn tell(service: &Service, how: &str, ran: &Ran, before: Option<&Ran>, suspects: &[&str], work: &Work<'_>) {
    let why = verdict::judge(ran, true);
    let name = format!("{}, {how}", service.name);
    let mut record = overview(&name, ran, why.as_deref()).field("service", &service.name).field("phase", how);
    let p95 = |ran: &Ran| responses(ran).quantile(0.95).known();
    if let (Some(before), Some(now)) = (before.and_then(p95), p95(ran)) {
        record = record.field("alone_p95_seconds", before).field("slower_ratio", now / before);
        let message = format!(
            "p95 {} where it is {} alone: {:.2} times",
            format_seconds(now),
            format_seconds(before),
            now / before
        );
        work.run.emit(&Record::new(Kind::Metric, format!("{}, side by side", service.name), Status::Ok, message));
    }
    work.run.emit(&record);
    let sample = responses(ran);
    for limit in &service.limits {
        work.run.emit(&judge(limit, ran, &sample).field("service", &service.name).field("phase", how));
    }
    if service.is_broken(ran) && !suspects.is_empty() {
        let message = format!("what it needs breaks its own limits: {}", suspects.join(", "));
        let record = Record::new(Kind::Check, &name, Status::Warning, message).field("service", &service.name);
        work.run.emit(&record.field("needs_broken", suspects));
    }
}
