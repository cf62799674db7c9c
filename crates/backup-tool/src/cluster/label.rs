//! The two small files that `pg_backup_stop` returns, and without which a copied data directory must not be started:
//! `backup_label` (where replay begins) and `tablespace_map` (which link of `pg_tblspc` pointed where).
//!
//! They are stored as the server wrote them; reading them here is how a backup's record is filled in and checked. Formats:
//! `build_backup_content` and `do_pg_backup_start` in PostgreSQL's sources.

use crate::backup::Tablespace;
use crate::lsn::Lsn;
use crate::wal::name::Segment;

/// Name of the file that says where replay begins.
pub const LABEL_NAME: &str = "backup_label";

/// Name of the file that says where tablespaces were.
pub const MAP_NAME: &str = "tablespace_map";

/// What a `backup_label` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupLabel {
    /// Where replay begins.
    pub start_lsn: Lsn,
    /// The segment that holds it.
    pub start_segment: Segment,
    /// Position of the checkpoint that replay begins from.
    pub checkpoint: Lsn,
    /// The timeline it was taken on.
    pub timeline: u32,
    /// Whether it was taken from a standby.
    pub from_standby: bool,
    /// When it began, as the server wrote it, in the zone of its log.
    pub start_time: String,
    /// The name that the backup was given.
    pub label: String,
}

/// A `backup_label` or `tablespace_map` that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A line is not there.
    #[error("the backup_label has no line `{0}: ...`")]
    Missing(&'static str),
    /// A line says something unknown.
    #[error("the backup_label's line `{line}: {value}` cannot be understood")]
    Unreadable {
        /// Which line.
        line: &'static str,
        /// What it says.
        value: String,
    },
    /// A line of the `tablespace_map` is not an oid and a path.
    #[error("the tablespace_map's line `{0}` is no oid and path")]
    Map(String),
}

impl BackupLabel {
    /// Reads the text of a `backup_label`.
    ///
    /// # Errors
    /// A line that every label has is missing or cannot be understood.
    pub fn parse(text: &str) -> Result<Self, LabelError> {
        let field = |line: &'static str| {
            let mut values = text.lines().filter_map(|candidate| candidate.strip_prefix(line)?.strip_prefix(": "));
            values.next().ok_or(LabelError::Missing(line))
        };
        let unreadable = |line, value: &str| LabelError::Unreadable { line, value: value.to_owned() };

        let start = field("START WAL LOCATION")?;
        let (lsn, file) = start.split_once(" (file ").ok_or_else(|| unreadable("START WAL LOCATION", start))?;
        let file = file.strip_suffix(')').ok_or_else(|| unreadable("START WAL LOCATION", start))?;
        let checkpoint = field("CHECKPOINT LOCATION")?;
        let timeline = field("START TIMELINE")?;
        let from = field("BACKUP FROM")?;
        Ok(BackupLabel {
            start_lsn: lsn.parse().map_err(|_| unreadable("START WAL LOCATION", start))?,
            start_segment: file.parse().map_err(|_| unreadable("START WAL LOCATION", start))?,
            checkpoint: checkpoint.parse().map_err(|_| unreadable("CHECKPOINT LOCATION", checkpoint))?,
            timeline: timeline.parse().map_err(|_| unreadable("START TIMELINE", timeline))?,
            from_standby: match from {
                "primary" | "master" => false,
                "standby" => true,
                _ => return Err(unreadable("BACKUP FROM", from)),
            },
            start_time: field("START TIME")?.to_owned(),
            label: field("LABEL")?.to_owned(),
        })
    }
}

/// Reads the text of a `tablespace_map`: a line each, where a backslash makes the character after it part of the path.
///
/// # Errors
/// A line is not an oid, a space and a path.
pub fn parse_map(text: &str) -> Result<Vec<Tablespace>, LabelError> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\n' => lines.push(std::mem::take(&mut line)),
            '\\' => line.extend(characters.next()),
            other => line.push(other),
        }
    }
    lines.push(line);
    let parsed = lines.into_iter().filter(|line| !line.is_empty()).map(|line| {
        let parts = line.split_once(' ').and_then(|(oid, location)| Some((oid.parse().ok()?, location.to_owned())));
        match parts {
            Some((oid, location)) if !location.is_empty() => Ok(Tablespace { oid, location }),
            _ => Err(LabelError::Map(line)),
        }
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: &str = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n\
        CHECKPOINT LOCATION: 0/2000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
        START TIME: 2026-11-23 15:04:05 UTC\nLABEL: nightly: of LABEL\nSTART TIMELINE: 1\n";

    #[test]
    fn a_label_says_where_replay_begins() {
        let label = BackupLabel::parse(LABEL).unwrap();
        assert_eq!(label.start_lsn, Lsn(0x0200_0028));
        assert_eq!(label.start_segment.to_string(), "000000010000000000000002");
        assert_eq!(label.checkpoint, Lsn(0x0200_0060));
        assert_eq!((label.timeline, label.from_standby), (1, false));
        assert_eq!(label.start_time, "2026-11-23 15:04:05 UTC");
        assert_eq!(label.label, "nightly: of LABEL");
        assert!(BackupLabel::parse(&LABEL.replace("primary", "standby")).unwrap().from_standby);
    }

    #[test]
    fn a_label_that_lacks_a_line_is_refused_by_its_name() {
        let without = LABEL.replace("START TIMELINE", "STOP TIMELINE");
        assert_eq!(BackupLabel::parse(&without), Err(LabelError::Missing("START TIMELINE")));
        assert_eq!(BackupLabel::parse(""), Err(LabelError::Missing("START WAL LOCATION")));
        for (from, to) in [("0/2000028", "0/x"), (" (file ", " "), ("0002)", "0002"), ("primary", "somewhere")] {
            assert!(matches!(BackupLabel::parse(&LABEL.replace(from, to)), Err(LabelError::Unreadable { .. })), "{to}");
        }
    }

    #[test]
    fn a_map_gives_paths_back_whatever_is_in_them() {
        let map = parse_map("16384 /srv/fast disk\n16385 /srv/a\\\nb\\\\c\n").unwrap();
        let expected = [(16384, "/srv/fast disk"), (16385, "/srv/a\nb\\c")];
        let read: Vec<_> = map.iter().map(|tablespace| (tablespace.oid, tablespace.location.as_str())).collect();
        assert_eq!(read, expected);
        assert!(parse_map("").unwrap().is_empty());
    }

    #[test]
    fn a_line_of_a_map_that_is_no_oid_and_path_is_refused() {
        for text in ["16384", "16384 ", "x /srv", "-1 /srv"] {
            assert!(parse_map(text).is_err(), "{text}");
        }
    }
}
