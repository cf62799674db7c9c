//! The patterns that names of keys follow, learned from the names.
//!
//! Nobody tells this program that keys are called `session:{uuid}`; it has to find out in one pass over any number of
//! keys. Names are cut into tokens ([`Class`]), and each name goes down a tree of tokens: a token whose form gives it
//! away (a number, a uuid) goes to the child of its class at once, a word to a child of its own. Words are the
//! difficulty, since some are part of the pattern (`session`, `profile`) and some are data (`alice`). They are told
//! apart by how many there are: of the words at one place in a name, before the same separator,
//!
//! - when there are more than 64, only those that at least every 64th key there has are kept;
//! - when there are ten or more and more than half of the keys have a word of their own, none is kept;
//!
//! and what is not kept becomes `*`. The verdict falls when all keys were seen. Only where words pile up before that
//! (`ROOM` at one place) those that are rare so far are given up early.
//!
//! Memory is bounded by the number of nodes, of which each takes about 1.5 KiB at most. When they are used up, the
//! verdict is passed early on the whole tree; if that frees none, keys of new patterns are counted in
//! [`Learned::other`]: no key is ever missing from the sums.

mod stats;
mod token;

use std::collections::HashMap;

pub use stats::{Fingerprint, KindStats, Sample, Stats, Ttl, TtlStats};
pub use token::Class;
use token::{SEPARATORS, Token, Tokens};

use crate::glob::Glob;
use crate::sketch::FastHash;

/// Words that are kept at one place in a name, before the same separator, at the end.
const WORDS: usize = 64;
/// Words that may pile up there before the rare ones are given up.
const ROOM: u16 = 256;
/// As many words at least must be there before it is judged that most keys have one of their own.
const OWN_WORDS: usize = 10;
/// Tokens of a name that are looked at; the rest is `*`.
const DEPTH: usize = 12;
/// Longer words (in bytes) are `*`, so that a node stays small.
const WORD_BYTES: usize = 64;

/// What a node stands for, other than a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Class(Class),
    /// Words that were given up, or the rest of a deep name.
    Any,
}

type NodeId = usize;

#[derive(Debug, Default)]
struct Node {
    /// Children by word; the separator is the last byte of it.
    words: HashMap<Box<[u8]>, NodeId, FastHash>,
    /// Children of the other kinds, by separator.
    kinds: Vec<(Kind, Option<u8>, NodeId)>,
    /// How many of the words end with each separator; see [`slot`].
    word_counts: [u16; SLOTS],
    /// Where new words are `*`.
    wide: [bool; SLOTS],
    /// The keys that end here.
    stats: Option<Box<Stats>>,
}

const SLOTS: usize = SEPARATORS.len() + 1;

/// The place of a separator in a node's arrays; the last is that of the end of the name.
fn slot(separator: Option<u8>) -> usize {
    SEPARATORS.iter().position(|known| Some(*known) == separator).unwrap_or(SEPARATORS.len())
}

/// The separator at the end of a word's text.
fn separator_of(text: &[u8]) -> Option<u8> {
    text.last().copied().filter(|byte| SEPARATORS.contains(byte))
}

/// Keys whose names follow the same pattern.
#[derive(Debug, Clone)]
pub struct Group {
    /// The pattern for people: `session:{uuid}`.
    pub name: String,
    /// The pattern for the server: `session:*`. It matches every key of the group; as `*` takes anything, it may match
    /// keys of longer patterns as well.
    pub glob: Vec<u8>,
    /// What is known of the keys.
    pub stats: Stats,
}

/// What was learned.
#[derive(Debug, Clone)]
pub struct Learned {
    /// The groups, those of most bytes first, then those of most keys, then by name.
    pub groups: Vec<Group>,
    /// The keys for which there was no room.
    pub other: Stats,
}

/// Learns patterns; see the module.
#[derive(Debug)]
pub struct Patterns {
    nodes: Vec<Node>,
    free: Vec<NodeId>,
    limit: usize,
    keys: u64,
    /// When to try again to make room.
    next_prune: u64,
    other: Stats,
}

impl Patterns {
    /// Learns with at most `limit` nodes. There are never more groups than nodes.
    pub fn new(limit: usize) -> Self {
        Patterns {
            nodes: vec![Node::default()],
            free: Vec::new(),
            limit: limit.max(1),
            keys: 0,
            next_prune: 0,
            other: Stats::default(),
        }
    }

    /// Counts a key.
    pub fn add(&mut self, key: &[u8], sample: &Sample<'_>) {
        self.keys += 1;
        let mut node = self.descend(key);
        if node.is_none() && self.make_room() {
            node = self.descend(key);
        }
        match node.and_then(|node| self.nodes.get_mut(node)) {
            Some(node) => node.stats.get_or_insert_default().add(key, sample),
            None => self.other.add(key, sample),
        }
    }

