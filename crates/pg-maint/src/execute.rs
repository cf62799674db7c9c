//! Carries out steps on one database: several at a time, never two on one table, each bounded by a lock timeout and a
//! step timeout, tried again later when its table is locked, and verified by looking again.
//!
//! A control session is opened before anything starts and stays open: it cancels statements (dropping a connection does
//! not stop the server) and could not be had later on a server whose slots have run out in the meantime.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use maint_core::guard::{Guard, Stop};
use maint_core::pg::Error;
use maint_core::pg::cancel::{Control, run_cancellable};
use maint_core::pg::connect::{Session, SessionSettings};
use maint_core::pg::dsn::Target;
use maint_core::progress::Progress;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::Status;

use crate::intents::Intents;
use crate::step::{Action, Step};

mod index;
mod table;

/// How steps are carried out.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Steps at a time.
    pub jobs: usize,
    /// How long a step waits for a lock.
    pub lock_timeout: Duration,
    /// How often a step whose table is locked is tried again.
    pub retries: u32,
    /// How long one step may run.
    pub step_timeout: Duration,
    /// Whether leftovers of other programs may be dropped.
    pub foreign: bool,
    /// No progress on stderr.
    pub quiet: bool,
}

/// What every worker shares.
pub(crate) struct Shared<'a> {
    pub(crate) run: &'a Run,
    pub(crate) guard: &'a Guard,
    pub(crate) control: tokio::sync::Mutex<Control>,
    pub(crate) intents: Mutex<Option<Intents>>,
    pub(crate) counts: bool,
    pub(crate) foreign: bool,
    limits: Limits,
    queue: Mutex<Queue>,
    progress: Progress,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Item>,
    busy: BTreeSet<u32>,
}

struct Item {
    step: Step,
    attempts: u32,
    not_before: Instant,
}

/// What became of one attempt.
pub(crate) enum Outcome {
    /// Finished, one way or another.
    Done(Box<Record>),
    /// Not possible now; the reason.
    Later(String),
    /// The connection broke; the reason.
    Lost(String),
}

/// Carries out `steps`, in their order as far as locks allow. Every step ends as exactly one record.
///
/// `control` is the session that holds the run's advisory lock.
pub async fn execute(
    run: &Run,
    guard: &Guard,
    target: &Target,
    control: Control,
    intents: Option<Intents>,
    steps: Vec<Step>,
    limits: Limits,
) {
    let now = Instant::now();
    let waiting: VecDeque<Item> = steps.into_iter().map(|step| Item { step, attempts: 0, not_before: now }).collect();
    let mut control = control;
    let counts = counts_are_on(control.session()).await;
    let jobs = limits.jobs.min(waiting.len());
    let shared = Shared {
        run,
        guard,
        control: tokio::sync::Mutex::new(control),
        intents: Mutex::new(intents),
        counts,
        foreign: limits.foreign,
        limits,
        progress: Progress::new(waiting.len() as u64, !limits.quiet),
        queue: Mutex::new(Queue { waiting, busy: BTreeSet::new() }),
    };
    let workers = (0..jobs).map(|_| worker(&shared, target));
    futures_all(workers).await;
    if let Some(Err(error)) = shared.intents().as_ref().map(Intents::save) {
        tracing::warn!("{error}");
    }
    for item in shared.queue().waiting.drain(..) {
        let stop =
            guard.may_start().err().map_or("not started: no connection to the server was left", |stop| stop.reason());
        shared.report(&item.step.record(Kind::Step, Status::Left, stop));
    }
    shared.progress.finish();
}

/// Waits for all futures, on this task: they borrow what they share.
async fn futures_all<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

async fn counts_are_on(session: &mut Session) -> bool {
    let row: Result<String, _> =
        sqlx::query_scalar("SELECT pg_catalog.current_setting('track_counts')").fetch_one(session.conn()).await;
    row.is_ok_and(|value| value == "on")
}

/// The settings of a session that runs steps.
pub fn worker_settings(task: &str, limits: &Limits) -> SessionSettings {
    SessionSettings {
        lock_timeout: Some(limits.lock_timeout),
        statement_timeout: Some(limits.step_timeout),
        // A statement whose program was killed ends soon, instead of going on unseen.
        client_connection_check_interval: Some(Duration::from_secs(1)),
        ..SessionSettings::new(format!("pg-maint {task}"))
    }
}

/// A session for steps. Each step asks the catalogs the same two questions: planned once, they cost half as much.
async fn open_worker(target: &Target, limits: &Limits) -> Result<Session, Error> {
    let mut session = Session::open(target, worker_settings("step", limits)).await?;
    session.execute_raw("SET plan_cache_mode = force_generic_plan").await.result?;
    Ok(session)
}

