//! One run of one command: it puts records into envelopes, writes and journals them, counts them, and turns the worst
//! of them into the exit code. No command computes an exit code of its own, so none can forget a record.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use crate::failure::Failure;
use crate::journal::{Journal, JournalWriter};
use crate::output::{Format, Writer};
use crate::record::{Envelope, Kind, Record};
use crate::status::{Exit, Severity, Status};
use crate::units::format_seconds;

/// What is written by one run of one command.
pub struct Run {
    envelope: Envelope,
    tool: &'static str,
    started: Instant,
    started_at: Timestamp,
    inner: Mutex<Inner>,
}

struct Inner {
    writer: Writer,
    journal: Option<JournalWriter>,
    counts: BTreeMap<Status, usize>,
    worst: Severity,
    trouble: Vec<String>,
    /// Further fields of the summary.
    result: Vec<(String, serde_json::Value)>,
    lost: bool,
}

impl Run {
    /// Starts a run of `task`. `columns` names the fields that the table shows.
    pub fn start(tool: &'static str, task: &str, format: Format, columns: &'static [&'static str]) -> Self {
        Run {
            envelope: Envelope::new(tool, task),
            tool,
            started: Instant::now(),
            started_at: Timestamp::now(),
            inner: Mutex::new(Inner {
                writer: Writer::stdout(format, tool, columns),
                journal: None,
                counts: BTreeMap::new(),
                worst: Severity::Ok,
                trouble: Vec::new(),
                result: Vec::new(),
                lost: false,
            }),
        }
    }

    /// Writes every record from now on into the journal as well. A run that changes something calls it before its
    /// first change.
    ///
    /// # Errors
    /// The journal cannot be opened: an unrecorded change must not start.
    pub fn journal_in(&self, state_dir: &Path) -> Result<(), Failure> {
        if self.lock().journal.is_some() {
            return Ok(());
        }
        let journal = Journal::open(state_dir).and_then(JournalWriter::start).map_err(|error| {
            Failure::usage(format!("cannot open the journal: {error}"))
                .hint("set MAINT_STATE_DIR to a directory that this user may write")
        })?;
        self.lock().journal = Some(journal);
        Ok(())
    }

    /// The run's ULID.
    pub fn id(&self) -> &str {
        &self.envelope.run
    }

    /// Reports one record.
    pub fn emit(&self, record: &Record) {
        self.write(record, Writer::emit);
    }

    /// Reports one of many: counted and journalled like any other, but written only where events are
    /// ([`Format::Ndjson`], [`Format::Json`]); people read what they add up to.
    pub fn detail(&self, record: &Record) {
        self.write(record, |writer, _, line| writer.detail(line));
    }

    /// Writes a document, or a part of one, of a run whose format is [`Format::Document`].
    pub fn document(&self, content: &[u8]) {
        let mut inner = self.lock();
        if let Err(error) = inner.writer.document(content) {
            inner.lost = true;
            inner.note(format!("cannot write to stdout: {error}"));
        }
    }

    /// Puts a field into the summary, beside those that every summary has: what the run as a whole came to.
    pub fn result(&self, name: &str, value: impl serde::Serialize) {
        let value = serde_json::to_value(value).unwrap_or_default();
        self.lock().result.push((name.to_owned(), value));
    }

    /// Writes what is still buffered of the details.
    pub fn flush(&self) {
        let mut inner = self.lock();
        if let Err(error) = inner.writer.flush() {
            inner.lost = true;
            inner.note(format!("cannot write to stdout: {error}"));
        }
    }

    /// Whether nobody reads stdout any more (`| head`). A command that only looks may stop then.
    pub fn reader_is_gone(&self) -> bool {
        self.lock().writer.reader_is_gone()
    }

    fn write(&self, record: &Record, write: impl FnOnce(&mut Writer, &Record, &str) -> std::io::Result<()>) {
        let line = serde_json::to_string(&self.envelope.seal(record));
        let mut inner = self.lock();
        if record.kind != Kind::Summary {
            *inner.counts.entry(record.status).or_default() += 1;
            inner.worst = inner.worst.max(record.status.severity());
        }
        match line {
            Ok(line) => {
                if let Err(error) = write(&mut inner.writer, record, &line) {
                    inner.lost = true;
                    inner.note(format!("cannot write to stdout: {error}"));
                }
                if let Some(journal) = &inner.journal {
                    journal.push(line);
                }
            }
            Err(error) => inner.note(format!("cannot encode a record: {error}")),
        }
    }

    /// Waits until every record so far is in the journal: whoever reads the journal in the same run calls it first.
    pub fn flush_journal(&self) {
        self.lock().flush_journal();
    }

    /// Passes on a record of another program, an event as JSON text, to a reader of records. It is not counted and not
    /// journalled: that program has done so.
    pub fn forward(&self, line: &str) {
        let mut inner = self.lock();
        if let Err(error) = inner.writer.forward(line) {
            inner.lost = true;
            inner.note(format!("cannot write to stdout: {error}"));
        }
    }

    /// Ends the run: writes the summary and returns the exit code of the worst record.
    pub fn finish(self, subject: &str) -> Exit {
        self.end(subject, None, None)
    }

    /// Ends a run that a signal stopped.
    pub fn interrupted(self, subject: &str, exit: Exit) -> Exit {
        self.end(subject, Some(exit), Some("interrupted".to_owned()))
    }

    /// Ends a run that could not go on. The message goes to stderr, and into the summary, so that a monitoring system
    /// that reads only stdout learns of it too.
    pub fn fail(self, subject: &str, failure: &Failure) -> Exit {
        complain(self.tool, failure);
        let message = match &failure.hint {
            Some(hint) => format!("{} ({hint})", failure.message),
            None => failure.message.clone(),
        };
        self.end(subject, Some(failure.exit), Some(message))
    }

    fn end(self, subject: &str, exit: Option<Exit>, message: Option<String>) -> Exit {
        let duration = self.started.elapsed().as_secs_f64();
        let mut inner = self.lock();
        inner.flush_journal();
        if !inner.trouble.is_empty() {
            inner.worst = inner.worst.max(if inner.lost { Severity::Critical } else { Severity::Warning });
        }
        let exit = exit.unwrap_or_else(|| {
            let counted = Exit::of(inner.counts.keys().copied());
            // Trouble with the output is in `worst` alone.
            if counted.severity() >= inner.worst { counted } else { inner.worst.into() }
        });
        let mut parts: Vec<String> = message.into_iter().collect();
        parts.extend(inner.trouble.iter().cloned());
        let counted: Vec<String> = inner.counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
        if !counted.is_empty() {
            parts.push(counted.join(", "));
        } else if parts.is_empty() {
            parts.push("nothing to do".to_owned());
        }
        let message = format!("{} in {}", parts.join("; "), format_seconds(duration));
        let counts: BTreeMap<&str, usize> = inner.counts.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        let severity = if exit == Exit::Ok { Severity::Ok } else { exit.severity().max(inner.worst) };
        let summary = std::mem::take(&mut inner.result)
            .into_iter()
            .fold(Record::new(Kind::Summary, subject, severity.status(), message), |summary, (name, value)| {
                summary.field(&name, value)
            })
            .field("counts", counts)
            .field("started", self.started_at)
            .field("duration_seconds", duration)
            .field("exit_code", exit.code());
        drop(inner);
        self.emit(&summary);
        let mut inner = self.lock();
        let known = inner.trouble.len();
        inner.flush_journal();
        if inner.trouble.len() > known {
            complain(self.tool, &Failure::critical(inner.trouble.join("; ")));
            return Exit::Critical;
        }
        if let Err(error) = inner.writer.finish(&self.envelope) {
            complain(self.tool, &Failure::critical(format!("cannot write to stdout: {error}")));
            inner.lost = true;
        }
        // The data did not reach its reader, perhaps not even the summary: whatever it says, this run was not good.
        if inner.lost { Exit::Critical } else { exit }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn flush_journal(&mut self) {
        if let Some(Err(error)) = self.journal.as_ref().map(JournalWriter::flush) {
            self.note(format!("cannot write the journal: {error}"));
        }
    }

    /// Trouble with the output itself, said once each and counted as a warning at least.
    fn note(&mut self, text: String) {
        if !self.trouble.contains(&text) {
            tracing::error!("{text}");
            self.trouble.push(text);
        }
    }
}

/// Says on stderr why a run could not go on.
pub fn complain(tool: &str, failure: &Failure) {
    use std::io::Write;
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "{tool}: error: {}", failure.message);
    if let Some(hint) = &failure.hint {
        let _ = writeln!(stderr, "  to do: {hint}");
    }
}
