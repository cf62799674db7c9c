//! What the facts mean: one check each, with its limit.
//!
//! A limit that is broken is critical. What could not be seen is unknown and never good; what nobody configured is not
//! checked at all.

use std::time::Duration;

use jiff::Timestamp;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_count, format_seconds};

use super::facts::{Archiver, Facts, Logs, Server};
use super::forecast::Forecast;
use crate::backup::Kind as BackupKind;
use crate::wal::name::{Segment, WalName};

/// Bytes that a segment begins with before anything is in it (`SizeOfXLogLongPHD`).
const EMPTY_SEGMENT: u64 = 40;
/// A backup that was begun this long ago and is not complete was given up.
const GIVEN_UP: f64 = 86_400.0;

/// The limits, from the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Greatest age of the newest full backup.
    pub age_full: Duration,
    /// Greatest age of the newest backup.
    pub age: Duration,
    /// Greatest loss.
    pub rpo: Duration,
    /// Most segments that may wait.
    pub backlog: u64,
    /// Greatest age of the last good verification.
    pub age_verify: Duration,
    /// Greatest age of the last test restore that passed.
    pub age_restore: Duration,
    /// Fewest days that the disk must last.
    pub disk_days: u32,
}

fn check(subject: &str, status: Status, message: impl Into<String>) -> Record {
    Record::new(Kind::Check, subject, status, message)
}

fn since(now: Timestamp, then: Timestamp) -> f64 {
    now.duration_since(then).as_secs_f64().max(0.0)
}

/// A check of an age in seconds against its limit.
fn aged(subject: &str, age: f64, limit: Duration, what: &str) -> Record {
    let (most, shown) = (limit.as_secs_f64(), format_seconds(age));
    let (status, message) = if age > most {
        (Status::Critical, format!("{what} {shown} ago; it must be younger than {}", format_seconds(most)))
    } else {
        (Status::Ok, format!("{what} {shown} ago"))
    };
    check(subject, status, message)
        .field("value", shown)
        .field("critical", format_seconds(most))
        .field("age_seconds", age)
        .limits("age_seconds", "", most.to_string())
}

/// Judges everything.
pub fn judge(facts: &Facts, limits: &Limits) -> Vec<Record> {
    let mut checks = backups(facts, limits);
    checks.extend(archiving(facts, limits));
    checks.push(gaps(facts));
    checks.push(verified(facts, limits));
    checks.extend(tested(facts, limits));
    checks.extend(space(facts, limits));
    checks
}

fn backups(facts: &Facts, limits: &Limits) -> Vec<Record> {
    let newest = |full: bool| {
        let wanted = facts.clusters.iter().filter(|backup| !full || backup.kind == BackupKind::Full);
        wanted.max_by_key(|backup| backup.stop_time)
    };
    let age = |subject: &str, full: bool, limit: Duration| match newest(full) {
        Some(backup) => aged(subject, since(facts.now, backup.stop_time), limit, &format!("{} ended", backup.label)),
        None => check(subject, Status::Critical, "there is none").field("value", "none"),
    };
    let mut checks = vec![age("full backup", true, limits.age_full), age("any backup", false, limits.age)];
    let damaged: Vec<&str> =
        facts.clusters.iter().filter(|backup| !backup.damaged.is_empty()).map(|backup| backup.label.as_str()).collect();
    let newest_damaged = newest(false).is_some_and(|backup| !backup.damaged.is_empty());
    let (status, message) = match (facts.broken.len(), damaged.len()) {
        (0, 0) => (Status::Ok, "no backup is damaged".to_owned()),
        (0, _) if newest_damaged => (
            Status::Critical,
            format!("the database has damaged pages: the newest backup found them ({})", damaged.join(", ")),
        ),
        (0, _) => (Status::Warning, format!("older backups hold pages that were damaged: {}", damaged.join(", "))),
        _ => (Status::Critical, format!("backups lost data: {}", facts.broken.join(", "))),
    };
    let count = facts.broken.len() + damaged.len();
    checks.push(check("damaged backups", status, message).field("value", count));
    let left: Vec<&str> = facts
        .pending
        .iter()
        .filter(|(_, begun)| since(facts.now, *begun) > GIVEN_UP)
        .map(|(label, _)| label.as_str())
        .collect();
    let (status, message) = match (left.len(), facts.pending.len()) {
        (0, 0) => (Status::Ok, "none".to_owned()),
        (0, young) => (Status::Ok, format!("{young} begun within the last day")),
        (_, _) => (Status::Warning, format!("begun and never completed: {}; `expire` removes them", left.join(", "))),
    };
    checks.push(check("unfinished backups", status, message).field("value", left.len()));
    checks
}

