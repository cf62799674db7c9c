//! Starting a restored cluster, and waiting until it has recovered.
//!
//! What `pg_ctl` waits for is not enough: its patience is short, and it is content with a server that still replays. A
//! server is back when its own note of its state says that it takes connections and its control file says that it is in
//! production; each of them alone can say so too early.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use super::place::running_in;
use crate::cluster::control::{ControlFile, State};
use crate::work::Work;

/// The server's log of a recovery that we started, in its data directory.
const LOG: &str = "recovery.log";
/// How often we look.
const PAUSE: Duration = Duration::from_millis(200);

/// Starts the server with `pg_ctl`, which is beside `program`, as the owner of its files.
///
/// # Errors
/// It does not start, does not recover, or pauses on the way; with what it said.
pub fn start(work: &Work<'_>, program: &Path, pgdata: &Path) -> Result<(), Failure> {
    let begun = Instant::now();
    let owner = fs::metadata(pgdata).map_err(|error| Failure::critical(error.to_string()))?;
    let control = program.with_file_name("pg_ctl");
    let mut command = Command::new(&control);
    command.arg("-D").arg(pgdata).arg("-l").arg(pgdata.join(LOG)).args(["-w", "-t", "60", "start"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).current_dir(pgdata);
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    // How it ends does not matter: see above.
    command.status().map_err(|error| Failure::critical(format!("cannot start {}: {error}", control.display())))?;
    loop {
        // Looked at first: a server that ends takes its note along, and leaves the control file as it was last.
        let running = running_in(pgdata).is_some();
        if running && is_ready(pgdata) && in_production(pgdata) {
            let control = ControlFile::read(pgdata).map_err(|error| Failure::critical(error.to_string()))?.control;
            let replayed = Replayed::told(&log(pgdata));
            let message = format!("recovered and open, on timeline {}{}", control.timeline, replayed.words());
            let record = Record::new(Kind::Step, pgdata.display().to_string(), Status::Ok, message);
            let record = record.field("timeline", control.timeline).field("replayed_lsn", replayed.lsn);
            let record = record.field("last_transaction", replayed.time);
            work.run.emit(&record.field("duration_seconds", begun.elapsed().as_secs_f64()));
            return Ok(());
        }
        if !running {
            return Err(Failure::critical(format!("the server did not recover: {}", last_words(pgdata))));
        }
        if log(pgdata).contains("recovery has paused") {
            return Err(Failure::critical(format!("the server paused its recovery: {}", last_words(pgdata))).hint(
                "the cluster had greater settings later than when it was backed up: raise them in its \
                 postgresql.auto.conf, and start it again",
            ));
        }
        if let Some(exit) = work.cancel.exit() {
            return Err(Failure::new(exit, "interrupted; the server goes on recovering"));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether the server says that it takes connections: line 8 of its `postmaster.pid` (`LOCK_FILE_LINE_PM_STATUS`). A
/// standby says so as well.
fn is_ready(pgdata: &Path) -> bool {
    let file = fs::read_to_string(pgdata.join("postmaster.pid")).unwrap_or_default();
    file.lines().nth(7).is_some_and(|status| status.trim() == "ready")
}

/// Whether the control file says so. The one of a backup does until its server has begun to recover.
fn in_production(pgdata: &Path) -> bool {
    ControlFile::read(pgdata).is_ok_and(|file| file.control.state == State::InProduction)
}

/// What the server wrote since we started it: into our file, and where its collector took over, into that one's.
fn log(pgdata: &Path) -> String {
    let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let mut text = read(&pgdata.join(LOG));
    let current = fs::read_to_string(pgdata.join("current_logfiles")).unwrap_or_default();
    if let Some(name) = current.lines().find_map(|line| line.strip_prefix("stderr ")) {
        text.push_str(&read(&pgdata.join(name)));
    }
    text
}

fn last_words(pgdata: &Path) -> String {
    let text = log(pgdata);
    let telling = |line: &&str| ["FATAL:", "PANIC:", "wal-fetch:", "DETAIL:"].iter().any(|word| line.contains(word));
    let lines: Vec<&str> = text.lines().filter(telling).collect();
    let last = lines.get(lines.len().saturating_sub(3)..).unwrap_or_default();
    if last.is_empty() { format!("see {}", pgdata.join(LOG).display()) } else { last.join("; ") }
}

/// How far a server replayed, as it tells in its log; one that speaks another language does not tell us.
#[derive(Debug, PartialEq)]
struct Replayed {
    /// The last record.
    lsn: Option<String>,
    /// The commit or abort that was the last, by the database's clock and in the zone of its log.
    time: Option<String>,
}

impl Replayed {
    fn told(log: &str) -> Self {
        let after = |words: &str| Some(log.rsplit_once(words)?.1.lines().next()?.to_owned());
        let lsn = after("redo done at ").and_then(|rest| rest.split_whitespace().next().map(str::to_owned));
        Replayed { lsn, time: after("last completed transaction was at log time ") }
    }

    fn words(&self) -> String {
        let lsn = self.lsn.as_ref().map(|lsn| format!(", replayed to {lsn}"));
        let time = self.time.as_ref().map(|time| format!(", last transaction at {time}"));
        lsn.into_iter().chain(time).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_server_replayed_is_read_from_its_log() {
        let log = "2026-11-23 16:00:00 UTC [7] LOG:  recovery stopping before commit of transaction 745\n\
            2026-11-23 16:00:00 UTC [7] LOG:  redo done at 0/3000148 system usage: CPU: user: 0.00 s\n\
            2026-11-23 16:00:00 UTC [7] LOG:  last completed transaction was at log time 2026-11-23 15:59:59.1+00\n\
            2026-11-23 16:00:00 UTC [7] LOG:  selected new timeline ID: 2\n";
        let told = Replayed::told(log);
        assert_eq!(told.words(), ", replayed to 0/3000148, last transaction at 2026-11-23 15:59:59.1+00");
        assert_eq!(Replayed::told("LOG: Erholung beendet").words(), "");
    }

    #[test]
    fn a_server_is_ready_when_its_note_says_so_and_its_collector_s_file_is_read() {
        let data = tempfile::tempdir().unwrap();
        assert!(!is_ready(data.path()));
        fs::write(data.path().join("postmaster.pid"), "1\n/d\n0\n5432\n/tmp\n*\n1 2\nstarting\n").unwrap();
        assert!(!is_ready(data.path()));
        fs::write(data.path().join("postmaster.pid"), "1\n/d\n0\n5432\n/tmp\n*\n1 2\nready   \n").unwrap();
        assert!(is_ready(data.path()));
        assert!(last_words(data.path()).contains(LOG));
        fs::write(data.path().join("current_logfiles"), "csvlog log/x.csv\nstderr log/x.log\n").unwrap();
        fs::create_dir(data.path().join("log")).unwrap();
        fs::write(data.path().join("log/x.log"), "a\nFATAL:  no room\nb\n").unwrap();
        assert_eq!(last_words(data.path()), "FATAL:  no room");
    }
}
