//! `rotate`: a new certificate, live and proven.
//!
//! What is under way is written down before each step, so that a run that was killed is gone on with: a key before anybody
//! signs it, a chain before anything is done with it. It is forgotten when every consumer was seen to show it.

pub mod inspect;
pub mod plan;

use std::time::Instant;

use maint_core::cli::{ChangeArgs, open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::fault::point;
use maint_core::record::{Kind, Record};
use maint_core::status::{Exit, Status};

use crate::acme::{self, Advisor};
use crate::certificate::Certificate;
use crate::cli::RotateArgs;
use crate::config::{CertSpec, IssuerSpec, SECTION, Wanted};
use crate::deploy::gate::{Candidate, Problem, judge};
use crate::deploy::prove::Shown;
use crate::deploy::{Deployment, Done, Outcome, deploy, down_before};
use crate::issue::{self, Answer, Request};
use crate::live::{Generation, Live, Meta, State};
use crate::roots::Roots;
use crate::work::Work;
use inspect::{Asked, Issued, inspect};
use plan::{Action, Seen, plan};

/// Renews what is due, or what was named.
///
/// # Errors
/// The configuration does not hold, another run changes the directory, or every authority asks to come back later.
pub fn run(args: &RotateArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let wanted = work.wanted()?;
    rotate(work, &wanted, &args.names, args.force, &args.change)
}

/// As [`run`], for given certificates.
///
/// # Errors
/// As [`run`].
pub fn rotate(
    work: &mut Work<'_>,
    wanted: &Wanted,
    names: &[String],
    force: bool,
    change: &ChangeArgs,
) -> Result<(), Failure> {
    let guard = open_guard(change, &mut work.settings, &work.cancel)?;
    let chosen = choose(wanted, names)?;
    let live = work.live()?;
    work.subject = live.root().display().to_string();
    let deployments = chosen.iter().map(|(name, spec)| Deployment::of(work, &live, name, spec));
    let deployments = deployments.collect::<Result<Vec<_>, Failure>>()?;
    let mut _lock = None;
    if !change.dry_run {
        work.run.journal_in(&state_directory()?)?;
        _lock = Some(live.lock()?);
    }
    let mut advisor = Advisor::new(live.clone());
    let mut later = Vec::new();
    let mut tried = 0;
    for deployment in &deployments {
        if let Err(stop) = guard.may_start() {
            work.run.emit(&Record::new(Kind::Step, deployment.name, Status::Left, stop.reason()));
            continue;
        }
        let rotation = Rotation { work, wanted, deployment, force, started: Instant::now() };
        let (acted, done) = rotation.go(&mut advisor, change.dry_run);
        tried += usize::from(acted);
        match done {
            Ok(record) => work.run.emit(&record),
            Err(failure) => {
                work.run.emit(&failed(work, deployment.name, &failure));
                later.extend((failure.exit == Exit::NotNow).then_some(failure));
            }
        }
    }
    // Of several certificates, those that were renewed count; if there is none, "later" is all there is to say.
    match later.pop() {
        Some(failure) if later.len() + 1 == tried && !work.cancel.is_cancelled() => Err(failure),
        _ => Ok(()),
    }
}

fn choose<'a>(wanted: &'a Wanted, names: &[String]) -> Result<Vec<(&'a str, &'a CertSpec)>, Failure> {
    if wanted.certs.is_empty() {
        return Err(Failure::usage("no certificate is described")
            .hint("describe them as [certs.NAME] in certs.toml, or as [cert-rotate.certs.NAME] in maint.toml"));
    }
    if names.is_empty() {
        return Ok(wanted.certs.iter().map(|(name, spec)| (name.as_str(), spec)).collect());
    }
    let known = || wanted.certs.keys().map(String::as_str);
    let find = |name: &String| {
        let found = wanted.certs.get_key_value(name).map(|(name, spec)| (name.as_str(), spec));
        found.ok_or_else(|| {
            let nearest = maint_core::config::nearest(name, known());
            Failure::usage(format!("there is no certificate `{name}` in the configuration{nearest}"))
        })
    };
    let mut chosen: Vec<_> = names.iter().map(find).collect::<Result<_, _>>()?;
    let mut seen = std::collections::BTreeSet::new();
    chosen.retain(|(name, _)| seen.insert(*name));
    Ok(chosen)
}

