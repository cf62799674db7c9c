//! What consumers show: the only proof there is.
//!
//! A server with several workers may show the new certificate on one connection and the old one on the next, so it has to
//! be seen on some connections in a row. Only signatures of the certificate's own kind of key are offered: a server that
//! holds an RSA and an ECDSA certificate is asked for the one that was replaced.

use std::time::Duration;

use maint_core::cancel::Cancel;
use tokio::time::{Instant, sleep};

use crate::certificate::Certificate;
use crate::config::Consumer;
use crate::endpoint::Endpoint;
use crate::tls::{self, Asked, KeyFamily};

/// How long one connection may take.
const CONNECTION: Duration = Duration::from_secs(5);

/// Between connections while a server still shows something else.
const PAUSE: Duration = Duration::from_millis(100);

/// What counts as a proof.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// So many connections in a row.
    pub count: u32,
    /// Within this time, for each endpoint.
    pub timeout: Duration,
}

/// It was not shown.
#[derive(Debug, thiserror::Error)]
pub enum Unproven {
    /// Not by the deadline.
    #[error("{consumer} at {endpoint}: {last}")]
    Not {
        /// The consumer's name.
        consumer: String,
        /// Where.
        endpoint: Endpoint,
        /// What was seen last.
        last: String,
    },
    /// This run was asked to stop.
    #[error("the run was interrupted before {0} was seen to show it")]
    Stopped(String),
}

/// What an endpoint shows.
#[derive(Debug, Clone)]
pub enum Shown {
    /// A certificate.
    Leaf(Box<Certificate>),
    /// It answers, but not with a certificate of the kind that was asked for.
    Refused(String),
    /// It cannot be reached.
    Down(String),
}

impl Shown {
    /// Whether it is this certificate.
    pub fn is(&self, leaf: &Certificate) -> bool {
        matches!(self, Shown::Leaf(shown) if shown.sha256() == leaf.sha256())
    }
}

/// Connects once.
pub async fn look(endpoint: &Endpoint, like: Option<&Certificate>) -> Shown {
    let asked = Asked { timeout: CONNECTION, key: like.and_then(|leaf| KeyFamily::of(&leaf.key)) };
    match tls::connect(endpoint, &asked).await {
        Ok(seen) => match seen.chain.into_iter().next() {
            Some(leaf) => Shown::Leaf(Box::new(leaf)),
            None => Shown::Refused("it shows no certificate".to_owned()),
        },
        Err(error) if error.is_down() => Shown::Down(error.to_string()),
        Err(error) => Shown::Refused(error.to_string()),
    }
}

/// Connects once to every endpoint of the consumers, to all at the same time.
pub async fn look_at_all(consumers: &[Consumer], like: Option<&Certificate>) -> Vec<(String, Endpoint, Shown)> {
    let mut looking = tokio::task::JoinSet::new();
    let places = consumers.iter().flat_map(|consumer| consumer.verify.iter().map(move |at| (&consumer.name, at)));
    for (index, (name, endpoint)) in places.enumerate() {
        let (name, endpoint, like) = (name.clone(), endpoint.clone(), like.cloned());
        looking.spawn(async move {
            let shown = look(&endpoint, like.as_ref()).await;
            (index, (name, endpoint, shown))
        });
    }
    let mut seen = looking.join_all().await;
    seen.sort_by_key(|(index, _)| *index);
    seen.into_iter().map(|(_, seen)| seen).collect()
}

/// Waits until an endpoint shows the certificate as the rule has it, and returns how many connections it took.
///
/// # Errors
/// It did not by the deadline, or the run was asked to stop.
pub async fn prove(
    consumer: &str,
    endpoint: &Endpoint,
    leaf: &Certificate,
    rule: Rule,
    cancel: Option<&Cancel>,
) -> Result<u64, Unproven> {
    let deadline = Instant::now() + rule.timeout;
    let (mut connections, mut in_a_row) = (0, 0);
    loop {
        if cancel.is_some_and(Cancel::is_cancelled) {
            return Err(Unproven::Stopped(format!("{consumer} at {endpoint}")));
        }
        let shown = look(endpoint, Some(leaf)).await;
        connections += 1;
        let last = match shown {
            shown if shown.is(leaf) => {
                in_a_row += 1;
                if in_a_row >= rule.count.max(1) {
                    return Ok(connections);
                }
                // A server that is slow, not one that is wrong.
                if Instant::now() < deadline {
                    continue;
                }
                format!("it showed the certificate on {in_a_row} connections in a row, {} are asked for", rule.count)
            }
            Shown::Leaf(other) => {
                format!("it shows another certificate (SHA-256 {}, until {})", other.fingerprint(), other.not_after)
            }
            Shown::Refused(why) | Shown::Down(why) => why,
        };
        in_a_row = 0;
        if Instant::now() >= deadline {
            return Err(Unproven::Not { consumer: consumer.to_owned(), endpoint: endpoint.clone(), last });
        }
        let pause = sleep(PAUSE);
        match cancel {
            None => pause.await,
            Some(cancel) => tokio::select! {
                () = pause => {}
                _ = cancel.cancelled() => {}
            },
        }
    }
}
