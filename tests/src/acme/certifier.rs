//! acme2certifier, from the Python package index, with an authority that openssl made.
//!
//! What makes it worth having: renewal information, profiles, certificates of six days, and ways of its own. It never
//! repeats `replaces` in an order, as RFC 9773 demands, and accounts need an e-mail address.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::names::Names;
use super::server::{on_some_port, serve};
use crate::account::{self, run_as};
use crate::error::{Doing, Error, Result};
use crate::port;
use crate::redis::Tls;
use crate::sandbox::Sandbox;
use crate::setup::{cached, program, step, tail};
use crate::tool::clean;

const PACKAGE: &str = "acme2certifier==0.46.3";

/// Puts the server behind TLS and sends its validations to private ports.
const SERVE: &str = include_str!("serve.py");

/// A running acme2certifier. Dropping it kills it and removes its directory.
#[derive(Debug)]
pub struct Acme2Certifier {
    port: u16,
    http: u16,
    tls_alpn: u16,
    names: Names,
    tls: Tls,
    packages: PathBuf,
    sandbox: Sandbox,
}

impl Acme2Certifier {
    /// Fetches the server unless it is there, so that a machine that cannot have it is known early.
    pub fn fetch() -> Result<()> {
        packages().map(drop)
    }

    /// Starts a server: certificates live for six days and should be renewed at half of that; the profiles are
    /// `shortlived` and `classic`.
    pub fn start() -> Result<Self> {
        let packages = packages()?;
        let account = account::unprivileged()?;
        let sandbox = Sandbox::new(account, Signal::KILL)?;
        let tls = Tls::make(&sandbox, account)?;
        let names = Names::start(&sandbox, account)?;
        let mut server = Self { port: 0, http: 0, tls_alpn: 0, names, tls, packages, sandbox };
        let config = server.sandbox.dir().join("acme.cfg");
        fs::write(&config, server.config()).doing(|| format!("write {}", config.display()))?;
        on_some_port("acme2certifier", || {
            server.port = port::free()?;
            server.http = port::free()?;
            server.tls_alpn = port::free()?;
            let mut command = Command::new("python3");
            clean(&mut command);
            run_as(&mut command, account);
            command.args(["-c", SERVE]).env("PYTHONPATH", &server.packages).env("HOME", server.sandbox.data());
            command.env("ACME_SRV_CONFIGFILE", &config);
            let ports = [
                ("PORT", server.port),
                ("HTTP_PORT", server.http),
                ("TLS_PORT", server.tls_alpn),
                ("DNS_PORT", server.names.dns_port()),
            ];
            command.envs(ports.map(|(name, port)| (name, port.to_string())));
            command.env("TLS_CERT", &server.tls.cert).env("TLS_KEY", &server.tls.key);
            serve(&server.sandbox, "acme2certifier", &mut command, server.port)
        })?;
        Ok(server)
    }

    fn config(&self) -> String {
        let ca = self.tls.ca.display();
        format!(
            "[DEFAULT]\ndns_server_list: [\"127.0.0.1\"]\n\
             [CAhandler]\nhandler_module: acme2certifier.cahandlers.openssl_ca_handler\nissuing_ca_cert: {ca}\n\
             issuing_ca_key: {}\nissuing_ca_crl: {}\ncert_save_path: {}\n\
             cert_validity_days: 6\n\
             [DBhandler]\nhandler: wsgi\ndbfile: {}\n\
             [Order]\nprofiles: {{\"shortlived\": \"https://localhost/s\", \"classic\": \"https://localhost/c\"}}\n\
             [Renewalinfo]\nrenewalthreshold_pctg: 50\nretry_after_timeout: 3600\n",
            self.tls.ca.with_file_name("ca.key").display(),
            self.sandbox.data().join("crl.pem").display(),
            self.sandbox.data().display(),
            self.database().display()
        )
    }

    fn database(&self) -> PathBuf {
        self.sandbox.data().join("acme.db")
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/directory", self.port)
    }

    /// The authority (PEM) of its own TLS certificate, which is the root that it issues under as well.
    pub fn ca(&self) -> &Path {
        &self.tls.ca
    }

    /// The port on 127.0.0.1 that it asks for http-01.
    pub fn http_port(&self) -> u16 {
        self.http
    }

    /// The port on 127.0.0.1 that it asks for tls-alpn-01.
    pub fn tls_alpn_port(&self) -> u16 {
        self.tls_alpn
    }

    /// Its DNS server.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What a query of its database answers, a line a row, columns separated by `|`.
    pub fn query(&self, sql: &str) -> Result<String> {
        const ASK: &str = "import sqlite3, sys\nfor row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]): \
                           print('|'.join(map(str, row)))";
        let mut python = Command::new("python3");
        clean(&mut python);
        let out = python.args(["-c", ASK]).arg(self.database()).arg(sql).output().doing(|| "run python3".into())?;
        if out.status.success() {
            return Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned());
        }
        Err(Error::Failed { what: sql.to_owned(), why: tail(&String::from_utf8_lossy(&out.stderr), 5) })
    }

    /// How many orders it has taken.
    pub fn orders(&self) -> Result<usize> {
        let count = self.query("SELECT count(*) FROM orders")?;
        count.parse().map_err(|_| Error::Failed { what: "counting orders".into(), why: count })
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.sandbox.dir().join("acme2certifier.log")).unwrap_or_default()
    }
}

/// The directory of the packages, fetched on first use.
fn packages() -> Result<PathBuf> {
    cached(PACKAGE, |work| {
        let what = "fetching acme2certifier with pip";
        let mut pip = Command::new(program("python3-pip")?);
        pip.args(["install", "--quiet", "--only-binary=:all:", "--target", "ready", PACKAGE]);
        step(what, work, &mut pip)?;
        step(what, work, Command::new("chmod").args(["-R", "a+rX", "ready"]))?;
        Ok(work.join("ready"))
    })
}
