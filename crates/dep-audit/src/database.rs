//! `db`: the advisory database itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use maint_core::cli::{ChangeArgs, open_guard, state_directory};
use maint_core::durable;
use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::{DbAction, Pin, SECTION};
use crate::db::{Database, DbError, Packed, Stamp, pack, verify};
use crate::source;
use crate::work::Work;

/// Runs it.
///
/// # Errors
/// The database cannot be used, fetched or written.
pub fn run(action: &DbAction, work: &mut Work<'_>) -> Result<(), Failure> {
    match action {
        DbAction::Info => info(work),
        DbAction::Verify => check(work),
        DbAction::Pack { into, change } => {
            let from = named(work)?;
            open_guard(change, &mut work.settings, &work.cancel)?;
            write(&from, None, into, None, change, work)
        }
        DbAction::Fetch { from, into, pin, change } => fetch(from, into, pin.as_ref(), change, work),
        DbAction::Diff { old, new } => diff(old, new, work),
    }
}

fn named(work: &Work<'_>) -> Result<PathBuf, Failure> {
    let path: Option<PathBuf> = work.settings.optional(&SECTION, "db")?;
    path.ok_or_else(|| Failure::usage("no advisory database is named").hint("name one with --db PATH"))
}

fn unusable(error: &DbError) -> Failure {
    Failure::usage(error.to_string())
}

fn told(kind: Kind, stamp: &Stamp, status: Status, message: String) -> Record {
    Record::new(kind, stamp.path.display().to_string(), status, message)
        .field("form", stamp.form)
        .field("commit", &stamp.commit)
        .field("sha256", &stamp.sha256)
        .field("advisories", stamp.advisories)
        .field("newest", stamp.newest)
}

fn info(work: &mut Work<'_>) -> Result<(), Failure> {
    let source = source::open(work)?;
    let stamp = &source.database.stamp;
    work.subject = stamp.path.display().to_string();
    let (status, message) = match source.warning {
        Some(warning) => (Status::Warning, warning),
        None => (Status::Ok, format!("{} advisories, the newest of {}", stamp.advisories, stamp.newest)),
    };
    work.run.emit(&told(Kind::Check, stamp, status, message).field("age_seconds", source.age.as_secs()));
    Ok(())
}

fn check(work: &mut Work<'_>) -> Result<(), Failure> {
    let path = named(work)?;
    work.subject = path.display().to_string();
    let record = match verify(&path) {
        Ok(stamp) => told(Kind::Check, &stamp, Status::Ok, format!("whole: {} advisories", stamp.advisories)),
        Err(error) => Record::new(Kind::Check, &work.subject, Status::Critical, error.to_string()),
    };
    work.run.emit(&record);
    Ok(())
}

/// Packs a directory. What is at `into` is replaced at once or not at all.
fn write(
    from: &Path,
    called: Option<&str>,
    into: &Path,
    pin: Option<&Pin>,
    change: &ChangeArgs,
    work: &mut Work<'_>,
) -> Result<(), Failure> {
    work.subject = into.display().to_string();
    if !from.is_dir() {
        return Err(Failure::usage(format!("{} is no directory of advisories to be packed", from.display())));
    }
    let Packed { bytes, stamp } = pack(from).map_err(|error| unusable(&error))?;
    let place = called.map_or_else(|| from.display().to_string(), str::to_owned);
    if let Some(pin) = pin {
        hold(pin, &stamp, &place)?;
    }
    let told = |kind, status, message: String| {
        told(kind, &Stamp { path: into.to_owned(), ..stamp.clone() }, status, message)
            .field("size_bytes", bytes.len())
            .field("from", &place)
    };
    if change.dry_run {
        let message = format!("{} advisories of {place}, the newest of {}", stamp.advisories, stamp.newest);
        work.run.emit(&told(Kind::Plan, Status::Planned, message));
        return Ok(());
    }
    work.run.journal_in(&state_directory()?)?;
    durable::replace(into, &bytes, 0o644)
        .map_err(|error| Failure::critical(format!("cannot write {}: {error}", into.display())))?;
    let after = verify(into).map_err(|error| Failure::critical(error.to_string()))?;
    let (status, message) = if after.sha256 == stamp.sha256 {
        (Status::Ok, format!("{} advisories, the newest of {}", after.advisories, after.newest))
    } else {
        (Status::Ineffective, "written, but it reads back as something else".to_owned())
    };
    work.run.emit(&told(Kind::Step, status, message));
    Ok(())
}

fn fetch(from: &str, into: &Path, pin: Option<&Pin>, change: &ChangeArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(change, &mut work.settings, &work.cancel)?;
    from.clone_into(&mut work.subject);
    let place = tempfile::tempdir().map_err(|error| Failure::critical(format!("cannot make a directory: {error}")))?;
    let checkout = place.path().join("advisories");
    std::fs::create_dir(&checkout).map_err(|error| Failure::critical(format!("cannot make a directory: {error}")))?;
    let wanted = match pin {
        Some(Pin::Commit(commit)) => commit,
        _ => "HEAD",
    };
    git(from, &checkout, &["init", "--quiet"])?;
    git(from, &checkout, &["fetch", "--quiet", "--depth", "1", "--", from, wanted])?;
    git(from, &checkout, &["-c", "advice.detachedHead=false", "checkout", "--quiet", "FETCH_HEAD"])?;
    write(&checkout, Some(from), into, pin, change, work)
}

/// Runs git for a checkout; the working directory stays ours, as `from` may be a path.
fn git(from: &str, checkout: &Path, args: &[&str]) -> Result<(), Failure> {
    let mut git = std::process::Command::new("git");
    git.arg("--git-dir").arg(checkout.join(".git")).arg("--work-tree").arg(checkout).args(args);
    // Nobody is there to be asked for a password.
    git.env("GIT_TERMINAL_PROMPT", "0").stdin(std::process::Stdio::null());
    let output = git.output().map_err(|error| Failure::usage(format!("cannot run git: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().filter(|c| !c.is_control()).collect();
    Err(Failure::critical(format!("git cannot get {from}: {said}")))
}

/// Whether what was got is what was wanted.
fn hold(pin: &Pin, stamp: &Stamp, from: &str) -> Result<(), Failure> {
    let (wanted, got) = match pin {
        Pin::Commit(commit) => (commit, stamp.commit.as_deref().unwrap_or("no commit")),
        Pin::Sha256(digest) => (digest, stamp.sha256.as_str()),
    };
    if wanted == got {
        return Ok(());
    }
    Err(Failure::critical(format!("{from} has {got}, and {wanted} was asked for: nothing was written"))
        .hint("look at what changed before you pin the other one"))
}

fn diff(old: &Path, new: &Path, work: &mut Work<'_>) -> Result<(), Failure> {
    let open = |path| Database::open(path).map_err(|error| unusable(&error));
    let (before, after) = (open(old)?, open(new)?);
    work.subject = format!("{} to {}", old.display(), new.display());
    let ids = |database: &Database| -> BTreeSet<String> {
        database.advisories().iter().map(|advisory| advisory.id.clone()).collect()
    };
    let (had, has) = (ids(&before), ids(&after));
    for (database, others, change) in [(&after, &had, "new"), (&before, &has, "gone")] {
        for advisory in database.advisories().iter().filter(|advisory| !others.contains(&advisory.id)) {
            let message = format!("{change}: {}", advisory.title);
            let record = Record::new(Kind::Metric, &advisory.id, Status::Ok, message)
                .field("crate", &advisory.package)
                .field("date", advisory.date)
                .field("severity", advisory.severity);
            work.run.emit(&record);
        }
    }
    Ok(())
}
