//! `test-restore`: the only proof of a backup is a cluster that was restored from it.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::pg::Error;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_seconds};
use sqlx::Row as _;

use crate::cli::TestRestoreArgs;
use crate::lsn::Lsn;
use crate::recovery::preflight::{Prepared, prepare};
use crate::recovery::programs;
use crate::recovery::scratch::{Scratch, ScratchSpec};
use crate::recovery::target::{Action, TimelineChoice, Wanted};
use crate::store::Store;
use crate::trust::attestation::{self, Attestation, Made, Statement};
use crate::trust::fingerprint::{self, Fingerprint, Tables};
use crate::trust::{inspect, queries};
use crate::work::Work;

/// Restores into a scratch cluster, replays, looks at everything, and signs what was seen.
///
/// # Errors
/// The backup cannot be restored or replayed; that too is attested. Or nothing could be tried.
pub fn run(args: &TestRestoreArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let queries = match &args.sql {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
            queries::parse(&text).map_err(|why| Failure::usage(format!("{}: {why}", path.display())))?
        }
        None => Vec::new(),
    };
    let store = work.store()?;
    let wanted = match &args.to {
        Some(text) => Wanted::moment(text).map_err(Failure::usage)?,
        None => Wanted::latest(TimelineChoice::Latest),
    };
    let named = Some(args.backup.backup.as_str()).filter(|name| *name != "latest");
    let prepared = prepare(work, &store, &wanted, named)?;
    work.subject.clone_from(&prepared.backup.label);
    let mut test = Test { work, prepared: &prepared, made: Vec::new(), reached: None, seconds: 0.0 };
    let tested = test.run(&store, &wanted, args, &queries);
    if let Err(failure) = &tested {
        if test.work.cancel.is_cancelled() {
            return tested;
        }
        let record = Record::new(Kind::Step, prepared.backup.label.clone(), Status::Failed, failure.message.clone());
        test.say(&record);
    }
    test.attest(&store, args.to.as_deref())?;
    tested
}

/// One test, and what it has seen so far.
struct Test<'a> {
    work: &'a Work<'a>,
    prepared: &'a Prepared,
    made: Vec<Made>,
    reached: Option<Lsn>,
    seconds: f64,
}

