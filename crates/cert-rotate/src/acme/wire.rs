//! The HTTP under ACME: instant-acme speaks the protocol, and this carries its requests.
//!
//! It is our own because the protocol's library drops what an operator needs: the server's clock, when to come back, the
//! alternate chains (`Link` headers), and the address of an order that it refused to hand out. The last answer stays
//! here with all of that.

use std::path::Path;
use std::pin::Pin;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{DATE, HeaderMap, HeaderValue, LINK, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use jiff::{SignedDuration, Timestamp};
use maint_core::failure::Failure;
use rustls::RootCertStore;

use crate::roots::Roots;

/// How we name ourselves (RFC 8555, 6.1 asks for it).
const AGENT: &str = concat!("cert-rotate/", env!("CARGO_PKG_VERSION"));

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A chain of certificates has a few thousand bytes.
const MAX_BODY_BYTES: usize = 1 << 20;

/// What the server said last, and what of its headers matters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    /// The HTTP status; 0 before the first answer.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Bytes,
    /// `Location`.
    pub(crate) location: Option<String>,
    /// `Link` with `rel="alternate"`.
    pub(crate) alternates: Vec<String>,
    /// `Retry-After`, as a time.
    pub(crate) retry_after: Option<Timestamp>,
    /// How far the server's clock is ahead of ours.
    pub(crate) ahead: Option<SignedDuration>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// No connection, no TLS, or no whole answer.
    #[error("cannot reach {url}: {why}")]
    Unreachable { url: String, why: String },
    /// It took too long.
    #[error("{url} does not answer within {} seconds", PATIENCE.as_secs())]
    TimedOut { url: String },
}

/// An HTTPS client. Clones share the connections and the memory of the last answer.
#[derive(Clone)]
pub(crate) struct Wire {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    said: Arc<Mutex<Said>>,
}

impl Wire {
    /// A client that believes the roots in that file, or the system's.
    ///
    /// # Errors
    /// There are no roots to believe.
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<Self, Failure> {
        let roots = ca_file.map_or(Roots::System, |path| Roots::File(path.to_owned()));
        let mut store = RootCertStore::empty();
        for root in roots.load()? {
            store.add(root.der().clone()).map_err(|error| {
                Failure::usage(format!("cannot trust {} in {roots}: {error}", root.title())).hint("correct ca_file")
            })?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::critical(format!("cannot set up TLS: {error}")))?
            .with_root_certificates(store)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Wire { client, said: Arc::default() })
    }

    /// What the server said last.
    pub(crate) fn said(&self) -> Said {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks with a plain GET, as the directory and renewal information are.
    pub(crate) async fn get(&self, url: &str) -> Result<Said, WireError> {
        let request = Request::get(url)
            .body(BodyWrapper::default())
            .map_err(|error| WireError::Unreachable { url: url.to_owned(), why: error.to_string() })?;
        self.send(request).await.map(|(said, _)| said)
    }

    async fn send(&self, mut request: Request<BodyWrapper<Bytes>>) -> Result<(Said, HeaderMap), WireError> {
        let url = request.uri().to_string();
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let answer = async {
            let response = self.client.request(request).await.map_err(|error| whole(&error))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|error| whole(&*error))?;
            Ok((parts, body.to_bytes()))
        };
        let (parts, body) = match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer.map_err(|why| WireError::Unreachable { url: url.clone(), why })?,
            Err(_) => return Err(WireError::TimedOut { url }),
        };
        tracing::debug!(url, status = parts.status.as_u16(), bytes = body.len(), "answered");
        let said = note(parts.status, &parts.headers, body, &url, Timestamp::now());
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&said);
        Ok((said, parts.headers))
    }
}

impl HttpClient for Wire {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let wire = self.clone();
        Box::pin(async move {
            let (said, headers) = wire.send(request).await.map_err(|error| Error::Other(Box::new(error)))?;
            let mut response = Response::new(Full::new(as_problem(&said)));
            *response.status_mut() = StatusCode::from_u16(said.status).unwrap_or(StatusCode::BAD_GATEWAY);
            *response.headers_mut() = headers;
            Ok(BytesResponse::from(response))
        })
    }
}

