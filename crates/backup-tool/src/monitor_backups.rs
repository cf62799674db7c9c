//! `monitor-backups`: ages, backlog, gaps, what could be lost now, and how long the disk lasts.
//!
//! The repository can be looked at without its server, and must be: on the day it matters there may be none. What only a
//! server could tell is then left out; where one is configured and does not answer, it is unknown.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::units::HumanDuration;

use crate::cli::{MonitorArgs, SECTION};
use crate::store::{Part, Store};
use crate::trust::facts::{self, Facts, Logs, Server};
use crate::trust::forecast;
use crate::trust::judge::{self, Limits};
use crate::trust::ledger::Ledger;
use crate::trust::{attestation, logs};
use crate::wal::archive::{self, Archive};
use crate::work::Work;

/// Gathers and judges.
///
/// # Errors
/// The repository cannot be opened or listed.
pub fn run(args: &MonitorArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let limits = limits(work)?;
    let store = work.store()?;
    work.subject = store.storage().location();
    let server = server(args, work)?;
    for record in judge::judge(&gather(&store, server)?, &limits) {
        work.run.emit(&record);
    }
    Ok(())
}

fn limits(work: &Work<'_>) -> Result<Limits, Failure> {
    let duration = |name| work.settings.get::<HumanDuration>(&SECTION, name).map(|duration| duration.0);
    Ok(Limits {
        age_full: duration("max_age_full")?,
        age: duration("max_age")?,
        rpo: duration("max_rpo")?,
        backlog: work.settings.get(&SECTION, "max_backlog")?,
        age_verify: duration("max_age_verify")?,
        age_restore: duration("max_age_restore")?,
        disk_days: work.settings.get(&SECTION, "disk_days")?,
    })
}

/// The server, if one was configured by flag, environment or file.
fn server(args: &MonitorArgs, work: &Work<'_>) -> Result<Server, Failure> {
    let names = ["DATABASE_URL", "PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE"];
    let configured = args.server.dsn.is_some()
        || names.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if !configured {
        return Ok(Server::None);
    }
    let target = work.target(&args.server)?;
    let asked = async { tokio::time::timeout(Duration::from_secs(30), facts::archiver(&target)).await };
    Ok(match work.block_on(asked) {
        Ok(Ok(archiver)) => Server::Seen(archiver),
        Ok(Err(error)) => Server::Silent(error.to_string()),
        Err(_) => Server::Silent(format!("{target} did not answer within 30 s")),
    })
}

fn gather(store: &Store, server: Server) -> Result<Facts, Failure> {
    let now = Timestamp::now();
    let mut facts = Facts {
        now,
        clusters: Vec::new(),
        broken: Vec::new(),
        pending: Vec::new(),
        server,
        logs: Ok(Logs::default()),
        verified: None,
        verified_good: None,
        attested: attestation::read(store).map_err(|error| error.to_string()),
        size: size(store, now)?,
        forecast: forecast::forecast(&[]),
    };
    for part in Part::ALL {
        for stored in store.snapshots(part)? {
            if stored.broken {
                facts.broken.push(stored.label().to_owned());
            } else if stored.pending {
                facts.pending.push((stored.label().to_owned(), stored.time));
            }
        }
    }
    facts.clusters = store.clusters()?.into_iter().map(|(_, backup)| backup).collect();
    facts.logs = look_at_logs(store, &facts).map_err(|error| error.message);
    let ledger = Ledger::load(store)?;
    facts.verified = ledger.last;
    facts.verified_good = ledger.last_good;
    let mut known = forecast::kept(store)?;
    if let Err(error) = forecast::keep(store, &known, facts.size) {
        tracing::info!("the repository's size was not noted: {error}");
    }
    known.push(facts.size);
    facts.forecast = forecast::forecast(&known);
    Ok(facts)
}

fn size(store: &Store, now: Timestamp) -> Result<forecast::Sample, Failure> {
    let bytes = store.storage().list("")?.iter().map(|object| object.size).sum();
    Ok(forecast::sample(now, bytes, store.storage().space()?))
}

fn look_at_logs(store: &Store, facts: &Facts) -> Result<Logs, Failure> {
    let mut found = Logs::default();
    let archiver = match &facts.server {
        Server::Seen(archiver) => Some(archiver),
        _ => None,
    };
    let last = archiver.and_then(|archiver| archiver.last_archived_wal.clone());
    let mut has_last = false;
    for system in archive::systems(store.storage().as_ref())? {
        let archive = Archive::new(Arc::clone(store.storage()), store.keys(), system);
        let names = archive.names()?;
        let segments = logs::segments(&names);
        found.segments += segments.len() as u64;
        let ours = archiver.is_none_or(|archiver| archiver.system_identifier.is_none_or(|id| id == system));
        has_last |= ours && last.as_ref().is_some_and(|last| names.iter().any(|file| file.name.to_string() == *last));
        let backups = facts.clusters.iter().filter(|backup| backup.system_identifier == system);
        for backup in backups {
            let missing = logs::missing(backup, &segments);
            if let Some(first) = missing.first() {
                found.gaps.push(format!("{first}, which {} needs to be consistent, is missing", backup.label));
            }
        }
    }
    for backup in &facts.clusters {
        if found.segments == 0 {
            found.gaps.push(format!("no WAL is archived, and {} cannot be made consistent without", backup.label));
        }
    }
    found.has_last_archived = last.is_some().then_some(has_last);
    Ok(found)
}
