//! One function a command: configuration, guards, then inspect, plan and execute in each database.

use maint_core::cancel::Cancel;
use maint_core::cli::{common, open_guard, run_command, state_directory};
use maint_core::config::{COMMON, Settings};
use maint_core::failure::Failure;
use maint_core::pg::connect::Session;
use maint_core::pg::dsn::Target;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::{Exit, Status};
use maint_core::units::{HumanDuration, HumanRatio, HumanSize};

use crate::cli::{BloatArgs, Cli, Command, ConnectionsArgs, PlanArgs, SECTION, StepArgs, WhereArgs};
use crate::execute::{Limits, execute};
use crate::inspect::{self, Plan};
use crate::intents::Intents;
use crate::need::Place;
use crate::server;
use crate::step::{Action, Step, VacuumOptions};
use crate::{TOOL, apply, indexes, monitor_connections, reindex_tables, update_statistics, vacuum_analyze};

const STEP_COLUMNS: &[&str] = &["action", "score", "size_bytes", "duration_seconds"];
const CHECK_COLUMNS: &[&str] = &["connections", "limit_connections", "used_ratio", "longest_seconds"];

/// Runs the command and returns how the program ends.
pub fn run(cli: &Cli) -> Exit {
    maint_core::logging::init(cli.common.verbose, cli.common.quiet, Some(Box::new(maint_core::pg::notices::layer())));
    let (task, columns) = match &cli.command {
        Command::Common(command) => {
            return common::<Cli>(command, &cli.common, TOOL, &[&COMMON, &SECTION]);
        }
        Command::VacuumAnalyze(_) => ("vacuum-analyze", STEP_COLUMNS),
        Command::ReindexTables(_) => ("reindex-tables", STEP_COLUMNS),
        Command::UpdateStatistics(_) => ("update-statistics", STEP_COLUMNS),
        Command::Plan(_) => ("plan", STEP_COLUMNS),
        Command::Apply(_) => ("apply", STEP_COLUMNS),
        Command::MonitorConnections(_) => ("monitor-connections", CHECK_COLUMNS),
    };
    let run = Run::start(TOOL, task, cli.common.output, columns);
    run_command(run, async |run, subject| command(cli, run, task, subject).await)
}

/// Runs the command; the exit code is there when a signal ended it.
async fn command(cli: &Cli, run: &Run, task: &str, subject: &mut String) -> Result<Option<Exit>, Failure> {
    let mut settings = Settings::load(cli.common.config.as_deref(), &[&COMMON, &SECTION])?;
    settings.flag(&SECTION, "dsn", cli.dsn.as_ref())?;
    let dsn: Option<String> = settings.optional(&SECTION, "dsn")?;
    let target = Target::resolve(dsn.as_deref(), &|name| std::env::var(name).ok()).map_err(Failure::from)?;
    *subject = target.to_string();
    let cancel = Cancel::on_signals()?;
    let work = Work { cli, run, task, target: &target };
    let result = async {
        match &cli.command {
            Command::MonitorConnections(args) => work.monitor(args, &mut settings).await,
            Command::Plan(args) => work.plan(args, &mut settings).await,
            Command::VacuumAnalyze(args) => {
                settings.flag(&SECTION, "min_score", args.min_score)?;
                let options = VacuumOptions { analyze: false, freeze: args.freeze, truncate: args.truncate };
                let min_score = settings.get(&SECTION, "min_score")?;
                let policy = vacuum_analyze::Policy { min_score, every: args.every, options };
                work.change(&args.place, &args.steps, &mut settings, &cancel, false, Task::Vacuum(policy)).await
            }
            Command::UpdateStatistics(args) => {
                settings.flag(&SECTION, "min_score", args.min_score)?;
                let min_score = settings.get(&SECTION, "min_score")?;
                let policy = update_statistics::Policy { min_score, every: args.every, missing_only: args.missing };
                work.change(&args.place, &args.steps, &mut settings, &cancel, false, Task::Statistics(policy)).await
            }
            Command::ReindexTables(args) => {
                let change = &args.steps.change;
                let set = |name| Ok::<_, Failure>(settings.optional::<String>(&COMMON, name)?.is_some());
                let bounded =
                    change.max_duration.is_some() || change.window.is_some() || set("max_duration")? || set("window")?;
                let policy =
                    reindex_tables::Policy { bounded, ..reindex_policy(&args.bloat, args.every, &mut settings)? };
                let foreign = args.bloat.cleanup_leftovers;
                if foreign && !args.steps.change.dry_run {
                    maint_core::confirm::confirm(
                        "Drop what unfinished rebuilds of other programs left behind?",
                        args.steps.change.yes,
                    )
                    .map_err(|error| Failure::usage(error.to_string()))?;
                }
                work.change(&args.place, &args.steps, &mut settings, &cancel, foreign, Task::Reindex(policy)).await
            }
            Command::Apply(args) => {
                let steps = apply::read(&args.plan)?;
                work.apply(steps, &args.steps, &mut settings, &cancel).await
            }
            Command::Common(_) => Ok(()),
        }
    };
    // A command that changes nothing can be dropped where it stands; a changing one ends its steps by itself.
    let looks_only = matches!(cli.command, Command::MonitorConnections(_) | Command::Plan(_));
    tokio::select! {
        result = result => result?,
        exit = cancel.cancelled(), if looks_only => return Ok(Some(exit)),
    }
    Ok(cancel.exit())
}