/// The body; for an error that is no problem document (RFC 7807), as what stands before the server answers, one that says
/// so. Else all that is told would be that some JSON is broken.
fn as_problem(said: &Said) -> Bytes {
    let is_object = || serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&said.body).is_ok();
    if said.status < 400 || is_object() {
        return said.body.clone();
    }
    let text: String = String::from_utf8_lossy(&said.body).chars().take(200).collect();
    let detail = format!("HTTP status {}: {}", said.status, text.trim());
    serde_json::json!({ "detail": detail, "status": said.status }).to_string().into()
}

fn note(status: StatusCode, headers: &HeaderMap, body: Bytes, url: &str, now: Timestamp) -> Said {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::trim).map(str::to_owned);
    let header = |name| headers.get(name).and_then(text);
    let retry_after = header(RETRY_AFTER).and_then(|text| match text.parse::<u32>() {
        Ok(seconds) => now.checked_add(SignedDuration::from_secs(seconds.into())).ok(),
        Err(_) => http_date(&text),
    });
    Said {
        status: status.as_u16(),
        body,
        location: header(LOCATION),
        alternates: headers.get_all(LINK).iter().filter_map(text).flat_map(|link| alternates(&link, url)).collect(),
        retry_after,
        ahead: header(DATE).and_then(|text| http_date(&text)).map(|theirs| theirs.duration_since(now)),
    }
}

/// `Mon, 23 Nov 2026 18:37:00 GMT` (RFC 9110, 5.6.7).
fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// The targets of `<URL>;rel="alternate"` in one `Link` header (RFC 8288), which may hold several.
fn alternates(link: &str, base: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in link.split('<').skip(1) {
        let Some((target, parameters)) = part.split_once('>') else { continue };
        let is_alternate = parameters.split([';', ',']).any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else { return false };
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel") && relations.any(|one| one.eq_ignore_ascii_case("alternate"))
        });
        if is_alternate {
            found.push(absolute(target, base));
        }
    }
    found
}

fn absolute(target: &str, base: &str) -> String {
    let origin =
        hyper::Uri::from_str(base).ok().and_then(|uri| Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?)));
    match origin {
        Some(origin) if target.starts_with('/') => format!("{origin}{target}"),
        _ => target.to_owned(),
    }
}

/// An error with its causes: the first alone says "client error (Connect)".
fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(headers: &[(&'static str, &str)]) -> Said {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        note(StatusCode::OK, &map, Bytes::new(), "https://ca.test:1/cert/7", now)
    }

    #[test]
    fn times_are_read_in_both_forms() {
        assert_eq!(said(&[("retry-after", "90")]).retry_after.unwrap().to_string(), "2026-11-23T12:01:30Z");
        let date = "Mon, 23 Nov 2026 13:00:00 GMT";
        assert_eq!(said(&[("retry-after", date)]).retry_after.unwrap().to_string(), "2026-11-23T13:00:00Z");
        assert_eq!(said(&[("date", date)]).ahead.unwrap().as_secs(), 3600);
        assert!(said(&[("retry-after", "soon"), ("date", "")]).retry_after.is_none());
    }

    #[test]
    fn only_alternate_links_are_alternates() {
        let said = said(&[
            ("link", "<https://ca.test/dir>;rel=\"index\""),
            ("link", "<https://ca.test/cert/7/1>;rel=\"alternate\", </cert/7/2>; rel=alternate"),
            ("link", "<https://ca.test/up>; rel=\"up\"; title=\"alternate\""),
        ]);
        assert_eq!(said.alternates, ["https://ca.test/cert/7/1", "https://ca.test:1/cert/7/2"]);
    }

    #[test]
    fn an_error_page_becomes_a_problem_that_says_what_it_was() {
        let page = Said { status: 503, body: Bytes::from_static(b"<h1>busy</h1>\n"), ..Said::default() };
        let problem: serde_json::Value = serde_json::from_slice(&as_problem(&page)).unwrap();
        assert_eq!(problem["detail"], "HTTP status 503: <h1>busy</h1>");
        let real = Said { status: 400, body: Bytes::from_static(b"{\"type\":\"x\"}"), ..Said::default() };
        assert_eq!(as_problem(&real), real.body);
    }
}
