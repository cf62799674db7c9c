//! The report of a maintenance routine: what a person reads the morning after.
//!
//! It is made from journal records and from nothing else, so that the same journal gives the same report on any machine
//! and at any later time. [`Report::from_records`] works out everything that is said; [`html`](Report::html) and
//! [`markdown`](Report::markdown) only say it, one self-contained file each. Both hold to one rule: what is not known to
//! be good is not shown as good. No records, records that cannot be read and a broken journal all show in the verdict.
//!
//! - [`entry`]: one record, read leniently, and the severity of its status
//! - [`pairs`]: numbers before and after
//! - [`html`] and its drawing [`timeline`], [`markdown`]: the two files; what any report's page is made of is
//!   [`maint_core::report`]

mod entry;
mod html;
mod markdown;
mod pairs;
mod timeline;

use jiff::Timestamp;
use serde_json::Value;

use entry::{Entry, Kind, Status};
use maint_core::status::Severity;
use maint_core::units::{format_count, format_seconds};
use pairs::PairGroup;

/// What checking the journal's hash chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JournalState {
    /// The chain holds over this many lines.
    Intact {
        /// Lines checked.
        lines: u64,
    },
    /// The chain does not hold; where and how.
    Broken(String),
    /// There is no journal.
    Missing,
}

impl JournalState {
    fn severity(&self) -> Severity {
        match self {
            Self::Intact { .. } => Severity::Ok,
            Self::Broken(_) => Severity::Critical,
            Self::Missing => Severity::Warning,
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Intact { lines } => {
                let lines = count(*lines as usize, "line");
                format!(
                    "The journal is intact: the hash chain holds over {lines}, so none of them was edited or taken out."
                )
            }
            Self::Broken(how) => {
                format!("The journal is broken: {how}. Do not rely on this report before someone has looked.")
            }
            Self::Missing => "The journal is missing, so nothing vouches for this report.".to_owned(),
        }
    }
}

/// One program that ran: a step of the routine, or a run that no routine step accounts for.
#[derive(Debug, Clone)]
struct Ran {
    name: String,
    command: String,
    status: Status,
    exit_code: Option<i64>,
    seconds: Option<f64>,
    /// What the program said of its run.
    said: String,
    span: Option<(Timestamp, Timestamp)>,
}

impl Ran {
    fn exit(&self) -> String {
        self.exit_code.map_or_else(|| "–".to_owned(), |code| code.to_string())
    }

    fn duration(&self) -> String {
        self.seconds.map_or_else(|| "–".to_owned(), format_seconds)
    }
}

/// One step that changed something and was seen to work.
#[derive(Debug, Clone)]
struct Change {
    subject: String,
    action: String,
    database: String,
    /// The pairs in words, or else the message.
    effect: String,
    seconds: Option<f64>,
}

/// Something a person should read.
#[derive(Debug, Clone)]
struct Left {
    status: Status,
    subject: String,
    /// Program, task, action and database, as far as the record names them.
    context: String,
    message: String,
    /// Further fields worth reading, by name.
    details: Vec<(&'static str, String)>,
}

/// Everything the report says, before it has a form.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    title: String,
    generated: Timestamp,
    journal: JournalState,
    severity: Severity,
    headline: String,
    /// Sentences under the headline.
    lead: Vec<String>,
    ran: Vec<Ran>,
    pairs: Vec<PairGroup>,
    /// By task, in the order of the records.
    changed: Vec<(String, Vec<Change>)>,
    /// What went well and changed nothing, counted; empty when there was none.
    besides: String,
    left: Vec<Left>,
}

