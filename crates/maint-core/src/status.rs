//! What a record says happened, and what a program's exit code says of the whole run.
//!
//! There is one list of statuses for every tool, so that a pipeline can select on `.data.status` without knowing which
//! tool spoke. Each status has a [`Severity`], the worst severity of a run decides its [`Exit`], and the exit codes are
//! those of the monitoring-plugins convention: Nagios, Icinga, Sensu, Consul and systemd understand them as they are.

use serde::{Deserialize, Serialize};

/// What one record reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Looked, and it is good; or done, and the effect was seen.
    Ok,
    /// Would be done: a dry run says so.
    Planned,
    /// The target vanished in the meantime (a table was dropped): nothing is left to do for it.
    Gone,
    /// A limit that asks for attention is broken, or something worth knowing was found.
    Warning,
    /// Could not be done now (locked, in use, being built); the next run tries again.
    Deferred,
    /// Deliberately not done, with the reason in the message; somebody should know.
    Skipped,
    /// Ran without an error and without the effect it was run for.
    Ineffective,
    /// Not started: the time budget ended or the run was interrupted.
    Left,
    /// The privilege to do it, or to look, is missing.
    Denied,
    /// Could not tell.
    Unknown,
    /// The program that does this does not exist in this build.
    NotBuilt,
    /// Tried, failed, and put back: what was there before is in service again, and that was seen.
    RolledBack,
    /// A limit that must hold is broken, or the target is down.
    Critical,
    /// Tried and failed.
    Failed,
    /// Tried, failed, and what was there before could not be put back either: a person is needed.
    Stuck,
}

impl Status {
    /// Every status, for counting and for schemas.
    pub const ALL: [Status; 15] = [
        Status::Ok,
        Status::Planned,
        Status::Gone,
        Status::Warning,
        Status::Deferred,
        Status::Skipped,
        Status::Ineffective,
        Status::Left,
        Status::Denied,
        Status::Unknown,
        Status::NotBuilt,
        Status::RolledBack,
        Status::Critical,
        Status::Failed,
        Status::Stuck,
    ];

    /// How bad it is for the run as a whole.
    pub fn severity(self) -> Severity {
        match self {
            Status::Ok | Status::Planned | Status::Gone => Severity::Ok,
            Status::Warning | Status::Deferred | Status::Skipped | Status::Ineffective | Status::Left => {
                Severity::Warning
            }
            Status::Denied | Status::Unknown | Status::NotBuilt => Severity::Unknown,
            Status::Critical | Status::RolledBack | Status::Failed | Status::Stuck => Severity::Critical,
        }
    }

    /// The name as it stands in a record.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Planned => "planned",
            Status::Gone => "gone",
            Status::Warning => "warning",
            Status::Deferred => "deferred",
            Status::Skipped => "skipped",
            Status::Ineffective => "ineffective",
            Status::Left => "left",
            Status::Denied => "denied",
            Status::Unknown => "unknown",
            Status::NotBuilt => "not-built",
            Status::Critical => "critical",
            Status::RolledBack => "rolled-back",
            Status::Failed => "failed",
            Status::Stuck => "stuck",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The four service states of the monitoring-plugins convention, in the order in which the worse one wins.
///
/// Unknown stands between warning and critical: a run that found something broken is critical even when it could not
/// look everywhere, and one that could not look is never just a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing to do.
    Ok,
    /// Needs attention.
    Warning,
    /// Could not tell.
    Unknown,
    /// Broken.
    Critical,
}

impl Severity {
    /// The state's name as monitoring systems print it.
    pub fn label(self) -> &'static str {
        match self {
            Severity::Ok => "OK",
            Severity::Warning => "WARNING",
            Severity::Unknown => "UNKNOWN",
            Severity::Critical => "CRITICAL",
        }
    }

    /// The status that stands for this severity alone.
    pub fn status(self) -> Status {
        match self {
            Severity::Ok => Status::Ok,
            Severity::Warning => Status::Warning,
            Severity::Unknown => Status::Unknown,
            Severity::Critical => Status::Critical,
        }
    }
}