    /// The groups, when every key was counted.
    pub fn finish(mut self) -> Learned {
        self.prune(0);
        let mut groups = Vec::new();
        self.collect(0, "", b"", &mut groups);
        groups.sort_by(|a, b| {
            (b.stats.bytes, b.stats.keys).cmp(&(a.stats.bytes, a.stats.keys)).then_with(|| a.name.cmp(&b.name))
        });
        Learned { groups, other: self.other }
    }

    /// The node of a name, made if there is room.
    fn descend(&mut self, key: &[u8]) -> Option<NodeId> {
        let mut at = 0;
        let mut tokens = Tokens::of(key);
        for _ in 0..DEPTH {
            let Some(token) = tokens.next() else { return Some(at) };
            at = self.child(at, &token)?;
        }
        if tokens.rest().is_empty() { Some(at) } else { self.kind_child(at, Kind::Any, None) }
    }

    fn child(&mut self, at: NodeId, token: &Token<'_>) -> Option<NodeId> {
        if let Some(class) = token.class {
            return self.kind_child(at, Kind::Class(class), token.separator);
        }
        let node = self.nodes.get(at)?;
        if let Some(child) = node.words.get(token.text) {
            return Some(*child);
        }
        let slot = slot(token.separator);
        let mut wide = *node.wide.get(slot)?;
        if !wide && *node.word_counts.get(slot)? >= ROOM {
            self.widen(at, token.separator, u64::from(ROOM));
            wide = true;
        }
        if wide || token.text.len() > WORD_BYTES {
            return self.kind_child(at, Kind::Any, token.separator);
        }
        let child = self.new_node()?;
        let node = self.nodes.get_mut(at)?;
        node.words.insert(token.text.into(), child);
        *node.word_counts.get_mut(slot)? += 1;
        Some(child)
    }

    fn kind_child(&mut self, at: NodeId, kind: Kind, separator: Option<u8>) -> Option<NodeId> {
        if let Some(child) = self.find_kind(at, kind, separator) {
            return Some(child);
        }
        let child = self.new_node()?;
        self.nodes.get_mut(at)?.kinds.push((kind, separator, child));
        Some(child)
    }

    fn new_node(&mut self) -> Option<NodeId> {
        if let Some(free) = self.free.pop() {
            return Some(free);
        }
        (self.nodes.len() < self.limit).then(|| {
            self.nodes.push(Node::default());
            self.nodes.len() - 1
        })
    }

    /// Passes the verdict early. It costs a walk over the tree, so it is tried again only when twice as many keys were
    /// seen.
    fn make_room(&mut self) -> bool {
        if self.keys < self.next_prune {
            return false;
        }
        self.next_prune = self.keys.saturating_mul(2);
        self.prune(0);
        !self.free.is_empty()
    }

    /// Passes the verdict on everything below a node.
    fn prune(&mut self, at: NodeId) {
        for separator in SEPARATORS.into_iter().map(Some).chain([None]) {
            let slot = slot(separator);
            let Some(node) = self.nodes.get(at) else { return };
            let wide = node.wide.get(slot) == Some(&true);
            let count = node.word_counts.get(slot).copied().map_or(0, usize::from);
            if count > WORDS || (wide && count > 0) {
                self.widen(at, separator, WORDS as u64);
            } else if count >= OWN_WORDS {
                let words = self.words_before(at, separator);
                if words.iter().map(|(_, keys)| keys).sum::<u64>() < 2 * count as u64 {
                    self.give_up(at, separator, words.into_iter().map(|(word, _)| word));
                }
            }
            // Some hexadecimal digests happen to have no letter, and some random text looks like a word.
            self.absorb(at, separator, Kind::Class(Class::Int), Kind::Class(Class::Hex), 20);
            self.absorb(at, separator, Kind::Any, Kind::Class(Class::Base64), 2);
        }
        let Some(node) = self.nodes.get(at) else { return };
        let children: Vec<_> =
            node.words.values().copied().chain(node.kinds.iter().map(|(.., child)| *child)).collect();
        for child in children {
            self.prune(child);
        }
    }

    /// Makes the children of one kind those of another that has at least so many times as many keys.
    fn absorb(&mut self, at: NodeId, separator: Option<u8>, from: Kind, into: Kind, times: u64) {
        let (Some(from), Some(into)) = (self.find_kind(at, from, separator), self.find_kind(at, into, separator))
        else {
            return;
        };
        if self.keys_below(from).saturating_mul(times) <= self.keys_below(into) {
            if let Some(node) = self.nodes.get_mut(at) {
                node.kinds.retain(|(.., child)| *child != from);
            }
            self.merge(from, into);
        }
    }

    /// Gives up the words before a separator that not every `share`th key has; new words are `*` from then on.
    fn widen(&mut self, at: NodeId, separator: Option<u8>, share: u64) {
        let words = self.words_before(at, separator);
        let any = self.find_kind(at, Kind::Any, separator).map_or(0, |any| self.keys_below(any));
        let total = words.iter().map(|(_, keys)| keys).sum::<u64>() + any;
        let rare = words.into_iter().filter(|(_, keys)| keys.saturating_mul(share) < total).map(|(word, _)| word);
        self.give_up(at, separator, rare);
    }

