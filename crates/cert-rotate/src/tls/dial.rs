//! From a host to a connection.
//!
//! A name may have several addresses of which some do not work: `localhost` is often `::1` as well, where nobody listens.
//! Each gets its turn, the next one as soon as the one before has failed, or has kept us waiting for a moment (RFC 8305).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

use super::error::TlsError;

/// How long an address is waited for before the next is tried as well (RFC 8305, 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// The host's addresses, in the system's order.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, TlsError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let unresolvable = |why: String| TlsError::Unresolvable { host: host.to_owned(), why };
    let mut found: Vec<SocketAddr> = Vec::new();
    for address in lookup_host((host, port)).await.map_err(|error| unresolvable(error.to_string()))? {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() { Err(unresolvable("it has none".to_owned())) } else { Ok(found) }
}

/// A connection to the first of the addresses that takes one.
pub(super) async fn dial(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), TlsError> {
    let mut waiting = addresses.iter().copied();
    let mut tried = JoinSet::new();
    let mut failed = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            tried.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        let ended = if waiting.len() == 0 {
            tried.join_next().await
        } else if let Ok(ended) = tokio::time::timeout(HEAD_START, tried.join_next()).await {
            ended
        } else {
            continue;
        };
        match ended {
            Some(Ok((address, Ok(stream)))) => return Ok((stream, address)),
            Some(Ok((address, Err(error)))) => failed.push((address, error)),
            Some(Err(error)) => return Err(TlsError::Unreachable(error.to_string())),
            None => return Err(none(&failed)),
        }
    }
}

/// Why no address took a connection.
fn none(failed: &[(SocketAddr, io::Error)]) -> TlsError {
    if failed.iter().all(|(_, error)| error.kind() == io::ErrorKind::ConnectionRefused) {
        let all: Vec<String> = failed.iter().map(|(address, _)| address.to_string()).collect();
        TlsError::Refused(all.join(", "))
    } else {
        let all: Vec<String> = failed.iter().map(|(address, error)| format!("{address}: {error}")).collect();
        TlsError::Unreachable(all.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn nobody() -> SocketAddr {
        listener().1
    }

    #[tokio::test]
    async fn every_address_gets_its_turn() {
        let (_listener, open) = listener();
        // 192.0.2.0/24 (RFC 5737) is nobody's: it does not answer, or the network says so.
        for bad in [nobody(), "192.0.2.1:9".parse().unwrap()] {
            let (_, address) = dial(&[bad, bad, open]).await.unwrap();
            assert_eq!(address, open);
        }
    }

    #[tokio::test]
    async fn refused_by_all_is_told_from_unreachable() {
        let closed = nobody();
        assert_eq!(dial(&[closed]).await.unwrap_err(), TlsError::Refused(closed.to_string()));
        let error =
            none(&[(closed, io::ErrorKind::ConnectionRefused.into()), (closed, io::ErrorKind::HostUnreachable.into())]);
        assert_eq!(error.code(), "unreachable");
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_told() {
        // RFC 6761: this name never exists.
        let error = resolve("no-such-host.invalid", 1).await.unwrap_err();
        assert_eq!(error.code(), "unresolvable", "{error}");
    }
}
