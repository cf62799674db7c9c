//! The page of `redis-maint report`: what the checks and the memory analysis recorded, for a person.
//!
//! It is made from records and from nothing else, and it knows little about them. A record says by its label `section`
//! where it belongs (`check`, `total`, `type`, `encoding`, `group`, `key`, `ttl`, `finding`, `walk`; without the label its
//! kind decides), and the names of its fields say their unit. A section nobody foresaw is still on the page, as a table,
//! so that a new measurement needs no change here and nothing that was measured can get lost.
//!
//! What is not known to be good is not shown as good: no records, no check among them, and whatever could not be looked
//! at all show in the verdict.

mod limits;
mod tables;
mod values;

use jiff::Timestamp;
use maint_core::record::{Kind, Record};
use maint_core::report::{Html, Item, Page, Section, items};
use maint_core::status::{Severity, Status};
use maint_core::units::format_count;
use serde_json::Value;

/// Characters of a key or a pattern before it is cut in its middle.
const LONGEST_NAME: usize = 64;

/// What the report is about.
#[derive(Debug, Clone)]
pub struct About {
    /// The servers that were asked, as a person would name them: address, role, version.
    pub servers: Vec<String>,
    /// When the report is made.
    pub generated: Timestamp,
}

/// The report of `records`, in the order they were made, as one self-contained HTML5 file. The same records give the same
/// page.
pub fn render(run: &About, records: &[Record]) -> String {
    let (severity, headline) = verdict(records);
    let mut sections = vec![Section::new("Needs attention", attention(records)), checks(records), memory(records)];
    sections.push(Section::new("Findings", findings(&of(records, "finding"))));
    for name in unforeseen(records) {
        sections.push(Section::new(values::heading(name), tables::generic(name, &of(records, name))));
    }
    sections.push(Section::new("How it was measured", measured(records)));
    Page {
        title: "Redis maintenance",
        severity,
        headline,
        lead: &lead(run, records),
        sections: &sections,
        generated: run.generated,
    }
    .render()
}

/// The sections of the memory analysis and their headings, in the order of the page.
const MEMORY: [(&str, &str); 6] = [
    ("total", "Totals"),
    ("type", "By type"),
    ("encoding", "By encoding"),
    ("group", "By pattern"),
    ("key", "Biggest keys"),
    ("ttl", "Time to live"),
];

/// Where a record belongs.
fn section(record: &Record) -> &str {
    match (record.labels.get("section"), record.kind) {
        (Some(name), _) => name,
        (None, Kind::Check) => "check",
        (None, Kind::Finding) => "finding",
        (None, Kind::Summary) => "walk",
        (None, Kind::Metric) => "measurements",
        (None, Kind::Step) => "steps",
        (None, Kind::Plan) => "plan",
    }
}

fn of<'a>(records: &'a [Record], name: &str) -> Vec<&'a Record> {
    records.iter().filter(|record| section(record) == name).collect()
}

