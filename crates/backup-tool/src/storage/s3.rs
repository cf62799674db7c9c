//! Objects in a bucket of S3, or of a server that speaks its protocol.
//!
//! What makes an object immutable here is the conditional write (`If-None-Match: *`, in S3 since 2024). There are servers
//! that take the condition and overlook it, so it is proven once before the first write, on an object of its own; a
//! server that overwrites is refused.
//!
//! `404` means that a key is not there, or that the bucket is not. The second must never be taken for the first, so after
//! a `404` the bucket is asked for.
//!
//! Where the server is and who asks comes from the environment, under the names that other tools know
//! (`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
//! `AWS_ALLOW_HTTP`); without keys there, from the machine's role.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::path::Path;
use object_store::{
    BackoffConfig, Error, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, RetryConfig,
};
use tokio::runtime::Runtime;

use super::{Object, Put, Space, Storage, StorageError, check_key};

mod http;

/// How often a request is tried again. With waits that double from a tenth of a second, all of them take about ten.
const RETRIES: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// After this long nothing is tried again.
const RETRY_LIMIT: Duration = Duration::from_mins(1);
/// The object that shows whether conditions are kept; the dot keeps it out of listings.
const PROBE: &str = ".conditional-writes";

/// A bucket, or what is below a prefix of it.
pub struct S3 {
    place: String,
    /// What every key of ours begins with: empty, or names with a slash after each.
    prefix: String,
    /// Repeats what may be repeated.
    client: Arc<AmazonS3>,
    /// Repeats nothing: whether a write may be repeated is decided here.
    writer: Arc<AmazonS3>,
    /// Whether the condition of writes has been proven. Locked while it is.
    proven: Mutex<bool>,
    /// The client's own thread, so that callers may be in another runtime or in none. `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("S3").field(&self.place).finish()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // An ordinary drop waits for the thread, which is not allowed where another runtime runs the caller.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// How one attempt to create an object ended.
enum Attempt {
    Created,
    /// The server says that the key is taken.
    Taken,
    /// Nobody knows whether it was written: no answer, or "try again".
    Unclear(Error),
    /// It was not written and will not be.
    Refused(Error),
}

impl S3 {
    /// The bucket and prefix that `place` (`s3://BUCKET/PREFIX`) names. Nothing is asked of the server yet.
    ///
    /// # Errors
    /// The name does not hold, or the environment's settings do not.
    pub fn open(place: &str) -> Result<Self, StorageError> {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        S3::open_with(place, &env::vars_os().filter_map(text).collect::<Vec<_>>())
    }

    /// As [`S3::open`], with the environment given as names and values.
    ///
    /// # Errors
    /// As [`S3::open`].
    pub fn open_with(place: &str, environment: &[(String, String)]) -> Result<Self, StorageError> {
        let bad = |why: String| StorageError::Io {
            step: "open",
            key: ".".into(),
            place: place.to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidInput, why),
        };
        let rest = place.strip_prefix("s3://").ok_or_else(|| bad("it does not begin with s3://".into()))?;
        let (bucket, prefix) = rest.trim_end_matches('/').split_once('/').unwrap_or((rest.trim_end_matches('/'), ""));
        if bucket.is_empty() {
            return Err(bad("it names no bucket".into()));
        }
        if !prefix.is_empty() {
            check_key(prefix)?;
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let setting = |(name, value): &'_ (String, String)| {
            let key = name.starts_with("AWS_").then(|| name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>().ok());
            Some((key.flatten()?, value.clone()))
        };
        let settings: Vec<_> = environment.iter().filter_map(setting).collect();
        let backoff = BackoffConfig { init_backoff: FIRST_WAIT, max_backoff: LONGEST_WAIT, base: 2. };
        let client = |max_retries| {
            settings
                .iter()
                .fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(*key, value))
                .with_bucket_name(bucket)
                .with_conditional_put(S3ConditionalPut::ETagMatch)
                // Bulk deletion is the part of the protocol that other servers know least.
                .with_disable_bulk_delete(true)
                .with_retry(RetryConfig { backoff: backoff.clone(), max_retries, retry_timeout: RETRY_LIMIT })
                .with_http_connector(http::Connector)
                .build()
                .map(Arc::new)
                .map_err(|error| bad(error.to_string()))
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("s3")
            .enable_all()
            .build()
            .map_err(|error| bad(error.to_string()))?;
        Ok(S3 {
            place: place.trim_end_matches('/').to_owned(),
            prefix,
            client: client(RETRIES as usize)?,
            writer: client(0)?,
            proven: Mutex::new(false),
            runtime: Some(runtime),
        })
    }

