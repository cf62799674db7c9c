//! What servers show, many at once.
//!
//! A server may hold a certificate for each kind of key, and shows each client the one it asks for. All of them are
//! judged.

use std::sync::Arc;
use std::time::Duration;

use maint_core::status::Status;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{Looked, Unseen};
use crate::endpoint::Endpoint;
use crate::lint::Role;
use crate::tls::{Asked, KeyFamily, Seen, TlsError, connect};
use crate::verdict::{Finding, Subject};
use crate::work::Work;

/// So many servers at once.
const CONNECTIONS: usize = 64;

/// What each of the servers shows, in their order.
pub(super) fn look(endpoints: Vec<Endpoint>, timeout: Duration, work: &Work<'_>) -> Vec<Vec<Looked>> {
    let turns = Arc::new(Semaphore::new(CONNECTIONS));
    work.block_on(async {
        let started: Vec<(Endpoint, JoinHandle<_>)> = endpoints
            .into_iter()
            .map(|endpoint| {
                let (turns, at) = (Arc::clone(&turns), endpoint.clone());
                let handle = tokio::spawn(async move {
                    // It is never closed.
                    let _turn = turns.acquire().await;
                    ask(&at, timeout).await
                });
                (endpoint, handle)
            })
            .collect();
        let mut all = Vec::new();
        for (endpoint, handle) in started {
            let looked = tokio::select! {
                found = handle => match found {
                    Ok(Ok(shown)) => shown.into_iter().map(|seen| subject(&endpoint, seen)).collect(),
                    Ok(Err(error)) => vec![Err(unseen(&endpoint, &error))],
                    Err(error) => vec![Err(Unseen {
                        subject: endpoint.to_string(),
                        status: Status::Unknown,
                        code: "not-asked",
                        message: format!("not asked: {error}"),
                    })],
                },
                _ = work.cancel.cancelled() => break,
            };
            all.push(looked);
        }
        all
    })
}

/// What it shows to whoever takes anything, and then what it has for the other kinds of keys.
async fn ask(endpoint: &Endpoint, timeout: Duration) -> Result<Vec<Seen>, TlsError> {
    let first = connect(endpoint, &Asked { timeout, key: None }).await?;
    let family = first.chain.first().and_then(|leaf| KeyFamily::of(&leaf.key));
    let mut all = vec![first];
    for other in KeyFamily::ALL.into_iter().filter(|other| Some(*other) != family) {
        // A refusal is how a server says that it has none of that kind.
        all.extend(connect(endpoint, &Asked { timeout, key: Some(other) }).await.ok());
    }
    Ok(all)
}

fn subject(endpoint: &Endpoint, seen: Seen) -> Looked {
    let Some(leaf) = seen.chain.first().cloned() else {
        return Err(Unseen {
            subject: endpoint.to_string(),
            status: Status::Critical,
            code: "no-certificate",
            message: "it shows no certificate".to_owned(),
        });
    };
    Ok(Box::new(Subject {
        source: endpoint.to_string(),
        leaf,
        role: Role::Subscriber,
        shown: seen.chain,
        ordered: true,
        beside: Vec::new(),
        names: vec![endpoint.name().to_owned()],
        staple: seen.ocsp,
        served: true,
        findings: Vec::<Finding>::new(),
    }))
}

/// A server that refuses is down; one that cannot be found or asked leaves open what it shows; and whoever answers with
/// something else than a handshake is broken.
fn unseen(endpoint: &Endpoint, error: &TlsError) -> Unseen {
    let status = match error {
        TlsError::Unresolvable { .. } | TlsError::Unreachable(_) | TlsError::TimedOut { .. } | TlsError::Name(_) => {
            Status::Unknown
        }
        _ => Status::Critical,
    };
    Unseen { subject: endpoint.to_string(), status, code: error.code(), message: error.to_string() }
}
