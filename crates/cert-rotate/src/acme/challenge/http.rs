//! http-01: a server that knows nothing but the tokens, and a client that looks at it first.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use maint_core::failure::Failure;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Proof;

/// Where the protocol has them.
pub(super) const PATH: &str = "/.well-known/acme-challenge/";

/// A request that is longer is none of an authority.
const MAX_HEAD_BYTES: usize = 8 << 10;

const PATIENCE: Duration = Duration::from_secs(10);

/// Answers until the task is aborted.
pub(super) fn serve(listener: TcpListener, proofs: &[Proof]) -> JoinHandle<()> {
    let known: HashMap<String, String> =
        proofs.iter().map(|proof| (proof.token.clone(), proof.key_authorization.clone())).collect();
    let known = Arc::new(known);
    tokio::spawn(async move {
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let known = Arc::clone(&known);
            tokio::spawn(async move {
                let done = timeout(PATIENCE, answer(stream, &known)).await;
                tracing::debug!(%peer, ?done, "asked for a token");
            });
        }
    })
}

async fn answer(mut stream: TcpStream, known: &HashMap<String, String>) -> std::io::Result<()> {
    let head = read_head(&mut stream).await?;
    let token = head
        .strip_prefix("GET ")
        .and_then(|rest| rest.split_ascii_whitespace().next())
        .and_then(|target| target.strip_prefix(PATH));
    let response = match token.and_then(|token| known.get(token)) {
        Some(answer) => format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
            answer.len()
        ),
        None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
    };
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

/// Everything up to the empty line.
async fn read_head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < MAX_HEAD_BYTES {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Asks our own listener for every token.
///
/// # Errors
/// Somebody else answers there, or nobody.
pub(super) async fn look(address: SocketAddr, proofs: &[Proof]) -> Result<(), Failure> {
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        // Every address of IPv6 is one of IPv4 as well there, which the host is more likely to have.
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    for proof in proofs {
        look_at(&host.to_string(), address.port(), proof).await.map_err(|why| {
            Failure::critical(format!("our own answer to http-01 on {host}, port {}: it {why}", address.port()))
                .hint("something on this host stands before that port: correct the challenge's `listen`")
        })?;
    }
    Ok(())
}

/// Asks a host for the token.
pub(super) async fn look_at(host: &str, port: u16, proof: &Proof) -> Result<(), String> {
    let ask = async {
        let mut stream = TcpStream::connect((host, port)).await?;
        let request =
            format!("GET {PATH}{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", proof.token, proof.name);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_HEAD_BYTES as u64).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = match timeout(PATIENCE, ask).await {
        Ok(answer) => answer.map_err(|error| format!("cannot be asked: {error}"))?,
        Err(_) => return Err("does not answer".to_owned()),
    };
    let status = answer.lines().next().unwrap_or_default().trim();
    match answer.split_once("\r\n\r\n") {
        Some((_, body)) if status.contains(" 200") && body.trim_end() == proof.key_authorization => Ok(()),
        // A web server may lead elsewhere; the authority follows, we do not.
        Some(_) if status.contains(" 30") => Ok(()),
        _ if status.contains(" 200") => Err("answers with something else".to_owned()),
        _ => Err(format!("answers with `{status}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(token: &str) -> Proof {
        Proof {
            name: "a.test".to_owned(),
            token: token.to_owned(),
            key_authorization: format!("{token}.thumb"),
            dns_value: String::new(),
        }
    }

    #[tokio::test]
    async fn known_tokens_are_answered_and_nothing_else_is() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = serve(listener, &[proof("one"), proof("two")]);
        look(address, &[proof("one"), proof("two")]).await.unwrap();
        let failure = look(address, &[proof("three")]).await.unwrap_err();
        assert!(failure.message.contains("404"), "{failure}");
        task.abort();
        let _ = task.await;
        assert!(look(address, &[proof("one")]).await.is_err());
    }
}