fn archiving(facts: &Facts, limits: &Limits) -> Vec<Record> {
    let archiver = match &facts.server {
        Server::None => return Vec::new(),
        Server::Silent(why) => {
            let unseen = |subject| check(subject, Status::Unknown, format!("the server did not answer: {why}"));
            return ["archiving", "archive backlog", "rpo"].map(unseen).into();
        }
        Server::Seen(archiver) => archiver,
    };
    if archiver.in_recovery && archiver.mode != "always" {
        let message = "the server is a standby and archives nothing itself; look at its primary";
        return vec![check("archiving", Status::Unknown, message)];
    }
    vec![works(archiver, facts.logs.as_ref().ok()), backlog(archiver, limits), loss(archiver, limits)]
}

fn works(archiver: &Archiver, logs: Option<&Logs>) -> Record {
    let failing = archiver.last_failed.is_some_and(|failed| archiver.last_archived.is_none_or(|done| done < failed));
    let file = |name: &Option<String>| name.clone().unwrap_or_else(|| "a file".to_owned());
    let (status, message) = if archiver.mode == "off" {
        (Status::Critical, "archive_mode is off: nothing since the last backup can be recovered".to_owned())
    } else if failing {
        let when = archiver.last_failed.map(|at| format!(" at {at:.0}")).unwrap_or_default();
        let file = file(&archiver.last_failed_wal);
        (
            Status::Critical,
            format!("archiving fails: the last attempt, of {file}{when}, did; the server's log says why"),
        )
    } else if archiver.last_archived.is_none() {
        (Status::Critical, "nothing was archived since the server's statistics were reset".to_owned())
    } else if logs.is_some_and(|logs| logs.has_last_archived == Some(false)) {
        let file = file(&archiver.last_archived_wal);
        (Status::Critical, format!("the server says that {file} is archived, but it is not in this repository"))
    } else {
        (Status::Ok, format!("{} was the last to be archived", file(&archiver.last_archived_wal)))
    };
    check("archiving", status, message)
}

/// The position at which the last archived segment ends.
fn archived_up_to(archiver: &Archiver) -> Option<u64> {
    let name = archiver.last_archived_wal.as_deref()?.parse::<WalName>().ok()?;
    let size = archiver.segment_bytes;
    match name {
        WalName::Segment(segment) => Some(segment.next(size).start(size).0),
        // It comes right after the segment that it is in, which is not archived necessarily.
        WalName::Backup(segment, _) | WalName::Partial(segment) => Some(segment.start(size).0),
        WalName::History(_) => None,
    }
}

fn backlog(archiver: &Archiver, limits: &Limits) -> Record {
    let estimate = || {
        let size = archiver.segment_bytes.max(1);
        let whole = Segment::holding(1, archiver.insert_lsn?, size).start(size).0;
        Some(whole.saturating_sub(archived_up_to(archiver)?) / size)
    };
    let Some(waiting) = archiver.waiting.or_else(estimate) else {
        let message = "the role may not see what waits to be archived; grant it pg_monitor";
        return check("archive backlog", Status::Unknown, message);
    };
    let about = if archiver.waiting.is_none() { "about " } else { "" };
    let (status, more) = if waiting > limits.backlog {
        (Status::Critical, format!("; at most {} may", limits.backlog))
    } else {
        (Status::Ok, String::new())
    };
    check("archive backlog", status, format!("{about}{} files wait to be archived{more}", format_count(waiting)))
        .field("value", waiting.to_string())
        .field("critical", limits.backlog.to_string())
        .field("waiting", waiting)
        .limits("waiting", "", limits.backlog.to_string())
}

