//! PostgreSQL's protocol, version 3 (its documentation, chapter "Frontend/Backend Protocol"): a login, statements that are
//! prepared once a connection, and where each one's answer ends.
//!
//! Rows are counted, not kept. A script is one request: it is answered when its last statement is, and bad as soon as one
//! of them fails; a transaction that is open by then is rolled back before the connection is used again.

use std::io::Write as _;

use maint_core::secret::Secret;
use postgres_protocol::authentication::{md5_hash, sasl};

use super::heard::{Answer, Broken, Heard};
use crate::random::Random;
use crate::script::{Command, Script};
use crate::tally::{Code, Fault};

/// Version 3.0.
const VERSION: i32 = 196_608;
/// A message that must be read and is longer than this is none.
const MOST_MESSAGE: usize = 1 << 20;

/// What is asked over and over, and as whom.
#[derive(Debug, Clone)]
pub struct Sql {
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// The role's password, where it has one.
    pub password: Option<Secret>,
    /// Settings as command-line options of the server (`-c name=value`).
    pub options: Option<String>,
    /// What a request is.
    pub script: Script,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Login,
    Preparing,
    Idle,
    Running,
    RollingBack,
}

/// One connection.
pub struct Talk<'a> {
    sql: &'a Sql,
    stage: Stage,
    random: Random,
    variables: Vec<i64>,
    /// The next command of the script.
    at: usize,
    scram: Option<sasl::ScramSha256>,
    /// The beginning of a message whose end has not come.
    pending: Vec<u8>,
    /// Bytes of a message that is not looked at.
    skip: usize,
    error: Option<Code>,
    complaint: Option<String>,
}

impl std::fmt::Debug for Talk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Talk({:?}, command {})", self.stage, self.at)
    }
}

impl<'a> Talk<'a> {
    /// One whose random numbers come from this seed.
    pub fn new(sql: &'a Sql, seed: u64) -> Self {
        Talk {
            sql,
            stage: Stage::Login,
            random: Random::new(seed),
            variables: sql.script.variables.clone(),
            at: 0,
            scram: None,
            pending: Vec::new(),
            skip: 0,
            error: None,
            complaint: None,
        }
    }

