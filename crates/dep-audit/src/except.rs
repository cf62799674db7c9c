//! `except`: findings that somebody lets pass: adding, renewing, ending, and what other programs make of them.

use std::path::Path;

use maint_core::cli::{ChangeArgs, open_guard, state_directory};
use maint_core::durable;
use maint_core::failure::Failure;
use maint_core::lock::RunLock;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::audit::audit;
use crate::cli::{AddArgs, ExceptAction, ImportArgs, InputArgs};
use crate::db::Database;
use crate::exceptions::{
    Approval, Defaults, Document, Exception, Exceptions, Rules, Standing, read_foreign, write_foreign,
};
use crate::source;
use crate::work::Work;

/// Does it.
///
/// # Errors
/// The file does not hold, what is named is not in it, or it cannot be written.
pub fn run(action: &ExceptAction, work: &mut Work<'_>) -> Result<(), Failure> {
    match action {
        ExceptAction::List => list(work),
        ExceptAction::Check => check(work),
        ExceptAction::Add(args) => add(args, work),
        ExceptAction::Renew { name, until, reason, package, change } => {
            let rules = Rules::of(work)?;
            if *until < rules.today || *until > rules.latest {
                return Err(out_of_reach(rules));
            }
            let what = format!("holds until {until}");
            alter(name, package.as_deref(), change, &what, work, |document, index| {
                document.renew(index, *until, reason.as_deref())
            })
        }
        ExceptAction::Revoke { name, package, change } => {
            alter(name, package.as_deref(), change, "holds no more", work, Document::revoke)
        }
        ExceptAction::Prune { change } => prune(change, work),
        ExceptAction::Import(args) => import(args, work),
        ExceptAction::Export { to, into, change } => {
            let exceptions = existing(work)?;
            let _lock = begin(into, change, work)?;
            let rules = Rules::of(work)?;
            let in_force = |one: &&Exception| one.standing(None, rules) == Standing::InForce;
            let wanted: Vec<&Exception> = exceptions.all.iter().filter(in_force).collect();
            let before = match std::fs::read_to_string(into) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(Failure::usage(format!("cannot read {}: {error}", into.display()))),
            };
            let after = write_foreign(&before, *to, &wanted)
                .map_err(|failure| Failure::usage(format!("{}: {}", into.display(), failure.message)))?;
            let count = wanted.iter().filter(|one| !one.id.is_empty()).count();
            let what = match (count, before == after) {
                (_, true) => "it is so already".to_owned(),
                (count, false) => format!("{count} exceptions are in its list of ignored advisories"),
            };
            if before != after && !change.dry_run {
                durable::replace(into, after.as_bytes(), 0o644)
                    .map_err(|error| Failure::usage(format!("cannot write {}: {error}", into.display())))?;
            }
            tell(&into.display().to_string(), &what, change, work);
            Ok(())
        }
    }
}

fn out_of_reach(rules: Rules) -> Failure {
    Failure::usage(format!("the last day must be one from {} to {}", rules.today, rules.latest))
        .hint("`[dep-audit] max_exception` is how far anybody may go")
}

fn existing(work: &mut Work<'_>) -> Result<Exceptions, Failure> {
    let found = Exceptions::find(work)?;
    let found = found.ok_or_else(|| {
        Failure::usage("there is no dep-audit.toml here or above").hint("`dep-audit except add` makes one")
    })?;
    work.subject = found.path.display().to_string();
    Ok(found)
}

fn list(work: &mut Work<'_>) -> Result<(), Failure> {
    let exceptions = existing(work)?;
    let rules = Rules::of(work)?;
    for one in &exceptions.all {
        let standing = one.standing(None, rules);
        work.run.emit(&record(one, standing, Status::Ok, one.reason.clone()));
    }
    Ok(())
}

/// How near the end of one is worth telling.
const SOON_DAYS: i32 = 14;

