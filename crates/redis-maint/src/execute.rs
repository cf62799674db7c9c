//! Carries out the steps of a plan: in small batches, in the pace that the server allows, each step only when the key is
//! still what the plan saw, and each as exactly one record.
//!
//! A connection that breaks in the middle of a batch leaves the outcome of its steps unknown. They are sent again, to the
//! server that has taken the place of the lost one: what was done already answers that the key is gone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use maint_core::failure::Failure;
use maint_core::guard::Guard;
use maint_core::progress::Progress;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_count};
use redis::Pipeline;

use crate::brake::Brake;
use crate::node::Node;
use crate::observer;
use crate::pace::Pace;
use crate::recheck::{self, Method, Verdict, script_call, script_verdicts, watched};
use crate::retire;
use crate::scan::Manners;
use crate::spool::Spool;
use crate::step::{Action, Step};
use crate::target::Target;
use crate::topology::{Topology, Which, discover};
use crate::trouble::Trouble;

/// Keys that one call of the script compares: few, because nobody else is served meanwhile.
const KEYS_A_CALL: usize = 16;
/// A change may keep the server busy for so many times as long as a look: one call of the script takes as long as many
/// looks, and too small batches would take for ever.
const A_CHANGE: u32 = 4;
/// Between two attempts to reach a server again.
const RETRY: Duration = Duration::from_millis(500);

/// What became of the steps of one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tally {
    done: u64,
    bytes: u64,
    gone: u64,
    changed: u64,
    failed: u64,
    left: u64,
}

/// How steps are carried out.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How the servers are treated.
    pub manners: Manners,
    /// How long to wait for a server that must not be written to now.
    pub wait: Duration,
    /// How long to wait for an answer.
    pub answer: Duration,
    /// No progress on stderr.
    pub quiet: bool,
}

/// A server and what is needed to write to it.
struct Worker {
    node: Node,
    method: Method,
    pace: Pace,
    brake: Brake,
    clock_ahead: SignedDuration,
    hits: u64,
}

struct Executor<'a> {
    run: &'a Run,
    guard: &'a Guard,
    target: &'a Target,
    limits: Limits,
    topology: Topology,
    workers: BTreeMap<(usize, u32), Worker>,
    tally: BTreeMap<(String, Action), Tally>,
    progress: Progress,
}

/// Carries out the steps in `spool`, in order. What cannot be started is reported as left.
///
/// # Errors
/// The user may not act safely at all, or the plan cannot be read back. What was done until then is reported.
pub async fn execute(
    run: &Run,
    guard: &Guard,
    target: &Target,
    topology: Topology,
    spool: Spool,
    limits: Limits,
) -> Result<(), Failure> {
    let progress = Progress::new(spool.len(), !limits.quiet);
    let mut executor =
        Executor { run, guard, target, limits, topology, workers: BTreeMap::new(), tally: BTreeMap::new(), progress };
    let result = executor.all(spool).await;
    executor.progress.finish();
    executor.note_hits();
    executor.sum_up();
    result
}

/// How a run goes on.
#[derive(Default)]
struct Course {
    /// Why nothing is started any more.
    stopped: Option<String>,
    /// Since when a server refuses.
    trouble_since: Option<Instant>,
}

