//! `outdated`: what is behind, how far, and what holds it back. It asks nobody: cargo's cache knows.
//!
//! Being behind is no fault by itself, so it is told without a warning; a version that was taken back is one, and a crate
//! that the cache does not know is unknown.

use std::collections::BTreeSet;

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use semver::Version;

use crate::cli::OutdatedArgs;
use crate::lock::Lock;
use crate::registry::{Registry, Release};
use crate::update::model::{Known, Model, Moved};
use crate::update::workspace::Workspace;
use crate::work::Work;

/// A year of libyears: 365.25 days.
const YEAR_SECONDS: f64 = 31_557_600.0;

/// One locked package beside what there is.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    package: String,
    locked: Version,
    /// The newest that all requirements accept.
    compatible: Version,
    /// The newest that they accept and that builds with the compiler the workspace is for, where it says which.
    msrv: Option<Version>,
    /// The newest.
    latest: Version,
    /// How long ago the locked one was published.
    age_seconds: Option<f64>,
    /// From the locked one to the newest; `None` where one of them has no date.
    behind_seconds: Option<f64>,
    yanked: bool,
    /// Who requires what, so that the newest is out of reach.
    held_by: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// There is no lock file, no manifest beside it, no cache of cargo's, or a named crate is not locked.
pub fn run(args: &OutdatedArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let lockfile = crate::inputs::nearest()?;
    work.subject = lockfile.display().to_string();
    let lock = Lock::load(&lockfile).map_err(|error| Failure::usage(error.to_string()))?;
    let workspace = Workspace::of(&lock)?;
    let registry = Registry::open_for(&workspace.directory)?;
    let known = crate::update::known(&lock, &registry, Known::new())?;
    let model = Model::new(&lock, &workspace.manifests, known, workspace.rust_version.clone());
    for name in &args.packages {
        if !model.nodes.iter().any(|node| node.movable && node.name == *name) {
            return Err(Failure::usage(format!("{name} of the registry is not in {}", lockfile.display()))
                .hint("`cargo tree` shows what is locked"));
        }
    }
    let is_meant = |name: &str| args.packages.is_empty() || args.packages.iter().any(|package| package == name);
    let mut unknown = BTreeSet::new();
    let (mut looked_at, mut behind, mut yanked, mut total) = (0_usize, 0_usize, 0_usize, 0.0);
    for index in 0..model.nodes.len() {
        let Some(node) = model.node(index).filter(|node| node.movable && is_meant(&node.name)) else { continue };
        let Some(row) = row(&model, index, work.now) else {
            unknown.insert(format!("{}@{}", node.name, node.version));
            continue;
        };
        looked_at += 1;
        yanked += usize::from(row.yanked);
        total += row.behind_seconds.unwrap_or(0.0) / YEAR_SECONDS;
        let is_behind = row.latest > row.locked;
        behind += usize::from(is_behind);
        if is_behind || row.yanked || !args.packages.is_empty() {
            work.run.emit(&told(&row));
        }
    }
    if !unknown.is_empty() {
        let names: Vec<&str> = unknown.iter().map(String::as_str).collect();
        let message =
            format!("cargo's cache of the index does not know {}; `cargo update --dry-run` fills it", names.join(", "));
        work.run.emit(&Record::new(Kind::Check, "index", Status::Unknown, message).field("unknown", &names));
    }
    let message = format!("{behind} of {looked_at} are behind, {total:.1} libyears; {yanked} were taken back");
    let record = Record::new(Kind::Metric, lockfile.display().to_string(), Status::Ok, message)
        .field("packages", looked_at)
        .field("behind", behind)
        .field("yanked", yanked)
        .field("unknown", unknown.len())
        .field("libyears", total);
    work.run.emit(&record);
    Ok(())
}

/// What is known of a locked package; `None` where its crate, or the locked version, is not known.
fn row(model: &Model, index: usize, now: Timestamp) -> Option<Row> {
    let node = model.node(index)?;
    let locked = model.release(&node.name, &node.version)?;
    let nothing = Moved::new();
    let accepted = |release: &&Release| model.refusals(index, &release.version, &nothing).is_empty();
    let latest = model.above(index, &node.version).next_back().unwrap_or(locked);
    let compatible = model.above(index, &node.version).rev().find(accepted).unwrap_or(locked);
    let msrv = model.rust_version.is_some().then(|| {
        let builds = |release: &&Release| !model.is_too_new_for_the_compiler(release, &node.name, &node.version);
        model.above(index, &node.version).rev().filter(builds).find(accepted).unwrap_or(locked).version.clone()
    });
    let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64().max(0.0);
    let held_by = model.refusals(index, &latest.version, &nothing).into_iter().filter_map(|refusal| {
        let by = model.node(refusal.dependant)?;
        let requires = refusal.requirement.map_or_else(|| "something unknown".to_owned(), |r| r.to_string());
        Some(format!("{}@{} requires {requires}", by.name, by.version))
    });
    Some(Row {
        package: node.name.clone(),
        locked: node.version.clone(),
        compatible: compatible.version.clone(),
        msrv,
        latest: latest.version.clone(),
        age_seconds: locked.published.map(|published| seconds(published, now)),
        behind_seconds: locked.published.zip(latest.published).map(|(from, to)| seconds(from, to)),
        yanked: locked.yanked,
        held_by: held_by.collect(),
    })
}

fn told(row: &Row) -> Record {
    let mut message = if row.latest == row.locked {
        "the newest".to_owned()
    } else if row.compatible == row.locked {
        "nothing newer is accepted".to_owned()
    } else {
        format!("`cargo update` may bring {}", row.compatible)
    };
    if !row.held_by.is_empty() {
        message.push_str(&format!("; held back: {}", row.held_by.join(", ")));
    }
    let (kind, status) = if row.yanked { (Kind::Finding, Status::Warning) } else { (Kind::Metric, Status::Ok) };
    if row.yanked {
        message = format!("it was taken back; {message}");
    }
    Record::new(kind, format!("{}@{}", row.package, row.locked), status, message)
        .field("crate", &row.package)
        .field("locked", &row.locked)
        .field("compatible", &row.compatible)
        .field("msrv_compatible", &row.msrv)
        .field("latest", &row.latest)
        .field("age_seconds", row.age_seconds)
        .field("age_days", row.age_seconds.map(|age| age / 86_400.0))
        .field("behind_seconds", row.behind_seconds)
        .field("libyears", row.behind_seconds.map(|behind| behind / YEAR_SECONDS))
        .field("yanked", row.yanked)
        .field("held_by", &row.held_by)
}
