//! The file's tables as they are written, and what makes them hold.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{Apply, Class, Destination, Form, Kind, Place, PostgresSpec, Recipe, RedisSpec, SecretSpec, Wish};
use crate::config::HumanDurationText;
use crate::key::KeyType;
use crate::secrets::strength;

/// Below this many bits nothing is a secret.
const LEAST_BITS: f64 = 64.0;

/// `[secrets.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretTable {
    kind: Kind,
    bytes: Option<usize>,
    length: Option<usize>,
    classes: Option<Vec<Class>>,
    bits: Option<u32>,
    max_age: Option<HumanDurationText>,
    destinations: Vec<DestinationTable>,
    apply: Option<ApplyTable>,
    reload: Option<Vec<String>>,
    verify: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DestinationTable {
    env: Option<PathBuf>,
    key: Option<String>,
    file: Option<PathBuf>,
    docker_secret: Option<PathBuf>,
    jwks: Option<PathBuf>,
    form: Option<Form>,
    mode: Option<String>,
    owner: Option<String>,
    group: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplyTable {
    postgresql: Option<PostgresTable>,
    redis: Option<RedisTable>,
    jwt: Option<JwtTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PostgresTable {
    role: Option<String>,
    roles: Option<Vec<String>>,
    dsn: String,
    login: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RedisTable {
    urls: Vec<String>,
    user: String,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JwtTable {
    overlap: HumanDurationText,
}

impl SecretTable {
    /// What it asks for, or why that cannot be.
    pub(super) fn check(self) -> Result<SecretSpec, String> {
        let recipe = self.recipe()?;
        let max_age = self.max_age.map(|age| age.0);
        if max_age.is_some_and(|age| age < Duration::from_secs(1)) {
            return Err("max_age: is shorter than a second".to_owned());
        }
        for (name, command) in [("reload", &self.reload), ("verify", &self.verify)] {
            if command.as_ref().is_some_and(|command| command.first().is_none_or(String::is_empty)) {
                return Err(format!("{name}: names no program"));
            }
        }
        let apply = self.apply.map_or(Ok(Apply::Nobody), ApplyTable::check)?;
        let mut destinations = Vec::new();
        for (number, table) in self.destinations.into_iter().enumerate() {
            let destination = table.check().map_err(|why| format!("destinations: number {}: {why}", number + 1))?;
            destinations.push(destination);
        }
        let secret = SecretSpec {
            kind: self.kind,
            recipe,
            max_age,
            destinations,
            apply,
            reload: self.reload,
            verify: self.verify,
        };
        fits(&secret)?;
        Ok(secret)
    }

    fn recipe(&self) -> Result<Recipe, String> {
        let of_bytes = matches!(self.kind, Kind::Random | Kind::Hex | Kind::Base64);
        let of_characters = matches!(self.kind, Kind::Password | Kind::PgScram | Kind::RedisAclSha256);
        for (key, given, fits) in [
            ("bytes", self.bytes.is_some(), of_bytes),
            ("length", self.length.is_some(), of_characters),
            ("classes", self.classes.is_some(), of_characters),
            ("bits", self.bits.is_some(), self.kind == Kind::JwtRsa),
        ] {
            if given && !fits {
                return Err(format!("{key}: has no meaning for a secret of kind {}", self.kind.as_str()));
            }
        }
        let bytes = self.bytes.unwrap_or(32);
        if !(16..=4096).contains(&bytes) {
            return Err("bytes: is not from 16 to 4096".to_owned());
        }
        Ok(match self.kind {
            Kind::Random => Recipe::Random(bytes),
            Kind::Hex => Recipe::Hex(bytes),
            Kind::Base64 => Recipe::Base64(bytes),
            Kind::Uuid => Recipe::Uuid,
            Kind::JwtEd25519 => Recipe::Jwt(KeyType::Ed25519),
            Kind::JwtEs256 => Recipe::Jwt(KeyType::P256),
            Kind::JwtRsa => Recipe::Jwt(match self.bits.unwrap_or(3072) {
                2048 => KeyType::Rsa2048,
                3072 => KeyType::Rsa3072,
                4096 => KeyType::Rsa4096,
                _ => return Err("bits: is not one of 2048, 3072 and 4096".to_owned()),
            }),
            Kind::Password | Kind::PgScram | Kind::RedisAclSha256 => self.password()?,
        })
    }

    fn password(&self) -> Result<Recipe, String> {
        let mut classes = self.classes.clone().unwrap_or_else(|| vec![Class::Lower, Class::Upper, Class::Digit]);
        classes.sort();
        classes.dedup();
        let length = self.length.unwrap_or(32);
        let bits = strength::of_password(length, &classes);
        if length > 512 {
            return Err("length: is more than 512".to_owned());
        }
        if bits < LEAST_BITS {
            return Err(format!("length: {length} characters of these classes are {bits:.0} bits; ask for 64 or more"));
        }
        Ok(Recipe::Password { length, classes })
    }
}

/// What of a secret only holds together with the rest of it.
fn fits(secret: &SecretSpec) -> Result<(), String> {
    let jwt = matches!(secret.recipe, Recipe::Jwt(_));
    let two_roles = matches!(&secret.apply, Apply::Postgres(postgres) if postgres.roles.len() == 2);
    let has = |form| secret.destinations.iter().any(|destination| destination.form == form);
    if !has(Form::Value) {
        return Err("destinations: the secret itself is written nowhere".to_owned());
    }
    for Destination { place, form, wish } in &secret.destinations {
        let env = matches!(place, Place::Env { .. });
        let why = match form {
            Form::Jwks if !jwt => "only keys of kind jwt-* have a JWKS",
            Form::Verifier if !matches!(secret.kind, Kind::PgScram | Kind::RedisAclSha256) => {
                "only secrets of kind pg-scram and redis-acl-sha256 have a verifier"
            }
            Form::User if !two_roles => "the user is written only where two roles of PostgreSQL take turns",
            Form::Value if env && jwt => "a private key has several lines, which env files cannot hold: write a file",
            Form::Value if env && matches!(secret.recipe, Recipe::Random(_)) => {
                "random bytes are no text, which env files are made of: take kind hex or base64"
            }
            Form::Value if two_roles && !beside_its_user(secret, place) => {
                "where two roles take turns, user and password must change together: write both to the same env file"
            }
            // A JWKS is public.
            Form::Value | Form::Verifier if wish.mode.is_some_and(|mode| mode & 0o007 != 0) => {
                "mode: would let every user of this host have the secret"
            }
            _ => continue,
        };
        return Err(format!("destinations: {place}: {why}"));
    }
    match &secret.apply {
        Apply::Jwt { .. } if !jwt => Err("apply.jwt: is for keys of kind jwt-*".to_owned()),
        Apply::Jwt { .. } if !has(Form::Jwks) => {
            Err("apply.jwt: there is no JWKS among the destinations: nobody could verify a token of a new key"
                .to_owned())
        }
        Apply::Postgres(_) | Apply::Redis(_) if jwt || matches!(secret.recipe, Recipe::Random(_)) => {
            Err(format!("apply: a secret of kind {} is no password", secret.kind.as_str()))
        }
        Apply::Redis(_) if secret.kind == Kind::PgScram => {
            Err("apply.redis: does not go with kind pg-scram".to_owned())
        }
        Apply::Postgres(_) if secret.kind == Kind::RedisAclSha256 => {
            Err("apply.postgresql: does not go with kind redis-acl-sha256".to_owned())
        }
        _ => Ok(()),
    }
}

fn beside_its_user(secret: &SecretSpec, place: &Place) -> bool {
    let user = |other: &&Destination| other.form == Form::User && other.place.path() == place.path();
    matches!(place, Place::Env { .. }) && secret.destinations.iter().find(user).is_some()
}

impl DestinationTable {
    fn check(self) -> Result<Destination, String> {
        let given = [&self.env, &self.file, &self.docker_secret, &self.jwks].into_iter().flatten().count();
        if given != 1 {
            return Err("give one of env, file, docker_secret and jwks".to_owned());
        }
        if self.env.is_some() != self.key.is_some() {
            return Err("env and key belong together: the file and the variable in it".to_owned());
        }
        let jwks = self.jwks.is_some();
        let place = match (self.env, self.key, self.file.or(self.jwks), self.docker_secret) {
            (Some(path), Some(key), ..) => {
                let first = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
                if !first || !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    return Err(format!("key: `{key}` is no name of a variable"));
                }
                Place::Env { path, key }
            }
            (_, _, Some(path), _) => Place::File(path),
            (_, _, _, Some(path)) => Place::DockerSecret(path),
            _ => return Err("give one of env, file, docker_secret and jwks".to_owned()),
        };
        if !place.path().is_absolute() || place.path().file_name().is_none() {
            return Err(format!("`{}` is no absolute path of a file", place.path().display()));
        }
        let form = match (jwks, self.form) {
            (true, None | Some(Form::Jwks)) => Form::Jwks,
            (true, Some(_)) => return Err("form: in jwks there are public keys only".to_owned()),
            (false, Some(Form::Jwks)) => return Err("form: write `jwks = PATH` for public keys".to_owned()),
            (false, form) => form.unwrap_or(Form::Value),
        };
        let mode = self.mode.as_deref().map(mode).transpose().map_err(|why| format!("mode: {why}"))?;
        let user = self.owner.as_deref().map(|name| number("owner", "/etc/passwd", name)).transpose()?;
        let group = self.group.as_deref().map(|name| number("group", "/etc/group", name)).transpose()?;
        Ok(Destination { place, form, wish: Wish { mode, user, group } })
    }
}

fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text.trim_start_matches("0o"), 8).ok().filter(|mode| *mode <= 0o777);
    let mode = mode.ok_or_else(|| format!("`{text}` is no mode: write it in octal, as 0640"))?;
    if mode & 0o111 != 0 || mode & 0o400 == 0 || mode & 0o022 != 0 {
        return Err(format!("`{text}` is no mode for a file that its owner reads and nobody else writes"));
    }
    Ok(mode)
}

fn number(key: &str, file: &str, wanted: &str) -> Result<u32, String> {
    crate::live::number(&std::fs::read_to_string(file).unwrap_or_default(), wanted).ok_or_else(|| {
        format!("{key}: there is no `{wanted}` in {file}; give its number if a directory service knows it")
    })
}

impl ApplyTable {
    fn check(self) -> Result<Apply, String> {
        match (self.postgresql, self.redis, self.jwt) {
            (Some(postgres), None, None) => postgres.check().map(Apply::Postgres),
            (None, Some(redis), None) => redis.check().map(Apply::Redis),
            (None, None, Some(JwtTable { overlap })) if overlap.0 >= Duration::from_secs(2) => {
                Ok(Apply::Jwt { overlap: overlap.0 })
            }
            (None, None, Some(_)) => Err("apply.jwt.overlap: is shorter than two seconds".to_owned()),
            _ => Err("apply: give one of postgresql, redis and jwt".to_owned()),
        }
    }
}

impl PostgresTable {
    fn check(self) -> Result<PostgresSpec, String> {
        let roles = match (self.role, self.roles) {
            (Some(role), None) => vec![role],
            (None, Some(roles)) if roles.len() == 2 && roles.first() != roles.last() => roles,
            _ => return Err("apply.postgresql: give `role`, or two different `roles` that take turns".to_owned()),
        };
        if roles.iter().any(|role| role.is_empty() || role.len() > 63 || role.contains(['\0', '\n', '\''])) {
            return Err("apply.postgresql: a role's name is empty, too long, or has odd characters".to_owned());
        }
        let login = self.login.unwrap_or_else(|| self.dsn.clone());
        Ok(PostgresSpec { roles, dsn: self.dsn, login })
    }
}

impl RedisTable {
    fn check(self) -> Result<RedisSpec, String> {
        if self.urls.is_empty() {
            return Err("apply.redis.urls: is empty".to_owned());
        }
        if self.user.is_empty() || self.user.contains(|c: char| c.is_whitespace() || c == '\0') {
            return Err("apply.redis.user: is no name of a user".to_owned());
        }
        Ok(RedisSpec { urls: self.urls, user: self.user, password_file: self.password_file, ca_file: self.ca_file })
    }
}

/// What of a file only holds together: two secrets must not write to the same place, nor want the same env file with
/// different modes.
pub(super) fn together(secrets: &BTreeMap<String, SecretSpec>) -> Result<(), (&str, String)> {
    let mut seen: Vec<(&str, &Destination)> = Vec::new();
    for (name, secret) in secrets {
        for destination in &secret.destinations {
            for (other_name, other) in &seen {
                if other.place.path() != destination.place.path() {
                    continue;
                }
                let why = match (&other.place, &destination.place) {
                    (Place::Env { key: one, .. }, Place::Env { key: two, .. }) if one != two => {
                        if other.wish == destination.wish {
                            continue;
                        }
                        "has another mode, owner or group"
                    }
                    _ => "is written already",
                };
                return Err((name, format!("destinations: {} {why} by [secrets.{other_name}]", destination.place)));
            }
            seen.push((name, destination));
        }
    }
    Ok(())
}
