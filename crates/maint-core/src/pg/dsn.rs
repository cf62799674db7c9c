//! Where to connect, and as whom: resolved once, before anything is opened, by libpq's rules.
//!
//! The driver's own options are only made from a finished [`Target`]. Read directly they would differ from what `psql`
//! does with the same words: no `key=value` strings, unknown parameters skipped with a log line, `sslmode=require`
//! without a check of the certificate even where a root certificate is given, and TLS asked of a Unix socket.
//!
//! One difference is left: where both the connection string and `PGOPTIONS` carry options, libpq drops the latter and the
//! driver sends both, those of the string last, so that they win setting by setting.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use zeroize::Zeroizing;

use super::conninfo::{self, KEYS, Params, Support};
use super::error::Error;
use super::pgpass;
use crate::secret::Secret;

/// Everything that is needed to open a session, and what may be printed about it.
///
/// `Display` is `user@host:port/database` and never holds the password; neither does `Debug`.
#[derive(Clone)]
pub struct Target {
    host: String,
    hostaddr: Option<String>,
    port: u16,
    user: String,
    database: String,
    /// Given outright; a password from the password file is looked up per database when it is needed.
    password: Option<Zeroizing<String>>,
    passfile: Option<PathBuf>,
    ssl_mode: PgSslMode,
    ssl_root_cert: Option<String>,
    ssl_cert: Option<String>,
    ssl_key: Option<String>,
    options: Option<String>,
    application_name: Option<String>,
    connect_timeout: Option<Duration>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.hostaddr.as_ref().filter(|_| self.host.is_empty()).unwrap_or(&self.host);
        if host.contains(':') {
            write!(f, "{}@[{host}]:{}/{}", self.user, self.port, self.database)
        } else {
            write!(f, "{}@{host}:{}/{}", self.user, self.port, self.database)
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

impl Target {
    /// Resolves the target from the `--dsn` flag, else `DATABASE_URL`, with `PG*` variables for what it leaves out.
    ///
    /// `env` is how a variable is read, `|name| std::env::var(name).ok()` in a program. An empty variable counts as unset.
    /// The driver reads `PGOPTIONS` and the certificate variables from the process environment on its own as well.
    pub fn resolve(dsn_flag: Option<&str>, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let mut params = match dsn_flag.map(str::to_owned).filter(|d| !d.is_empty()).or_else(|| set("DATABASE_URL")) {
            Some(text) => conninfo::parse(Zeroizing::new(text).trim())?,
            None => Params::new(),
        };
        for key in KEYS {
            if let Some(value) = key.env.filter(|_| !params.contains_key(key.name)).and_then(set) {
                params.insert(key.name, Zeroizing::new(value));
            }
        }
        params.retain(|_, value| !value.is_empty());
        refuse_unsupported(&params)?;
        Self::from_params(params, &set)
    }

    fn from_params(mut params: Params, set: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let mut take = |name: &str| params.remove(name).map(|value| value.to_string());
        let port = match take("port") {
            None => 5432,
            // Not shown: in a URL, a password that was not percent-encoded ends up here.
            Some(port) => port.trim().parse().ok().filter(|p| *p != 0).ok_or_else(|| {
                usage("the port is not a number from 1 to 65535 (in a URL, a password needs percent-encoding)")
            })?,
        };
        let hostaddr = take("hostaddr");
        if hostaddr.as_ref().is_some_and(|address| address.parse::<IpAddr>().is_err()) {
            return Err(usage("`hostaddr` is not an IP address; a host name belongs into `host`"));
        }
        let host = match take("host") {
            Some(host) => host,
            None if hostaddr.is_some() => String::new(),
            None => default_host(port),
        };
        let user = take("user").unwrap_or_else(|| PgConnectOptions::new_without_pgpass().get_username().to_owned());
        let database = take("dbname").unwrap_or_else(|| user.clone());
        let ssl_root_cert = take("sslrootcert");
        let ssl_mode = ssl_mode(take("sslmode").as_deref(), ssl_root_cert.as_deref())?;
        if hostaddr.is_some() && !host.is_empty() && matches!(ssl_mode, PgSslMode::VerifyFull) {
            return Err(usage(
                "`hostaddr` together with `host` and sslmode=verify-full is not supported: the certificate would be \
                 compared with the address; leave `hostaddr` out",
            ));
        }
        let passfile = take("passfile").map(PathBuf::from).or_else(|| {
            let home = set("HOME").map(PathBuf::from).or_else(std::env::home_dir)?;
            Some(home.join(".pgpass"))
        });
        Ok(Self {
            connect_timeout: connect_timeout(take("connect_timeout").as_deref())?,
            ssl_root_cert: ssl_root_cert.filter(|path| path != "system"),
            ssl_cert: take("sslcert"),
            ssl_key: take("sslkey"),
            options: take("options"),
            application_name: take("application_name"),
            password: params.remove("password"),
            host,
            hostaddr,
            port,
            user,
            database,
            passfile,
            ssl_mode,
        })
    }

    /// The same server and role, another database. A password from the password file is looked up anew for it.
    #[must_use]
    pub fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    /// The same server and database, another role with its password: to see whether it may log in.
    #[must_use]
    pub fn with_login(&self, user: &str, password: &Secret) -> Self {
        let password = Some(Zeroizing::new(password.expose().to_owned()));
        Self { user: user.to_owned(), password, passfile: None, ..self.clone() }
    }

    /// The database that a session will be in.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The role that a session will log in as.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Host name, address or socket directory.
    pub fn host(&self) -> &str {
        self.hostaddr.as_ref().filter(|_| self.host.is_empty()).unwrap_or(&self.host)
    }

    /// TCP port, or the number in the socket's file name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The application name that the operator asked for (`PGAPPNAME` or the connection string), if any.
    pub fn application_name(&self) -> Option<&str> {
        self.application_name.as_deref()
    }

    /// How long opening a session may take, where the operator said so.
    pub fn connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    /// Whether a password was given or is found in the password file. A file that is refused is warned about in the log.
    pub fn has_password(&self) -> bool {
        self.find_password().is_some()
    }

    /// The environment in which a program that uses libpq (`pg_dump`, `pg_restore`) reaches the same database. The password is
    /// in it and nowhere else: a child's environment is its own and its user's, its arguments are everybody's.
    pub fn libpq_environment(&self) -> Vec<(OsString, OsString)> {
        let mut variables: Vec<(&str, OsString)> = vec![
            ("PGHOST", self.host.clone().into()),
            ("PGHOSTADDR", self.hostaddr.clone().unwrap_or_default().into()),
            ("PGPORT", self.port.to_string().into()),
            ("PGUSER", self.user.clone().into()),
            ("PGDATABASE", self.database.clone().into()),
            ("PGSSLMODE", libpq_name(self.ssl_mode).into()),
            ("PGSSLROOTCERT", self.ssl_root_cert.clone().unwrap_or_default().into()),
            ("PGSSLCERT", self.ssl_cert.clone().unwrap_or_default().into()),
            ("PGSSLKEY", self.ssl_key.clone().unwrap_or_default().into()),
            ("PGOPTIONS", self.options.clone().unwrap_or_default().into()),
        ];
        if let Some(password) = self.find_password() {
            variables.push(("PGPASSWORD", password.as_str().into()));
        }
        // An empty variable counts as unset, and takes away what this program itself inherited.
        variables.into_iter().map(|(name, value)| (name.into(), value)).collect()
    }

    fn find_password(&self) -> Option<Zeroizing<String>> {
        if self.password.is_some() {
            return self.password.clone();
        }
        let wanted = pgpass::Wanted { host: self.host(), port: self.port, database: &self.database, user: &self.user };
        pgpass::lookup(self.passfile.as_deref()?, &wanted).unwrap_or_else(|refused| {
            tracing::warn!("{refused}");
            None
        })
    }

    /// The driver's options. Every field is set here, so that none is left to the driver's own reading of the environment.
    pub(crate) fn connect_options(&self, application_name: &str) -> Result<PgConnectOptions, Error> {
        // The only way to hand over an options string as it is. The reserved password keeps the driver's own reader
        // away from the password file, where it would look for another host; the real one replaces it below.
        let mut url = String::from("postgres://x:x@localhost/x");
        if let Some(options) = &self.options {
            url.push_str("?options=");
            url.extend(options.bytes().map(|b| format!("%{b:02X}")));
        }
        let mut built = PgConnectOptions::from_str(&url)
            .map_err(|_| usage("the connection options cannot be passed to the driver"))?
            .port(self.port)
            .username(&self.user)
            .database(&self.database)
            .password(self.find_password().as_ref().map_or("", |p| p.as_str()))
            .application_name(application_name)
            // Not needed since PostgreSQL 12, and a startup parameter that poolers refuse.
            .extra_float_digits(None)
            .disable_statement_logging();
        let address = self.hostaddr.as_ref().unwrap_or(&self.host);
        if Path::new(address).is_absolute() {
            return Ok(built.host(address).socket(address).ssl_mode(PgSslMode::Disable));
        }
        built = built.host(address).ssl_mode(self.ssl_mode);
        if let Some(path) = readable("sslrootcert", self.ssl_root_cert.as_deref())? {
            built = built.ssl_root_cert(path);
        }
        if let Some(path) = readable("sslcert", self.ssl_cert.as_deref())? {
            built = built.ssl_client_cert(path);
        }
        if let Some(path) = readable("sslkey", self.ssl_key.as_deref())? {
            built = built.ssl_client_key(path);
        }
        Ok(built)
    }
}

/// The file of a parameter, opened once to see that it can be: the driver's error would name neither file nor parameter.
fn readable<'a>(name: &str, path: Option<&'a str>) -> Result<Option<&'a str>, Error> {
    if let Some(path) = path {
        std::fs::File::open(path).map_err(|e| usage(format!("cannot read `{name}` file {path}: {e}")))?;
    }
    Ok(path)
}

