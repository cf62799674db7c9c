//! Where the server is: one address, the seeds of a cluster, or sentinels that know the address.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use maint_core::failure::Failure;
use maint_core::secret::{self, Secret, redact_url};
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};

/// The URL that holds when nobody gives one.
pub const DEFAULT_URL: &str = "redis://127.0.0.1:6379/0";

/// What kind of place the address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A server; when it turns out to be a node of a cluster, the whole cluster.
    Server,
    /// Nodes of a cluster, which must be one.
    Cluster,
    /// Sentinels, and the name of the primary that they watch.
    Sentinel(String),
}

/// Where to connect, and as whom.
#[derive(Clone)]
pub struct Target {
    /// The addresses given: more than one for a cluster or sentinels.
    pub seeds: Vec<ConnectionInfo>,
    /// What the addresses are.
    pub place: Place,
    tls: Option<TlsCertificates>,
    shown: String,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({} {:?})", self.shown, self.place)
    }
}

impl fmt::Display for Target {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The files of a TLS connection beside the system's roots.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// Roots to trust instead of the system's, PEM.
    pub ca: Option<PathBuf>,
    /// Our certificate, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
}

impl Target {
    /// Reads a URL: `redis://[user[:password]@]host[:port][,host[:port]...][/db]`, `rediss://` for TLS, or
    /// `unix:///path?db=N`. `password` fills in where the URL has none.
    ///
    /// # Errors
    /// The URL or a file does not hold; the message never shows the password.
    pub fn resolve(url: &str, place: Place, password: Option<&Secret>, tls: &TlsFiles) -> Result<Self, Failure> {
        let shown = redact_url(url);
        let bad = |why: &str| {
            Failure::usage(format!("not a Redis URL: {shown}: {why}"))
                .hint("write redis://[user:password@]host:port/db, rediss://... for TLS, or unix:///path/to/socket")
        };
        let mut seeds = Vec::new();
        for single in split_hosts(url) {
            let mut seed: ConnectionInfo =
                single.as_str().into_connection_info().map_err(|error| bad(&redact_url(&error.to_string())))?;
            if let ConnectionAddr::TcpTls { insecure: true, .. } = seed.addr() {
                return Err(bad("#insecure is not supported: give the server's CA with tls_ca"));
            }
            let settings = seed.redis_settings().clone();
            if settings.db() < 0 {
                return Err(bad("the database number is negative"));
            }
            if let (None, Some(password)) = (settings.password(), password) {
                let settings = settings.set_password(password.expose());
                seed = seed.set_redis_settings(settings);
            }
            let settings = seed.redis_settings().clone().set_lib_name("redis-maint", env!("CARGO_PKG_VERSION"));
            seeds.push(seed.set_redis_settings(settings));
        }
        if place == Place::Cluster && seeds.iter().any(|seed| seed.redis_settings().db() != 0) {
            return Err(bad("a cluster has database 0 only"));
        }
        if seeds.len() > 1 && place == Place::Server {
            return Err(bad("several hosts are for --cluster or --sentinel"));
        }
        // There is no default provider in this build of rustls, so a process must choose one; it may have done so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Target { seeds, place, tls: read_tls(tls)?, shown })
    }

    /// The database that the URL names.
    pub fn db(&self) -> u32 {
        self.seeds.first().and_then(|seed| u32::try_from(seed.redis_settings().db()).ok()).unwrap_or(0)
    }

    /// Whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        self.seeds.iter().any(|seed| matches!(seed.addr(), ConnectionAddr::TcpTls { .. }))
    }

    /// The same login at another host: a node that the cluster or a sentinel told of.
    pub fn at(&self, host: &str, port: u16) -> Option<ConnectionInfo> {
        let seed = self.seeds.first()?.clone();
        let addr = if self.is_tls() {
            ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host.to_owned(), port)
        };
        Some(seed.set_addr(addr))
    }

    /// The host of the first seed, for nodes of a cluster that give none.
    pub fn first_host(&self) -> Option<String> {
        match self.seeds.first()?.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Some(host.clone()),
            _ => None,
        }
    }

    /// A client for one address of this target.
    ///
    /// # Errors
    /// The TLS files do not fit.
    pub fn client(&self, info: ConnectionInfo) -> Result<Client, Failure> {
        let client = match &self.tls {
            Some(tls) => Client::build_with_tls(info, tls.clone()),
            None => Client::open(info),
        };
        client.map_err(|error| Failure::usage(format!("{}: {error}", self.shown)))
    }
}

