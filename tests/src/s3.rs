//! A server that speaks S3's protocol on 127.0.0.1: moto's, which keeps its objects in memory and honours conditional
//! writes.
//!
//! It comes from the Python package index, into the cache that other servers are in as well, without the packages that
//! it needs only for other services of AWS.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::account::{self, Account, run_as};
use crate::error::{Doing, Error, Result};
use crate::port;
use crate::redis::Tls;
use crate::sandbox::Sandbox;
use crate::setup::{cached, program, step, tail};
use crate::tool::clean;

/// What is installed: moto, and of its many optional needs those of its server and of S3.
const PACKAGES: [&str; 5] =
    ["moto==5.2.5", "flask==3.1.3", "flask-cors==6.0.5", "PyYAML==6.0.3", "py-partiql-parser==0.6.3"];

/// A listing's page holds this many keys, so that few objects make several pages.
pub const PAGE: usize = 7;

const PATIENCE: Duration = Duration::from_mins(1);

/// A running server.
#[derive(Debug)]
pub struct S3Server {
    port: u16,
    tls: Option<Tls>,
    account: Option<Account>,
    packages: PathBuf,
    sandbox: Sandbox,
}

impl S3Server {
    /// Fetches the server unless it is there, so that a machine that cannot have it is known early.
    pub fn fetch() -> Result<()> {
        packages().map(drop)
    }

    /// Starts a server.
    pub fn start() -> Result<Self> {
        Self::launch(false)
    }

    /// Starts a server that speaks only TLS, with a certificate of an authority made for it.
    pub fn start_with_tls() -> Result<Self> {
        Self::launch(true)
    }

    fn launch(with_tls: bool) -> Result<Self> {
        let packages = packages()?;
        let account = account::unprivileged()?;
        let sandbox = Sandbox::new(account, Signal::KILL)?;
        let tls = if with_tls { Some(Tls::make(&sandbox, account)?) } else { None };
        let mut server = Self { port: 0, tls, account, packages, sandbox };
        let mut why = String::new();
        for _ in 0..10 {
            server.port = port::free()?;
            match server.serve()? {
                None => return Ok(server),
                Some(log) => why = log,
            }
        }
        Err(Error::Failed { what: "starting an S3 server on ten ports in turn".into(), why })
    }

    /// Its log when the port was taken.
    fn serve(&self) -> Result<Option<String>> {
        let log_path = self.sandbox.dir().join("log");
        let log = fs::File::create(&log_path).doing(|| format!("open {}", log_path.display()))?;
        let errors = log.try_clone().doing(|| format!("open {}", log_path.display()))?;
        let mut command = self.python();
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &self.port.to_string()]);
        if let Some(tls) = &self.tls {
            command.arg("-c").arg(&tls.cert).arg("-k").arg(&tls.key);
        }
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        // In a group of its own, or a Ctrl-C meant for the starter would end the server too.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let what = format!("starting an S3 server on port {}", self.port);
        let mut child = command.spawn().doing(|| what.clone())?;
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().doing(|| "wait for the S3 server".into())? {
                let log = tail(&fs::read_to_string(&log_path).unwrap_or_default(), 15);
                if log.contains("already in use") {
                    return Ok(Some(log));
                }
                return Err(Error::Failed { what, why: format!("{status}; its log ends:\n{log}") });
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(None);
            }
            if Instant::now() >= end {
                return Err(Error::TimedOut { what, after: PATIENCE });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Python with the packages, in the sandbox.
    fn python(&self) -> Command {
        let mut command = Command::new("python3");
        clean(&mut command);
        command.env("PYTHONPATH", &self.packages).env("MOTO_S3_DEFAULT_MAX_KEYS", PAGE.to_string());
        command.envs(self.environment()).env("HOME", self.sandbox.data());
        command.current_dir(self.sandbox.data());
        run_as(&mut command, self.account);
        command
    }

    /// How a client finds it: variables for the client's environment.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut all = vec![
            ("AWS_ENDPOINT_URL", format!("{scheme}://localhost:{}", self.port)),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "testbed".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "testbed-secret".to_owned()),
        ];
        match &self.tls {
            // The first is what rustls reads, the second what Python's client reads.
            Some(tls) => {
                all.extend(["SSL_CERT_FILE", "AWS_CA_BUNDLE"].map(|name| (name, tls.ca.display().to_string())));
            }
            None => all.push(("AWS_ALLOW_HTTP", "true".to_owned())),
        }
        all
    }

    /// Runs lines of Python in which `s3` is Amazon's own client, and returns what they print.
    pub fn client(&self, script: &str) -> Result<String> {
        let script = format!("import boto3\ns3 = boto3.client('s3')\n{script}");
        let mut command = self.python();
        let out = command.args(["-c", &script]).stdin(Stdio::null()).output().doing(|| "run python3".into())?;
        if out.status.success() {
            return Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned());
        }
        Err(Error::Failed {
            what: "a script with Amazon's client".into(),
            why: tail(&String::from_utf8_lossy(&out.stderr), 15),
        })
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, name: &str) -> Result<()> {
        self.client(&format!("s3.create_bucket(Bucket={name:?})")).map(drop)
    }

    /// Stops the server for a while: it keeps its connections and answers nothing.
    pub fn freeze(&self) -> Result<()> {
        self.sandbox.freeze()
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.sandbox.signal(Signal::CONT);
    }

    /// Ends the server for good, with all that it holds.
    pub fn kill(&self) -> Result<()> {
        self.sandbox.kill_all()
    }
}

/// The directory of the packages, fetched on first use.
fn packages() -> Result<PathBuf> {
    cached(PACKAGES.first().unwrap_or(&"moto"), |work| {
        let what = "fetching an S3 server with pip";
        let mut pip = Command::new(program("python3-pip")?);
        pip.args(["install", "--quiet", "--only-binary=:all:", "--target", "ready"]).args(PACKAGES);
        step(what, work, &mut pip)?;
        step(what, work, Command::new("chmod").args(["-R", "a+rX", "ready"]))?;
        Ok(work.join("ready"))
    })
}