fn failed(work: &Work<'_>, name: &str, failure: &Failure) -> Record {
    let status = match failure.exit {
        _ if work.cancel.is_cancelled() => Status::Left,
        Exit::NotNow => Status::Deferred,
        Exit::Unknown => Status::Unknown,
        _ => Status::Failed,
    };
    let hint = failure.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
    Record::new(Kind::Step, name, status, format!("{}{hint}", failure.message))
}

/// What the chain of a certificate must end at.
///
/// # Errors
/// The setting does not hold.
pub fn roots(work: &Work<'_>, spec: &CertSpec, issuer: &IssuerSpec) -> Result<Roots, Failure> {
    let of_issuer = match issuer {
        IssuerSpec::Acme(acme) => acme.roots.as_ref(),
        IssuerSpec::Csr { roots, .. } => roots.as_ref(),
        IssuerSpec::Ca { directory, .. } if spec.roots.is_none() => {
            return Ok(Roots::File(crate::ca::store::Store::at(directory).trust_path()));
        }
        IssuerSpec::Ca { .. } => None,
    };
    match spec.roots.as_ref().or(of_issuer) {
        // Every text is a set of roots: a word, or a file.
        Some(text) => Ok(text.parse().unwrap_or(Roots::System)),
        None => work.settings.get(&SECTION, "roots"),
    }
}

/// One certificate's turn.
struct Rotation<'a> {
    work: &'a Work<'a>,
    wanted: &'a Wanted,
    deployment: &'a Deployment<'a>,
    force: bool,
    started: Instant,
}

impl<'a> Rotation<'a> {
    /// Whether there was something to do, and how it ended.
    fn go(&self, advisor: &mut Advisor<'a>, dry_run: bool) -> (bool, Result<Record, Failure>) {
        let Deployment { name, spec, .. } = *self.deployment;
        let issuer = self.wanted.issuers.get(&spec.issuer);
        let seen = match inspect(self.work, self.deployment, issuer, advisor) {
            Ok(seen) => seen,
            Err(failure) => return (true, Err(failure)),
        };
        let (action, reason) = plan(spec, &seen, self.force, self.work.now);
        if action == Action::Nothing {
            return (false, self.nothing(&seen, &reason, dry_run));
        }
        if dry_run {
            let message = format!("{}: {reason}", action.as_str());
            let record = Record::new(Kind::Plan, name, Status::Planned, message);
            return (true, Ok(record.field("action", action.as_str()).field("issuer", &spec.issuer)));
        }
        tracing::info!("{name}: {}: {reason}", action.as_str());
        let acted = self.act(action, &seen);
        (true, acted.map(|record| record.field("action", action.as_str()).field("reason", reason)))
    }

    fn nothing(&self, seen: &Seen, reason: &str, dry_run: bool) -> Result<Record, Failure> {
        if seen.done && !dry_run {
            self.deployment.pending.clear()?;
        }
        let down = seen.shown.iter().find_map(|(consumer, endpoint, shown)| match shown {
            Shown::Down(why) => Some(format!("; {consumer} at {endpoint} cannot be asked whether it shows it: {why}")),
            _ => None,
        });
        let status = if down.is_some() { Status::Warning } else { Status::Ok };
        let message = format!("{reason}{}", down.unwrap_or_default());
        let record = Record::new(Kind::Check, self.deployment.name, status, message);
        Ok(match &seen.current {
            Some((current, _)) => about(record, current),
            None => record,
        })
    }

