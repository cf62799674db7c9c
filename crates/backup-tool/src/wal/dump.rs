//! Reads archived WAL with the server's own `pg_waldump`: it alone knows every record of its version.
//!
//! One segment is read at a time, in a private directory that holds it and the one after it, because a record may begin in
//! the one and end in the other. Such a record belongs to the segment that it begins in. What a whole segment contains, in
//! short, is kept as a sealed note beside the archive: a segment never changes, so it is read once.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Duration;

use maint_core::cancel::Cancel;
use maint_core::child::{Child, ChildError, CommandSpec, Line};
use maint_core::failure::Failure;
use maint_core::status::Exit;
use tokio::runtime::Handle;

use crate::lsn::Lsn;
use crate::store::{Store, StoreError};
use crate::wal::archive::{Archive, ArchiveError};
use crate::wal::digest::Digest;
use crate::wal::event::{self, Event, RESTORE_POINT_BYTES, What};
use crate::wal::gaps::Shelf;
use crate::wal::name::{Segment, WalName};

/// How far into the next segment a record may reach, in bytes. Of those that are read here, only a commit of a million
/// subtransactions reaches further.
const REACH: u64 = 8 << 20;
/// One segment is read in a fraction of a second; a program that takes this long hangs.
const DEADLINE: Duration = Duration::from_secs(600);
const GRACE: Duration = Duration::from_secs(5);
/// Prefix of the notes of this form.
const NOTES: &str = "points";

/// WAL that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// It cannot be fetched.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The program cannot be run.
    #[error(transparent)]
    Program(#[from] ChildError),
    /// The program failed.
    #[error("pg_waldump failed on {segment}: {said}")]
    Failed {
        /// The segment.
        segment: Segment,
        /// What it said.
        said: String,
    },
    /// The directory for segments cannot be used.
    #[error("cannot keep WAL in {place} for reading: {source}")]
    Directory {
        /// The directory.
        place: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The run was asked to stop.
    #[error("interrupted while reading WAL")]
    Interrupted(Exit),
}

impl From<DumpError> for Failure {
    fn from(error: DumpError) -> Self {
        match error {
            DumpError::Archive(error) => error.into(),
            DumpError::Interrupted(exit) => Failure::new(exit, error.to_string()),
            DumpError::Program(_) => Failure::usage(error.to_string()),
            DumpError::Failed { .. } => Failure::critical(error.to_string())
                .hint("see that pg_bindir names the programs of the server that wrote this WAL"),
            DumpError::Directory { .. } => {
                Failure::critical(error.to_string()).hint("set TMPDIR to a directory with room for a few segments")
            }
        }
    }
}

/// Reads segments of one archive.
pub struct Dumper<'a> {
    archive: &'a Archive,
    shelf: &'a Shelf,
    program: PathBuf,
    runtime: Handle,
    cancel: Cancel,
    notes: Option<&'a Store>,
    directory: tempfile::TempDir,
    /// The files in the directory: the name each has there, and the segment whose bytes it has.
    held: Vec<(Segment, Segment)>,
    known: HashMap<Segment, Digest>,
}

impl<'a> Dumper<'a> {
    /// A reader that runs `program`, a `pg_waldump` of the version that wrote the log. With `notes`, what segments contain
    /// is remembered there.
    ///
    /// # Errors
    /// No private directory can be made.
    pub fn new(
        archive: &'a Archive,
        shelf: &'a Shelf,
        program: PathBuf,
        (runtime, cancel): (Handle, Cancel),
        notes: Option<&'a Store>,
    ) -> Result<Self, DumpError> {
        let directory = tempfile::Builder::new()
            .prefix("backup-tool-wal-")
            .tempdir()
            .map_err(|source| DumpError::Directory { place: std::env::temp_dir().display().to_string(), source })?;
        let (held, known) = (Vec::new(), HashMap::new());
        Ok(Dumper { archive, shelf, program, runtime, cancel, notes, directory, held, known })
    }

