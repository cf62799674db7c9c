//! How a server is reached: connection strings in the forms that tools read, and psql.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};

use crate::error::{Error, Result};
use crate::tool::{clean, run_fed};

/// The superuser of every server of the bed.
pub(crate) const SUPERUSER: &str = "postgres";

/// A server's address and the superuser's password, if it asks for one.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) port: u16,
    pub(crate) password: Option<String>,
    pub(crate) psql: PathBuf,
}

impl Client {
    pub(crate) fn url(&self, db: &str) -> String {
        self.url_with(SUPERUSER, self.password.as_deref(), db)
    }

    pub(crate) fn url_with(&self, user: &str, password: Option<&str>, db: &str) -> String {
        let secret = password.map(|p| format!(":{}", percent(p))).unwrap_or_default();
        format!("postgres://{}{secret}@127.0.0.1:{}/{}", percent(user), self.port, percent(db))
    }

    pub(crate) fn dsn(&self, db: &str) -> String {
        let quote = |v: &str| format!("'{}'", v.replace('\\', "\\\\").replace('\'', "\\'"));
        let secret = self.password.as_deref().map(|p| format!(" password={}", quote(p))).unwrap_or_default();
        format!("host=127.0.0.1 port={} user={SUPERUSER} dbname={}{secret}", self.port, quote(db))
    }

    pub(crate) async fn connect(&self, db: &str) -> Result<PgConnection> {
        let mut options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(SUPERUSER)
            .database(db)
            .ssl_mode(PgSslMode::Disable);
        if let Some(password) = &self.password {
            options = options.password(password);
        }
        let failed = |e| Error::Connect { db: db.to_owned(), source: Box::new(e) };
        PgConnection::connect_with(&options).await.map_err(failed)
    }

    /// psql without anybody's psqlrc or environment: bare values, one row a line, columns divided by `|`.
    pub(crate) fn psql_command(&self, db: &str) -> Command {
        let mut command = Command::new(&self.psql);
        clean(&mut command);
        command.args(["-X", "-q", "-A", "-t", "-w", "-f", "-", "-d", &self.dsn_without_password(db)]);
        command.env("PGCONNECT_TIMEOUT", "10");
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password);
        }
        command
    }

    pub(crate) fn psql(&self, db: &str, sql: &str) -> Result<String> {
        let out = run_fed(self.psql_command(db).args(["-v", "ON_ERROR_STOP=1"]), sql)?;
        if out.code == 0 {
            Ok(out.stdout.trim_end_matches('\n').to_owned())
        } else {
            Err(Error::Sql { db: db.to_owned(), message: out.stderr.trim().to_owned() })
        }
    }

    fn dsn_without_password(&self, db: &str) -> String {
        Self { password: None, ..self.clone() }.dsn(db)
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A quoted SQL identifier.
pub(crate) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A quoted SQL string.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_survive_in_urls_and_keyword_strings() {
        let client = Client { port: 5, password: Some("p@:/'".into()), psql: PathBuf::new() };
        assert_eq!(client.url("a b/ü"), "postgres://postgres:p%40%3A%2F%27@127.0.0.1:5/a%20b%2F%C3%BC");
        assert_eq!(client.dsn(r"it's\x"), r"host=127.0.0.1 port=5 user=postgres dbname='it\'s\\x' password='p@:/\''");
    }
}
