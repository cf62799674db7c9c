//! Throw-away authorities and certificates, made by the program `openssl`: an implementation that is not ours.

use std::cell::Cell;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::account;
use crate::acme::server::{PortTaken, serve, serve_until};
use crate::error::{Doing, Error, Result};
use crate::sandbox::Sandbox;
use crate::setup::{program, step};
use crate::tool::{bounded, clean};

/// openssl's own configuration differs from system to system, and its extensions would be added to ours.
const CONFIG: &str = "[req]\ndistinguished_name = dn\n[dn]\n[ca]\ndefault_ca = here\n[here]\ndatabase = index\n\
    new_certs_dir = .\ndefault_md = sha256\nrand_serial = yes\nunique_subject = no\nemail_in_dn = no\npolicy = any\n\
    crlnumber = number\n[any]\ncommonName = optional\n[list]\nauthorityKeyIdentifier = keyid\n";

const AUTHORITY: &str = "basicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign\n\
    subjectKeyIdentifier = hash\n";

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA of 2048 bits.
    Rsa,
    /// ECDSA on P-256.
    P256,
    /// Ed25519.
    Ed25519,
}

impl KeyKind {
    fn options(self) -> &'static [&'static str] {
        match self {
            KeyKind::Rsa => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            KeyKind::P256 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            KeyKind::Ed25519 => &["-algorithm", "ED25519"],
        }
    }
}

/// An authority, or a certificate of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate alone (PEM).
    pub cert: PathBuf,
    /// The certificate and the intermediates above it, as a server shows them, without the root (PEM); of a root, itself.
    pub chain: PathBuf,
    /// The key (PEM): mode 0600, and of the account that the bed's servers run under.
    pub key: PathBuf,
}

/// What a certificate is to say.
#[derive(Clone, Debug)]
pub struct Leaf<'a> {
    /// The names in its subjectAltName, host names or addresses; the first is its common name as well.
    pub names: &'a [&'a str],
    /// The kind of its key.
    pub key: KeyKind,
    /// When it begins to be valid, as date(1) reads it (`-2 days`).
    pub from: &'a str,
    /// When it ends (`90 days`).
    pub until: &'a str,
}

impl<'a> Leaf<'a> {
    /// One with an ECDSA key, valid from yesterday for another 90 days.
    pub fn of(names: &'a [&'a str]) -> Self {
        Self { names, key: KeyKind::P256, from: "-1 day", until: "90 days" }
    }
}

/// A directory of authorities and certificates. Dropping it removes them.
#[derive(Debug)]
pub struct Pki {
    openssl: PathBuf,
    sandbox: Sandbox,
    made: Cell<u32>,
}

impl Pki {
    /// An empty one.
    pub fn new() -> Result<Self> {
        let openssl = program("openssl")?;
        let sandbox = Sandbox::new(account::unprivileged()?, Signal::KILL)?;
        let path = sandbox.dir().join("openssl.cnf");
        fs::write(&path, CONFIG).doing(|| format!("write {}", path.display()))?;
        Ok(Self { openssl, sandbox, made: Cell::new(0) })
    }

    /// The directory, which everybody may enter.
    pub fn dir(&self) -> &Path {
        self.sandbox.dir()
    }

    /// A port of 127.0.0.1 for [`Pki::publish`] or [`Pki::responder`], to be written into certificates first.
    pub fn port(&self) -> Result<u16> {
        crate::port::free()
    }

    /// A root of this common name, valid for ten years.
    pub fn root(&self, name: &str, kind: KeyKind) -> Result<Pair> {
        self.make(name, kind, None, ["-1 day", "10 years"], AUTHORITY)
    }

    /// An authority that another one vouches for, valid for five years.
    pub fn intermediate(&self, name: &str, kind: KeyKind, issuer: &Pair) -> Result<Pair> {
        let says = format!("{AUTHORITY}authorityKeyIdentifier = keyid\n");
        self.make(name, kind, Some(issuer), ["-1 day", "5 years"], &says)
    }

    /// A certificate for a server.
    pub fn leaf(&self, leaf: &Leaf<'_>, issuer: &Pair) -> Result<Pair> {
        self.leaf_with(leaf, issuer, "extendedKeyUsage = serverAuth\n")
    }

