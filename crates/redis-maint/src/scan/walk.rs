//! The walk over one part, in a task of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use maint_core::status::Exit;
use redis::{Pipeline, Value};
use tokio::sync::mpsc;

use super::ask::{Ask, Attribute, answer, question};
use super::{Event, Manners, Part, Position, Report};
use crate::entry::{Entry, KeyType};
use crate::node::{Node, integer};
use crate::pace::Pace;
use crate::topology::{Which, successor};
use crate::trouble::Trouble;

/// Pings that tell how long an answer takes when nothing is asked.
const PINGS: usize = 5;
/// Between two attempts to reach a server again.
const RETRY: Duration = Duration::from_millis(500);

pub(super) struct Walk {
    index: usize,
    node: Node,
    position: Position,
    slot: Option<u16>,
    which: Which,
    ask: Arc<Ask>,
    manners: Manners,
    send: mpsc::Sender<Event>,
    report: Report,
    pace: Pace,
    clock_ahead: SignedDuration,
    /// What is still asked: less than the caller wants where the user may not.
    attributes: Vec<Attribute>,
}

/// The end of a walk that nobody listens to any more.
struct NobodyListens;

enum Stop {
    Enough,
    Broken(Trouble),
}

impl From<NobodyListens> for Stop {
    fn from(_: NobodyListens) -> Self {
        Stop::Enough
    }
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Stop::Broken(trouble)
    }
}

impl Walk {
    pub(super) fn new(index: usize, part: Part, ask: Arc<Ask>, manners: Manners, send: mpsc::Sender<Event>) -> Self {
        let Part { node, position, slot, which } = part;
        let report = Report { address: position.address.clone(), db: position.db, ..Report::default() };
        let attributes = ask.attributes.clone();
        let pace = Pace::new(manners.max_latency, Duration::MAX);
        Walk {
            index,
            node,
            position,
            slot,
            which,
            ask,
            manners,
            send,
            report,
            pace,
            clock_ahead: SignedDuration::ZERO,
            attributes,
        }
    }

    pub(super) async fn run(mut self) -> (Report, Result<(), Trouble>) {
        let result = match self.walk().await {
            Ok(()) | Err(Stop::Enough) => Ok(()),
            Err(Stop::Broken(trouble)) => Err(trouble),
        };
        let (backed_off, paused) = self.pace.backed_off();
        self.report.backed_off += backed_off;
        self.report.paused += paused;
        self.report.run_id = self.position.run_id.clone();
        (self.report, result)
    }

