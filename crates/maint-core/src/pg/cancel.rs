//! Ending a statement that runs.
//!
//! Dropping a statement's future, or the whole connection, leaves the statement running in the server, and the driver
//! cannot send a cancel request. So a second session is opened beforehand, while there are slots to be had, and asks the
//! server by `pg_cancel_backend`. It names the backend by process id and start, so that nobody else is hit who has got
//! the same process id since.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Row};
use tokio::time::{Instant, sleep};

use super::connect::{Backend, Session, SessionSettings};
use super::dsn::Target;
use super::error::Error;

/// A request that arrives between two statements is lost, so it is repeated at this pace until the statement ends.
const REPEAT: Duration = Duration::from_millis(500);

/// How often a backend is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(25);

/// The session that cancels.
#[derive(Debug)]
pub struct Control {
    session: Session,
    target: Target,
    settings: SessionSettings,
}

/// What a backend was found doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It runs a statement.
    Busy,
    /// It waits for its client, inside a transaction or not.
    Idle,
    /// It is no more.
    Gone,
}

/// The end of a statement that could be cancelled.
#[derive(Debug)]
pub struct Ran<T> {
    /// What the statement itself came to. It may have succeeded although it was to be cancelled.
    pub output: T,
    /// Whether cancelling was asked for before it ended.
    pub cancel_requested: bool,
}

impl Control {
    /// Opens the session. Do so before any work begins: later there may be no slot left.
    ///
    /// The role should be the one that works: cancelling another role's backend takes `pg_signal_backend`.
    pub async fn open(target: &Target, settings: SessionSettings) -> Result<Self, Error> {
        let session = Session::open(target, settings.clone()).await?;
        Ok(Self { session, target: target.clone(), settings })
    }

    /// The session itself, for looking while a worker is busy.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Asks the server to cancel what `backend` runs. `false` when that backend is no more.
    ///
    /// A backend that is idle ignores the request. When the control session was lost, it is opened once more.
    pub async fn cancel(&mut self, backend: &Backend) -> Result<bool, Error> {
        match self.try_cancel(backend).await {
            Err(Error::ConnectionLost { .. }) => {
                self.session = Session::open(&self.target, self.settings.clone()).await?;
                self.try_cancel(backend).await
            }
            result => result,
        }
    }

    async fn try_cancel(&mut self, backend: &Backend) -> Result<bool, Error> {
        let sql = format!("SELECT pg_catalog.pg_cancel_backend(a.pid) AS sent {}", from_activity(backend));
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_optional(self.session.conn()).await?;
        Ok(row.map(|row| row.try_get("sent")).transpose()?.unwrap_or(false))
    }

    /// Looks at what `backend` does.
    pub async fn activity(&mut self, backend: &Backend) -> Result<Activity, Error> {
        // Without track_activities there is no state, but an idle backend still shows that it waits for its client.
        let sql = format!(
            "SELECT (coalesce(a.state, '') LIKE 'idle%' OR (coalesce(a.state, 'disabled') = 'disabled' \
             AND coalesce(a.wait_event, '') = 'ClientRead')) AS idle {}",
            from_activity(backend)
        );
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_optional(self.session.conn()).await?;
        Ok(match row.map(|row| row.try_get::<bool, _>("idle")).transpose()? {
            None => Activity::Gone,
            Some(true) => Activity::Idle,
            Some(false) => Activity::Busy,
        })
    }

    /// Waits until `backend` is idle or gone, at most `limit`; [`Activity::Busy`] when it was neither by then.
    pub async fn wait_idle(&mut self, backend: &Backend, limit: Duration) -> Result<Activity, Error> {
        let start = Instant::now();
        loop {
            let activity = self.activity(backend).await?;
            if activity != Activity::Busy || start.elapsed() >= limit {
                return Ok(activity);
            }
            sleep(POLL).await;
        }
    }
}

/// `FROM` and `WHERE` that select this backend and no other. Its two numbers are all that varies.
fn from_activity(backend: &Backend) -> String {
    format!(
        "FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = {} \
         AND round(extract(epoch FROM a.backend_start) * 1000000)::int8 = {}",
        backend.pid,
        backend.started.as_microsecond()
    )
}

/// Runs `statement` on the session whose backend is `backend`; once `cancelled` is ready, cancels it by `control` and
/// waits for its own end.
///
/// The statement is never abandoned, so afterwards its session is in step and its effect is final. The price is that this
/// waits as long as the server takes; wrap it in a timeout where an unreachable server must not hold the program.
/// When a request cannot be sent it is logged and tried again.
pub async fn run_cancellable<T>(
    control: &mut Control,
    backend: Backend,
    statement: impl Future<Output = T>,
    cancelled: impl Future<Output = ()>,
) -> Ran<T> {
    let mut statement = pin!(statement);
    tokio::select! {
        biased;
        output = &mut statement => return Ran { output, cancel_requested: false },
        () = cancelled => {}
    }
    loop {
        // Both are driven to their ends. Dropping the request half way would put the control session out of step, and a
        // request still under way could hit the session's next statement.
        let ended = {
            let mut request = pin!(control.cancel(&backend));
            let (sent, ended) = tokio::select! {
                biased;
                output = &mut statement => (request.await, Some(output)),
                sent = &mut request => (sent, None),
            };
            if let (Err(e), None) = (sent, &ended) {
                tracing::warn!("the cancel request for backend {} could not be sent: {e}", backend.pid);
            }
            ended
        };
        if let Some(output) = ended {
            return Ran { output, cancel_requested: true };
        }
        tokio::select! {
            biased;
            output = &mut statement => return Ran { output, cancel_requested: true },
            () = sleep(REPEAT) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn a_backend_is_named_by_pid_and_start() {
        let backend = Backend { pid: 42, started: Timestamp::from_microsecond(1_700_000_000_123_456).unwrap() };
        let sql = from_activity(&backend);
        assert!(sql.contains("a.pid = 42 ") && sql.ends_with("= 1700000000123456"), "{sql}");
    }
}
