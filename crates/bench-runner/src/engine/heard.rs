//! What came of what was said and heard on a connection.

use crate::tally::{Code, Fault};

/// Why a connection cannot be used.
#[derive(Debug)]
pub struct Broken {
    /// Where it broke.
    pub fault: Fault,
    /// What the system or the other side said.
    pub why: String,
}

impl Broken {
    /// Of a fault.
    pub fn of(fault: Fault, why: impl std::fmt::Display) -> Self {
        Broken { fault, why: format!("{why}") }
    }
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What the server calls it.
    pub code: Code,
    /// It is what was asked for, and no error.
    pub is_good: bool,
    /// The connection cannot be used for another request.
    pub close: bool,
}

/// What came of bytes that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// There must be more. What is to be said meanwhile is in the buffer.
    More,
    /// The login is over: requests can be sent.
    Ready,
    /// The answer has ended.
    Answer(Answer),
    /// Nothing is to be said for so many nanoseconds; then the talk is resumed.
    Pause(u64),
}