    /// Says who we are.
    pub fn greet(&mut self, out: &mut Vec<u8>) -> Heard {
        let begin = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&VERSION.to_be_bytes());
        let mut pair = |name: &str, value: &str| {
            for text in [name, value] {
                out.extend_from_slice(text.as_bytes());
                out.push(0);
            }
        };
        pair("user", &self.sql.user);
        pair("database", &self.sql.database);
        pair("application_name", crate::TOOL);
        if let Some(options) = &self.sql.options {
            pair("options", options);
        }
        out.push(0);
        measure(out, begin);
        Heard::More
    }

    /// Begins the script.
    ///
    /// # Errors
    /// An expression has no value.
    pub fn ask(&mut self, out: &mut Vec<u8>) -> Result<Heard, Broken> {
        self.stage = Stage::Running;
        self.at = 0;
        self.error = None;
        self.step(out)
    }

    /// Goes on after a pause.
    ///
    /// # Errors
    /// As of [`Talk::ask`].
    pub fn resume(&mut self, out: &mut Vec<u8>) -> Result<Heard, Broken> {
        self.step(out)
    }

    /// What the server said to the last error.
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// Whether these are remarks that the server may make at any time.
    pub fn is_harmless(&mut self, bytes: &[u8]) -> bool {
        matches!(self.hear(bytes, &mut Vec::new()), Ok(Heard::More))
    }

    /// The server has ended the connection: perhaps it said why.
    pub fn gone(&mut self) -> Broken {
        let why = self.complaint.take().unwrap_or_else(|| "the server has ended the connection".to_owned());
        Broken::of(if self.stage == Stage::Login { Fault::Login } else { Fault::Closed }, why)
    }

    /// Takes messages.
    ///
    /// # Errors
    /// They are none, or refuse the login or a statement of the script.
    pub fn hear(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<Heard, Broken> {
        while !bytes.is_empty() {
            let lacking = if self.skip > 0 { self.skip } else { self.lacking()? };
            let (part, rest) = bytes.split_at_checked(lacking).unwrap_or((bytes, &[]));
            bytes = rest;
            if self.skip > 0 {
                self.skip -= part.len();
                continue;
            }
            self.pending.extend_from_slice(part);
            if self.pending.len() < 5 || self.is_skipped()? || self.lacking()? > 0 {
                continue;
            }
            let message = std::mem::take(&mut self.pending);
            let heard = self.message(&message, out)?;
            self.pending = message;
            self.pending.clear();
            if heard != Heard::More {
                return if bytes.is_empty() || self.is_harmless(bytes) {
                    Ok(heard)
                } else {
                    Err(nonsense("more than was asked"))
                };
            }
        }
        Ok(Heard::More)
    }

    /// How many bytes the present message lacks: first its head, of a kind and a length, then the rest.
    fn lacking(&self) -> Result<usize, Broken> {
        match self.pending.get(..5) {
            None => Ok(5 - self.pending.len()),
            Some(head) => Ok((length(head)? + 1).saturating_sub(self.pending.len())),
        }
    }

    /// Whether the message whose head has come is one that is not looked at. Its body is left out then, of any size.
    fn is_skipped(&mut self) -> Result<bool, Broken> {
        let size = length(&self.pending)?;
        let is_read = self.pending.first().is_some_and(|kind| b"REZGHW".contains(kind));
        if is_read && size > MOST_MESSAGE {
            return Err(nonsense("a message that is too long"));
        }
        if !is_read {
            self.skip = size - 4;
            self.pending.clear();
        }
        Ok(!is_read)
    }

    fn message(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<Heard, Broken> {
        let kind = message.first().copied().unwrap_or_default();
        let body = message.get(5..).unwrap_or_default();
        match kind {
            b'E' => self.failed(body),
            b'R' if self.stage == Stage::Login => self.authenticate(body, out).map(|()| Heard::More),
            b'Z' => self.ready(body.first().copied().unwrap_or(b'I'), out),
            b'G' | b'H' | b'W' => Err(Broken::of(Fault::Script, "COPY is not spoken here")),
            // A reply to a login that is over.
            _ => Ok(Heard::More),
        }
    }

    fn failed(&mut self, body: &[u8]) -> Result<Heard, Broken> {
        let field = |wanted: u8| {
            let mut fields = body.split(|byte| *byte == 0);
            fields.find(|field| field.first() == Some(&wanted)).and_then(|field| field.get(1..)).unwrap_or_default()
        };
        let code = Code::new(field(b'C'));
        let why = format!("{code}: {}", String::from_utf8_lossy(field(b'M')));
        match self.stage {
            Stage::Login => return Err(Broken::of(Fault::Login, why)),
            Stage::Idle => return Err(Broken::of(Fault::Closed, why)),
            Stage::Preparing | Stage::Running | Stage::RollingBack => {}
        }
        self.error.get_or_insert(code);
        self.complaint.get_or_insert(why);
        Ok(Heard::More)
    }

    fn ready(&mut self, transaction: u8, out: &mut Vec<u8>) -> Result<Heard, Broken> {
        match self.stage {
            Stage::Login => {
                self.prepare(out);
                self.stage = Stage::Preparing;
                Ok(Heard::More)
            }
            Stage::Preparing => {
                if let Some(why) = self.complaint.take() {
                    return Err(Broken::of(Fault::Login, why));
                }
                self.stage = Stage::Idle;
                Ok(Heard::Ready)
            }
            Stage::Running if self.error.is_none() => match self.step(out)? {
                Heard::Answer(_) if transaction != b'I' => {
                    self.error = Some(Code::new(b"25001"));
                    self.complaint = Some("the script ends inside of a transaction".to_owned());
                    self.roll_back(out)
                }
                heard => Ok(heard),
            },
            Stage::Running if transaction != b'I' => self.roll_back(out),
            Stage::Running | Stage::RollingBack => {
                self.stage = Stage::Idle;
                let code = self.error.unwrap_or_default();
                Ok(Heard::Answer(Answer { code, is_good: false, close: false }))
            }
            Stage::Idle => Err(nonsense("ready for what nobody asked")),
        }
    }

    #[allow(clippy::unnecessary_wraps, reason = "an arm among others that can fail")]
    fn roll_back(&mut self, out: &mut Vec<u8>) -> Result<Heard, Broken> {
        self.stage = Stage::RollingBack;
        framed(out, b'Q', |out| out.extend_from_slice(b"ROLLBACK\0"));
        Ok(Heard::More)
    }

    /// Says the next statement of the script, or that there is none.
    fn step(&mut self, out: &mut Vec<u8>) -> Result<Heard, Broken> {
        while let Some(command) = self.sql.script.commands.get(self.at) {
            self.at += 1;
            match command {
                Command::Set { variable, value, line } => {
                    let value =
                        value.value(&self.variables, &mut self.random).map_err(|why| script_error(*line, why))?;
                    if let Some(slot) = self.variables.get_mut(*variable) {
                        *slot = value;
                    }
                }
                Command::Sleep { value, nanoseconds, line } => {
                    let value =
                        value.value(&self.variables, &mut self.random).map_err(|why| script_error(*line, why))?;
                    return Ok(Heard::Pause(u64::try_from(value).unwrap_or(0).saturating_mul(*nanoseconds)));
                }
                Command::Sql { name, parameters, .. } => {
                    self.bind(name, parameters, out);
                    return Ok(Heard::More);
                }
            }
        }
        self.stage = Stage::Idle;
        Ok(Heard::Answer(Answer { code: Code::new(b"00000"), is_good: true, close: false }))
    }

    /// Every statement once, so that runs begin with plans at hand, and one that cannot work is known before.
    fn prepare(&self, out: &mut Vec<u8>) {
        for command in &self.sql.script.commands {
            if let Command::Sql { text, name, .. } = command {
                framed(out, b'P', |out| {
                    for part in [name, text] {
                        out.extend_from_slice(part.as_bytes());
                        out.push(0);
                    }
                    out.extend_from_slice(&0_i16.to_be_bytes());
                });
            }
        }
        framed(out, b'S', |_| {});
    }

    /// Executes a prepared statement with variables as texts.
    fn bind(&self, name: &str, parameters: &[usize], out: &mut Vec<u8>) {
        framed(out, b'B', |out| {
            out.push(0);
            out.extend_from_slice(name.as_bytes());
            out.push(0);
            out.extend_from_slice(&0_i16.to_be_bytes());
            out.extend_from_slice(&i16::try_from(parameters.len()).unwrap_or(i16::MAX).to_be_bytes());
            for parameter in parameters {
                let begin = out.len();
                out.extend_from_slice(&[0; 4]);
                // Writing into memory does not fail.
                let _ = write!(out, "{}", self.variables.get(*parameter).copied().unwrap_or_default());
                let size = i32::try_from(out.len() - begin - 4).unwrap_or(i32::MAX);
                put(out, begin, size);
            }
            out.extend_from_slice(&0_i16.to_be_bytes());
        });
        framed(out, b'E', |out| out.extend_from_slice(&[0; 5]));
        framed(out, b'S', |_| {});
    }

    fn authenticate(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let kind = body.first_chunk::<4>().map(|kind| i32::from_be_bytes(*kind));
        let data = body.get(4..).unwrap_or_default();
        let refused = |why: String| Broken::of(Fault::Login, why);
        let password = || {
            let password = self.sql.password.as_ref().map(Secret::expose);
            password
                .ok_or_else(|| refused(format!("the server asks {} for a password, and none is given", self.sql.user)))
        };
        match kind {
            Some(0 | 12) => {}
            Some(3) => {
                let password = password()?;
                framed(out, b'p', |out| out.extend_from_slice(&[password.as_bytes(), b"\0"].concat()));
            }
            Some(5) => {
                let salt = data.first_chunk::<4>().copied().unwrap_or_default();
                let hash = md5_hash(self.sql.user.as_bytes(), password()?.as_bytes(), salt);
                framed(out, b'p', |out| out.extend_from_slice(&[hash.as_bytes(), b"\0"].concat()));
            }
            Some(10) if data.split(|byte| *byte == 0).any(|one| one == sasl::SCRAM_SHA_256.as_bytes()) => {
                let scram = sasl::ScramSha256::new(password()?.as_bytes(), sasl::ChannelBinding::unsupported());
                framed(out, b'p', |out| {
                    out.extend_from_slice(sasl::SCRAM_SHA_256.as_bytes());
                    out.push(0);
                    out.extend_from_slice(&i32::try_from(scram.message().len()).unwrap_or(i32::MAX).to_be_bytes());
                    out.extend_from_slice(scram.message());
                });
                self.scram = Some(scram);
            }
            Some(11) => {
                let scram = self.scram.as_mut().ok_or_else(|| nonsense("a login that nobody began"))?;
                scram.update(data).map_err(|error| refused(error.to_string()))?;
                framed(out, b'p', |out| out.extend_from_slice(scram.message()));
            }
            _ => {
                return Err(refused(
                    "the server wants a login that is not known here (password, md5 and SCRAM are)".to_owned(),
                ));
            }
        }
        // The server's own proof of knowing the password.
        if let (Some(12), Some(scram)) = (kind, &mut self.scram) {
            scram.finish(data).map_err(|error| refused(format!("the server does not know the password: {error}")))?;
        }
        Ok(())
    }
}

/// A message's length by its head; it counts itself, but not its kind.
fn length(head: &[u8]) -> Result<usize, Broken> {
    let size = head.get(1..5).and_then(<[u8]>::first_chunk::<4>).map(|size| u32::from_be_bytes(*size));
    size.and_then(|size| usize::try_from(size).ok())
        .filter(|size| *size >= 4)
        .ok_or_else(|| nonsense("a message of no length"))
}

fn framed(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    measure(out, begin);
}

/// Writes the length of what begins there into its beginning.
fn measure(out: &mut [u8], begin: usize) {
    let size = i32::try_from(out.len() - begin).unwrap_or(i32::MAX);
    put(out, begin, size);
}

fn put(out: &mut [u8], at: usize, number: i32) {
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_be_bytes());
    }
}

fn nonsense(what: &str) -> Broken {
    Broken::of(Fault::Protocol, format!("this is no answer of PostgreSQL: {what}"))
}

fn script_error(line: usize, why: &str) -> Broken {
    Broken::of(Fault::Script, format!("line {line} of the script: {why}"))
}