impl Executor<'_> {
    async fn all(&mut self, spool: Spool) -> Result<(), Failure> {
        let mut reader = spool.into_reader()?;
        let mut course = Course::default();
        loop {
            // The largest batch that any pace allows; each server takes it in as many pieces as its own pace says.
            let steps = reader.take(256)?;
            if steps.is_empty() {
                return Ok(());
            }
            let mut groups: BTreeMap<(usize, u32), Vec<Step>> = BTreeMap::new();
            for step in steps {
                groups.entry((self.topology.node_of(&step.key_bytes()), step.db)).or_default().push(step);
            }
            for (place, steps) in groups {
                self.group(place, steps, &mut course).await?;
            }
        }
    }

    /// Carries out steps of one place, or tells of each why it was left.
    async fn group(&mut self, place: (usize, u32), mut rest: Vec<Step>, course: &mut Course) -> Result<(), Failure> {
        while !rest.is_empty() {
            if course.stopped.is_none() {
                course.stopped = self.guard.may_start().err().map(|stop| stop.reason().to_owned());
            }
            if let Some(reason) = &course.stopped {
                for step in rest.drain(..) {
                    self.report(&step, Status::Left, reason);
                }
                break;
            }
            match self.some(place, &mut rest).await {
                Ok(None) => course.trouble_since = None,
                Ok(Some(reason)) => course.stopped = Some(format!("not started: {reason}")),
                Err(trouble) if trouble.may_pass() => {
                    // A server that is found again and refuses again is as lost as one that is not found.
                    let since = *course.trouble_since.get_or_insert_with(Instant::now);
                    let given_up = since + self.limits.manners.patience;
                    if let Err(failure) = self.find_again(&trouble, given_up).await {
                        course.stopped = Some(format!("not started: {}", failure.message));
                        let lost = Record::new(Kind::Check, "server", Status::Critical, failure.message);
                        self.run.emit(&lost);
                    }
                }
                Err(trouble) => {
                    // Nothing was done by this batch, and no later one would fare better.
                    for step in rest.drain(..) {
                        self.report(&step, Status::Left, &format!("not started: {trouble}"));
                    }
                    return Err(trouble.into());
                }
            }
        }
        Ok(())
    }

    /// Carries out the first few of `steps` and takes them out. `Some` is the reason why the server must not be written to.
    async fn some(&mut self, place: (usize, u32), steps: &mut Vec<Step>) -> Result<Option<String>, Trouble> {
        if !self.workers.contains_key(&place) {
            let worker = self.worker(place).await?;
            self.workers.insert(place, worker);
        }
        let (guard, wait, cluster) = (self.guard, self.limits.wait, self.topology.cluster);
        let Some(worker) = self.workers.get_mut(&place) else { return Ok(None) };
        if let Some(reason) = worker.brake.clear(&mut worker.node, guard, wait).await? {
            return Ok(Some(reason));
        }
        let count = steps.len().min(worker.pace.size() as usize).max(1);
        let batch: Vec<Step> = steps.iter().take(count).cloned().collect();
        let started = Instant::now();
        let verdicts = worker.carry_out(&batch, cluster).await?;
        let pause = worker.pace.after(started.elapsed());
        // Of a node that no longer serves the slot, or no longer writes, the rest is asked elsewhere.
        let passing = verdicts.iter().find_map(|verdict| match verdict {
            Verdict::Failed(trouble) if trouble.may_pass() || *trouble == Trouble::NoScript => Some(trouble.clone()),
            _ => None,
        });
        worker.hits += batch.iter().map(lookups).sum::<u64>();
        let mut again = Vec::new();
        for (step, verdict) in batch.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Failed(trouble) if trouble.may_pass() || trouble == Trouble::NoScript => again.push(step),
                verdict => self.conclude(&step, &verdict),
            }
        }
        steps.splice(..count.min(steps.len()), again);
        match passing {
            // The server forgot its scripts (SCRIPT FLUSH, a restart): they are loaded again with a new worker.
            Some(Trouble::NoScript) => {
                self.workers.remove(&place);
            }
            Some(trouble) => return Err(trouble),
            None => {}
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Ok(None)
    }

    async fn worker(&self, (node, db): (usize, u32)) -> Result<Worker, Trouble> {
        let node = self.topology.nodes.get(node).ok_or_else(|| Trouble::Moved("no node serves the slot".to_owned()))?;
        let mut node = node.with_db(db).await?;
        if node.identity.role == Some(crate::node::Role::Replica) {
            return Err(Trouble::ReadOnly);
        }
        let method = recheck::method(&mut node).await?;
        let started = Instant::now();
        let clock_ahead = node.clock_ahead().await?;
        let pace = Pace::new(self.limits.manners.max_latency * A_CHANGE, started.elapsed());
        Ok(Worker { node, method, pace, brake: Brake::default(), clock_ahead, hits: 0 })
    }

    /// Finds the servers again after one was lost or changed its role, for as long as there is patience.
    async fn find_again(&mut self, trouble: &Trouble, given_up: Instant) -> Result<(), Failure> {
        if Instant::now() >= given_up {
            return Err(trouble.clone().into());
        }
        tracing::warn!("{trouble}; looking for the server again");
        self.note_hits();
        self.workers.clear();
        loop {
            let found = discover(self.target, Which::Primaries, self.limits.answer).await;
            let writable = |topology: &Topology| {
                topology.nodes.iter().all(|node| node.identity.role != Some(crate::node::Role::Replica))
            };
            match found {
                Ok(topology) if writable(&topology) => {
                    self.topology = topology;
                    // A cluster that has just moved a slot may need a moment until all nodes say so.
                    tokio::time::sleep(RETRY / 5).await;
                    return Ok(());
                }
                Ok(_) if Instant::now() >= given_up => return Err(Trouble::ReadOnly.into()),
                Err(failure) if Instant::now() >= given_up => return Err(failure),
                _ => {}
            }
            tokio::select! {
                _ = self.guard.cancel().cancelled() => return Err(trouble.clone().into()),
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    fn conclude(&mut self, step: &Step, verdict: &Verdict) {
        let (status, message) = match verdict {
            Verdict::Done if step.action == Action::Delete => (Status::Ok, format!("deleted: {}", step.reason)),
            Verdict::Done => (Status::Ok, format!("expires: {}", step.reason)),
            Verdict::Gone => (Status::Gone, "not there any more".to_owned()),
            Verdict::Changed(what) => {
                (Status::Skipped, format!("kept, because it is not what the plan saw: {what} differs"))
            }
            Verdict::Failed(trouble @ Trouble::Denied(_)) => (Status::Denied, trouble.to_string()),
            Verdict::Failed(trouble) => (Status::Failed, trouble.to_string()),
        };
        self.report(step, status, &message);
    }

    fn report(&mut self, step: &Step, status: Status, message: &str) {
        let tally = self.tally.entry((step.rule.clone(), step.action)).or_default();
        let counter = match status {
            Status::Ok => &mut tally.done,
            Status::Gone => &mut tally.gone,
            Status::Skipped => &mut tally.changed,
            Status::Left => &mut tally.left,
            _ => &mut tally.failed,
        };
        *counter += 1;
        if status == Status::Ok && step.action == Action::Delete {
            tally.bytes += step.bytes.unwrap_or(0);
        }
        self.progress.many(1);
        self.run.detail(&step.record(Kind::Step, status, message));
    }

    /// Notes what comparing added to the statistics of the servers.
    fn note_hits(&self) {
        let Ok(state_dir) = maint_core::state_dir::state_dir() else { return };
        for worker in self.workers.values() {
            observer::note(&state_dir, worker.node.identity.run_id.as_deref(), worker.hits, 0);
        }
    }

    /// One line a rule, for people and metrics. The steps themselves have been counted.
    fn sum_up(&self) {
        for ((rule, action), tally) in &self.tally {
            let verb = if *action == Action::Delete { "deleted" } else { "given a time to live" };
            let mut message = format!("{} keys {verb}", format_count(tally.done));
            if tally.bytes > 0 {
                message += &format!(", {} freed", format_bytes(tally.bytes));
            }
            for (count, what) in [
                (tally.changed, "kept because they changed"),
                (tally.gone, "gone before"),
                (tally.failed, "failed"),
                (tally.left, "left"),
            ] {
                if count > 0 {
                    message += &format!(", {} {what}", format_count(count));
                }
            }
            self.run.emit(
                &Record::new(Kind::Metric, rule, Status::Ok, message)
                    .label("section", "rule")
                    .label("action", action.as_str())
                    .field("done_keys", tally.done)
                    .field("freed_bytes", tally.bytes)
                    .field("changed_keys", tally.changed)
                    .field("gone_keys", tally.gone)
                    .field("failed_keys", tally.failed)
                    .field("left_keys", tally.left),
            );
        }
        let blind = self.workers.values().find_map(|worker| Some((&worker.node.address, worker.brake.blind()?)));
        if let Some((address, trouble)) = blind {
            let message = format!(
                "could not look whether the server forks, loads or has replicas that lag, so it was written to without regard: {trouble}"
            );
            self.run.emit(&Record::new(Kind::Finding, address.as_ref(), Status::Denied, message));
        }
    }
}

impl Worker {
    async fn carry_out(&mut self, steps: &[Step], cluster: bool) -> Result<Vec<Verdict>, Trouble> {
        let now = Timestamp::now().saturating_add(self.clock_ahead).unwrap_or_else(|_| Timestamp::now());
        let mut verdicts = vec![Verdict::Gone; steps.len()];
        let mut plain = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            if let Some(name) = retirement(step) {
                if let Some(verdict) = verdicts.get_mut(index) {
                    *verdict = self.retire(step, &name, now).await?;
                }
            } else {
                plain.push(index);
            }
        }
        match self.method.clone() {
            Method::Watch => {
                for index in plain {
                    if let (Some(step), Some(verdict)) = (steps.get(index), verdicts.get_mut(index)) {
                        *verdict = match watched(&mut self.node, step, now, None).await {
                            Err(trouble) if trouble.may_pass() => return Err(trouble),
                            Err(trouble) => Verdict::Failed(trouble),
                            Ok(verdict) => verdict,
                        };
                    }
                }
            }
            Method::Script(digest) => {
                let calls: Vec<&[usize]> = plain.chunks(if cluster { 1 } else { KEYS_A_CALL }).collect();
                let mut batch = Pipeline::with_capacity(calls.len());
                for call in &calls {
                    let some: Vec<Step> = call.iter().filter_map(|index| steps.get(*index)).cloned().collect();
                    batch.add_command(script_call(&digest, &some, now));
                }
                let answers = self.node.batch(&batch, calls.len()).await?;
                for (call, answer) in calls.into_iter().zip(answers) {
                    let told = script_verdicts(&self.node, answer, call.len());
                    for (index, told) in call.iter().zip(told) {
                        if let Some(verdict) = verdicts.get_mut(*index) {
                            *verdict = told;
                        }
                    }
                }
            }
        }
        Ok(verdicts)
    }

    /// Renames a large collection in the step that finds it unchanged, and empties it piece by piece.
    async fn retire(&mut self, step: &Step, name: &[u8], now: Timestamp) -> Result<Verdict, Trouble> {
        let key = step.key_bytes();
        let name = if key.starts_with(retire::PREFIX) {
            key
        } else {
            match watched(&mut self.node, step, now, Some(name)).await? {
                Verdict::Done => name.to_vec(),
                other => return Ok(other),
            }
        };
        match retire::empty(&mut self.node, &name, &mut self.pace).await {
            Ok(()) => Ok(Verdict::Done),
            Err(trouble) if trouble.may_pass() => Err(trouble),
            Err(trouble) => Ok(Verdict::Failed(trouble)),
        }
    }
}

/// Hits that comparing one key adds to the server's statistics: PTTL, TYPE, OBJECT IDLETIME and DUMP count, MEMORY USAGE
/// and writes do not.
fn lookups(step: &Step) -> u64 {
    let delete = step.action == Action::Delete;
    1 + u64::from(step.kind.is_some())
        + u64::from(delete && (step.idle_seconds.is_some() || step.min_idle_seconds.is_some()))
        + u64::from(step.digest.is_some())
}

/// The name under which the key is removed in pieces, when it is one for that.
fn retirement(step: &Step) -> Option<Vec<u8>> {
    let collection = matches!(step.kind.as_deref(), Some("list" | "set" | "zset" | "hash" | "stream"));
    let large = step.bytes.is_some_and(|bytes| bytes >= retire::FROM_BYTES);
    (step.action == Action::Delete && collection && large).then(|| retire::name_for(&step.key_bytes())).flatten()
}
