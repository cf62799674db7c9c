//! HTTP/1.1 answers (RFC 9112), read as they come: headers by httparse, and the framing of the body here.
//!
//! Bodies are counted, not kept. A reader is fed whatever has arrived, may find the end of one answer in the middle of it,
//! and says how much it took; nothing depends on where the pieces begin and end.

use std::mem::MaybeUninit;

/// More headers than this are no sane answer, in bytes.
const MOST_HEAD: usize = 64 * 1024;
/// How many headers are looked at.
const MOST_HEADERS: usize = 128;
/// More digits of a chunk's size cannot be real.
const MOST_SIZE_LINE: usize = 4096;

/// What was asked for, as far as it decides whether an answer has a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The headers only.
    Head,
    /// Anything else.
    Other,
}

/// What is asked for over and over.
#[derive(Debug, Clone)]
pub struct Http {
    /// The request's bytes.
    pub request: Vec<u8>,
    /// Whether answers have bodies.
    pub asked: Asked,
    /// The request may be sent again when the connection turned out to be closed already.
    pub is_repeatable: bool,
}

/// The end of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The connection cannot be used for another request.
    pub close: bool,
}

/// It is not HTTP, or ends too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The headers cannot be read.
    #[error("the answer's headers are not HTTP/1.1")]
    Head,
    /// The headers do not end.
    #[error("the answer's headers are longer than {MOST_HEAD} bytes")]
    TooLong,
    /// The length of the body contradicts itself.
    #[error("the answer's length cannot be told")]
    Length,
    /// A chunk's size cannot be read.
    #[error("a chunk of the answer has no readable size")]
    Chunk,
    /// The connection ended in the middle.
    #[error("the connection ended in the middle of an answer")]
    Cut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    /// The size's line; what of the size was read, how long the line is so far, whether its extension has begun.
    Size {
        size: u64,
        length: usize,
        digits: bool,
        extension: bool,
    },
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Trailers: whether the present line is empty so far.
    Trailers {
        empty: bool,
        length: usize,
    },
    UntilClose,
}

/// Reads the answers of one connection.
#[derive(Debug)]
pub struct Reader {
    state: State,
    head: Vec<u8>,
    asked: Asked,
    answer: Answer,
}

impl Reader {
    /// For requests of that kind.
    pub fn new(asked: Asked) -> Self {
        Reader { state: State::Head, head: Vec::new(), asked, answer: Answer { status: 0, close: false } }
    }

    /// Whether nothing of an answer has been read yet.
    pub fn is_fresh(&self) -> bool {
        self.state == State::Head && self.head.is_empty()
    }

