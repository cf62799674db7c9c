//! A run as one page that needs nothing beside it: what was waited, second by second, and every number.

mod chart;

use std::path::Path;

use jiff::Timestamp;
use maint_core::durable;
use maint_core::failure::Failure;
use maint_core::report::{Column, Html, Page, Section, table};
use maint_core::status::{Severity, Status};
use maint_core::threshold::Threshold;
use maint_core::units::{format_ratio, format_seconds};

use crate::engine::run::Ran;
use crate::quantile::{Quantile, Sample};
use crate::report::{QUANTILES, is_broken, judge, rate, responses};
use crate::seconds::Seconds;
use crate::tally::Times;
use chart::Chart;

/// What there is to tell.
pub struct Told<'a> {
    /// What was under load.
    pub name: &'a str,
    /// The run.
    pub ran: &'a Ran,
    /// Its seconds.
    pub seconds: &'a Seconds,
    /// What had to hold.
    pub limits: &'a [Threshold],
    /// What is wrong with the run.
    pub why: Option<&'a str>,
}

/// Whether a page can be written there: better known before a long run than after it.
///
/// # Errors
/// There is no such directory.
pub fn possible(path: &Path) -> Result<(), Failure> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if directory.is_dir() && !path.is_dir() {
        return Ok(());
    }
    Err(Failure::usage(format!("the page cannot be {}: its directory is not there, or it is one", path.display())))
}

/// Writes the page, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, told: &Told<'_>) -> Result<(), Failure> {
    let page = told.render();
    durable::replace(path, page.as_bytes(), 0o644)
        .map_err(|error| Failure::critical(format!("cannot write the page {}: {error}", path.display())))
}

impl Told<'_> {
    fn render(&self) -> String {
        let sample = responses(self.ran);
        let broken: Vec<String> =
            self.limits.iter().filter(|limit| is_broken(limit, self.ran, &sample)).map(ToString::to_string).collect();
        let unknown: Vec<String> = self
            .limits
            .iter()
            .filter(|limit| judge(limit, self.ran, &sample).status == Status::Unknown)
            .map(ToString::to_string)
            .collect();
        let (severity, headline) = match (self.why, broken.as_slice()) {
            (_, []) if self.ran.is_partial => (Severity::Unknown, "It was ended before its time".to_owned()),
            (Some(why), _) => (Severity::Unknown, format!("Nothing can be concluded: {why}")),
            (None, []) if self.ran.tally.good == 0 => (Severity::Critical, "Not one good answer".to_owned()),
            (None, []) if !unknown.is_empty() => (Severity::Unknown, format!("Cannot be told: {}", unknown.join(", "))),
            (None, []) => (Severity::Ok, "Every limit holds".to_owned()),
            (None, broken) => (Severity::Critical, format!("Broken: {}", broken.join(", "))),
        };
        let tally = &self.ran.tally;
        let lead = [format!(
            "{} of {} requests were answered well in {}, {:.1} a second. Times count from the planned start of each request; what was never \
             answered is in them as at least the time that was waited.",
            tally.good,
            tally.scheduled,
            format_seconds(self.ran.sending.as_secs_f64()),
            rate(self.ran)
        )];
        let sections = [
            Section::new("How long was waited", curve(&sample)),
            Section::new("Second by second", over_time(self.seconds)),
            Section::new("Times", times(self.ran)),
            Section::new("What became of the requests", ends(self.ran)),
        ];
        let title = format!("Load on {}", self.name);
        Page {
            title: &title,
            severity,
            headline: &headline,
            lead: &lead,
            sections: &sections,
            generated: Timestamp::now(),
        }
        .render()
    }
}

fn shown(quantile: Quantile) -> String {
    match quantile {
        Quantile::Known { value, .. } => format_seconds(value),
        Quantile::AtLeast(bound) => format!("≥ {}", format_seconds(bound)),
        Quantile::Unknown => "too few requests".to_owned(),
    }
}

/// The response time over the part of the requests that waited no longer, the last ones drawn wide.
fn curve(sample: &Sample) -> Html {
    // Each step to the right has a tenth of the requests beyond it that the step before had.
    let place = |q: f64| -(1.0 - q).log10();
    let points: Vec<(f64, f64, bool)> = (0..=40)
        .map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 10.0))
        .filter_map(|q| match sample.quantile(q) {
            Quantile::Known { value, .. } => Some((place(q), value, false)),
            Quantile::AtLeast(bound) => Some((place(q), bound, true)),
            Quantile::Unknown => None,
        })
        .collect();
    let Some(last) = points.last() else { return Html::paragraph("There are too few requests to say.") };
    let highest = points.iter().map(|(_, value, _)| *value).fold(0.0, f64::max);
    let mut chart = Chart::new(0.0, last.0.max(1.0), highest, &format_seconds);
    chart.line(&points);
    for (text, q) in [("0 %", 0.0), ("90 %", 0.9), ("99 %", 0.99), ("99.9 %", 0.999), ("99.99 %", 0.9999)] {
        if place(q) <= last.0 + 1e-9 {
            chart.mark(place(q), text);
        }
    }
    let words = QUANTILES.map(|(_, q)| format!("{} % within {}.", q * 100.0, shown(sample.quantile(q)))).join(" ");
    chart.finish("curve", "Response time by the part of requests that waited no longer", &words)
}

