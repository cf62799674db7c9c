//! A role of PostgreSQL.
//!
//! A password is never sent: `ALTER ROLE` gets a verifier computed here, so that neither the statement log nor anybody on
//! the way sees more than what the server stores anyway.

use maint_core::failure::Failure;
use maint_core::pg::{Error, Session, SessionSettings, Target, quote_ident, quote_literal};
use sqlx::{AssertSqlSafe, Row as _};
use zeroize::Zeroizing;

use super::Login;
use crate::secrets::spec::PostgresSpec;
use crate::secrets::value::Value;
use crate::work::Work;

const APPLICATION: &str = "cert-rotate secrets";

/// The role, and how it is reached.
pub struct Postgres<'a> {
    pub(super) spec: &'a PostgresSpec,
    pub(super) work: &'a Work<'a>,
}

impl Postgres<'_> {
    fn open(&self, target: &Target) -> Result<Session, Error> {
        self.work.block_on(Session::open(target, SessionSettings::new(APPLICATION)))
    }

    fn administrator(&self) -> Result<Session, Failure> {
        Ok(self.open(&target(&self.spec.dsn)?)?)
    }

    /// Whether a login is let in.
    pub(super) fn lets_in(&self, login: Login<'_>) -> Result<bool, Failure> {
        let Some(password) = login.password.password() else { return Ok(false) };
        let target = target(&self.spec.login)?.with_login(login.user, &password);
        match self.open(&target) {
            Ok(session) => {
                let user = session.user().to_owned();
                let _ = self.work.block_on(session.close());
                // A map in pg_ident.conf cannot do this, but a pooler can.
                if user != login.user {
                    return Err(Failure::critical(format!("a login as {} ended up as {user}", login.user)));
                }
                Ok(true)
            }
            // invalid_password; a role that has none is told the same.
            Err(Error::Auth(report)) if report.sqlstate == "28P01" => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What is stored of the role's password; `None` if we may not read it, which is for superusers.
    pub(super) fn stored(&self, role: &str) -> Result<Option<Value>, Failure> {
        let mut session = self.administrator()?;
        let sql = format!("SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = {}", quote_literal(role));
        let row = self.work.block_on(sqlx::raw_sql(AssertSqlSafe(sql)).fetch_optional(session.conn()));
        let _ = self.work.block_on(session.close());
        match row.map_err(Error::from) {
            Ok(Some(row)) => {
                let text: Option<String> = row.try_get(0).map_err(Error::from)?;
                Ok(text.map(|text| Value::of(Zeroizing::new(text).as_bytes())))
            }
            Ok(None) => Err(Failure::critical(format!("there is no role {role}")).hint("create it")),
            Err(Error::Privilege(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the role a password by its verifier, or none.
    pub(super) fn alter(&self, role: &str, verifier: Option<&Value>) -> Result<(), Failure> {
        let literal = match verifier.map(|verifier| std::str::from_utf8(verifier.expose())) {
            None => Zeroizing::new("NULL".to_owned()),
            Some(Ok(text)) => Zeroizing::new(quote_literal(text)),
            Some(Err(_)) => return Err(Failure::critical("what is stored of the password is no text")),
        };
        let sql = Zeroizing::new(format!("ALTER ROLE {} PASSWORD {}", quote_ident(role), *literal));
        let mut session = self.administrator()?;
        let executed = self.work.block_on(session.execute_raw(&sql));
        let _ = self.work.block_on(session.close());
        executed.result.map_err(|error| {
            let failure = Failure::from(&error);
            let hint = failure.hint.clone();
            let said = Failure::new(failure.exit, format!("cannot alter role {role}: {error}"));
            match hint {
                Some(hint) => said.hint(hint),
                None => said,
            }
        })
    }
}

fn target(dsn: &str) -> Result<Target, Failure> {
    Ok(Target::resolve(Some(dsn), &|name| std::env::var(name).ok())?)
}