/// What one changing command plans.
#[derive(Debug, Clone, Copy)]
enum Task {
    Vacuum(vacuum_analyze::Policy),
    Statistics(update_statistics::Policy),
    Reindex(reindex_tables::Policy),
}

/// What every command has at hand.
struct Work<'a> {
    cli: &'a Cli,
    run: &'a Run,
    task: &'a str,
    target: &'a Target,
}

impl Work<'_> {
    async fn monitor(&self, args: &ConnectionsArgs, settings: &mut Settings) -> Result<(), Failure> {
        settings.flag(&SECTION, "connections_warning", args.warning)?;
        settings.flag(&SECTION, "connections_critical", args.critical)?;
        settings.flag(&SECTION, "idle_in_transaction", args.idle_in_transaction)?;
        let limits = monitor_connections::Limits {
            warning: settings.get::<HumanRatio>(&SECTION, "connections_warning")?.0,
            critical: settings.get::<HumanRatio>(&SECTION, "connections_critical")?.0,
            idle_in_transaction: settings.get::<HumanDuration>(&SECTION, "idle_in_transaction")?.0,
        };
        if limits.warning > limits.critical {
            return Err(Failure::usage(
                "connections_warning is above connections_critical: no warning would ever come",
            ));
        }
        let mut session = server::looking(self.target, self.task).await.inspect_err(|failure| {
            if failure.exit == Exit::Critical {
                self.run.emit(&Record::new(Kind::Check, "server", Status::Critical, failure.message.clone()));
            }
        })?;
        let seen = monitor_connections::inspect(&mut session).await.map_err(Failure::from)?;
        for record in monitor_connections::judge(&seen, &limits) {
            self.run.emit(&record);
        }
        Ok(())
    }

    async fn plan(&self, args: &PlanArgs, settings: &mut Settings) -> Result<(), Failure> {
        settings.flag(&SECTION, "min_score", args.min_score)?;
        let min_score: f64 = settings.get(&SECTION, "min_score")?;
        let reindex = reindex_policy(&args.bloat, false, settings)?;
        let selection = &args.place.selection;
        for target in server::targets(self.run, self.target, self.task, args.place.all).await? {
            let mut session = server::looking(&target, self.task).await?;
            let place = server::place(&mut session).await?;
            let tables = inspect::tables(&mut session, selection, &place, true).await?;
            let options = VacuumOptions::default();
            let vacuum = tables.vacuum(vacuum_analyze::Policy { min_score, every: false, options }, &place);
            let policy = update_statistics::Policy { min_score, every: false, missing_only: true };
            let statistics = tables.statistics(policy, &place);
            let intents = self.intents(&mut session, &place).await?;
            let named_tables = selection.tables.is_empty() && selection.schemas.is_empty();
            let reindex = match inspect::reindex(&mut session, selection, reindex, &place, intents.as_ref()).await {
                // A chosen table without any index is no mistake here.
                Err(failure) if !named_tables && failure.message.starts_with("no ") => Plan::default(),
                result => result?,
            };
            let mut plan = inspect::merge(vacuum, statistics, reindex);
            plan.steps.retain(|step| step.score >= min_score);
            self.report(&plan);
        }
        Ok(())
    }

    /// Lists a plan without carrying it out.
    fn report(&self, plan: &Plan) {
        for finding in &plan.findings {
            self.run.emit(finding);
        }
        for step in &plan.steps {
            self.run.emit(&step.planned());
        }
    }

    async fn change(
        &self,
        place: &WhereArgs,
        steps: &StepArgs,
        settings: &mut Settings,
        cancel: &Cancel,
        foreign: bool,
        task: Task,
    ) -> Result<(), Failure> {
        let guard = open_guard(&steps.change, settings, cancel)?;
        let limits = self.limits(steps, settings, foreign)?;
        for target in server::targets(self.run, self.target, self.task, place.all).await? {
            if steps.change.dry_run {
                let mut session = server::looking(&target, self.task).await?;
                let (plan, _) = self.inspect(&mut session, place, task).await?;
                self.report(&plan);
                continue;
            }
            // Looking has a session of its own: one that waits for no lock and cannot write.
            let (mut control, mut session) = server::control(&target, self.task).await?;
            let (plan, mut intents) = self.inspect(&mut session, place, task).await?;
            // Only here, under the run's lock: a dry run writes nothing, and beside a run it would strike out what is
            // about to begin.
            if let Some(intents) = intents.as_mut().filter(|intents| !intents.is_empty()) {
                let all = indexes::indexes(&mut session, None).await.map_err(Failure::from)?;
                intents.settle(&all, None).map_err(|error| Failure::usage(error.to_string()))?;
            }
            drop(session);
            for finding in &plan.findings {
                self.run.emit(finding);
            }
            if plan.steps.is_empty() {
                continue;
            }
            self.run.journal_in(&state_directory()?)?;
            let jobs = server::jobs(self.run, control.session(), limits.jobs).await?;
            execute(self.run, &guard, &target, control, intents, plan.steps, Limits { jobs, ..limits }).await;
        }
        Ok(())
    }

    async fn inspect(
        &self,
        session: &mut Session,
        place: &WhereArgs,
        task: Task,
    ) -> Result<(Plan, Option<Intents>), Failure> {
        let at = server::place(session).await?;
        let selection = &place.selection;
        match task {
            Task::Vacuum(policy) => {
                let tables = inspect::tables(session, selection, &at, false).await?;
                let mut plan = tables.vacuum(policy, &at);
                plan.findings.extend(tables.calm(selection, &plan));
                Ok((plan, None))
            }
            Task::Statistics(policy) => {
                let tables = inspect::tables(session, selection, &at, true).await?;
                let mut plan = tables.statistics(policy, &at);
                plan.findings.extend(tables.calm(selection, &plan));
                Ok((plan, None))
            }
            Task::Reindex(policy) => {
                let intents = self.intents(session, &at).await?;
                let plan = inspect::reindex(session, selection, policy, &at, intents.as_ref()).await?;
                Ok((plan, intents))
            }
        }
    }

    /// What was being rebuilt in the database when a run was killed.
    async fn intents(&self, session: &mut Session, place: &Place) -> Result<Option<Intents>, Failure> {
        let server = place.server.clone().unwrap_or_else(|| "unidentified".to_owned());
        let oid = server::database_oid(session).await?;
        let intents = Intents::load(&state_directory()?, &server, oid);
        intents.map(Some).map_err(|error| Failure::usage(error.to_string()))
    }

    async fn apply(
        &self,
        steps: Vec<Step>,
        args: &StepArgs,
        settings: &mut Settings,
        cancel: &Cancel,
    ) -> Result<(), Failure> {
        let guard = open_guard(&args.change, settings, cancel)?;
        let limits = self.limits(args, settings, args.change.yes)?;
        let mut databases: Vec<String> = Vec::new();
        for step in &steps {
            if !databases.contains(&step.database) {
                databases.push(step.database.clone());
            }
        }
        for database in databases {
            let target = self.target.with_database(&database);
            let mine: Vec<Step> = steps.iter().filter(|step| step.database == database).cloned().collect();
            let (control, mut session) = if args.change.dry_run {
                (None, server::looking(&target, self.task).await?)
            } else {
                let (control, session) = server::control(&target, self.task).await?;
                (Some(control), session)
            };
            let place = server::place(&mut session).await?;
            if let Some(step) =
                mine.iter().find(|step| step.server.is_some() && place.server.is_some() && step.server != place.server)
            {
                return Err(Failure::usage(format!(
                    "the plan was made for another server: {} belongs to system {}, this is {}; nothing was done",
                    step.subject(),
                    step.server.as_deref().unwrap_or("unknown"),
                    place.server.as_deref().unwrap_or("unknown"),
                ))
                .hint("connect to the server that the plan was made on, or make a new plan"));
            }
            let Some(mut control) = control else {
                for step in &mine {
                    self.run.emit(&step.planned());
                }
                continue;
            };
            let rebuilds = mine.iter().any(|step| matches!(step.action, Action::Reindex | Action::DropLeftover));
            let intents = if rebuilds { self.intents(&mut session, &place).await? } else { None };
            drop(session);
            self.run.journal_in(&state_directory()?)?;
            let jobs = server::jobs(self.run, control.session(), limits.jobs).await?;
            execute(self.run, &guard, &target, control, intents, mine, Limits { jobs, ..limits }).await;
        }
        Ok(())
    }

    fn limits(&self, args: &StepArgs, settings: &mut Settings, foreign: bool) -> Result<Limits, Failure> {
        settings.flag(&SECTION, "jobs", args.jobs)?;
        settings.flag(&SECTION, "lock_timeout", args.lock_timeout)?;
        settings.flag(&SECTION, "retries", args.retries)?;
        settings.flag(&SECTION, "step_timeout", args.step_timeout)?;
        Ok(Limits {
            jobs: settings.get::<usize>(&SECTION, "jobs")?,
            lock_timeout: settings.get::<HumanDuration>(&SECTION, "lock_timeout")?.0,
            retries: settings.get(&SECTION, "retries")?,
            step_timeout: settings.get::<HumanDuration>(&SECTION, "step_timeout")?.0,
            foreign,
            quiet: self.cli.common.quiet,
        })
    }
}

fn reindex_policy(args: &BloatArgs, every: bool, settings: &mut Settings) -> Result<reindex_tables::Policy, Failure> {
    settings.flag(&SECTION, "bloat", args.bloat)?;
    settings.flag(&SECTION, "min_index_size", args.min_index_size)?;
    let bloat = settings.get::<HumanRatio>(&SECTION, "bloat")?.0;
    if !(0.01..=1.0).contains(&bloat) {
        return Err(Failure::usage("bloat must be between 1 % and 100 %"));
    }
    Ok(reindex_tables::Policy {
        bloat,
        min_size: settings.get::<HumanSize>(&SECTION, "min_index_size")?.0,
        every,
        bounded: false,
        cleanup_leftovers: args.cleanup_leftovers,
    })
}
