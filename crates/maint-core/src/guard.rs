//! The guards of a changing run: it starts only inside the maintenance window, and it stops starting steps when its
//! time is up, when the window closes, or when it is asked to.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::cancel::Cancel;
use crate::failure::Failure;
use crate::units::format_seconds;
use crate::window::Window;

/// Why no further step may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// A signal asked for it.
    Asked,
    /// `--max-duration` is over.
    TimeIsUp,
}

impl Stop {
    /// For the message of what was left.
    pub fn reason(&self) -> &'static str {
        match self {
            Stop::Asked => "not started: the run was interrupted",
            Stop::TimeIsUp => "not started: the time allowed for the run was over",
        }
    }
}

/// The time a run may take, and whether it was asked to stop.
#[derive(Debug, Clone)]
pub struct Guard {
    deadline: Option<Instant>,
    cancel: Cancel,
}

impl Guard {
    /// Opens a changing run: outside the window it does not start; inside, the window's end is also the run's.
    ///
    /// # Errors
    /// It is outside the window now: exit 75, naming the next start.
    pub fn open(
        window: Option<&Window>,
        max_duration: Option<Duration>,
        cancel: Cancel,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let mut allowed = max_duration;
        if let Some(window) = window {
            if !window.contains(now) {
                let next = window.next_start(now).map_or_else(|| "never".to_owned(), |start| start.to_string());
                return Err(Failure::not_now(format!(
                    "outside the maintenance window {window}; it opens next at {next}"
                ))
                .hint("run it then, or override the window with --window"));
            }
            let left = window.end_of_current(now).map(|end| end.duration_since(now).unsigned_abs());
            allowed = allowed.into_iter().chain(left).min();
        }
        Ok(Guard { deadline: allowed.and_then(|duration| Instant::now().checked_add(duration)), cancel })
    }

    /// Whether another step may start.
    ///
    /// # Errors
    /// Why not.
    pub fn may_start(&self) -> Result<(), Stop> {
        if self.cancel.is_cancelled() {
            return Err(Stop::Asked);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Stop::TimeIsUp),
            _ => Ok(()),
        }
    }

    /// The handle to ask whether the run was interrupted.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// What is left of the time, for people.
    pub fn remaining(&self) -> Option<String> {
        let left = self.deadline?.saturating_duration_since(Instant::now());
        Some(format_seconds(left.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Exit;

    #[test]
    fn outside_the_window_nothing_starts_and_the_next_start_is_named() {
        let window: Window = "Sat..Sun 01:00-05:00 UTC".parse().unwrap();
        let monday = "2026-11-23T12:00:00Z".parse().unwrap();
        let failure = Guard::open(Some(&window), None, Cancel::never(), monday).unwrap_err();
        assert_eq!(failure.exit, Exit::NotNow);
        assert!(failure.message.contains("2026-11-28T01:00:00Z"), "{failure}");
    }

    #[test]
    fn the_window_s_end_bounds_the_run() {
        let window: Window = "Sat 01:00-05:00 UTC".parse().unwrap();
        let inside = "2026-11-28T04:59:00Z".parse().unwrap();
        let guard = Guard::open(Some(&window), Some(Duration::from_secs(3600)), Cancel::never(), inside).unwrap();
        assert!(guard.deadline.unwrap() <= Instant::now() + Duration::from_secs(60));
    }

    #[test]
    fn after_the_time_no_step_starts() {
        let guard = Guard::open(None, Some(Duration::ZERO), Cancel::never(), Timestamp::now()).unwrap();
        assert_eq!(guard.may_start(), Err(Stop::TimeIsUp));
        let cancel = Cancel::never();
        let guard = Guard::open(None, None, cancel.clone(), Timestamp::now()).unwrap();
        assert_eq!(guard.may_start(), Ok(()));
        cancel.cancel(Exit::Interrupted);
        assert_eq!(guard.may_start(), Err(Stop::Asked));
    }
}
