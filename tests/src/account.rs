//! The account that servers run under.
//!
//! PostgreSQL and PgBouncer refuse to run as root. When the tests are root, servers get the `postgres` account, or
//! `nobody` where there is none, and every directory they need must be open to it.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::error::{Doing, Error, Result};

/// A user and group id to drop to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The account to drop to; `None` when this process is not root and servers simply run as it.
pub(crate) fn unprivileged() -> Result<Option<Account>> {
    if !is_root() {
        return Ok(None);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").doing(|| "read /etc/passwd".into())?;
    ["postgres", "nobody"].iter().find_map(|name| find(&passwd, name)).map(Some).ok_or_else(|| Error::Missing {
        what: "an unprivileged account to run servers as (postgres or nobody)".into(),
        command: "useradd --system --shell /usr/sbin/nologin postgres".into(),
    })
}

/// passwd(5): name:password:uid:gid:...
fn find(passwd: &str, name: &str) -> Option<Account> {
    let line = passwd.lines().find(|l| l.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(Account { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

/// Lets `command` run under `account`.
pub(crate) fn run_as(command: &mut Command, account: Option<Account>) {
    if let Some(a) = account {
        command.uid(a.uid).gid(a.gid);
    }
}

/// Whether `account` can pass through every directory down to `path`. Judged by the permission bits for others, which is
/// all a foreign account can count on.
pub(crate) fn can_enter(path: &Path, account: Option<Account>) -> bool {
    account.is_none() || path.ancestors().all(|dir| dir.metadata().is_ok_and(|m| m.mode() & 0o001 != 0))
}

/// Gives `path` to `account`.
pub(crate) fn give(path: &Path, account: Option<Account>) -> Result<()> {
    match account {
        Some(a) => std::os::unix::fs::chown(path, Some(a.uid), Some(a.gid))
            .doing(|| format!("change the owner of {}", path.display())),
        None => Ok(()),
    }
}
