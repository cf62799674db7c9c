//! The commands that only look: `keys`, `rdb`, `memory-optimization`, `performance-monitor`, `check` and `report`.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use maint_core::cancel::Cancel;
use maint_core::cli::state_directory;
use maint_core::config::Settings;
use maint_core::durable;
use maint_core::failure::Failure;
use maint_core::output::Format;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::{Exit, Status};
use maint_core::units::{HumanSize, format_bytes, format_count};

use super::Work;
use crate::analysis::{self, Analysis, findings};
use crate::cli::{DatabaseArgs, KeysArgs, MemoryArgs, MonitorArgs, RdbArgs, ReportArgs, SECTION};
use crate::glob::Glob;
use crate::info::Info;
use crate::memory_optimization::{self, ServerMemory};
use crate::monitor::{self, Limits, Snapshot, judge, kept, rates};
use crate::node::Node;
use crate::scan::{Ask, Attribute, DEFAULT_SAMPLES, Event, Part, Position, Report, Scan, Seen};
use crate::top::TopN;
use crate::topology::Which;
use crate::trouble::Trouble;
use crate::{keys, observer, where_memory_goes};

/// How often the position of a walk is kept.
const KEEP_POSITION: Duration = Duration::from_secs(1);

impl Work<'_> {
    pub(super) async fn keys(&self, args: &KeysArgs) -> Result<(), Failure> {
        streams(self.cli.common.output)?;
        let which = if args.replica { Which::Replicas } else { Which::Primaries };
        let mut topology = self.topology(which).await?;
        let mut parts = self.parts(&mut topology, which, &args.databases).await?;
        if let Some(path) = &args.resume {
            let positions = read_positions(path)?;
            parts = parts.into_iter().map(|part| part.resumed(&positions)).collect();
        }
        let mut positions: Vec<Position> = parts.iter().map(|part| part.position.clone()).collect();
        let mut attributes = keys::attributes(args.with.iter().map(|with| Attribute::from(*with)));
        if !args.names {
            attributes.insert(0, Attribute::Bytes);
        }
        let pattern = args.pattern.as_ref().map(|pattern| pattern.clone().into_bytes());
        let ask = Ask { pattern, filter: None, attributes, samples: args.samples };
        let mut seen = Seen::default();
        let mut kept = Instant::now();
        let mut scan = Scan::start(parts, &ask, self.manners);
        while let Some(event) = scan.next(self.cancel).await {
            let Event::Batch { part, entries, position, .. } = event else { continue };
            let now = Timestamp::now();
            for entry in entries.iter().filter(|entry| seen.is_new(entry.db, &entry.key)) {
                let record = keys::record(entry, now);
                if self.cli.common.output == Format::Table { self.run.emit(&record) } else { self.run.detail(&record) }
            }
            if let Some(here) = positions.get_mut(part) {
                *here = position;
            }
            if let Some(path) = args.resume.as_ref().filter(|_| kept.elapsed() >= KEEP_POSITION) {
                // What is before the position must have left this process first.
                self.run.flush();
                keep_positions(path, &positions)?;
                kept = Instant::now();
            }
            if self.run.reader_is_gone() {
                break;
            }
        }
        if let Some(path) = &args.resume {
            self.run.flush();
            if positions.iter().all(|position| position.done) {
                durable::remove(path).map_err(|error| Failure::critical(error.to_string()))?;
            } else {
                keep_positions(path, &positions)?;
            }
        }
        self.emit_all(&Self::walks(&scan.finish().await?, seen.folded()));
        Ok(())
    }

    /// `memory-optimization`.
    pub(super) async fn memory(&self, args: &MemoryArgs, settings: &Settings) -> Result<(), Failure> {
        self.emit_all(&self.memory_records(args, settings).await?);
        if args.purge || args.defrag {
            self.give_back(args).await?;
        }
        Ok(())
    }

    /// The walk, what it adds up to, and what the servers say of their memory.
    async fn memory_records(&self, args: &MemoryArgs, settings: &Settings) -> Result<Vec<Record>, Failure> {
        let which = if args.replica { Which::Replicas } else { Which::Primaries };
        let mut topology = self.topology(which).await?;
        let mut records = Vec::new();
        let mut limits = None;
        for node in &mut topology.nodes {
            let (memory, refused) = server_memory(node).await?;
            limits = limits.or_else(|| findings::limits_from(memory.config.as_ref()?));
            records.extend(memory_optimization::judge(&node.address, &memory));
            records.extend(refused);
        }
        let parts = self.parts(&mut topology, which, &args.databases).await?;
        let mut ask = Ask { samples: args.samples, ..Ask::bytes() };
        if !args.traceless {
            ask = ask.and(Attribute::Type).and(Attribute::Expiry).and(Attribute::Encoding);
        }
        if args.lengths {
            ask = ask.and(Attribute::Length);
        }
        let (report, reports, folded) = self.analyse(parts, &ask, args.top, settings).await?;
        records.extend(where_memory_goes::records(&self.target.to_string(), &report, args.top));
        records.extend(findings::findings(&report, limits.as_ref()));
        records.extend(Self::walks(&reports, folded));
        Ok(records)
    }

    async fn analyse(
        &self,
        parts: Vec<Part>,
        ask: &Ask,
        top: usize,
        settings: &Settings,
    ) -> Result<(analysis::Report, Vec<Report>, u64), Failure> {
        let mut analysis = Analysis::new(analysis_settings(top, settings)?);
        let mut seen = Seen::default();
        let mut scan = Scan::start(parts, ask, self.manners);
        while let Some(event) = scan.next(self.cancel).await {
            let Event::Batch { entries, .. } = event else { continue };
            for entry in entries.iter().filter(|entry| seen.is_new(entry.db, &entry.key)) {
                analysis.add(entry);
            }
        }
        let reports = scan.finish().await?;
        Ok((analysis.finish(), reports, seen.folded()))
    }

    /// `--purge` and `--defrag`: what the allocator can give back, where it is worth it.
    async fn give_back(&self, args: &MemoryArgs) -> Result<(), Failure> {
        let mut topology = self.topology(Which::Primaries).await?;
        for node in &mut topology.nodes {
            let address = node.address.to_string();
            let (memory, _) = server_memory(node).await?;
            let step = |action: &'static str, status: Status, message: String| {
                let kind = if status == Status::Planned { Kind::Plan } else { Kind::Step };
                self.run.emit(&Record::new(kind, &address, status, message).label("action", action));
            };
            let wanted = [
                ("defrag", args.defrag, memory.fragmentation().map(|(_, bytes)| bytes)),
                ("purge", args.purge, memory.purgeable()),
            ];
            for (action, _, bytes) in wanted.into_iter().filter(|(_, asked, _)| *asked) {
                if memory.has_jemalloc() == Some(false) {
                    step(
                        action,
                        Status::Skipped,
                        "this server's allocator is not jemalloc and cannot do it".to_owned(),
                    );
                    continue;
                }
                let Some(bytes) = bytes else {
                    step(action, Status::Ok, "nothing to do: too little would come back".to_owned());
                    continue;
                };
                if args.dry_run {
                    step(action, Status::Planned, format!("{} could come back", format_bytes(bytes)));
                    continue;
                }
                self.run.journal_in(&state_directory()?)?;
                let command = if action == "purge" {
                    redis::cmd("MEMORY").arg("PURGE").to_owned()
                } else {
                    redis::cmd("CONFIG").arg("SET").arg("activedefrag").arg("yes").to_owned()
                };
                match node.call(&command).await {
                    Ok(_) if action == "defrag" => {
                        step(
                            action,
                            Status::Ok,
                            "active defragmentation is on; it works while the server is idle".to_owned(),
                        );
                    }
                    Ok(_) => {
                        let after = node.read_info(&["memory"]).await?.count("allocator_rss_bytes").unwrap_or(0);
                        let freed = bytes.saturating_sub(after);
                        let status = if freed > 0 { Status::Ok } else { Status::Ineffective };
                        step(action, status, format!("{} given back to the system", format_bytes(freed)));
                    }
                    Err(trouble @ Trouble::Denied(_)) => step(action, Status::Denied, trouble.to_string()),
                    Err(trouble) => step(action, Status::Failed, trouble.to_string()),
                }
            }
        }
        Ok(())
    }

    /// One look at every server, judged against the last look of the same command.
    async fn checks(&self, task: &str) -> Result<Vec<Record>, Failure> {
        let mut topology = self.topology(Which::Primaries).await?;
        let state_dir = state_directory()?;
        let mut records = Vec::new();
        for node in &mut topology.nodes {
            let now = self.look(node, &state_dir).await?;
            let before = kept::load(&state_dir, task, &now.address);
            records.extend(judge::judge(before.as_ref(), &now, &Limits::default()));
            if let Err(error) = kept::store(&state_dir, task, &now) {
                let message =
                    format!("this look could not be kept, so the next one has nothing to compare with: {error}");
                records.push(Record::new(Kind::Check, "state", Status::Warning, message));
            }
        }
        Ok(records)
    }

    async fn look(&self, node: &mut Node, state_dir: &Path) -> Result<Snapshot, Failure> {
        let mut now = monitor::look::look(node).await.map_err(|trouble| {
            self.run.emit(&Record::new(Kind::Check, "server", Status::Critical, trouble.to_string()));
            Failure::from(trouble)
        })?;
        if let Some(run_id) = now.run_id() {
            let own = observer::added(state_dir, run_id);
            (now.own_hits, now.own_misses) = (own.hits, own.misses);
        }
        Ok(now)
    }

    /// `check`.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        self.emit_all(&self.checks("check").await?);
        Ok(())
    }

    /// `performance-monitor`: judged once against its last run, or figures at an interval and a judgement of each.
    pub(super) async fn monitor(&self, args: &MonitorArgs) -> Result<(), Failure> {
        if let Some(most) = args.hot_keys {
            return self.hot_keys(most).await;
        }
        let Some(interval) = args.interval else {
            self.emit_all(&self.checks("performance-monitor").await?);
            return Ok(());
        };
        if interval.0 < Duration::from_millis(100) {
            return Err(Failure::usage("--interval: shorter than 100ms measures mostly itself"));
        }
        let mut topology = self.topology(Which::Primaries).await?;
        let state_dir = state_directory()?;
        let mut before: Vec<Option<Snapshot>> = Vec::new();
        for node in &mut topology.nodes {
            before.push(Some(self.look(node, &state_dir).await?));
        }
        let mut looks = 0;
        let mut next = tokio::time::Instant::now();
        while args.count.is_none_or(|count| looks < count) {
            next += interval.0;
            tokio::select! {
                _ = self.cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep_until(next) => {}
            }
            for (node, before) in topology.nodes.iter_mut().zip(&mut before) {
                let now = match self.look(node, &state_dir).await {
                    Ok(now) => now,
                    Err(failure) if args.count.is_none() && failure.exit == Exit::Critical => {
                        // A watch that goes on outlives a server that comes back.
                        if let Ok(again) = node.another().await {
                            *node = again;
                        }
                        continue;
                    }
                    Err(failure) => return Err(failure),
                };
                if let Some(record) = before.as_ref().and_then(|before| rates::record(before, &now)) {
                    self.run.emit(&record);
                }
                let judged = judge::judge(before.as_ref(), &now, &Limits::default());
                for record in judged.iter().filter(|record| record.status != Status::Ok) {
                    self.run.emit(record);
                }
                *before = Some(now);
            }
            looks += 1;
        }
        Ok(())
    }

    /// The keys with the highest counters of use. Without an LFU policy the server counts none, and that is said: watching
    /// every command instead (MONITOR) would halve what a busy server can do.
    async fn hot_keys(&self, most: usize) -> Result<(), Failure> {
        let mut topology = self.topology(Which::Primaries).await?;
        let databases = DatabaseArgs { all_dbs: !topology.cluster };
        let parts = self.parts(&mut topology, Which::Primaries, &databases).await?;
        let ask = Ask { attributes: vec![Attribute::Frequency], ..Ask::default() };
        let mut top: TopN<(u32, Vec<u8>)> = TopN::new(most);
        let mut scan = Scan::start(parts, &ask, self.manners);
        while let Some(event) = scan.next(self.cancel).await {
            let Event::Batch { entries, .. } = event else { continue };
            for entry in entries {
                if let Some(frequency) = entry.frequency.map(u64::from).filter(|frequency| top.admits(*frequency)) {
                    top.offer((entry.db, entry.key), frequency, ());
                }
            }
        }
        let reports = scan.finish().await?;
        for ((db, name), frequency, ()) in top.iter() {
            let message = format!("counter of use {frequency} of 255, which grows with the logarithm of the uses");
            let record = Record::new(Kind::Metric, crate::key::subject(name), Status::Ok, message);
            self.run
                .emit(&record.label("section", "hot-key").label("db", db.to_string()).field("frequency", frequency));
        }
        self.emit_all(&Self::walks(&reports, 0));
        Ok(())
    }

    /// `report`: the checks and the memory analysis on one page.
    pub(super) async fn report(&self, args: &ReportArgs, settings: &Settings) -> Result<(), Failure> {
        let mut records = self.checks("report").await?;
        let memory = MemoryArgs {
            top: args.top,
            lengths: false,
            traceless: false,
            samples: DEFAULT_SAMPLES,
            replica: args.replica,
            purge: false,
            defrag: false,
            dry_run: false,
            databases: args.databases.clone(),
        };
        records.extend(self.memory_records(&memory, settings).await?);
        for record in records.iter().filter(|record| record.status != Status::Ok) {
            self.run.emit(record);
        }
        let about = crate::report::About { servers: vec![self.target.to_string()], generated: Timestamp::now() };
        let page = crate::report::render(&about, &records);
        durable::replace(&args.file, page.as_bytes(), 0o644).map_err(|error| Failure::critical(error.to_string()))?;
        let message = format!("open {}", args.file.display());
        self.run.emit(&Record::new(Kind::Metric, "report", Status::Ok, message).field("records", records.len()));
        Ok(())
    }
}

