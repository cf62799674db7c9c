//! From a policy and the keys of a server to a plan: the steps in a file, and what they add up to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maint_core::cancel::Cancel;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::{format_bytes, format_count};
use redis::Pipeline;

use crate::cache_cleanup::Decision;
use crate::entry::{Entry, Expiry};
use crate::expire_keys::{ABSURD_TTL_MS, left_ms};
use crate::node::Node;
use crate::policy::{Action, Mode, Policy};
use crate::recheck::value_digest;
use crate::retire;
use crate::scan::{Ask, Attribute, DEFAULT_SAMPLES, Event, Filter, Manners, Part, Report, Scan, Seen};
use crate::spool::Spool;
use crate::step::{self, Step};
use crate::trouble::Trouble;

/// Values up to this many bytes are read for a digest when the idle time cannot tell whether they were replaced. Larger
/// ones are left for the next run.
const DIGEST_BYTES: u64 = 1024 * 1024;
/// The same on a server that keeps no idle times (an LFU policy).
const LARGEST_DIGEST_BYTES: u64 = 64 * 1024 * 1024;
/// Seconds up to which an idle time is too short to tell a key from its replacement. Idle times and the time that went
/// by are cut to whole seconds, the server's clock for them lags, and recheck allows for two seconds more: after four,
/// a key that was replaced right after the look could pass for itself. The rest is for answers on their way.
const DIGEST_IDLE_SECONDS: u64 = 10;
/// Examples of keys in the totals.
const EXAMPLES: usize = 3;
/// The rule of what an earlier run left half removed.
pub const LEFTOVER: &str = "left by an earlier run";

/// How a key is decided about: [`crate::cache_cleanup::decide`] or [`crate::expire_keys::decide`].
pub type Decide = fn(&Policy, &Entry, Timestamp) -> Decision;

/// What a rule would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Keys that it takes.
    pub keys: u64,
    /// What they take of memory.
    pub bytes: u64,
    /// Keys that it covers, taken or not.
    pub covered: u64,
    /// Keys that could not be judged, by what was not known.
    pub unknown: BTreeMap<Attribute, u64>,
    /// A few of the keys.
    pub examples: Vec<String>,
    /// Keys whose time to live is longer than the rule's, which only gives one to keys without.
    pub longer: u64,
    /// Keys whose time to live is absurdly long.
    pub absurd: u64,
}

/// A plan.
pub struct Plan {
    /// Its steps.
    pub spool: Spool,
    /// What each rule does, in the policy's order.
    pub totals: Vec<Totals>,
    /// Keys that there were when the walk began.
    pub keys: u64,
    /// Names that came twice and were folded.
    pub folded: u64,
    /// What the walk did.
    pub reports: Vec<Report>,
    /// Whether the policy's limit of keys was reached, so that there is more to do.
    pub truncated: bool,
    /// Keys whose value may not be read, so that they cannot be told from a replacement.
    pub unreadable: u64,
    /// Large keys in use just now, which the next run may find at rest.
    pub deferred: u64,
}

/// What a walk for this policy asks: for a deletion everything that tells a key from its replacement.
fn ask(policy: &Policy, action: Action) -> Ask {
    let mut ask = Ask { samples: DEFAULT_SAMPLES, ..Ask::default() };
    for rule in policy.rules.iter().filter(|rule| rule.action == action) {
        for attribute in rule.needs() {
            ask = ask.and(attribute);
        }
    }
    if action == Action::Delete {
        ask = ask.and(Attribute::Bytes).and(Attribute::Type).and(Attribute::Expiry).and(Attribute::Idle);
    }
    let wanted = policy.clone();
    ask.filter = Some(Filter::new(move |key| {
        let leftover = action == Action::Delete && key.starts_with(retire::PREFIX);
        let rule = wanted.rule_for(key).and_then(|index| wanted.rules.get(index));
        leftover || rule.is_some_and(|rule| rule.action == action)
    }));
    ask
}