/// What ended in each second, good and not, and how long 95 % of it had waited.
fn over_time(seconds: &Seconds) -> Html {
    let each = &seconds.each;
    if each.is_empty() {
        return Html::paragraph("The run was shorter than a second.");
    }
    let ended = |second: &crate::tally::Tally| second.completed() + second.failed + second.timed_out;
    let highest = each.iter().map(ended).max().unwrap_or_default() as f64;
    let count = each.len() as f64;
    let mut chart = Chart::new(0.0, count, highest, &|value| format!("{value:.0}/s"));
    let mut waits = Vec::new();
    for (index, second) in each.iter().enumerate() {
        let (x, good, all) = (index as f64, second.good as f64, ended(second) as f64);
        chart.column(x, 1.0, 0.0, good, "after");
        chart.column(x, 1.0, good, all, "critical");
        let p95 = Sample::new([&second.response], &second.censored).quantile_of_few(0.95);
        waits.push((x + 0.5, p95.unwrap_or_default(), false));
    }
    chart.mark(0.0, "0 s");
    chart.mark(count, &format!("{count:.0} s"));
    let (good, bad) = each.iter().fold((0, 0), |(good, bad), one| (good + one.good, bad + ended(one) - one.good));
    let words = format!("{good} good answers and {bad} others in {count} seconds, at most {highest:.0} in one.");
    let mut out = chart.finish("answers", "Answers in each second", &words);
    let longest = waits.iter().map(|(_, wait, _)| *wait).fold(0.0, f64::max);
    let mut chart = Chart::new(0.0, count, longest, &format_seconds);
    chart.line(&waits);
    chart.mark(0.0, "0 s");
    chart.mark(count, &format!("{count:.0} s"));
    let words =
        format!("95 % of what ended in a second had waited no longer; {} in the worst.", format_seconds(longest));
    out.push(&chart.finish("waits", "p95 of each second", &words));
    out
}

fn times(ran: &Ran) -> Html {
    let columns = [
        Column::text("Of the requests"),
        Column::number("Response"),
        Column::text("95 % interval"),
        Column::number("Service"),
        Column::number("Lag"),
    ];
    let of = |times: &Times| Sample::new([times], &Times::default());
    let (all, service, lag) = (responses(ran), of(&ran.tally.service), of(&ran.tally.lag));
    let rows = QUANTILES.map(|(_, q)| {
        let interval = match all.quantile(q) {
            Quantile::Known { low, high: Some(high), .. } => {
                format!("{} to {}", format_seconds(low), format_seconds(high))
            }
            _ => String::new(),
        };
        let cell =
            |sample: &Sample| Html::text(&if sample.is_empty() { String::new() } else { shown(sample.quantile(q)) });
        vec![Html::text(&format!("{} %", q * 100.0)), cell(&all), Html::text(&interval), cell(&service), cell(&lag)]
    });
    table("Times", &columns, rows)
}

fn ends(ran: &Ran) -> Html {
    let tally = &ran.tally;
    let part = |count: u64| if tally.scheduled == 0 { 0.0 } else { count as f64 / tally.scheduled as f64 };
    let rows = [
        ("answered well", tally.good),
        ("answered with an error", tally.bad),
        ("failed", tally.failed),
        ("given up after the time-out", tally.timed_out),
        ("neither answered nor given up when the run ended", tally.unfinished),
    ];
    let row = |(what, count): (&str, u64)| {
        vec![Html::text(what), Html::text(&count.to_string()), Html::text(&format_ratio(part(count)))]
    };
    let codes =
        tally.statuses.iter().map(|(code, count)| vec![Html::code(&code.to_string()), Html::text(&count.to_string())]);
    let mut out =
        table("Ends", &[Column::text("Requests"), Column::number("Count"), Column::number("Part")], rows.map(row));
    out.push(&table("Codes", &[Column::text("Code"), Column::number("Answers")], codes));
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tally::Tally;

    #[test]
    fn a_page_escapes_names_needs_nothing_else_and_survives_nothing_at_all() {
        for good in [0, 500_u64] {
            let mut tally = Tally { scheduled: good + 2, good, unfinished: 2, ..Tally::default() };
            (0..good).for_each(|i| tally.response.record(1_000_000 + i * 1000));
            (0..2).for_each(|_| tally.censored.record(2_000_000_000));
            let mut seconds = Seconds::default();
            seconds.look(Some(&tally));
            let second = Duration::from_secs(1);
            let ran = Ran { tally, sending: second, elapsed: second, cpu: vec![], trouble: None, is_partial: false };
            let limits = ["p(95)<1us".parse().unwrap()];
            let told = Told { name: "http://a/<b>&", ran: &ran, seconds: &seconds, limits: &limits, why: None };
            let page = told.render();
            assert!(page.contains("http://a/&lt;b&gt;&amp;") && !page.contains("<b>&"), "{page}");
            assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("href=\"http"), "{page}");
            assert!(!page.contains("NaN") && !page.contains("inf%"), "{page}");
            assert!(page.contains("Broken: p(95)&lt;1us"), "{page}");
            // What cannot be told does not hold: a handful of requests has no p(99).
            let limits = ["p(99)<1h".parse().unwrap()];
            let page = Told { name: "a", ran: &ran, seconds: &seconds, limits: &limits, why: None }.render();
            assert!(!page.contains("Every limit holds"), "{page}");
        }
    }
}