fn analysis_settings(top: usize, settings: &Settings) -> Result<analysis::Settings, Failure> {
    let big_bytes = settings.get::<HumanSize>(&SECTION, "big_key")?.0;
    Ok(analysis::Settings { top: top.max(10), big_bytes, ..analysis::Settings::at(Timestamp::now()) })
}

/// What a server says of its memory, and what it may not be asked.
async fn server_memory(node: &mut Node) -> Result<(ServerMemory, Vec<Record>), Failure> {
    let mut refused = Vec::new();
    let address = node.address.to_string();
    let mut denied = |what: &str, trouble: &Trouble| {
        let message = format!("{what} may not be asked: {trouble}");
        refused.push(Record::new(Kind::Finding, &address, Status::Denied, message).label("section", "finding"));
    };
    let info = match node.read_info(&["server", "memory", "stats", "keyspace"]).await {
        Ok(info) => info,
        Err(trouble @ Trouble::Denied(_)) => {
            denied("INFO", &trouble);
            Info::default()
        }
        Err(trouble) => return Err(trouble.into()),
    };
    let config = match node.config("*").await {
        Ok(config) => Some(config),
        Err(trouble @ Trouble::Denied(_)) => {
            denied("CONFIG GET", &trouble);
            None
        }
        Err(trouble) if trouble.may_pass() => return Err(trouble.into()),
        Err(_) => None,
    };
    let doctor = match node.call(redis::cmd("MEMORY").arg("DOCTOR")).await {
        Ok(value) => crate::node::text(&value),
        Err(trouble @ Trouble::Denied(_)) => {
            denied("MEMORY DOCTOR", &trouble);
            None
        }
        Err(trouble) if trouble.may_pass() => return Err(trouble.into()),
        Err(_) => None,
    };
    Ok((ServerMemory { info, config, doctor }, refused))
}

