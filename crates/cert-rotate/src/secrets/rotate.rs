//! `secrets rotate`: a new secret in the place of an old one.
//!
//! ```text
//! begin    the old login is let in, a wrong one is not; old and new are kept on disk
//! forward  the new one is made good (beside the old where the server can have both), the destinations get it, the
//!          consumer is told; the new one, as the destinations have it, is let in, and the consumer says that it is well
//! retire   the old one is made good no more, and is refused
//! back     instead, when anything before `retire` fails: the destinations get the old one again, and so on
//! ```
//!
//! Every step can be taken again, and the phase is on disk before its first step: a run that was killed is gone on with by
//! the next. Once in `retire` there is no way back, since the new one was seen to work.

use jiff::Timestamp;
use maint_core::cli::{open_guard, state_directory};
use maint_core::failure::Failure;
use maint_core::fault::point;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use serde::{Deserialize, Serialize};

use super::consumer::Consumer;
use super::inspect::{inspect, is_of, stage};
use super::server::{Login, Server};
use super::spec::{Apply, Form, Recipe, SecretSpec, Spec};
use super::state::{Fingerprints, Note, Store};
use super::value::{Value, make};
use super::{check, failed, jwt, lock, place, undumpable};
use crate::cli::RotateSecretsArgs;
use crate::work::Work;

/// Rotates what is named, or what is due.
///
/// # Errors
/// The specification does not hold, a name is not in it, another run is at work, or the journal cannot be written. What goes
/// wrong with one secret is a record.
pub fn run(args: &RotateSecretsArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let guard = open_guard(&args.change, &mut work.settings, &work.cancel)?;
    undumpable();
    let spec = Spec::load(&args.spec)?;
    let chosen = spec.choose(&args.names)?;
    work.subject = spec.path.display().to_string();
    let state = state_directory()?;
    let dry_run = args.change.dry_run;
    let _lock = if dry_run {
        None
    } else {
        work.run.journal_in(&state)?;
        Some(lock(&state, &spec)?)
    };
    let prints = Fingerprints::open(&state, !dry_run)?;
    let named = !args.names.is_empty();
    for (name, secret) in chosen {
        if let Err(stop) = guard.may_start() {
            work.run.emit(&Record::new(Kind::Step, name, Status::Left, stop.reason()));
            continue;
        }
        let work = &*work;
        let turn = Turn {
            name,
            secret,
            store: Store::of(&state, &spec, name),
            server: Server::of(secret, work),
            consumer: Consumer::of(name, secret, work),
            prints: &prints,
            work,
        };
        let record = turn.go(named, dry_run).unwrap_or_else(|failure| failed(name, &failure));
        work.run.emit(&record.field("kind", secret.kind.as_str()));
    }
    Ok(())
}

/// One secret's turn.
pub(super) struct Turn<'a> {
    pub(super) name: &'a str,
    pub(super) secret: &'a SecretSpec,
    pub(super) store: Store,
    pub(super) server: Server<'a>,
    pub(super) consumer: Consumer<'a>,
    pub(super) prints: &'a Fingerprints,
    pub(super) work: &'a Work<'a>,
}

/// How far a rotation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Phase {
    Forward,
    Retire,
    Back,
}

/// A rotation that is under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Rotation {
    phase: Phase,
    started: Timestamp,
    /// Who logs in with the old secret.
    from: String,
    /// Who logs in with the new one.
    to: String,
    /// Why it goes back.
    why: Option<String>,
}

/// The secrets of a rotation.
struct Pair {
    old: Value,
    new: Value,
}

