//! What is said before TLS, by protocol.
//!
//! Whatever a server sends in the clear after it has agreed is not believed: it may come from somebody on the way who wants
//! it to be taken for a part of what is protected (as in CVE-2021-23222 and CVE-2011-0411).

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::error::{Stage, TlsError, excerpt};
use crate::endpoint::StartTls;

/// `SSLRequest`: its length, and the code 80877103 where a version would be (PostgreSQL's documentation, "Message
/// Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A greeting longer than this is none.
const LIMIT: usize = 64 * 1024;

/// Asks the server to go over to TLS. The next byte in either direction is TLS's.
pub(super) async fn ask(protocol: StartTls, stream: &mut TcpStream) -> Result<(), TlsError> {
    let mut talk = Talk { protocol, stream, unread: Vec::new() };
    match protocol {
        StartTls::Postgres => talk.postgres().await?,
        StartTls::Smtp => talk.smtp().await?,
    }
    if talk.unread.is_empty() { Ok(()) } else { Err(talk.refused("it says more in the clear than its consent")) }
}

struct Talk<'a> {
    protocol: StartTls,
    stream: &'a mut TcpStream,
    unread: Vec<u8>,
}

impl Talk<'_> {
    async fn postgres(&mut self) -> Result<(), TlsError> {
        self.say(&SSL_REQUEST).await?;
        self.hear().await?;
        match self.unread.first() {
            Some(b'S') => {
                self.unread.remove(0);
                Ok(())
            }
            Some(b'N') => Err(self.refused("the server runs without it (ssl = off)")),
            _ => Err(self.refused(&format!("it answered {}", excerpt(&self.unread)))),
        }
    }

    async fn smtp(&mut self) -> Result<(), TlsError> {
        self.reply("220").await?;
        // An address that says nothing about this host, in the form that RFC 5321, 4.1.4 has for hosts without a name.
        self.say(b"EHLO [127.0.0.1]\r\n").await?;
        let offers = self.reply("250").await?;
        let offered = |line: &String| line.get(4..).is_some_and(|word| word.trim().eq_ignore_ascii_case("STARTTLS"));
        if !offers.iter().any(offered) {
            return Err(self.refused("the server does not offer STARTTLS"));
        }
        self.say(b"STARTTLS\r\n").await?;
        self.reply("220").await.map(drop)
    }

    /// The lines of a reply (RFC 5321, 4.2.1: `250-first`, `250 last`), which must have this code.
    async fn reply(&mut self, code: &str) -> Result<Vec<String>, TlsError> {
        let mut lines = Vec::new();
        let mut size = 0;
        loop {
            let line = self.line().await?;
            size += line.len();
            let rest = line.strip_prefix(code);
            let last = rest.map(|rest| !rest.starts_with('-'));
            if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', ' '])) || size > LIMIT {
                return Err(self.refused(&format!("it answered {}", excerpt(line.as_bytes()))));
            }
            lines.push(line);
            if last == Some(true) {
                return Ok(lines);
            }
        }
    }

    async fn line(&mut self) -> Result<String, TlsError> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.unread.len() > LIMIT {
                return Err(self.refused(&format!("it answered {}", excerpt(&self.unread))));
            }
            self.hear().await?;
        }
    }

    async fn hear(&mut self) -> Result<(), TlsError> {
        let mut buffer = [0; 1024];
        let count = self.stream.read(&mut buffer).await.map_err(|error| TlsError::broken(Stage::StartTls, &error))?;
        if count == 0 {
            return Err(TlsError::Closed { stage: Stage::StartTls, why: "the server closed it".to_owned() });
        }
        self.unread.extend(buffer.iter().take(count));
        Ok(())
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        self.stream.write_all(bytes).await.map_err(|error| TlsError::broken(Stage::StartTls, &error))
    }

    fn refused(&self, answer: &str) -> TlsError {
        TlsError::StartTls { protocol: self.protocol, answer: answer.to_owned() }
    }
}
