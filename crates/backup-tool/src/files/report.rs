//! What came of reading a set.
//!
//! The storage engine logs an error of its source and goes on without the file. So that no backup can succeed without one
//! that it should have, the walk and the readers write down here what they met.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many errors are named; beyond that they are counted.
pub const NAMED: usize = 20;

/// Something of a set that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The system said no.
    #[error("cannot {step} {path:?}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What was read is not of one moment.
    #[error("{path:?} changed while it was read")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// It was listed, and then was not there.
    #[error("{path:?} was removed while the set was read")]
    Vanished {
        /// The entry.
        path: PathBuf,
    },
    /// The format has no place for an attribute whose name is no text.
    #[error("{path:?} has an extended attribute whose name is not UTF-8: {name:?}")]
    AttributeName {
        /// The entry.
        path: PathBuf,
        /// The attribute.
        name: String,
    },
}

impl SourceError {
    /// Whether reading again may do better.
    pub fn may_pass(&self) -> bool {
        matches!(self, SourceError::Changed { .. } | SourceError::Vanished { .. })
    }
}

/// All that came of reading a set, once.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Entries: files, directories, links and the rest, also the directories above the set's paths.
    pub entries: u64,
    /// Size of the files, in bytes.
    pub bytes: u64,
    /// The first errors. The backup is worthless unless there are none.
    pub errors: Vec<SourceError>,
    /// How many there were.
    pub error_count: u64,
    /// How many of them reading again will not mend.
    pub lasting: u64,
    /// Whether reading ended early, because the run was asked to stop. The backup is worthless then.
    pub interrupted: bool,
}

impl Outcome {
    /// Whether there was trouble, and all of it may be gone when the set is read again.
    pub fn may_pass(&self) -> bool {
        self.error_count > 0 && self.lasting == 0 && !self.interrupted
    }

    /// The errors as a sentence: the first ones, and how many more.
    pub fn trouble(&self) -> String {
        let shown: Vec<String> = self.errors.iter().map(ToString::to_string).collect();
        let more = self.error_count.saturating_sub(shown.len() as u64);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        format!("{}{more}", shown.join("; "))
    }
}

/// Shared by a source and its readers.
#[derive(Debug, Default)]
pub struct Report(Mutex<Outcome>);

impl Report {
    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        // What is written here is whole at every moment: a reader that panicked leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, bytes: u64) {
        let mut outcome = self.outcome();
        outcome.entries += 1;
        outcome.bytes += bytes;
    }

    pub(super) fn fail(&self, error: SourceError) {
        let mut outcome = self.outcome();
        outcome.error_count += 1;
        outcome.lasting += u64::from(!error.may_pass());
        if outcome.errors.len() < NAMED {
            outcome.errors.push(error);
        }
    }

    pub(super) fn interrupt(&self) {
        self.outcome().interrupted = true;
    }

    /// Takes all that was written down; to be asked once, after the engine has ended.
    pub fn finish(&self) -> Outcome {
        std::mem::take(&mut *self.outcome())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(number: usize) -> SourceError {
        SourceError::Changed { path: PathBuf::from(format!("/x/{number}")) }
    }

    #[test]
    fn twenty_are_named_and_the_rest_counted() {
        let report = Report::default();
        (0..23).for_each(|number| report.fail(changed(number)));
        let outcome = report.finish();
        let trouble = outcome.trouble();
        assert!(
            trouble.starts_with("\"/x/0\" changed while it was read; ") && trouble.contains("/x/19\""),
            "{trouble}"
        );
        assert!(trouble.ends_with("; and 3 more") && !trouble.contains("/x/20"), "{trouble}");
    }

    #[test]
    fn only_what_may_be_gone_next_time_is_worth_another_reading() {
        let report = Report::default();
        assert!(!report.finish().may_pass(), "nothing to mend");
        report.fail(changed(1));
        report.fail(SourceError::Vanished { path: "/y".into() });
        assert!(report.finish().may_pass());
        // One that will not mend, though it is not among the named.
        (0..30).for_each(|number| report.fail(changed(number)));
        let source = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        report.fail(SourceError::Io { step: "open", path: "/z".into(), source });
        assert!(!report.finish().may_pass());
    }

    #[test]
    fn a_name_cannot_break_a_line_of_a_message() {
        let error = SourceError::Changed { path: "/x/a\nb".into() };
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}
