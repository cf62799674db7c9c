//! What is there of a secret, in all of its destinations.

use maint_core::failure::Failure;

use super::spec::{Apply, Destination, Form, Kind, SecretSpec};
use super::value::{Value, hex};
use super::{jwk, place, scram};

/// A secret as its destinations have it.
#[derive(Debug)]
pub struct Inspected<'a> {
    /// The secret itself; none if no destination has it.
    pub value: Option<Value>,
    /// The role it is of, where two take turns.
    pub user: Option<String>,
    /// Every destination and what it has, in the order of the specification.
    pub found: Vec<(&'a Destination, place::Found)>,
    /// Destinations that lack it.
    pub missing: Vec<&'a Destination>,
    /// Why the destinations do not belong together; each names them.
    pub conflicts: Vec<String>,
}

/// Looks at all destinations of a secret.
///
/// # Errors
/// One cannot be read or understood.
pub fn inspect(secret: &SecretSpec) -> Result<Inspected<'_>, Failure> {
    let mut found = Vec::new();
    for destination in &secret.destinations {
        found.push((destination, place::look(destination, &secret.recipe)?));
    }
    let mut seen = Inspected { value: None, user: None, found, missing: Vec::new(), conflicts: Vec::new() };
    let mut first: Option<(&Destination, &Value)> = None;
    for (destination, here) in of_form(&seen.found, Form::Value) {
        match (first, here) {
            (_, None) => seen.missing.push(destination),
            (None, Some(value)) => first = Some((destination, value)),
            (Some((other, one)), Some(two)) if one != two => {
                seen.conflicts.push(format!("{} and {} have different values", other.place, destination.place));
            }
            _ => {}
        }
    }
    let value = first.map(|(_, value)| value.clone());
    let public = value.as_ref().and_then(|value| value.key().ok()).and_then(|key| jwk::of(&key).ok());
    for (destination, here) in of_form(&seen.found, Form::Verifier) {
        match (&value, here) {
            (_, None) => seen.missing.push(destination),
            (Some(value), Some(verifier)) if is_of(secret.kind, verifier, value) => {}
            (Some(_), Some(_)) => {
                seen.conflicts
                    .push(format!("what {} has is not of the secret in the other destinations", destination.place));
            }
            (None, Some(_)) => {
                seen.conflicts.push(format!("{} is there, but the secret that it is of is nowhere", destination.place));
            }
        }
    }
    for (destination, here) in of_form(&seen.found, Form::Jwks) {
        match here.map(|text| jwk::keys(text.expose())) {
            None => seen.missing.push(destination),
            Some(Err(error)) => seen.conflicts.push(format!("{}: {error}", destination.place)),
            Some(Ok(keys)) if public.as_ref().is_none_or(|public| !jwk::has(&keys, public)) => {
                seen.missing.push(destination);
            }
            Some(Ok(_)) => {}
        }
    }
    let mut user: Option<String> = None;
    for (destination, here) in of_form(&seen.found, Form::User) {
        let Some(here) = here else {
            seen.missing.push(destination);
            continue;
        };
        let here = String::from_utf8_lossy(here.expose()).into_owned();
        let known = matches!(&secret.apply, Apply::Postgres(postgres) if postgres.roles.contains(&here));
        if !known {
            seen.conflicts.push(format!("{} names `{here}`, which is none of the roles", destination.place));
        } else if user.as_ref().is_some_and(|user| *user != here) {
            seen.conflicts.push(format!("{} names another role than the other destinations", destination.place));
        }
        user = Some(here);
    }
    seen.value = value;
    seen.user = user;
    Ok(seen)
}

fn of_form<'a, 'f>(
    found: &'f [(&'a Destination, place::Found)],
    form: Form,
) -> impl Iterator<Item = (&'a Destination, Option<&'f Value>)> {
    found.iter().filter(move |(to, _)| to.form == form).map(|(to, found)| (*to, found.value.as_ref()))
}

/// Whether a verifier is one of this secret.
pub fn is_of(kind: Kind, verifier: &Value, value: &Value) -> bool {
    match kind {
        Kind::PgScram => scram::is_of(verifier.expose(), value),
        _ => *verifier == acl_hash(value),
    }
}

/// A password in an ACL of Redis: `#` and its SHA-256 in hexadecimal.
pub fn acl_hash(value: &Value) -> Value {
    let hash = hex(ring::digest::digest(&ring::digest::SHA256, value.expose()).as_ref());
    Value::of(zeroize::Zeroizing::new(format!("#{}", *hash)).as_bytes())
}

/// What a destination is to have of a secret. A JWKS keeps the keys it has.
///
/// # Errors
/// The JWKS that is there is none, or the secret does not allow for that form.
pub fn derive(
    secret: &SecretSpec,
    destination: &Destination,
    value: &Value,
    user: Option<&str>,
) -> Result<Value, Failure> {
    Ok(match destination.form {
        Form::Value => value.clone(),
        Form::Verifier if secret.kind == Kind::PgScram => scram::verifier(value)?,
        Form::Verifier => acl_hash(value),
        Form::User => Value::of(user.unwrap_or_default().as_bytes()),
        Form::Jwks => {
            let public = value.key().and_then(|key| jwk::of(&key));
            let public = public.map_err(|why| Failure::critical(format!("{}: {why}", destination.place)))?;
            jwks(secret, destination, &[&public], &[])?
        }
    })
}

