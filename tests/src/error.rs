//! What can go wrong while a server is set up or a program is run.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The result of every fallible function of the test bed.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the test bed could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that the bed needs is not installed.
    #[error("{what} is not installed; install it with: {command}")]
    Missing {
        /// What is missing.
        what: String,
        /// The exact command line that installs it.
        command: String,
    },
    /// Installing needs root, and neither root nor a sudo that asks nothing is at hand.
    #[error("installing {what} needs root and sudo would ask for a password; run: {command}")]
    NeedsRoot {
        /// What would be installed.
        what: String,
        /// The exact command line to run as somebody who may.
        command: String,
    },
    /// A program of this workspace has not been built.
    #[error("{} is not there; build it with: cargo build -p {name}", .path.display())]
    NotBuilt {
        /// The program's name.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file or process operation failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done, as the words after "cannot".
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A program or server ended unsuccessfully.
    #[error("{what} failed: {why}")]
    Failed {
        /// The program and what it was to do.
        what: String,
        /// What it said.
        why: String,
    },
    /// SQL was refused.
    #[error("SQL failed on database {db}: {message}")]
    Sql {
        /// The database.
        db: String,
        /// What psql said.
        message: String,
    },
    /// Something did not happen in time.
    #[error("{what}: not within {after:?}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// The server is stopped, so it cannot be asked or signalled.
    #[error("the {server} server is not running; start it with start_again()")]
    NotRunning {
        /// The program and its version.
        server: String,
    },
    /// A Redis server answered with an error.
    #[error("{command} was refused: {message}")]
    Refused {
        /// The command's first words.
        command: String,
        /// What the server said, which begins with the error's kind.
        message: String,
    },
    /// A line of output is not a JSON record.
    #[error("line {line} of the output is not JSON ({source}): {text}")]
    Record {
        /// Line number from 1.
        line: usize,
        /// The line.
        text: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// sqlx could not connect.
    #[error("cannot connect to database {db}: {source}")]
    Connect {
        /// The database.
        db: String,
        /// Why.
        source: Box<sqlx::Error>,
    },
}

/// Adds what was being done to an I/O error.
pub(crate) trait Doing<T> {
    /// `doing` completes the sentence "cannot ...".
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::Io { doing: doing(), source: e.into() })
    }
}
