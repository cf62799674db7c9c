//! `report`: writes what the journal says as one HTML and one Markdown file.

use std::path::{Path, PathBuf};

use clap::Args;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::Status;
use maint_core::units::HumanDuration;
use maint_core::{durable, journal};
use serde_json::Value;

use crate::report::{JournalState, Report};
use crate::workspace;

/// `report`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReportArgs {
    /// Where to write report.html and report.md [default: target/report]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Report on the journal's last days, e.g. 7d [default: 7d]
    #[arg(long, value_name = "DURATION")]
    since: Option<HumanDuration>,
}

/// Writes the report and says where.
pub(crate) fn report(args: &ReportArgs, run: &Run) -> Result<(), Failure> {
    let dir = args.dir.clone().unwrap_or_else(|| workspace::root().join("target/report"));
    let since = args.since.map_or(std::time::Duration::from_secs(7 * 86_400), |since| since.0);
    let from = jiff::Timestamp::now() - since;
    let state_dir = workspace::state_dir()?;
    let (html, journal) = write(&state_dir, &dir, "Maintenance report", from)?;
    run.emit(&journal);
    run.emit(&Record::new(Kind::Step, html.display().to_string(), Status::Ok, "report.html and report.md written"));
    Ok(())
}

/// Writes both files from the records of `state_dir`'s journal since `from`; returns the HTML file's path and a record
/// about the journal itself.
pub(crate) fn write(
    state_dir: &Path,
    dir: &Path,
    title: &str,
    from: jiff::Timestamp,
) -> Result<(PathBuf, Record), Failure> {
    let path = state_dir.join("journal").join("journal.ndjson");
    let subject = path.display().to_string();
    let mut records: Vec<Value> = Vec::new();
    let (state, record) = if path.exists() {
        let entries = journal::read(&path).map_err(|error| Failure::critical(error.to_string()))?;
        for entry in entries {
            // A line that cannot be read is what the check below reports.
            let Ok(entry) = entry else { break };
            let time = entry.record.get("time").and_then(Value::as_str).and_then(|text| text.parse().ok());
            if time.is_some_and(|time: jiff::Timestamp| time >= from) {
                records.push(entry.record);
            }
        }
        match journal::verify(&path) {
            Ok(verified) => {
                let text = format!("intact: {} lines, each chained to the one before", verified.lines);
                (JournalState::Intact { lines: verified.lines }, Record::new(Kind::Check, subject, Status::Ok, text))
            }
            Err(error) => (
                JournalState::Broken(error.to_string()),
                Record::new(Kind::Check, subject, Status::Critical, error.to_string()),
            ),
        }
    } else {
        (
            JournalState::Missing,
            Record::new(Kind::Check, subject, Status::Unknown, "there is no journal: nothing has been recorded"),
        )
    };
    let report = Report::from_records(&records, title, jiff::Timestamp::now(), state);
    std::fs::create_dir_all(dir)
        .map_err(|error| Failure::critical(format!("cannot create {}: {error}", dir.display())))?;
    let html = dir.join("report.html");
    for (path, text) in [(&html, report.html()), (&dir.join("report.md"), report.markdown())] {
        durable::replace(path, text.as_bytes(), 0o644).map_err(|error| Failure::critical(error.to_string()))?;
    }
    Ok((html, record))
}
