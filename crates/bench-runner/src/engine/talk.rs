//! What is said on a connection: the login, a request, and when its answer has ended. One variant a protocol; the loop
//! around it is the same for all.

use super::heard::{Answer, Broken, Heard};
use super::http1::{self, Http};
use super::pgwire::{self, Sql};
use super::resp::{self, Commands};
use crate::tally::{Code, Fault};

/// What is asked of a target, ready to be sent.
#[derive(Debug, Clone)]
pub enum Speech {
    /// One request of HTTP.
    Http(Http),
    /// Commands of Redis.
    Redis(Commands),
    /// A script of SQL.
    Postgres(Sql),
}

/// One connection's side of it.
#[derive(Debug)]
pub enum Talk<'a> {
    /// HTTP.
    Http(&'a Http, http1::Reader),
    /// Redis.
    Redis(resp::Talk<'a>),
    /// PostgreSQL.
    Postgres(Box<pgwire::Talk<'a>>),
}

impl<'a> Talk<'a> {
    /// On a connection that was just made. Where requests have random parts, they are drawn from the seed.
    pub fn new(speech: &'a Speech, seed: u64) -> Self {
        match speech {
            Speech::Http(http) => Talk::Http(http, http1::Reader::new(http.asked)),
            Speech::Redis(commands) => Talk::Redis(resp::Talk::new(commands, seed)),
            Speech::Postgres(sql) => Talk::Postgres(Box::new(pgwire::Talk::new(sql, seed))),
        }
    }

    /// Begins: [`Heard::Ready`] where no login is needed.
    pub fn greet(&mut self, out: &mut Vec<u8>) -> Heard {
        match self {
            Talk::Http(..) => Heard::Ready,
            Talk::Redis(talk) => talk.greet(out),
            Talk::Postgres(talk) => talk.greet(out),
        }
    }

    /// Begins the next request.
    ///
    /// # Errors
    /// It cannot be made: a script divides by zero.
    pub fn ask(&mut self, out: &mut Vec<u8>) -> Result<Heard, Broken> {
        match self {
            Talk::Http(http, _) => out.extend_from_slice(&http.request),
            Talk::Redis(talk) => talk.ask(out),
            Talk::Postgres(talk) => return talk.ask(out),
        }
        Ok(Heard::More)
    }

    /// Takes what has arrived.
    ///
    /// # Errors
    /// It is not of the protocol, or the login is refused. The connection is of no more use.
    pub fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Heard, Broken> {
        match self {
            Talk::Http(_, reader) => match reader.feed(bytes).map_err(|error| Broken::of(Fault::Protocol, error))? {
                (_, None) => Ok(Heard::More),
                (used, Some(answer)) if used == bytes.len() => Ok(Heard::Answer(of_http(answer))),
                _ => Err(Broken::of(Fault::Protocol, "the server said more than it was asked")),
            },
            Talk::Redis(talk) => talk.hear(bytes),
            Talk::Postgres(talk) => talk.hear(bytes, out),
        }
    }

    /// Goes on after a pause.
    ///
    /// # Errors
    /// As of [`Talk::ask`].
    pub fn resume(&mut self, out: &mut Vec<u8>) -> Result<Heard, Broken> {
        match self {
            Talk::Postgres(talk) => talk.resume(out),
            Talk::Http(..) | Talk::Redis(_) => Ok(Heard::More),
        }
    }

    /// What arrives while nothing was asked; false where the connection is over with it.
    pub fn is_harmless(&mut self, bytes: &[u8]) -> bool {
        match self {
            Talk::Postgres(talk) => talk.is_harmless(bytes),
            Talk::Http(..) | Talk::Redis(_) => false,
        }
    }

    /// The server has ended the connection. Some answers of HTTP end like that.
    ///
    /// # Errors
    /// This one did not.
    pub fn hung_up(&mut self) -> Result<Answer, Broken> {
        match self {
            Talk::Http(_, reader) => {
                let answer = reader.end().map_err(|error| Broken::of(Fault::Closed, error))?;
                Ok(Answer { close: true, ..of_http(answer) })
            }
            Talk::Postgres(talk) => Err(talk.gone()),
            Talk::Redis(_) => Err(Broken::of(Fault::Closed, "the server has ended the connection")),
        }
    }

    /// Nothing of the answer has come, and it does no harm to ask once more.
    pub fn may_repeat(&self) -> bool {
        match self {
            Talk::Http(http, reader) => http.is_repeatable && reader.is_fresh(),
            Talk::Redis(_) | Talk::Postgres(_) => false,
        }
    }

    /// What the server said to the last error, for people.
    pub fn complaint(&self) -> Option<&str> {
        match self {
            Talk::Http(..) => None,
            Talk::Redis(talk) => talk.complaint(),
            Talk::Postgres(talk) => talk.complaint(),
        }
    }
}

fn of_http(answer: http1::Answer) -> Answer {
    Answer { code: Code::of_status(answer.status), is_good: answer.status < 400, close: answer.close }
}