impl Turn<'_> {
    fn go(&self, named: bool, dry_run: bool) -> Result<Record, Failure> {
        if !dry_run {
            self.store.sweep()?;
            for destination in &self.secret.destinations {
                place::sweep(destination.place.path())?;
            }
        }
        if let (Apply::Jwt { overlap }, Recipe::Jwt(_)) = (&self.secret.apply, &self.secret.recipe) {
            return jwt::go(self, *overlap, named, dry_run);
        }
        if let Recipe::Jwt(_) = self.secret.recipe {
            return Err(Failure::usage("nobody said how long tokens of its old key are in use")
                .hint("write apply = { jwt = { overlap = \"24h\" } }"));
        }
        let rotation = self.store.rotation::<Rotation>()?;
        let (rotation, pair) = if let Some(rotation) = rotation {
            if dry_run {
                return Ok(self.planned(match rotation.phase {
                    Phase::Back => "goes on putting the old secret back",
                    Phase::Forward | Phase::Retire => "goes on with the rotation that is under way",
                }));
            }
            (rotation, Pair { old: self.store.kept("old")?, new: self.store.kept("new")? })
        } else {
            if let Some(record) = self.not_due(named)? {
                return Ok(record);
            }
            let old = self.present()?;
            if dry_run {
                return Ok(self.planned(&self.steps()));
            }
            self.begin(old)?
        };
        match rotation.phase {
            Phase::Forward => match self.forward(&rotation, &pair) {
                Ok(()) => self.retire(&Rotation { phase: Phase::Retire, ..rotation }, &pair),
                Err(failure) => {
                    let hint = failure.hint.map_or_else(String::new, |hint| format!(" ({hint})"));
                    let why = Some(format!("{}{hint}", failure.message));
                    Ok(self.back(&Rotation { phase: Phase::Back, why, ..rotation }, &pair))
                }
            },
            Phase::Retire => self.retire(&rotation, &pair),
            Phase::Back => Ok(self.back(&rotation, &pair)),
        }
    }

    /// Why there is nothing to do, when nobody asked by name.
    pub(super) fn not_due(&self, named: bool) -> Result<Option<Record>, Failure> {
        if named {
            return Ok(None);
        }
        let seen = inspect(self.secret)?;
        let age = check::age(self.secret, &seen, self.store.note().as_ref(), self.prints, self.work.now);
        let record = |message: String| Some(Record::new(Kind::Check, self.name, Status::Ok, message));
        Ok(match (self.secret.max_age, age) {
            (None, _) => record("has no max_age: it is rotated when it is named".to_owned()),
            (Some(limit), Some(age)) if age.seconds < limit.as_secs_f64() => {
                record("is younger than its max_age".to_owned()).map(|record| record.field("age_seconds", age.seconds))
            }
            _ => None,
        })
    }

    pub(super) fn planned(&self, message: &str) -> Record {
        Record::new(Kind::Plan, self.name, Status::Planned, message)
    }

    fn steps(&self) -> String {
        let places: Vec<String> =
            self.secret.destinations.iter().map(|destination| destination.place.to_string()).collect();
        let first = match &self.server {
            Server::Nobody => String::new(),
            Server::Swap(_) => "a new password for the role of PostgreSQL; ".to_owned(),
            Server::Turns(_) => "a new password for the other role of PostgreSQL; ".to_owned(),
            Server::Redis(_) => "a second password for the user of Redis; ".to_owned(),
        };
        let told = if self.secret.reload.is_some() { "; the consumer is told" } else { "" };
        let last = if self.server.has_both() { "; the old one is dropped" } else { "" };
        format!("{first}the new secret to {}{told}; it is seen to work{last}", places.join(", "))
    }

    /// The secret that is in use, whole.
    fn present(&self) -> Result<(Value, Option<String>), Failure> {
        let seen = inspect(self.secret)?;
        if !seen.conflicts.is_empty() {
            return Err(Failure::critical(seen.conflicts.join("; ")).hint("nothing was changed; make them agree first"));
        }
        if let Some(missing) = seen.missing.first() {
            return Err(Failure::critical(format!("{} is not there", missing.place))
                .hint("run `cert-rotate generate-secrets` first"));
        }
        let value = seen.value.ok_or_else(|| Failure::critical("there is no secret to rotate"))?;
        Ok((value, seen.user))
    }

    fn begin(&self, (old, user): (Value, Option<String>)) -> Result<(Rotation, Pair), Failure> {
        let (from, to) = self.server.users(user.as_deref());
        self.server.ready(Login { user: &from, password: &old })?;
        self.consumer.verify(&[&old]).map_err(|failure| {
            Failure::critical(format!("{}; nothing was changed", failure.message))
                .hint("make it succeed with the present secret first: only then does it prove anything of a new one")
        })?;
        let new = make(&self.secret.recipe)?;
        self.store.keep("old", &old)?;
        self.store.keep("new", &new)?;
        if let Some(stored) = self.server.stored(&from)? {
            self.store.keep("old-verifier", &stored)?;
        }
        let rotation = Rotation { phase: Phase::Forward, started: Timestamp::now(), from, to, why: None };
        self.store.set_rotation(&rotation)?;
        point("rotation-begun");
        Ok((rotation, Pair { old, new }))
    }

    fn forward(&self, rotation: &Rotation, pair: &Pair) -> Result<(), Failure> {
        let new = Login { user: &rotation.to, password: &pair.new };
        self.server.add(new)?;
        point("rotation-added");
        if self.server.has_both() && !self.server.lets_in(new)? {
            return Err(Failure::critical(format!(
                "{} took the new password and does not let it in",
                self.server.name()
            )));
        }
        self.put(&pair.new, &rotation.to, pair, || {
            self.server.exchange(new, None)?;
            point("rotation-exchanged");
            Ok(())
        })?;
        point("rotation-placed");
        self.consumer.reload(&[&pair.old, &pair.new])?;
        point("rotation-reloaded");
        self.proven(new, pair)
    }

    /// Whether the destinations have a login, the server lets it in, and the consumer is well.
    fn proven(&self, login: Login<'_>, pair: &Pair) -> Result<(), Failure> {
        let (value, user) = self.present()?;
        let user = user.unwrap_or_else(|| login.user.to_owned());
        if value != *login.password || user != login.user {
            return Err(Failure::critical("the destinations do not have what was written to them"));
        }
        if !self.server.lets_in(Login { user: &user, password: &value })? {
            return Err(Failure::critical(format!(
                "{} does not let {user} in with what the destinations have",
                self.server.name()
            )));
        }
        self.consumer.verify(&[&pair.old, &pair.new])
    }

    /// Gives all destinations a secret; `between` is done when the files are ready and have not changed yet.
    fn put(
        &self,
        value: &Value,
        user: &str,
        pair: &Pair,
        between: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.ours(pair)?;
        let all: Vec<_> = self.secret.destinations.iter().collect();
        let staged = stage(self.secret, &all, value, Some(user))?;
        between()?;
        place::commit(staged)
    }

    /// Refuses to overwrite what neither was there before nor comes from us.
    fn ours(&self, pair: &Pair) -> Result<(), Failure> {
        for destination in &self.secret.destinations {
            let Some(here) = place::look(destination, &self.secret.recipe)?.value else { continue };
            let known = match destination.form {
                Form::Value => here == pair.old || here == pair.new,
                Form::Verifier => [&pair.old, &pair.new].into_iter().any(|value| is_of(self.secret.kind, &here, value)),
                Form::User | Form::Jwks => true,
            };
            if !known {
                return Err(Failure::critical(format!(
                    "{} was changed by somebody else while the secret was rotated",
                    destination.place
                ))
                .hint("put the old secret there again, or remove it"));
            }
        }
        Ok(())
    }

    fn retire(&self, rotation: &Rotation, pair: &Pair) -> Result<Record, Failure> {
        let (old, new) =
            (Login { user: &rotation.from, password: &pair.old }, Login { user: &rotation.to, password: &pair.new });
        self.store.set_rotation(rotation)?;
        point("rotation-proven");
        let unfinished = |failure: Failure| {
            Failure::critical(format!(
                "the new secret is in use, but the old one is not out of use: {}",
                failure.message
            ))
            .hint("run it again")
        };
        self.server.drop_login(old).map_err(unfinished)?;
        point("rotation-retired");
        if !self.server.shuts_out(old).map_err(unfinished)? {
            return Err(unfinished(Failure::critical(format!("{} still lets it in", self.server.name()))));
        }
        if !self.server.lets_in(new).map_err(unfinished)? {
            let why = format!("{} does not let the new one in any more", self.server.name());
            return Err(Failure::critical(why).hint("somebody else changed it meanwhile: set the server's password"));
        }
        let fingerprint = self.prints.of(&self.secret.recipe, &pair.new);
        self.store.set_note(&Note { made: Timestamp::now(), fingerprint: fingerprint.clone() })?;
        self.store.end()?;
        point("rotation-ended");
        let message = match &self.server {
            Server::Nobody if self.consumer.can_tell() => {
                "a new one is in use; the consumer says that it is well".to_owned()
            }
            Server::Nobody => "a new one is in its place".to_owned(),
            server => format!("a new one is in use: {} lets it in, and the old one no more", server.name()),
        };
        let record = Record::new(Kind::Step, self.name, Status::Ok, message).field("fingerprint", fingerprint);
        Ok(if rotation.from == rotation.to { record } else { record.field("user", &rotation.to) })
    }

    fn back(&self, rotation: &Rotation, pair: &Pair) -> Record {
        let why = rotation.why.clone().unwrap_or_default();
        match self.put_back(rotation, pair) {
            Ok(()) => {
                let message = format!("{why}; the old secret is in use again, and was seen to work");
                let record = Record::new(Kind::Step, self.name, Status::RolledBack, message);
                record.field("fingerprint", self.prints.of(&self.secret.recipe, &pair.old))
            }
            Err(failure) => {
                let hint = failure.hint.map_or_else(String::new, |hint| format!(" ({hint})"));
                let message = format!(
                    "{why}; and the old secret could not be put back: {}{hint}; both are kept, and the next run tries again",
                    failure.message
                );
                Record::new(Kind::Step, self.name, Status::Stuck, message)
            }
        }
    }

    fn put_back(&self, rotation: &Rotation, pair: &Pair) -> Result<(), Failure> {
        let (old, new) =
            (Login { user: &rotation.from, password: &pair.old }, Login { user: &rotation.to, password: &pair.new });
        self.store.set_rotation(rotation)?;
        point("rotation-back");
        let stored = self.store.kept("old-verifier").ok();
        self.put(&pair.old, &rotation.from, pair, || {
            // It may never have been exchanged, for want of a privilege that would be lacking now as well.
            match &self.server {
                Server::Swap(_) if !self.server.lets_in(old)? => self.server.exchange(old, stored.as_ref()),
                _ => Ok(()),
            }
        })?;
        point("rotation-put-back");
        let told = self.consumer.reload(&[&pair.old, &pair.new]);
        self.proven(old, pair)?;
        // A consumer that was not told may still have the new one, unless something says that it is well.
        if !self.consumer.can_tell() {
            told?;
        }
        if !self.server.shuts_out(new)? {
            self.server.drop_login(new)?;
            point("rotation-dropped");
            if !self.server.shuts_out(new)? {
                return Err(Failure::critical(format!("{} still lets the new one in", self.server.name())));
            }
        }
        self.store.end()
    }
}