impl Report {
    /// Works out the report of `records`, which are journal records in the order they were written: of the routine and of
    /// every program it started. `generated` is when the report is made.
    pub(crate) fn from_records(records: &[Value], title: &str, generated: Timestamp, journal: JournalState) -> Self {
        let entries: Vec<Entry<'_>> = records.iter().filter_map(Entry::read).collect();
        let unreadable = records.len() - entries.len();
        let (ran, changed, left) = (what_ran(&entries), what_changed(&entries), what_was_left(&entries));
        let made = entries.iter().filter(|entry| is_change(entry)).count();

        let worst = entries.iter().map(|entry| &entry.status).min_by_key(|status| status.rank());
        let happened = !ran.is_empty() || !left.is_empty() || entries.iter().any(|entry| is_event(entry.kind));
        let planned = made == 0 && entries.iter().any(|entry| entry.status.word == "planned");
        let (mut severity, headline) = match worst {
            _ if !happened && unreadable > 0 => (Severity::Unknown, "Could not tell what ran".to_owned()),
            Some(status) if happened => (status.severity, headline(status, planned)),
            _ => (Severity::Warning, "Nothing ran".to_owned()),
        };

        let mut lead = Vec::new();
        if happened {
            let worst = worst.map_or_else(String::new, |status| format!("Worst status: {}. ", status.word));
            lead.push(format!("{worst}{}", when(&entries)));
            let needs = if left.len() == 1 { "entry needs" } else { "entries need" };
            let well = ran.iter().filter(|row| row.status.severity == Severity::Ok).count();
            let ended = match ran.len() {
                0 => "No program's run is recorded".to_owned(),
                all => format!("{} of {} ended well", format_count(well as u64), count(all, "program")),
            };
            let made = count(made, "change");
            lead.push(format!("{ended}; {made} made; {} {needs} a person.", none_or(left.len())));
        } else if unreadable == 0 {
            lead.push("There is no record of any step, check or finding.".to_owned());
        }
        if unreadable > 0 {
            severity = severity.max(Severity::Unknown);
            let records = count(unreadable, "record");
            lead.push(format!("{records} could not be read and are not in this report; look at the journal itself."));
        }
        if journal.severity() > Severity::Ok {
            severity = severity.max(journal.severity());
            lead.push(journal.sentence());
        }

        Self {
            title: title.to_owned(),
            generated,
            severity,
            headline: qualified(headline, &journal, unreadable),
            lead,
            ran,
            pairs: pairs::group_pairs(&entries),
            changed,
            besides: besides(&entries),
            left,
            journal,
        }
    }
}

/// Whether a record of this kind is something that happened: a measurement alone is not, and a run's summary without
/// any step is not either.
fn is_event(kind: Kind) -> bool {
    !matches!(kind, Kind::Metric | Kind::Summary)
}

/// The worst status in words.
fn headline(worst: &Status, planned: bool) -> String {
    match worst.word.as_str() {
        "failed" => "A step failed",
        "critical" => "Something is critical",
        "denied" => "Something was denied",
        "not-built" => "A program is not built",
        "left" => "Finished, with work left",
        "deferred" => "Finished, with work deferred",
        "ineffective" => "Finished, but a step had no effect",
        "skipped" => "Finished, with steps skipped",
        "warning" => "Finished, with warnings",
        _ if worst.severity > Severity::Ok => "Something could not be told",
        _ if planned => "Planned only: nothing was changed",
        _ => "All went well",
    }
    .to_owned()
}

/// The headline with what makes it doubtful, so that nobody who reads only the first line is misled.
fn qualified(headline: String, journal: &JournalState, unreadable: usize) -> String {
    match journal {
        JournalState::Broken(_) => format!("{headline}, but the journal is broken"),
        JournalState::Missing => format!("{headline}, and there is no journal"),
        JournalState::Intact { .. } if unreadable > 0 && !headline.starts_with("Could") => {
            format!("{headline}, but not every record could be read")
        }
        JournalState::Intact { .. } => headline,
    }
}