impl Test<'_> {
    fn say(&mut self, record: &Record) {
        self.made.push(Made {
            name: record.subject.clone(),
            status: record.status.as_str().to_owned(),
            message: record.message.clone(),
        });
        self.work.run.emit(record);
    }

    fn run(
        &mut self,
        store: &Store,
        wanted: &Wanted,
        args: &TestRestoreArgs,
        queries: &[queries::Query],
    ) -> Result<(), Failure> {
        let backup = &self.prepared.backup;
        let target = wanted.settings(&self.prepared.choice.timeline_setting(), Action::Promote);
        let spec = ScratchSpec { store, stored: &self.prepared.stored, backup, target, under: args.scratch.as_deref() };
        let mut scratch = Scratch::recover(self.work, &spec)?;
        self.seconds = (scratch.restoring + scratch.replaying).as_secs_f64();
        let server = scratch.target("postgres")?;
        self.reached = self.work.block_on(reached(&server))?;
        let message = format!(
            "{} restored in {}, {} segments replayed in {}",
            format_bytes(scratch.restored.bytes),
            format_seconds(scratch.restoring.as_secs_f64()),
            self.prepared.segments.len(),
            format_seconds(scratch.replaying.as_secs_f64())
        );
        let step = Record::new(Kind::Step, backup.label.clone(), Status::Ok, message);
        self.say(
            &step
                .field("size_bytes", scratch.restored.bytes)
                .field("duration_seconds", self.seconds)
                .field("reached_lsn", self.reached),
        );
        let inspected = self.work.block_on(inspect::cluster(&server))?;
        for record in inspected.findings.iter().chain(&inspected.checks) {
            self.say(record);
        }
        if let Some(databases) = inspected.databases {
            self.compare(store, databases, args.to.as_deref())?;
        }
        let default = self.work.settings.optional::<String>(&crate::cli::SECTION, "dsn")?;
        let default = maint_core::pg::dsn::Target::resolve(default.as_deref(), &|name| std::env::var(name).ok());
        let default = default.map_or_else(|_| "postgres".to_owned(), |target| target.database().to_owned());
        let asked = self.work.block_on(inspect::queries(&server, &default, queries))?;
        for record in &asked {
            self.say(record);
        }
        if backup.data_checksums {
            scratch.stop()?;
            let program = programs::find(&self.work.settings, "pg_checksums", backup.major())?;
            let record = checksums(&program, &scratch)?;
            self.say(&record);
        }
        Ok(())
    }

    /// Compares what the tables hold with what the first test of this backup up to this point found.
    fn compare(
        &mut self,
        store: &Store,
        databases: std::collections::BTreeMap<String, Tables>,
        to: Option<&str>,
    ) -> Result<(), Failure> {
        let reached = self.reached.map(|lsn| lsn.to_string());
        let Some(point) = to.map(str::to_owned).or(reached) else { return Ok(()) };
        let key = fingerprint::key(&self.prepared.backup.label, &point);
        let now = Fingerprint { at: Timestamp::now(), point, databases };
        if !store.notes(fingerprint::PREFIX)?.contains(&key) {
            store.put_note(&key, &now)?;
            let message = "first test of this backup up to this point: recorded for the next";
            self.say(&Record::new(Kind::Check, "fingerprints", Status::Ok, message).field("value", 0));
            return Ok(());
        }
        let before: Fingerprint = store.note(&key)?;
        let differences = fingerprint::differences(&before, &now);
        for difference in differences.iter().take(20) {
            self.say(&Record::new(Kind::Finding, difference.table.clone(), Status::Critical, difference.what.clone()));
        }
        let count = differences.len();
        let (status, message) = if count == 0 {
            (Status::Ok, format!("all tables hold what they held on {:.0}", before.at))
        } else {
            (Status::Critical, format!("{count} tables hold something else than on {:.0}", before.at))
        };
        self.say(&Record::new(Kind::Check, "fingerprints", status, message).field("value", count));
        Ok(())
    }

    /// Signs what was seen, well or not.
    fn attest(&mut self, store: &Store, to: Option<&str>) -> Result<(), Failure> {
        let backup = &self.prepared.backup;
        let bad =
            |made: &Made| [Status::Critical, Status::Failed, Status::Unknown].iter().any(|s| s.as_str() == made.status);
        let statement = Statement {
            version: 1,
            at: Timestamp::now(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            run: self.work.run.id().to_owned(),
            backup: backup.label.clone(),
            snapshot: self.prepared.stored.id.clone(),
            system_identifier: backup.system_identifier.to_string(),
            target: to.map(str::to_owned),
            reached: self.reached,
            passed: !self.made.iter().any(bad),
            checks: std::mem::take(&mut self.made),
            recovery_milliseconds: (self.seconds * 1000.0) as u64,
            bytes: backup.bytes,
        };
        let passed = statement.passed;
        let signed =
            Attestation::sign(statement, store.keys()).map_err(|error| Failure::critical(error.to_string()))?;
        let name = attestation::keep(store, &signed)?;
        let message = if passed { "signed: it passed" } else { "signed: it did not pass" };
        let record = Record::new(Kind::Step, "attestation", Status::Ok, message);
        self.work.run.emit(&record.field("note", name).field("passed", passed));
        Ok(())
    }
}

async fn reached(target: &maint_core::pg::dsn::Target) -> Result<Option<Lsn>, Error> {
    let mut session = fingerprint::session(target, "test-restore").await?;
    let row =
        sqlx::raw_sql("SELECT pg_catalog.pg_last_wal_replay_lsn()::text AS lsn").fetch_one(session.conn()).await?;
    Ok(row.try_get::<Option<String>, _>("lsn")?.and_then(|text| text.parse().ok()))
}

/// Every page's checksum, by the server's own program, of a cluster that is stopped.
fn checksums(program: &Path, scratch: &Scratch) -> Result<Record, Failure> {
    let mut command = Command::new(program);
    command.arg("--check").arg("-D").arg(scratch.data()).stdin(Stdio::null()).current_dir(scratch.directory());
    if let Some((uid, gid)) = scratch.owner() {
        command.uid(uid).gid(gid);
    }
    let output =
        command.output().map_err(|error| Failure::critical(format!("cannot start {}: {error}", program.display())))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let number = |line: &str| {
        said.lines().find_map(|text| text.strip_prefix(line)?.trim_start_matches(':').trim().parse::<u64>().ok())
    };
    let (blocks, bad) = (number("Blocks scanned"), number("Bad checksums"));
    let record = match (blocks, bad) {
        (Some(blocks), Some(0)) if output.status.success() => {
            Record::new(Kind::Check, "checksums", Status::Ok, format!("{blocks} pages, all right"))
        }
        (Some(blocks), Some(bad)) => {
            Record::new(Kind::Check, "checksums", Status::Critical, format!("{bad} of {blocks} pages are wrong"))
        }
        _ => {
            let last = said.lines().last().unwrap_or("it said nothing").to_owned();
            Record::new(Kind::Check, "checksums", Status::Unknown, format!("pg_checksums could not tell: {last}"))
        }
    };
    Ok(record.field("value", bad).field("pages", blocks))
}
