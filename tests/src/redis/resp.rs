//! A small client for the RESP2 protocol (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//!
//! redis-cli takes its arguments from a command line, where no NUL can stand, and answers with text made for people. This
//! client takes and gives bytes, and sends commands by the hundred thousand without waiting for each answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::error::{Doing, Error, Result};

/// An answer of the server. Errors are none: they become [`Error::Refused`], except inside an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// No such value.
    Nil,
    /// An integer.
    Int(i64),
    /// A short word of success such as `OK`.
    Status(String),
    /// A string of any bytes.
    Bulk(Vec<u8>),
    /// Several replies.
    Array(Vec<Reply>),
    /// An error inside an array, as EXEC gives them.
    Error(String),
}

impl Reply {
    /// Its text, with bytes that are not UTF-8 replaced; empty for nil, and an array's parts one a line.
    pub fn text(&self) -> String {
        match self {
            Self::Nil => String::new(),
            Self::Int(n) => n.to_string(),
            Self::Status(s) | Self::Error(s) => s.clone(),
            Self::Bulk(b) => String::from_utf8_lossy(b).into_owned(),
            Self::Array(a) => a.iter().map(Self::text).collect::<Vec<_>>().join("\n"),
        }
    }

    /// Its integer, if it is one or the text of one.
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Bulk(b) => std::str::from_utf8(b).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// Its parts; none if it is not an array.
    pub fn array(&self) -> &[Reply] {
        if let Self::Array(a) = self { a } else { &[] }
    }
}

/// Commands are collected up to this size, and one such batch is on its way while the next is written.
const BATCH: usize = 256 * 1024;

/// Longer than any command takes that a test sends.
const PATIENCE: Duration = Duration::from_mins(2);

/// Arrays nest no deeper than this in any reply of a server.
const DEPTH: usize = 32;

/// A connection to a server, through its Unix socket.
#[derive(Debug)]
pub struct Resp {
    stream: BufReader<UnixStream>,
}

impl Resp {
    pub(crate) fn connect(socket: &Path, password: Option<&str>) -> Result<Self> {
        let doing = || format!("connect to {}", socket.display());
        let stream = UnixStream::connect(socket).doing(doing)?;
        stream.set_read_timeout(Some(PATIENCE)).doing(doing)?;
        stream.set_write_timeout(Some(PATIENCE)).doing(doing)?;
        let mut client = Self { stream: BufReader::with_capacity(64 * 1024, stream) };
        if let Some(password) = password {
            client.call(&["AUTH", password])?;
        }
        Ok(client)
    }

    /// Sends a command and waits for its reply. An error reply is [`Error::Refused`].
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Reply> {
        let mut bytes = Vec::new();
        write_command(&mut bytes, args);
        self.send(&bytes)?;
        match self.read(0)? {
            Reply::Error(message) => Err(Error::Refused { command: name(args), message }),
            reply => Ok(reply),
        }
    }

