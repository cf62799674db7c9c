//! What of the write-ahead log is missing: for the backups themselves, behind them, and at the end of the archive.

use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use super::{Archives, Look, wal_name};
use crate::backup::ClusterBackup;
use crate::expire::wal::unneeded;
use crate::trust::logs;
use crate::wal::archive::ArchiveError;
use crate::wal::gaps::{self, Gap, Shelf};
use crate::wal::history::History;
use crate::wal::name::{Segment, WalName};

impl Look<'_> {
    /// Whether every backup has the log that makes it consistent.
    pub(super) fn logs(&mut self, clusters: &[ClusterBackup], archives: &Archives) {
        let mut missing = 0;
        for backup in clusters {
            let there = archives.get(&backup.system_identifier).map(|(_, names)| logs::segments(names));
            let lost = logs::missing(backup, &there.unwrap_or_default());
            if let Some(first) = lost.first() {
                missing += lost.len();
                let message = format!(
                    "it cannot be restored: of the WAL that it needs to be consistent, {} is not in the archive{}",
                    first,
                    if lost.len() > 1 { format!(" (nor {} more)", lost.len() - 1) } else { String::new() }
                );
                self.problem(Status::Critical, &backup.label, message, std::slice::from_ref(&backup.label));
            }
        }
        let status = if missing == 0 { Status::Ok } else { Status::Critical };
        let message = match (clusters.len(), missing) {
            (0, _) => "there are no backups of a cluster".to_owned(),
            (1, 0) => "the backup has the WAL that makes it consistent".to_owned(),
            (count, 0) => format!("{count} backups have the WAL that makes them consistent"),
            (_, missing) => format!("{missing} segments that backups need are missing"),
        };
        let check = Record::new(Kind::Check, "wal of the backups", status, message);
        self.run.emit(&check.field("value", missing).field("backups", clusters.len()));
    }

    /// What is missing behind the backups: moments that cannot be recovered, although the backups can.
    pub(super) fn gaps(&mut self, clusters: &[ClusterBackup], archives: &Archives) {
        for (system, (archive, names)) in archives {
            let backups: Vec<&ClusterBackup> =
                clusters.iter().filter(|backup| backup.system_identifier == *system).collect();
            let Some(size) = backups.first().map(|backup| backup.wal_segment_bytes) else { continue };
            let subject = format!("wal/{system}");
            let histories = match archive.histories_of(names) {
                Ok(histories) => histories,
                Err(error) => {
                    let unread = matches!(&error, ArchiveError::Storage(error) if !error.is_not_found());
                    let status = if unread { Status::Unknown } else { Status::Critical };
                    let message = format!("which timelines there are cannot be told, nor what they lack: {error}");
                    self.problem(status, &subject, message, &[]);
                    continue;
                }
            };
            let shelf = Shelf::new(names.iter().map(|archived| archived.name), &histories, size);
            let gaps = shelf.gaps(&backups);
            // Those in which a backup lies were reported with it.
            for gap in gaps.iter().filter(|gap| gap.backups.is_empty()) {
                let record = gaps::record(gap);
                self.problem(Status::Critical, &record.subject, record.message, &[]);
            }
            let is_in_a_gap = |segment: &Segment| {
                let numbers = |gap: &Gap| gap.first.number(size)..=gap.last.number(size);
                gaps.iter().any(|gap| numbers(gap).contains(&segment.number(size)))
            };
            let mut lost = self.lost_segments(*system, &histories, &backups);
            lost.retain(|segment| !is_in_a_gap(segment));
            for segment in &lost {
                let message = "it was here, is not any more, and is too young to have been let go: \
                               nothing behind it can be recovered";
                self.problem(Status::Critical, &segment.to_string(), message.to_owned(), &[]);
                // Or the next run would not miss it.
                let key = archive.key_of(WalName::Segment(*segment));
                self.page.forget.retain(|forgotten| *forgotten != key);
            }
            let count = gaps.len() + lost.len();
            let (status, message) = match count {
                0 => (Status::Ok, format!("no gaps on {} timelines", histories.len())),
                1 => (Status::Critical, "1 gap: what lies behind it cannot be recovered".to_owned()),
                _ => (Status::Critical, format!("{count} gaps: what lies behind them cannot be recovered")),
            };
            let check = Record::new(Kind::Check, format!("{subject} gaps"), status, message);
            self.run.emit(&check.field("value", count).field("timelines", histories.len()));
        }
    }

    /// Segments that were verified before, are gone, and that no rule lets go: at the end of the archive a listing alone
    /// shows no gap.
    fn lost_segments(&self, system: u64, histories: &[History], backups: &[&ClusterBackup]) -> Vec<Segment> {
        let prefix = format!("wal/{system}/");
        let gone = self.page.forget.iter().filter(|key| key.starts_with(&prefix)).filter_map(|key| wal_name(key));
        let gone: Vec<WalName> = gone.filter(|name| matches!(name, WalName::Segment(_))).collect();
        let unneeded = unneeded(&gone, histories, backups);
        let needed = gone.into_iter().filter(|name| !unneeded.contains(name));
        let segment = |name| if let WalName::Segment(segment) = name { Some(segment) } else { None };
        needed.filter_map(segment).collect()
    }
}