/// The names of sections that have no place of their own, as they come.
fn unforeseen(records: &[Record]) -> Vec<&str> {
    let mut names = Vec::new();
    for name in records.iter().map(section) {
        let known = matches!(name, "check" | "finding" | "walk") || MEMORY.iter().any(|(known, _)| *known == name);
        if !known && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn verdict(records: &[Record]) -> (Severity, &'static str) {
    let worst = records.iter().map(|record| record.status.severity()).max();
    let judged = records.iter().any(|record| section(record) == "check" || record.kind == Kind::Check);
    match worst {
        None => (Severity::Unknown, "Nothing was looked at"),
        Some(Severity::Critical) => (Severity::Critical, "Something is critical"),
        Some(Severity::Unknown) => (Severity::Unknown, "Not everything could be looked at"),
        Some(Severity::Ok | Severity::Warning) if !judged => (Severity::Unknown, "Measured, but nothing was checked"),
        Some(Severity::Warning) => (Severity::Warning, "Something needs attention"),
        Some(Severity::Ok) => (Severity::Ok, "All is well"),
    }
}

/// The sentences under the verdict: where, how many of what, and what is missing.
fn lead(run: &About, records: &[Record]) -> Vec<String> {
    let mut lead = vec![match run.servers.as_slice() {
        [] => "No server was reached.".to_owned(),
        [one] => format!("Server: {one}."),
        many => format!("{} servers: {}.", many.len(), many.join("; ")),
    }];
    if records.is_empty() {
        lead.push("There is no record of any check or measurement.".to_owned());
        return lead;
    }
    if let Some(worst) = records.iter().map(|record| record.status).max() {
        let judged = || records.iter().filter(|record| matches!(record.kind, Kind::Check | Kind::Finding));
        let counts = Status::ALL.iter().rev().filter_map(|status| {
            let n = judged().filter(|record| record.status == *status).count();
            (n > 0).then(|| format!("{} {status}", format_count(n as u64)))
        });
        let counts = counts.collect::<Vec<_>>().join(", ");
        let counts = if counts.is_empty() { String::new() } else { format!(" Checks and findings: {counts}.") };
        lead.push(format!("Worst status: {worst}.{counts}"));
    }
    let unseen = records.iter().filter(|record| not_seen(record)).count();
    if unseen > 0 {
        let what = if unseen == 1 { "1 thing was".to_owned() } else { format!("{unseen} things were") };
        lead.push(format!(
            "{what} not looked at, so this report is without what is there; the last section names what and why."
        ));
    }
    for record in of(records, "walk") {
        let missed: Vec<String> = record
            .numbers()
            .filter(|(name, value)| *value > 0.0 && says_missing(name))
            .map(|(name, value)| format!("{} {}", values::heading(name).to_lowercase(), values::number(name, value)))
            .collect();
        if !missed.is_empty() {
            lead.push(format!("Not all of {} was seen: {}.", values::or(&record.subject, "it"), missed.join(", ")));
        }
    }
    lead
}

/// Whether a record stands for something that was not looked at.
fn not_seen(record: &Record) -> bool {
    use Status::{Deferred, Denied, Left, NotBuilt, Skipped, Unknown};
    record.kind != Kind::Summary && matches!(record.status, Denied | Unknown | NotBuilt | Left | Skipped | Deferred)
}

/// Whether a number of the walk counts what it did not see.
fn says_missing(field: &str) -> bool {
    ["denied", "skipped", "missed", "failed", "unreadable"]
        .iter()
        .any(|word| field.split('_').any(|part| part == *word))
}

/// Everything that is not fine, worst first and otherwise as it came. A summary is there only when no other record is as
/// bad: then it alone tells why.
fn attention(records: &[Record]) -> Html {
    let severity = |record: &Record| record.status.severity();
    let worst = records.iter().filter(|record| record.kind != Kind::Summary).map(severity).max();
    let explained = |record: &Record| record.kind == Kind::Summary && worst >= Some(severity(record));
    let mut bad: Vec<&Record> =
        records.iter().filter(|record| severity(record) > Severity::Ok && !explained(record)).collect();
    if bad.is_empty() {
        return Html::paragraph(if records.is_empty() { "Nothing is known." } else { "Nothing." });
    }
    bad.sort_by_key(|record| std::cmp::Reverse(record.status));
    items(bad.into_iter().map(|record| {
        let advice = record.fields.get("advice").and_then(Value::as_str);
        item(record, advice.map(|text| ("advice".to_owned(), Html::text(text))).into_iter().collect())
    }))
}

fn checks(records: &[Record]) -> Section {
    let checks = of(records, "check");
    let none = Html::paragraph("No check was made.");
    Section::new("Checks", if checks.is_empty() { none } else { tables::checks(&checks) })
}

fn memory(records: &[Record]) -> Section {
    let mut body = Html::new();
    for (name, heading) in MEMORY {
        let records = of(records, name);
        if records.is_empty() {
            continue;
        }
        body.push(&Html::heading(heading));
        body.push(&match name {
            "total" => tables::facts(&records),
            "ttl" => tables::drawn("ttl", heading, &records),
            _ => tables::by_size(heading, &records),
        });
    }
    if body.is_empty() {
        body = Html::paragraph("The memory was not analysed: there is no record of it.");
    }
    Section::new("Memory", body)
}

fn findings(records: &[&Record]) -> Html {
    if records.is_empty() {
        return Html::paragraph("Nothing was found.");
    }
    items(records.iter().map(|record| {
        let (mut details, mut rest) = (Vec::new(), Vec::new());
        for (name, value) in values::fields(record) {
            let part = (values::heading(name).to_lowercase(), values::value(name, value));
            if name == "advice" { details.push(part) } else { rest.push(part) }
        }
        details.extend(rest);
        item(record, details)
    }))
}

fn item(record: &Record, details: Vec<(String, Html)>) -> Item {
    let labels =
        values::labels(record).map(|(name, value)| format!("{} {value}", values::heading(name).to_lowercase()));
    Item {
        severity: record.status.severity(),
        word: record.status.to_string(),
        subject: Html::name(values::or(&record.subject, section(record)), LONGEST_NAME),
        context: labels.collect::<Vec<_>>().join(" · "),
        message: values::or(&record.message, "The record carries no message.").to_owned(),
        details,
    }
}

/// What could not be looked at, and what the looking cost the servers.
fn measured(records: &[Record]) -> Html {
    let mut body = Html::heading("Not looked at");
    let unseen: Vec<&Record> = records.iter().filter(|record| not_seen(record)).collect();
    if unseen.is_empty() {
        body.push(&Html::paragraph("No record says that anything was denied or skipped."));
    } else {
        body.push(&tables::unseen(&unseen));
    }
    body.push(&Html::heading("The walk over the keys"));
    let walk = of(records, "walk");
    if walk.is_empty() {
        body.push(&Html::paragraph("There is no record of a walk over the keys."));
    } else {
        body.push(&tables::facts(&walk));
    }
    body
}

#[cfg(test)]
mod tests;