    /// Runs a request on the client's thread and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let gone = || Error::Generic { store: "S3", source: "its thread has ended".into() };
        let (sender, receiver) = mpsc::channel();
        self.runtime.as_ref().ok_or_else(gone)?.spawn(async move {
            let _ = sender.send(request.await);
        });
        receiver.recv().unwrap_or_else(|_| Err(gone()))
    }

    fn failed(&self, step: &'static str, key: &str, error: Error) -> StorageError {
        let kind = match error {
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::Other,
        };
        StorageError::Io { step, key: key.to_owned(), place: self.place.clone(), source: io::Error::new(kind, error) }
    }

    /// What became of a request for one object: a `404` is only believed when the bucket is there.
    fn answered(&self, step: &'static str, key: &str, error: Error) -> StorageError {
        if !matches!(error, Error::NotFound { .. }) {
            return self.failed(step, key, error);
        }
        let client = Arc::clone(&self.client);
        let options = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
        let prefix = (!self.prefix.is_empty()).then(|| self.prefix.clone());
        match self.wait(async move { client.list_paginated(prefix.as_deref(), options).await }) {
            Ok(_) => StorageError::NotFound { key: key.to_owned(), place: self.place.clone() },
            Err(error) => self.failed(step, key, error),
        }
    }

    fn path(&self, key: &str) -> Result<Path, StorageError> {
        check_key(key)?;
        Ok(Path::from(format!("{}{key}", self.prefix)))
    }

    /// Makes sure, once, that the server keeps the condition of writes.
    fn prove_conditions(&self) -> Result<(), StorageError> {
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        // The object stays, so in later runs the first write is refused already, and one request is enough.
        for _ in 0..2 {
            if *proven {
                return Ok(());
            }
            let path = Path::from(format!("{}{PROBE}", self.prefix));
            // Of another content each time, so that it is never taken for what was there.
            let content = Bytes::from(ulid::Ulid::generate().to_string());
            *proven = self.create(PROBE, path, &[content])? == Put::Exists;
        }
        if *proven {
            return Ok(());
        }
        Err(self.failed(
            "write",
            PROBE,
            Error::Generic {
                store: "S3",
                source:
                    "the server overwrites objects that a write asked it not to (If-None-Match: *), so backups would \
                         not be safe in it"
                        .into(),
            },
        ))
    }

    /// Creates an object. When an attempt whose outcome nobody knows is followed by "there is one", it may be our own:
    /// then the content tells.
    fn create(&self, key: &str, path: Path, parts: &[Bytes]) -> Result<Put, StorageError> {
        let (writer, client) = (Arc::clone(&self.writer), Arc::clone(&self.client));
        let parts = parts.to_vec();
        self.wait(async move {
            let mut unclear = false;
            let mut wait = FIRST_WAIT;
            for left in (0..=RETRIES).rev() {
                match attempt(&writer, &path, &parts).await {
                    Attempt::Created => return Ok(Put::Created),
                    Attempt::Taken if unclear && holds(&client, &path, &parts).await? => return Ok(Put::Created),
                    Attempt::Taken => return Ok(Put::Exists),
                    Attempt::Refused(error) => return Err(error),
                    Attempt::Unclear(error) if left == 0 => return Err(error),
                    Attempt::Unclear(error) => {
                        tracing::debug!("write {path}: {error}; trying again");
                        unclear = true;
                        tokio::time::sleep(wait).await;
                        wait = (wait * 2).min(LONGEST_WAIT);
                    }
                }
            }
            Err(Error::Generic { store: "S3", source: "it was not tried".into() })
        })
        .map_err(|error| self.failed("write", key, error))
    }
}

async fn attempt(writer: &AmazonS3, path: &Path, parts: &[Bytes]) -> Attempt {
    let payload: PutPayload = parts.iter().filter(|part| !part.is_empty()).cloned().collect();
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match writer.put_opts(path, payload, options).await {
        Ok(_) => Attempt::Created,
        // `412` comes wrapped. A bare one is `409`: somebody is writing or removing the same key at this moment.
        Err(Error::AlreadyExists { source, .. }) if source.is::<Error>() => Attempt::Taken,
        Err(
            error @ (Error::NotFound { .. }
            | Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::InvalidPath { .. }
            | Error::NotSupported { .. }
            | Error::NotImplemented { .. }
            | Error::UnknownConfigurationKey { .. }),
        ) => Attempt::Refused(error),
        Err(error) => Attempt::Unclear(error),
    }
}

