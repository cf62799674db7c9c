//! One thread of the engine: its connections, its slots, its counts.
//!
//! The loop waits in `epoll_pwait2` until the next slot, deadline or answer, whichever is first. A slot that has come takes
//! an idle connection or waits in a queue for one; its time runs from its planned start either way. Sockets are
//! edge-triggered and ready for both directions from the start, so that a request costs one write, one wait and one read.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::connection::{Connection, Request, State};
use super::heard::{Answer, Broken, Heard};
use super::plan::{Done, Meeting, Plan};
use super::stream::Stream;
use super::talk::Talk;
use crate::tally::{Fault, Tally};

/// How long a connection rests after a failure when nothing else holds requests back.
const REST: u64 = 10_000_000;
/// The longest wait, so that an interruption is noticed.
const LONGEST_WAIT: u64 = 100_000_000;
/// How often others are told of the counts.
const SECOND: u64 = 1_000_000_000;
/// What is read at once.
const BUFFER: usize = 64 * 1024;
/// How many events are taken at once.
const EVENTS: usize = 256;

struct Worker<'a> {
    plan: Plan<'a>,
    epoll: OwnedFd,
    connections: Vec<Connection<'a>>,
    /// Connections that can take a request, those that must be opened first included; the longest idle in front.
    idle: VecDeque<usize>,
    /// Planned starts that have come and wait for a connection.
    queue: VecDeque<u64>,
    /// When requests under way are given up, in order; old ones are told by the number.
    deadlines: VecDeque<(u64, usize, u64)>,
    /// When requests that pause go on: the time, the connection, the request.
    pauses: BinaryHeap<Reverse<(u64, usize, u64)>>,
    /// When connections that failed are tried again.
    resting: VecDeque<(u64, usize)>,
    next_slot: Option<u64>,
    number: u64,
    under_way: u64,
    counted_until: u64,
    /// When others are told next how far it is.
    tell_at: u64,
    start: Instant,
    buffer: Vec<u8>,
    events: Vec<Event>,
    tally: Tally,
    trouble: Option<String>,
    running: bool,
}