    /// Gives every transaction's end and every restore point whose record begins in `segment` to `visit`, in order.
    /// Returns what the program said where the segment does not go on to its end.
    ///
    /// # Errors
    /// The segment cannot be fetched or read.
    pub fn each(&mut self, segment: Segment, visit: &mut dyn FnMut(Event)) -> Result<Option<String>, DumpError> {
        let size = self.shelf.segment_bytes();
        let next = self.prepare(segment)?;
        let start = segment.start(size);
        let border = Lsn(start.0.saturating_add(size));
        let end = if next { Lsn(border.0 + REACH.min(size)) } else { border };
        let (directory, held) = (self.directory.path().to_owned(), self.held.clone());
        self.dump(segment, (start, Some(end)), &["-r", "Transaction", "-r", "XLOG"], &mut |line| {
            let Some(mut event) = event::parse(&line, size).filter(|event| event.lsn < border) else { return };
            if let What::RestorePoint(name) = &mut event.what
                && let Some((time, whole)) = read_restore_point(&directory, &held, event.lsn, size)
            {
                event.time = Some(time);
                *name = whole;
            }
            visit(event);
        })
    }

    /// What a segment contains, in short.
    ///
    /// # Errors
    /// As [`Dumper::each`].
    pub fn digest(&mut self, segment: Segment) -> Result<Digest, DumpError> {
        if let Some(known) = self.known.get(&segment) {
            return Ok(known.clone());
        }
        let key = format!("{NOTES}/{}/{segment}", self.archive.system_identifier());
        let noted = self.notes.and_then(|store| match store.note(&key) {
            Ok(digest) => Some(digest),
            Err(StoreError::Storage(error)) if error.is_not_found() => None,
            Err(error) => {
                tracing::warn!("{error}; the segment is read again");
                None
            }
        });
        let digest = if let Some(digest) = noted {
            digest
        } else {
            let mut digest = Digest::default();
            digest.broken = self.each(segment, &mut |event| digest.add(&event))?;
            // Without the segment after it, a last record may not have been whole yet.
            if self.shelf.after(segment).is_some()
                && let Some(Err(error)) = self.notes.map(|store| store.put_note(&key, &digest))
            {
                tracing::debug!("what {segment} contains is not remembered: {error}");
            }
            digest
        };
        self.known.insert(segment, digest.clone());
        Ok(digest)
    }

    /// The first record that begins in `segment`, at `from` or behind it: where it begins and ends.
    ///
    /// # Errors
    /// As [`Dumper::each`].
    pub fn first_record(&mut self, segment: Segment, from: Lsn) -> Result<Option<(Lsn, Lsn)>, DumpError> {
        let size = self.shelf.segment_bytes();
        self.prepare(segment)?;
        let start = segment.start(size);
        let border = Lsn(start.0.saturating_add(size));
        let mut found = None;
        self.dump(segment, (from.max(start), None), &["-n", "1"], &mut |line| {
            found = found.or_else(|| event::extent(&line, size));
        })?;
        Ok(found.filter(|(lsn, _)| *lsn < border))
    }

    /// Fetches a segment and the one after it; says whether there is one.
    fn prepare(&mut self, segment: Segment) -> Result<bool, DumpError> {
        let size = self.shelf.segment_bytes();
        let mut wanted = vec![(segment, segment)];
        // The program looks for the next segment under its own timeline's name.
        wanted.extend(self.shelf.after(segment).map(|after| (segment.next(size), after)));
        for old in std::mem::take(&mut self.held) {
            if wanted.contains(&old) {
                self.held.push(old);
            } else {
                fs::remove_file(self.path(old.0)).map_err(|source| self.trouble(source))?;
            }
        }
        for (name, source) in &wanted {
            if !self.held.contains(&(*name, *source)) {
                let content = self.archive.fetch(WalName::Segment(*source))?;
                fs::write(self.path(*name), content).map_err(|source| self.trouble(source))?;
                self.held.push((*name, *source));
            }
        }
        Ok(wanted.len() > 1)
    }

    fn path(&self, name: Segment) -> PathBuf {
        self.directory.path().join(name.to_string())
    }

    fn trouble(&self, source: std::io::Error) -> DumpError {
        DumpError::Directory { place: self.directory.path().display().to_string(), source }
    }