fn check(work: &mut Work<'_>) -> Result<(), Failure> {
    let exceptions = existing(work)?;
    let database = source::open(work)?.database;
    let rules = Rules::of(work)?;
    for one in &exceptions.all {
        let standing = one.standing(Some(&database), rules);
        let left = rules.today.until(one.until).map(|span| span.get_days()).unwrap_or_default();
        let (status, message) = match standing {
            Standing::InForce if left <= SOON_DAYS => (Status::Ok, format!("holds for {left} days more")),
            Standing::InForce => (Status::Ok, format!("holds until {}", one.until)),
            Standing::Expired => (Status::Warning, format!("ended with {}", one.until)),
            Standing::TooFar => (Status::Warning, format!("the policy lets nobody go further than {}", rules.latest)),
            Standing::Pending => (Status::Warning, "nobody has agreed to it".to_owned()),
            Standing::Revoked => (Status::Ok, "holds no more".to_owned()),
            Standing::NotJudged => (Status::Ok, "kept for other programs: licences are not judged here".to_owned()),
            Standing::NoAdvisory => {
                (Status::Unknown, "it is no advisory of the database: it is misspelt, or was withdrawn".to_owned())
            }
        };
        work.run.emit(&record(one, standing, status, message));
    }
    Ok(())
}

fn record(one: &Exception, standing: Standing, status: Status, message: String) -> Record {
    let mut record = Record::new(Kind::Check, one.title(), status, message).field("standing", standing);
    if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(one) {
        for (name, value) in fields {
            // What a record's own status is called.
            let name = if name == "status" { "approval".to_owned() } else { name };
            record = record.field(&name, value);
        }
    }
    record.field("line", one.line)
}

/// The lock of a file that is to be changed, unless nothing is; the journal is open after it.
fn begin(file: &Path, change: &ChangeArgs, work: &mut Work<'_>) -> Result<Option<RunLock>, Failure> {
    open_guard(change, &mut work.settings, &work.cancel)?;
    if change.dry_run {
        return Ok(None);
    }
    work.run.journal_in(&state_directory()?)?;
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    work.alone(&format!("except {}", whole.display())).map(Some)
}

fn tell(subject: &str, what: &str, change: &ChangeArgs, work: &Work<'_>) {
    let (kind, status) = if change.dry_run { (Kind::Plan, Status::Planned) } else { (Kind::Step, Status::Ok) };
    work.run.emit(&Record::new(kind, subject, status, what));
}

fn add(args: &AddArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let path = Exceptions::place(work).ok().flatten().map_or_else(|| Exceptions::new_place(work), Ok)?;
    work.subject = path.display().to_string();
    let rules = Rules::of(work)?;
    if args.until < rules.today || args.until > rules.latest {
        return Err(out_of_reach(rules));
    }
    let one = Exception {
        id: args.id.clone(),
        kind: args.kind,
        package: args.package.clone(),
        version: args.version.clone(),
        lockfile: args.lockfile.clone(),
        reason: args.reason.clone(),
        owner: args.owner.clone(),
        until: args.until,
        mitigation: args.mitigation.clone(),
        approved_by: args.approved_by.clone(),
        approval_date: args.approved_by.is_some().then_some(rules.today),
        review_date: None,
        status: if args.pending { Approval::Pending } else { Approval::Approved },
        line: 0,
    };
    if !one.id.is_empty() {
        let database = source::open(work)?.database;
        known(&one.id, &database)?;
    }
    let _lock = begin(&path, &args.change, work)?;
    let mut document = Document::open(&path)?;
    if path.is_file()
        && let Some(before) = Exceptions::load(&path)?.all.iter().find(|before| is_same(before, &one))
    {
        return Err(Failure::usage(format!("{} stands in line {} already", before.title(), before.line))
            .hint("`dep-audit except renew` gives it another last day"));
    }
    document.add(&one)?;
    document.check(&path)?;
    if !args.change.dry_run {
        document.save(&path)?;
    }
    tell(&one.title(), &format!("passes until {}", one.until), &args.change, work);
    Ok(())
}

fn known(id: &str, database: &Database) -> Result<(), Failure> {
    if database.find(id).is_some() {
        return Ok(());
    }
    let names = database.advisories().iter().map(|advisory| advisory.id.as_str());
    Err(Failure::usage(format!("{id} is no advisory of the database{}", maint_core::config::nearest(id, names))))
}

fn is_same(a: &Exception, b: &Exception) -> bool {
    a.status != Approval::Revoked
        && a.id.eq_ignore_ascii_case(&b.id)
        && (&a.package, &a.version, &a.lockfile) == (&b.package, &b.version, &b.lockfile)
}

