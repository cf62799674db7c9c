//! Redis's protocol (RESP 2 and 3, as its specification has them): commands with random parts, and where replies end.
//!
//! Replies are counted, not kept. What is asked for at once is one request: it is answered when its last reply has ended.

use super::heard::{Answer, Broken, Heard};
use crate::random::Random;
use crate::tally::{Code, Fault};

/// How many digits a random key has.
pub const DIGITS: usize = 12;
/// A header line longer than this is none.
const MOST_LINE: usize = 64 * 1024;
/// Replies within replies: more are nonsense.
const MOST_PARTS: u64 = 1 << 32;

/// What is asked over and over.
#[derive(Debug, Clone)]
pub struct Commands {
    /// Commands of the login, rendered; none where none is needed.
    pub login: Vec<u8>,
    /// How many there are.
    pub logins: u64,
    /// The commands of one request, rendered one after the other.
    pub request: Vec<u8>,
    /// How many there are.
    pub count: u64,
    /// Where in them twelve digits are drawn anew each time.
    pub random: Vec<usize>,
    /// Below which number.
    pub keys: u64,
}

/// One connection.
#[derive(Debug)]
pub struct Talk<'a> {
    commands: &'a Commands,
    random: Random,
    /// Replies that are still to come: those of the login, or those of the request.
    awaited: u64,
    is_login: bool,
    /// Parts of the present reply that are still to come.
    parts: u64,
    /// Bytes of a string that are still to come, with its line end.
    skip: u64,
    line: Vec<u8>,
    /// The first error of the present request.
    error: Option<Code>,
    complaint: Option<String>,
}

impl<'a> Talk<'a> {
    /// One that draws from this seed.
    pub fn new(commands: &'a Commands, seed: u64) -> Self {
        Talk {
            commands,
            random: Random::new(seed),
            awaited: 0,
            is_login: false,
            parts: 0,
            skip: 0,
            line: Vec::new(),
            error: None,
            complaint: None,
        }
    }

    /// Logs in and chooses the database.
    pub fn greet(&mut self, out: &mut Vec<u8>) -> Heard {
        if self.commands.logins == 0 {
            return Heard::Ready;
        }
        out.extend_from_slice(&self.commands.login);
        (self.awaited, self.is_login) = (self.commands.logins, true);
        Heard::More
    }

    /// Says the commands of one request.
    pub fn ask(&mut self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.commands.request);
        for at in &self.commands.random {
            let mut number = self.random.below(self.commands.keys);
            for digit in out.iter_mut().skip(begin + at).take(DIGITS).rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        (self.awaited, self.is_login, self.error) = (self.commands.count, false, None);
    }

    /// What the server said to the last error.
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// Takes replies.
    ///
    /// # Errors
    /// They are none, or refuse the login.
    pub fn hear(&mut self, mut bytes: &[u8]) -> Result<Heard, Broken> {
        while !bytes.is_empty() {
            if self.awaited == 0 {
                return Err(Broken::of(Fault::Protocol, "the server said more than it was asked"));
            }
            if self.skip > 0 {
                let taken = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                self.skip -= taken as u64;
                bytes = bytes.get(taken..).unwrap_or_default();
            } else {
                bytes = self.header(bytes)?;
            }
            if self.skip == 0 && self.line.is_empty() && self.parts == 0 {
                self.awaited -= 1;
            }
        }
        if self.awaited > 0 {
            return Ok(Heard::More);
        }
        if std::mem::take(&mut self.is_login) {
            return match self.error {
                None => Ok(Heard::Ready),
                Some(_) => Err(Broken::of(Fault::Login, self.complaint.as_deref().unwrap_or_default())),
            };
        }
        let code = self.error.unwrap_or(Code::new(b"OK"));
        Ok(Heard::Answer(Answer { code, is_good: self.error.is_none(), close: false }))
    }