/// As libpq calls it.
fn libpq_name(mode: PgSslMode) -> &'static str {
    match mode {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    }
}

fn usage(message: impl Into<String>) -> Error {
    Error::Usage { message: message.into() }
}

/// Refuses what would be silently left out: a parameter that this program cannot honour, and a list of servers.
fn refuse_unsupported(params: &Params) -> Result<(), Error> {
    for key in KEYS {
        let (Some(value), Support::Only(accepted)) = (params.get(key.name), &key.support) else { continue };
        if accepted.contains(&value.as_str()) {
            continue;
        }
        let variable = key.env.map(|env| format!(" (or {env})")).unwrap_or_default();
        let name = key.name;
        return Err(usage(match (name, accepted) {
            ("service", _) => {
                "service files are not supported: write `service`'s (or PGSERVICE's) parameters out".to_owned()
            }
            (_, []) => format!("connection parameter `{name}`{variable} is not supported; leave it out"),
            _ => format!("connection parameter `{name}`{variable} is supported only as {}", accepted.join(" or ")),
        }));
    }
    for name in ["host", "hostaddr", "port"] {
        if params.get(name).is_some_and(|value| value.contains(',')) {
            return Err(usage(format!("several servers in `{name}` are not supported: name the one to maintain")));
        }
    }
    Ok(())
}

