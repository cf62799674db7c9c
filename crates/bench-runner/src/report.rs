//! A run, told: fields for programs, and a judgement of each limit.

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::Status;
use maint_core::threshold::{Metric, Threshold};
use maint_core::units::format_seconds;

use crate::engine::run::Ran;
use crate::quantile::{Quantile, Sample};
use crate::tally::Times;

/// The quantiles that every summary has, and what they are called.
pub const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)];

/// What limits can speak of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// It is this.
    Known(f64),
    /// It is this or more.
    AtLeast(f64),
    /// It cannot be told.
    Unknown,
}

/// The response times of a run: good answers, and those that were waited for in vain.
pub fn responses(ran: &Ran) -> Sample {
    Sample::new([&ran.tally.response], &ran.tally.censored)
}

/// The value of a metric: `p(95)`, `med`, `avg`, `min`, `max` of the response time in seconds, `error_rate` (of arrivals),
/// `rate` (good answers a second), `count` (arrivals). `None` for one that does not exist.
pub fn value(metric: &Metric, ran: &Ran, sample: &Sample) -> Option<Value> {
    let tally = &ran.tally;
    let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
    let whole = |value: f64| if tally.censored.is_empty() { Value::Known(value) } else { Value::AtLeast(value) };
    let quantile = |q: f64| match sample.quantile(q) {
        Quantile::Known { value, .. } => Value::Known(value),
        Quantile::AtLeast(value) => Value::AtLeast(value),
        Quantile::Unknown => Value::Unknown,
    };
    Some(match metric {
        Metric::Percentile(percent) => quantile(percent / 100.0),
        Metric::Name(name) => match name.as_str() {
            "med" => quantile(0.5),
            _ if sample.is_empty() && ["avg", "min", "max"].contains(&name.as_str()) => Value::Unknown,
            "avg" => {
                let total = tally.response.mean() * tally.response.len() as f64
                    + tally.censored.mean() * tally.censored.len() as f64;
                whole(total / sample.len() as f64 / 1e9)
            }
            "max" => whole(seconds(tally.response.max().max(tally.censored.max()))),
            "min" => Value::Known(seconds(tally.response.min())),
            "error_rate" => Value::Known(tally.error_ratio()),
            "rate" => Value::Known(rate(ran)),
            "count" => Value::Known(tally.scheduled as f64),
            _ => return None,
        },
    })
}

/// Good answers a second of the time in which requests were started.
pub fn rate(ran: &Ran) -> f64 {
    ran.tally.good as f64 / ran.sending.as_secs_f64().max(1e-9)
}

/// A run in one line; `why` is what is wrong with it.
pub fn overview(name: &str, ran: &Ran, why: Option<&str>) -> Record {
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
    Record::new(Kind::Check, name, status, message)
        .field("scheduled", tally.scheduled)
        .field("completed", tally.completed())
        .field("requests_per_second", tally.good as f64 / ran.sending.as_secs_f64().max(1e-9))
        .field("response_p50_seconds", sample.quantile(0.5).known())
        .field("response_p95_seconds", sample.quantile(0.95).known())
        .field("response_p99_seconds", sample.quantile(0.99).known())
}

/// Puts the run into the summary.
pub fn summarize(run: &Run, ran: &Ran, verdict: Option<&str>) {
    let tally = &ran.tally;
    run.result("scheduled", tally.scheduled);
    run.result("completed", tally.completed());
    run.result("good", tally.good);
    run.result("bad", tally.bad);
    run.result("failed", tally.failed);
    run.result("timed_out", tally.timed_out);
    run.result("unfinished", tally.unfinished);
    run.result("error_ratio", tally.error_ratio());
    run.result("requests_per_second", rate(ran));
    run.result("sending_seconds", ran.sending.as_secs_f64());
    let sample = responses(ran);
    for (name, q) in QUANTILES {
        let quantile = sample.quantile(q);
        run.result(&format!("response_{name}_seconds"), quantile.known());
        match quantile {
            Quantile::Known { low, high, .. } => run.result(&format!("response_{name}_interval_seconds"), (low, high)),
            Quantile::AtLeast(bound) => run.result(&format!("response_{name}_at_least_seconds"), bound),
            Quantile::Unknown => {}
        }
    }
    times(run, "response_bad", &tally.response_bad);
    times(run, "service", &tally.service);
    times(run, "lag", &tally.lag);
    let statuses: std::collections::BTreeMap<String, u64> =
        tally.statuses.iter().map(|(status, count)| (status.to_string(), *count)).collect();
    run.result("statuses", statuses);
    let faults: std::collections::BTreeMap<&str, u64> =
        tally.faults.iter().map(|(fault, count)| (fault.as_str(), *count)).collect();
    run.result("faults", faults);
    run.result("received_bytes", tally.bytes);
    run.result("reconnects", tally.reconnects);
    run.result("generator_cpu_ratio", ran.cpu.iter().copied().fold(0.0, f64::max));
    run.result("partial", ran.is_partial);
    run.result("verdict", verdict.unwrap_or("valid"));
}