/// What would be lost if the server's disk were lost now, in seconds of work; an upper bound. `None` when nothing was ever
/// archived.
///
/// A server without work writes no log, so time alone says nothing: nothing is lost when nothing was written since the last
/// archived segment, or when the server would have archived an unfinished segment by now had anything happened in it
/// (`archive_timeout`).
pub fn loss_seconds(archiver: &Archiver) -> Option<f64> {
    let age = since(archiver.now, archiver.last_archived?);
    if let (Some(insert), Some(end)) = (archiver.insert_lsn, archived_up_to(archiver))
        && insert.0 <= end.saturating_add(EMPTY_SEGMENT)
    {
        return Some(0.0);
    }
    let failing = archiver.last_failed >= archiver.last_archived;
    let timeout = archiver.archive_timeout_seconds;
    let overdue = timeout > 0 && age > 2.0 * timeout as f64 + 10.0;
    if overdue && archiver.waiting == Some(0) && !failing {
        return Some(0.0);
    }
    Some(age)
}

fn loss(archiver: &Archiver, limits: &Limits) -> Record {
    let most = limits.rpo.as_secs_f64();
    let Some(seconds) = loss_seconds(archiver) else {
        return check("rpo", Status::Critical, "nothing was archived yet: all since the last backup would be lost");
    };
    let (status, message) = if seconds > most {
        let why =
            format!("work of the last {} would be lost; at most {} may", format_seconds(seconds), format_seconds(most));
        (Status::Critical, why)
    } else if seconds == 0.0 {
        (Status::Ok, "everything is archived".to_owned())
    } else {
        (Status::Ok, format!("at most the work of the last {} would be lost", format_seconds(seconds)))
    };
    check("rpo", status, message)
        .field("value", format_seconds(seconds))
        .field("critical", format_seconds(most))
        .field("rpo_seconds", seconds)
        .limits("rpo_seconds", "", most.to_string())
}

fn gaps(facts: &Facts) -> Record {
    match &facts.logs {
        Err(why) => check("wal gaps", Status::Unknown, why.clone()),
        Ok(logs) => {
            let count = logs.gaps.len();
            let (status, message) = match logs.gaps.first() {
                None => (Status::Ok, format!("none in {} segments", format_count(logs.segments))),
                Some(first) => {
                    let more = if count > 1 { format!(", and {} more", count - 1) } else { String::new() };
                    (Status::Critical, format!("{first}{more}; no recovery gets past that: take a full backup"))
                }
            };
            check("wal gaps", status, message)
                .field("value", count.to_string())
                .field("gaps", count)
                .field("segments", logs.segments)
                .limits("gaps", "", "0")
        }
    }
}

/// Since when something could have been done for the first time: the oldest backup.
fn first_chance(facts: &Facts) -> Option<f64> {
    facts.clusters.iter().map(|backup| since(facts.now, backup.stop_time)).reduce(f64::max)
}

/// Something that was never done: it is due once there have been backups for as long as the limit allows.
fn never(subject: &str, facts: &Facts, limit: Duration, command: &str) -> Record {
    let most = limit.as_secs_f64();
    let Some(chance) = first_chance(facts) else {
        return check(subject, Status::Ok, "never, and there is no backup yet").field("value", "never");
    };
    let (status, message) = if chance > most {
        (Status::Critical, format!("never, in {} of backups; run `{command}`", format_seconds(chance)))
    } else {
        (Status::Ok, format!("never yet; due within {}", format_seconds(most - chance)))
    };
    check(subject, status, message).field("value", "never").field("critical", format_seconds(most))
}