    /// A certificate that says this as well, in openssl's language: what it is for, where its revocation is told.
    pub fn leaf_with(&self, leaf: &Leaf<'_>, issuer: &Pair, says: &str) -> Result<Pair> {
        let kind = |name: &&str| if name.parse::<IpAddr>().is_ok() { "IP" } else { "DNS" };
        let names: Vec<String> = leaf.names.iter().map(|name| format!("{}:{name}", kind(name))).collect();
        let says = format!(
            "basicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n\
             subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\nsubjectAltName = {}\n{says}",
            names.join(",")
        );
        let name = leaf.names.first().unwrap_or(&"nobody");
        self.make(name, leaf.key, Some(issuer), [leaf.from, leaf.until], &says)
    }

    /// Another certificate for an authority that there is, with the same name and key, from another authority: a cross
    /// certificate. `until` is when it ends, as date(1) reads it.
    pub fn cross(&self, name: &str, authority: &Pair, issuer: &Pair, until: &str) -> Result<Pair> {
        let says = format!("{AUTHORITY}authorityKeyIdentifier = keyid\n");
        self.certify(name, authority.key.clone(), Some(issuer), ["-2 years", until], &says)
    }

    /// A revocation list of an authority, in force from an hour ago until `until`.
    pub fn list(&self, issuer: &Pair, revoked: &[&Pair], until: &str) -> Result<PathBuf> {
        self.made.set(self.made.get() + 1);
        let path = self.dir().join(format!("{}.crl", self.made.get()));
        self.revoke(issuer, revoked)?;
        let number = self.dir().join("number");
        fs::write(&number, format!("{:04x}\n", self.made.get())).doing(|| format!("write {}", number.display()))?;
        let mut make = self.command("ca");
        make.args(["-gencrl", "-config", "openssl.cnf", "-crlexts", "list"]).arg("-cert").arg(&issuer.cert);
        make.args(["-crl_lastupdate", &Self::moment("-2 hours")?, "-crl_nextupdate", &Self::moment(until)?]);
        self.openssl(make.arg("-keyfile").arg(&issuer.key).arg("-out").arg(&path))?;
        Ok(path)
    }

    /// An OCSP responder of an authority on this port of 127.0.0.1, for as long as this directory. It knows what was
    /// revoked, and `known` as good.
    pub fn responder(&self, issuer: &Pair, known: &[&Pair], revoked: &[&Pair], port: u16) -> Result<()> {
        self.revoke(issuer, revoked)?;
        let index = self.dir().join("index");
        let mut text = fs::read_to_string(&index).doing(|| format!("read {}", index.display()))?;
        for pair in known {
            let mut ask = self.command("x509");
            ask.args(["-noout", "-serial", "-in"]).arg(&pair.cert);
            let out = bounded(&mut ask, "", Duration::from_secs(10))?;
            let serial = out.stdout.trim().trim_start_matches("serial=").to_owned();
            text += &["V\t991231235959Z\t\t", &serial, "\tunknown\t/CN=known\n"].concat();
        }
        let index = self.dir().join("responder");
        fs::write(&index, text).doing(|| format!("write {}", index.display()))?;
        let mut command = self.command("ocsp");
        command.arg("-index").arg(&index).args(["-port", &port.to_string(), "-rsigner"]).arg(&issuer.cert);
        command.arg("-rkey").arg(&issuer.key).arg("-CA").arg(&issuer.cert);
        let is_ready = |log: &str| log.contains("waiting for OCSP client");
        Self::free(serve_until(&self.sandbox, "ocsp", &mut command, port, is_ready)?, "an OCSP responder")
    }

    /// Serves the files of this directory by HTTP on this port of 127.0.0.1, for as long as it is there.
    pub fn publish(&self, port: u16) -> Result<()> {
        let mut python = Command::new("python3");
        clean(&mut python);
        python.args(["-m", "http.server", &port.to_string(), "--bind", "127.0.0.1", "--directory"]).arg(self.dir());
        Self::free(serve(&self.sandbox, "http", &mut python, port)?, "a web server")
    }

