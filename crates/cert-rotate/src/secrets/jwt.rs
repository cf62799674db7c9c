//! Keys that sign tokens: a rotation that takes hours, one step a run.
//!
//! ```text
//! announce   the new public key joins the JWKS; the old key goes on signing
//! switch     after half of the overlap, when every verifier has fetched the JWKS again: the new key signs
//! drop       a whole overlap after the switch, when every token of the old key has expired: it leaves the JWKS
//! ```
//!
//! So at no moment is there a token in use whose key is not in the JWKS, also not in one that a verifier has cached for half
//! of the overlap. Whatever fails in between only makes this take longer. Each run takes the step whose time has come,
//! or says when it comes.

use std::time::Duration;

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::fault::point;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use serde::{Deserialize, Serialize};

use super::inspect::{inspect, jwks};
use super::jwk::{self, Jwk};
use super::place;
use super::rotate::Turn;
use super::spec::{Destination, Form};
use super::state::Note;
use super::value::{Value, make};

/// What has been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Phase {
    /// The new key is on disk.
    Begun,
    /// It is in the JWKS, since `at`.
    Announced,
    /// It signs, since `at`.
    Switched,
}

/// A rotation that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rotation {
    phase: Phase,
    at: Timestamp,
    /// The `kid` of the key that goes.
    old: String,
    /// The `kid` of the key that comes.
    new: String,
}

impl Rotation {
    /// When the next step may be taken.
    pub(super) fn next_at(&self, overlap: Duration) -> Timestamp {
        let wait = match self.phase {
            Phase::Begun => Duration::ZERO,
            Phase::Announced => overlap / 2,
            Phase::Switched => overlap,
        };
        self.at.checked_add(wait).unwrap_or(Timestamp::MAX)
    }

    fn next(&self) -> &'static str {
        match self.phase {
            Phase::Begun => "the new key is announced",
            Phase::Announced => "the new key signs",
            Phase::Switched => "the old key leaves the JWKS",
        }
    }
}

/// Takes the step whose time has come.
pub(super) fn go(turn: &Turn<'_>, overlap: Duration, named: bool, dry_run: bool) -> Result<Record, Failure> {
    let Some(rotation) = turn.store.rotation::<Rotation>()? else {
        if let Some(record) = turn.not_due(named)? {
            return Ok(record);
        }
        let (old, public) = present(turn)?;
        if dry_run {
            return Ok(turn.planned("a new key joins the JWKS; it signs later"));
        }
        let new = make(&turn.secret.recipe)?;
        turn.store.keep("old", &old)?;
        turn.store.keep("new", &new)?;
        let rotation = Rotation { phase: Phase::Begun, at: turn.work.now, old: public.kid, new: public_of(&new)?.kid };
        turn.store.set_rotation(&rotation)?;
        point("jwt-begun");
        return announce(turn, overlap, rotation);
    };
    let next_at = rotation.next_at(overlap);
    if turn.work.now < next_at {
        let message = format!("waits until {next_at}: then {}", rotation.next());
        let record = Record::new(Kind::Check, turn.name, Status::Ok, message);
        return Ok(record.field("next_at", next_at).field("fingerprint", format!("kid:{}", rotation.new)));
    }
    if dry_run {
        return Ok(turn.planned(rotation.next()));
    }
    match rotation.phase {
        Phase::Begun => announce(turn, overlap, rotation),
        Phase::Announced => switch(turn, overlap, rotation),
        Phase::Switched => retire(turn, &rotation),
    }
}

/// The key that signs, and its public half.
fn present(turn: &Turn<'_>) -> Result<(Value, Jwk), Failure> {
    let seen = inspect(turn.secret)?;
    if !seen.conflicts.is_empty() {
        return Err(Failure::critical(seen.conflicts.join("; ")).hint("make them agree first"));
    }
    let lacking = || Failure::critical("the key is not there").hint("run `cert-rotate generate-secrets` first");
    if let Some(missing) = seen.missing.first() {
        return Err(Failure::critical(format!("the key is not in {}", missing.place))
            .hint("run `cert-rotate generate-secrets` first"));
    }
    let value = seen.value.ok_or_else(lacking)?;
    let public = public_of(&value)?;
    Ok((value, public))
}

fn public_of(value: &Value) -> Result<Jwk, Failure> {
    value.key().and_then(|key| jwk::of(&key)).map_err(|why| Failure::critical(format!("the key cannot be used: {why}")))
}

fn of_form<'a>(turn: &Turn<'a>, form: Form) -> Vec<&'a Destination> {
    turn.secret.destinations.iter().filter(|destination| destination.form == form).collect()
}

/// Changes every JWKS.
fn publish(turn: &Turn<'_>, add: &[&Jwk], drop: &[&str]) -> Result<(), Failure> {
    let mut edits = Vec::new();
    for destination in of_form(turn, Form::Jwks) {
        edits.push((destination, jwks(turn.secret, destination, add, drop)?));
    }
    let edits: Vec<(&Destination, &Value)> = edits.iter().map(|(destination, text)| (*destination, text)).collect();
    place::commit(place::stage(&edits, &turn.secret.recipe)?)
}

