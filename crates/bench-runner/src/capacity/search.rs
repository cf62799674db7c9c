//! `capacity URL`: the highest rate at which limits hold.
//!
//! First as much as goes over 1, 2, 4, ... connections, each of which asks as soon as it is answered: that says where to
//! look, and how the server scales (the Universal Scalability Law). Then rates, with starts that the server cannot slow down,
//! by halving the ratio of the highest that holds and the lowest that does not. The highest is tried once more, for twice as
//! long, before it is told.

use std::time::Duration;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_ratio, format_seconds};

use super::fit;
use super::probe::{Outcome, Probe, shown};
use crate::cli::{CapacityArgs, SearchArgs};
use crate::engine::run::Ran;
use crate::report::{is_of_load, rate};
use crate::usl;
use crate::what::target;
use crate::work::Work;

/// How long each number of connections is tried.
const STEP: Duration = Duration::from_secs(1);
/// Of what goes when nobody waits, this part is tried first.
const FIRST: f64 = 0.7;
/// And this part is the least that is tried.
const LEAST: f64 = 0.01;
/// How a rate is raised while none was too high.
const RAISE: f64 = 1.25;
/// More rates than this are tried only by mistake.
const MOST_PROBES: usize = 60;

/// Searches.
///
/// # Errors
/// The target does not hold or cannot be reached, or a limit is none that a rate could break.
pub(super) fn run(url: &str, args: &CapacityArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    args.search.slo.iter().try_for_each(is_of_load)?;
    let target = target(url, &args.what)?;
    let args = &args.search;
    work.subject.clone_from(&target.name);
    let mut probe = Probe {
        target: &target,
        limits: &args.slo,
        connections: args.connections,
        arrival: args.arrival.seeded(1),
        base: 0.0,
    };
    let Some(most) = scale(&mut probe, args.connections, work)? else { return Ok(()) };
    let found = search(&probe, most, args, work)?;
    tell(&found, args, work);
    Ok(())
}

/// As much as goes, over more and more connections. `None` where nothing was answered well, or somebody ended it.
fn scale(probe: &mut Probe<'_>, connections: usize, work: &Work<'_>) -> Result<Option<f64>, Failure> {
    let mut points = Vec::new();
    let mut count = 1;
    while count <= connections {
        let ran = probe.closed(count, STEP, work)?;
        if work.cancel.is_cancelled() {
            return Ok(None);
        }
        if count == 1 {
            probe.base = ran.tally.service.at_rank(ran.tally.service.len() / 2) as f64 / 1e9;
        }
        let throughput = rate(&ran);
        work.run.emit(
            &Record::new(
                Kind::Metric,
                if count == 1 { "1 connection".to_owned() } else { format!("{count} connections") },
                Status::Ok,
                format!("{throughput:.1} good answers a second, as much as goes; p95 {}", shown(&ran)),
            )
            .field("connections", count)
            .field("requests_per_second", throughput),
        );
        if throughput > 0.0 {
            points.push((count as f64, throughput));
        }
        count *= 2;
    }
    let most = points.iter().map(|(_, throughput)| *throughput).fold(0.0, f64::max);
    if most <= 0.0 {
        work.run.emit(&Record::new(Kind::Check, "capacity", Status::Critical, "not one good answer"));
        return Ok(None);
    }
    if let Some(fit) = usl::fit(&points) {
        fit::tell(&fit, points.last().map_or(1.0, |(load, _)| *load), work.run);
    }
    Ok(Some(most))
}

/// What a search has found.
#[derive(Default)]
struct Found {
    /// Rates at which the limits hold, ascending.
    holds: Vec<f64>,
    /// The lowest rate at which they do not, and what is broken there.
    broken: Option<(f64, String)>,
    /// The lowest rate at which it was not the server that was measured, and why.
    invalid: Option<(f64, String)>,
    /// The highest rate was tried for longer, and held.
    is_verified: bool,
    is_stopped: bool,
    probes: usize,
}

impl Found {
    fn highest(&self) -> Option<f64> {
        self.holds.last().copied()
    }

    /// The lowest rate that is known to be too high, for the server or for us.
    fn too_high(&self) -> Option<f64> {
        let invalid = self.invalid.as_ref().map(|(rate, _)| *rate);
        [self.broken.as_ref().map(|(rate, _)| *rate), invalid].into_iter().flatten().min_by(f64::total_cmp)
    }

