//! `database-backup`: the backup that is due.

use std::time::Duration;

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::units::{HumanDuration, format_seconds};

use crate::backup::{ClusterBackup, Kind};
use crate::cli::{ClusterBackupArgs, SECTION};
use crate::take::{Taking, take};
use crate::work::Work;

/// Takes a full backup when there is none, or none young enough; otherwise one that reads what changed.
///
/// # Errors
/// As the backup that is taken.
pub fn run(args: &ClusterBackupArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let every = work.settings.get::<HumanDuration>(&SECTION, "full_every")?.0;
    let backups: Vec<ClusterBackup> = work.store()?.clusters()?.into_iter().map(|(_, backup)| backup).collect();
    let (kind, why) = due(&backups, every, Timestamp::now());
    take(&Taking { args, kind, parent: None, force_read: false, why: Some(why) }, work)
}

/// Which backup is due, and why.
fn due(backups: &[ClusterBackup], every: Duration, now: Timestamp) -> (Kind, String) {
    let whole = |backup: &&ClusterBackup| backup.kind == Kind::Full && backup.damaged.is_empty();
    let Some(last) = backups.iter().filter(whole).map(|backup| backup.stop_time).max() else {
        return (Kind::Full, "there is no full backup yet".to_owned());
    };
    let age = now.duration_since(last).as_secs_f64().max(0.0);
    let text = format!("the last full backup is {} old", format_seconds(age));
    if age >= every.as_secs_f64() { (Kind::Full, text) } else { (Kind::Incremental, text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::sample;

    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn backup(kind: Kind, stop: &str) -> ClusterBackup {
        ClusterBackup { kind, stop_time: at(stop), ..sample() }
    }

    #[test]
    fn the_first_backup_is_a_full_one() {
        assert_eq!(due(&[], WEEK, at("2026-01-08T00:00:00Z")).0, Kind::Full);
    }

    #[test]
    fn a_full_one_is_due_when_the_last_is_old_however_young_the_others() {
        let backups = [backup(Kind::Full, "2026-01-01T00:00:00Z"), backup(Kind::Incremental, "2026-01-07T23:00:00Z")];
        assert_eq!(due(&backups, WEEK, at("2026-01-07T23:59:59Z")).0, Kind::Incremental);
        assert_eq!(due(&backups, WEEK, at("2026-01-08T00:00:00Z")).0, Kind::Full);
    }

    #[test]
    fn a_damaged_full_backup_does_not_count() {
        let page = crate::backup::DamagedPage { file: "base/1/2".into(), block: 3, why: "checksum".into() };
        let damaged = ClusterBackup { damaged: vec![page], ..backup(Kind::Full, "2026-01-07T00:00:00Z") };
        assert_eq!(due(&[damaged], WEEK, at("2026-01-07T01:00:00Z")).0, Kind::Full);
    }
}