async fn worker(shared: &Shared<'_>, target: &Target) {
    let mut session = match open_worker(target, &shared.limits).await {
        Ok(session) => session,
        Err(error) => {
            // The others go on; what nobody takes is listed as left at the end.
            tracing::warn!("a worker could not connect: {error}");
            return;
        }
    };
    while let Some(mut item) = next(shared).await {
        let table = item.step.table_oid;
        item.attempts += 1;
        let started = Instant::now();
        let outcome = attempt(shared, &mut session, &item.step).await;
        let seconds = started.elapsed().as_secs_f64();
        shared.queue().busy.remove(&table);
        match outcome {
            Outcome::Done(record) => {
                shared.report(&record.field("duration_seconds", seconds).field("attempts", item.attempts));
            }
            Outcome::Later(reason)
                if item.attempts <= shared.limits.retries && !shared.guard.cancel().is_cancelled() =>
            {
                tracing::info!("{}: {reason}; trying again later", item.step.subject());
                item.not_before = Instant::now() + Duration::from_millis(500) * 2_u32.saturating_pow(item.attempts - 1);
                shared.queue().waiting.push_back(item);
            }
            Outcome::Later(reason) => {
                let record = item.step.record(Kind::Step, Status::Deferred, reason).field("attempts", item.attempts);
                shared.report(&record);
            }
            Outcome::Lost(reason) => {
                shared.report(&item.step.record(Kind::Step, Status::Failed, reason));
                match open_worker(target, &shared.limits).await {
                    Ok(fresh) => session = fresh,
                    Err(error) => {
                        tracing::error!("connection lost and not regained: {error}");
                        return;
                    }
                }
            }
        }
    }
}

/// The next step whose table is free, or nothing when none may start any more.
async fn next(shared: &Shared<'_>) -> Option<Item> {
    loop {
        match shared.guard.may_start() {
            Err(Stop::Asked | Stop::TimeIsUp) => return None,
            Ok(()) => {}
        }
        {
            let mut queue = shared.queue();
            if queue.waiting.is_empty() {
                return None;
            }
            let now = Instant::now();
            let free = |item: &Item| item.not_before <= now && !queue.busy.contains(&item.step.table_oid);
            if let Some(item) = queue.waiting.iter().position(free).and_then(|at| queue.waiting.remove(at)) {
                queue.busy.insert(item.step.table_oid);
                return Some(item);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(25)) => {}
            _ = shared.guard.cancel().cancelled() => {}
        }
    }
}

async fn attempt(shared: &Shared<'_>, session: &mut Session, step: &Step) -> Outcome {
    let result = match step.action {
        Action::Vacuum | Action::Analyze => table::attempt(shared, session, step).await,
        Action::Reindex => index::rebuild(shared, session, step).await,
        Action::DropLeftover => index::drop_leftover(shared, session, step).await,
    };
    match result {
        Ok(outcome) => outcome,
        Err(error) => failed(step, &error),
    }
}

/// The outcome of an error that nothing more specific is known about.
pub(crate) fn failed(step: &Step, error: &Error) -> Outcome {
    let (status, text) = match error {
        Error::ConnectionLost { .. } | Error::Down { .. } => return Outcome::Lost(error.to_string()),
        Error::Gone(_) => (Status::Gone, "dropped since the plan was made".to_owned()),
        Error::Privilege(_) => (Status::Denied, error.to_string()),
        Error::LockTimeout(_) => return Outcome::Later(error.to_string()),
        Error::Cancelled(_) => (Status::Failed, format!("cancelled: {error}")),
        _ => (Status::Failed, error.to_string()),
    };
    let record = step.record(Kind::Step, status, text);
    Outcome::Done(Box::new(match error.sqlstate() {
        Some(code) => record.field("sqlstate", code),
        None => record,
    }))
}

impl Shared<'_> {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn intents(&self) -> std::sync::MutexGuard<'_, Option<Intents>> {
        self.intents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, record: &Record) {
        self.run.emit(record);
        self.progress.item(&format!("{}: {} - {}", record.subject, record.status, record.message));
    }

    /// Runs one statement. When the run is asked to stop, the statement is cancelled on the server, and its own end is
    /// waited for: only then is it known what it left.
    pub(crate) async fn run_statement(&self, session: &mut Session, sql: &str) -> Result<Vec<String>, Error> {
        let backend = session.backend();
        let statement = session.execute_raw(sql);
        tokio::pin!(statement);
        let done = tokio::select! {
            done = &mut statement => done,
            _ = self.guard.cancel().cancelled() => {
                let mut control = self.control.lock().await;
                run_cancellable(&mut control, backend, statement, std::future::ready(())).await.output
            }
        };
        done.result.map(|()| done.notices.into_iter().map(|notice| notice.message).collect())
    }
}
