//! Certificates for a server: an authority of its own, and one certificate for localhost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account::{Account, run_as};
use crate::error::{Doing, Result};
use crate::sandbox::Sandbox;
use crate::setup::{program, step};

/// How a server is reached with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The certificate of the authority (PEM), which nobody trusts unless told to.
    pub ca: PathBuf,
    /// A certificate of it (PEM) for `localhost` and 127.0.0.1: the server's, and good for a client as well.
    pub cert: PathBuf,
    /// The certificate's key (PEM).
    pub key: PathBuf,
}

/// openssl's own configuration differs from system to system, and its extensions would be added to ours.
const OPENSSL: &str = "[req]\ndistinguished_name = dn\n[dn]\n[ca]\nbasicConstraints = critical,CA:TRUE\n\
    keyUsage = critical,keyCertSign,cRLSign\nsubjectKeyIdentifier = hash\n[server]\nbasicConstraints = CA:FALSE\n\
    keyUsage = critical,digitalSignature\nextendedKeyUsage = serverAuth,clientAuth\n\
    subjectAltName = DNS:localhost,IP:127.0.0.1\n";

impl Tls {
    /// The URL of database 0 over TLS, without a password.
    pub fn url(&self) -> String {
        format!("rediss://localhost:{}/0", self.port)
    }

    pub(crate) fn make(sandbox: &Sandbox, account: Option<Account>) -> Result<Self> {
        let openssl = program("openssl")?;
        let dir = sandbox.make_dir("tls", account)?;
        let config = sandbox.dir().join("openssl.cnf");
        fs::write(&config, OPENSSL).doing(|| format!("write {}", config.display()))?;
        let req = |name: &str, subject: &str, signed_by: &[&str]| {
            let mut command = Command::new(&openssl);
            command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
            command.args(["-days", "30", "-subj", subject, "-extensions", name, "-config"]).arg(&config);
            command.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")]).args(signed_by);
            run_as(&mut command, account);
            step("making a certificate with openssl", &dir, &mut command)
        };
        req("ca", "/CN=test bed authority", &[])?;
        req("server", "/CN=localhost", &["-CA", "ca.pem", "-CAkey", "ca.key"])?;
        let file = |name: &str| dir.join(name);
        Ok(Self { port: 0, ca: file("ca.pem"), cert: file("server.pem"), key: file("server.key") })
    }

    pub(crate) fn config(&self) -> String {
        let line = |name: &str, path: &Path| format!("{name} {}\n", path.display());
        line("tls-ca-cert-file", &self.ca) + &line("tls-cert-file", &self.cert) + &line("tls-key-file", &self.key)
    }
}