    /// Takes bytes. Returns how many of them belong to the answer, and the answer when it ended with the last of them.
    ///
    /// # Errors
    /// They are not HTTP. The connection is of no more use.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(usize, Option<Answer>), HttpError> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let (taken, ended) = match self.state {
                State::Head => self.head(rest)?,
                State::Length(left) => self.length(left, rest.len()),
                State::Chunk(left) => {
                    let taken = clamp(left, rest.len());
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    (taken, false)
                }
                State::UntilClose => (rest.len(), false),
                _ => (1, self.line(rest.first().copied().unwrap_or_default())?),
            };
            used += taken;
            if ended {
                self.state = State::Head;
                return Ok((used, Some(self.answer)));
            }
        }
        Ok((used, None))
    }

    /// The connection has ended. Some answers end like that.
    ///
    /// # Errors
    /// This one did not.
    pub fn end(&mut self) -> Result<Answer, HttpError> {
        if self.state == State::UntilClose {
            self.state = State::Head;
            return Ok(self.answer);
        }
        Err(HttpError::Cut)
    }

    fn length(&mut self, left: u64, there: usize) -> (usize, bool) {
        let taken = clamp(left, there);
        let left = left - taken as u64;
        self.state = State::Length(left);
        (taken, left == 0)
    }

    /// Takes headers; the answer has ended with them when it has no body.
    fn head(&mut self, rest: &[u8]) -> Result<(usize, bool), HttpError> {
        if self.head.is_empty() {
            if let Some(taken) = self.parse(rest)? {
                return Ok((taken, self.is_over()));
            }
            self.head.extend_from_slice(rest);
            return if self.head.len() > MOST_HEAD { Err(HttpError::TooLong) } else { Ok((rest.len(), false)) };
        }
        let before = self.head.len();
        let mut head = std::mem::take(&mut self.head);
        head.extend_from_slice(rest);
        match self.parse(&head)? {
            Some(taken) => {
                head.clear();
                // Kept for the next time: it has the room already.
                self.head = head;
                Ok((taken.saturating_sub(before), self.is_over()))
            }
            None if head.len() > MOST_HEAD => Err(HttpError::TooLong),
            None => {
                self.head = head;
                Ok((rest.len(), false))
            }
        }
    }

    fn is_over(&self) -> bool {
        self.state == State::Length(0)
    }

    /// Parses headers that may be incomplete, and sets the state for what follows them.
    fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, HttpError> {
        // Room for many headers, which costs nothing for the few there are.
        let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let taken = match parser.parse_response_with_uninit_headers(&mut response, bytes, &mut headers) {
            Ok(httparse::Status::Complete(taken)) => taken,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(HttpError::Head),
        };
        let status = response.code.unwrap_or_default();
        // 101 ends HTTP on this connection; nobody here asked for that.
        if status == 101 {
            return Err(HttpError::Head);
        }
        // Others below 200 announce the answer that follows.
        if (100..200).contains(&status) {
            self.state = State::Head;
            return Ok(Some(taken));
        }
        let mut length = None;
        let mut chunked = false;
        let mut coded = false;
        let mut close = response.version == Some(0);
        for header in response.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                for one in header.value.split(|byte| *byte == b',') {
                    let one = number(one).ok_or(HttpError::Length)?;
                    if length.is_some_and(|length| length != one) {
                        return Err(HttpError::Length);
                    }
                    length = Some(one);
                }
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                coded = true;
                // Chunks frame the body only when they are the last coding.
                chunked = last_word(header.value).eq_ignore_ascii_case(b"chunked");
            } else if header.name.eq_ignore_ascii_case("connection") {
                for word in header.value.split(|byte| *byte == b',') {
                    let word = word.trim_ascii();
                    close = word.eq_ignore_ascii_case(b"close") || (close && !word.eq_ignore_ascii_case(b"keep-alive"));
                }
            }
        }
        self.state = if self.asked == Asked::Head || status == 204 || status == 304 {
            State::Length(0)
        } else if chunked {
            State::Size { size: 0, length: 0, digits: false, extension: false }
        } else if coded {
            State::UntilClose
        } else {
            length.map_or(State::UntilClose, State::Length)
        };
        close = close || self.state == State::UntilClose;
        self.answer = Answer { status, close };
        Ok(Some(taken))
    }

    /// Takes one byte of the lines around chunks; true when it ends the answer.
    fn line(&mut self, byte: u8) -> Result<bool, HttpError> {
        self.state = match self.state {
            State::Size { length, .. } | State::Trailers { length, .. } if length > MOST_SIZE_LINE => {
                return Err(HttpError::Chunk);
            }
            State::Size { size, digits: true, .. } if byte == b'\n' => {
                if size == 0 {
                    State::Trailers { empty: true, length: 0 }
                } else {
                    State::Chunk(size)
                }
            }
            State::Size { size, length, digits, extension } => {
                let digit = char::from(byte).to_digit(16).filter(|_| !extension);
                match digit {
                    Some(digit) => {
                        let size = size.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit)));
                        State::Size { size: size.ok_or(HttpError::Chunk)?, length: length + 1, digits: true, extension }
                    }
                    // White space, an extension, or the line's end may follow the size.
                    None if digits && (extension || matches!(byte, b';' | b' ' | b'\t' | b'\r')) => {
                        State::Size { size, length: length + 1, digits, extension: true }
                    }
                    None => return Err(HttpError::Chunk),
                }
            }
            State::ChunkEnd if byte == b'\r' => State::ChunkEnd,
            State::ChunkEnd if byte == b'\n' => State::Size { size: 0, length: 0, digits: false, extension: false },
            State::ChunkEnd => return Err(HttpError::Chunk),
            State::Trailers { empty: true, .. } if byte == b'\n' => return Ok(true),
            State::Trailers { length, .. } if byte == b'\n' => State::Trailers { empty: true, length: length + 1 },
            State::Trailers { empty, length } => State::Trailers { empty: empty && byte == b'\r', length: length + 1 },
            other => other,
        };
        Ok(false)
    }
}

