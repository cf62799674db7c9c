//! What the operator wants: a file of tables `[secrets.NAME]`.
//!
//! The file names commands to run and files to replace, so one that somebody else could have written is refused. It has
//! no secret in it.

mod table;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use maint_core::config::Document;
use maint_core::failure::Failure;
use serde::Deserialize;

use crate::key::KeyType;
use table::SecretTable;

/// Kinds of secrets, as the file has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Bytes as they come.
    Random,
    /// Bytes in hexadecimal.
    Hex,
    /// Bytes in base64 with padding (RFC 4648, 4).
    Base64,
    /// Characters of chosen classes.
    Password,
    /// A UUID of version 4 (RFC 9562).
    Uuid,
    /// An Ed25519 key for signing tokens (EdDSA, RFC 8037).
    JwtEd25519,
    /// A P-256 key for signing tokens (ES256, RFC 7518).
    JwtEs256,
    /// An RSA key for signing tokens (RS256, RFC 7518).
    JwtRsa,
    /// A password, and beside it what PostgreSQL stores of it.
    PgScram,
    /// A password, and beside it what an ACL of Redis has of it.
    RedisAclSha256,
}

impl Kind {
    /// As the file and records have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Random => "random",
            Kind::Hex => "hex",
            Kind::Base64 => "base64",
            Kind::Password => "password",
            Kind::Uuid => "uuid",
            Kind::JwtEd25519 => "jwt-ed25519",
            Kind::JwtEs256 => "jwt-es256",
            Kind::JwtRsa => "jwt-rsa",
            Kind::PgScram => "pg-scram",
            Kind::RedisAclSha256 => "redis-acl-sha256",
        }
    }
}

/// Characters of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// `a` to `z`.
    Lower,
    /// `A` to `Z`.
    Upper,
    /// `0` to `9`.
    Digit,
    /// Those that mean nothing to a shell, an env file or a URL.
    Symbol,
}

impl Class {
    /// Its characters.
    pub fn characters(self) -> &'static str {
        match self {
            Class::Lower => "abcdefghijklmnopqrstuvwxyz",
            Class::Upper => "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            Class::Digit => "0123456789",
            Class::Symbol => "-._,+=",
        }
    }
}

/// How a secret is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipe {
    /// So many bytes as they come.
    Random(usize),
    /// So many bytes in hexadecimal.
    Hex(usize),
    /// So many bytes in base64.
    Base64(usize),
    /// Characters.
    Password {
        /// How many.
        length: usize,
        /// Of which classes; at least one of each.
        classes: Vec<Class>,
    },
    /// A UUID.
    Uuid,
    /// A private key, PEM.
    Jwt(KeyType),
}

/// What of a secret is written to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The secret itself.
    Value,
    /// What the server stores of a password: a SCRAM-SHA-256 verifier, or `#` and a SHA-256.
    Verifier,
    /// The role that the password belongs to, when two take turns.
    User,
    /// Public keys (RFC 7517).
    Jwks,
}

/// Where something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The value of a variable in an env file.
    Env {
        /// The file.
        path: PathBuf,
        /// The variable.
        key: String,
    },
    /// A file of its own, as text with an end of line.
    File(PathBuf),
    /// A file of its own with nothing else in it, as Docker hands secrets to containers.
    DockerSecret(PathBuf),
}

impl Place {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Place::Env { path, .. } | Place::File(path) | Place::DockerSecret(path) => path,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Env { path, key } => write!(f, "{key} in {}", path.display()),
            Place::File(path) | Place::DockerSecret(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Whose a file is and who may read it, where the operator said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// Permission bits.
    pub mode: Option<u32>,
    /// The user's number.
    pub user: Option<u32>,
    /// The group's number.
    pub group: Option<u32>,
}

/// One destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Where.
    pub place: Place,
    /// What.
    pub form: Form,
    /// For whom.
    pub wish: Wish,
}

