//! `secrets check`: what is wrong with secrets that are there. It only looks.

use std::path::Path;

use jiff::Timestamp;
use maint_core::cli::state_directory;
use maint_core::failure::Failure;
use maint_core::record::{Kind as RecordKind, Record};
use maint_core::status::Status;

use super::inspect::{Inspected, inspect};
use super::spec::{Apply, Form, Kind, Recipe, SecretSpec, Spec};
use super::state::{Fingerprints, Note, Store};
use super::{jwt, scram, strength, undumpable, value};
use crate::work::Work;

/// How old a secret is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Age {
    /// At least.
    pub seconds: f64,
    /// `note`, if it was made or rotated here; `file`, if only the time of the file's last change is known.
    pub from: &'static str,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    code: &'static str,
    status: Status,
    message: String,
}

fn warning(code: &'static str, message: impl Into<String>) -> Problem {
    Problem { code, status: Status::Warning, message: message.into() }
}

fn critical(code: &'static str, message: impl Into<String>) -> Problem {
    Problem { code, status: Status::Critical, message: message.into() }
}

/// What is known of one secret.
struct Known<'a> {
    name: &'a str,
    secret: &'a SecretSpec,
    seen: Option<Inspected<'a>>,
    /// To compare with others; none if there is no secret.
    fingerprint: Option<String>,
    problems: Vec<Problem>,
    age: Option<Age>,
}

/// Checks all secrets of a specification.
///
/// # Errors
/// The specification does not hold, or the state directory cannot be read.
pub fn run(spec: &Path, work: &mut Work<'_>) -> Result<(), Failure> {
    undumpable();
    let spec = Spec::load(spec)?;
    work.subject = spec.path.display().to_string();
    let state = state_directory()?;
    let prints = Fingerprints::open(&state, false)?;
    let mut all: Vec<Known<'_>> = Vec::new();
    for (name, secret) in &spec.secrets {
        let store = Store::of(&state, &spec, name);
        all.push(examine(name, secret, &store, &prints, work.now));
    }
    let reused = reused(&all);
    for (known, reused) in all.iter_mut().zip(reused) {
        known.problems.extend(reused);
    }
    for known in &all {
        let shown = known.seen.as_ref().and_then(|seen| seen.value.as_ref());
        let shown = shown.and_then(|value| prints.shown(&known.secret.recipe, value));
        for (number, record) in records(known).into_iter().enumerate() {
            let record = record.field("kind", known.secret.kind.as_str());
            let record = match &shown {
                Some(fingerprint) => record.field("fingerprint", fingerprint),
                None => record,
            };
            // Once a secret, or a collector of metrics would have it as often as there are problems.
            work.run.emit(&match known.age.filter(|_| number == 0) {
                Some(age) => record.field("age_seconds", age.seconds).field("age_from", age.from),
                None => record,
            });
        }
    }
    Ok(())
}

fn records(known: &Known<'_>) -> Vec<Record> {
    let record = |status, message: &str| Record::new(RecordKind::Check, known.name, status, message);
    if known.problems.is_empty() {
        return vec![record(Status::Ok, "nothing is wrong with it")];
    }
    let each = known.problems.iter();
    each.map(|problem| record(problem.status, &problem.message).label("code", problem.code)).collect()
}

fn examine<'a>(
    name: &'a str,
    secret: &'a SecretSpec,
    store: &Store,
    prints: &Fingerprints,
    now: Timestamp,
) -> Known<'a> {
    let mut known = Known { name, secret, seen: None, fingerprint: None, problems: Vec::new(), age: None };
    known.problems.extend(rotating(secret, store, now));
    let seen = match inspect(secret) {
        Ok(seen) => seen,
        Err(failure) => {
            known.problems.push(critical("unreadable", failure.message));
            return known;
        }
    };
    let note = store.note();
    known.problems.extend(together(&seen));
    known.problems.extend(access(&seen));
    if let Some(value) = &seen.value {
        let fingerprint = prints.of(&secret.recipe, value);
        let made_here = note.as_ref().is_some_and(|note| note.fingerprint == fingerprint);
        known.problems.extend(strong(secret, value, made_here));
        known.fingerprint = Some(fingerprint);
    }
    known.problems.extend(iterations(secret, &seen));
    known.age = age(secret, &seen, note.as_ref(), prints, now);
    known.problems.extend(too_old(secret, known.age));
    known.seen = Some(seen);
    known
}

