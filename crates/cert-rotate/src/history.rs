//! `history`: the generations of a certificate.

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::HistoryArgs;
use crate::live::Live;
use crate::rotate::about;
use crate::work::Work;

/// Lists them, oldest first.
///
/// # Errors
/// The archive cannot be read, or holds no such certificate.
pub fn run(args: &HistoryArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let live = work.live()?;
    work.subject = live.root().display().to_string();
    let known = live.names()?;
    if let Some(name) = args.names.iter().find(|name| !known.contains(name)) {
        let nearest = maint_core::config::nearest(name, known.iter().map(String::as_str));
        let root = live.root().display();
        return Err(Failure::usage(format!("there is no generation of `{name}` in {root}{nearest}")));
    }
    let names = if args.names.is_empty() { &known } else { &args.names };
    for name in names {
        one(&live, name, work)?;
    }
    Ok(())
}

fn one(live: &Live, name: &str, work: &Work<'_>) -> Result<(), Failure> {
    let current = live.current_number(name)?;
    for number in live.numbers(name)? {
        let meta = live.meta(name, number);
        let is_current = current == Some(number);
        let what = match (is_current, &meta.reason) {
            (true, _) => "live now".to_owned(),
            (false, None) => meta.state.as_str().to_owned(),
            (false, Some(reason)) => format!("{}: {reason}", meta.state.as_str()),
        };
        let record = Record::new(Kind::Metric, format!("{name}/{number}"), Status::Ok, what);
        let record = record.field("state", meta.state).field("current", is_current).field("made", meta.made);
        let record = record.field("issuer", &meta.issuer).field("previous_generation", meta.previous);
        work.run.emit(&match live.generation(name, number) {
            Ok(generation) => {
                let key = generation.leaf().map(|leaf| leaf.key.to_string());
                about(record, &generation).field("key", key)
            }
            // Somebody took a file away; that is worth a line, not the end of the list.
            Err(failure) => record.field("generation", number).field("unreadable", failure.message),
        });
    }
    Ok(())
}