/// How long to wait for a connection, and for an answer.
pub fn timeouts(connect: Duration, answer: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(connect)).set_response_timeout(Some(answer))
}

/// `scheme://login@a:1,b:2/0` as one URL a host.
fn split_hosts(url: &str) -> Vec<String> {
    let split = || {
        let (scheme, rest) = url.split_once("://")?;
        if scheme.contains("unix") {
            return None;
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (format!("{login}@"), hosts),
            None => (String::new(), authority),
        };
        Some(hosts.split(',').map(|host| format!("{scheme}://{login}{host}{path}")).collect())
    };
    split().unwrap_or_else(|| vec![url.to_owned()])
}

fn read_tls(files: &TlsFiles) -> Result<Option<TlsCertificates>, Failure> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
    };
    let client_tls = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => {
            Some(redis::ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
        }
        (None, None) => None,
        _ => return Err(Failure::usage("tls_cert and tls_key belong together: one of them is missing")),
    };
    let root_cert = files.ca.as_deref().map(read).transpose()?;
    Ok((client_tls.is_some() || root_cert.is_some()).then_some(TlsCertificates { client_tls, root_cert }))
}

/// The password from `REDISCLI_AUTH`, or from a file.
///
/// # Errors
/// The file cannot be read.
pub fn password(file: Option<&Path>) -> Result<Option<Secret>, Failure> {
    let bad = |error: secret::SecretError| Failure::usage(error.to_string());
    match file {
        Some(path) => secret::from_file(path).map(Some).map_err(bad),
        None => secret::from_env("REDISCLI_AUTH").map_err(bad),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, place: Place) -> Result<Target, Failure> {
        Target::resolve(url, place, None, &TlsFiles::default())
    }

    #[test]
    fn every_kind_of_address_reads() {
        let plain = target("redis://h:7000/3", Place::Server).unwrap();
        assert_eq!((plain.db(), plain.is_tls()), (3, false));
        assert!(target("rediss://u:p@h", Place::Server).unwrap().is_tls());
        target("unix:///run/redis.sock?db=2", Place::Server).unwrap();
        let seeds = target("redis://:pw@a:1,b:2,c/0", Place::Cluster).unwrap().seeds;
        assert_eq!(seeds.len(), 3);
        assert!(seeds.iter().all(|seed| seed.redis_settings().password() == Some("pw")));
    }

    #[test]
    fn a_password_is_never_shown() {
        let target = target("redis://user:s3cret@h:7000", Place::Server).unwrap();
        assert!(!format!("{target} {target:?}").contains("s3cret"));
        for url in ["redis://user:s3cret@h:seven", "http://user:s3cret@h", "redis://user:s3cret@h/-1"] {
            let failure = super::tests::target(url, Place::Server).unwrap_err();
            assert!(!failure.to_string().contains("s3cret"), "{failure}");
        }
    }

    #[test]
    fn several_hosts_need_a_cluster_or_sentinels() {
        assert!(target("redis://a,b", Place::Server).is_err());
        target("redis://a,b", Place::Sentinel("main".into())).unwrap();
        assert!(target("redis://a/1", Place::Cluster).is_err());
    }

    #[test]
    fn the_url_s_password_wins_over_the_environment_s() {
        let secret = "other".parse::<String>().map(Secret::from).unwrap();
        let files = TlsFiles::default();
        let with = |url| Target::resolve(url, Place::Server, Some(&secret), &files).unwrap().seeds.remove(0);
        assert_eq!(with("redis://:own@h").redis_settings().password(), Some("own"));
        assert_eq!(with("redis://h").redis_settings().password(), Some("other"));
    }
}