/// How old the secret is that is in use; `None` when there is none.
pub fn age(
    secret: &SecretSpec,
    seen: &Inspected<'_>,
    note: Option<&Note>,
    prints: &Fingerprints,
    now: Timestamp,
) -> Option<Age> {
    let value = seen.value.as_ref()?;
    let since = |time: Timestamp| (now.as_duration() - time.as_duration()).as_secs_f64().max(0.0);
    if let Some(note) = note.filter(|note| note.fingerprint == prints.of(&secret.recipe, value)) {
        return Some(Age { seconds: since(note.made), from: "note" });
    }
    // It has not changed since any of its files has.
    let files =
        seen.found.iter().filter(|(destination, found)| destination.form == Form::Value && found.value.is_some());
    let oldest = files.filter_map(|(_, found)| found.facts.map(|facts| facts.modified)).min()?;
    Some(Age { seconds: since(oldest), from: "file" })
}

fn rotating(secret: &SecretSpec, store: &Store, now: Timestamp) -> Option<Problem> {
    if !store.is_rotating() {
        return None;
    }
    if let Apply::Jwt { overlap } = secret.apply
        && let Ok(Some(rotation)) = store.rotation::<jwt::Rotation>()
    {
        return (rotation.next_at(overlap) <= now)
            .then(|| warning("rotating", "the next step of its rotation is due: run `cert-rotate secrets rotate`"));
    }
    Some(warning("rotating", "a rotation of it was begun and not ended: run `cert-rotate secrets rotate`"))
}

fn together(seen: &Inspected<'_>) -> Vec<Problem> {
    let differs = seen.conflicts.iter().map(|conflict| critical("differs", conflict));
    let missing =
        seen.missing.iter().map(|destination| critical("missing", format!("it is not in {}", destination.place)));
    differs.chain(missing).collect()
}

fn access(seen: &Inspected<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (destination, found) in &seen.found {
        let (Some(facts), wish) = (found.facts, destination.wish) else { continue };
        let path = destination.place.path().display();
        let mode = facts.mode;
        if destination.form != Form::Jwks && destination.form != Form::User && mode & 0o007 != 0 {
            problems
                .push(critical("mode", format!("every user of this host may read or write {path} (mode {mode:04o})")));
        } else if mode & 0o002 != 0 {
            problems.push(critical("mode", format!("every user of this host may write {path} (mode {mode:04o})")));
        } else if let Some(wanted) = wish.mode.filter(|wanted| *wanted != mode) {
            problems.push(warning("mode", format!("{path} has mode {mode:04o} instead of {wanted:04o}")));
        } else if wish.mode.is_none() && destination.form != Form::Jwks && mode & 0o070 != 0 {
            problems.push(warning(
                "mode",
                format!("a group may read or write {path} (mode {mode:04o}), and no mode is given"),
            ));
        }
        for (what, is, wanted) in [("user", facts.user, wish.user), ("group", facts.group, wish.group)] {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != is) {
                problems.push(warning("owner", format!("{path} belongs to {what} {is} instead of {wanted}")));
            }
        }
    }
    problems.dedup();
    problems
}

fn strong(secret: &SecretSpec, value: &value::Value, made_here: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(why) = value::malformed(&secret.recipe, value) {
        problems.push(warning("malformed", format!("it is not as the specification has it: {why}")));
    }
    if matches!(secret.recipe, Recipe::Jwt(_)) {
        return problems;
    }
    if let Some(word) = strength::placeholder(value.expose()) {
        problems.push(critical("placeholder", format!("it is made of `{word}`, which everybody tries")));
        return problems;
    }
    let bits = match &secret.recipe {
        _ if !made_here => strength::at_most(value.expose()),
        Recipe::Password { length, classes } => strength::of_password(*length, classes),
        Recipe::Random(bytes) | Recipe::Hex(bytes) | Recipe::Base64(bytes) => *bytes as f64 * 8.0,
        Recipe::Uuid | Recipe::Jwt(_) => 122.0,
    };
    let message = format!("it has {}{bits:.0} bits", if made_here { "" } else { "at most " });
    if bits < strength::CRITICAL_BITS {
        problems.push(critical("weak", format!("{message}: it can be guessed")));
    } else if bits < strength::WARN_BITS {
        problems.push(warning("weak", format!("{message}; {:.0} are asked for", strength::WARN_BITS)));
    }
    problems
}