/// From the first start to the last record, and how long that is.
fn when(entries: &[Entry<'_>]) -> String {
    let work = || entries.iter().filter(|entry| entry.kind != Kind::Metric);
    let start = work().filter_map(Entry::start).min();
    let end = work().filter_map(|entry| entry.time).max();
    let (Some(start), Some(end)) = (start, end) else { return "When it ran is not recorded.".to_owned() };
    let (day, last_day) = (start.strftime("%A %-d %B %Y").to_string(), end.strftime("%A %-d %B %Y").to_string());
    let until = if day == last_day { end.strftime("%H:%M").to_string() } else { format!("{last_day}, {}", clock(end)) };
    let length = format_seconds((end.as_second() - start.as_second()) as f64);
    format!("{day}, {} to {until} UTC; it took {length}.", clock(start))
}

fn clock(time: Timestamp) -> String {
    time.strftime("%H:%M").to_string()
}

/// `1 step`, `1,200 steps`.
fn count(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", none_or(n), if n == 1 { "" } else { "s" })
}

fn none_or(n: usize) -> String {
    if n == 0 { "no".to_owned() } else { format_count(n as u64) }
}

fn or<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}

/// The routine's steps, then every run whose summary no routine step accounts for, so that no run is missing.
fn what_ran(entries: &[Entry<'_>]) -> Vec<Ran> {
    let summaries = || entries.iter().filter(|entry| entry.kind == Kind::Summary && entry.tool != "xtask");
    let row = |entry: &Entry<'_>, name: String, said: String| Ran {
        name,
        command: entry.text("command").to_owned(),
        status: entry.status.clone(),
        exit_code: entry.data.get("exit_code").and_then(Value::as_i64),
        seconds: entry.duration(),
        said,
        span: entry.start().zip(entry.time),
    };
    let steps = || entries.iter().filter(|entry| entry.is_routine_step());
    let routine = steps().map(|step| {
        let child = step.text("child_run");
        let summary = summaries().find(|summary| !child.is_empty() && summary.run == child);
        let said = match (step.text("child_summary"), summary) {
            ("", Some(summary)) => said_by(summary),
            (said, _) => or(said, step.message).to_owned(),
        };
        row(step, or(step.subject, step.task).to_owned(), said)
    });
    let alone = summaries()
        .filter(|summary| summary.run.is_empty() || !steps().any(|step| step.text("child_run") == summary.run))
        .map(|summary| row(summary, format!("{} {}", summary.tool, summary.task), said_by(summary)));
    routine.chain(alone).collect()
}

/// A summary's message, or else its counts.
fn said_by(summary: &Entry<'_>) -> String {
    if !summary.message.is_empty() {
        return summary.message.to_owned();
    }
    let counts = summary.data.get("counts").and_then(Value::as_object);
    let counts = counts.into_iter().flatten().filter(|(_, n)| n.as_u64() != Some(0));
    counts.map(|(status, n)| format!("{n} {status}")).collect::<Vec<_>>().join(", ")
}

/// Whether a record is a change that was seen to work. A routine's own steps are in the table of what ran.
fn is_change(entry: &Entry<'_>) -> bool {
    entry.kind == Kind::Step && entry.status.word == "ok" && !entry.is_routine_step()
}