    fn dump(
        &self,
        segment: Segment,
        (start, end): (Lsn, Option<Lsn>),
        options: &[&str],
        visit: &mut dyn FnMut(String),
    ) -> Result<Option<String>, DumpError> {
        if let Some(exit) = self.cancel.exit() {
            return Err(DumpError::Interrupted(exit));
        }
        let mut spec = CommandSpec::new(&self.program, ["-p".into(), self.directory.path().as_os_str().to_owned()]);
        let timeline = segment.timeline.to_string();
        spec.args.extend(["-t", &timeline, "-s", &start.to_string()].map(Into::into));
        if let Some(end) = end {
            spec.args.extend(["-e".into(), end.to_string().into()]);
        }
        spec.args.extend(options.iter().map(Into::into));
        // Its times are local ones, and what it says of an end is looked at.
        spec.env = vec![("TZ".into(), "UTC0".into()), ("LC_ALL".into(), "C".into())];
        let mut said = Vec::new();
        let ended = self.runtime.block_on(async {
            let child = Child::spawn(spec, Some(DEADLINE), GRACE)?;
            let cancelled = async {
                self.cancel.cancelled().await;
            };
            child
                .run(cancelled, |line| match line {
                    Line::Stdout(line) => visit(line),
                    Line::Stderr(line) => said.push(line),
                })
                .await
        })?;
        if let (true, Some(exit)) = (ended.cancelled, self.cancel.exit()) {
            return Err(DumpError::Interrupted(exit));
        }
        let said = said.join("; ");
        match ended.code {
            Some(0) => Ok(None),
            Some(_) if ends_here(&said, segment, self.shelf.segment_bytes()) => Ok(Some(said)),
            Some(_) if is_end(&said) => Ok(None),
            _ if ended.timed_out => Err(DumpError::Failed { segment, said: "it did not end".into() }),
            _ => Err(DumpError::Failed { segment, said }),
        }
    }
}

/// Whether the program ended because the log does, rather than for another reason.
fn is_end(said: &str) -> bool {
    ["error in WAL record at ", "could not find a valid record after ", "could not find file"]
        .iter()
        .any(|text| said.contains(text))
}

/// Whether the log ends within `segment`: the last good record, which the program names, lies in it. What ends behind it
/// was only looked at for the sake of a record that goes on there.
fn ends_here(said: &str, segment: Segment, size: u64) -> bool {
    let last = said.split_once("error in WAL record at ").map(|(_, rest)| rest).and_then(|rest| rest.split_once(':'));
    let last = last.and_then(|(lsn, _)| lsn.parse::<Lsn>().ok());
    let none = said.contains("could not find a valid record after ");
    last.map_or(none, |last| last.0 / size.max(1) == segment.number(size))
}

/// Time and name of the restore point whose record begins at `lsn`, from the files themselves.
fn read_restore_point(
    directory: &std::path::Path,
    held: &[(Segment, Segment)],
    lsn: Lsn,
    size: u64,
) -> Option<(jiff::Timestamp, String)> {
    let mut record = Vec::with_capacity(RESTORE_POINT_BYTES);
    for (at, length) in event::pieces(lsn, RESTORE_POINT_BYTES as u64, size) {
        let (name, _) = held.iter().find(|(name, _)| name.number(size) == at.0 / size.max(1))?;
        let mut piece = vec![0; length as usize];
        let file = File::open(directory.join(name.to_string())).ok()?;
        file.read_exact_at(&mut piece, at.0 % size.max(1)).ok()?;
        record.extend(piece);
    }
    event::restore_point(&record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_in_the_next_segment_is_none_of_this_one() {
        let segment: Segment = "000000010000000000000006".parse().unwrap();
        let size = 16 << 20;
        let said =
            "pg_waldump: error: error in WAL record at 0/6000028: invalid record length at 0/60000A0: wanted 24, got 0";
        assert!(ends_here(said, segment, size) && is_end(said));
        let later = said.replace("at 0/6000028", "at 0/7000028");
        assert!(!ends_here(&later, segment, size) && is_end(&later));
        assert!(ends_here("could not find a valid record after 0/6000000", segment, size));
        let other = "pg_waldump: error: could not open directory: Permission denied";
        assert!(!ends_here(other, segment, size) && !is_end(other));
    }
}