    fn take(&mut self, rate: f64, outcome: Outcome) {
        match outcome {
            Outcome::Holds => {
                self.holds.push(rate);
                self.holds.sort_by(f64::total_cmp);
            }
            // What held at a higher rate did so by luck: it does not count any more.
            Outcome::Broken(why) => {
                self.holds.retain(|held| *held < rate);
                self.broken = Some((rate, why));
            }
            Outcome::Invalid(why) => self.invalid = Some((rate, why)),
            Outcome::Stopped => self.is_stopped = true,
        }
    }

    /// The rate to try next; `None` when the search is over.
    fn next(&self, most: f64, precision: f64) -> Option<f64> {
        match (self.highest(), self.too_high()) {
            (None, None) => Some(most * FIRST),
            (None, Some(high)) => Some(high / 2.0).filter(|rate| *rate >= most * LEAST),
            (Some(low), None) => Some((low * RAISE).max(most * 0.95).min(low * 2.0)),
            (Some(low), Some(high)) => (high / low > 1.0 + precision).then(|| (low * high).sqrt()),
        }
    }
}

fn search(probe: &Probe<'_>, most: f64, args: &SearchArgs, work: &Work<'_>) -> Result<Found, Failure> {
    let mut found = Found::default();
    while found.probes < MOST_PROBES && !found.is_stopped {
        let (next, duration) = match (found.next(most, args.precision), found.highest()) {
            (Some(next), _) => (next, args.probe.0),
            (None, Some(highest)) if !found.is_verified => (highest, args.probe.0 * 2),
            _ => break,
        };
        let is_last = found.highest() == Some(next);
        let (outcome, ran) = probe.rate(next, duration, work)?;
        found.probes += 1;
        work.run.emit(&told(next, duration, &outcome, &ran));
        if is_last && matches!(outcome, Outcome::Holds) {
            found.is_verified = true;
        } else {
            found.take(next, outcome);
        }
    }
    Ok(found)
}

fn told(next: f64, duration: Duration, outcome: &Outcome, ran: &Ran) -> Record {
    let said = match outcome {
        Outcome::Holds => "holds".to_owned(),
        Outcome::Broken(why) => format!("does not hold: {why}"),
        Outcome::Invalid(why) => format!("says nothing: {why}"),
        Outcome::Stopped => "was ended".to_owned(),
    };
    let message = format!(
        "{said}; p95 {}, errors {}, tried for {}",
        shown(ran),
        format_ratio(ran.tally.error_ratio()),
        format_seconds(duration.as_secs_f64())
    );
    Record::new(Kind::Metric, format!("{next:.1} a second"), Status::Ok, message)
        .field("requests_per_second", next)
        .field("holds", matches!(outcome, Outcome::Holds))
        .field("error_ratio", ran.tally.error_ratio())
}

fn tell(found: &Found, args: &SearchArgs, work: &Work<'_>) {
    let (low, high) = (found.highest(), found.too_high());
    let limited = found.invalid.as_ref().filter(|(rate, _)| Some(*rate) == high);
    let (status, message) = match (low, &found.broken, limited) {
        _ if found.is_stopped => (Status::Unknown, "the search was ended before it was over".to_owned()),
        (None, _, Some((rate, why))) => {
            (Status::Unknown, format!("{rate:.1} a second cannot be tried from here: {why}"))
        }
        (None, Some((rate, why)), None) => (Status::Critical, format!("not even {rate:.1} a second holds: {why}")),
        (Some(low), _, Some((rate, why))) => {
            (Status::Unknown, format!("{low:.1} a second and more; {rate:.1} cannot be tried from here: {why}"))
        }
        (Some(low), Some((rate, why)), None) if found.is_verified => {
            (Status::Ok, format!("{low:.1} requests a second hold; at {rate:.1} {why}"))
        }
        (Some(low), Some((rate, why)), None) => (
            Status::Unknown,
            format!("{low:.1} requests a second held once, and not twice as long; at {rate:.1} {why}"),
        ),
        (low, None, None) => {
            (Status::Unknown, format!("no end was found up to {:.1} a second", low.unwrap_or_default()))
        }
    };
    let too_low = args.at_least.filter(|wanted| low.is_some_and(|low| low < *wanted) && status == Status::Ok);
    let (status, message) = match too_low {
        Some(wanted) => (Status::Critical, format!("less than {wanted}: {message}")),
        // Enough is enough, wherever the end is, when it was tried twice.
        None if status == Status::Unknown && found.is_verified && args.at_least.is_some() => (Status::Ok, message),
        None => (status, message),
    };
    work.run.emit(
        &Record::new(Kind::Check, "capacity", status, message)
            .field("requests_per_second", low)
            .field("too_high_per_second", high)
            .field("verified", found.is_verified),
    );
    work.run.result("capacity_per_second", low);
    work.run.result("too_high_per_second", high);
    work.run.result("probes", found.probes);
}
