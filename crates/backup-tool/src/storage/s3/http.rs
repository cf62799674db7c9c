//! The HTTP client: hyper over rustls with ring, as everywhere in this project. The one that `object_store` would bring
//! has a TLS stack of its own.
//!
//! A response is read to its end before it is given on, so that an answer that breaks off counts as none and the request
//! is tried again.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::{Body as _, Incoming};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use object_store::ClientOptions;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector as Connect, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpService,
};

/// A connection must be there within this time.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A server that says nothing for so long is taken to be gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// A line slower than this is taken to be dead, in bytes per second of what is sent.
const SLOWEST_BYTES: u64 = 64 << 10;

/// Makes the client.
#[derive(Debug)]
pub(super) struct Connector;

impl Connect for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let failed = |source: io::Error| object_store::Error::Generic { store: "HTTP", source: Box::new(source) };
        let allow_http = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(io::Error::other(error)))?
            .with_native_roots();
        // A machine without certificate authorities can still speak to a server without TLS.
        let tls = match tls {
            Ok(roots) => roots.with_no_client_auth(),
            Err(_) if allow_http => {
                rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                    .with_safe_default_protocol_versions()
                    .map_err(|error| failed(io::Error::other(error)))?
                    .with_root_certificates(rustls::RootCertStore::empty())
                    .with_no_client_auth()
            }
            Err(error) => return Err(failed(error)),
        };
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
        let builder = if allow_http { builder.https_or_http() } else { builder.https_only() };
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        let connector = builder.enable_http1().wrap_connector(connector);
        Ok(HttpClient::new(Service(Client::builder(TokioExecutor::new()).build(connector))))
    }
}

#[derive(Debug)]
struct Service(Client<HttpsConnector<HttpConnector>, HttpRequestBody>);

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let limit = SILENCE_LIMIT + Duration::from_secs(request.body().content_length() as u64 / SLOWEST_BYTES);
        let answer = tokio::time::timeout(limit, self.0.request(request)).await.map_err(|_| silent())?;
        let (head, body) = answer.map_err(|error| unanswered(&error))?.into_parts();
        Ok(Response::from_parts(head, read(body).await?.into()))
    }
}

async fn read(mut body: Incoming) -> Result<Bytes, HttpError> {
    let mut bytes = BytesMut::with_capacity(body.size_hint().lower().min(64 << 20) as usize);
    loop {
        match tokio::time::timeout(SILENCE_LIMIT, body.frame()).await.map_err(|_| silent())? {
            None => return Ok(bytes.freeze()),
            Some(frame) => {
                let frame = frame.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?;
                if let Ok(data) = frame.into_data() {
                    bytes.extend_from_slice(&data);
                }
            }
        }
    }
}

fn silent() -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, io::Error::new(io::ErrorKind::TimedOut, "the server says nothing"))
}

/// Without a connection nothing was sent; after that nobody knows. What hides below is what tells the operator something
/// ("connection refused").
fn unanswered(error: &hyper_util::client::legacy::Error) -> HttpError {
    let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        text = format!("{text}: {error}");
        below = error.source();
    }
    HttpError::new(kind, io::Error::other(text))
}
