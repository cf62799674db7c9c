//! What the operator wants: `[cert-rotate.certs.NAME]` and `[cert-rotate.issuers.NAME]` in maint.toml, or the same tables
//! as `[certs.NAME]` and `[issuers.NAME]` in a `certs.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use maint_core::config::{Document, Section, Settings, checked, find, key};
use maint_core::failure::Failure;
use maint_core::units::HumanDuration;
use serde::Deserialize;

use crate::cli::Profile;
use crate::endpoint::Endpoint;
use crate::key::KeyType;

/// The keys of `[cert-rotate]` in maint.toml.
pub static SECTION: Section = Section {
    name: "cert-rotate",
    tables: &["certs", "issuers"],
    keys: &[
        key(
            "directory",
            "/etc/maint/certs",
            &["CERT_DIRECTORY"],
            checked::<PathBuf>,
            "directory with live/, archive/ and what is under way",
        ),
        key("roots", "system", &[], checked::<crate::roots::Roots>, "what to trust: system, mozilla, or a PEM file"),
        key("warn_before", "min(30d,33%)", &[], checked::<String>, "check-renewal warns so long before the end"),
        key(
            "critical_before",
            "min(7d,10%)",
            &[],
            checked::<String>,
            "check-renewal is critical so long before the end",
        ),
        key("verify_count", "3", &[], checked::<u32>, "connections in a row that must show a new certificate"),
        key("verify_timeout", "30s", &[], checked::<HumanDuration>, "how long consumers may take to serve it"),
        key("keep", "5", &[], checked::<usize>, "generations of a certificate that are kept"),
    ],
};

/// One certificate that is kept renewed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertSpec {
    /// DNS names and addresses it must be for.
    pub names: Vec<String>,
    /// Who signs it: a name of `[issuers]`.
    pub issuer: String,
    /// The key's kind.
    #[serde(default)]
    pub key_type: KeyType,
    /// Keep the key when the certificate is renewed.
    #[serde(default)]
    pub reuse_key: bool,
    /// When it is due, as `min(30d,33%)`: a duration, a share of its lifetime, or the smaller of both. By default at a third
    /// of its lifetime, at half of it for lifetimes of ten days or less.
    pub renew_before: Option<String>,
    /// What its chain must end at: `system`, `mozilla`, or a PEM file. By default what its issuer says.
    pub roots: Option<String>,
    /// Mode of the key's file in octal; owner and group are those below.
    pub key_mode: Option<String>,
    /// Owner of its files, by name or number.
    pub owner: Option<String>,
    /// Group of its files, by name or number.
    pub group: Option<String>,
    /// Files elsewhere that must have the same content, for servers that cannot be pointed at `live/`.
    #[serde(default)]
    pub install: Vec<Install>,
    /// Who serves it.
    #[serde(default)]
    pub consumers: Vec<Consumer>,
}

/// A copy of one file of a certificate, outside of `live/`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Install {
    /// Which: `cert`, `chain`, `fullchain` or `privkey`.
    pub file: String,
    /// Where.
    pub path: PathBuf,
}

/// A program that serves a certificate.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// What messages call it.
    pub name: String,
    /// Whether it would take the files in `live/`, asked after the switch and before it is told: a command, as a list of
    /// arguments (`["nginx", "-t"]`).
    pub test: Option<Vec<String>>,
    /// How it is told.
    pub reload: Reload,
    /// Where it must be seen to serve the certificate.
    #[serde(default)]
    pub verify: Vec<Endpoint>,
}

