//! Plain HTTP for what needs no secrecy: revocation lists and OCSP are signed (RFC 5280, 8; RFC 6960, A.1), and asking for
//! them over TLS would need them first.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

const AGENT: &str = concat!("cert-rotate/", env!("CARGO_PKG_VERSION"));

/// Asks, and takes an answer of at most `limit` bytes within `timeout`. `body` is sent with its content type. Redirects are
/// not followed: the address is what an authority signed.
///
/// # Errors
/// Why there is no answer, in words that follow the address.
pub(super) async fn ask(
    url: &str,
    body: Option<(&'static str, Vec<u8>)>,
    limit: usize,
    timeout: Duration,
) -> Result<Bytes, String> {
    if !url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) {
        return Err("only http:// can be asked".to_owned());
    }
    let (method, kind, content) = match body {
        Some((kind, content)) => (Method::POST, Some(HeaderValue::from_static(kind)), Bytes::from(content)),
        None => (Method::GET, None, Bytes::new()),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(url)
        .header(USER_AGENT, HeaderValue::from_static(AGENT))
        .body(Full::new(content))
        .map_err(|error| error.to_string())?;
    if let Some(kind) = kind {
        request.headers_mut().insert(CONTENT_TYPE, kind);
    }
    let answer = async {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await.map_err(|error| whole(&error))?;
        if response.status() != StatusCode::OK {
            return Err(format!("it answers with HTTP status {}", response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), limit).collect().await.map_err(|error| whole(&*error))?;
        Ok(body.to_bytes())
    };
    tokio::time::timeout(timeout, answer).await.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
}

/// An error with its causes: the outermost says only that something failed.
fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
