//! A mail server that goes over to TLS when asked: aiosmtpd, from the Python package index.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::account::{self, run_as};
use crate::acme::server::{on_some_port, serve};
use crate::error::Result;
use crate::port;
use crate::sandbox::Sandbox;
use crate::setup::{cached, program, step};
use crate::tool::clean;

const PACKAGES: [&str; 3] = ["aiosmtpd==1.4.6", "atpublic==9.0.0", "attrs==26.1.0"];

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Smtp {
    port: u16,
    _sandbox: Sandbox,
}

impl Smtp {
    /// Fetches the server unless it is there, so that a machine that cannot have it is known early.
    pub fn fetch() -> Result<()> {
        packages().map(drop)
    }

    /// Starts one that offers STARTTLS if it gets a certificate and its key (PEM).
    pub fn start(tls: Option<(&Path, &Path)>) -> Result<Self> {
        let packages = packages()?;
        let account = account::unprivileged()?;
        let sandbox = Sandbox::new(account, Signal::KILL)?;
        let mut port = 0;
        on_some_port("a mail server", || {
            port = port::free()?;
            let mut command = Command::new("python3");
            clean(&mut command);
            command.env("PYTHONPATH", &packages).env("HOME", sandbox.data());
            command.args(["-m", "aiosmtpd", "--nosetuid", "--listen", &format!("127.0.0.1:{port}")]);
            if let Some((cert, key)) = tls {
                command.arg("--tlscert").arg(cert).arg("--tlskey").arg(key);
            }
            run_as(&mut command, account);
            serve(&sandbox, "smtp", &mut command, port)
        })?;
        Ok(Self { port, _sandbox: sandbox })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn packages() -> Result<PathBuf> {
    cached(PACKAGES.first().unwrap_or(&"aiosmtpd"), |work| {
        let what = "fetching a mail server with pip";
        let mut pip = Command::new(program("python3-pip")?);
        pip.args(["install", "--quiet", "--only-binary=:all:", "--no-deps", "--target", "ready"]).args(PACKAGES);
        step(what, work, &mut pip)?;
        step(what, work, Command::new("chmod").args(["-R", "a+rX", "ready"]))?;
        Ok(work.join("ready"))
    })
}
