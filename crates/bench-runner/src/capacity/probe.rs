//! One rate, tried: do the limits hold, and does the server keep up?

use std::time::Duration;

use maint_core::failure::Failure;
use maint_core::threshold::Threshold;
use maint_core::units::format_seconds;

use crate::drive::{Job, drive};
use crate::engine::run::{Load, Ran};
use crate::quantile::{Quantile, Sample};
use crate::report::{is_broken, responses, value};
use crate::schedule::{Arrival, Stage};
use crate::target::Target;
use crate::verdict;
use crate::work::Work;

/// When an answer is given up. Longer than any limit that a search makes sense for.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a rate is tried again after the generator was late.
const RETRIES: u32 = 2;
/// How long the server may take to be as quick as before.
const REST: u32 = 20;

/// What a search is about.
pub(super) struct Probe<'a> {
    /// Whom to ask.
    pub(super) target: &'a Target,
    /// What must hold.
    pub(super) limits: &'a [Threshold],
    /// How many connections at most.
    pub(super) connections: usize,
    /// How starts are spread.
    pub(super) arrival: Arrival,
    /// The median service time of one request at a time, in seconds.
    pub(super) base: f64,
}

/// What came of a rate.
pub(super) enum Outcome {
    /// The limits hold.
    Holds,
    /// This one does not, or the server does not keep up.
    Broken(String),
    /// It was not the server that was measured.
    Invalid(String),
    /// Somebody ended it.
    Stopped,
}

impl Probe<'_> {
    /// As much as goes over so many connections, each of which asks as soon as it is answered.
    ///
    /// # Errors
    /// The target cannot be reached.
    pub(super) fn closed(&self, connections: usize, duration: Duration, work: &Work<'_>) -> Result<Ran, Failure> {
        self.run(&Load { connections, ..self.load(None, duration) }, work)
    }

    /// A rate.
    ///
    /// # Errors
    /// The target cannot be reached.
    pub(super) fn rate(&self, rate: f64, duration: Duration, work: &Work<'_>) -> Result<(Outcome, Ran), Failure> {
        let load = self.load(Some(rate), duration);
        let mut tries = 0;
        loop {
            self.rest(work)?;
            let ran = self.run(&load, work)?;
            if ran.is_partial || work.cancel.is_cancelled() {
                return Ok((Outcome::Stopped, ran));
            }
            let Some(why) = verdict::judge(&ran, true) else {
                return Ok((self.judge(&ran), ran));
            };
            tries += 1;
            if tries > RETRIES {
                return Ok((Outcome::Invalid(why), ran));
            }
        }
    }

    fn load(&self, rate: Option<f64>, duration: Duration) -> Load {
        Load {
            stages: rate.map(|rate| vec![Stage::constant(rate, duration)]),
            arrival: self.arrival,
            duration,
            drain: TIMEOUT,
            timeout: TIMEOUT,
            connections: self.connections,
            threads: 1,
            keep_alive: true,
        }
    }

    fn run(&self, load: &Load, work: &Work<'_>) -> Result<Ran, Failure> {
        Ok(Ran::together(&drive(&[Job { target: self.target, load }], &work.cancel, None)?))
    }

    /// Waits until the server is about as quick as it was before anybody loaded it.
    fn rest(&self, work: &Work<'_>) -> Result<(), Failure> {
        let load = Load { connections: 1, ..self.load(Some(20.0), Duration::from_millis(250)) };
        for _ in 0..REST {
            let ran = self.run(&load, work)?;
            let median = Sample::new([&ran.tally.service], &ran.tally.censored).quantile_of_few(0.5);
            let quick = median.is_some_and(|median| median <= self.base * 3.0 + 0.005);
            if quick || work.cancel.is_cancelled() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn judge(&self, ran: &Ran) -> Outcome {
        let sample = responses(ran);
        for limit in self.limits {
            if is_broken(limit, ran, &sample) {
                return Outcome::Broken(format!("{limit} is broken"));
            }
            let known = limit.metric.as_ref().and_then(|metric| value(metric, ran, &sample));
            if !matches!(known, Some(crate::report::Value::Known(_))) {
                let why = format!("{limit} cannot be told of {} requests: try longer (--probe)", sample.len());
                return Outcome::Invalid(why);
            }
        }
        match verdict::growth(ran) {
            Some(growth) => {
                Outcome::Broken(format!("the queue grows: {} longer in the second half", format_seconds(growth)))
            }
            None => Outcome::Holds,
        }
    }
}

/// The 95th percentile as it is shown: the bound where it is all that is known.
pub(super) fn shown(ran: &Ran) -> String {
    match responses(ran).quantile(0.95) {
        Quantile::Known { value, .. } => format_seconds(value),
        Quantile::AtLeast(bound) => format!(">= {}", format_seconds(bound)),
        Quantile::Unknown => "n/a".to_owned(),
    }
}
