//! Telling a consumer that its certificate changed.
//!
//! That it was told is all that is known afterwards: a signal has no answer, PostgreSQL answers `t` whether it took the new
//! files or not, and a command returns what its author thought of. What counts is what the consumer shows then
//! ([`mod@super::prove`]).

mod redis;
mod signal;

use std::ffi::OsString;
use std::path::PathBuf;

use maint_core::cancel::Cancel;
use maint_core::pg::{Session, SessionSettings, Target};

use super::program::{self, ProgramError};
use crate::TOOL;
use crate::config::Reload;

pub use redis::RedisError;
pub use signal::{SignalError, named};

/// A consumer could not be told.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// By a signal.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// By its program.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// By Docker.
    #[error("Docker did not send {signal} to the container {container}: {why}")]
    Docker {
        /// Its name or id.
        container: String,
        /// The signal.
        signal: String,
        /// What the daemon, or the way to it, said.
        why: String,
    },
    /// By a statement.
    #[error("PostgreSQL was not told to reload: {0}")]
    PostgreSql(#[from] maint_core::pg::Error),
    /// The statement said no.
    #[error("PostgreSQL could not signal itself to reload")]
    PostgreSqlRefused,
    /// By `CONFIG SET`.
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// Tells a consumer. `env` is for its program; `known` are the certificates that it may be showing while it is told
/// (anything, when there are none).
///
/// # Errors
/// It could not be told.
pub async fn tell(
    reload: &Reload,
    env: &[(OsString, OsString)],
    known: &[[u8; 32]],
    cancel: Option<&Cancel>,
) -> Result<(), ReloadError> {
    match reload {
        Reload::PidFile { path, signal } => Ok(signal::pid_file(path, signal.as_deref())?),
        Reload::Signal { process, signal } => Ok(signal::by_name(process, signal.as_deref())?),
        Reload::Command { command, timeout } => {
            let limit = timeout.map_or(program::LIMIT, |timeout| timeout.0);
            Ok(program::run(command, env, limit, cancel).await?)
        }
        Reload::Docker { container, signal } => docker(container, signal.as_deref()).await,
        Reload::PostgreSql { dsn } => postgresql(dsn).await,
        Reload::Redis { url, password_file } => Ok(redis::reload(url, password_file.as_deref(), known).await?),
    }
}

/// What in a description could not work, before anything is changed.
///
/// # Errors
/// What it is.
pub fn check(reload: &Reload) -> Result<(), String> {
    match reload {
        Reload::PidFile { signal, .. } | Reload::Signal { signal, .. } | Reload::Docker { signal, .. } => {
            named(signal.as_deref()).map(drop).map_err(|error| error.to_string())
        }
        Reload::Command { command, .. } if command.is_empty() => Err("the command is empty".to_owned()),
        Reload::PostgreSql { dsn } => target(dsn).map(drop).map_err(|error| error.to_string()),
        Reload::Redis { url, .. } => redis::address(url).map(drop).map_err(|error| error.to_string()),
        Reload::Command { .. } => Ok(()),
    }
}

async fn docker(container: &str, signal: Option<&str>) -> Result<(), ReloadError> {
    let signal = format!("SIG{}", named(signal)?.0);
    let failed = |error: bollard::errors::Error| ReloadError::Docker {
        container: container.to_owned(),
        signal: signal.clone(),
        why: error.to_string(),
    };
    let docker = match std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()) {
        Some(host) => bollard::Docker::connect_with_host(&host),
        None => bollard::Docker::connect_with_unix_defaults(),
    };
    let options = bollard::query_parameters::KillContainerOptionsBuilder::default().signal(&signal).build();
    docker.map_err(failed)?.kill_container(container, Some(options)).await.map_err(failed)
}

fn target(dsn: &str) -> Result<Target, maint_core::pg::Error> {
    Target::resolve(Some(dsn), &|name| std::env::var(name).ok())
}

async fn postgresql(dsn: &str) -> Result<(), ReloadError> {
    let mut session = Session::open(&target(dsn)?, SessionSettings::new(format!("{TOOL} reload"))).await?;
    let told = sqlx::query_scalar::<_, bool>("SELECT pg_catalog.pg_reload_conf()")
        .fetch_one(session.conn())
        .await
        .map_err(maint_core::pg::Error::from)?;
    // A lost goodbye changes nothing.
    let _ = session.close().await;
    if told { Ok(()) } else { Err(ReloadError::PostgreSqlRefused) }
}

/// A path for messages.
fn shown(path: &std::path::Path) -> PathBuf {
    path.to_owned()
}
