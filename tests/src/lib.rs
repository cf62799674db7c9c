//! The test bed: real, private servers for the end-to-end tests, the benches and the demo.
//!
//! Nothing here imitates a server. A [`Postgres`] is a cluster of its own in a fresh directory on a port of its own, so a
//! test may kill it, freeze it or fill it, and nothing it does reaches a database somebody cares for. What was started
//! never outlives its starter, not even one ended by SIGKILL: see [`sandbox`] for how.
//!
//! - [`setup`] tells what must be installed, and installs it;
//! - [`Postgres`] and [`Pgbouncer`] are the servers, [`shared`] the one server of a test binary, [`Session`] a client that
//!   stays connected and holds its locks;
//! - [`Redis`] is a Redis or Valkey server, alone, with a replica or with TLS; [`RedisCluster`] and [`Sentinels`] are
//!   groups of them, and a [`DelayingProxy`] makes one slow;
//! - [`Nginx`] is a web server with TLS, [`Smtp`] a mail server, and a [`Pki`] makes certificates for them;
//! - [`Pebble`] and [`Acme2Certifier`] are certificate authorities that speak ACME;
//! - [`S3Server`] is object storage, with or without TLS; [`pkits`] are certificates made to test validators;
//! - [`Site`] is a server that is backed up, with its repository; a [`SmallDisk`] is there to be filled;
//! - [`tool`], [`run`] and [`records`] start the built programs as a user would;
//! - [`workload`] leaves a database in the state years of neglect leave it in, and [`redis::workload`] a key space.
//!
//! Library code answers with [`Error`]; only tests unwrap.

mod account;
pub mod acme;
mod client;
mod error;
mod nginx;
mod pgbouncer;
mod pki;
pub mod pkits;
mod port;
mod postgres;
mod proxy;
pub mod redis;
pub mod s3;
pub mod sandbox;
mod session;
pub mod setup;
mod shared;
mod site;
mod small_disk;
mod smtp;
mod template;
mod tool;
pub mod validators;
pub mod workload;

pub use acme::{Acme2Certifier, Pebble};
pub use error::{Error, Result};
pub use nginx::{Builder as NginxBuilder, Nginx};
pub use pgbouncer::Pgbouncer;
pub use pki::{KeyKind, Leaf, Pair, Pki};
pub use postgres::{Builder, Postgres};
pub use proxy::DelayingProxy;
pub use redis::{Builder as RedisBuilder, Redis, RedisCluster, RedisVersion, Reply, Resp, Sentinels, Tls};
pub use rustix::process::Signal;
pub use s3::S3Server;
pub use session::Session;
pub use shared::shared;
pub use site::{Recovered, Site, files};
pub use small_disk::SmallDisk;
pub use smtp::Smtp;
pub use tool::{Output, RUN_LIMIT, Running, records, run, run_fed, start, tool};

use std::time::{Duration, Instant};

/// Polls until `condition` holds; after `timeout` the answer is [`Error::TimedOut`], which names `what`.
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + timeout;
    loop {
        if condition() {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(Error::TimedOut { what: what.to_owned(), after: timeout });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