/// Whether the object's content is this.
async fn holds(client: &AmazonS3, path: &Path, parts: &[Bytes]) -> Result<bool, Error> {
    let there = client.get(path).await?.bytes().await?;
    let mut rest = &there[..];
    let begins = parts.iter().all(|part| rest.strip_prefix(&part[..]).map(|after| rest = after).is_some());
    Ok(begins && rest.is_empty())
}

/// Every object below a prefix, page by page.
async fn list_all(client: &AmazonS3, prefix: Option<&str>) -> Result<Vec<Object>, Error> {
    let mut found = Vec::new();
    let mut page_token = None;
    loop {
        let asked = page_token.clone();
        let page =
            client.list_paginated(prefix, PaginatedListOptions { page_token, ..PaginatedListOptions::default() });
        let page = page.await?;
        found.extend(
            page.result.objects.into_iter().map(|meta| Object { key: meta.location.to_string(), size: meta.size }),
        );
        if page.page_token.is_none() {
            return Ok(found);
        }
        if page.page_token == asked {
            return Err(Error::Generic { store: "S3", source: "the server repeats a page of the listing".into() });
        }
        page_token = page.page_token;
    }
}

impl Storage for S3 {
    fn location(&self) -> String {
        self.place.clone()
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StorageError> {
        let below = if prefix.is_empty() {
            self.prefix.clone()
        } else {
            check_key(prefix)?;
            format!("{}{prefix}/", self.prefix)
        };
        let client = Arc::clone(&self.client);
        let found =
            self.wait(async move { list_all(&client, Some(below.as_str()).filter(|below| !below.is_empty())).await });
        let mut found = found.map_err(|error| self.failed("list", prefix, error))?;
        found.retain_mut(|object| match object.key.strip_prefix(&self.prefix) {
            Some(key) if !key.split('/').any(|name| name.starts_with('.')) => {
                object.key = key.to_owned();
                true
            }
            _ => false,
        });
        found.sort();
        Ok(found)
    }

    fn get(&self, key: &str) -> Result<Bytes, StorageError> {
        let (client, path) = (Arc::clone(&self.client), self.path(key)?);
        self.wait(async move { client.get(&path).await?.bytes().await })
            .map_err(|error| self.answered("read", key, error))
    }

    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Bytes, StorageError> {
        let (client, path) = (Arc::clone(&self.client), self.path(key)?);
        let end = offset.saturating_add(length as u64);
        let short = || StorageError::Short { key: key.to_owned(), place: self.place.clone(), end };
        let read = if length == 0 {
            Ok(Bytes::new())
        } else {
            self.wait(async move { client.get_range(&path, offset..end).await })
        };
        match read {
            Ok(bytes) if bytes.len() == length && length > 0 => Ok(bytes),
            Ok(bytes) if !bytes.is_empty() => Err(short()),
            // A range that begins at the end or behind it is refused (416) in words that differ between servers.
            other => match (self.size(key)?, other) {
                (None, _) => Err(StorageError::NotFound { key: key.to_owned(), place: self.place.clone() }),
                (Some(size), _) if size < end => Err(short()),
                (Some(_), Ok(bytes)) if length == 0 => Ok(bytes),
                (Some(_), Ok(_)) => Err(short()),
                (Some(_), Err(error)) => Err(self.failed("read", key, error)),
            },
        }
    }

    fn size(&self, key: &str) -> Result<Option<u64>, StorageError> {
        let (client, path) = (Arc::clone(&self.client), self.path(key)?);
        let meta = self.wait(async move { client.head(&path).await });
        match meta.map_err(|error| self.answered("look at", key, error)) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn put_new(&self, key: &str, parts: &[Bytes]) -> Result<Put, StorageError> {
        let path = self.path(key)?;
        self.prove_conditions()?;
        self.create(key, path, parts)
    }

    fn remove(&self, key: &str) -> Result<(), StorageError> {
        let (client, path) = (Arc::clone(&self.client), self.path(key)?);
        // S3 says yes to the removal of what is not there.
        if self.size(key)?.is_none() {
            return Err(StorageError::NotFound { key: key.to_owned(), place: self.place.clone() });
        }
        self.wait(async move { client.delete(&path).await }).map_err(|error| self.answered("remove", key, error))
    }

    fn space(&self) -> Result<Option<Space>, StorageError> {
        Ok(None)
    }
}
