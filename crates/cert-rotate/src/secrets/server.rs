//! The servers that have to learn of a new password.
//!
//! What all of them must be able to do: say whether a login is let in, take a new password, and forget one. Redis keeps
//! several passwords of a user, so the old and the new one hold together for a while. A role of PostgreSQL has one: it is
//! exchanged at the moment when the files are, or two roles take turns.

mod postgres;
mod redis;

use maint_core::failure::Failure;

use super::spec::{Apply, SecretSpec};
use super::value::{Value, make};
use crate::work::Work;
use postgres::Postgres;
use redis::Redis;

/// The server of a secret.
pub enum Server<'a> {
    /// There is none: only the readers of the destinations have to learn.
    Nobody,
    /// A role of PostgreSQL.
    Swap(Postgres<'a>),
    /// Two roles of PostgreSQL that take turns.
    Turns(Postgres<'a>),
    /// A user of Redis.
    Redis(Redis<'a>),
}

/// A user and a password.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// The user.
    pub user: &'a str,
    /// The password.
    pub password: &'a Value,
}

/// How many servers let a login in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Let {
    accepted: usize,
    asked: usize,
}

impl<'a> Server<'a> {
    /// Of a secret. Nobody is asked yet.
    pub fn of(secret: &'a SecretSpec, work: &'a Work<'a>) -> Self {
        match &secret.apply {
            Apply::Nobody | Apply::Jwt { .. } => Server::Nobody,
            Apply::Postgres(spec) if spec.roles.len() == 2 => Server::Turns(Postgres { spec, work }),
            Apply::Postgres(spec) => Server::Swap(Postgres { spec, work }),
            Apply::Redis(spec) => Server::Redis(Redis { spec, work }),
        }
    }

    /// Who logs in with the secret, and who will with the next one.
    pub fn users(&self, now: Option<&str>) -> (String, String) {
        let (one, two) = match self {
            Server::Nobody => ("", ""),
            Server::Redis(redis) => (redis.spec.user.as_str(), redis.spec.user.as_str()),
            Server::Swap(postgres) | Server::Turns(postgres) => {
                let roles = &postgres.spec.roles;
                let first = roles.first().map_or("", String::as_str);
                let last = roles.last().map_or("", String::as_str);
                if now == Some(last) { (last, first) } else { (first, last) }
            }
        };
        (one.to_owned(), two.to_owned())
    }

    /// Whether the server can be rotated on: it lets the present login in, and nobody with a wrong password. (Where it
    /// lets everybody in, a login proves nothing.)
    ///
    /// # Errors
    /// It cannot, or is down.
    pub fn ready(&self, old: Login<'_>) -> Result<(), Failure> {
        if let Server::Nobody = self {
            return Ok(());
        }
        if let Server::Redis(redis) = self {
            redis.exists()?;
        }
        if !self.lets_in(old)? {
            return Err(Failure::critical(format!(
                "{} does not let {} in with the present secret; nothing was changed",
                self.name(),
                old.user
            ))
            .hint("set the server's password to the one in the destinations first"));
        }
        let wrong = make(&super::spec::Recipe::Hex(16))?;
        if !self.shuts_out(Login { user: old.user, password: &wrong })? {
            return Err(Failure::critical(format!(
                "{} lets {} in with any password, so that a login proves nothing; nothing was changed",
                self.name(),
                old.user
            ))
            .hint("have it ask for passwords (pg_hba.conf: scram-sha-256; an ACL user without nopass), or log in where it does"));
        }
        Ok(())
    }

    /// What the messages call it.
    pub fn name(&self) -> &'static str {
        match self {
            Server::Nobody => "nobody",
            Server::Swap(_) | Server::Turns(_) => "PostgreSQL",
            Server::Redis(_) => "Redis",
        }
    }

    /// Whether all servers let a login in.
    ///
    /// # Errors
    /// One cannot be asked.
    pub fn lets_in(&self, login: Login<'_>) -> Result<bool, Failure> {
        self.ask(login).map(|answer| answer.accepted == answer.asked)
    }

    /// Whether no server lets a login in.
    ///
    /// # Errors
    /// One cannot be asked.
    pub fn shuts_out(&self, login: Login<'_>) -> Result<bool, Failure> {
        match self {
            Server::Nobody => Ok(true),
            _ => self.ask(login).map(|answer| answer.accepted == 0),
        }
    }

    fn ask(&self, login: Login<'_>) -> Result<Let, Failure> {
        match self {
            Server::Nobody => Ok(Let { accepted: 0, asked: 0 }),
            Server::Swap(postgres) | Server::Turns(postgres) => {
                postgres.lets_in(login).map(|yes| Let { accepted: usize::from(yes), asked: 1 })
            }
            Server::Redis(redis) => {
                redis.accepting(login).map(|accepted| Let { accepted, asked: redis.spec.urls.len() })
            }
        }
    }

    /// What has to be kept to go back, beside the old secret: what PostgreSQL stores of it, where that may be read.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub fn stored(&self, user: &str) -> Result<Option<Value>, Failure> {
        match self {
            Server::Swap(postgres) => postgres.stored(user),
            _ => Ok(None),
        }
    }

    /// Makes the new login good beside the old one, where both can be.
    ///
    /// # Errors
    /// It is refused.
    pub fn add(&self, new: Login<'_>) -> Result<(), Failure> {
        match self {
            Server::Nobody | Server::Swap(_) => Ok(()),
            Server::Turns(postgres) => postgres.alter(new.user, Some(&super::scram::verifier(new.password)?)),
            Server::Redis(redis) => redis.add(new.password),
        }
    }

    /// Exchanges the password, where only one can be good; otherwise there is nothing to do. `stored` is what is kept of
    /// the one that is put back.
    ///
    /// # Errors
    /// It is refused.
    pub fn exchange(&self, login: Login<'_>, stored: Option<&Value>) -> Result<(), Failure> {
        let Server::Swap(postgres) = self else { return Ok(()) };
        match stored {
            Some(stored) => postgres.alter(login.user, Some(stored)),
            None => postgres.alter(login.user, Some(&super::scram::verifier(login.password)?)),
        }
    }

    /// Makes a login good no more, where it still is beside another one.
    ///
    /// # Errors
    /// It is refused.
    pub fn drop_login(&self, login: Login<'_>) -> Result<(), Failure> {
        match self {
            Server::Nobody | Server::Swap(_) => Ok(()),
            Server::Turns(postgres) => postgres.alter(login.user, None),
            Server::Redis(redis) => redis.remove(login.password),
        }
    }

    /// Whether both logins are good for a while.
    pub fn has_both(&self) -> bool {
        matches!(self, Server::Turns(_) | Server::Redis(_))
    }
}