/// How a consumer is told that its certificate changed.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reload {
    /// A signal to the process whose number a file holds.
    PidFile {
        /// The file.
        path: PathBuf,
        /// The signal, `HUP` by default.
        signal: Option<String>,
    },
    /// A signal to every process of a name (`/proc/PID/comm`) whose parent has another one.
    Signal {
        /// The name.
        process: String,
        /// The signal, `HUP` by default.
        signal: Option<String>,
    },
    /// A command, as a list of arguments; never through a shell.
    Command {
        /// Program and arguments.
        command: Vec<String>,
        /// How long it may take, 60 seconds by default.
        timeout: Option<HumanDurationText>,
    },
    /// A signal to a container's main process.
    Docker {
        /// Its name or id.
        container: String,
        /// The signal, `HUP` by default.
        signal: Option<String>,
    },
    /// `pg_reload_conf()`.
    #[serde(rename = "postgresql")]
    PostgreSql {
        /// Connection string; the password comes from PGPASSFILE or the environment.
        dsn: String,
    },
    /// `CONFIG SET` of the TLS files to what they are, which reads them again.
    Redis {
        /// URL.
        url: String,
        /// A file with the password.
        password_file: Option<PathBuf>,
    },
}

/// A duration as people write it (`90s`, `5m`).
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct HumanDurationText(pub std::time::Duration);

impl TryFrom<String> for HumanDurationText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse::<HumanDuration>().map(|duration| HumanDurationText(duration.0)).map_err(|error| error.to_string())
    }
}

/// Who signs.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum IssuerSpec {
    /// An authority that speaks ACME (RFC 8555).
    Acme(AcmeSpec),
    /// An authority of our own, kept by `cert-rotate ca`.
    Ca {
        /// The authority's directory.
        directory: PathBuf,
        /// The signing authority's name in it (an intermediate).
        authority: String,
        /// What certificates are for: `server` (the default), `client` or `both`.
        #[serde(default)]
        profile: Profile,
        /// How long a certificate is valid, 47 days by default.
        lifetime: Option<HumanDurationText>,
    },
    /// Somebody else: a request is written, and the certificate is put beside it by hand or by another program.
    Csr {
        /// Where `NAME.csr` is written and `NAME.pem` (the chain, leaf first) is awaited.
        directory: PathBuf,
        /// What the chain must end at: `system`, `mozilla`, or a PEM file.
        roots: Option<String>,
    },
}

/// An ACME authority and the account with it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcmeSpec {
    /// URL of its directory.
    pub directory: String,
    /// Where its own TLS certificate ends, for an authority on the inside: a PEM file. The system's roots by default.
    pub ca_file: Option<PathBuf>,
    /// What the chains it issues must end at: `system`, `mozilla`, or a PEM file.
    pub roots: Option<String>,
    /// E-mail addresses for the account.
    #[serde(default)]
    pub contact: Vec<String>,
    /// External account binding: the key's identifier.
    pub eab_key_id: Option<String>,
    /// External account binding: a file with the HMAC key, base64url.
    pub eab_hmac_file: Option<PathBuf>,
    /// The profile to ask for.
    pub profile: Option<String>,
    /// Take the chain whose root has this common name, if the authority offers it.
    pub preferred_chain: Option<String>,
    /// How names are proven.
    pub challenge: ChallengeSpec,
}

/// How the authority is shown that we control a name.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ChallengeSpec {
    /// http-01, answered by this program.
    #[serde(rename = "http-01")]
    Http01 {
        /// Where to listen, `[::]:80` by default.
        listen: Option<String>,
    },
    /// http-01, answered by a web server from a directory.
    Webroot {
        /// The web server's document root.
        path: PathBuf,
    },
    /// tls-alpn-01 (RFC 8737), answered by this program.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01 {
        /// Where to listen, `[::]:443` by default.
        listen: Option<String>,
    },
    /// dns-01, by a command that is called with `set NAME VALUE` and `clear NAME VALUE`.
    #[serde(rename = "dns-01")]
    Dns01 {
        /// Program and first arguments.
        hook: Vec<String>,
        /// How long to wait before the authority is told, for secondaries to follow.
        wait: Option<HumanDurationText>,
    },
}

/// All that the operator wants.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Certificates by name.
    pub certs: BTreeMap<String, CertSpec>,
    /// Issuers by name.
    pub issuers: BTreeMap<String, IssuerSpec>,
}

