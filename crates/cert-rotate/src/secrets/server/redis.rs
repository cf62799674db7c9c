//! A user of Redis, on one server or on several: an ACL is not replicated, so each is told.
//!
//! Passwords go to the server as their SHA-256 (`#hash`, `!hash`), and are kept where the server keeps its users, or a
//! restart would bring the old ones back.

use std::time::Duration;

use maint_core::failure::Failure;
use maint_core::secret::{self, redact_url};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo as _, RedisError, TlsCertificates, Value as Reply,
};

use super::Login;
use crate::secrets::inspect::acl_hash;
use crate::secrets::spec::RedisSpec;
use crate::secrets::value::Value;
use crate::work::Work;

const LIMIT: Duration = Duration::from_secs(10);

/// The user, and where it is.
pub struct Redis<'a> {
    pub(super) spec: &'a RedisSpec,
    pub(super) work: &'a Work<'a>,
}

/// What a server knows of a user.
struct User {
    nopass: bool,
    hashes: Vec<String>,
}

impl Redis<'_> {
    /// Whether the user is on every server and needs a password there, and whether a change of it can be kept.
    pub(super) fn exists(&self) -> Result<(), Failure> {
        for url in &self.spec.urls {
            let user = self.work.block_on(async {
                let mut connection = self.administrator(url).await?;
                let user = self.user(url, &mut connection).await?;
                keep(url, &mut connection).await.map(|()| user)
            })?;
            if user.nopass {
                return Err(Failure::critical(format!(
                    "user {} at {} needs no password (nopass); nothing was changed",
                    self.spec.user,
                    redact_url(url)
                ))
                .hint("give it one first: ACL SETUSER with resetpass"));
            }
        }
        Ok(())
    }

    /// How many of the servers let a login in.
    pub(super) fn accepting(&self, login: Login<'_>) -> Result<usize, Failure> {
        let mut accepted = 0;
        for url in &self.spec.urls {
            accepted += usize::from(self.work.block_on(self.lets_in(url, login))?);
        }
        Ok(accepted)
    }

    async fn lets_in(&self, url: &str, login: Login<'_>) -> Result<bool, Failure> {
        let info = address(url)?;
        let bare = redis::RedisConnectionInfo::default();
        let mut connection = self.connect(url, info.set_redis_settings(bare)).await?;
        let mut auth = redis::cmd("AUTH");
        auth.arg(login.user).arg(login.password.expose());
        match auth.query_async::<()>(&mut connection).await {
            Ok(()) => {
                let who: String = redis::cmd("ACL")
                    .arg("WHOAMI")
                    .query_async(&mut connection)
                    .await
                    .unwrap_or_else(|_| login.user.to_owned());
                Ok(who == login.user)
            }
            Err(error) if error.code() == Some("WRONGPASS") => Ok(false),
            Err(error) => Err(said(url, "a login", &error)),
        }
    }

    /// Makes a password good beside those that are.
    pub(super) fn add(&self, password: &Value) -> Result<(), Failure> {
        self.change(password, true)
    }

    /// Makes a password good no more.
    pub(super) fn remove(&self, password: &Value) -> Result<(), Failure> {
        self.change(password, false)
    }

    fn change(&self, password: &Value, add: bool) -> Result<(), Failure> {
        let hash = acl_hash(password);
        let hash = String::from_utf8_lossy(hash.expose()).trim_start_matches('#').to_owned();
        for url in &self.spec.urls {
            self.work.block_on(async {
                let mut connection = self.administrator(url).await?;
                let has = self.user(url, &mut connection).await?.hashes.contains(&hash);
                if has != add {
                    let rule = format!("{}{hash}", if add { '#' } else { '!' });
                    let mut set = redis::cmd("ACL");
                    set.arg("SETUSER").arg(&self.spec.user).arg(rule);
                    set.query_async::<()>(&mut connection).await.map_err(|error| said(url, "ACL SETUSER", &error))?;
                    if self.user(url, &mut connection).await?.hashes.contains(&hash) != add {
                        let shown = redact_url(url);
                        return Err(Failure::critical(format!(
                            "Redis at {shown} took ACL SETUSER, but does not show it"
                        )));
                    }
                }
                // Also when nothing changed: a run that was killed may have changed it.
                keep(url, &mut connection).await
            })?;
        }
        Ok(())
    }

    async fn user(&self, url: &str, connection: &mut MultiplexedConnection) -> Result<User, Failure> {
        let mut get = redis::cmd("ACL");
        get.arg("GETUSER").arg(&self.spec.user);
        let reply: Reply = get.query_async(connection).await.map_err(|error| said(url, "ACL GETUSER", &error))?;
        if reply == Reply::Nil {
            // SETUSER would make it, with rights that nobody thought about.
            let shown = redact_url(url);
            return Err(Failure::critical(format!("there is no user {} at {shown}", self.spec.user)).hint("create it"));
        }
        let list = |name: &str| -> Vec<String> {
            let pairs: Vec<(String, Reply)> = match &reply {
                Reply::Map(pairs) => {
                    pairs.iter().filter_map(|(key, value)| Some((text(key)?, value.clone()))).collect()
                }
                Reply::Array(flat) => flat
                    .chunks_exact(2)
                    .filter_map(|pair| match pair {
                        [key, value] => Some((text(key)?, value.clone())),
                        _ => None,
                    })
                    .collect(),
                _ => Vec::new(),
            };
            let found = pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value);
            match found {
                Some(Reply::Array(items) | Reply::Set(items)) => items.iter().filter_map(text).collect(),
                _ => Vec::new(),
            }
        };
        Ok(User { nopass: list("flags").iter().any(|flag| flag == "nopass"), hashes: list("passwords") })
    }

    async fn administrator(&self, url: &str) -> Result<MultiplexedConnection, Failure> {
        let mut info = address(url)?;
        let unusable = |error: secret::SecretError| Failure::usage(error.to_string());
        let password = match &self.spec.password_file {
            Some(file) => Some(secret::from_file(file).map_err(unusable)?),
            None => secret::from_env("REDISCLI_AUTH").map_err(unusable)?,
        };
        if let Some(password) = password {
            let settings = info.redis_settings().clone().set_password(password.expose());
            info = info.set_redis_settings(settings);
        }
        self.connect(url, info).await
    }

    async fn connect(&self, url: &str, info: ConnectionInfo) -> Result<MultiplexedConnection, Failure> {
        // There is no default provider in this build of rustls, so a process must choose one; it may have done so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = match &self.spec.ca_file {
            Some(file) => {
                let root = std::fs::read(file)
                    .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(root) })
            }
            None => Client::open(info),
        };
        let client = client.map_err(|error| said(url, "the connection", &error))?;
        let limits = AsyncConnectionConfig::new().set_connection_timeout(Some(LIMIT)).set_response_timeout(Some(LIMIT));
        client
            .get_multiplexed_async_connection_with_config(&limits)
            .await
            .map_err(|error| said(url, "the connection", &error))
    }
}