/// Walks over the parts and decides about every key.
///
/// # Errors
/// A part could not be walked, or the plan could not be kept.
pub async fn plan(
    parts: Vec<Part>,
    policy: &Policy,
    action: Action,
    decide: Decide,
    manners: Manners,
    cancel: &Cancel,
) -> Result<Plan, Failure> {
    let ask = ask(policy, action);
    let mut lookers = Vec::new();
    let mut keys = 0;
    for part in &parts {
        let mut looker = part.node.another().await?;
        keys += looker.size().await?;
        lookers.push(looker);
    }
    let mut plan = Plan {
        spool: Spool::new()?,
        totals: vec![Totals::default(); policy.rules.len()],
        keys,
        folded: 0,
        reports: Vec::new(),
        truncated: false,
        unreadable: 0,
        deferred: 0,
    };
    let mut seen = Seen::default();
    let mut scan = Scan::start(parts, &ask, manners);
    while let Some(event) = scan.next(cancel).await {
        // When a server was lost and another took its place, its keys come again: those that were decided about are
        // folded, and every step is compared with the key before it is taken anyway.
        let Event::Batch { part, mut entries, seen: looked, .. } = event else { continue };
        entries.retain(|entry| seen.is_new(entry.db, &entry.key));
        let steps = plan.decide(policy, &entries, looked, decide);
        if let Some(looker) = lookers.get_mut(part) {
            plan.keep(looker, steps, policy).await?;
        }
        if plan.truncated {
            break;
        }
    }
    plan.folded = seen.folded();
    plan.reports = scan.finish().await?;
    let mut rules = policy.rules.iter().filter(|rule| rule.action == action);
    if !rules.any(|rule| rule.idle_seconds.is_some()) {
        // Under an LFU policy there are no idle times. Where no rule wants them, digests do the same, and nothing is wrong.
        for report in &mut plan.reports {
            report.denied.retain(|attribute, why| *attribute != Attribute::Idle || why.starts_with("not permitted"));
        }
    }
    Ok(plan)
}

impl Plan {
    fn decide(&mut self, policy: &Policy, entries: &[Entry], now: Timestamp, decide: Decide) -> Vec<Step> {
        let mut steps = Vec::new();
        for entry in entries {
            if entry.key.starts_with(retire::PREFIX) {
                let reason = "an earlier run began to remove it".to_owned();
                steps.push(Step::on(entry, step::Action::Delete, LEFTOVER, now, reason));
                continue;
            }
            let covering = policy.rule_for(&entry.key);
            if let Some((totals, rule)) = covering.and_then(|at| self.totals.get_mut(at).zip(policy.rules.get(at))) {
                totals.covered += 1;
                if let Some(Expiry::At(moment)) = entry.expiry {
                    let left = left_ms(moment, now);
                    totals.absurd += u64::from(left > ABSURD_TTL_MS);
                    let stays = rule.mode == Mode::Missing && left > i128::from(rule.ttl_ms);
                    totals.longer += u64::from(stays);
                }
            }
            match decide(policy, entry, now) {
                Decision::Keep => {}
                Decision::Take(_, step) => steps.push(*step),
                Decision::Unknown(index, attribute) => {
                    if let Some(totals) = self.totals.get_mut(index) {
                        *totals.unknown.entry(attribute).or_default() += 1;
                    }
                }
            }
        }
        steps
    }

    /// Adds the digests that are needed, and puts the steps into the file.
    async fn keep(&mut self, looker: &mut Node, mut steps: Vec<Step>, policy: &Policy) -> Result<(), Failure> {
        let before = steps.len();
        steps.retain(|step| !(is_in_doubt(step) && is_too_large(step)));
        self.deferred += (before - steps.len()) as u64;
        let wanted: Vec<usize> =
            steps.iter().enumerate().filter(|(_, step)| is_in_doubt(step)).map(|(index, _)| index).collect();
        let mut batch = Pipeline::with_capacity(wanted.len());
        for step in wanted.iter().filter_map(|index| steps.get(*index)) {
            batch.add_command(redis::cmd("DUMP").arg(step.key_bytes()).to_owned());
        }
        let answers = match looker.batch(&batch, wanted.len()).await {
            Err(trouble) if trouble.is_connection() => {
                looker.reconnect().await?;
                looker.batch(&batch, wanted.len()).await?
            }
            answers => answers?,
        };
        let server = looker.identity.replication_ids.first();
        for step in &mut steps {
            step.samples = Some(DEFAULT_SAMPLES);
            step.server = server.cloned();
        }
        let mut unsure = Vec::new();
        for (index, answer) in wanted.into_iter().zip(answers) {
            let digest = match looker.sound(answer) {
                Ok(answer) => value_digest(&answer),
                Err(Trouble::Denied(_)) => {
                    self.unreadable += 1;
                    None
                }
                Err(trouble) if trouble.may_pass() => return Err(trouble.into()),
                Err(_) => None,
            };
            match (digest, steps.get_mut(index)) {
                (Some(digest), Some(step)) => step.digest = Some(digest),
                _ => unsure.push(index),
            }
        }
        for (index, step) in steps.iter().enumerate() {
            if unsure.contains(&index) {
                continue;
            }
            if policy.max_keys.is_some_and(|most| self.spool.len() >= most) {
                self.truncated = true;
                break;
            }
            self.spool.push(step)?;
            let rule = policy.rules.iter().position(|rule| rule.name == step.rule);
            if let Some(totals) = rule.and_then(|rule| self.totals.get_mut(rule)) {
                totals.keys += 1;
                totals.bytes += step.bytes.unwrap_or(0);
                if totals.examples.len() < EXAMPLES {
                    totals.examples.push(step.key.clone());
                }
            }
        }
        Ok(())
    }
}

