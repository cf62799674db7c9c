//! One function a command: configuration, guards, then look, plan and do.

use std::path::PathBuf;
use std::time::Duration;

use maint_core::cancel::Cancel;
use maint_core::cli::{common, open_guard, run_command, state_directory};
use maint_core::config::{COMMON, Settings};
use maint_core::confirm::confirm;
use maint_core::failure::Failure;
use maint_core::lock::RunLock;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::state_dir;
use maint_core::status::{Exit, Status};
use maint_core::units::{HumanDuration, format_count, format_ratio};

use crate::cli::{ApplyArgs, Cli, Command, DatabaseArgs, PolicyArgs, SECTION};
use crate::execute::{Limits, execute};
use crate::node::Role;
use crate::policy::{Action, Policy};
use crate::scan::{Manners, Part, Report};
use crate::target::{Place, Target, TlsFiles, password};
use crate::topology::{Topology, Which, discover};
use crate::{TOOL, apply, cache_cleanup, expire_keys, keys, observer, plan, step};

mod look;

/// By how much this program steps back behind others on its host.
const NICE: i32 = 10;
const STEP_COLUMNS: &[&str] = &["done_keys", "planned_keys", "freed_bytes", "planned_bytes"];
const KEY_COLUMNS: &[&str] = &["type", "encoding", "memory_bytes", "length", "ttl_seconds", "idle_seconds"];
const CHECK_COLUMNS: &[&str] = &["value", "keys", "memory_bytes"];

/// Runs the command and returns how the program ends.
pub fn run(cli: &Cli) -> Exit {
    maint_core::logging::init(cli.common.verbose, cli.common.quiet, None);
    let (task, columns) = match &cli.command {
        Command::Common(command) => {
            return common::<Cli>(command, &cli.common, TOOL, &[&COMMON, &SECTION]);
        }
        Command::CacheCleanup(_) => ("cache-cleanup", STEP_COLUMNS),
        Command::ExpireKeys(_) => ("expire-keys", STEP_COLUMNS),
        Command::Apply(_) => ("apply", STEP_COLUMNS),
        Command::Keys(_) => ("keys", KEY_COLUMNS),
        Command::Rdb(_) => ("rdb", KEY_COLUMNS),
        Command::MemoryOptimization(_) => ("memory-optimization", CHECK_COLUMNS),
        Command::PerformanceMonitor(_) => ("performance-monitor", CHECK_COLUMNS),
        Command::Check => ("check", CHECK_COLUMNS),
        Command::Report(_) => ("report", CHECK_COLUMNS),
    };
    // Whoever shares this host with the server, the server first of all, comes before us. It is a wish: that it cannot be
    // granted is no matter.
    let _ = rustix::process::nice(NICE);
    let run = Run::start(TOOL, task, cli.common.output, columns);
    run_command(run, async |run, subject| command(cli, run, subject).await)
}

/// Runs the command; the exit code is there when a signal ended it.
async fn command(cli: &Cli, run: &Run, subject: &mut String) -> Result<Option<Exit>, Failure> {
    let mut settings = Settings::load(cli.common.config.as_deref(), &[&COMMON, &SECTION])?;
    let cancel = Cancel::on_signals()?;
    if let Command::Rdb(args) = &cli.command {
        *subject = args.file.display().to_string();
        look::rdb(args, run, &settings, cli.common.output, &cancel)?;
        return Ok(cancel.exit());
    }
    let target = target(cli, &mut settings)?;
    *subject = target.to_string();
    let duration = |name: &str| settings.get::<HumanDuration>(&SECTION, name).map(|duration| duration.0);
    let work = Work {
        cli,
        run,
        target: &target,
        manners: Manners { max_latency: duration("max_latency")?, patience: duration("patience")? },
        answer: duration("answer_timeout")?,
        cancel: &cancel,
    };
    match &cli.command {
        Command::CacheCleanup(args) => work.change(args, &mut settings, Action::Delete).await?,
        Command::ExpireKeys(args) => work.change(args, &mut settings, Action::Expire).await?,
        Command::Apply(args) => work.apply(args, &mut settings).await?,
        Command::Keys(args) => work.keys(args).await?,
        Command::MemoryOptimization(args) => work.memory(args, &settings).await?,
        Command::PerformanceMonitor(args) => work.monitor(args).await?,
        Command::Check => work.check().await?,
        Command::Report(args) => work.report(args, &settings).await?,
        Command::Rdb(_) | Command::Common(_) => {}
    }
    Ok(cancel.exit())
}