fn alter(
    name: &str,
    package: Option<&str>,
    change: &ChangeArgs,
    what: &str,
    work: &mut Work<'_>,
    with: impl FnOnce(&mut Document, usize) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let exceptions = existing(work)?;
    let _lock = begin(&exceptions.path, change, work)?;
    // Another run may have been at it until the lock was ours.
    let exceptions = Exceptions::load(&exceptions.path)?;
    let is_it = |one: &Exception| {
        let is_named = one.id.eq_ignore_ascii_case(name) || (one.id.is_empty() && one.package == name);
        is_named && package.is_none_or(|package| one.package == package)
    };
    let found: Vec<usize> =
        exceptions.all.iter().enumerate().filter(|(_, one)| is_it(one)).map(|(index, _)| index).collect();
    let index = match found.as_slice() {
        [index] => *index,
        [] => {
            return Err(Failure::usage(format!("there is no exception {name} in {}", exceptions.path.display()))
                .hint("`dep-audit except list` has them all"));
        }
        several => {
            let lines: Vec<String> = several
                .iter()
                .filter_map(|&index| exceptions.all.get(index))
                .map(|one| format!("line {} ({})", one.line, one.title()))
                .collect();
            return Err(
                Failure::usage(format!("{name} stands in {}", lines.join(" and in "))).hint("say which with --crate")
            );
        }
    };
    let mut document = Document::open(&exceptions.path)?;
    with(&mut document, index)?;
    document.check(&exceptions.path)?;
    if !change.dry_run {
        document.save(&exceptions.path)?;
    }
    tell(name, what, change, work);
    Ok(())
}

fn prune(change: &ChangeArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let exceptions = existing(work)?;
    let _lock = begin(&exceptions.path, change, work)?;
    let exceptions = Exceptions::load(&exceptions.path)?;
    let input = InputArgs { lockfiles: Vec::new(), root: vec![exceptions.directory()] };
    let mut report = audit(&input, false, work)?;
    if work.cancel.is_cancelled() {
        // What was not looked at may need any of them.
        return Ok(());
    }
    if let Some(unread) = report.unread.first() {
        return Err(Failure::usage(format!("nothing is taken out: {}", unread.why))
            .hint("what cannot be looked at may need any of them"));
    }
    let marked = exceptions.mark(&mut report, Rules::of(work)?);
    let mut gone = Vec::new();
    for (index, (one, (standing, needed))) in exceptions.all.iter().zip(marked).enumerate() {
        let why = match standing {
            Standing::Revoked => "it was revoked",
            // Whether a version was taken back is cargo's cache to know.
            Standing::InForce | Standing::Expired if !needed && one.id.is_empty() && report.unknown_yanked > 0 => {
                let why = "it stays: which versions were taken back is not known of every crate";
                work.run.emit(&Record::new(Kind::Check, one.title(), Status::Warning, why));
                continue;
            }
            Standing::InForce | Standing::Expired if !needed => "nothing needs it",
            _ => continue,
        };
        gone.push(index);
        tell(&one.title(), &format!("taken out: {why}"), change, work);
    }
    if !change.dry_run && !gone.is_empty() {
        let mut document = Document::open(&exceptions.path)?;
        document.remove(&gone)?;
        document.save(&exceptions.path)?;
    }
    Ok(())
}

fn import(args: &ImportArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let path = Exceptions::place(work).ok().flatten().map_or_else(|| Exceptions::new_place(work), Ok)?;
    work.subject = path.display().to_string();
    let rules = Rules::of(work)?;
    let _lock = begin(&path, &args.change, work)?;
    let mut document = Document::open(&path)?;
    let mut all = if path.is_file() { Exceptions::load(&path)?.all } else { Vec::new() };
    let defaults = Defaults { owner: args.owner.clone(), until: args.until, reason: args.reason.clone() };
    for file in &args.files {
        for one in read_foreign(file, &defaults)? {
            if all.iter().any(|before| is_same(before, &one)) {
                tell(&one.title(), "is there already", &args.change, work);
                continue;
            }
            let what = match one.standing(None, rules) {
                Standing::InForce => format!("passes until {}", one.until),
                Standing::Expired => format!("taken over although it ended with {}", one.until),
                Standing::TooFar => format!("taken over; the policy lets nobody go further than {}", rules.latest),
                _ => "taken over; it does not hold".to_owned(),
            };
            document.add(&one)?;
            tell(&one.title(), &what, &args.change, work);
            all.push(one);
        }
    }
    document.check(&path)?;
    if !args.change.dry_run {
        document.save(&path)?;
    }
    Ok(())
}
