//! One connection of a thread: its socket, what is said on it, and the request that is under way.

use super::stream::Stream;
use super::talk::Talk;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is no socket; the next request opens one.
    Closed,
    /// Connecting, or in the handshake.
    Opening,
    /// Logging in.
    Greeting,
    /// Open and free.
    Idle,
    /// A request is under way.
    Busy,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) planned: u64,
    pub(super) sent: u64,
    pub(super) number: u64,
    /// It was sent before, on a connection that the server had just closed.
    pub(super) again: bool,
}

#[derive(Debug)]
pub(super) struct Connection<'a> {
    pub(super) state: State,
    pub(super) stream: Option<Stream>,
    pub(super) talk: Talk<'a>,
    /// What is to be said, and how much of it was.
    pub(super) out: Vec<u8>,
    pub(super) written: usize,
    pub(super) request: Option<Request>,
    /// Events of a socket that was closed since are told by it.
    pub(super) generation: u32,
    /// An answer has come on this socket.
    pub(super) used: bool,
}

impl<'a> Connection<'a> {
    /// A login or a request is under way.
    pub(super) fn is_talking(&self) -> bool {
        matches!(self.state, State::Greeting | State::Busy)
    }

    /// The talk, and where it may say more: what was said before is gone from there.
    pub(super) fn fresh(&mut self) -> (&mut Talk<'a>, &mut Vec<u8>) {
        if self.written >= self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        (&mut self.talk, &mut self.out)
    }
}