/// `rdb`: the same records from a file.
pub(super) fn rdb(
    args: &RdbArgs,
    run: &Run,
    settings: &Settings,
    output: Format,
    cancel: &Cancel,
) -> Result<(), Failure> {
    if !args.summary {
        streams(output)?;
    }
    let name = if args.file == Path::new("-") { "stdin".to_owned() } else { args.file.display().to_string() };
    let unreadable = |error: std::io::Error| Failure::usage(format!("cannot read {name}: {error}"));
    let (input, total): (Box<dyn std::io::Read>, Option<u64>) = if args.file == Path::new("-") {
        (Box::new(std::io::stdin().lock()), None)
    } else {
        let file = std::fs::File::open(&args.file).map_err(unreadable)?;
        let meta = file.metadata().map_err(unreadable)?;
        (Box::new(file), meta.is_file().then_some(meta.len()))
    };
    // A file that is damaged is no more than what was read of it so far.
    let damaged = |error: crate::rdb::RdbError| Failure::critical(format!("{name}: {error}"));
    let now = Timestamp::now();
    let mut scanner = crate::rdb::Scanner::open(input, total).map_err(damaged)?;
    let glob = args.pattern.as_ref().map(|pattern| Glob::new(pattern.as_bytes()));
    let mut analysis = Analysis::new(analysis_settings(args.top, settings)?);
    while let Some(entry) = scanner.next_key().map_err(damaged)? {
        if glob.as_ref().is_some_and(|glob| !glob.matches(&entry.key)) {
            continue;
        }
        if args.summary {
            analysis.add(&entry);
        } else {
            let record = keys::record(&entry, now);
            if output == Format::Table { run.emit(&record) } else { run.detail(&record) }
        }
        if cancel.is_cancelled() || run.reader_is_gone() {
            return Ok(());
        }
    }
    if args.summary {
        let report = analysis.finish();
        for record in where_memory_goes::records(&name, &report, args.top) {
            run.emit(&record);
        }
        for record in findings::findings(&report, None) {
            run.emit(&record);
        }
    }
    run.emit(&snapshot_record(&name, scanner.summary()));
    Ok(())
}