    /// Makes `*` of these words.
    fn give_up(&mut self, at: NodeId, separator: Option<u8>, words: impl Iterator<Item = Box<[u8]>>) {
        let slot = slot(separator);
        if let Some(wide) = self.nodes.get_mut(at).and_then(|node| node.wide.get_mut(slot)) {
            *wide = true;
        }
        for word in words {
            let Some(node) = self.nodes.get_mut(at) else { return };
            let Some(child) = node.words.remove(&word) else { continue };
            if let Some(count) = node.word_counts.get_mut(slot) {
                *count -= 1;
            }
            self.merge_kind(at, Kind::Any, separator, child);
        }
    }

    fn find_kind(&self, at: NodeId, kind: Kind, separator: Option<u8>) -> Option<NodeId> {
        let kinds = &self.nodes.get(at)?.kinds;
        kinds.iter().find(|(one, after, _)| *one == kind && *after == separator).map(|(.., child)| *child)
    }

    /// The words before a separator and how many keys have them, in the order of the words.
    fn words_before(&self, at: NodeId, separator: Option<u8>) -> Vec<(Box<[u8]>, u64)> {
        let Some(node) = self.nodes.get(at) else { return Vec::new() };
        let before = node.words.iter().filter(|(word, _)| separator_of(word) == separator);
        let mut words: Vec<_> = before.map(|(word, child)| (word.clone(), self.keys_below(*child))).collect();
        words.sort_unstable();
        words
    }

    fn keys_below(&self, at: NodeId) -> u64 {
        let Some(node) = self.nodes.get(at) else { return 0 };
        let children = node.words.values().chain(node.kinds.iter().map(|(.., child)| child));
        node.stats.as_ref().map_or(0, |stats| stats.keys) + children.map(|child| self.keys_below(*child)).sum::<u64>()
    }

    /// Takes the groups out of the tree.
    fn collect(&mut self, at: NodeId, name: &str, glob: &[u8], groups: &mut Vec<Group>) {
        let Some(node) = self.nodes.get_mut(at).map(std::mem::take) else { return };
        if let Some(stats) = node.stats {
            groups.push(Group { name: name.to_owned(), glob: glob.to_vec(), stats: *stats });
        }
        for (word, child) in node.words {
            let name = format!("{name}{}", crate::key::subject(&word));
            self.collect(child, &name, &[glob, &Glob::escape(&word)].concat(), groups);
        }
        for (kind, separator, child) in node.kinds {
            let placeholder = match kind {
                Kind::Class(class) => class.placeholder(),
                Kind::Any => "*",
            };
            let after = separator.map(char::from).map_or_else(String::new, String::from);
            let glob = [glob, b"*", after.as_bytes()].concat();
            self.collect(child, &format!("{name}{placeholder}{after}"), &glob, groups);
        }
    }

    /// Adds the subtree of a node that is no longer in the tree to that of another.
    fn merge(&mut self, from: NodeId, into: NodeId) {
        let Some(gone) = self.nodes.get_mut(from).map(std::mem::take) else { return };
        self.free.push(from);
        let Some(node) = self.nodes.get_mut(into) else { return };
        for (wide, also) in node.wide.iter_mut().zip(gone.wide) {
            *wide |= also;
        }
        if let Some(stats) = gone.stats {
            node.stats.get_or_insert_default().merge(*stats);
        }
        for (kind, separator, child) in gone.kinds {
            self.merge_kind(into, kind, separator, child);
        }
        for (word, child) in gone.words {
            self.merge_word(into, word, child);
        }
    }

    /// Puts a node that is no longer in the tree below another, as a word.
    fn merge_word(&mut self, into: NodeId, word: Box<[u8]>, child: NodeId) {
        let separator = separator_of(&word);
        let Some(node) = self.nodes.get_mut(into) else { return };
        let (Some(wide), Some(count)) =
            (node.wide.get(slot(separator)).copied(), node.word_counts.get_mut(slot(separator)))
        else {
            return;
        };
        if let Some(known) = node.words.get(&word).copied() {
            self.merge(child, known);
        } else if wide {
            self.merge_kind(into, Kind::Any, separator, child);
        } else {
            node.words.insert(word, child);
            *count += 1;
            if *count > ROOM {
                self.widen(into, separator, u64::from(ROOM));
            }
        }
    }

    /// The same, as another kind.
    fn merge_kind(&mut self, into: NodeId, kind: Kind, separator: Option<u8>, child: NodeId) {
        match self.find_kind(into, kind, separator) {
            Some(known) => self.merge(child, known),
            None => {
                if let Some(node) = self.nodes.get_mut(into) {
                    node.kinds.push((kind, separator, child));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
