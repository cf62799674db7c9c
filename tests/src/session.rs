//! A psql that stays connected, for locks and transactions that have to last while something else is tried.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use crate::client::Client;
use crate::error::{Doing, Error, Result};
use crate::tool::RUN_LIMIT;

/// What psql prints after each statement, followed by a number and psql's own `:ERROR` and `:SQLSTATE`.
const MARK: &str = "--testbed-statement-done--";

/// A client that is connected until it is closed or dropped. Either way its backend is gone afterwards, and with it
/// every lock it held.
#[derive(Debug)]
pub struct Session {
    client: Client,
    db: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Arc<Mutex<String>>,
    sent: u64,
    done: u64,
    pid: i32,
}

impl Session {
    pub(crate) fn open(client: &Client, db: &str, sql: &str) -> Result<Self> {
        let mut child = client
            .psql_command(db)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .doing(|| "start psql".into())?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                BufReader::new(stdout).lines().map_while(std::result::Result::ok).try_for_each(|line| sender.send(line))
            });
        }
        let stderr = Arc::new(Mutex::new(String::new()));
        if let Some(mut pipe) = child.stderr.take() {
            let said = Arc::clone(&stderr);
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                    if let (Ok(mut said), Some(part)) = (said.lock(), buffer.get(..n)) {
                        said.push_str(&String::from_utf8_lossy(part));
                    }
                }
            });
        }
        let stdin = child.stdin.take();
        let mut session =
            Self { client: client.clone(), db: db.to_owned(), child, stdin, lines, stderr, sent: 0, done: 0, pid: 0 };
        let pid = session.send("SELECT pg_catalog.pg_backend_pid()")?;
        session.pid = pid.trim().parse().map_err(|_| session.sql_error(format!("no backend pid but: {pid}")))?;
        if !sql.trim().is_empty() {
            session.send(sql)?;
        }
        Ok(session)
    }

    /// The process id of the session's backend on the server.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Runs `sql` and waits until it is finished; gives its rows. When its last statement fails, the error says why and
    /// the session lives on.
    pub fn send(&mut self, sql: &str) -> Result<String> {
        self.send_nowait(sql)?;
        self.finish()
    }

    /// Hands `sql` to the session and returns at once; [`Session::finish`] gives its result.
    pub fn send_nowait(&mut self, sql: &str) -> Result<()> {
        self.sent += 1;
        let end = if sql.trim_end().ends_with(';') || sql.trim_start().starts_with('\\') { "" } else { ";" };
        let text = format!(
            "{sql}{end}\n\\if :ERROR\n\\echo :LAST_ERROR_MESSAGE\n\\endif\n\\echo {MARK} {} :ERROR :SQLSTATE\n",
            self.sent
        );
        let written = match &mut self.stdin {
            Some(stdin) => stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()),
            None => Err(std::io::Error::other("it is closed")),
        };
        written.map_err(|e| self.sql_error(format!("the session cannot be written to: {e}")))
    }

    /// Waits for all that was sent, and gives the result of the last of it.
    pub fn finish(&mut self) -> Result<String> {
        let end = Instant::now() + RUN_LIMIT;
        let mut output: Vec<String> = Vec::new();
        while self.done < self.sent {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let Some(mark) = line.strip_prefix(MARK) else {
                        output.push(line);
                        continue;
                    };
                    self.done += 1;
                    if self.done < self.sent {
                        output.clear();
                    } else if let Some(("true", state)) = mark.trim().split_once(' ').and_then(|m| m.1.split_once(' '))
                    {
                        let message = format!("{} (SQLSTATE {state})", output.join("\n"));
                        return Err(self.sql_error(message));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Error::TimedOut { what: "a statement of a session finishes".into(), after: RUN_LIMIT });
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = self.child.wait();
                    let said = self.stderr.lock().map(|s| s.trim().to_owned()).unwrap_or_default();
                    return Err(self.sql_error(format!("the session ended: {said}")));
                }
            }
        }
        Ok(output.join("\n"))
    }

    /// Asks the server to cancel what the session runs. The statement's error then comes from [`Session::finish`].
    pub fn cancel(&self) -> Result<()> {
        self.client.psql(&self.db, &format!("SELECT pg_catalog.pg_cancel_backend({})", self.pid)).map(|_| ())
    }

    /// Ends the session and waits until its backend is gone.
    pub fn close(mut self) -> Result<()> {
        self.end()
    }

    /// psql alone is not enough: a backend that waits for a lock does not see its client leave.
    fn end(&mut self) -> Result<()> {
        if self.stdin.take().is_none() {
            return Ok(());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.pid == 0 {
            return Ok(());
        }
        // The second argument: wait up to so many milliseconds for its end (PostgreSQL 14). Not by pid alone: in another
        // database it could be somebody else's by now.
        let sql = format!(
            "SELECT pg_catalog.pg_terminate_backend(pid, 10000) FROM pg_catalog.pg_stat_activity \
             WHERE pid = {} AND datname = pg_catalog.current_database()",
            self.pid
        );
        self.client.psql(&self.db, &sql).map(|_| ())
    }

    fn sql_error(&self, message: String) -> Error {
        Error::Sql { db: self.db.clone(), message }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