/// Runs one thread to its end.
///
/// # Errors
/// This machine gives no epoll instance.
pub fn work(plan: Plan<'_>, meeting: &Meeting) -> Result<Done, std::io::Error> {
    // Without it the kernel may wake us 50 microseconds late, to save energy.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let created = epoll::create(CreateFlags::CLOEXEC);
    let mut worker = created.map(|epoll| Worker::new(plan, epoll));
    if let Ok(worker) = &mut worker {
        worker.prepare();
        meeting.open.fetch_add(worker.count(State::Idle), Ordering::AcqRel);
    }
    // Whatever happened, the others wait for us.
    meeting.barrier.wait();
    let mut worker = worker?;
    worker.start = *meeting.start.get_or_init(Instant::now);
    let cpu = cpu_time();
    if meeting.open() > 0 {
        worker.run();
    }
    let elapsed = worker.start.elapsed();
    let cpu = cpu_time().saturating_sub(cpu);
    Ok(Done { tally: worker.tally, cpu, elapsed, trouble: worker.trouble })
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

impl<'a> Worker<'a> {
    fn new(plan: Plan<'a>, epoll: OwnedFd) -> Self {
        let connections = (0..plan.connections.max(1))
            .map(|_| Connection {
                state: State::Closed,
                stream: None,
                talk: Talk::new(&plan.target.speech, 0),
                out: Vec::new(),
                written: 0,
                request: None,
                generation: 0,
                used: false,
            })
            .collect();
        Worker {
            plan,
            epoll,
            connections,
            idle: VecDeque::new(),
            queue: VecDeque::new(),
            deadlines: VecDeque::new(),
            pauses: BinaryHeap::new(),
            resting: VecDeque::new(),
            next_slot: None,
            number: 0,
            under_way: 0,
            counted_until: 0,
            tell_at: SECOND,
            start: Instant::now(),
            buffer: vec![0; BUFFER],
            events: vec![Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; EVENTS],
            tally: Tally::default(),
            trouble: None,
            running: false,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn count(&self, state: State) -> usize {
        self.connections.iter().filter(|connection| connection.state == state).count()
    }

    fn is_opening(&self) -> bool {
        self.count(State::Opening) + self.count(State::Greeting) > 0
    }

    /// Opens every connection before the run begins, as far as it goes within the time-out.
    fn prepare(&mut self) {
        for index in 0..self.connections.len() {
            self.open(index);
        }
        while self.is_opening() && self.now() < self.plan.timeout && !self.plan.watch.is_over() {
            self.wait(LONGEST_WAIT);
        }
        for index in 0..self.connections.len() {
            let state = self.connections.get(index).map(|connection| connection.state);
            if matches!(state, Some(State::Opening | State::Greeting)) {
                self.close(index);
            }
        }
        self.idle = (0..self.connections.len()).collect();
        self.running = true;
    }

    fn run(&mut self) {
        let end = self.plan.until.saturating_add(self.plan.drain);
        self.next_slot = self.plan.slots.as_mut().and_then(Iterator::next);
        loop {
            let now = self.now();
            self.take_slots(now);
            self.give_up(now);
            self.go_on(now);
            self.serve(now);
            let is_over =
                now >= self.plan.until && self.next_slot.is_none() && self.queue.is_empty() && self.under_way == 0;
            if now >= self.tell_at {
                self.plan.watch.tell(self.plan.thread, &self.tally);
                self.tell_at = now.saturating_add(SECOND);
            }
            if is_over || now >= end || self.plan.watch.is_over() {
                break;
            }
            let next = [
                self.next_slot,
                self.deadlines.front().map(|(at, _, _)| *at),
                self.queue.front().map(|planned| planned.saturating_add(self.plan.timeout)),
                self.pauses.peek().map(|Reverse((at, _, _))| *at),
                self.resting.front().map(|(at, _)| *at),
                (now < self.plan.until).then_some(self.plan.until),
                Some(end),
            ];
            let at = next.into_iter().flatten().min().unwrap_or(end);
            self.wait(at.saturating_sub(self.now()).min(LONGEST_WAIT));
        }
        self.leave();
    }

    /// Moves every slot that has come into the queue. The generator's lag is seen here.
    fn take_slots(&mut self, now: u64) {
        while let Some(planned) = self.next_slot.filter(|&planned| planned <= now) {
            self.tally.scheduled += 1;
            self.tally.lag.record(now - planned);
            self.queue.push_back(planned);
            self.next_slot = self.plan.slots.as_mut().and_then(Iterator::next);
        }
    }

    /// Gives up what has waited too long.
    fn give_up(&mut self, now: u64) {
        while let Some((_, index, number)) = self.deadlines.front().copied().filter(|(at, _, _)| *at <= now) {
            self.deadlines.pop_front();
            let request = self.connections.get(index).and_then(|connection| connection.request);
            if let Some(request) = request.filter(|request| request.number == number) {
                self.end_request(index);
                self.tally.timed_out += 1;
                self.tally.censored.record(now.saturating_sub(request.planned));
                // An answer that comes later must not be taken for another request's.
                self.close(index);
                self.idle.push_back(index);
            }
        }
        while let Some(planned) = self.queue.front().copied().filter(|&at| at.saturating_add(self.plan.timeout) <= now)
        {
            self.queue.pop_front();
            self.tally.timed_out += 1;
            self.tally.censored.record(now - planned);
        }
        while let Some((_, index)) = self.resting.front().copied().filter(|(at, _)| *at <= now) {
            self.resting.pop_front();
            self.idle.push_back(index);
        }
    }

    /// Lets requests go on whose pause is over.
    fn go_on(&mut self, now: u64) {
        while let Some(Reverse((_, index, number))) =
            self.pauses.peek().copied().filter(|Reverse((at, _, _))| *at <= now)
        {
            self.pauses.pop();
            let Some(connection) = self.connections.get_mut(index) else { continue };
            if connection.request.is_some_and(|request| request.number == number) && connection.state == State::Busy {
                let (talk, out) = connection.fresh();
                let heard = talk.resume(out);
                self.heard(index, heard);
            }
        }
    }

    /// Gives waiting slots to idle connections.
    fn serve(&mut self, now: u64) {
        loop {
            let planned = if self.plan.slots.is_some() {
                match self.queue.front() {
                    Some(planned) => *planned,
                    None => return,
                }
            } else if now < self.plan.until {
                now
            } else {
                return;
            };
            let Some(index) = self.idle.pop_front() else { return };
            self.assign(index, planned);
        }
    }

    /// Starts the request of the slot in front of the queue, or one that is due now, on this connection.
    fn assign(&mut self, index: usize, planned: u64) {
        if self.plan.slots.is_some() {
            self.queue.pop_front();
        } else {
            self.tally.scheduled += 1;
        }
        let now = self.now();
        self.number += 1;
        let request = Request { planned, sent: now, number: self.number, again: false };
        self.count_until(now);
        self.under_way += 1;
        self.deadlines.push_back((planned.saturating_add(self.plan.timeout), index, request.number));
        self.forget_deadlines();
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.request = Some(request);
        if connection.state == State::Idle {
            self.ask(index);
        } else {
            self.tally.reconnects += 1;
            self.open(index);
        }
    }

    /// Drops the deadlines of requests that have ended. As each connection has one request, so few are left that this is
    /// hardly ever done; without it they would pile up for as long as a request may take.
    fn forget_deadlines(&mut self) {
        if self.deadlines.len() > 2 * self.connections.len() + EVENTS {
            let connections = &self.connections;
            let is_current = |index: usize, number: u64| {
                connections.get(index).and_then(|one| one.request).is_some_and(|request| request.number == number)
            };
            // The newest is of the request that is about to begin.
            let newest = self.number;
            self.deadlines.retain(|(_, index, number)| *number == newest || is_current(*index, *number));
        }
    }

    /// Opens a connection's socket.
    fn open(&mut self, index: usize) {
        let opened = Stream::open(self.plan.target);
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.generation = connection.generation.wrapping_add(1);
        let seed = (self.plan.thread as u64) << 48 | (index as u64) << 32 | u64::from(connection.generation);
        connection.talk = Talk::new(&self.plan.target.speech, seed);
        connection.out.clear();
        connection.written = 0;
        connection.used = false;
        connection.state = State::Opening;
        let opened = opened.and_then(|stream| {
            let data = EventData::new_u64((index as u64) << 32 | u64::from(connection.generation));
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(&self.epoll, &stream, data, flags)
                .map_err(|error| Broken { fault: Fault::Generator, why: error.to_string() })?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => connection.stream = Some(stream),
            Err(broken) => self.fail(index, &broken),
        }
    }

    fn close(&mut self, index: usize) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.stream = None;
            connection.state = State::Closed;
        }
    }

    /// Waits for events and sees to them.
    fn wait(&mut self, nanoseconds: u64) {
        let timeout = Timespec {
            tv_sec: i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(1),
            tv_nsec: i64::try_from(nanoseconds % 1_000_000_000).unwrap_or(0),
        };
        let mut events = std::mem::take(&mut self.events);
        // An interrupted wait is one that found nothing.
        let found = epoll::wait(&self.epoll, events.as_mut_slice(), Some(&timeout)).unwrap_or(0);
        for event in events.iter().take(found) {
            let (data, flags) = (event.data.u64(), event.flags);
            let index = usize::try_from(data >> 32).unwrap_or(usize::MAX);
            let is_current = self
                .connections
                .get(index)
                .is_some_and(|connection| u64::from(connection.generation) == data & u64::from(u32::MAX));
            if is_current {
                self.ready(index, flags);
            }
        }
        self.events = events;
    }

    fn ready(&mut self, index: usize, flags: EventFlags) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let Some(stream) = &mut connection.stream else { return };
        match connection.state {
            State::Closed => {}
            State::Opening => match stream.is_open() {
                Ok(false) => {}
                Ok(true) => {
                    connection.state = State::Greeting;
                    let heard = connection.talk.greet(&mut connection.out);
                    self.heard(index, Ok(heard));
                }
                Err(broken) => self.fail(index, &broken),
            },
            State::Idle => {
                // The server may end an idle connection when it likes, and says hardly anything else on one.
                loop {
                    match stream.receive(&mut self.buffer) {
                        Ok(None) => break,
                        Ok(Some(taken)) if taken > 0 => {
                            if !connection.talk.is_harmless(self.buffer.get(..taken).unwrap_or_default()) {
                                return self.close(index);
                            }
                        }
                        Ok(Some(_)) | Err(_) => return self.close(index),
                    }
                }
            }
            State::Greeting | State::Busy => {
                if let Err(broken) = stream.push() {
                    return self.lost(index, &broken);
                }
                self.write(index);
                let mut to_the_end = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
                while self.read(index, &mut to_the_end) {}
            }
        }
    }

    /// Begins the request that the connection has.
    fn ask(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.state = State::Busy;
        let (talk, out) = connection.fresh();
        let heard = talk.ask(out);
        self.heard(index, heard);
    }

    /// Sends what is left to be said.
    fn write(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index).filter(|one| one.is_talking()) else { return };
        let Some(stream) = &mut connection.stream else { return };
        while let Some(rest) = connection.out.get(connection.written..).filter(|rest| !rest.is_empty()) {
            match stream.send(rest) {
                Ok(0) => return,
                Ok(taken) => connection.written += taken,
                Err(broken) => return self.lost(index, &broken),
            }
        }
    }

    /// Reads once; true when there may be more.
    fn read(&mut self, index: usize, to_the_end: &mut bool) -> bool {
        let Some(connection) = self.connections.get_mut(index).filter(|one| one.is_talking()) else { return false };
        let Some(stream) = &mut connection.stream else { return false };
        match stream.receive(&mut self.buffer) {
            Ok(None) => false,
            Ok(Some(0)) => {
                match connection.talk.hung_up() {
                    Ok(answer) => self.answered(index, answer),
                    Err(broken) => self.lost(index, &broken),
                }
                false
            }
            Ok(Some(taken)) => {
                let is_short = stream.is_plain() && taken < BUFFER && !*to_the_end;
                self.tally.bytes += taken as u64;
                let (talk, out) = connection.fresh();
                let heard = talk.hear(self.buffer.get(..taken).unwrap_or_default(), out);
                self.heard(index, heard);
                !is_short
            }
            Err(broken) => {
                self.lost(index, &broken);
                false
            }
        }
    }

    /// Sees to what came of saying or hearing something.
    fn heard(&mut self, index: usize, heard: Result<Heard, Broken>) {
        match heard {
            Ok(Heard::More) => self.write(index),
            Ok(Heard::Answer(answer)) => self.answered(index, answer),
            Ok(Heard::Pause(nanoseconds)) => {
                let request = self.connections.get(index).and_then(|connection| connection.request);
                if let Some(request) = request {
                    let at = self.now().saturating_add(nanoseconds);
                    self.pauses.push(Reverse((at, index, request.number)));
                }
            }
            Ok(Heard::Ready) => {
                let Some(connection) = self.connections.get_mut(index) else { return };
                connection.state = State::Idle;
                if connection.request.is_some() {
                    self.ask(index);
                }
            }
            Err(broken) => self.fail(index, &broken),
        }
    }

    /// Counts the time that requests were under way until now.
    fn count_until(&mut self, now: u64) {
        self.tally.occupancy += u128::from(self.under_way) * u128::from(now.saturating_sub(self.counted_until));
        self.counted_until = now.max(self.counted_until);
    }

    /// Takes the request off its connection.
    fn end_request(&mut self, index: usize) -> Option<Request> {
        let request = self.connections.get_mut(index)?.request.take()?;
        let now = self.now();
        self.count_until(now);
        self.under_way = self.under_way.saturating_sub(1);
        Some(request)
    }

    fn answered(&mut self, index: usize, answer: Answer) {
        let Some(request) = self.end_request(index) else { return };
        let now = self.counted_until;
        let response = now.saturating_sub(request.planned);
        self.tally.service.record(now.saturating_sub(request.sent));
        *self.tally.statuses.entry(answer.code).or_default() += 1;
        if answer.is_good {
            self.tally.good += 1;
            self.tally.response.record(response);
            let half = usize::from(request.planned >= self.plan.until / 2);
            if let Some(half) = self.tally.halves.get_mut(half) {
                half.record(response as f64 / 1e9);
            }
        } else {
            self.tally.bad += 1;
            self.tally.response_bad.record(response);
            if self.trouble.is_none() {
                let complaint = self.connections.get(index).and_then(|connection| connection.talk.complaint());
                self.trouble = complaint.map(ToOwned::to_owned);
            }
        }
        if answer.close || !self.plan.keep_alive {
            self.close(index);
            self.idle.push_back(index);
            return;
        }
        if let Some(connection) = self.connections.get_mut(index) {
            connection.state = State::Idle;
            connection.used = true;
        }
        // The next one at once, before anything else is seen to.
        match self.queue.front().copied() {
            Some(planned) => self.assign(index, planned),
            None if self.plan.slots.is_none() && now < self.plan.until => self.assign(index, now),
            None => self.idle.push_back(index),
        }
    }

    /// The connection ended under a request. When that was because the server had just grown tired of it, the request is
    /// sent again: a client would do so, and RFC 9112, 9.3.1 has it so.
    fn lost(&mut self, index: usize, broken: &Broken) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let may_repeat = connection.used && connection.talk.may_repeat();
        if let Some(request) = connection.request.as_mut().filter(|request| may_repeat && !request.again) {
            request.again = true;
            self.tally.reconnects += 1;
            self.close(index);
            self.open(index);
            return;
        }
        self.fail(index, broken);
    }

    fn fail(&mut self, index: usize, broken: &Broken) {
        self.close(index);
        if self.trouble.is_none() {
            self.trouble = Some(format!("{}: {}", broken.fault.as_str(), broken.why));
        }
        if self.end_request(index).is_some() {
            self.tally.failed += 1;
            *self.tally.faults.entry(broken.fault).or_default() += 1;
        }
        if !self.running {
            return;
        }
        if self.plan.slots.is_some() {
            self.idle.push_back(index);
        } else {
            self.resting.push_back((self.now().saturating_add(REST), index));
        }
    }

    /// The run is over: what has no end yet has waited until now, at least.
    fn leave(&mut self) {
        let now = self.now();
        self.count_until(now);
        let under_way = self.connections.iter().filter_map(|connection| connection.request.map(|one| one.planned));
        for planned in under_way.chain(self.queue.iter().copied()) {
            self.tally.unfinished += 1;
            self.tally.censored.record(now.saturating_sub(planned));
        }
    }
}