    fn act(&self, action: Action, seen: &Seen) -> Result<Record, Failure> {
        let Deployment { name, spec, ref pending, .. } = *self.deployment;
        let current = seen.current.as_ref().map(|(current, _)| current);
        if let (Action::Finish, Some(current)) = (action, current) {
            let done = deploy(self.work, self.deployment, current)?;
            return self.conclude(current, &done);
        }
        let missing = || Failure::usage(format!("there is no [issuers.{}]", spec.issuer));
        let issuer = self.wanted.issuers.get(&spec.issuer).ok_or_else(missing)?;
        if action == Action::Obtain
            && let Some(waiting) = self.obtain(issuer, seen)?
        {
            return Ok(Record::new(Kind::Step, name, Status::Deferred, waiting));
        }
        let issued = Issued::read(pending).ok_or_else(|| {
            Failure::critical(format!("{name}: what {} issued cannot be read again", spec.issuer))
                .hint("`cert-rotate rotate --force` asks anew")
        })?;
        self.make_live(issuer, &issued, current)
    }

    /// Has one issued, into what is under way. `Some` says what is waited for.
    fn obtain(&self, issuer: &IssuerSpec, seen: &Seen) -> Result<Option<String>, Failure> {
        let Deployment { name, spec, live, ref pending, .. } = *self.deployment;
        // Had it been of use and wanted, it would have been deployed.
        let of_no_use = pending.get("chain.pem").is_some();
        if let (IssuerSpec::Acme(acme), true) = (issuer, self.force) {
            acme::forgive(name, &spec.issuer, acme, live)?;
        }
        if of_no_use || !seen.under_way {
            pending.clear()?;
            pending.note("asked", &Asked::by(spec, self.force))?;
        }
        let current = seen.current.as_ref().map(|(current, _)| current);
        if let Some(current) = current.filter(|_| spec.reuse_key && pending.get("privkey.pem").is_none()) {
            let key = live.key(name, current.number)?;
            if current.leaf().is_some_and(|leaf| crate::deploy::gate::is_of_type(&leaf.key, spec.key_type)) {
                pending.put("privkey.pem", key.to_pem().as_bytes())?;
            }
        }
        let key = pending.key(spec.key_type)?;
        point("rotate-key");
        let replaces = current.and_then(Generation::leaf);
        let request = Request { name, spec, issuer: &spec.issuer, key: &key, pending, replaces };
        match issue::obtain(&request, issuer, self.work)? {
            Answer::Waiting(what) => Ok(Some(what)),
            Answer::Issued(chain) => {
                let text: String = chain.iter().map(Certificate::to_pem).collect();
                pending.put("chain.pem", text.as_bytes())?;
                point("rotate-issued");
                Ok(None)
            }
        }
    }

    fn make_live(&self, issuer: &IssuerSpec, issued: &Issued, current: Option<&Generation>) -> Result<Record, Failure> {
        let Deployment { name, spec, live, ref pending, ref access, .. } = *self.deployment;
        let duplicates = duplicates(live, name, &issued.chain, current)?;
        let account = match issuer {
            IssuerSpec::Acme(acme) => Some(acme.directory.clone()),
            IssuerSpec::Ca { .. } | IssuerSpec::Csr { .. } => None,
        };
        let meta = Meta { account, ..Meta::staged(&spec.issuer, jiff::Timestamp::now()) };
        let staged = live.write(name, &issued.chain, &issued.key, &meta, access)?;
        live.remove(name, &duplicates)?;
        point("rotate-written");
        let forced = self.force || Asked::under_way(pending, spec).is_some_and(|asked| asked.forced);
        let candidate = Candidate {
            chain: &staged.chain,
            key: &live.key(name, staged.number)?,
            spec,
            roots: &roots(self.work, spec, issuer)?,
            replaces: current.map(|current| current.chain.as_slice()),
            may_end_earlier: forced,
            // It may be younger than this run.
            now: self.work.now.max(jiff::Timestamp::now()),
        };
        let mut problems = judge(&candidate);
        let inherent = problems.iter().any(|problem| !matches!(problem.code, "not-yet-valid" | "chain-untrusted"));
        if problems.is_empty() {
            problems = down_before(self.work, self.deployment);
        }
        if !problems.is_empty() {
            return self.reject(&staged, &problems, inherent);
        }
        point("rotate-gated");
        let done = deploy(self.work, self.deployment, &staged)?;
        self.conclude(&staged, &done)
    }

