//! `rollback`: an earlier generation, live and proven again.

use std::time::Instant;

use maint_core::cli::{open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::RollbackArgs;
use crate::deploy::{Deployment, Outcome, deploy};
use crate::live::{Generation, Live, State};
use crate::rotate::{about, told};
use crate::work::Work;

/// Switches back, tells the consumers, and looks at them.
///
/// # Errors
/// There is nothing to go back to, it is not valid any more, or another run changes the directory.
pub fn run(args: &RollbackArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    let wanted = work.wanted()?;
    let name = args.name.as_str();
    work.subject.clone_from(&args.name);
    let spec = wanted.certs.get(name).ok_or_else(|| {
        let nearest = maint_core::config::nearest(name, wanted.certs.keys().map(String::as_str));
        Failure::usage(format!("there is no certificate `{name}` in the configuration{nearest}"))
    })?;
    let live = work.live()?;
    let deployment = Deployment::of(work, &live, name, spec)?;
    let mut _lock = None;
    if !args.change.dry_run {
        work.run.journal_in(&state_directory()?)?;
        _lock = Some(live.lock()?);
    }
    let current = live
        .current(name)?
        .ok_or_else(|| Failure::usage(format!("{name}: nothing is live, so there is nothing to go back from")))?;
    let to = choose(&live, name, &current, args.generation)?;
    check(work, &deployment, &to)?;
    if args.change.dry_run {
        let message = format!("from generation {} back to {}", current.number, to.number);
        work.run.emit(&about(Record::new(Kind::Plan, name, Status::Planned, message), &to));
        return Ok(());
    }
    let started = Instant::now();
    let done = deploy(work, &deployment, &to)?;
    if matches!(done.outcome, Outcome::Proven) {
        if current.number > to.number {
            live.mark(name, current.number, State::RolledBack, Some("by hand"))?;
        }
        // What is under way would take its place again with the next run; the operator has just decided against that.
        deployment.pending.clear()?;
    }
    work.run.emit(&told(&deployment, &to, &done).field("duration_seconds", started.elapsed().as_secs_f64()));
    Ok(())
}

/// The generation that was named, or the newest before the current one that was proven once.
fn choose(live: &Live, name: &str, current: &Generation, wanted: Option<u64>) -> Result<Generation, Failure> {
    let numbers = live.numbers(name)?;
    let history = "`cert-rotate history` shows what there is";
    let number = match wanted {
        Some(number) if number == current.number => {
            return Err(Failure::usage(format!("{name}: generation {number} is the one that is live")));
        }
        Some(number) if numbers.contains(&number) => number,
        Some(number) => return Err(Failure::usage(format!("{name}: there is no generation {number}")).hint(history)),
        None => {
            let earlier = numbers.into_iter().rev().filter(|number| *number < current.number);
            let mut served = earlier.filter(|number| live.meta(name, *number).state == State::Live);
            served.next().ok_or_else(|| {
                Failure::usage(format!("{name}: no generation before {} was ever proven", current.number)).hint(history)
            })?
        }
    };
    live.generation(name, number)
}

/// An operator may go back to a shorter life or fewer names, but not to what no client would take.
fn check(work: &Work<'_>, deployment: &Deployment<'_>, to: &Generation) -> Result<(), Failure> {
    let Deployment { name, live, .. } = *deployment;
    let refused = |why: String| Failure::critical(format!("{name}: not back to generation {}: {why}", to.number));
    let Some(leaf) = to.leaf() else { return Err(refused("it has no certificate".to_owned())) };
    if !leaf.is_valid_at(work.now) {
        return Err(refused(format!("it is valid from {} to {}", leaf.not_before, leaf.not_after)));
    }
    if !live.key(name, to.number)?.is_of(leaf) {
        return Err(refused("its private key is not the certificate's".to_owned()));
    }
    Ok(())
}