fn address(url: &str) -> Result<ConnectionInfo, Failure> {
    let info = url.into_connection_info();
    info.map_err(|error| {
        Failure::usage(format!("not a Redis URL: {}: {}", redact_url(url), redact_url(&error.to_string())))
    })
}

/// Makes the users outlast a restart: in the ACL file, else in the configuration. A server without either forgets all of
/// its users when it restarts, and is none that anybody relies on.
async fn keep(url: &str, connection: &mut MultiplexedConnection) -> Result<(), Failure> {
    let Err(error) = redis::cmd("ACL").arg("SAVE").query_async::<()>(connection).await else { return Ok(()) };
    if !error.to_string().contains("not configured to use an ACL file") {
        return Err(said(url, "ACL SAVE", &error));
    }
    match redis::cmd("CONFIG").arg("REWRITE").query_async::<()>(connection).await {
        Ok(()) => Ok(()),
        Err(error) if error.to_string().contains("without a config file") => {
            let shown = redact_url(url);
            tracing::warn!(
                "Redis at {shown} has neither an ACL file nor a configuration: it forgets its users on restart"
            );
            Ok(())
        }
        Err(error) => Err(said(url, "CONFIG REWRITE", &error)),
    }
}

fn text(value: &Reply) -> Option<String> {
    match value {
        Reply::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Reply::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

fn said(url: &str, what: &str, error: &RedisError) -> Failure {
    Failure::critical(format!("Redis at {}: {what} failed: {}", redact_url(url), redact_url(&error.to_string())))
}