    fn free(started: std::result::Result<(), PortTaken>, what: &str) -> Result<()> {
        started.map_err(|taken| Error::Failed { what: format!("starting {what}"), why: taken.0 })
    }

    /// Makes an index in which these are revoked.
    fn revoke(&self, issuer: &Pair, revoked: &[&Pair]) -> Result<()> {
        let index = self.dir().join("index");
        fs::write(&index, "").doing(|| format!("write {}", index.display()))?;
        for pair in revoked {
            let mut revoke = self.command("ca");
            revoke.args(["-config", "openssl.cnf", "-cert"]).arg(&issuer.cert).arg("-keyfile").arg(&issuer.key);
            self.openssl(revoke.arg("-revoke").arg(&pair.cert))?;
        }
        Ok(())
    }

    fn make(&self, name: &str, kind: KeyKind, issuer: Option<&Pair>, validity: [&str; 2], says: &str) -> Result<Pair> {
        let key = self.dir().join(format!("{}.key", self.made.get() + 1));
        self.openssl(self.command("genpkey").args(kind.options()).arg("-out").arg(&key))?;
        let pair = self.certify(name, key, issuer, validity, says)?;
        fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o600))
            .doing(|| format!("close {}", pair.key.display()))?;
        account::give(&pair.key, account::unprivileged()?)?;
        Ok(pair)
    }

    /// A certificate for a key that there is.
    fn certify(
        &self,
        name: &str,
        key: PathBuf,
        issuer: Option<&Pair>,
        validity: [&str; 2],
        says: &str,
    ) -> Result<Pair> {
        self.made.set(self.made.get() + 1);
        let number = self.made.get();
        let file = |end: &str| self.dir().join(format!("{number}{end}"));
        let cert = file(".pem");
        let chain = if issuer.is_some() { file("-chain.pem") } else { cert.clone() };
        let pair = Pair { cert, chain, key };
        let (request, extensions, index) = (file(".csr"), file(".ext"), self.dir().join("index"));
        let write = |path: &Path, text: &str| fs::write(path, text).doing(|| format!("write {}", path.display()));
        write(&extensions, &format!("[these]\n{says}"))?;
        write(&index, "")?;

        let mut ask = self.command("req");
        ask.args(["-new", "-config", "openssl.cnf", "-subj", &format!("/CN={name}"), "-key"]).arg(&pair.key);
        self.openssl(ask.arg("-out").arg(&request))?;

        let [from, until] = validity.map(Self::moment);
        let mut sign = self.command("ca");
        sign.args(["-batch", "-notext", "-config", "openssl.cnf", "-startdate", &from?, "-enddate", &until?]);
        sign.args(["-extensions", "these", "-extfile"]).arg(&extensions).arg("-in").arg(&request);
        match issuer {
            None => sign.arg("-selfsign").arg("-keyfile").arg(&pair.key),
            Some(issuer) => sign.arg("-cert").arg(&issuer.cert).arg("-keyfile").arg(&issuer.key),
        };
        self.openssl(sign.arg("-out").arg(&pair.cert))?;

        let read = |path: &Path| fs::read_to_string(path).doing(|| format!("read {}", path.display()));
        if let Some(issuer) = issuer {
            let above = if issuer.chain == issuer.cert { String::new() } else { read(&issuer.chain)? };
            write(&pair.chain, &(read(&pair.cert)? + &above))?;
        }
        Ok(pair)
    }

    fn command(&self, command: &str) -> Command {
        let mut openssl = Command::new(&self.openssl);
        clean(&mut openssl);
        openssl.arg(command);
        openssl
    }

    fn openssl(&self, command: &mut Command) -> Result<()> {
        step("making a certificate with openssl", self.dir(), command)
    }

    /// As `openssl ca` reads it.
    fn moment(when: &str) -> Result<String> {
        let mut date = Command::new("date");
        let out = bounded(date.args(["-u", "-d", when, "+%Y%m%d%H%M%SZ"]), "", Duration::from_secs(10))?;
        if out.code == 0 {
            return Ok(out.stdout.trim().to_owned());
        }
        Err(Error::Failed { what: format!("reading the date `{when}`"), why: out.stderr })
    }
}