    /// Sends many commands without waiting for each reply, hands each reply to `seen`, and gives their number. The first
    /// error reply ends it as [`Error::Refused`], and the connection is not to be used afterwards.
    pub fn pipeline<A: AsRef<[u8]>>(
        &mut self,
        commands: impl IntoIterator<Item = impl AsRef<[A]>>,
        mut seen: impl FnMut(Reply),
    ) -> Result<u64> {
        let mut bytes = Vec::with_capacity(BATCH + 4096);
        let (mut sent, mut unsent, mut received) = (0_u64, 0_u64, 0_u64);
        let mut receive = |client: &mut Self, until: u64| -> Result<()> {
            while received < until {
                received += 1;
                match client.read(0)? {
                    Reply::Error(message) => {
                        return Err(Error::Refused { command: format!("command {received} of a pipeline"), message });
                    }
                    reply => seen(reply),
                }
            }
            Ok(())
        };
        for command in commands {
            write_command(&mut bytes, command.as_ref());
            unsent += 1;
            if bytes.len() >= BATCH {
                self.send(&bytes)?;
                bytes.clear();
                // The batch before this one has been answered, or is about to be.
                receive(self, sent)?;
                sent += unsent;
                unsent = 0;
            }
        }
        self.send(&bytes)?;
        receive(self, sent + unsent)?;
        Ok(sent + unsent)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).doing(|| "send a command to Redis".into())
    }

    fn read(&mut self, depth: usize) -> Result<Reply> {
        let doing = || "read a reply of Redis".to_owned();
        let bad = |why: String| Error::Failed { what: "reading a reply of Redis".into(), why };
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).doing(doing)?;
        let line = line
            .strip_suffix(b"\r\n")
            .ok_or_else(|| bad("the connection ended".into()))
            .map(|l| String::from_utf8_lossy(l).into_owned())?;
        let mut rest = line.chars();
        let kind = rest.next();
        let rest = rest.as_str();
        let number = || rest.parse::<i64>().map_err(|e| bad(format!("{line}: {e}")));
        match kind {
            Some('+') => Ok(Reply::Status(rest.to_owned())),
            Some('-') => Ok(Reply::Error(rest.to_owned())),
            Some(':') => Ok(Reply::Int(number()?)),
            Some('$') => {
                let Ok(length) = usize::try_from(number()?) else { return Ok(Reply::Nil) };
                let mut value = vec![0; length + 2];
                self.stream.read_exact(&mut value).doing(doing)?;
                value.truncate(length);
                Ok(Reply::Bulk(value))
            }
            Some('*') if depth < DEPTH => {
                let Ok(length) = usize::try_from(number()?) else { return Ok(Reply::Nil) };
                (0..length).map(|_| self.read(depth + 1)).collect::<Result<_>>().map(Reply::Array)
            }
            _ => Err(bad(format!("not RESP2: {line}"))),
        }
    }
}

/// A command is an array of bulk strings.
fn write_command<A: AsRef<[u8]>>(to: &mut Vec<u8>, args: &[A]) {
    to.extend(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        let arg = arg.as_ref();
        to.extend(format!("${}\r\n", arg.len()).as_bytes());
        to.extend(arg);
        to.extend(b"\r\n");
    }
}

/// The command and its first argument, as for `CONFIG SET`.
fn name<A: AsRef<[u8]>>(args: &[A]) -> String {
    let words: Vec<_> = args.iter().take(2).map(|a| String::from_utf8_lossy(a.as_ref()).into_owned()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(bytes: &[u8]) -> Result<Reply> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(bytes).unwrap();
        drop(theirs);
        Resp { stream: BufReader::new(ours) }.read(0)
    }

    #[test]
    fn every_kind_of_reply_is_read() {
        let reply = answered(b"*5\r\n:-3\r\n+OK\r\n$4\r\na\r\nb\r\n$-1\r\n*1\r\n-ERR no\r\n").unwrap();
        assert_eq!(
            reply,
            Reply::Array(vec![
                Reply::Int(-3),
                Reply::Status("OK".into()),
                Reply::Bulk(b"a\r\nb".to_vec()),
                Reply::Nil,
                Reply::Array(vec![Reply::Error("ERR no".into())]),
            ])
        );
    }

    #[test]
    fn a_reply_that_breaks_off_or_is_none_is_an_error() {
        for bytes in [&b""[..], b"$5\r\nab", b":x\r\n", b"HTTP/1.1 400\r\n", b"+OK"] {
            assert!(answered(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
        assert!(answered(&b"*1\r\n".repeat(100)).is_err());
    }

    #[test]
    fn arguments_are_counted_in_bytes() {
        let mut bytes = Vec::new();
        write_command(&mut bytes, &["ä".as_bytes(), b"\x00\r\n"]);
        assert_eq!(bytes, b"*2\r\n$2\r\n\xc3\xa4\r\n$3\r\n\x00\r\n\r\n");
    }
}
