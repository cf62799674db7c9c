//! Whether a run can be believed.
//!
//! A generator that is late, out of processor time or out of ports measures itself. So every run is checked for that, and
//! one that does not hold is invalid, whatever its percentiles say.

use crate::engine::run::Ran;

/// Lag beyond this is the generator's own, in nanoseconds.
const MOST_LAG: u64 = 1_000_000;
/// Of the median response, as much may be lag.
const LAG_OF_MEDIAN: u64 = 10;
/// Of one processor, a thread may use as much.
const MOST_CPU: f64 = 0.9;
/// How far time-weighted and counted concurrency may lie apart (Little's law).
const LITTLE: f64 = 0.01;
/// A server may fall behind by this part of the load, and keeps up still.
const SLACK: f64 = 0.01;
/// Too few answers for averages.
const FEW: u64 = 100;

/// What is wrong with a run; `None` when nothing is.
pub fn judge(ran: &Ran, is_open: bool) -> Option<String> {
    let tally = &ran.tally;
    if !tally.is_conserved() {
        return Some(format!(
            "requests were lost count of: {} scheduled, {} good, {} bad, {} failed, {} timed out, {} unfinished",
            tally.scheduled, tally.good, tally.bad, tally.failed, tally.timed_out, tally.unfinished
        ));
    }
    if let Some(count) = tally.faults.get(&crate::tally::Fault::Generator) {
        return Some(format!("this machine ran out of ports, files or memory {count} times"));
    }
    // The busiest thread decides: slots of one thread are not taken over by another.
    let cpu = ran.cpu.iter().copied().fold(0.0, f64::max);
    if is_open && cpu > MOST_CPU {
        return Some(format!("the generator is saturated: a thread used {:.0} % of a processor", cpu * 100.0));
    }
    let lag = rank(&tally.lag, 0.99);
    let most = MOST_LAG.max(rank(&tally.response, 0.5) / LAG_OF_MEDIAN);
    if lag > most {
        return Some(format!(
            "the generator is late: 1 % of the requests started {:.3} ms or more behind their time",
            lag as f64 / 1e6
        ));
    }
    little(ran)
}

/// By how much longer responses of a run's second half took than those of its first, in seconds, where chance does not
/// explain it: with a constant rate that is a queue that grows. What is within a hundredth of the half's length is none, as
/// a server that keeps up to one part in a hundred is one that keeps up.
pub fn growth(ran: &Ran) -> Option<f64> {
    let [first, second] = ran.tally.halves.map(|half| half.mean());
    let ((before, doubt), (after, other)) = (first?, second?);
    let allowed = ran.sending.as_secs_f64() / 2.0 * SLACK + 3.0 * doubt.hypot(other);
    (after - before > allowed).then_some(after - before)
}

/// Little's law: the mean number under way is their rate times their mean time, whatever their distribution.
fn little(ran: &Ran) -> Option<String> {
    let tally = &ran.tally;
    if tally.completed() < FEW || tally.completed() != tally.scheduled {
        return None;
    }
    let counted = tally.occupancy as f64;
    let added = tally.service.mean() * tally.service.len() as f64;
    ((counted / added - 1.0).abs() > LITTLE)
        .then(|| format!("the times do not add up (Little's law): {:.3} s against {:.3} s", counted / 1e9, added / 1e9))
}

fn rank(times: &crate::tally::Times, q: f64) -> u64 {
    times.at_rank((times.len() as f64 * q).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tally::{Fault, Tally};

    fn ran() -> Ran {
        let mut tally = Tally::default();
        for _ in 0..1000 {
            tally.scheduled += 1;
            tally.good += 1;
            tally.response.record(1_000_000);
            tally.service.record(1_000_000);
            tally.lag.record(20_000);
            tally.occupancy += 1_000_000;
        }
        let second = Duration::from_secs(1);
        Ran { tally, sending: second, elapsed: second, cpu: vec![0.2], trouble: None, is_partial: false }
    }

    #[test]
    fn a_quiet_generator_is_believed() {
        assert_eq!(judge(&ran(), true), None);
    }

    #[test]
    fn a_busy_or_late_or_starved_generator_is_not() {
        let mut busy = ran();
        busy.cpu = vec![0.1, 0.95];
        assert!(judge(&busy, true).is_some_and(|why| why.contains("95 %")));
        assert_eq!(judge(&busy, false), None, "a closed model is meant to be busy");
        let mut late = ran();
        (0..11).for_each(|_| late.tally.lag.record(3_000_000));
        assert!(judge(&late, true).is_some_and(|why| why.contains("late")));
        let mut starved = ran();
        starved.tally.faults.insert(Fault::Generator, 3);
        assert!(judge(&starved, true).is_some_and(|why| why.contains("ports")));
    }

    #[test]
    fn a_queue_that_grows_is_told_from_noise() {
        let with = |growth: f64| {
            let mut ran = ran();
            for i in 0..1000_u32 {
                // Two per cent too much load for a second: the last one waits 20 ms.
                let seconds = 0.005 + f64::from(i % 7) * 1e-3 + f64::from(i) / 1000.0 * growth;
                ran.tally.halves[usize::from(i >= 500)].record(seconds);
            }
            ran
        };
        assert_eq!(growth(&with(0.0)), None);
        assert_eq!(growth(&with(0.01)), None);
        assert!(growth(&with(0.02)).is_some_and(|growth| (growth - 0.01).abs() < 0.001));
        assert_eq!(growth(&ran()), None, "too few");
    }

    #[test]
    fn books_that_do_not_balance_are_noticed() {
        let mut lost = ran();
        lost.tally.scheduled += 1;
        assert!(judge(&lost, true).is_some_and(|why| why.contains("lost count")));
        let mut wrong = ran();
        wrong.tally.occupancy = wrong.tally.occupancy * 103 / 100;
        assert!(judge(&wrong, true).is_some_and(|why| why.contains("Little")));
    }
}
