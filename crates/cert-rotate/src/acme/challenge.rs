//! Showing the authority that we control a name (RFC 8555, section 8; RFC 8737).
//!
//! Whatever is put up for that is taken down again, also when something fails half-way or the run is interrupted.

mod alpn;
mod dns;
mod http;
mod webroot;

use std::net::SocketAddr;
use std::time::Duration;

use instant_acme::ChallengeType;
use maint_core::cancel::Cancel;
use maint_core::failure::Failure;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::ChallengeSpec;

/// What has to be shown for one name.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    /// The name or address, without `*.`.
    pub(crate) name: String,
    /// The challenge's token: letters, digits, `-` and `_`.
    pub(crate) token: String,
    /// Token and thumbprint of the account's key.
    pub(crate) key_authorization: String,
    /// What goes into DNS.
    pub(crate) dns_value: String,
}

/// What is put up at the moment.
pub(crate) enum Shown {
    /// A listener of our own.
    Listening(JoinHandle<()>),
    /// Files below a web server's root.
    Files(Vec<std::path::PathBuf>),
    /// DNS records, as the hook was told: name and value.
    Records { hook: Vec<String>, set: Vec<(String, String)>, wait: Duration },
}

impl ChallengeSpec {
    /// What the protocol calls it.
    pub(crate) fn kind(&self) -> ChallengeType {
        match self {
            ChallengeSpec::Http01 { .. } | ChallengeSpec::Webroot { .. } => ChallengeType::Http01,
            ChallengeSpec::TlsAlpn01 { .. } => ChallengeType::TlsAlpn01,
            ChallengeSpec::Dns01 { .. } => ChallengeType::Dns01,
        }
    }
}

/// Puts up the proofs.
///
/// # Errors
/// A port is taken, a file cannot be written, or the hook failed; what was put up by then is taken down.
pub(crate) async fn show(spec: &ChallengeSpec, proofs: &[Proof], cancel: &Cancel) -> Result<Shown, Failure> {
    match spec {
        ChallengeSpec::Http01 { listen } => {
            let (listener, address) = bind(listen.as_deref(), 80).await?;
            let shown = Shown::Listening(http::serve(listener, proofs));
            match http::look(address, proofs).await {
                Ok(()) => Ok(shown),
                Err(failure) => {
                    shown.take_down().await;
                    Err(failure)
                }
            }
        }
        ChallengeSpec::Webroot { path } => webroot::write(path, proofs).map(Shown::Files),
        ChallengeSpec::TlsAlpn01 { listen } => {
            let config = alpn::config(proofs)?;
            let (listener, _) = bind(listen.as_deref(), 443).await?;
            Ok(Shown::Listening(alpn::serve(listener, config)))
        }
        ChallengeSpec::Dns01 { hook, wait } => {
            let wait = wait.map_or(Duration::ZERO, |wait| wait.0);
            let mut shown = Shown::Records { hook: hook.clone(), set: Vec::new(), wait };
            for proof in proofs {
                let name = format!("_acme-challenge.{}", proof.name);
                if let Shown::Records { set, .. } = &mut shown {
                    // Before the call: one that fails half-way may have set it.
                    set.push((name.clone(), proof.dns_value.clone()));
                }
                if let Err(failure) = dns::call(hook, "set", &name, &proof.dns_value, cancel).await {
                    shown.take_down().await;
                    return Err(failure);
                }
            }
            Ok(shown)
        }
    }
}

impl Shown {
    /// How long the authority must not be told yet.
    pub(crate) fn wait(&self) -> Duration {
        match self {
            Shown::Records { wait, .. } => *wait,
            Shown::Listening(_) | Shown::Files(_) => Duration::ZERO,
        }
    }

    /// Takes everything down. What could not be taken down is returned, in words.
    pub(crate) async fn take_down(self) -> Vec<String> {
        match self {
            Shown::Listening(task) => {
                task.abort();
                // The port is free when the task is gone, not when it is asked to go.
                let _ = task.await;
                Vec::new()
            }
            Shown::Files(files) => webroot::remove(&files),
            Shown::Records { hook, set, .. } => {
                let mut left = Vec::new();
                for (name, value) in set {
                    // Also when the run was interrupted: that is what cleaning up is.
                    if let Err(failure) = dns::call(&hook, "clear", &name, &value, &Cancel::never()).await {
                        left.push(failure.message);
                    }
                }
                left
            }
        }
    }
}

/// Listens where the configuration says, by default on every address of IPv6 and IPv4.
async fn bind(listen: Option<&str>, port: u16) -> Result<(TcpListener, SocketAddr), Failure> {
    let given = listen.map_or_else(|| format!("[::]:{port}"), str::to_owned);
    let bound = match TcpListener::bind(&given).await {
        // A host without IPv6.
        Err(error) if listen.is_none() && error.kind() != std::io::ErrorKind::AddrInUse => {
            TcpListener::bind(("0.0.0.0", port)).await
        }
        bound => bound,
    };
    let bound = bound.and_then(|listener| listener.local_addr().map(|address| (listener, address)));
    bound.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another program has that port: use `webroot` with a web server's directory, or another challenge"
            }
            std::io::ErrorKind::PermissionDenied => {
                "ports below 1024 need CAP_NET_BIND_SERVICE; or forward the port to another one and set `listen`"
            }
            _ => "correct the challenge's `listen`",
        };
        Failure::critical(format!("cannot listen on {given} for the authority's question: {error}")).hint(hint)
    })
}

/// Looks at the proofs of http-01 as the authority will, by their names. What is seen is no verdict, because this host may
/// not see itself as others do; it goes into the message if the authority refuses.
pub(crate) async fn look_as_others_do(spec: &ChallengeSpec, proofs: &[Proof]) -> Vec<String> {
    let ChallengeSpec::Webroot { .. } = spec else { return Vec::new() };
    let mut seen = Vec::new();
    for proof in proofs {
        if let Err(why) = http::look_at(&proof.name, 80, proof).await {
            seen.push(format!("seen from here, http://{}/ {why}", proof.name));
        }
    }
    seen
}

/// A proof's parts, or why it cannot be one: the token becomes a file's name.
pub(crate) fn checked_token(token: &str) -> Result<String, Failure> {
    if !token.is_empty() && token.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        return Ok(token.to_owned());
    }
    Err(Failure::critical(format!("the authority's token is none by RFC 8555, 8.3: {token:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_leads_elsewhere_is_refused() {
        assert!(checked_token("aZ09-_").is_ok());
        for token in ["", "../../etc/cron.d/x", "a/b", "a b", "a\r\nX: y"] {
            assert!(checked_token(token).is_err(), "{token}");
        }
    }
}
