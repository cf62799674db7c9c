//! backup-tool against pgBackRest and restic: the same cluster twice, one server a program, so that neither archives for the
//! other; in every round each begins with an empty repository and takes every step right after the others did.
//!
//! pgBackRest is the version of the distribution (2.45), set up as well as it goes: bundles, block incremental (which is
//! called beta in this version), zstd 3, AES-256, two processes, fast checkpoints. Later versions have a final format of
//! blocks and are not to be had here. restic reads the files of our server as they lie there: it shows what an engine for
//! files does, it is no backup of a cluster.

use std::path::PathBuf;
use std::process::Command;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::Status;
use testbed::Site;

use super::{BenchArgs, release_dir};
use crate::{setup, workspace};
use measure::{Cost, cost};
use sides::{Place, Side, bytes_in, failed, must};
use table::{Row, Table};

mod measure;
mod sides;
mod table;

/// Transactions between a backup and the incremental one after it.
const TRANSACTIONS: u32 = 4000;
/// Segments that are archived at once.
const SEGMENTS: usize = 12;
/// What makes pgBackRest store least and fastest.
const BLOCKS: &str = "repo1-bundle=y\nbeta=y\nrepo1-block=y";

pub(super) fn bench(args: &BenchArgs, run: &Run) -> Result<(), Failure> {
    setup::setup(run)?;
    workspace::cargo(&["build", "--release", "-p", "backup-tool"], &[])?;
    let program = release_dir()?.join("backup-tool");
    let settings = [("fsync", "on"), ("wal_keep_size", "1GB"), ("autovacuum", "off"), ("max_wal_size", "4GB")];
    let start = || Site::of(&program, &settings, "").map_err(|error| failed(&error));
    let (ours, theirs) = (start()?, start()?);
    let bench = Bench { ours: Place { site: &ours }, theirs: Place { site: &theirs } };
    let size = bench.fill(args.scale)?;
    let text = format!("two clusters of {:.0} MB each, {} rounds", size / 1e6, args.rounds);
    run.emit(&Record::new(Kind::Metric, "cluster", Status::Ok, text).field("cluster_bytes", size));
    let mut table = Table::default();
    for round in 0..args.rounds {
        workspace::say(&format!("round {} of {}", round + 1, args.rounds));
        bench.round(round, &mut table)?;
    }
    table.report(run);
    Ok(())
}

struct Bench<'a> {
    ours: Place<'a>,
    theirs: Place<'a>,
}