/// `require` with a root certificate checks it, as libpq has done since 8.4; `allow` is raised to `prefer`, because the
/// driver would never try TLS for it.
fn ssl_mode(text: Option<&str>, root_cert: Option<&str>) -> Result<PgSslMode, Error> {
    Ok(match (text, root_cert) {
        (None | Some("verify-full"), Some("system")) => PgSslMode::VerifyFull,
        (_, Some("system")) => return Err(usage("sslrootcert=system needs sslmode=verify-full")),
        (Some("disable"), _) => PgSslMode::Disable,
        (None | Some("allow" | "prefer"), _) => PgSslMode::Prefer,
        (Some("require"), None) => PgSslMode::Require,
        (Some("require" | "verify-ca"), _) => PgSslMode::VerifyCa,
        (Some("verify-full"), _) => PgSslMode::VerifyFull,
        (Some(_), _) => {
            return Err(usage("`sslmode` has to be disable, allow, prefer, require, verify-ca or verify-full"));
        }
    })
}

/// Whole seconds; zero and below mean no limit, as in libpq.
fn connect_timeout(text: Option<&str>) -> Result<Option<Duration>, Error> {
    let Some(text) = text else { return Ok(None) };
    let seconds: i32 = text.trim().parse().map_err(|_| usage("`connect_timeout` is not a whole number of seconds"))?;
    Ok(Some(u64::try_from(seconds).ok().filter(|s| *s > 0).map_or(Duration::MAX, Duration::from_secs)))
}