/// Where the server is, from flags, environment and file.
fn target(cli: &Cli, settings: &mut Settings) -> Result<Target, Failure> {
    settings.flag(&SECTION, "url", cli.server.url.as_ref())?;
    settings.flag(&SECTION, "max_latency", cli.server.max_latency)?;
    settings.flag(&SECTION, "tls_ca", cli.server.tls_ca.as_ref().map(|path| path.display().to_string()))?;
    let path = |name: &str| settings.optional::<PathBuf>(&SECTION, name);
    let place = match &cli.server.sentinel {
        Some(name) => Place::Sentinel(name.clone()),
        None if cli.server.cluster => Place::Cluster,
        None => Place::Server,
    };
    let tls = TlsFiles { ca: path("tls_ca")?, certificate: path("tls_cert")?, key: path("tls_key")? };
    let password = password(path("password_file")?.as_deref())?;
    Target::resolve(&settings.get::<String>(&SECTION, "url")?, place, password.as_ref(), &tls)
}

/// What every command has at hand.
struct Work<'a> {
    cli: &'a Cli,
    run: &'a Run,
    target: &'a Target,
    manners: Manners,
    answer: Duration,
    cancel: &'a Cancel,
}

impl Work<'_> {
    /// The servers. That none answers is also a record, for who reads only those.
    async fn topology(&self, which: Which) -> Result<Topology, Failure> {
        discover(self.target, which, self.answer).await.inspect_err(|failure| {
            if failure.exit == Exit::Critical {
                self.run.emit(&Record::new(Kind::Check, "server", Status::Critical, failure.message.clone()));
            }
        })
    }

    /// The parts of the keyspace to walk over, each with a connection of its own.
    async fn parts(
        &self,
        topology: &mut Topology,
        which: Which,
        databases: &DatabaseArgs,
    ) -> Result<Vec<Part>, Failure> {
        let mut parts = Vec::new();
        for index in 0..topology.nodes.len() {
            let slot = topology.slot_served_by(index);
            let Some(node) = topology.nodes.get_mut(index) else { continue };
            if databases.all_dbs && !topology.cluster {
                let found = node.read_info(&["keyspace"]).await.map_err(|trouble| {
                    let failure = Failure::from(&trouble);
                    Failure::new(failure.exit, format!("cannot tell which databases hold keys: {}", failure.message))
                })?;
                for line in found.keyspace() {
                    parts.push(Part::whole(node.with_db(line.db).await?, which, slot));
                }
            } else {
                parts.push(Part::whole(node.another().await?, which, slot));
            }
        }
        Ok(parts)
    }

    /// `cache-cleanup` and `expire-keys`.
    async fn change(&self, args: &PolicyArgs, settings: &mut Settings, action: Action) -> Result<(), Failure> {
        let (key, decide, step): (_, plan::Decide, _) = match action {
            Action::Expire => ("expire_policy", expire_keys::decide, step::Action::Expire),
            _ => ("cleanup_policy", cache_cleanup::decide, step::Action::Delete),
        };
        let path =
            args.policy.clone().map_or_else(|| settings.optional::<PathBuf>(&SECTION, key), |path| Ok(Some(path)));
        let path = path?.ok_or_else(|| {
            Failure::usage("no policy was given").hint(format!("pass --policy FILE, or set {key} in maint.toml"))
        })?;
        let policy = Policy::read(&path)?;
        if !policy.rules.iter().any(|rule| rule.action == action) {
            let what = if action == Action::Delete { "deletes keys" } else { "gives a time to live (ttl = \"...\")" };
            return Err(Failure::usage(format!("{}: no rule {what}, so there is nothing to do", path.display())));
        }
        let guard = open_guard(&args.change, settings, self.cancel)?;
        let dry_run = args.change.dry_run;
        let _lock = if dry_run { None } else { Some(self.lock()?) };
        let mut topology = self.topology(Which::Primaries).await?;
        if !dry_run {
            writable(&topology)?;
        }
        let parts = self.parts(&mut topology, Which::Primaries, &args.databases).await?;
        let before = self.expired_keys(&mut topology).await;
        let plan = plan::plan(parts, &policy, action, decide, self.manners, self.cancel).await?;
        for (rule, totals) in policy.rules.iter().zip(&plan.totals).filter(|(rule, _)| rule.action == action) {
            let record = totals.record(&rule.name, step);
            // A run that goes on tells what it did instead.
            if dry_run || record.status != Status::Ok {
                self.run.emit(&record);
            }
            for finding in totals.findings(&rule.name, step, dry_run) {
                self.run.emit(&finding);
            }
        }
        if action == Action::Expire {
            self.active_expiry(&mut topology, before).await;
        }
        self.emit_all(&Self::walks(&plan.reports, plan.folded));
        if plan.unreadable > 0 {
            let message = format!(
                "{} keys in use just now were left out: without DUMP (+@keyspace) they cannot be told from a replacement",
                format_count(plan.unreadable)
            );
            self.run.emit(&Record::new(Kind::Finding, "keys", Status::Denied, message).field("keys", plan.unreadable));
        }
        if plan.deferred > 0 {
            let message = format!(
                "{} large keys in use just now were left for the next run: they could not be told from a replacement",
                format_count(plan.deferred)
            );
            self.run.emit(&Record::new(Kind::Finding, "keys", Status::Deferred, message).field("keys", plan.deferred));
        }
        if plan.truncated {
            let message = "the policy's max_keys was reached; there may be more".to_owned();
            self.run.emit(&Record::new(Kind::Finding, "max_keys", Status::Warning, message));
        }
        if self.cancel.is_cancelled() {
            return Ok(());
        }
        if action == Action::Delete {
            self.within_share(&plan, &policy, args)?;
        }
        if dry_run {
            let mut reader = plan.spool.into_reader()?;
            loop {
                let steps = reader.take(1000)?;
                if steps.is_empty() || self.run.reader_is_gone() || self.cancel.is_cancelled() {
                    return Ok(());
                }
                for step in &steps {
                    self.run.detail(&step.planned());
                }
            }
        }
        if plan.spool.is_empty() {
            return Ok(());
        }
        self.run.journal_in(&state_directory()?)?;
        let limits = self.limits(settings)?;
        execute(self.run, &guard, self.target, topology, plan.spool, limits).await
    }

    /// What walks did, as records; noted as well, for those who judge the statistics later.
    fn walks(reports: &[Report], folded: u64) -> Vec<Record> {
        let state_dir = state_dir::state_dir();
        let mut records = Vec::new();
        for report in reports {
            records.push(keys::walk_record(report, folded));
            records.extend(keys::refusals(report));
            if let Ok(state_dir) = &state_dir {
                observer::note(state_dir, report.run_id.as_deref(), report.hits_added, report.misses_added);
            }
        }
        records
    }

    fn emit_all(&self, records: &[Record]) {
        for record in records {
            self.run.emit(record);
        }
    }

    /// A plan that takes a large share of all keys is more often a mistake in the policy than a wish.
    fn within_share(&self, plan: &plan::Plan, policy: &Policy, args: &PolicyArgs) -> Result<(), Failure> {
        let planned = plan.spool.len();
        let share = if plan.keys == 0 { 0.0 } else { planned as f64 / plan.keys as f64 };
        if share <= policy.max_share {
            return Ok(());
        }
        let what = format!(
            "delete {} of {} keys, {} of all, where max_share is {}",
            format_count(planned),
            format_count(plan.keys),
            format_ratio(share),
            format_ratio(policy.max_share)
        );
        if args.change.dry_run {
            let message = format!("would {what}: a real run needs --yes for it");
            self.run
                .emit(&Record::new(Kind::Finding, "max_share", Status::Warning, message).field("planned_ratio", share));
            return Ok(());
        }
        confirm(&what, args.change.yes).map_err(|refused| Failure::usage(refused.to_string()))
    }

    /// Expired keys that the servers have removed so far.
    async fn expired_keys(&self, topology: &mut Topology) -> Option<u64> {
        let mut sum = 0;
        for node in &mut topology.nodes {
            sum += node.read_info(&["stats"]).await.ok()?.count("expired_keys")?;
        }
        Some(sum)
    }

    /// A walk makes the server remove the expired keys that it meets, which active expiry has not got round to.
    async fn active_expiry(&self, topology: &mut Topology, before: Option<u64>) {
        let after = self.expired_keys(topology).await;
        if let Some((before, after)) = before.zip(after) {
            let removed = after.saturating_sub(before);
            let message = format!("{} expired keys were removed by the server during the walk", format_count(removed));
            let record = Record::new(Kind::Metric, "active-expiry", Status::Ok, message).field("removed_keys", removed);
            self.run.emit(&record);
        }
        for node in &mut topology.nodes {
            let Ok(info) = node.read_info(&["stats"]).await else { continue };
            // The server's estimate of keys that are past their time and still there.
            if let Some(stale) = info.number("expired_stale_perc").filter(|stale| *stale > 10.0) {
                let message = format!(
                    "about {stale:.0} % of the keys with a time to live are past it: active expiry does not keep up; \
                     raise active-expire-effort, or run this more often"
                );
                let record = Record::new(Kind::Finding, node.address.as_ref(), Status::Warning, message);
                self.run.emit(&record.field("code", "expiry-behind").field("stale_ratio", stale / 100.0));
            }
        }
    }

    async fn apply(&self, args: &ApplyArgs, settings: &mut Settings) -> Result<(), Failure> {
        let spool = apply::read(&args.plan)?;
        let guard = open_guard(&args.change, settings, self.cancel)?;
        let _lock = if args.change.dry_run { None } else { Some(self.lock()?) };
        let topology = self.topology(Which::Primaries).await?;
        let mut reader = spool.into_reader()?;
        let mut checked = crate::spool::Spool::new()?;
        loop {
            let steps = reader.take(1000)?;
            if steps.is_empty() {
                break;
            }
            for step in steps {
                if !args.change.yes {
                    same_server(&step, &topology)?;
                }
                if args.change.dry_run {
                    self.run.detail(&step.planned());
                }
                checked.push(&step)?;
            }
        }
        if args.change.dry_run {
            let message = format!("would carry out {} steps", format_count(checked.len()));
            self.run.emit(&Record::new(Kind::Metric, "plan", Status::Ok, message).field("steps", checked.len()));
            return Ok(());
        }
        if checked.is_empty() {
            return Ok(());
        }
        writable(&topology)?;
        self.run.journal_in(&state_directory()?)?;
        let limits = self.limits(settings)?;
        execute(self.run, &guard, self.target, topology, checked, limits).await
    }

    /// One changing run at a time for each server, on this host. Runs on other hosts do no harm: every step is compared
    /// with the key first.
    fn lock(&self) -> Result<RunLock, Failure> {
        RunLock::acquire(&state_directory()?, &format!("redis-maint {}", self.target)).map_err(Failure::from)
    }

    fn limits(&self, settings: &Settings) -> Result<Limits, Failure> {
        Ok(Limits {
            manners: self.manners,
            wait: settings.get::<HumanDuration>(&SECTION, "wait")?.0,
            answer: self.answer,
            quiet: self.cli.common.quiet,
        })
    }
}

/// A plan is for the server that it was made on: the same names elsewhere are other keys.
fn same_server(step: &step::Step, topology: &Topology) -> Result<(), Failure> {
    let known: Vec<&String> = topology.nodes.iter().flat_map(|node| &node.identity.replication_ids).collect();
    match &step.server {
        Some(server) if !known.is_empty() && !known.contains(&server) => Err(Failure::usage(format!(
            "the plan was made for another server, or before this one restarted: it names {server}; nothing was done"
        ))
        .hint("make a new plan, or pass --yes when you know that it is the same server")),
        _ => Ok(()),
    }
}

fn writable(topology: &Topology) -> Result<(), Failure> {
    match topology.nodes.iter().find(|node| node.identity.role == Some(Role::Replica)) {
        Some(node) => Err(Failure::usage(format!("{} is a read-only replica; nothing was changed", node.address))
            .hint("give the address of the primary, or --sentinel NAME to have it found")),
        None => Ok(()),
    }
}