/// What a snapshot says of itself.
fn snapshot_record(name: &str, summary: &crate::rdb::Summary) -> Record {
    use crate::rdb::Checksum;
    let (mut status, checksum) = match summary.checksum {
        Checksum::Verified => (Status::Ok, "checksum verified"),
        Checksum::Disabled => (Status::Warning, "written without a checksum: damage would not be seen"),
        Checksum::Absent => (Status::Warning, "too old to have a checksum: damage would not be seen"),
        Checksum::Pending => (Status::Unknown, "not read to its end"),
    };
    let mut message = format!(
        "{} keys in {}, format {} {}, {checksum}",
        format_count(summary.keys),
        format_bytes(summary.bytes_read),
        summary.producer,
        summary.version
    );
    for (count, what) in [
        (summary.expired, "were past their time when it was written"),
        (summary.expiring_fields, "fields of hashes may expire on their own"),
        (summary.module_data, "pieces of data of modules"),
        (summary.functions, "libraries of functions"),
    ] {
        if count > 0 {
            message += &format!(", {} {what}", format_count(count));
        }
    }
    // redis-cli --rdb - lets the forty bytes through with which a primary marks the end.
    if summary.trailing_bytes > 0 && summary.trailing_bytes != 40 {
        if status == Status::Ok {
            status = Status::Warning;
        }
        message += &format!(", {} bytes behind its end", format_count(summary.trailing_bytes));
    }
    let mut record = Record::new(Kind::Check, name, status, message)
        .label("section", "snapshot")
        .field("keys", summary.keys)
        .field("expiring_keys", summary.expiring)
        .field("expired_keys", summary.expired)
        .field("expiring_fields", summary.expiring_fields)
        .field("functions", summary.functions)
        .field("size_bytes", summary.bytes_read)
        .field("trailing_bytes", summary.trailing_bytes)
        .field("format_version", summary.version);
    for field in summary.auxiliaries.iter().filter(|field| field.name == "redis-ver" || field.name == "valkey-ver") {
        record = record.label("written_by", format!("{} {}", field.name.trim_end_matches("-ver"), field.value));
    }
    record
}

/// A record a key makes no metric and no check.
fn streams(output: Format) -> Result<(), Failure> {
    match output {
        Format::Prometheus | Format::Nagios => {
            Err(Failure::usage("one record a key is written as table, ndjson or json")
                .hint("redis-maint check has the other formats"))
        }
        _ => Ok(()),
    }
}

fn read_positions(path: &Path) -> Result<Vec<Position>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::usage(format!("cannot read {}: {error}", path.display()))),
    };
    serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("{} does not hold the position of a walk: {error}", path.display()))
            .hint("remove the file to begin anew")
    })
}

fn keep_positions(path: &Path, positions: &[Position]) -> Result<(), Failure> {
    let text = serde_json::to_vec(positions).map_err(|error| Failure::critical(error.to_string()))?;
    durable::replace(path, &text, 0o600).map_err(|error| Failure::critical(error.to_string()))
}
