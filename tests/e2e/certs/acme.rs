//! Orders, renewal and due dates, on real ACME servers.

mod account;
mod check;
mod order;
mod refusal;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use testbed::acme::{Acme2Certifier, Pebble, PebbleBuilder};
use testbed::{Output, records, run, tool};

/// The two authorities, as far as a configuration sees them.
enum Authority {
    Pebble(Pebble),
    Certifier(Acme2Certifier),
}

impl Authority {
    fn directory(&self) -> String {
        match self {
            Authority::Pebble(server) => server.directory(),
            Authority::Certifier(server) => server.directory(),
        }
    }

    fn ca(&self) -> &Path {
        match self {
            Authority::Pebble(server) => server.ca(),
            Authority::Certifier(server) => server.ca(),
        }
    }

    fn root(&self) -> PathBuf {
        match self {
            Authority::Pebble(server) => server.root(0).unwrap(),
            Authority::Certifier(server) => server.ca().to_owned(),
        }
    }

    fn http(&self) -> String {
        let port = match self {
            Authority::Pebble(server) => server.http_port(),
            Authority::Certifier(server) => server.http_port(),
        };
        format!("{{ type = \"http-01\", listen = \"127.0.0.1:{port}\" }}")
    }

    fn orders(&self) -> usize {
        match self {
            Authority::Pebble(server) => server.orders(),
            Authority::Certifier(server) => server.orders().unwrap(),
        }
    }
}

/// A directory with a configuration of one issuer, `public`.
struct Place {
    dir: TempDir,
    authority: Authority,
}

impl Place {
    /// An authority that proves by http-01, and the certificate `web` for `www.example.test`.
    fn new(authority: Authority) -> Self {
        let place = Place { dir: tempfile::tempdir().unwrap(), authority };
        place.configure("", &place.authority.http(), WEB);
        place
    }

    fn pebble(builder: &PebbleBuilder) -> Self {
        Place::new(Authority::Pebble(builder.start().unwrap()))
    }

    fn certifier() -> Self {
        Place::new(Authority::Certifier(Acme2Certifier::start().unwrap()))
    }

    fn server(&self) -> &Pebble {
        match &self.authority {
            Authority::Pebble(server) => server,
            Authority::Certifier(_) => panic!("it is the other one"),
        }
    }

    /// Writes the configuration: more keys of the issuer, how names are proven, and the certificates.
    fn configure(&self, issuer: &str, challenge: &str, certs: &str) {
        let text = format!(
            "[issuers.public]\nkind = \"acme\"\ndirectory = {:?}\nca_file = {}\nroots = {}\n\
             contact = [\"ops@example.test\"]\nchallenge = {challenge}\n{issuer}\n{certs}",
            self.authority.directory(),
            quoted(self.authority.ca()),
            quoted(&self.authority.root()),
        );
        self.write(&text);
    }

    fn write(&self, certs: &str) {
        fs::write(self.path("certs.toml"), certs).unwrap();
        fs::write(self.path("maint.toml"), format!("[cert-rotate]\ndirectory = {}\n", quoted(&self.path("certs"))))
            .unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run_with(&self, env: &[(&str, &str)], args: &[&str]) -> Told {
        let mut command = tool("cert-rotate", self.dir.path()).unwrap();
        command.args(["-o", "ndjson"]).args(args).envs(env.iter().copied());
        let out = run(&mut command).unwrap();
        let records = records(&out.stdout).unwrap();
        Told { out, records }
    }

    fn run(&self, args: &[&str]) -> Told {
        self.run_with(&[], args)
    }

    fn renew(&self) -> Told {
        self.run(&["letsencrypt-renewal"])
    }

    fn live(&self, file: &str) -> String {
        fs::read_to_string(self.path("certs/live/web").join(file)).unwrap()
    }

    fn issued(&self) -> bool {
        self.path("certs/live/web").exists()
    }

    /// What `openssl x509` says of what is live.
    fn openssl(&self, args: &[&str]) -> String {
        let mut command = std::process::Command::new("openssl");
        command.args(["x509", "-noout", "-in"]).arg(self.path("certs/live/web/cert.pem")).args(args);
        let out = run(&mut command).unwrap();
        assert_eq!(out.code, 0, "{out}");
        out.stdout.trim().to_owned()
    }
}

/// A path as a TOML string.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// What a run said.
struct Told {
    out: Output,
    records: Vec<Value>,
}

impl Told {
    #[track_caller]
    fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.out.code, code, "{}", self.out);
        self
    }

    /// The data of the records of a kind.
    fn of(&self, kind: &str) -> Vec<&Value> {
        let kind = format!("maint.{kind}.v1");
        self.records.iter().filter(|record| record["type"] == *kind).map(|record| &record["data"]).collect()
    }

    fn all(&self) -> String {
        self.out.to_string()
    }
}

const WEB: &str = "[certs.web]\nnames = [\"www.example.test\"]\nissuer = \"public\"\n";