/// Who else has to learn of a new secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apply {
    /// Nobody but the readers of the destinations.
    Nobody,
    /// A role of PostgreSQL, or two that take turns.
    Postgres(PostgresSpec),
    /// A user of Redis.
    Redis(RedisSpec),
    /// Verifiers of tokens, through the JWKS.
    Jwt {
        /// The longest that a token is valid, and a JWKS is cached twice over.
        overlap: Duration,
    },
}

/// A role of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresSpec {
    /// One role, or two that take turns.
    pub roles: Vec<String>,
    /// Where to connect as somebody who may alter them.
    pub dsn: String,
    /// Where the role logs in.
    pub login: String,
}

/// A user of Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSpec {
    /// Every server that has the user; ACLs are not replicated.
    pub urls: Vec<String>,
    /// The user.
    pub user: String,
    /// The password of whoever may alter users.
    pub password_file: Option<PathBuf>,
    /// Roots to trust instead of the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

/// One secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSpec {
    /// Its kind.
    pub kind: Kind,
    /// How it is made.
    pub recipe: Recipe,
    /// How old it may become.
    pub max_age: Option<Duration>,
    /// Where it goes.
    pub destinations: Vec<Destination>,
    /// Who else has to learn of a new one.
    pub apply: Apply,
    /// Tells the consumer.
    pub reload: Option<Vec<String>>,
    /// Says whether the consumer is well.
    pub verify: Option<Vec<String>>,
}

/// A whole file.
#[derive(Debug)]
pub struct Spec {
    /// Where it is, without symbolic links.
    pub path: PathBuf,
    /// Its secrets.
    pub secrets: BTreeMap<String, SecretSpec>,
}

impl Spec {
    /// Reads a file and checks that it can be carried out.
    ///
    /// # Errors
    /// Somebody else could have written it, or it does not hold; the message names file and key.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let path = std::fs::canonicalize(path)
            .map_err(|error| Failure::usage(format!("cannot read the specification {shown}: {error}")))?;
        trusted(&path)?;
        let tables = Document::load(&path, &["secrets"])?.table::<SecretTable>("secrets")?;
        if tables.is_empty() {
            return Err(Failure::usage(format!("{shown}: no secret is described")).hint("write a table [secrets.NAME]"));
        }
        let refuse = |name: &str, why: String| Failure::usage(format!("{shown}: [secrets.{name}] {why}"));
        let mut secrets = BTreeMap::new();
        for (name, table) in tables {
            if !crate::config::is_plain(&name) {
                let why = "a name is made of letters, digits, `.`, `-` and `_`, and does not begin with a dot";
                return Err(refuse(&name, why.to_owned()));
            }
            let secret = table.check().map_err(|why| refuse(&name, why))?;
            secrets.insert(name, secret);
        }
        let spec = Spec { path, secrets };
        table::together(&spec.secrets).map_err(|(name, why)| refuse(name, why))?;
        Ok(spec)
    }

    /// The secrets of these names, each once; all when none is named.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn choose(&self, names: &[String]) -> Result<Vec<(&str, &SecretSpec)>, Failure> {
        let all = || self.secrets.iter().map(|(name, secret)| (name.as_str(), secret));
        for name in names {
            if !self.secrets.contains_key(name) {
                let nearest = maint_core::config::nearest(name, self.secrets.keys().map(String::as_str));
                return Err(Failure::usage(format!("there is no secret `{name}` in {}{nearest}", self.path.display())));
            }
        }
        Ok(all().filter(|(name, _)| names.is_empty() || names.iter().any(|asked| asked == name)).collect())
    }
}

/// Refuses a file that somebody else could have written.
fn trusted(path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    let meta = std::fs::metadata(path)
        .map_err(|error| Failure::usage(format!("cannot read the specification {shown}: {error}")))?;
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me && meta.uid() != 0 {
        return Err(Failure::usage(format!(
            "refusing {shown}: it belongs to uid {}, neither you nor root",
            meta.uid()
        ))
        .hint("change its owner: it names commands to run"));
    }
    if meta.mode() & 0o022 != 0 {
        let mode = meta.mode() & 0o777;
        return Err(Failure::usage(format!("refusing {shown}: others may write it (mode {mode:o})"))
            .hint(format!("chmod go-w {shown}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
