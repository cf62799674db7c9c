//! Who is told besides those who read the output.

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use maint_core::child::{Child, CommandSpec, Line, Stdin};
use maint_core::record::Record;

use super::event::Event;
use crate::work::Work;

/// A command that takes longer has failed; the next run tries again.
const PATIENCE: Duration = Duration::from_mins(1);

/// Time to end after it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// Somebody to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sink {
    /// A shell command that reads one event, as JSON, on standard input; that it ends with 0 means that it was taken.
    Exec(String),
    /// A file that a line of JSON is added to.
    File(PathBuf),
}

impl FromStr for Sink {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("exec", command)) if !command.trim().is_empty() => Ok(Sink::Exec(command.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Sink::File(path.into())),
            _ => Err(format!("`{text}` is nobody to tell: write exec:COMMAND or file:PATH")),
        }
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sink::Exec(command) => write!(f, "exec:{command}"),
            Sink::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl Sink {
    /// Tells an event.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(super) fn deliver(&self, event: &Event, record: &Record, work: &Work<'_>) -> Result<(), String> {
        let mut line = serde_json::json!({
            "id": event.id(),
            "event": event.what,
            "subject": record.subject,
            "status": record.status,
            "message": record.message,
            "time": work.now,
            "finding": event.finding,
        })
        .to_string();
        line.push('\n');
        match self {
            Sink::File(path) => {
                let mut file = std::fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)
                    .map_err(|error| error.to_string())?;
                file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(|error| error.to_string())
            }
            Sink::Exec(command) => {
                let mut spec = CommandSpec::new("sh", ["-c", command.as_str()]);
                spec.stdin = Stdin::Bytes(line.into_bytes().into());
                let mut said = String::new();
                let ended = work
                    .block_on(async {
                        let child = Child::spawn(spec, Some(PATIENCE), GRACE)?;
                        let took = |line| match line {
                            Line::Stderr(text) | Line::Stdout(text) => said = text,
                        };
                        let cancelled = async {
                            work.cancel.cancelled().await;
                        };
                        child.run(cancelled, took).await
                    })
                    .map_err(|error| error.to_string())?;
                match (ended.code, ended.timed_out) {
                    (Some(0), false) => Ok(()),
                    (_, true) => Err(format!("it did not end within {} s", PATIENCE.as_secs())),
                    (Some(code), _) => Err(format!("it ended with {code}: {said}")),
                    (None, _) => Err(format!("a signal ended it: {said}")),
                }
            }
        }
    }
}