/// Whether every JWKS has a key.
fn published(turn: &Turn<'_>, public: &Jwk) -> Result<bool, Failure> {
    for destination in of_form(turn, Form::Jwks) {
        let here = place::look(destination, &turn.secret.recipe)?.value;
        let keys = here.map_or(Ok(Vec::new()), |text| jwk::keys(text.expose()));
        if !jwk::has(&keys.map_err(|error| Failure::critical(format!("{}: {error}", destination.place)))?, public) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn announce(turn: &Turn<'_>, overlap: Duration, rotation: Rotation) -> Result<Record, Failure> {
    let (old, new) = (turn.store.kept("old")?, turn.store.kept("new")?);
    let public = public_of(&new)?;
    publish(turn, &[&public], &[])?;
    point("jwt-published");
    // A key too many harms nobody: there is nothing to take back when this fails.
    let told = turn.consumer.reload(&[&old, &new]).and_then(|()| turn.consumer.verify(&[&old, &new]));
    told.map_err(|failure| {
        Failure::critical(format!("{}; the new key is in the JWKS and does not sign", failure.message))
            .hint("run it again")
    })?;
    let rotation = Rotation { phase: Phase::Announced, at: turn.work.now, ..rotation };
    turn.store.set_rotation(&rotation)?;
    point("jwt-announced");
    Ok(step(turn, &rotation, overlap, "the new key is in the JWKS; the old one signs"))
}

fn step(turn: &Turn<'_>, rotation: &Rotation, overlap: Duration, message: &str) -> Record {
    let record = Record::new(Kind::Step, turn.name, Status::Ok, message);
    record.field("next_at", rotation.next_at(overlap)).field("fingerprint", format!("kid:{}", rotation.new))
}

fn switch(turn: &Turn<'_>, overlap: Duration, rotation: Rotation) -> Result<Record, Failure> {
    let (old, new) = (turn.store.kept("old")?, turn.store.kept("new")?);
    if !published(turn, &public_of(&new)?)? {
        // Somebody wrote the JWKS anew. Its verifiers have not seen the key, so the time begins again.
        return announce(turn, overlap, rotation);
    }
    let hide = [&old, &new];
    let done = sign_with(turn, &new, hide).and_then(|()| turn.consumer.reload(&hide)).and_then(|()| {
        point("jwt-reloaded");
        turn.consumer.verify(&hide)
    });
    if let Err(failure) = done {
        return Ok(back(turn, &old, hide, &failure));
    }
    point("jwt-proven");
    let rotation = Rotation { phase: Phase::Switched, at: turn.work.now, ..rotation };
    turn.store.set_note(&Note { made: turn.work.now, fingerprint: format!("kid:{}", rotation.new) })?;
    turn.store.set_rotation(&rotation)?;
    turn.store.forget("old")?;
    point("jwt-switched");
    Ok(step(turn, &rotation, overlap, "the new key signs; the old one stays in the JWKS"))
}

/// Gives a key to the signer, unless somebody else gave it another one meanwhile.
fn sign_with(turn: &Turn<'_>, key: &Value, known: [&Value; 2]) -> Result<(), Failure> {
    let signers = of_form(turn, Form::Value);
    for destination in &signers {
        let here = place::look(destination, &turn.secret.recipe)?.value;
        if here.is_some_and(|here| !known.contains(&&here)) {
            return Err(Failure::critical(format!(
                "{} was changed by somebody else while the key was rotated",
                destination.place
            ))
            .hint("put the old key there again"));
        }
    }
    let edits: Vec<(&Destination, &Value)> = signers.into_iter().map(|destination| (destination, key)).collect();
    place::commit(place::stage(&edits, &turn.secret.recipe)?)?;
    point("jwt-placed");
    Ok(())
}

/// The old key signs again. Both are in the JWKS, so every token is good whichever signed it; the next run tries again.
fn back(turn: &Turn<'_>, old: &Value, hide: [&Value; 2], why: &Failure) -> Record {
    let told = sign_with(turn, old, hide).and_then(|()| {
        let told = turn.consumer.reload(&hide);
        if turn.consumer.can_tell() { turn.consumer.verify(&hide) } else { told }
    });
    match told {
        Ok(()) => {
            let message = format!("{}; the old key signs again, and both are in the JWKS", why.message);
            Record::new(Kind::Step, turn.name, Status::RolledBack, message)
        }
        Err(failure) => {
            let message = format!("{}; and the old key could not be put back: {}", why.message, failure.message);
            Record::new(Kind::Step, turn.name, Status::Stuck, message)
        }
    }
}

fn retire(turn: &Turn<'_>, rotation: &Rotation) -> Result<Record, Failure> {
    let (value, public) = present(turn)?;
    if public.kid != rotation.new {
        return Err(Failure::critical("the key that signs is not the new one: somebody else changed it")
            .hint("put the key there whose kid is in the JWKS; the old key stays in it until then"));
    }
    publish(turn, &[], &[&rotation.old])?;
    point("jwt-dropped");
    let told = turn.consumer.reload(&[&value]).and_then(|()| turn.consumer.verify(&[&value]));
    told.map_err(|failure| {
        Failure::critical(format!("{}; the old key is out of the JWKS, and the new one signs", failure.message))
            .hint("run it again")
    })?;
    turn.store.end()?;
    point("jwt-ended");
    let record = Record::new(Kind::Step, turn.name, Status::Ok, "the old key is out of the JWKS: the rotation is done");
    Ok(record.field("fingerprint", format!("kid:{}", rotation.new)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_key_outlives_every_token_it_signed() {
        let at: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let overlap = Duration::from_secs(24 * 3600);
        let next = |phase| Rotation { phase, at, old: String::new(), new: String::new() }.next_at(overlap).to_string();
        assert_eq!(next(Phase::Begun), "2026-11-23T12:00:00Z");
        assert_eq!(next(Phase::Announced), "2026-11-24T00:00:00Z");
        assert_eq!(next(Phase::Switched), "2026-11-24T12:00:00Z");
    }
}