/// The default socket directory that has this port's socket, else localhost.
fn default_host(port: u16) -> String {
    let socket = format!(".s.PGSQL.{port}");
    pgpass::DEFAULT_SOCKET_DIRS
        .iter()
        .find(|dir| Path::new(dir).join(&socket).exists())
        .map_or_else(|| "localhost".to_owned(), |dir| (*dir).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(dsn: Option<&str>, env: &[(&str, &str)]) -> Result<Target, Error> {
        let env: Vec<(String, String)> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Target::resolve(dsn, &move |name| env.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    }

    #[test]
    fn the_flag_wins_over_database_url_and_pg_variables_fill_the_rest() {
        let env =
            [("DATABASE_URL", "postgres://u@url/db"), ("PGHOST", "pg"), ("PGPORT", "6000"), ("PGUSER", "envuser")];
        assert_eq!(resolve(None, &env).unwrap().to_string(), "u@url:6000/db");
        assert_eq!(resolve(Some("host=flag"), &env).unwrap().to_string(), "envuser@flag:6000/envuser");
        assert_eq!(resolve(Some(""), &env[1..]).unwrap().to_string(), "envuser@pg:6000/envuser");
        assert_eq!(resolve(Some("app"), &env).unwrap().to_string(), "envuser@pg:6000/app");
    }

    #[test]
    fn the_password_is_in_no_printed_form() {
        let target = resolve(Some("postgres://me:hunter2@db/app"), &[]).unwrap();
        assert_eq!(format!("{target} {target:?}"), "me@db:5432/app Target(me@db:5432/app)");
        assert_eq!(target.find_password().unwrap().as_str(), "hunter2");
    }

    #[test]
    fn a_password_file_serves_a_url_and_is_asked_again_for_another_database() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".pgpass");
        std::fs::write(&file, "db:5432:one:me:first\ndb:5432:two:me:second\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let password = |t: &Target| t.find_password().map(|p| p.to_string());
        let home = dir.path().to_str().unwrap();
        let target = resolve(Some("postgres://me@db/one"), &[("HOME", home)]).unwrap();
        assert_eq!(password(&target).as_deref(), Some("first"));
        assert_eq!(password(&target.with_database("two")).as_deref(), Some("second"));
        assert_eq!(password(&target.with_database("three")), None);
        let named = resolve(Some("postgres://me@db/one"), &[("PGPASSFILE", file.to_str().unwrap())]).unwrap();
        assert_eq!(password(&named).as_deref(), Some("first"));
        let explicit = resolve(Some("postgres://me@db/one"), &[("HOME", home), ("PGPASSWORD", "env")]).unwrap();
        assert_eq!(password(&explicit.with_database("two")).as_deref(), Some("env"));
    }

    #[test]
    fn several_servers_and_service_files_are_refused_by_name() {
        for (dsn, env, part) in [
            (Some("host=a,b"), vec![], "several servers in `host`"),
            (Some("postgres://a:1,b:2/x"), vec![], "several servers"),
            (Some("service=x"), vec![], "service files are not supported"),
            (None, vec![("PGSERVICE", "x")], "service files are not supported"),
            (
                None,
                vec![("PGCHANNELBINDING", "require")],
                "`channel_binding` (or PGCHANNELBINDING) is supported only as",
            ),
            (Some("sslcrl=/x"), vec![], "`sslcrl` (or PGSSLCRL) is not supported"),
        ] {
            let message = resolve(dsn, &env).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        assert!(resolve(Some("target_session_attrs=any keepalives_idle=5 host=a"), &[]).is_ok());
    }

    #[test]
    fn a_bad_value_is_an_error_and_not_a_default() {
        for dsn in ["port=x", "port=0", "port=70000", "sslmode=on", "connect_timeout=x", "hostaddr=db", "a://b"] {
            assert!(matches!(resolve(Some(dsn), &[]), Err(Error::Usage { .. })), "{dsn}");
        }
        assert!(resolve(None, &[("PGPORT", "x")]).is_err());
    }

    #[test]
    fn sslmode_is_never_weaker_than_in_libpq() {
        let mode = |dsn: &str| resolve(Some(dsn), &[]).map(|t| t.ssl_mode);
        assert!(matches!(mode("host=a"), Ok(PgSslMode::Prefer)));
        assert!(matches!(mode("host=a sslmode=allow"), Ok(PgSslMode::Prefer)));
        assert!(matches!(mode("host=a sslmode=require"), Ok(PgSslMode::Require)));
        assert!(matches!(mode("host=a sslmode=require sslrootcert=/x"), Ok(PgSslMode::VerifyCa)));
        assert!(matches!(mode("host=a sslrootcert=system"), Ok(PgSslMode::VerifyFull)));
        assert!(mode("host=a sslmode=require sslrootcert=system").is_err());
        assert!(mode("host=a hostaddr=::1 sslmode=verify-full").is_err());
    }

    #[test]
    fn a_timeout_of_zero_means_no_limit() {
        let limit =
            |text: &str| resolve(Some(&format!("host=a connect_timeout={text}")), &[]).unwrap().connect_timeout();
        assert_eq!(limit("3"), Some(Duration::from_secs(3)));
        assert_eq!(limit("0"), Some(Duration::MAX));
        assert_eq!(resolve(Some("host=a"), &[]).unwrap().connect_timeout(), None);
    }

    #[test]
    fn an_address_alone_is_the_host_and_is_bracketed_when_shown() {
        let target = resolve(Some("hostaddr=::1 user=u dbname=d"), &[("PGHOST", "")]).unwrap();
        assert_eq!(target.to_string(), "u@[::1]:5432/d");
        let options = target.connect_options("x").unwrap();
        assert_eq!((options.get_host(), options.get_socket()), ("::1", None));
    }

    #[test]
    fn a_certificate_file_that_is_missing_is_named() {
        let target = resolve(Some("host=a sslrootcert=/nowhere/root.crt"), &[]).unwrap();
        let message = target.connect_options("x").unwrap_err().to_string();
        assert!(message.contains("`sslrootcert` file /nowhere/root.crt"), "{message}");
    }

    #[test]
    fn the_drivers_options_are_those_of_the_target() {
        let target = resolve(Some("host=/run/pg port=7 user=u dbname='d d' options='-c a=b\\\\ c'"), &[]).unwrap();
        let options = target.connect_options("pg-maint test").unwrap();
        assert_eq!(options.get_socket(), Some(&PathBuf::from("/run/pg")));
        assert_eq!((options.get_port(), options.get_username(), options.get_database()), (7, "u", Some("d d")));
        assert_eq!(options.get_application_name(), Some("pg-maint test"));
        assert!(options.get_options().is_some_and(|o| o.ends_with(r"-c a=b\ c")));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::Disable));
    }
}