fn verified(facts: &Facts, limits: &Limits) -> Record {
    let Some((last, outcome)) = &facts.verified else {
        return never("verification", facts, limits.age_verify, "backup-tool validate-backups");
    };
    if outcome.problems > 0 {
        let ago = format_seconds(since(facts.now, *last));
        let examples = outcome.examples.join("; ");
        let message = format!("{} problems were found {ago} ago: {examples}", outcome.problems);
        return check("verification", Status::Critical, message)
            .field("value", ago)
            .field("problems", outcome.problems);
    }
    match facts.verified_good {
        Some(good) => {
            let age = since(facts.now, good);
            aged("verification", age, limits.age_verify, "everything was last found whole").field("problems", 0)
        }
        None => never("verification", facts, limits.age_verify, "backup-tool validate-backups"),
    }
}

fn tested(facts: &Facts, limits: &Limits) -> Vec<Record> {
    let command = "backup-tool test-restore";
    let attested = match &facts.attested {
        Ok(attested) => attested,
        Err(why) => return vec![check("test restore", Status::Unknown, why.clone())],
    };
    let last = match (&attested.last, &attested.last_passed) {
        (Some(last), passed) if !last.passed => {
            let failed: Vec<&str> = last
                .checks
                .iter()
                .filter(|made| made.status != Status::Ok.as_str())
                .map(|made| made.name.as_str())
                .collect();
            let before = passed.as_ref().map_or_else(
                || "none passed before".to_owned(),
                |passed| format!("one passed {} ago", format_seconds(since(facts.now, passed.at))),
            );
            let ago = format_seconds(since(facts.now, last.at));
            let message =
                format!("the last one, of {}, failed {ago} ago ({}); {before}", last.backup, failed.join(", "));
            check("test restore", Status::Critical, message).field("value", ago)
        }
        (_, Some(passed)) => {
            let what = format!("{} was restored and found whole", passed.backup);
            aged("test restore", since(facts.now, passed.at), limits.age_restore, &what)
                .field("recovery_seconds", passed.recovery_milliseconds as f64 / 1000.0)
        }
        (_, None) => never("test restore", facts, limits.age_restore, command),
    };
    let bad = |(key, why): &(String, String)| {
        Record::new(
            Kind::Finding,
            format!("notes/{key}"),
            Status::Critical,
            format!("this attestation does not hold: {why}"),
        )
    };
    [last].into_iter().chain(attested.bad.iter().map(bad)).collect()
}