fn iterations(secret: &SecretSpec, seen: &Inspected<'_>) -> Vec<Problem> {
    if secret.kind != Kind::PgScram {
        return Vec::new();
    }
    let verifiers = seen.found.iter().filter(|(destination, _)| destination.form == Form::Verifier);
    let parsed =
        verifiers.filter_map(|(destination, found)| Some((destination, scram::parse(found.value.as_ref()?.expose())?)));
    let few = parsed.filter(|(_, verifier)| verifier.iterations < scram::ITERATIONS);
    few.map(|(destination, verifier)| {
        warning(
            "iterations",
            format!("the verifier in {} has only {} iterations", destination.place, verifier.iterations),
        )
    })
    .collect()
}

fn too_old(secret: &SecretSpec, age: Option<Age>) -> Option<Problem> {
    let (limit, age) = (secret.max_age?.as_secs_f64(), age?);
    let days = |seconds: f64| format!("{:.0} days", seconds / 86_400.0);
    let message = format!("it is at least {} old; its max_age is {}", days(age.seconds), days(limit));
    if age.seconds > limit * 2.0 {
        Some(critical("too-old", message))
    } else {
        (age.seconds > limit).then(|| warning("too-old", message))
    }
}

/// Of each secret, whether another one has the same value.
fn reused(all: &[Known<'_>]) -> Vec<Option<Problem>> {
    let same = |one: &Known<'_>| {
        let fingerprint = one.fingerprint.as_ref()?;
        let others =
            all.iter().filter(|other| other.name != one.name && other.fingerprint.as_ref() == Some(fingerprint));
        let names: Vec<&str> = others.map(|other| other.name).collect();
        (!names.is_empty()).then(|| critical("reused", format!("{} has the same value", names.join(", "))))
    };
    all.iter().map(same).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(recipe: Recipe) -> SecretSpec {
        let max_age = Some(std::time::Duration::from_secs(86_400));
        SecretSpec {
            kind: Kind::Password,
            recipe,
            max_age,
            destinations: Vec::new(),
            apply: Apply::Nobody,
            reload: None,
            verify: None,
        }
    }

    fn codes(problems: impl IntoIterator<Item = Problem>) -> String {
        let each = problems.into_iter().map(|problem| format!("{}:{}", problem.code, problem.status));
        each.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn weakness_is_told_from_strength() {
        let hex = secret(Recipe::Hex(16));
        let judge = |text: &str, made_here| codes(strong(&hex, &value::Value::of(text.as_bytes()), made_here));
        assert_eq!(judge("changeme", false), "malformed:warning placeholder:critical");
        assert_eq!(judge("00000000000000000000000000000000", false), "weak:critical");
        assert_eq!(judge("6f1d0a9b83c24e7f5d9a1b3c8e2f4d60", true), "");
    }

    #[test]
    fn age_warns_first_and_is_critical_at_twice_the_limit() {
        let secret = secret(Recipe::Uuid);
        let judge = |seconds| codes(too_old(&secret, Some(Age { seconds, from: "note" })));
        assert_eq!(judge(86_400.0), "");
        assert_eq!(judge(86_401.0), "too-old:warning");
        assert_eq!(judge(200_000.0), "too-old:critical");
    }

    #[test]
    fn the_same_value_under_two_names_is_found() {
        let secret = secret(Recipe::Uuid);
        let known = |name, fingerprint: &str| Known {
            name,
            secret: &secret,
            seen: None,
            fingerprint: Some(fingerprint.to_owned()),
            problems: Vec::new(),
            age: None,
        };
        let found = reused(&[known("a", "x"), known("b", "y"), known("c", "x")]);
        assert_eq!(found[0].as_ref().unwrap().message, "c has the same value");
        assert!(found[1].is_none() && found[2].is_some());
    }
}
