//! URLs of HTTP, and requests that are prepared once.

use maint_core::failure::Failure;
use url::Url;

use super::{Target, resolve, roots, server_name};
use crate::engine::http1::{Asked, Http};
use crate::engine::talk::Speech;

/// A request as it is described.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The method, in capitals.
    pub method: String,
    /// `NAME: VALUE` lines.
    pub headers: Vec<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Default for Ask {
    fn default() -> Self {
        Ask { method: "GET".to_owned(), headers: Vec::new(), body: Vec::new() }
    }
}

impl Target {
    /// Reads a URL, finds its address, and prepares the request.
    ///
    /// # Errors
    /// It is no HTTP URL, its host has no address or is neither on this machine nor in `allowed`, a header does not hold, or
    /// there are no roots for TLS.
    pub fn new(text: &str, ask: &Ask, allowed: &[String]) -> Result<Self, Failure> {
        let url = Url::parse(text).map_err(|error| {
            Failure::usage(format!("{text} is no URL: {error}")).hint("write http://HOST:PORT/PATH or https://...")
        })?;
        let is_tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(Failure::usage(format!("{other} is not spoken here")).hint("http and https are")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Failure::usage("a password in a URL is shown by every list of processes")
                .hint("give it as a header from a file"));
        }
        let host = url.host().ok_or_else(|| Failure::usage(format!("{text} names no host")))?;
        let port = url.port_or_known_default().unwrap_or(if is_tls { 443 } else { 80 });
        let address = resolve(&host, port, allowed)?;
        let tls = if is_tls { Some((roots(&[b"http/1.1"])?, server_name(&host)?)) } else { None };
        let request = render(&url, ask)?;
        let asked = if ask.method == "HEAD" { Asked::Head } else { Asked::Other };
        let is_repeatable = matches!(ask.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE");
        let speech = Speech::Http(Http { request, asked, is_repeatable });
        Ok(Target { name: url.to_string(), address, tls, speech })
    }
}

fn render(url: &Url, ask: &Ask) -> Result<Vec<u8>, Failure> {
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    if !token(&ask.method) {
        return Err(Failure::usage(format!("{:?} is no method", ask.method)));
    }
    let mut text = format!("{} {}", ask.method, url.path());
    if let Some(query) = url.query() {
        text.push('?');
        text.push_str(query);
    }
    text.push_str(" HTTP/1.1\r\n");
    let mut has_host = false;
    for header in &ask.headers {
        let (name, value) = header
            .split_once(':')
            .map(|(name, value)| (name.trim(), value.trim()))
            .filter(|(name, value)| token(name) && !value.bytes().any(|byte| byte < 0x20 && byte != b'\t'))
            .ok_or_else(|| Failure::usage(format!("{header:?} is no header")).hint("write NAME: VALUE"))?;
        if ["content-length", "transfer-encoding", "connection"].iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Err(Failure::usage(format!("the header {name} is set by this program")));
        }
        has_host |= name.eq_ignore_ascii_case("host");
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    if !has_host {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        text.push_str(&format!("Host: {host}{port}\r\n"));
    }
    if !ask.body.is_empty() || matches!(ask.method.as_str(), "POST" | "PUT" | "PATCH") {
        text.push_str(&format!("Content-Length: {}\r\n", ask.body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&ask.body);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str, ask: &Ask) -> String {
        let target = Target::new(url, ask, &[]).unwrap();
        let Speech::Http(http) = target.speech else { panic!("{url}") };
        String::from_utf8(http.request).unwrap()
    }

    #[test]
    fn a_request_says_what_it_must() {
        let get = request("http://127.0.0.1:8080/a%20b?c=d", &Ask::default());
        assert_eq!(get, "GET /a%20b?c=d HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n");
        let ask = Ask { method: "POST".into(), headers: vec!["X-Key:  v ".into()], body: b"{}".to_vec() };
        let post = request("http://[::1]", &ask);
        assert_eq!(post, "POST / HTTP/1.1\r\nX-Key: v\r\nHost: [::1]\r\nContent-Length: 2\r\n\r\n{}");
    }

    #[test]
    fn load_goes_nowhere_by_mistake() {
        let refused = |url: &str, allowed: &[&str]| {
            let allowed: Vec<String> = allowed.iter().map(|&host| host.to_owned()).collect();
            Target::new(url, &Ask::default(), &allowed).map(|target| target.address).map_err(|failure| failure.message)
        };
        assert!(refused("http://192.0.2.1/", &[]).unwrap_err().contains("is not this machine"));
        assert!(refused("http://192.0.2.1/", &["192.0.2.2"]).is_err());
        assert_eq!(refused("http://192.0.2.1/", &["192.0.2.1"]).unwrap().to_string(), "192.0.2.1:80");
        assert!(refused("http://127.0.0.1/", &[]).is_ok());
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for url in ["ftp://127.0.0.1/", "127.0.0.1:80", "http://", "http://user:secret@127.0.0.1/"] {
            let failure = Target::new(url, &Ask::default(), &[]).unwrap_err();
            assert!(!failure.message.contains("secret"), "{}", failure.message);
        }
        for header in ["no colon", "a b: c", "x: y\r\nz: w", "Content-Length: 3", ": v"] {
            let ask = Ask { headers: vec![header.to_owned()], ..Ask::default() };
            assert!(Target::new("http://127.0.0.1/", &ask, &[]).is_err(), "{header:?}");
        }
    }
}