fn space(facts: &Facts, limits: &Limits) -> Vec<Record> {
    let size = &facts.size;
    let free = size.free.map(|free| format!(", {} free", format_bytes(free))).unwrap_or_default();
    let mut record = Record::new(Kind::Metric, "repository", Status::Ok, format!("{}{free}", format_bytes(size.bytes)))
        .field("size_bytes", size.bytes);
    if let (Some(free), Some(total)) = (size.free, size.total) {
        record = record.field("free_bytes", free).field("total_bytes", total);
    }
    let grows = |per_day: f64| {
        let shown = format_bytes(per_day.abs() as u64);
        if per_day < 0.0 { format!("it shrinks by {shown} a day") } else { format!("it grows by {shown} a day") }
    };
    let days = f64::from(limits.disk_days);
    let forecast = match &facts.forecast {
        // No judgement without history: that would be a guess.
        Forecast::NotEnough { samples, days } => Record::new(
            Kind::Metric,
            "disk",
            Status::Ok,
            format!("not enough history to say how long it lasts: {samples} sizes over {days:.1} days"),
        )
        .field("samples", samples),
        Forecast::Unbounded { bytes_per_day } => {
            Record::new(Kind::Metric, "disk", Status::Ok, format!("no bound is known; {}", grows(*bytes_per_day)))
                .field("growth_per_day_bytes", bytes_per_day)
        }
        Forecast::Steady { bytes_per_day } => {
            check("disk", Status::Ok, format!("it does not fill up; {}", grows(*bytes_per_day)))
                .field("value", "never")
                .field("growth_per_day_bytes", bytes_per_day)
        }
        Forecast::Full { bytes_per_day, days_left, on } => {
            let status = if *days_left < days { Status::Critical } else { Status::Ok };
            let when = on.map(|on| format!(", around {}", on.strftime("%Y-%m-%d"))).unwrap_or_default();
            let message =
                format!("full in {days_left:.0} days{when}, if it goes on like this; {}", grows(*bytes_per_day));
            check("disk", status, message)
                .field("value", format!("{days_left:.0} d"))
                .field("critical", format!("{days} d"))
                .field("days_left", days_left)
                .field("full_on", on)
                .field("growth_per_day_bytes", bytes_per_day)
                .limits("days_left", "", format!("{days}:"))
        }
    };
    vec![record, forecast]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::DamagedPage;
    use crate::lsn::Lsn;
    use crate::storage::Space;
    use crate::trust::attestation::{Attested, Statement};
    use crate::trust::forecast;
    use crate::trust::ledger::Outcome;
    use crate::trust::tests::cluster;

    const DAY: i64 = 86_400;
    const SIZE: u64 = 16 << 20;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn limits() -> Limits {
        Limits {
            age_full: Duration::from_secs(8 * 86_400),
            age: Duration::from_secs(26 * 3600),
            rpo: Duration::from_secs(900),
            backlog: 32,
            age_verify: Duration::from_secs(8 * 86_400),
            age_restore: Duration::from_secs(35 * 86_400),
            disk_days: 14,
        }
    }

    fn archiver() -> Archiver {
        Archiver {
            system_identifier: Some(7),
            mode: "on".into(),
            in_recovery: false,
            insert_lsn: Some(Lsn(6 * SIZE + 1000)),
            segment_bytes: SIZE,
            last_archived_wal: Some("000000010000000000000005".into()),
            last_archived: Some(at(100 * DAY - 60)),
            last_failed_wal: None,
            last_failed: None,
            archive_timeout_seconds: 0,
            waiting: Some(0),
            now: at(100 * DAY),
        }
    }

    fn facts() -> Facts {
        let mut backup = cluster("a", 5, 5);
        backup.stop_time = at(100 * DAY - 3600);
        Facts {
            now: at(100 * DAY),
            clusters: vec![backup],
            broken: vec![],
            pending: vec![],
            server: Server::Seen(archiver()),
            logs: Ok(Logs { segments: 5, gaps: vec![], has_last_archived: Some(true) }),
            verified: None,
            verified_good: None,
            attested: Ok(Attested::default()),
            size: forecast::sample(at(100 * DAY), 1000, Some(Space { free: 5, total: 10 })),
            forecast: Forecast::Steady { bytes_per_day: 0.0 },
        }
    }

    fn status(facts: &Facts, subject: &str) -> Option<Status> {
        judge(facts, &limits()).into_iter().find(|record| record.subject == subject).map(|record| record.status)
    }

    #[test]
    fn a_young_healthy_repository_is_good_everywhere() {
        for record in judge(&facts(), &limits()) {
            assert_eq!(record.status, Status::Ok, "{}: {}", record.subject, record.message);
        }
    }

    #[test]
    fn an_old_backup_and_none_at_all_are_critical() {
        let mut facts = facts();
        facts.clusters[0].stop_time = at(100 * DAY - 27 * 3600);
        assert_eq!(status(&facts, "any backup"), Some(Status::Critical));
        assert_eq!(status(&facts, "full backup"), Some(Status::Ok));
        facts.clusters[0].kind = BackupKind::Incremental;
        assert_eq!(status(&facts, "full backup"), Some(Status::Critical));
        facts.clusters.clear();
        assert_eq!(status(&facts, "any backup"), Some(Status::Critical));
    }

    #[test]
    fn limits_reach_perfdata() {
        let records = judge(&facts(), &limits());
        let age = records.iter().find(|record| record.subject == "any backup").unwrap();
        assert_eq!(age.fields["age_seconds"], 3600.0);
        assert_eq!(age.fields["limits"]["age_seconds"]["critical"], "93600");
        let rpo = records.iter().find(|record| record.subject == "rpo").unwrap();
        assert_eq!(rpo.fields["limits"]["rpo_seconds"]["critical"], "900");
    }

    #[test]
    fn without_a_server_archiving_is_not_judged_and_a_silent_one_is_unknown() {
        let mut facts = facts();
        facts.server = Server::None;
        for subject in ["archiving", "archive backlog", "rpo"] {
            assert_eq!(status(&facts, subject), None);
        }
        facts.server = Server::Silent("refused".into());
        for subject in ["archiving", "archive backlog", "rpo"] {
            assert_eq!(status(&facts, subject), Some(Status::Unknown));
        }
    }

    #[test]
    fn what_was_written_since_the_last_archived_segment_could_be_lost() {
        assert_eq!(loss_seconds(&archiver()), Some(60.0));
        let idle = Archiver { insert_lsn: Some(Lsn(6 * SIZE + 40)), ..archiver() };
        assert_eq!(loss_seconds(&idle), Some(0.0), "nothing was written");
        let never = Archiver { last_archived: None, ..archiver() };
        assert_eq!(loss_seconds(&never), None);
    }

    #[test]
    fn an_idle_server_with_a_timeout_would_have_archived_what_there_was() {
        let old = at(100 * DAY - 5000);
        let idle = Archiver { archive_timeout_seconds: 60, last_archived: Some(old), ..archiver() };
        assert_eq!(loss_seconds(&idle), Some(0.0));
        let waiting = Archiver { waiting: Some(1), ..idle.clone() };
        assert_eq!(loss_seconds(&waiting), Some(5000.0));
        let failing = Archiver { last_failed: Some(at(100 * DAY - 10)), ..idle.clone() };
        assert_eq!(loss_seconds(&failing), Some(5000.0));
        let unseen = Archiver { waiting: None, ..idle };
        assert_eq!(loss_seconds(&unseen), Some(5000.0), "what cannot be seen is not taken for good");
    }

    #[test]
    fn failing_archiving_is_critical_until_it_works_again() {
        let mut facts = facts();
        facts.server = Server::Seen(Archiver { last_failed: Some(at(100 * DAY - 30)), ..archiver() });
        assert_eq!(status(&facts, "archiving"), Some(Status::Critical));
        facts.server = Server::Seen(Archiver { last_failed: Some(at(100 * DAY - 90)), ..archiver() });
        assert_eq!(status(&facts, "archiving"), Some(Status::Ok));
        facts.server = Server::Seen(Archiver { mode: "off".into(), ..archiver() });
        assert_eq!(status(&facts, "archiving"), Some(Status::Critical));
        facts.server = Server::Seen(archiver());
        facts.logs = Ok(Logs { has_last_archived: Some(false), ..Logs::default() });
        assert_eq!(status(&facts, "archiving"), Some(Status::Critical), "archived somewhere else");
    }

    #[test]
    fn the_backlog_is_estimated_where_it_may_not_be_seen() {
        let hidden = Archiver { waiting: None, insert_lsn: Some(Lsn(46 * SIZE + 9)), ..archiver() };
        let record = backlog(&hidden, &limits());
        assert_eq!((record.fields["waiting"].as_u64(), record.status), (Some(40), Status::Critical));
        let blind = Archiver { last_archived_wal: None, ..hidden };
        assert_eq!(backlog(&blind, &limits()).status, Status::Unknown);
    }

    #[test]
    fn gaps_and_damage_are_critical() {
        let mut facts = facts();
        facts.logs = Ok(Logs { gaps: vec!["6 is missing".into()], ..Logs::default() });
        assert_eq!(status(&facts, "wal gaps"), Some(Status::Critical));
        facts.logs = Err("cannot list".into());
        assert_eq!(status(&facts, "wal gaps"), Some(Status::Unknown));
        facts.clusters[0].damaged = vec![DamagedPage { file: "base/1".into(), block: 1, why: "x".into() }];
        assert_eq!(status(&facts, "damaged backups"), Some(Status::Critical));
        let mut newer = cluster("b", 9, 9);
        newer.stop_time = facts.now;
        facts.clusters.push(newer);
        assert_eq!(status(&facts, "damaged backups"), Some(Status::Warning));
        facts.broken = vec!["c".into()];
        assert_eq!(status(&facts, "damaged backups"), Some(Status::Critical));
    }

    #[test]
    fn what_was_never_done_is_due_after_as_long_as_its_limit() {
        let mut facts = facts();
        facts.clusters[0].stop_time = at(90 * DAY);
        assert_eq!(status(&facts, "verification"), Some(Status::Critical));
        assert_eq!(status(&facts, "test restore"), Some(Status::Ok));
        facts.clusters[0].stop_time = at(50 * DAY);
        assert_eq!(status(&facts, "test restore"), Some(Status::Critical));
    }

    #[test]
    fn a_verification_that_found_problems_is_critical_whatever_was_good_before() {
        let mut facts = facts();
        facts.verified = Some((at(100 * DAY - 5), Outcome { problems: 1, ..Outcome::default() }));
        facts.verified_good = Some(at(100 * DAY - 10));
        assert_eq!(status(&facts, "verification"), Some(Status::Critical));
        facts.verified = Some((at(100 * DAY - 5), Outcome::default()));
        assert_eq!(status(&facts, "verification"), Some(Status::Ok));
        facts.verified_good = Some(at(91 * DAY));
        assert_eq!(status(&facts, "verification"), Some(Status::Critical));
    }

    #[test]
    fn a_failed_test_restore_and_a_forged_attestation_are_critical() {
        let statement = |passed, second| Statement {
            version: 1,
            at: at(second),
            host: String::new(),
            run: String::new(),
            backup: "a".into(),
            snapshot: String::new(),
            system_identifier: "7".into(),
            target: None,
            reached: None,
            passed,
            checks: vec![],
            recovery_milliseconds: 1500,
            bytes: 1,
        };
        let mut facts = facts();
        let good = Some(statement(true, 99 * DAY));
        facts.attested = Ok(Attested { last: good.clone(), last_passed: good.clone(), bad: vec![] });
        assert_eq!(status(&facts, "test restore"), Some(Status::Ok));
        facts.attested = Ok(Attested { last: Some(statement(false, 100 * DAY)), last_passed: good, bad: vec![] });
        assert_eq!(status(&facts, "test restore"), Some(Status::Critical));
        facts.attested = Ok(Attested { bad: vec![("attest/x".into(), "forged".into())], ..Attested::default() });
        assert_eq!(status(&facts, "notes/attest/x"), Some(Status::Critical));
    }

    #[test]
    fn a_disk_that_is_full_too_soon_is_critical_and_without_history_nothing_is_judged() {
        let mut facts = facts();
        facts.forecast = Forecast::Full { bytes_per_day: 1.0, days_left: 13.0, on: None };
        assert_eq!(status(&facts, "disk"), Some(Status::Critical));
        facts.forecast = Forecast::NotEnough { samples: 1, days: 0.0 };
        let records = judge(&facts, &limits());
        assert_eq!(records.iter().find(|record| record.subject == "disk").unwrap().kind, Kind::Metric);
    }

    #[test]
    fn an_unfinished_backup_is_left_over_after_a_day() {
        let mut facts = facts();
        facts.pending = vec![("x".into(), at(100 * DAY - 100))];
        assert_eq!(status(&facts, "unfinished backups"), Some(Status::Ok));
        facts.pending = vec![("x".into(), at(98 * DAY))];
        assert_eq!(status(&facts, "unfinished backups"), Some(Status::Warning));
    }
}
