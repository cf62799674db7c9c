//! URLs of Redis, and commands that are prepared once.

use maint_core::failure::Failure;
use maint_core::names::percent_decoded;
use maint_core::secret::{Secret, redact_url};
use url::{Host, Url};

use super::{Address, Target, resolve, roots, server_name};
use crate::engine::resp::{self, DIGITS};
use crate::engine::talk::Speech;

/// Stands for twelve random digits; redis-benchmark calls it the same.
const PLACE: &str = "__rand_int__";

/// What is asked.
#[derive(Debug, Clone)]
pub struct Commands {
    /// `get`, `set`, `incr`, `ping`, or a command in words.
    pub workload: String,
    /// How many commands are sent at once.
    pub pipeline: u16,
    /// How many different keys there are.
    pub keys: u64,
    /// Bytes of a value.
    pub size: usize,
}

impl Target {
    /// Reads `redis://[user:password@]host[:port][/db]`, `rediss://` for TLS, or `unix:///path[?db=N]`.
    ///
    /// # Errors
    /// It is none, its host has no address or is neither on this machine nor in `allowed`, or the command is empty.
    pub fn redis(
        text: &str,
        password: Option<&Secret>,
        commands: &Commands,
        allowed: &[String],
    ) -> Result<Self, Failure> {
        let shown = redact_url(text);
        let wrong = |why: &str| {
            Failure::usage(format!("not a Redis URL: {shown}: {why}"))
                .hint("write redis://[user:password@]host:port/db, rediss://... for TLS, or unix:///path/to/socket")
        };
        let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        let (address, tls, db) = match url.scheme() {
            "redis" | "rediss" => {
                let name = url.host_str().filter(|name| !name.is_empty()).ok_or_else(|| wrong("it names no host"))?;
                let owned = Host::parse(name).map_err(|error| wrong(&error.to_string()))?;
                let host = match &owned {
                    Host::Domain(name) => Host::Domain(name.as_str()),
                    Host::Ipv4(address) => Host::Ipv4(*address),
                    Host::Ipv6(address) => Host::Ipv6(*address),
                };
                let address = resolve(&host, url.port().unwrap_or(6379), allowed)?;
                let is_tls = url.scheme() == "rediss";
                let tls = if is_tls { Some((roots(&[])?, server_name(&host)?)) } else { None };
                (address, tls, url.path().trim_matches('/').to_owned())
            }
            "unix" | "redis+unix" => {
                let db = url.query_pairs().find(|(name, _)| name == "db").map(|(_, db)| db.into_owned());
                (Address::Unix(percent_decoded(url.path()).into()), None, db.unwrap_or_default())
            }
            _ => return Err(wrong("the scheme is not known")),
        };
        let db: u32 = if db.is_empty() { 0 } else { db.parse().map_err(|_| wrong("the database is no number"))? };
        let own = url.password().map(|password| Secret::from(percent_decoded(password)));
        let login = login(&percent_decoded(url.username()), own.as_ref().or(password), db);
        let speech = Speech::Redis(commands.render(login)?);
        Ok(Target { name: shown, address, tls, speech })
    }
}

/// The commands of a login, and how many they are.
fn login(user: &str, password: Option<&Secret>, db: u32) -> (Vec<u8>, u64) {
    let (mut bytes, mut count) = (Vec::new(), 0);
    let mut say = |words: &[&str]| {
        render(words, &mut bytes);
        count += 1;
    };
    match password {
        Some(password) if user.is_empty() => say(&["AUTH", password.expose()]),
        Some(password) => say(&["AUTH", user, password.expose()]),
        None => {}
    }
    if db > 0 {
        say(&["SELECT", &db.to_string()]);
    }
    (bytes, count)
}

fn render(words: &[&str], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}

impl Commands {
    fn render(&self, (login, logins): (Vec<u8>, u64)) -> Result<resp::Commands, Failure> {
        let key = format!("bench-runner:{PLACE}");
        let text = match self.workload.as_str() {
            "get" => format!("GET {key}"),
            "set" => format!("SET {key} {}", "x".repeat(self.size.max(1))),
            "incr" => format!("INCR {key}:count"),
            "ping" => "PING".to_owned(),
            other => other.to_owned(),
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.is_empty() {
            return Err(Failure::usage("the workload is empty").hint("get, set, incr, ping, or a command in words"));
        }
        let mut one = Vec::new();
        render(&words, &mut one);
        let request = one.repeat(usize::from(self.pipeline));
        let places = request.windows(DIGITS).enumerate();
        let random = places.filter(|(_, bytes)| *bytes == PLACE.as_bytes()).map(|(at, _)| at).collect();
        let count = u64::from(self.pipeline);
        Ok(resp::Commands { login, logins, request, count, random, keys: self.keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(workload: &str) -> Commands {
        Commands { workload: workload.to_owned(), pipeline: 2, keys: 10, size: 3 }
    }

    fn target(url: &str) -> Result<(String, Address, String), String> {
        let password = Secret::from("other".to_owned());
        let target =
            Target::redis(url, Some(&password), &commands("ping"), &[]).map_err(|failure| failure.to_string())?;
        let Speech::Redis(commands) = target.speech else { panic!("{url}") };
        Ok((target.name, target.address, String::from_utf8(commands.login).unwrap().replace("\r\n", " ")))
    }

    #[test]
    fn urls_are_read_and_passwords_not_shown() {
        let (name, address, login) = target("redis://me:s%40crt@127.0.0.1:7000/2").unwrap();
        assert!(!name.contains("s%40crt") && !name.contains("s@crt"), "{name}");
        assert_eq!(address.to_string(), "127.0.0.1:7000");
        assert_eq!(login, "*3 $4 AUTH $2 me $5 s@crt *2 $6 SELECT $1 2 ");
        assert_eq!(target("redis://localhost").unwrap().2, "*2 $4 AUTH $5 other ");
        assert_eq!(target("unix:///run/a%20b.sock?db=1").unwrap().1, Address::Unix("/run/a b.sock".into()));
        for url in ["redis://", "redis://127.0.0.1/x", "http://127.0.0.1", "redis://192.0.2.1", "127.0.0.1:6379"] {
            assert!(target(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_request_has_as_many_commands_as_are_sent_at_once() {
        let rendered = commands("set").render((Vec::new(), 0)).unwrap();
        let text = String::from_utf8(rendered.request).unwrap();
        assert_eq!(text.matches("*3\r\n$3\r\nSET\r\n$25\r\nbench-runner:").count(), 2, "{text}");
        assert!(text.ends_with("\r\n$3\r\nxxx\r\n"), "{text}");
        assert_eq!(rendered.random.len(), 2);
        assert!(commands("  ").render((Vec::new(), 0)).is_err());
        let own = commands("HSET h:__rand_int__ f __rand_int__").render((Vec::new(), 0)).unwrap();
        assert_eq!(own.random.len(), 4);
    }
}