/// Whether the idle time cannot tell the key from one that replaces it: it is not kept, or it is so short that the
/// server's coarse clock hides what happened since.
fn is_in_doubt(step: &Step) -> bool {
    step.action == step::Action::Delete
        && step.rule != LEFTOVER
        && step.idle_seconds.is_none_or(|idle| idle <= DIGEST_IDLE_SECONDS)
}

/// Whether a digest of the value would keep the server busy for too long. Where idle times are not kept at all there is
/// nothing else to go by, so more is allowed.
fn is_too_large(step: &Step) -> bool {
    let most = if step.idle_seconds.is_none() { LARGEST_DIGEST_BYTES } else { DIGEST_BYTES };
    step.bytes.is_some_and(|bytes| bytes > most)
}

impl Totals {
    /// What the rule called `rule` would do, as a record.
    pub fn record(&self, rule: &str, action: step::Action) -> Record {
        let verb = if action == step::Action::Delete { "delete" } else { "give a time to live to" };
        let mut message = format!("to {verb}: {} of {} keys", format_count(self.keys), format_count(self.covered));
        if self.bytes > 0 {
            message += &format!(", {}", format_bytes(self.bytes));
        }
        if !self.examples.is_empty() {
            message += &format!(", e.g. {}", self.examples.join(" "));
        }
        if self.covered == 0 {
            "matches no key".clone_into(&mut message);
        }
        Record::new(Kind::Metric, rule, Status::Ok, message)
            .label("section", "rule")
            .label("action", action.as_str())
            .field("matched_keys", self.covered)
            .field("planned_keys", self.keys)
            .field("planned_bytes", self.bytes)
    }

    /// What is worth a look about the rule and the keys that it covers. A pattern that matches nothing is so while a policy
    /// is being made (`dry_run`); every night it is the best that can happen.
    pub fn findings(&self, rule: &str, action: step::Action, dry_run: bool) -> Vec<Record> {
        let judged = |status: Status, keys: u64, code: &str, message: String| {
            Record::new(Kind::Finding, rule, status, message).field("code", code).field("keys", keys)
        };
        let finding = |keys: u64, code: &str, message: String| judged(Status::Warning, keys, code, message);
        let mut found = Vec::new();
        for (attribute, keys) in &self.unknown {
            let message = format!("{} keys could not be judged without {attribute}", format_count(*keys));
            found.push(judged(Status::Unknown, *keys, "not-judged", message));
        }
        if self.covered == 0 && dry_run {
            found.push(finding(0, "matches-nothing", "matches no key".to_owned()));
        }
        if action == step::Action::Delete {
            return found;
        }
        if self.absurd > 0 {
            let message = format!(
                "{} keys live for more than ten years: was their time to live given in the wrong unit?",
                format_count(self.absurd)
            );
            found.push(finding(self.absurd, "ttl-absurd", message));
        }
        if self.longer > self.absurd {
            let message = format!(
                "{} keys have a longer time to live than the rule gives; mode = \"cap\" would shorten it",
                format_count(self.longer)
            );
            found.push(finding(self.longer, "ttl-longer-than-rule", message));
        }
        found
    }
}