impl Bench<'_> {
    /// Gives both servers the same data, and answers with its size in bytes.
    fn fill(&self, scale: u32) -> Result<f64, Failure> {
        for place in [&self.ours, &self.theirs] {
            let server = place.site.server();
            // Archiving the load is not what is measured.
            place.sql("ALTER SYSTEM SET archive_command = '/bin/true'")?;
            place.sql("SELECT pg_reload_conf()")?;
            let mut pgbench = Command::new(server.installation().bin.join("pgbench"));
            must(pgbench.args(["-i", "-q", "-s", &scale.to_string(), &server.url("postgres")]))?;
            place.sql(&format!(
                "CREATE TABLE prose AS SELECT n, md5(n::text) || md5((n * 7)::text) || repeat(' of words and sentences', 8) \
                 AS t FROM generate_series(1, {scale} * 30000) n; VACUUM ANALYZE"
            ))?;
        }
        self.segments()?;
        for place in [&self.ours, &self.theirs] {
            place.settle()?;
        }
        Ok(bytes_in(&self.ours.site.server().data_dir().join("base")))
    }

    /// Makes a data directory without a server whose log waits to be archived, beside each server.
    fn segments(&self) -> Result<(), Failure> {
        let data = self.ours.site.server().data_dir();
        let current = || {
            let name = self.ours.site.sql("SELECT pg_walfile_name(pg_current_wal_lsn())");
            name.map_err(|error| failed(&error))
        };
        let first = current()?;
        let mut whole = Vec::new();
        for seed in 1.. {
            self.ours.work(TRANSACTIONS, seed)?;
            let last = current()?;
            whole = testbed::files(&data.join("pg_wal"));
            whole.retain(|path| {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                path.extension().is_none() && name > first.as_str() && name < last.as_str()
            });
            if whole.len() >= SEGMENTS {
                break;
            }
        }
        for place in [&self.ours, &self.theirs] {
            let to = place.fresh("waiting")?;
            let script = "mkdir -m 700 global pg_wal pg_wal/archive_status && cp \"$0\"/PG_VERSION . && \
                          cp \"$0\"/global/pg_control global && for f; do cp \"$f\" pg_wal && \
                          touch pg_wal/archive_status/\"${f##*/}\".ready; done";
            // As root, who may read both servers' files; the account gets them afterwards.
            let mut copy = Command::new("sh");
            copy.args(["-c", script]).arg(data).args(whole.iter().take(SEGMENTS)).current_dir(&to);
            must(&mut copy)?;
            let owner = place.site.server().data_dir();
            must(Command::new("chown").arg("-R").arg("--reference").arg(owner).arg(&to))?;
        }
        Ok(())
    }

    fn round(&self, round: u32, table: &mut Table) -> Result<(), Failure> {
        let (ours, theirs) = (&self.ours, &self.theirs);
        let data = theirs.site.server().data_dir();
        let mut step = Step { round, table };
        // What is counted is the backups without the log, which only two of them archive.
        let stores = [
            (Side::Ours, ours.ours("store", "")?.join("pg")),
            (Side::Pgbackrest, theirs.pgbackrest("blocks", data, BLOCKS)?.join("backup")),
            (Side::WholeFiles, theirs.pgbackrest("whole", data, "repo1-bundle=y\narchive-check=n")?.join("backup")),
            (Side::Restic, ours.restic("restic")?),
        ];
        ours.site.archive_with("store.toml").map_err(|error| failed(&error))?;
        theirs.archive_with_pgbackrest("blocks")?;
        let stores = &stores;
        let live = ours.site.server().data_dir().display().to_string();
        let take = |kind: &str| {
            let (mine, peer) = match kind {
                "full" => ("full-backup", "--type=full"),
                _ => ("incremental-backup", "--type=incr"),
            };
            vec![
                (Side::Ours, ours.ours_on("store", &[mine])),
                (Side::Pgbackrest, theirs.pgbackrest_on("blocks", &["backup", peer])),
                (Side::WholeFiles, theirs.pgbackrest_on("whole", &["backup", peer])),
                (Side::Restic, ours.restic_on("restic", &["backup", "-q", &live])),
            ]
        };
        step.take(Row::Full, stores, take("full"));
        for place in [ours, theirs] {
            place.work(TRANSACTIONS, round + 1)?;
        }
        step.take(Row::Incremental, stores, take("incremental"));
        step.take(Row::Unchanged, stores, take("incremental"));
        self.restore(&mut step)?;
        self.verify(&mut step);
        self.offline(&mut step)?;
        self.wal(&mut step)
    }

    fn restore(&self, step: &mut Step<'_>) -> Result<(), Failure> {
        let (ours, theirs) = (&self.ours, &self.theirs);
        let (to, peers_to, restics_to) = (ours.fresh("restored")?, theirs.fresh("restored")?, ours.fresh("files")?);
        let text = |path: &std::path::Path| path.display().to_string();
        let args = ["database-recovery", "--immediate", "--yes", "--target-dir", &text(&to)];
        let pg1 = format!("--pg1-path={}", peers_to.display());
        let peer = theirs.pgbackrest_on("blocks", &["restore", "--type=immediate", &pg1]);
        let restic = ours.restic_on("restic", &["restore", "-q", "latest", "--target", &text(&restics_to)]);
        let commands = vec![
            (Side::Ours, ours.and_sync(&ours.ours_on("store", &args), &to)),
            (Side::Pgbackrest, theirs.and_sync(&peer, &peers_to)),
            (Side::Restic, ours.and_sync(&restic, &restics_to)),
        ];
        step.take(Row::Restore, &[], commands);
        for (place, name) in [(ours, "restored"), (theirs, "restored"), (ours, "files")] {
            place.fresh(name)?;
        }
        Ok(())
    }

    fn verify(&self, step: &mut Step<'_>) {
        let (ours, theirs) = (&self.ours, &self.theirs);
        for row in [Row::Verify, Row::VerifyAgain] {
            let commands = vec![
                (Side::Ours, ours.ours_on("store", &["validate-backups"])),
                (Side::Pgbackrest, theirs.pgbackrest_on("blocks", &["verify"])),
                (Side::Restic, ours.restic_on("restic", &["check", "-q", "--read-data"])),
            ];
            step.take(row, &[], commands);
        }
    }

    /// The files of a stopped cluster, into an empty repository each.
    fn offline(&self, step: &mut Step<'_>) -> Result<(), Failure> {
        let (ours, theirs) = (&self.ours, &self.theirs);
        for place in [ours, theirs] {
            let to = place.fresh("offline")?;
            let live = place.site.server().data_dir().display().to_string();
            let script = "cp -a \"$0\"/. . && rm -rf postmaster.pid pg_wal/* && mkdir -p pg_wal/archive_status";
            must(place.site.program("sh").args(["-c", script, &live]).current_dir(&to))?;
        }
        let sets = format!("[backup-tool.sets.offline]\npaths = [\"{}\"]", ours.path("offline").display());
        let stores = [
            (Side::Ours, ours.ours("offline-store", &sets)?.join("files")),
            (Side::Pgbackrest, theirs.pgbackrest("offline-blocks", &theirs.path("offline"), BLOCKS)?.join("backup")),
            (Side::Restic, ours.restic("offline-restic")?),
        ];
        let files = ours.path("offline").display().to_string();
        let commands = vec![
            (Side::Ours, ours.ours_on("offline-store", &["config-backup", "offline"])),
            (Side::Pgbackrest, theirs.pgbackrest_on("offline-blocks", &["backup", "--type=full", "--no-online"])),
            (Side::Restic, ours.restic_on("offline-restic", &["backup", "-q", &files])),
        ];
        step.take(Row::Offline, &stores, commands);
        for (place, name) in [(ours, "offline"), (theirs, "offline")] {
            place.fresh(name)?;
        }
        Ok(())
    }

    fn wal(&self, step: &mut Step<'_>) -> Result<(), Failure> {
        let (ours, theirs) = (&self.ours, &self.theirs);
        let waiting = (ours.path("waiting"), theirs.path("waiting"));
        let spool = format!("spool = \"{}\"\nwal_workers = 2", ours.fresh("spool")?.display());
        for (row, extra, peers_extra) in [(Row::Wal, "", ""), (Row::WalBatch, spool.as_str(), "archive-async=y")] {
            let stores = [
                (Side::Ours, ours.ours("wal", extra)?.join("wal")),
                (Side::Pgbackrest, theirs.pgbackrest("wal", &waiting.1, peers_extra)?.join("archive")),
            ];
            let commands = vec![
                (Side::Ours, ours.for_each(&ours.ours_on("wal", &["wal-push"]), &waiting.0, "pg_wal/0*")),
                (
                    Side::Pgbackrest,
                    theirs.for_each(&theirs.pgbackrest_on("wal", &["archive-push"]), &waiting.1, "pg_wal/0*"),
                ),
            ];
            step.take(row, &stores, commands);
        }
        Ok(())
    }
}

/// One round's measurements.
struct Step<'a> {
    round: u32,
    table: &'a mut Table,
}

impl Step<'_> {
    /// Runs the commands one after the other, in another order every round, and notes what each cost.
    fn take(&mut self, row: Row, stores: &[(Side, PathBuf)], mut commands: Vec<(Side, Command)>) {
        if self.round % 2 == 1 {
            commands.reverse();
        }
        for (side, mut command) in commands {
            let store = stores.iter().find(|(of, _)| *of == side).map(|(_, path)| path);
            let size = || store.map_or(0.0, |path| bytes_in(path));
            let before = size();
            let measured = cost(&mut command).map(|cost| Cost { stored_bytes: size() - before, ..cost });
            self.table.note(row, self.round, side, measured);
        }
    }
}
