//! The advisory database that a run judges by, and whether it is worth anything.
//!
//! A database that is missing, empty, damaged or old makes every lock file look healthy. So it is opened here and nowhere
//! else, and what cannot be relied on ends the run as unknown.

use std::path::PathBuf;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use maint_core::failure::Failure;
use maint_core::units::{HumanDuration, format_seconds};

use crate::cli::SECTION;
use crate::db::{Database, Stamp};
use crate::work::Work;

/// Advisories are dated by days, somewhere in the world.
const AHEAD: SignedDuration = SignedDuration::from_hours(48);

/// A database, and how old its newest advisory is.
#[derive(Debug)]
pub struct Source {
    /// The advisories.
    pub database: Database,
    /// How long ago the newest one was made public.
    pub age: SignedDuration,
    /// It is old enough to be worth a warning: what to say.
    pub warning: Option<String>,
}

/// Opens the database that `--db`, the environment or `[dep-audit]` name.
///
/// # Errors
/// None is named; it is missing, empty or damaged; its newest advisory is from the future, or it is older than
/// `fail_db_age`.
pub fn open(work: &Work<'_>) -> Result<Source, Failure> {
    let path: Option<PathBuf> = work.settings.optional(&SECTION, "db")?;
    let path = path.ok_or_else(|| {
        Failure::usage("no advisory database is named")
            .hint("name one with --db PATH or DEP_AUDIT_DB; `dep-audit db fetch` makes one")
    })?;
    let database = Database::open(&path).map_err(|error| Failure::usage(error.to_string()))?;
    let age = age(&database.stamp, work.now)?;
    let limit = |key| -> Result<SignedDuration, Failure> {
        let limit: HumanDuration = work.settings.get(&SECTION, key)?;
        Ok(SignedDuration::try_from(limit.0).unwrap_or(SignedDuration::MAX))
    };
    let (warn, fail) = (limit("max_db_age")?, limit("fail_db_age")?);
    let told =
        format!("the newest of {} advisories is {} old", database.stamp.advisories, format_seconds(age.as_secs_f64()));
    if age > fail {
        return Err(Failure::usage(format!("{told}: nothing can be told by {}", path.display()))
            .hint("`dep-audit db fetch` gets a newer one; fail_db_age is the limit"));
    }
    Ok(Source { database, age, warning: (age > warn).then_some(told) })
}

fn age(stamp: &Stamp, now: Timestamp) -> Result<SignedDuration, Failure> {
    let newest = stamp
        .newest
        .to_zoned(TimeZone::UTC)
        .map_err(|error| Failure::usage(format!("{}: {error}", stamp.path.display())))?
        .timestamp();
    let age = now.duration_since(newest);
    if age < -AHEAD {
        return Err(Failure::usage(format!(
            "the newest advisory of {} is dated {}, which is to come: this machine's clock or the database is wrong",
            stamp.path.display(),
            stamp.newest
        )));
    }
    Ok(age.max(SignedDuration::ZERO))
}
