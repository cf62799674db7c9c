//! What became of the requests.
//!
//! Every slot of the schedule ends in exactly one place, so that the numbers can be checked against each other: what was
//! scheduled is what was completed, failed, timed out or left unfinished. Times go into histograms of constant size, one set
//! a thread, and the sets are added at the end; percentiles are never averaged.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// The longest time that a histogram tells from longer ones, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;

/// Times in nanoseconds, to three digits.
#[derive(Debug, Clone)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    #[allow(clippy::expect_used, reason = "the bounds are constants, which every test here would see refused")]
    fn default() -> Self {
        Times(Histogram::new_with_bounds(1, LONGEST, 3).expect("these bounds are allowed"))
    }
}

impl Times {
    /// Adds one.
    pub fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds.max(1));
    }

    /// Adds all of another set.
    pub fn add(&mut self, other: &Times) {
        // Both have the same bounds, so nothing is out of them.
        let _ = self.0.add(&other.0);
    }

    /// What has come since a copy was made.
    #[must_use]
    pub fn since(&self, earlier: &Times) -> Times {
        let mut later = self.clone();
        // A copy of the same is never more than it.
        let _ = later.0.subtract(&earlier.0);
        later
    }

    /// How many.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mean in nanoseconds; 0 of none.
    pub fn mean(&self) -> f64 {
        if self.is_empty() { 0.0 } else { self.0.mean() }
    }

    /// The longest in nanoseconds; 0 of none.
    pub fn max(&self) -> u64 {
        if self.is_empty() { 0 } else { self.0.max() }
    }

    /// The shortest in nanoseconds; 0 of none.
    pub fn min(&self) -> u64 {
        if self.is_empty() { 0 } else { self.0.min() }
    }

    /// The time with rank `rank`, counted from 1 in ascending order; 0 of none.
    pub fn at_rank(&self, rank: u64) -> u64 {
        let mut seen = 0;
        for step in self.0.iter_recorded() {
            seen += step.count_at_value();
            if seen >= rank {
                return step.value_iterated_to().min(self.max());
            }
        }
        self.max()
    }

    /// Times and how many of them, in ascending order.
    pub fn steps(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter_recorded().map(|step| (step.value_iterated_to().min(self.max()), step.count_at_value()))
    }
}

/// Why a request came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// No connection could be made.
    Connect,
    /// The handshake failed.
    Tls,
    /// The server refused the login, or what is to be asked of it.
    Login,
    /// The server closed the connection before the answer was whole, or reset it.
    Closed,
    /// The answer is not of the protocol.
    Protocol,
    /// The script cannot go on: an expression has no value.
    Script,
    /// This machine has run out of something (ports, files): the generator's fault, not the server's.
    Generator,
}

impl Fault {
    /// Its name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Connect => "connect",
            Fault::Tls => "tls",
            Fault::Login => "refused",
            Fault::Closed => "closed",
            Fault::Protocol => "protocol",
            Fault::Script => "script",
            Fault::Generator => "generator",
        }
    }
}

/// What a server calls an outcome: 404 of HTTP, 40001 of SQL, MOVED of Redis. The first twelve characters of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Code([u8; 12]);

impl Code {
    /// Of a word; what is not printable ASCII ends it.
    pub fn new(word: &[u8]) -> Self {
        let mut code = [0; 12];
        code.iter_mut().zip(word.iter().take_while(|byte| byte.is_ascii_graphic())).for_each(|(to, from)| *to = *from);
        Code(code)
    }

    /// Of a status of HTTP.
    pub fn of_status(status: u16) -> Self {
        Code::new(&[100, 10, 1].map(|place| b'0' + u8::try_from(status / place % 10).unwrap_or_default()))
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        f.write_str(std::str::from_utf8(self.0.get(..end).unwrap_or_default()).unwrap_or_default())
    }
}

/// Mean and spread of times in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    /// Adds one.
    pub fn record(&mut self, seconds: f64) {
        self.add(&Moments { count: 1.0, sum: seconds, squares: seconds * seconds });
    }

    /// Adds all of another set.
    pub fn add(&mut self, other: &Moments) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// The mean and its standard error; `None` of fewer than ten.
    pub fn mean(&self) -> Option<(f64, f64)> {
        let mean = self.sum / self.count;
        let variance = (self.squares / self.count - mean * mean).max(0.0);
        (self.count >= 10.0).then(|| (mean, (variance / self.count).sqrt()))
    }
}

/// The count of everything, and the times.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Slots that came due.
    pub scheduled: u64,
    /// Answers that are good.
    pub good: u64,
    /// Answers that are errors: a status of 400 and above, an error of SQL or Redis.
    pub bad: u64,
    /// Requests that came to nothing.
    pub failed: u64,
    /// Requests that were given up after the time-out.
    pub timed_out: u64,
    /// Requests that were neither answered nor given up when the run ended, those that were never sent included.
    pub unfinished: u64,
    /// From the planned start to the end of a good answer.
    pub response: Times,
    /// The same of answers that are errors, kept apart: a server that refuses quickly is not a fast server.
    pub response_bad: Times,
    /// For how long an answer had been waited for, from the planned start, when it was given up or the run ended.
    pub censored: Times,
    /// From the moment when a request was really sent to the end of its answer.
    pub service: Times,
    /// From the planned start to the moment when the generator noticed that it had come.
    pub lag: Times,
    /// Answers by status.
    pub statuses: BTreeMap<Code, u64>,
    /// Failures by reason.
    pub faults: BTreeMap<Fault, u64>,
    /// Bytes of answers.
    pub bytes: u64,
    /// Connections that were made after the first ones.
    pub reconnects: u64,
    /// Good responses by the half of the run in which they were to start: a queue that grows makes them differ.
    pub halves: [Moments; 2],
    /// Requests under way, added up over time: request-nanoseconds, counted by a clock of its own.
    pub occupancy: u128,
}