/// The exit codes of every program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, healthy.
    Ok,
    /// 1: finished, but something needs attention or was left.
    Warning,
    /// 2: a limit is broken, a step failed, or the target is down.
    Critical,
    /// 3: could not tell: bad usage, bad configuration, missing privilege.
    Unknown,
    /// 10: a change failed and was taken back; what was there before serves.
    RolledBack,
    /// 11: a change failed and could not be taken back; a person is needed.
    Stuck,
    /// 75: not now: another run holds the lock, or it is outside the maintenance window (`EX_TEMPFAIL` of sysexits.h).
    NotNow,
    /// 130: ended by SIGINT, after clean-up.
    Interrupted,
    /// 143: ended by SIGTERM or SIGHUP, after clean-up.
    Terminated,
}

impl Exit {
    /// The number the process ends with.
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Warning => 1,
            Exit::Critical => 2,
            Exit::Unknown => 3,
            Exit::RolledBack => 10,
            Exit::Stuck => 11,
            Exit::NotNow => 75,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }

    /// How a monitoring system should see a run that ended so.
    pub fn severity(self) -> Severity {
        match self {
            Exit::Ok => Severity::Ok,
            Exit::Critical | Exit::RolledBack | Exit::Stuck => Severity::Critical,
            Exit::Unknown => Severity::Unknown,
            Exit::Warning | Exit::NotNow | Exit::Interrupted | Exit::Terminated => Severity::Warning,
        }
    }

    /// How bad the end of a child process was, read from its exit code. A code that no program of ours documents is
    /// critical: a caller must not take a crash for a warning.
    pub fn severity_of_code(code: i32) -> Severity {
        match code {
            0 => Severity::Ok,
            1 | 75 => Severity::Warning,
            3 => Severity::Unknown,
            _ => Severity::Critical,
        }
    }
}

impl Exit {
    /// How a run ends whose records had these statuses: the worst decides, and among those that are critical a state that
    /// needs a person before a failure, and a failure before one that was taken back.
    pub fn of(statuses: impl IntoIterator<Item = Status>) -> Exit {
        let worst = |status: Status| (status.severity(), status);
        match statuses.into_iter().max_by_key(|status| worst(*status)) {
            Some(Status::Stuck) => Exit::Stuck,
            Some(Status::RolledBack) => Exit::RolledBack,
            Some(status) => status.severity().into(),
            None => Exit::Ok,
        }
    }
}

impl From<Severity> for Exit {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Ok => Exit::Ok,
            Severity::Warning => Exit::Warning,
            Severity::Unknown => Exit::Unknown,
            Severity::Critical => Exit::Critical,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_could_not_look_is_never_ok_or_a_warning() {
        for status in [Status::Denied, Status::Unknown, Status::NotBuilt] {
            assert_eq!(Exit::from(status.severity()), Exit::Unknown, "{status}");
        }
    }

    #[test]
    fn the_worse_severity_wins() {
        assert!(Severity::Critical > Severity::Unknown);
        assert!(Severity::Unknown > Severity::Warning);
        assert!(Severity::Warning > Severity::Ok);
    }

    #[test]
    fn what_needs_a_person_comes_before_a_failure_and_a_failure_before_what_was_taken_back() {
        let of = |statuses: &[Status]| Exit::of(statuses.iter().copied());
        assert_eq!(of(&[]), Exit::Ok);
        assert_eq!(of(&[Status::Ok, Status::RolledBack, Status::Unknown]), Exit::RolledBack);
        assert_eq!(of(&[Status::RolledBack, Status::Failed]), Exit::Critical);
        assert_eq!(of(&[Status::RolledBack, Status::Critical]), Exit::Critical);
        assert_eq!(of(&[Status::Stuck, Status::Failed, Status::RolledBack]), Exit::Stuck);
        assert_eq!(of(&[Status::Warning, Status::Denied]), Exit::Unknown);
    }

    #[test]
    fn names_in_records_are_those_serde_writes() {
        for status in Status::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }

    #[test]
    fn an_undocumented_code_of_a_child_is_critical() {
        assert_eq!(Exit::severity_of_code(101), Severity::Critical);
        assert_eq!(Exit::severity_of_code(-9), Severity::Critical);
        assert_eq!(Exit::severity_of_code(75), Severity::Warning);
    }
}
