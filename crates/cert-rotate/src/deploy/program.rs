//! A consumer's own programs: one that tests files before they are live, one that reloads.
//!
//! They are lists of arguments and never go through a shell, run in a process group of their own, and are ended when their
//! time is over. What they print is part of the message when they fail.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::time::Duration;

use maint_core::cancel::Cancel;
use maint_core::child::{Child, ChildError, CommandSpec, Ended, Line};
use maint_core::units::format_seconds;

/// How long a program may take when nobody said.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// Lines of output that a message may have.
const LINES: usize = 8;

/// A program did not do what it was started for.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The list of arguments is empty.
    #[error("the command is empty")]
    Empty,
    /// It could not be run.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// It took too long and was ended.
    #[error("`{program}` did not end within {} and was ended{output}", format_seconds(limit.as_secs_f64()))]
    TimedOut {
        /// The command line.
        program: String,
        /// How long it was given.
        limit: Duration,
        /// What it printed last.
        output: String,
    },
    /// This run was asked to stop.
    #[error("`{0}` was ended because this run was interrupted")]
    Cancelled(String),
    /// It said no.
    #[error("`{program}` ended with {how}{output}")]
    Refused {
        /// The command line.
        program: String,
        /// Exit code or signal.
        how: String,
        /// What it printed last.
        output: String,
    },
}

/// Runs a program to its end. `cancel` ends it early.
///
/// # Errors
/// It could not be run, took too long, or did not end with 0.
pub async fn run(
    arguments: &[String],
    env: &[(OsString, OsString)],
    limit: Duration,
    cancel: Option<&Cancel>,
) -> Result<(), ProgramError> {
    let Some((program, rest)) = arguments.split_first() else { return Err(ProgramError::Empty) };
    let mut spec = CommandSpec::new(program, rest);
    spec.env = env.to_vec();
    let mut last: VecDeque<String> = VecDeque::new();
    let stop = async {
        match cancel {
            Some(cancel) => drop(cancel.cancelled().await),
            None => std::future::pending().await,
        }
    };
    let child = Child::spawn(spec, Some(limit), GRACE)?;
    let ended = child
        .run(stop, |line| {
            let (Line::Stdout(text) | Line::Stderr(text)) = line;
            tracing::debug!("{program}: {text}");
            if !text.trim().is_empty() {
                last.push_back(text);
            }
            if last.len() > LINES {
                last.pop_front();
            }
        })
        .await?;
    let program = arguments.join(" ");
    let output = if last.is_empty() { String::new() } else { format!(": {}", Vec::from(last).join(" / ")) };
    match ended {
        Ended { cancelled: true, .. } => Err(ProgramError::Cancelled(program)),
        Ended { timed_out: true, .. } => Err(ProgramError::TimedOut { program, limit, output }),
        Ended { code: Some(0), .. } => Ok(()),
        Ended { code: Some(code), .. } => {
            Err(ProgramError::Refused { program, how: format!("exit code {code}"), output })
        }
        Ended { signal, .. } => {
            let how = signal.map_or_else(|| "a signal".to_owned(), |signal| format!("signal {signal}"));
            Err(ProgramError::Refused { program, how, output })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, limit: Duration, cancel: Option<&Cancel>) -> Result<(), ProgramError> {
        let env = [(OsString::from("CERT_NAME"), OsString::from("web"))];
        run(&["sh", "-c", script].map(str::to_owned), &env, limit, cancel).await
    }

    #[tokio::test]
    async fn what_it_printed_is_in_the_message() {
        let error = sh("echo no $CERT_NAME >&2; exit 3", LIMIT, None).await.unwrap_err().to_string();
        assert!(error.ends_with("exit code 3: no web"), "{error}");
        sh("exit 0", LIMIT, None).await.unwrap();
        assert!(matches!(run(&[], &[], LIMIT, None).await, Err(ProgramError::Empty)));
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended() {
        let error = sh("sleep 60", Duration::from_millis(50), None).await.unwrap_err();
        assert!(matches!(error, ProgramError::TimedOut { .. }), "{error}");
        let cancel = Cancel::never();
        cancel.cancel(maint_core::status::Exit::Interrupted);
        let error = sh("sleep 60", LIMIT, Some(&cancel)).await.unwrap_err();
        assert!(matches!(error, ProgramError::Cancelled(_)), "{error}");
    }
}