fn times(run: &Run, name: &str, times: &Times) {
    if times.is_empty() {
        return;
    }
    let sample = Sample::new([times], &Times::default());
    for (quantile, q) in QUANTILES {
        run.result(&format!("{name}_{quantile}_seconds"), sample.quantile(q).known());
    }
}

/// Whether a limit is one that more load can break: only such a one can say which rate is too high.
///
/// # Errors
/// It is none.
pub fn is_of_load(limit: &Threshold) -> Result<(), Failure> {
    let fits = match &limit.metric {
        Some(Metric::Percentile(_)) => true,
        Some(Metric::Name(name)) => ["med", "avg", "max", "error_rate"].contains(&name.as_str()),
        None => false,
    };
    if fits {
        return Ok(());
    }
    Err(Failure::usage(format!("{limit} is no limit that a rate is searched for"))
        .hint("p(N), med, avg, max and error_rate are: --slo 'p(95)<200ms,error_rate<5%'"))
}

/// Whether a limit is broken for certain.
pub fn is_broken(limit: &Threshold, ran: &Ran, sample: &Sample) -> bool {
    match limit.metric.as_ref().and_then(|metric| value(metric, ran, sample)) {
        Some(Value::Known(value)) => limit.violated(value) == Some(true),
        Some(Value::AtLeast(bound)) => limit.violated(bound) == Some(true) && limit.violated(f64::MAX) == Some(true),
        Some(Value::Unknown) | None => false,
    }
}

/// Judges one limit.
pub fn judge(limit: &Threshold, ran: &Ran, sample: &Sample) -> Record {
    let text = limit.to_string();
    let Some(value) = limit.metric.as_ref().and_then(|metric| value(metric, ran, sample)) else {
        return Record::new(Kind::Check, text, Status::Unknown, "there is no such metric in a run");
    };
    let (status, shown, number) = match value {
        Value::Unknown => (Status::Unknown, "it cannot be told: there are too few requests".to_owned(), None),
        Value::Known(value) => match limit.violated(value) {
            Some(true) => (Status::Critical, format!("broken: it is {}", show(limit, value)), Some(value)),
            Some(false) => (Status::Ok, format!("it is {}", show(limit, value)), Some(value)),
            None => (Status::Unknown, "the limit does not fit the metric".to_owned(), Some(value)),
        },
        // Whether more would break the limit as well is seen with a value beyond all others.
        Value::AtLeast(bound) => match (limit.violated(bound), limit.violated(f64::MAX)) {
            (Some(true), Some(true)) => {
                (Status::Critical, format!("broken: it is {} or more", show(limit, bound)), Some(bound))
            }
            (Some(false), Some(false)) => (Status::Ok, format!("it is {} or more", show(limit, bound)), Some(bound)),
            _ => (
                Status::Unknown,
                format!("it cannot be told: it is {} or more, some requests were never answered", show(limit, bound)),
                Some(bound),
            ),
        },
    };
    Record::new(Kind::Check, text, status, shown).field("value", number)
}

fn show(limit: &Threshold, value: f64) -> String {
    match &limit.metric {
        Some(Metric::Name(name)) if name == "error_rate" => maint_core::units::format_ratio(value),
        Some(Metric::Name(name)) if name == "rate" || name == "count" => format!("{value:.1}"),
        _ => maint_core::units::format_seconds(value),
    }
}