    /// A certificate that is bad in itself is of no use to a later run; one that the consumers do not want yet is.
    fn reject(&self, staged: &Generation, problems: &[Problem], inherent: bool) -> Result<Record, Failure> {
        let Deployment { name, live, ref pending, .. } = *self.deployment;
        let why: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        let why = why.join("; ");
        live.mark(name, staged.number, State::Rejected, Some(&why))?;
        if inherent {
            pending.clear()?;
        }
        live.prune(name, self.keep()?)?;
        let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
        let message = format!("it may not become live: {why}");
        Ok(about(Record::new(Kind::Step, name, Status::Failed, message), staged).field("codes", codes))
    }

    fn keep(&self) -> Result<usize, Failure> {
        self.work.settings.get(&SECTION, "keep")
    }

    fn conclude(&self, to: &Generation, done: &Done) -> Result<Record, Failure> {
        let Deployment { name, live, ref pending, .. } = *self.deployment;
        if matches!(done.outcome, Outcome::Proven) {
            pending.clear()?;
            point("rotate-cleared");
            live.prune(name, self.keep()?)?;
        }
        let seconds = self.started.elapsed().as_secs_f64();
        Ok(told(self.deployment, to, done).field("duration_seconds", seconds))
    }
}

/// Generations of the same certificate that never were live: of runs that were killed, or whose certificate was taken
/// back. They are written again, because owner and mode of the files may have been what was wrong.
fn duplicates(
    live: &Live,
    name: &str,
    chain: &[Certificate],
    current: Option<&Generation>,
) -> Result<Vec<u64>, Failure> {
    let mut found = Vec::new();
    for number in live.numbers(name)? {
        let is_current = current.is_some_and(|current| current.number == number);
        let is_same = live.generation(name, number).is_ok_and(|generation| generation.leaf() == chain.first());
        if is_same && !is_current && live.meta(name, number).state != State::Live {
            found.push(number);
        }
    }
    Ok(found)
}

/// How a deployment ended, as a record.
pub fn told(deployment: &Deployment<'_>, to: &Generation, done: &Done) -> Record {
    let served: Vec<&str> = deployment.spec.consumers.iter().map(|consumer| consumer.name.as_str()).collect();
    let unproven = deployment.spec.consumers.iter().filter(|consumer| consumer.verify.is_empty());
    let unproven: Vec<&str> = unproven.map(|consumer| consumer.name.as_str()).collect();
    let number = to.number;
    let (status, message) = match &done.outcome {
        Outcome::Proven if served.is_empty() => {
            (Status::Ok, format!("generation {number} is live; it has no consumers"))
        }
        Outcome::Proven if unproven.is_empty() => {
            let (by, count) = (served.join(", "), done.connections);
            (Status::Ok, format!("generation {number} is live; seen on {count} connections to {by}"))
        }
        Outcome::Proven => {
            let unproven = unproven.join(", ");
            (Status::Ok, format!("generation {number} is live; {unproven} was told, and has no `verify` to be seen at"))
        }
        Outcome::Back(why) => {
            let back = match done.previous {
                Some(previous) => format!("generation {previous} is live again and seen"),
                None => "nothing is live, as before".to_owned(),
            };
            (Status::RolledBack, format!("{why}; {back}"))
        }
        Outcome::Kept(why) => (Status::Failed, why.clone()),
        Outcome::Stuck(why) => (Status::Stuck, why.clone()),
    };
    let record = about(Record::new(Kind::Step, deployment.name, status, message), to);
    let record = record.field("previous_generation", done.previous).field("connections", done.connections);
    let copies: Vec<_> = deployment.spec.install.iter().map(|copy| copy.path.display().to_string()).collect();
    if copies.len() < 2 { record } else { record.field("not_atomic", copies) }
}

/// What every record about a generation says of it.
pub fn about(record: Record, generation: &Generation) -> Record {
    let record = record.field("generation", generation.number);
    match generation.leaf() {
        Some(leaf) => record
            .field("not_after", leaf.not_after)
            .field("fingerprint", leaf.fingerprint())
            .field("names", leaf.names.iter().map(ToString::to_string).collect::<Vec<_>>()),
        None => record,
    }
}
