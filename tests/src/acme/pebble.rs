//! Let's Encrypt's small server for tests, as Debian packages it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::names::Names;
use super::server::{get, on_some_port, serve};
use crate::account::{self, run_as};
use crate::error::{Doing, Error, Result};
use crate::port;
use crate::redis::Tls;
use crate::sandbox::Sandbox;
use crate::setup::program;
use crate::tool::clean;

/// The external account that a server which requires one knows: key identifier, and HMAC key in base64url.
const EXTERNAL: (&str, &str) = ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W");

/// A running Pebble. Dropping it kills it and removes its directory.
#[derive(Debug)]
pub struct Pebble {
    port: u16,
    management: u16,
    http: u16,
    tls_alpn: u16,
    names: Names,
    tls: Tls,
    sandbox: Sandbox,
}

/// A server to be adjusted and started.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    rejected_nonces: u8,
    external_accounts: bool,
    lifetime: Option<Duration>,
    alternate_roots: u8,
}

impl Builder {
    /// So many percent of the nonces are refused as if they had been used before.
    #[must_use]
    pub fn reject_nonces(mut self, percent: u8) -> Self {
        self.rejected_nonces = percent;
        self
    }

    /// Accounts must be bound to [`Pebble::external_account`].
    #[must_use]
    pub fn require_external_account(mut self) -> Self {
        self.external_accounts = true;
        self
    }

    /// How long certificates are valid, in whole seconds; five years when nothing is said.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Offers so many chains to other roots besides the usual one.
    #[must_use]
    pub fn alternate_roots(mut self, count: u8) -> Self {
        self.alternate_roots = count;
        self
    }

    /// Starts it.
    pub fn start(&self) -> Result<Pebble> {
        let server = program("pebble")?;
        let account = account::unprivileged()?;
        let sandbox = Sandbox::new(account, Signal::KILL)?;
        let tls = Tls::make(&sandbox, account)?;
        let names = Names::start(&sandbox, account)?;
        let mut pebble = Pebble { port: 0, management: 0, http: 0, tls_alpn: 0, names, tls, sandbox };
        let config = pebble.sandbox.dir().join("pebble.json");
        on_some_port("Pebble", || {
            pebble.port = port::free()?;
            pebble.management = port::free()?;
            pebble.http = port::free()?;
            pebble.tls_alpn = port::free()?;
            fs::write(&config, self.config(&pebble).to_string()).doing(|| format!("write {}", config.display()))?;
            let mut command = Command::new(&server);
            clean(&mut command);
            run_as(&mut command, account);
            command.arg("-config").arg(&config);
            command.args(["-strict", "-dnsserver", &format!("127.0.0.1:{}", pebble.names.dns_port())]);
            command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
            command.env("PEBBLE_WFE_NONCEREJECT", self.rejected_nonces.to_string());
            command.env("PEBBLE_ALTERNATE_ROOTS", self.alternate_roots.to_string());
            serve(&pebble.sandbox, "pebble", &mut command, pebble.port)
        })?;
        Ok(pebble)
    }

    fn config(&self, pebble: &Pebble) -> Value {
        let mut config = json!({
            "listenAddress": format!("127.0.0.1:{}", pebble.port),
            "managementListenAddress": format!("127.0.0.1:{}", pebble.management),
            "certificate": pebble.tls.cert,
            "privateKey": pebble.tls.key,
            "httpPort": pebble.http,
            "tlsPort": pebble.tls_alpn,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": self.external_accounts,
        });
        if self.external_accounts {
            config["externalAccountMACKeys"] = json!({ EXTERNAL.0: EXTERNAL.1 });
        }
        if let Some(lifetime) = self.lifetime {
            config["certificateValidityPeriod"] = lifetime.as_secs().into();
        }
        json!({ "pebble": config })
    }
}

impl Pebble {
    /// A server that rejects nothing and lets certificates live for five years.
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// A server to be adjusted and started.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The authority (PEM) of its own TLS certificate.
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

    /// Key identifier and HMAC key (base64url) of the external account that it knows, if it requires one.
    pub fn external_account() -> (&'static str, &'static str) {
        EXTERNAL
    }

    /// A file with a root certificate (PEM) that it issues under: 0 is the usual one, alternates follow. Another each
    /// time a server is started.
    pub fn root(&self, which: u8) -> Result<PathBuf> {
        let path = self.sandbox.dir().join(format!("root-{which}.pem"));
        let pem = get(&self.tls.ca, self.management, &format!("/roots/{which}"))?;
        fs::write(&path, pem).doing(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// What it says of a certificate, by its serial number in hexadecimal: `Valid`, or `Revoked`.
    pub fn status(&self, serial: &str) -> Result<String> {
        let text = get(&self.tls.ca, self.management, &format!("/cert-status-by-serial/{serial}"))?;
        let status = serde_json::from_str::<Value>(&text).ok();
        let status = status.as_ref().and_then(|value| value.get("Status")?.as_str());
        status.map(str::to_owned).ok_or_else(|| Error::Failed { what: "asking for a status".into(), why: text.clone() })
    }

    /// How many orders it has taken.
    pub fn orders(&self) -> usize {
        self.log().matches("Added order ").count()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.sandbox.dir().join("pebble.log")).unwrap_or_default()
    }

    /// Stops it for a while: it keeps its connections and answers nothing.
    pub fn freeze(&self) -> Result<()> {
        self.sandbox.freeze()
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.sandbox.signal(Signal::CONT);
    }

    /// Ends it for good; its port refuses connections from now on.
    pub fn kill(&self) -> Result<()> {
        self.sandbox.kill_all()
    }
}
