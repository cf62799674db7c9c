//! Why there was no handshake.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::endpoint::StartTls;

/// The steps of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From a name to addresses.
    Resolution,
    /// To one of them.
    Connection,
    /// What a protocol says before TLS.
    StartTls,
    /// TLS itself.
    Handshake,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Resolution => "while its name was resolved",
            Stage::Connection => "while it was connected to",
            Stage::StartTls => "before TLS began",
            Stage::Handshake => "in the handshake",
        })
    }
}

/// There was no handshake, or it proves nothing. Messages do not repeat the endpoint: whoever reports them names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Not a name that TLS can ask for.
    #[error("`{0}` is no host name that a server can be asked for; give one with ;sni=NAME")]
    Name(String),
    /// The name has no address.
    #[error("cannot find the address of {host}: {why}")]
    Unresolvable {
        /// The name.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// Nobody listens there.
    #[error("nobody listens: connection refused by {0}")]
    Refused(String),
    /// There is no way there.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// Not done by the deadline.
    #[error("no answer within {after:?}, {stage}")]
    TimedOut {
        /// Where it hung.
        stage: Stage,
        /// The time for the whole.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection ended {stage}: {why}")]
    Closed {
        /// When.
        stage: Stage,
        /// How.
        why: String,
    },
    /// The protocol's way into TLS was not granted.
    #[error("{protocol} does not go over to TLS: {answer}")]
    StartTls {
        /// The protocol.
        protocol: StartTls,
        /// What was said.
        answer: String,
    },
    /// What came was not TLS.
    #[error("it does not speak TLS there: it answered {0}")]
    NotTls(String),
    /// The server ended the handshake.
    #[error("the server refused the handshake with the alert `{name}`{}", advice(.name))]
    Alert {
        /// The alert's name (RFC 8446, 6).
        name: String,
    },
    /// What came is TLS, and wrong.
    #[error("the handshake failed: {0}")]
    Protocol(String),
    /// The server did not show that it holds the certificate's key.
    #[error("the server does not prove that it holds the key of the certificate it shows: {0}")]
    Unproven(String),
    /// A certificate of the chain cannot be read.
    #[error("certificate {depth} of the chain, counted from the leaf as 0: {why}")]
    Certificate {
        /// Its place.
        depth: usize,
        /// What is wrong with it.
        why: String,
    },
}

impl TlsError {
    /// A stable name of the kind.
    pub fn code(&self) -> &'static str {
        match self {
            TlsError::Name(_) => "bad-name",
            TlsError::Unresolvable { .. } => "unresolvable",
            TlsError::Refused(_) => "refused",
            TlsError::Unreachable(_) => "unreachable",
            TlsError::TimedOut { .. } => "timed-out",
            TlsError::Closed { .. } => "closed",
            TlsError::StartTls { .. } => "starttls-refused",
            TlsError::NotTls(_) => "not-tls",
            TlsError::Alert { .. } => "alert",
            TlsError::Protocol(_) => "tls-failed",
            TlsError::Unproven(_) => "key-unproven",
            TlsError::Certificate { .. } => "bad-certificate",
        }
    }

    /// Whether there was nobody to talk to. It says nothing about what the server would show: it may be about to start.
    pub fn is_down(&self) -> bool {
        match self {
            TlsError::Unresolvable { .. }
            | TlsError::Refused(_)
            | TlsError::Unreachable(_)
            | TlsError::TimedOut { .. } => true,
            TlsError::Name(_)
            | TlsError::Closed { .. }
            | TlsError::StartTls { .. }
            | TlsError::NotTls(_)
            | TlsError::Alert { .. }
            | TlsError::Protocol(_)
            | TlsError::Unproven(_)
            | TlsError::Certificate { .. } => false,
        }
    }

    /// A connection that broke while it was read or written.
    pub(super) fn broken(stage: Stage, error: &io::Error) -> Self {
        let why = match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
                "the server closed it".to_owned()
            }
            _ => error.to_string(),
        };
        TlsError::Closed { stage, why }
    }
}

/// What usually lies behind an alert.
fn advice(alert: &str) -> &'static str {
    match alert {
        "protocol_version" => ": it speaks only versions older than TLS 1.2",
        "handshake_failure" | "insufficient_security" => ": no cipher, curve or kind of signature in common",
        "unrecognized_name" => ": it does not know the name that was asked for",
        _ => "",
    }
}

/// The start of what a server said, fit for a message.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    const LENGTH: usize = 60;
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let mut text: String = line.iter().take(LENGTH).flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
    if line.len() > LENGTH {
        text.push_str("...");
    }
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_said_cannot_reach_the_terminal_as_it_is() {
        assert_eq!(excerpt(b"HTTP/1.1 400 Bad Request\r\nServer: x"), "`HTTP/1.1 400 Bad Request`");
        assert_eq!(excerpt(b"\x1b[2J\xff"), "`\\x1b[2J\\xff`");
        assert!(excerpt(&[b'a'; 1000]).len() < 80);
    }

    #[test]
    fn messages_say_what_to_think_of_it() {
        let alert = TlsError::Alert { name: "protocol_version".to_owned() };
        assert!(alert.to_string().contains("older than TLS 1.2"), "{alert}");
        let late = TlsError::TimedOut { stage: Stage::Handshake, after: Duration::from_secs(2) };
        assert_eq!(late.to_string(), "no answer within 2s, in the handshake");
    }
}