    /// Takes a header line, or what of it is there; returns the rest.
    fn header<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Broken> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.line.extend_from_slice(bytes);
            return if self.line.len() > MOST_LINE { Err(nonsense(&self.line)) } else { Ok(&[]) };
        };
        let (line, rest) = bytes.split_at_checked(end + 1).unwrap_or((bytes, &[]));
        if self.line.is_empty() {
            self.value(line)?;
        } else {
            let mut whole = std::mem::take(&mut self.line);
            whole.extend_from_slice(line);
            self.value(&whole)?;
            whole.clear();
            self.line = whole;
        }
        Ok(rest)
    }

    /// One header line: a value, or the beginning of one.
    fn value(&mut self, line: &[u8]) -> Result<(), Broken> {
        // The first line of a reply is the one part that is awaited.
        let is_reply = self.parts == 0;
        let others = self.parts.saturating_sub(1);
        let (kind, text) = line.strip_suffix(b"\r\n").and_then(<[u8]>::split_first).ok_or_else(|| nonsense(line))?;
        let length =
            || std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok()).ok_or_else(|| nonsense(line));
        let mut inside = 0;
        match kind {
            b'+' | b':' | b'_' | b'#' | b',' | b'(' => {}
            b'-' => self.failed(text),
            // A string of -1 is none at all, and has no line end.
            b'$' | b'=' | b'!' => self.skip = u64::try_from(length()?).map_or(0, |length| length + 2),
            b'*' | b'~' | b'>' => inside = u64::try_from(length()?).unwrap_or(0),
            b'%' => inside = u64::try_from(length()?).unwrap_or(0).saturating_mul(2),
            _ => return Err(nonsense(line)),
        }
        if *kind == b'!' && is_reply {
            self.failed(b"ERR");
        }
        self.parts = others.saturating_add(inside);
        if self.parts > MOST_PARTS { Err(nonsense(line)) } else { Ok(()) }
    }

    fn failed(&mut self, text: &[u8]) {
        self.error.get_or_insert(Code::new(text));
        self.complaint.get_or_insert_with(|| String::from_utf8_lossy(text).into_owned());
    }
}

fn nonsense(line: &[u8]) -> Broken {
    let shown: String = String::from_utf8_lossy(line.get(..40).unwrap_or(line)).escape_debug().collect();
    Broken::of(Fault::Protocol, format!("this is no reply of Redis: {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(count: u64) -> Commands {
        Commands {
            login: Vec::new(),
            logins: 0,
            request: b"GET k:000000000000".to_vec(),
            count,
            random: vec![6],
            keys: 50,
        }
    }

    /// What is heard at the end, with the replies in pieces of every size.
    fn heard(count: u64, replies: &[u8]) -> Result<Heard, String> {
        let commands = commands(count);
        let mut last = None;
        for size in 1..=replies.len() {
            let mut talk = Talk::new(&commands, 1);
            talk.ask(&mut Vec::new());
            let mut end = Ok(Heard::More);
            for piece in replies.chunks(size) {
                end = talk.hear(piece).map_err(|broken| broken.why);
                if end.is_err() {
                    break;
                }
            }
            assert!(last.as_ref().is_none_or(|last| *last == end), "{size}: {end:?} and {last:?}");
            last = Some(end);
        }
        last.unwrap()
    }

    fn answer(code: &[u8], is_good: bool) -> Heard {
        Heard::Answer(Answer { code: Code::new(code), is_good, close: false })
    }

    #[test]
    fn replies_end_where_they_end() {
        for reply in [
            "+OK\r\n",
            ":12\r\n",
            "$3\r\na\nb\r\n",
            "$0\r\n\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "*0\r\n",
            "*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
            "%1\r\n+k\r\n*2\r\n_\r\n#t\r\n",
            "~2\r\n,1.5\r\n(123\r\n",
            "=5\r\ntxt:a\r\n",
            "*3\r\n*0\r\n*-1\r\n$-1\r\n",
        ] {
            assert_eq!(heard(1, reply.as_bytes()), Ok(answer(b"OK", true)), "{reply:?}");
            assert_eq!(heard(2, reply.as_bytes()), Ok(Heard::More), "{reply:?}");
            assert_eq!(heard(2, reply.repeat(2).as_bytes()), Ok(answer(b"OK", true)), "{reply:?}");
            assert!(heard(1, reply.repeat(2).as_bytes()).unwrap_err().contains("more than"), "{reply:?}");
        }
    }

    #[test]
    fn an_error_anywhere_makes_the_request_bad() {
        assert_eq!(heard(1, b"-MOVED 1 127.0.0.1:1\r\n"), Ok(answer(b"MOVED", false)));
        assert_eq!(heard(3, b"+OK\r\n-OOM command\r\n+OK\r\n"), Ok(answer(b"OOM", false)));
        assert_eq!(heard(1, b"!5\r\nERR a\r\n"), Ok(answer(b"ERR", false)));
        assert_eq!(heard(1, b"*1\r\n-ERR in a transaction\r\n"), Ok(answer(b"ERR", false)));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for reply in [&b"HTTP/1.1 400 Bad\r\n"[..], b"$x\r\n", b"*\r\n", b"\r\n", b"+OK\n", b"*9999999999999\r\n"] {
            assert!(heard(1, reply).is_err(), "{}", String::from_utf8_lossy(reply));
        }
    }

    #[test]
    fn keys_are_drawn_within_their_range() {
        let commands = commands(1);
        let mut talk = Talk::new(&commands, 7);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2000 {
            let mut out = b"before".to_vec();
            talk.ask(&mut out);
            let key = String::from_utf8(out).unwrap().strip_prefix("beforeGET k:").unwrap().to_owned();
            assert_eq!(key.len(), DIGITS);
            seen.insert(key.parse::<u64>().unwrap());
        }
        assert_eq!((seen.len(), seen.last().copied()), (50, Some(49)));
    }
}