impl Tally {
    /// Answers of every kind.
    pub fn completed(&self) -> u64 {
        self.good + self.bad
    }

    /// Whether every slot ended in exactly one place.
    pub fn is_conserved(&self) -> bool {
        self.scheduled == self.good + self.bad + self.failed + self.timed_out + self.unfinished
    }

    /// The part of arrivals that did not get a good answer, those that are still waited for included; 0 of none.
    pub fn error_ratio(&self) -> f64 {
        if self.scheduled == 0 { 0.0 } else { (self.scheduled - self.good) as f64 / self.scheduled as f64 }
    }

    /// What has come since a copy was made: how requests ended, and the times of those.
    #[must_use]
    pub fn since(&self, earlier: &Tally) -> Tally {
        let less = |now: u64, then: u64| now.saturating_sub(then);
        Tally {
            scheduled: less(self.scheduled, earlier.scheduled),
            good: less(self.good, earlier.good),
            bad: less(self.bad, earlier.bad),
            failed: less(self.failed, earlier.failed),
            timed_out: less(self.timed_out, earlier.timed_out),
            response: self.response.since(&earlier.response),
            response_bad: self.response_bad.since(&earlier.response_bad),
            censored: self.censored.since(&earlier.censored),
            ..Tally::default()
        }
    }

    /// Adds what another thread counted.
    pub fn add(&mut self, other: &Tally) {
        self.scheduled += other.scheduled;
        self.good += other.good;
        self.bad += other.bad;
        self.failed += other.failed;
        self.timed_out += other.timed_out;
        self.unfinished += other.unfinished;
        self.response.add(&other.response);
        self.response_bad.add(&other.response_bad);
        self.censored.add(&other.censored);
        self.service.add(&other.service);
        self.lag.add(&other.lag);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        self.bytes += other.bytes;
        self.reconnects += other.reconnects;
        self.halves.iter_mut().zip(&other.halves).for_each(|(half, other)| half.add(other));
        self.occupancy += other.occupancy;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_two_threads_add_up() {
        let (mut one, mut two) = (Times::default(), Times::default());
        for time in 1..=500_u64 {
            one.record(time * 1_000_000);
            two.record((time + 500) * 1_000_000);
        }
        one.add(&two);
        assert_eq!(one.len(), 1000);
        let close = |found: u64, expected: u64| found.abs_diff(expected * 1_000_000) <= expected * 1_000;
        assert!(close(one.at_rank(500), 500) && close(one.at_rank(1000), 1000) && close(one.at_rank(1), 1));
        assert!(close(one.max(), 1000) && close(one.min(), 1));
    }

    #[test]
    fn what_came_since_is_what_was_added() {
        let mut tally = Tally { scheduled: 3, good: 2, ..Tally::default() };
        tally.response.record(1_000_000);
        let copy = tally.clone();
        tally.scheduled += 5;
        tally.good += 4;
        tally.response.record(9_000_000);
        let since = tally.since(&copy);
        assert_eq!((since.scheduled, since.good, since.response.len()), (5, 4, 1));
        assert!(since.response.min() > 8_000_000);
        assert_eq!(copy.since(&copy).response.len(), 0);
    }

    #[test]
    fn what_is_longer_than_an_hour_is_an_hour() {
        let mut times = Times::default();
        times.record(u64::MAX);
        times.record(0);
        assert_eq!(times.len(), 2);
        assert!(times.max() >= LONGEST && times.max() < LONGEST + LONGEST / 500, "{}", times.max());
    }

    #[test]
    fn a_code_is_a_word() {
        let shown = |word: &[u8]| Code::new(word).to_string();
        assert_eq!((Code::of_status(404).to_string(), shown(b"40001")), ("404".to_owned(), "40001".to_owned()));
        assert_eq!(
            (shown(b"CLUSTERDOWN The"), shown(b"A very long word"), shown(b"")),
            ("CLUSTERDOWN".into(), "A".into(), String::new())
        );
        assert_eq!(shown(b"abcdefghijklmnop"), "abcdefghijkl");
    }

    #[test]
    fn nothing_has_no_times() {
        let times = Times::default();
        assert_eq!((times.at_rank(1), times.max(), times.min(), times.len()), (0, 0, 0, 0));
    }

    #[test]
    fn a_slot_that_is_nowhere_is_missed() {
        let tally = Tally { scheduled: 5, good: 2, bad: 1, failed: 1, unfinished: 1, ..Tally::default() };
        assert!(tally.is_conserved());
        assert!((tally.error_ratio() - 0.6).abs() < 1e-12);
        assert!(!Tally { scheduled: 6, ..tally }.is_conserved());
    }
}