fn clamp(left: u64, there: usize) -> usize {
    usize::try_from(left).map_or(there, |left| left.min(there))
}

fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    // A sign is no digit.
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn last_word(value: &[u8]) -> &[u8] {
    value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces that end at `cuts`, and returns every answer, and whether the end of the stream gave one.
    fn read(asked: Asked, bytes: &[u8], cuts: &[usize]) -> Result<Vec<Answer>, HttpError> {
        let mut reader = Reader::new(asked);
        let mut answers = Vec::new();
        let mut from = 0;
        for &to in cuts.iter().chain([&bytes.len()]) {
            let mut piece = &bytes[from..to];
            while !piece.is_empty() {
                let (used, answer) = reader.feed(piece)?;
                answers.extend(answer);
                piece = &piece[used..];
            }
            from = to;
        }
        if !reader.is_fresh() {
            answers.push(reader.end()?);
        }
        Ok(answers)
    }

    /// Whole, and cut in two at every place, and byte by byte.
    fn always(asked: Asked, bytes: &[u8]) -> Vec<Answer> {
        let whole = read(asked, bytes, &[]).unwrap();
        for cut in 1..bytes.len() {
            assert_eq!(read(asked, bytes, &[cut]).unwrap(), whole, "cut at {cut}");
        }
        let every: Vec<usize> = (1..bytes.len()).collect();
        assert_eq!(read(asked, bytes, &every).unwrap(), whole, "byte by byte");
        whole
    }

    fn of(status: u16, close: bool) -> Answer {
        Answer { status, close }
    }

    #[test]
    fn a_length_frames_the_body() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 503 No\r\ncontent-length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(always(Asked::Other, text), [of(200, false), of(503, true)]);
    }

    #[test]
    fn chunks_with_extensions_and_trailers_frame_the_body() {
        let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5;a=\"b\"\r\nhello\r\nA \r\n0123456789\r\n0\r\nX: y\r\n\r\n\
            HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        assert_eq!(always(Asked::Other, text), [of(200, false), of(404, false)]);
    }

    #[test]
    fn some_answers_have_no_body_whatever_they_say() {
        let text =
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(always(Asked::Head, text), [of(200, false), of(200, false)]);
        let text = b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(always(Asked::Other, text), [of(204, false), of(304, false)]);
    }

    #[test]
    fn announcements_are_not_answers() {
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n.";
        assert_eq!(always(Asked::Other, text), [of(200, false)]);
        assert_eq!(read(Asked::Other, b"HTTP/1.1 101 Go\r\n\r\n", &[]), Err(HttpError::Head));
    }

    #[test]
    fn a_body_without_a_frame_ends_with_the_connection() {
        assert_eq!(always(Asked::Other, b"HTTP/1.1 200 OK\r\n\r\nall of this"), [of(200, true)]);
        let text = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab";
        assert_eq!(always(Asked::Other, text), [of(200, true)]);
        let text = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nab";
        assert_eq!(always(Asked::Other, text), [of(200, false)]);
    }

    #[test]
    fn an_answer_that_is_cut_is_none() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        for end in 1..text.len() {
            assert_eq!(read(Asked::Other, &text[..end], &[]), Err(HttpError::Cut), "{end}");
        }
    }

    #[test]
    fn what_cannot_be_framed_is_refused() {
        let refused = |text: &str| read(Asked::Other, text.as_bytes(), &[]).unwrap_err();
        assert_eq!(refused("SSH-2.0-OpenSSH_9.2\r\n"), HttpError::Head);
        assert_eq!(refused("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), HttpError::Length);
        assert_eq!(refused("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n"), HttpError::Length);
        let chunked = |body: &str| refused(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        for body in ["x\r\n", "\r\n", ";a\r\n", "fffffffffffffffff\r\n", "1\r\nab\r\n"] {
            assert_eq!(chunked(body), HttpError::Chunk, "{body:?}");
        }
        assert_eq!(chunked(&format!("1{}", " ".repeat(5000))), HttpError::Chunk);
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(70_000));
        assert_eq!(refused(&endless), HttpError::TooLong);
    }
}