fn what_changed(entries: &[Entry<'_>]) -> Vec<(String, Vec<Change>)> {
    let mut groups: Vec<(String, Vec<Change>)> = Vec::new();
    for entry in entries.iter().filter(|entry| is_change(entry)) {
        let effect = pairs::effect(entry);
        let change = Change {
            subject: entry.subject.to_owned(),
            action: entry.label("action").to_owned(),
            database: entry.label("database").to_owned(),
            effect: or(&effect, entry.message).to_owned(),
            seconds: entry.duration(),
        };
        match groups.iter_mut().find(|(task, _)| task == entry.task) {
            Some((_, changes)) => changes.push(change),
            None => groups.push((entry.task.to_owned(), vec![change])),
        }
    }
    for (_, changes) in &mut groups {
        fold(changes, MOST_CHANGES, |more| Change {
            subject: format!("and {more} more"),
            action: String::new(),
            database: String::new(),
            effect: "each in the journal".to_owned(),
            seconds: None,
        });
    }
    groups
}

/// Lines of one task that are shown one by one; a cleanup may change millions of keys.
const MOST_CHANGES: usize = 200;
/// The same of what a person should read.
const MOST_LEFT: usize = 500;

/// Keeps the first `most` lines and one that says how many more there are.
fn fold<T>(lines: &mut Vec<T>, most: usize, rest: impl FnOnce(String) -> T) {
    if lines.len() > most {
        let more = lines.len() - most;
        lines.truncate(most);
        lines.push(rest(format_count(more as u64)));
    }
}

/// Records that are fine and changed nothing, as counts: `12 checks ok, 1 step gone`.
fn besides(entries: &[Entry<'_>]) -> String {
    let mut counts: Vec<(Kind, &str, usize)> = Vec::new();
    let quiet = |entry: &&Entry<'_>| {
        is_event(entry.kind) && entry.status.severity == Severity::Ok && !is_change(entry) && !entry.is_routine_step()
    };
    for entry in entries.iter().filter(quiet) {
        let word = entry.status.word.as_str();
        match counts.iter_mut().find(|(kind, known, _)| *kind == entry.kind && *known == word) {
            Some((_, _, n)) => *n += 1,
            None => counts.push((entry.kind, word, 1)),
        }
    }
    let parts = counts.iter().map(|(kind, word, n)| match kind {
        Kind::Plan if *n > 1 => format!("{} plan entries {word}", format_count(*n as u64)),
        kind => format!("{} {word}", count(*n, kind.noun())),
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// Everything that is not fine, worst first and otherwise in the order of the records. A summary is there only when no
/// other record of its run is as bad: then it alone tells why, for instance that the server did not answer.
fn what_was_left(entries: &[Entry<'_>]) -> Vec<Left> {
    let bad = |entry: &Entry<'_>| entry.status.severity > Severity::Ok;
    let explained = |summary: &Entry<'_>| {
        let mut others = entries.iter().filter(|entry| entry.kind != Kind::Summary && entry.run == summary.run);
        others.any(|entry| entry.status.severity >= summary.status.severity)
    };
    let mut found: Vec<&Entry<'_>> =
        entries.iter().filter(|entry| bad(entry) && (entry.kind != Kind::Summary || !explained(entry))).collect();
    // A finding is there to be read, whatever its status.
    found.extend(entries.iter().filter(|entry| entry.kind == Kind::Finding && !bad(entry)));
    found.sort_by_key(|entry| entry.status.rank());
    let mut all: Vec<Left> = found.into_iter().map(left).collect();
    let status = all.get(MOST_LEFT).map(|left| left.status.clone());
    fold(&mut all, MOST_LEFT, |more| Left {
        status: status.unwrap_or_else(|| Status::new("unknown")),
        subject: format!("and {more} more"),
        context: String::new(),
        message: "each in the journal; the worst stand first".to_owned(),
        details: Vec::new(),
    });
    all
}

fn left(entry: &Entry<'_>) -> Left {
    let mut context = vec![entry.tool, entry.task, entry.label("action"), entry.label("database")];
    context.retain(|part| !part.is_empty());
    context.dedup();
    let message = or(entry.message, or(entry.text("child_summary"), "The record carries no message.")).to_owned();
    let names = ["reason", "holder", "attempts", "notices", "sql", "command", "exit_code"];
    let details = names.into_iter().filter_map(|name| {
        let text = plain(entry.data.get(name)?);
        (!text.is_empty() && text != message).then_some((name, text))
    });
    Left {
        status: entry.status.clone(),
        subject: or(entry.subject, entry.task).to_owned(),
        context: context.join(" · "),
        details: details.collect(),
        message,
    }
}

/// A field's value as text: a list line by line, whatever is nested as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join("\n"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
