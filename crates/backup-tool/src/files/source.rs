//! A file set as the storage engine reads it: the entries of the [walk](super::walk) as nodes of a tree, and files as
//! [readers](super::reader).
//!
//! With a parent, the engine takes over the bytes of a file whose name, size and times are what the parent stored. A file
//! that was changed while the parent was taken may have been changed after the parent read it and still within the same
//! tick of the file system's clock, and would look unchanged for ever. So every file that was touched since the parent
//! began, and a moment before for coarse clocks, is read again. What the engine compares and what no restore uses is the
//! time of the status change; such a file gets the moment of this walk there, which no parent can have stored.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use maint_core::cancel::Cancel;
use rustic_core::repofile::Node;
use rustic_core::{ReadSource, ReadSourceEntry, RusticResult};

use super::attributes;
use super::node::{Names, metadata, node_type};
use super::reader::Job;
use super::report::{Outcome, Report, SourceError};
use super::set::FileSet;
use super::walk::{Entry, EntryKind, Walk};

/// File systems stamp files by clocks that lag behind: by milliseconds mostly, by up to two seconds on old ones.
const COARSEST: SignedDuration = SignedDuration::from_secs(2);

/// A file set to be archived, once.
#[derive(Debug)]
pub struct FilesSource {
    set: FileSet,
    parent_began: Option<Timestamp>,
    cancel: Cancel,
    report: Arc<Report>,
}

impl FilesSource {
    /// A source of this set. `parent_began` is when the parent began to be read, or earlier; without one every file is
    /// read. Nothing is looked at before the engine asks.
    pub fn new(set: FileSet, parent_began: Option<Timestamp>, cancel: Cancel) -> Self {
        FilesSource { set, parent_began, cancel, report: Arc::default() }
    }

    /// What becomes of the entries; to be asked when the engine has ended.
    pub fn report(&self) -> Arc<Report> {
        Arc::clone(&self.report)
    }

    /// Walks through the set and opens every file, but reads none.
    pub fn count(&self) -> Outcome {
        self.entries().for_each(drop);
        self.report.finish()
    }
}

impl ReadSource for FilesSource {
    type Open = Job;
    type Iter = Entries;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Entries {
        Entries {
            walk: Walk::new(self.set.clone()),
            names: Names::of_this_host(),
            touched_since: self.parent_began.map(|began| began.saturating_sub(COARSEST).unwrap_or(Timestamp::MIN)),
            now: Timestamp::now(),
            cancel: self.cancel.clone(),
            report: Arc::clone(&self.report),
        }
    }
}

/// The entries of a set. What could not be had is in the report, and never an item: the engine would only log it.
#[derive(Debug)]
pub struct Entries {
    walk: Walk,
    names: Names,
    touched_since: Option<Timestamp>,
    now: Timestamp,
    cancel: Cancel,
    report: Arc<Report>,
}

impl Entries {
    fn store(&self, entry: Entry) -> ReadSourceEntry<Job> {
        let Entry { tree, source, kind, metadata: found, attributes } = entry;
        let mut meta = metadata(&found, &self.names);
        let touched = self.touched_since.is_some_and(|since| meta.mtime.max(meta.ctime) >= Some(since));
        if touched && found.is_file() {
            meta.ctime = Some(self.now);
        }
        let mut named = Vec::with_capacity(attributes.len());
        for (name, value) in attributes {
            match String::from_utf8(name) {
                Ok(name) => named.push((name, value)),
                Err(error) => self.report.fail(SourceError::AttributeName {
                    path: source.clone(),
                    name: String::from_utf8_lossy(error.as_bytes()).into_owned(),
                }),
            }
        }
        if let Err(error) = attributes::store(&mut meta, named) {
            let step = "store the extended attributes of";
            self.report.fail(SourceError::Io { step, path: source.clone(), source: error.into() });
        }
        self.report.count(meta.size);
        let node = Node::new_node(tree.file_name().unwrap_or_default(), node_type(&kind), meta);
        let open = match kind {
            EntryKind::File(file) => {
                let (report, cancel) = (Arc::clone(&self.report), self.cancel.clone());
                Some(Job { file, path: source, before: found, report, cancel })
            }
            _ => None,
        };
        ReadSourceEntry { path: tree, node, open }
    }
}

impl Iterator for Entries {
    type Item = RusticResult<ReadSourceEntry<Job>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.cancel.is_cancelled() {
                self.report.interrupt();
                return None;
            }
            match self.walk.next()? {
                Ok(entry) => return Some(Ok(self.store(entry))),
                Err(error) => self.report.fail(error),
            }
        }
    }
}

#[cfg(test)]
mod tests;
