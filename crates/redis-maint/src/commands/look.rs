//! The commands that only look: `keys`, `rdb`, `memory-optimization`, `performance-monitor`, `check` and `report`.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use maint_core::cancel::Cancel;
use maint_core::config::Settings;
use maint_core::durable;
use maint_core::failure::Failure;
use maint_core::output::Format;
use maint_core::run::Run;

use super::Work;
use crate::cli::{KeysArgs, MemoryArgs, MonitorArgs, RdbArgs, ReportArgs};
use crate::keys;
use crate::scan::{Ask, Attribute, Event, Position, Scan, Seen};
use crate::topology::Which;

/// How often the position of a walk is kept.
const KEEP_POSITION: Duration = Duration::from_secs(1);

impl Work<'_> {
    pub(super) async fn keys(&self, args: &KeysArgs) -> Result<(), Failure> {
        streams(self.cli.common.output)?;
        let which = if args.replica { Which::Replicas } else { Which::Primaries };
        let mut topology = self.topology(which).await?;
        let mut parts = self.parts(&mut topology, which, &args.databases).await?;
        if let Some(path) = &args.resume {
            let positions = read_positions(path)?;
            parts = parts.into_iter().map(|part| part.resumed(&positions)).collect();
        }
        let mut positions: Vec<Position> = parts.iter().map(|part| part.position.clone()).collect();
        let mut attributes = keys::attributes(args.with.iter().map(|with| Attribute::from(*with)));
        if !args.names {
            attributes.insert(0, Attribute::Bytes);
        }
        let pattern = args.pattern.as_ref().map(|pattern| pattern.clone().into_bytes());
        let ask = Ask { pattern, filter: None, attributes, samples: args.samples };
        let mut seen = Seen::default();
        let mut kept = Instant::now();
        let mut scan = Scan::start(parts, &ask, self.manners);
        while let Some(event) = scan.next(self.cancel).await {
            let Event::Batch { part, entries, position } = event else { continue };
            let now = Timestamp::now();
            for entry in entries.iter().filter(|entry| seen.is_new(entry.db, &entry.key)) {
                let record = keys::record(entry, now);
                if self.cli.common.output == Format::Table { self.run.emit(&record) } else { self.run.detail(&record) }
            }
            if let Some(here) = positions.get_mut(part) {
                *here = position;
            }
            if let Some(path) = args.resume.as_ref().filter(|_| kept.elapsed() >= KEEP_POSITION) {
                // What is before the position must have left this process first.
                self.run.flush();
                keep_positions(path, &positions)?;
                kept = Instant::now();
            }
            if self.run.reader_is_gone() {
                break;
            }
        }
        if let Some(path) = &args.resume {
            self.run.flush();
            if positions.iter().all(|position| position.done) {
                durable::remove(path).map_err(|error| Failure::critical(error.to_string()))?;
            } else {
                keep_positions(path, &positions)?;
            }
        }
        self.tell_walks(&scan.finish().await?, seen.folded());
        Ok(())
    }

    pub(super) async fn memory(&self, _args: &MemoryArgs, _settings: &Settings) -> Result<(), Failure> {
        Ok(())
    }

    pub(super) async fn monitor(&self, _args: &MonitorArgs, _settings: &Settings) -> Result<(), Failure> {
        Ok(())
    }

    pub(super) async fn check(&self, _settings: &Settings) -> Result<(), Failure> {
        Ok(())
    }

    pub(super) async fn report(&self, _args: &ReportArgs, _settings: &Settings) -> Result<(), Failure> {
        Ok(())
    }
}

/// `rdb`: the same records from a file.
pub(super) fn rdb(
    _args: &RdbArgs,
    _run: &Run,
    _settings: &Settings,
    _output: Format,
    _cancel: &Cancel,
) -> Result<(), Failure> {
    Ok(())
}

/// A record a key makes no metric and no check.
fn streams(output: Format) -> Result<(), Failure> {
    match output {
        Format::Prometheus | Format::Nagios => {
            Err(Failure::usage("one record a key is written as table, ndjson or json")
                .hint("redis-maint check has the other formats"))
        }
        _ => Ok(()),
    }
}

fn read_positions(path: &Path) -> Result<Vec<Position>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::usage(format!("cannot read {}: {error}", path.display()))),
    };
    serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("{} does not hold the position of a walk: {error}", path.display()))
            .hint("remove the file to begin anew")
    })
}

fn keep_positions(path: &Path, positions: &[Position]) -> Result<(), Failure> {
    let text = serde_json::to_vec(positions).map_err(|error| Failure::critical(error.to_string()))?;
    durable::replace(path, &text, 0o600).map_err(|error| Failure::critical(error.to_string()))
}
