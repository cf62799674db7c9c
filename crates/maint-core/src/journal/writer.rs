//! Writing the journal beside the work: records go through a channel to a thread that appends whatever has gathered with
//! one sync, so that the work does not wait for the disk after every step.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Journal, JournalError};

/// How long records gather before they are written together: what a killed program may lose of its journal.
const GATHER: Duration = Duration::from_millis(20);

enum Message {
    Record(String),
    Flush(Sender<Result<(), String>>),
}

/// The sending end. Dropping it waits until everything is on disk.
#[derive(Debug)]
pub struct JournalWriter {
    sender: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

impl JournalWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(journal: Journal) -> Result<Self, JournalError> {
        let path = journal.path().to_owned();
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write(journal, &receiver))
            .map_err(|source| JournalError::Io { step: "start the writer of", path, source })?;
        Ok(JournalWriter { sender: Some(sender), thread: Some(thread) })
    }

    /// Hands one record over, a JSON object.
    pub fn push(&self, record: String) {
        if let Some(sender) = &self.sender {
            // A thread that ended has told why; flush says so.
            let _ = sender.send(Message::Record(record));
        }
    }

    /// Waits until every record handed over is on disk.
    ///
    /// # Errors
    /// The first that could not be written since the last flush, and why.
    pub fn flush(&self) -> Result<(), String> {
        let (answer, wait) = channel();
        let sent = self.sender.as_ref().is_some_and(|sender| sender.send(Message::Flush(answer)).is_ok());
        match wait.recv() {
            Ok(result) if sent => result,
            _ => Err("its writer ended early".to_owned()),
        }
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(mut journal: Journal, messages: &Receiver<Message>) {
    let mut trouble: Option<String> = None;
    while let Ok(first) = messages.recv() {
        let mut batch = Vec::new();
        let mut waiting = Vec::new();
        let until = Instant::now() + GATHER;
        let mut message = Some(first);
        while let Some(next) = message {
            match next {
                Message::Record(record) => batch.push(record),
                Message::Flush(answer) => waiting.push(answer),
            }
            let left =
                if waiting.is_empty() { until.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            message = messages.recv_timeout(left).ok();
        }
        if !batch.is_empty()
            && let Err(error) = journal.append_all(&batch)
        {
            trouble.get_or_insert(error.to_string());
        }
        for answer in waiting {
            let _ = answer.send(trouble.take().map_or(Ok(()), Err));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::verify;

    #[test]
    fn everything_handed_over_is_on_disk_after_the_flush_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let path = journal.path().to_owned();
        let writer = JournalWriter::start(journal).unwrap();
        for n in 0..500 {
            writer.push(format!("{{\"n\":{n}}}"));
        }
        writer.flush().unwrap();
        assert_eq!(verify(&path).unwrap().lines, 500);
        let last = crate::journal::read(&path).unwrap().last().unwrap().unwrap();
        assert_eq!(last.record["n"], 499);
    }

    #[test]
    fn a_record_that_cannot_be_written_is_told_at_the_flush() {
        let dir = tempfile::tempdir().unwrap();
        let writer = JournalWriter::start(Journal::open(dir.path()).unwrap()).unwrap();
        writer.push("not json".to_owned());
        assert!(writer.flush().is_err());
        writer.flush().unwrap();
    }
}