/// The JWKS of a destination with keys added and dropped.
///
/// # Errors
/// What is there is none.
pub fn jwks(
    secret: &SecretSpec,
    destination: &Destination,
    add: &[&jwk::Jwk],
    drop: &[&str],
) -> Result<Value, Failure> {
    let there = place::look(destination, &secret.recipe)?.value;
    let keys = there.map_or(Ok(Vec::new()), |text| jwk::keys(text.expose()));
    let keys = keys.map_err(|error| Failure::critical(format!("{}: {error}", destination.place)))?;
    Ok(Value::of(jwk::render(&jwk::changed(&keys, add, drop)).trim_end().as_bytes()))
}

/// Writes what some destinations are to have beside what they have.
///
/// # Errors
/// As [`derive()`] and [`place::stage`]; nothing has changed then.
pub fn stage(
    secret: &SecretSpec,
    destinations: &[&Destination],
    value: &Value,
    user: Option<&str>,
) -> Result<Vec<place::Staged>, Failure> {
    let mut edits = Vec::new();
    for destination in destinations {
        edits.push((*destination, derive(secret, destination, value, user)?));
    }
    let edits: Vec<(&Destination, &Value)> = edits.iter().map(|(destination, value)| (*destination, value)).collect();
    place::stage(&edits, &secret.recipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::spec::{Place, Recipe, Wish};

    fn spec(kind: Kind, recipe: Recipe, destinations: Vec<Destination>) -> SecretSpec {
        SecretSpec { kind, recipe, max_age: None, destinations, apply: Apply::Nobody, reload: None, verify: None }
    }

    fn to(dir: &tempfile::TempDir, name: &str, form: Form) -> Destination {
        Destination { place: Place::File(dir.path().join(name)), form, wish: Wish::default() }
    }

    fn fill(secret: &SecretSpec, value: &Value) {
        let all: Vec<_> = secret.destinations.iter().collect();
        place::commit(stage(secret, &all, value, None).unwrap()).unwrap();
    }

    #[test]
    fn what_lacks_and_what_differs_is_told_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let destinations = vec![to(&dir, "one", Form::Value), to(&dir, "two", Form::Value)];
        let secret = spec(Kind::Uuid, Recipe::Uuid, destinations);
        assert_eq!(inspect(&secret).unwrap().missing.len(), 2);
        std::fs::write(dir.path().join("one"), "a\n").unwrap();
        let seen = inspect(&secret).unwrap();
        assert_eq!(seen.missing, [&secret.destinations[1]]);
        assert!(seen.value == Some(Value::of(b"a")) && seen.conflicts.is_empty());
        std::fs::write(dir.path().join("two"), "b\n").unwrap();
        let conflicts = inspect(&secret).unwrap().conflicts.join(" ");
        assert!(conflicts.contains("/one and ") && conflicts.contains("/two have different"), "{conflicts}");
    }

    #[test]
    fn a_verifier_belongs_to_its_password() {
        for kind in [Kind::PgScram, Kind::RedisAclSha256] {
            let dir = tempfile::tempdir().unwrap();
            let destinations = vec![to(&dir, "value", Form::Value), to(&dir, "verifier", Form::Verifier)];
            let secret = spec(kind, Recipe::Uuid, destinations);
            fill(&secret, &Value::of(b"password"));
            let seen = inspect(&secret).unwrap();
            assert!(seen.missing.is_empty() && seen.conflicts.is_empty(), "{seen:?}");
            std::fs::write(dir.path().join("value"), "another\n").unwrap();
            assert!(inspect(&secret).unwrap().conflicts.join("").contains("not of the secret"));
            std::fs::remove_file(dir.path().join("value")).unwrap();
            assert!(inspect(&secret).unwrap().conflicts.join("").contains("nowhere"));
        }
        // As `echo -n password | sha256sum` has it.
        let hash = b"#5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
        assert!(acl_hash(&Value::of(b"password")) == Value::of(hash));
    }

    #[test]
    fn a_key_lacks_in_a_jwks_that_has_only_others() {
        let dir = tempfile::tempdir().unwrap();
        let destinations = vec![to(&dir, "key", Form::Value), to(&dir, "jwks", Form::Jwks)];
        let secret = spec(Kind::JwtEd25519, Recipe::Jwt(crate::key::KeyType::Ed25519), destinations);
        let value = super::super::value::make(&secret.recipe).unwrap();
        std::fs::write(dir.path().join("jwks"), "{\"keys\": [{\"kid\": \"other\"}]}").unwrap();
        std::fs::write(dir.path().join("key"), value.expose()).unwrap();
        assert_eq!(inspect(&secret).unwrap().missing, [&secret.destinations[1]]);
        fill(&secret, &value);
        assert!(inspect(&secret).unwrap().missing.is_empty());
        let set = std::fs::read(dir.path().join("jwks")).unwrap();
        assert_eq!(jwk::keys(&set).unwrap().len(), 2);
        assert!(!String::from_utf8(set).unwrap().contains("PRIVATE"));
    }
}