impl Wanted {
    /// Reads the tables of `certs.toml` (the one named, or the one found as maint.toml is) or, when there is none, of
    /// maint.toml.
    ///
    /// # Errors
    /// Both files have them, a table does not hold, a name does not fit for a directory, or an issuer is not there.
    pub fn load(settings: &Settings, file: Option<&Path>) -> Result<Self, Failure> {
        let inline =
            Wanted { certs: settings.table(&SECTION, "certs")?, issuers: settings.table(&SECTION, "issuers")? };
        let found = match file {
            Some(path) => Some(path.to_owned()),
            None => find("certs.toml")?,
        };
        let wanted = match found {
            None => inline,
            Some(path) => {
                let document = Document::load(&path, &["certs", "issuers"])?;
                if !inline.certs.is_empty() || !inline.issuers.is_empty() {
                    return Err(Failure::usage(format!(
                        "certificates are described in {} and in [cert-rotate] of maint.toml",
                        path.display()
                    ))
                    .hint("keep them in one of the two"));
                }
                Wanted { certs: document.table("certs")?, issuers: document.table("issuers")? }
            }
        };
        wanted.check()?;
        Ok(wanted)
    }

    fn check(&self) -> Result<(), Failure> {
        for (name, spec) in &self.certs {
            if !is_plain(name) {
                return Err(Failure::usage(format!(
                    "[certs.{name}]: a certificate's name is a directory's: letters, digits, `.`, `-` and `_`, not first a dot"
                )));
            }
            if spec.names.is_empty() {
                return Err(Failure::usage(format!("[certs.{name}] names: is empty")).hint("name what it is for"));
            }
            if !self.issuers.contains_key(&spec.issuer) {
                let nearest = maint_core::config::nearest(&spec.issuer, self.issuers.keys().map(String::as_str));
                return Err(Failure::usage(format!(
                    "[certs.{name}] issuer: there is no [issuers.{}]{nearest}",
                    spec.issuer
                )));
            }
        }
        Ok(())
    }
}

/// Whether a name can be a directory's and nothing else.
pub fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
[issuers.inside]
kind = "csr"
directory = "/etc/maint/requests"

[issuers.public]
kind = "acme"
directory = "https://acme.example.test/directory"
contact = ["ops@example.test"]
challenge = { type = "http-01", listen = "127.0.0.1:5002" }

[certs.web]
names = ["www.example.test", "10.0.0.1"]
issuer = "public"
key_type = "p384"

[[certs.web.consumers]]
name = "nginx"
test = ["nginx", "-t"]
reload = { by = "pid-file", path = "/run/nginx.pid" }
verify = ["127.0.0.1:443;sni=www.example.test"]

[[certs.web.consumers]]
name = "database"
reload = { by = "postgresql", dsn = "host=/run/postgresql" }
verify = ["127.0.0.1:5432;starttls=postgres"]
"#;

    fn load(text: &str) -> Result<Wanted, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("maint.toml");
        std::fs::write(&empty, "").unwrap();
        let settings = Settings::load(Some(&empty), &[&SECTION]).unwrap();
        let file = dir.path().join("certs.toml");
        std::fs::write(&file, text).unwrap();
        Wanted::load(&settings, Some(&file))
    }

    #[test]
    fn a_whole_file_is_read() {
        let wanted = load(WHOLE).unwrap();
        assert_eq!(wanted.certs["web"].consumers.len(), 2);
        assert_eq!(wanted.certs["web"].key_type, KeyType::P384);
        assert!(matches!(wanted.issuers["inside"], IssuerSpec::Csr { .. }));
    }

    #[test]
    fn mistakes_are_named() {
        let refusal = |from: &str, to: &str| load(&WHOLE.replace(from, to)).unwrap_err().message;
        assert!(refusal("issuer = \"public\"", "issuer = \"pubic\"").contains("did you mean `public`?"));
        assert!(refusal("certs.web", "certs.'../web'").contains("a directory's"));
        assert!(refusal("names = [\"www.example.test\", \"10.0.0.1\"]", "names = []").contains("is empty"));
        assert!(refusal("starttls=postgres", "starttls=gopher").contains("gopher"));
        assert!(refusal("key_type", "keytype").contains("did you mean `key_type`?"));
    }
}
