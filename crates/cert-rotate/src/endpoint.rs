//! Where a certificate is served: `HOST:PORT[;sni=NAME][;starttls=PROTOCOL]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What must be said before TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartTls {
    /// PostgreSQL's SSLRequest.
    Postgres,
    /// SMTP (RFC 3207).
    Smtp,
}

impl StartTls {
    const ALL: [(StartTls, &'static str); 2] = [(StartTls::Postgres, "postgres"), (StartTls::Smtp, "smtp")];
}

impl fmt::Display for StartTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(kind, _)| kind == self).map_or("", |(_, name)| name))
    }
}

/// A place to connect to, and the name to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint {
    /// Name or address to connect to.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The name to ask for and to expect, when it is not the host.
    pub sni: Option<String>,
    /// What comes before TLS.
    pub starttls: Option<StartTls>,
}

impl Endpoint {
    /// The name that is asked for, and that the certificate must be for.
    pub fn name(&self) -> &str {
        self.sni.as_deref().unwrap_or(&self.host)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(';');
        let place = parts.next().unwrap_or_default();
        let (host, port) = place.rsplit_once(':').ok_or_else(|| format!("`{text}` names no port: write HOST:PORT"))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(['/', ' ']) {
            return Err(format!("`{text}` names no host: write HOST:PORT"));
        }
        let port = port.parse().ok().filter(|&port| port != 0).ok_or_else(|| format!("`{port}` is no port"))?;
        let mut endpoint = Endpoint { host: host.to_owned(), port, sni: None, starttls: None };
        for part in parts {
            match part.split_once('=') {
                Some(("sni", name)) if !name.is_empty() => endpoint.sni = Some(name.to_ascii_lowercase()),
                Some(("starttls", protocol)) => {
                    let known = StartTls::ALL.iter().find(|(_, name)| *name == protocol);
                    let (kind, _) = known.ok_or_else(|| {
                        let all: Vec<&str> = StartTls::ALL.iter().map(|(_, name)| *name).collect();
                        format!("`{protocol}` is no protocol with STARTTLS: it is one of {}", all.join(", "))
                    })?;
                    endpoint.starttls = Some(*kind);
                }
                _ => return Err(format!("`{part}` in `{text}` is neither sni=NAME nor starttls=PROTOCOL")),
            }
        }
        Ok(endpoint)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)?;
        } else {
            write!(f, "{}:{}", self.host, self.port)?;
        }
        if let Some(name) = &self.sni {
            write!(f, ";sni={name}")?;
        }
        if let Some(protocol) = &self.starttls {
            write!(f, ";starttls={protocol}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in ["a.test:443", "[::1]:8443;sni=b.test", "127.0.0.1:5432;sni=db.test;starttls=postgres"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!("10.0.0.1:443;sni=A.test".parse::<Endpoint>().unwrap().name(), "a.test");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("a.test", "names no port"),
            ("a.test:0", "no port"),
            (":443", "names no host"),
            ("a.test:443;starttls=gopher", "one of postgres"),
            ("a.test:443;b", "neither sni"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
