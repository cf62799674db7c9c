//! Starting a server in a sandbox, and asking it over TLS.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Doing, Error, Result};
use crate::sandbox::Sandbox;
use crate::setup::{program, tail};
use crate::tool::{bounded, clean};

/// RSA keys are made before Pebble answers.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server that has to take another port.
pub(crate) struct PortTaken(pub(crate) String);

/// Starts `command` in the sandbox, its output in `NAME.log` there, and waits until its port can be connected to.
pub(crate) fn serve(
    sandbox: &Sandbox,
    name: &str,
    command: &mut Command,
    port: u16,
) -> Result<std::result::Result<(), PortTaken>> {
    serve_until(sandbox, name, command, port, |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
}

/// As [`serve`], for a server that must not be disturbed by a connection without a request: it is ready when its log says so.
pub(crate) fn serve_until(
    sandbox: &Sandbox,
    name: &str,
    command: &mut Command,
    port: u16,
    is_ready: impl Fn(&str) -> bool,
) -> Result<std::result::Result<(), PortTaken>> {
    let path = sandbox.dir().join(format!("{name}.log"));
    let log = fs::File::create(&path).doing(|| format!("open {}", path.display()))?;
    let errors = log.try_clone().doing(|| format!("open {}", path.display()))?;
    command.current_dir(sandbox.data()).stdin(Stdio::null()).stdout(log).stderr(errors);
    // In a group of its own, or a Ctrl-C meant for the starter would end the server too.
    std::os::unix::process::CommandExt::process_group(command, 0);
    let what = format!("starting {name} on port {port}");
    let mut child = command.spawn().doing(|| what.clone())?;
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().doing(|| format!("wait for {name}"))? {
            let log = tail(&fs::read_to_string(&path).unwrap_or_default(), 15);
            if log.contains("already in use") {
                return Ok(Err(PortTaken(log)));
            }
            return Err(Error::Failed { what, why: format!("{status}; its log ends:\n{log}") });
        }
        if is_ready(&fs::read_to_string(&path).unwrap_or_default()) {
            return Ok(Ok(()));
        }
        if Instant::now() >= end {
            return Err(Error::TimedOut { what, after: PATIENCE });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Tries ports until one is free.
pub(crate) fn on_some_port<T>(
    what: &str,
    mut start: impl FnMut() -> Result<std::result::Result<T, PortTaken>>,
) -> Result<T> {
    let mut why = String::new();
    for _ in 0..10 {
        match start()? {
            Ok(started) => return Ok(started),
            Err(PortTaken(log)) => why = log,
        }
    }
    Err(Error::Failed { what: format!("starting {what} on ten ports in turn"), why })
}

/// The body of `https://localhost:PORT/PATH`.
pub(super) fn get(ca: &Path, port: u16, path: &str) -> Result<String> {
    let mut openssl = Command::new(program("openssl")?);
    clean(&mut openssl);
    openssl.args(["s_client", "-quiet", "-verify_return_error", "-servername", "localhost", "-CAfile"]).arg(ca);
    openssl.args(["-connect", &format!("127.0.0.1:{port}")]);
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    let out = bounded(&mut openssl, &request, Duration::from_secs(30))?;
    let (head, body) = out.stdout.split_once("\r\n\r\n").unwrap_or((&out.stdout, ""));
    if head.lines().next().is_some_and(|status| status.contains(" 200")) {
        return Ok(body.to_owned());
    }
    let why = if head.is_empty() { tail(&out.stderr, 5) } else { head.to_owned() };
    Err(Error::Failed { what: format!("GET https://localhost:{port}{path}"), why })
}