    async fn walk(&mut self) -> Result<(), Stop> {
        if self.position.done {
            return Ok(());
        }
        self.measure_round_trip().await?;
        self.clock_ahead = self.node.clock_ahead().await?;
        // Names whose attributes are not asked yet, and the cursor that comes after them; the first batch has none.
        let mut names: Vec<Entry> = Vec::new();
        let mut cursor = self.position.cursor;
        let mut last = false;
        loop {
            let next = (!last).then(|| self.ask.next(cursor, self.pace.size()));
            let started = Instant::now();
            let page = match self.round(&mut names, next).await {
                Ok(page) => page,
                Err(trouble) if trouble.is_connection() || matches!(trouble, Trouble::NotReady { .. }) => {
                    if self.find_again(trouble).await? {
                        names.clear();
                        cursor = 0;
                        last = false;
                    }
                    continue;
                }
                Err(trouble) => return Err(trouble.into()),
            };
            let pause = self.pace.after(started.elapsed());
            let seen = self.server_time();
            let entries = std::mem::take(&mut names);
            self.position.cursor = cursor;
            self.position.done = last;
            if !entries.is_empty() || last {
                let position = self.position.clone();
                self.tell(Event::Batch { part: self.index, entries, seen, position }).await?;
            }
            let Some((next_cursor, keys)) = page else { return Ok(()) };
            self.report.names += keys.len() as u64;
            let keys = keys.into_iter().filter(|key| self.ask.filter.as_ref().is_none_or(|filter| filter.takes(key)));
            names = keys.map(|key| Entry::named(self.position.db, key)).collect();
            cursor = next_cursor;
            last = cursor == 0;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    }

    fn server_time(&self) -> Timestamp {
        let now = Timestamp::now();
        now.saturating_add(self.clock_ahead).unwrap_or(now)
    }

    async fn tell(&self, event: Event) -> Result<(), NobodyListens> {
        self.send.send(event).await.map_err(|_| NobodyListens)
    }

    async fn measure_round_trip(&mut self) -> Result<(), Trouble> {
        let mut best = Duration::MAX;
        for _ in 0..PINGS {
            let started = Instant::now();
            // A user who may not ping is answered as quickly.
            match self.node.call(&redis::cmd("PING")).await {
                Err(trouble) if trouble.is_connection() => return Err(trouble),
                _ => best = best.min(started.elapsed()),
            }
        }
        self.pace = Pace::new(self.manners.max_latency, best);
        Ok(())
    }

    /// One round trip: the attributes of `names`, and the next page when it is wanted. Names that vanished are taken out.
    async fn round(
        &mut self,
        names: &mut Vec<Entry>,
        next: Option<redis::Cmd>,
    ) -> Result<Option<(u64, Vec<Vec<u8>>)>, Trouble> {
        let first: Vec<Attribute> =
            self.attributes.iter().copied().filter(|attribute| *attribute != Attribute::Length).collect();
        let count = names.len() * first.len() + usize::from(next.is_some());
        let mut batch = Pipeline::with_capacity(count);
        for entry in names.iter() {
            for attribute in &first {
                question(*attribute, entry, self.ask.samples, &mut batch);
            }
        }
        let pages = next.is_some();
        if let Some(next) = next {
            batch.add_command(next);
        }
        let mut values = self.node.batch(&batch, count).await?.into_iter();
        self.take_answers(names, &first, &mut values)?;
        let page = if pages { Some(self.page(values.next())?) } else { None };
        if self.attributes.contains(&Attribute::Length) {
            self.ask_lengths(names).await?;
        }
        Ok(page)
    }

    /// Lengths take a second round trip, because the command depends on the type.
    async fn ask_lengths(&mut self, names: &mut Vec<Entry>) -> Result<(), Trouble> {
        let (mut with_length, without): (Vec<Entry>, Vec<Entry>) = names
            .drain(..)
            .partition(|entry| entry.kind.as_ref().is_some_and(|kind| !matches!(kind, KeyType::Module(_))));
        let mut batch = Pipeline::with_capacity(with_length.len());
        for entry in &with_length {
            question(Attribute::Length, entry, self.ask.samples, &mut batch);
        }
        let values = self.node.batch(&batch, with_length.len()).await?;
        self.take_answers(&mut with_length, &[Attribute::Length], &mut values.into_iter())?;
        names.extend(with_length);
        names.extend(without);
        Ok(())
    }

    fn take_answers(
        &mut self,
        names: &mut Vec<Entry>,
        attributes: &[Attribute],
        values: &mut std::vec::IntoIter<Value>,
    ) -> Result<(), Trouble> {
        let now = self.server_time();
        let mut broken = None;
        names.retain_mut(|entry| {
            let mut present = true;
            for attribute in attributes {
                let Some(value) = values.next() else {
                    broken = broken.take().or(Some(Trouble::answer(attribute.command(), &Value::Nil)));
                    return false;
                };
                match self.node.sound(value) {
                    Ok(value) => {
                        let there = answer(*attribute, &value, now, entry);
                        if attribute.counts_as_hit() {
                            let counter =
                                if there { &mut self.report.hits_added } else { &mut self.report.misses_added };
                            *counter += 1;
                        }
                        present &= there;
                    }
                    Err(Trouble::Denied(why)) if is_about_the_key(&why) => self.report.denied_keys += 1,
                    // Its slot moves to another node, where it is somebody else's to see.
                    Err(Trouble::Moved(_)) => present = false,
                    Err(trouble) if trouble.may_pass() => broken = broken.take().or(Some(trouble)),
                    Err(Trouble::Server(why)) if why.starts_with("WRONGTYPE") => present = false,
                    // A command that is not permitted or not there is so for every key: it is told once, and not
                    // asked any more.
                    Err(trouble) => {
                        self.report.denied.entry(*attribute).or_insert_with(|| trouble.to_string());
                    }
                }
            }
            self.report.vanished += u64::from(!present);
            present
        });
        let denied = &self.report.denied;
        self.attributes.retain(|attribute| !denied.contains_key(attribute));
        broken.map_or(Ok(()), Err)
    }

    fn page(&self, value: Option<Value>) -> Result<(u64, Vec<Vec<u8>>), Trouble> {
        let value = self.node.sound(value.unwrap_or_default())?;
        let wrong = Trouble::answer("SCAN", &value);
        let Value::Array(parts) = value else { return Err(wrong) };
        let mut parts = parts.into_iter();
        // The cursor is an unsigned number of 64 bits.
        let cursor = parts.next().and_then(|cursor| crate::node::text(&cursor)?.parse().ok());
        let (Some(cursor), Some(Value::Array(keys))) = (cursor, parts.next()) else { return Err(wrong) };
        let keys = keys.into_iter().filter_map(|key| match key {
            Value::BulkString(bytes) => Some(bytes),
            Value::SimpleString(text) => Some(text.into_bytes()),
            other => integer(&other).map(|number| number.to_string().into_bytes()),
        });
        Ok((cursor, keys.collect()))
    }

    /// Connects again, for as long as there is patience. True when the walk has to begin anew: the cursor belongs to a run
    /// of the server that is over.
    async fn find_again(&mut self, trouble: Trouble) -> Result<bool, Stop> {
        let given_up = Instant::now() + self.manners.patience;
        tracing::warn!("{trouble}; trying to reach the server again");
        loop {
            if self.send.is_closed() {
                return Err(Stop::Enough);
            }
            match successor(&self.node, self.which, self.slot).await {
                Ok(node) => {
                    // Another server of the same place serves database 0 until told otherwise.
                    self.node = node.with_db(self.position.db).await?;
                    break;
                }
                Err(again) if again.exit != Exit::Critical => return Err(Trouble::Server(again.message).into()),
                Err(_) if Instant::now() >= given_up => return Err(trouble.into()),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
        let run_id = self.node.identity.run_id.clone();
        if run_id.is_some() && run_id == self.position.run_id {
            return Ok(false);
        }
        let address = self.node.address.to_string();
        self.position = Position { address, run_id, cursor: 0, done: false, ..self.position.clone() };
        self.report = Report {
            address: self.position.address.clone(),
            db: self.position.db,
            restarts: self.report.restarts + 1,
            hits_added: self.report.hits_added,
            misses_added: self.report.misses_added,
            ..Report::default()
        };
        self.tell(Event::Restarted { part: self.index }).await?;
        Ok(true)
    }
}

/// Whether a refusal is about one key and not about the command. Servers say "no permissions to run the 'x' command" of
/// a command, and "no permissions to access" of a key.
fn is_about_the_key(why: &str) -> bool {
    !why.contains("to run the")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_key_is_told_from_a_refused_command() {
        assert!(is_about_the_key("this user has no permissions to access one of the keys used as arguments"));
        assert!(is_about_the_key("No permissions to access a key"));
        assert!(!is_about_the_key("this user has no permissions to run the 'memory' command or its subcommand"));
        assert!(!is_about_the_key("User x has no permissions to run the 'memory|usage' command"));
    }
}
