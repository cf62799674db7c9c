//! The files of a backup without which its directory must not be started, read and understood before anything is touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use maint_core::failure::Failure;

use crate::backup::{About, RequiredSettings, Tablespace};
use crate::cluster::control::{CONTROL_PATH, Control};
use crate::cluster::label::{BackupLabel, LABEL_NAME, MAP_NAME, parse_map};
use crate::cluster::walk::DATA_TREE;
use crate::store::{Reader, Stored};

/// What a restore puts in place by itself, or must know.
#[derive(Debug)]
pub(super) struct Essentials {
    /// The control file's bytes.
    pub control: Vec<u8>,
    /// What replay demands.
    pub required: RequiredSettings,
    /// The server's major version.
    pub major: i32,
    /// The tablespace map, where there is one.
    map: Option<Vec<u8>>,
}

/// Where the tablespace map is in the tree.
pub(super) fn map_entry() -> PathBuf {
    Path::new(DATA_TREE).join(MAP_NAME)
}

impl Essentials {
    /// Reads them from a snapshot.
    ///
    /// # Errors
    /// One is missing, damaged, or of another backup: without the label, say, a server would take the copy of a running
    /// cluster for a crashed one, and open it inconsistent.
    pub(super) fn read(reader: &Reader, stored: &Stored) -> Result<Self, Failure> {
        let Some(About::Cluster(backup)) = &stored.about else {
            return Err(Failure::usage(format!("{} is no backup of a cluster", stored.label())));
        };
        let file = |name: &str| reader.file(stored.tree, &Path::new(DATA_TREE).join(name)).map_err(Failure::from);
        let wrong = |what: &str, why: &dyn std::fmt::Display| {
            Failure::critical(format!("the {what} of {} cannot be used: {why}", backup.label))
                .hint("restore another backup; `backup-tool validate-backups` says which are whole")
        };
        let label = file(LABEL_NAME)?.unwrap_or_default();
        let label = BackupLabel::parse(&String::from_utf8_lossy(&label)).map_err(|error| wrong(LABEL_NAME, &error))?;
        if label.start_lsn != backup.start_lsn {
            let why = format!("it begins at {}, and the backup at {}", label.start_lsn, backup.start_lsn);
            return Err(wrong(LABEL_NAME, &why));
        }
        let bytes = file(CONTROL_PATH)?.unwrap_or_default();
        let control = Control::parse(&bytes).map_err(|fault| wrong(CONTROL_PATH, &fault))?;
        if control.system_identifier != backup.system_identifier {
            let why = format!("it is of cluster {}, and not {}", control.system_identifier, backup.system_identifier);
            return Err(wrong(CONTROL_PATH, &why));
        }
        Ok(Essentials { control: bytes, required: backup.required, major: backup.major(), map: file(MAP_NAME)? })
    }

    /// The tablespace map for these places; the stored one, byte for byte, where all of them are the old ones.
    ///
    /// # Errors
    /// It cannot be read, or names a tablespace that has no place: the server makes its links from it, and would make one
    /// to the files of the cluster that was backed up.
    pub(super) fn map_for(&self, places: &BTreeMap<u32, PathBuf>) -> Result<Option<Vec<u8>>, Failure> {
        let Some(stored) = &self.map else { return Ok(None) };
        let text = String::from_utf8_lossy(stored);
        let old = parse_map(&text).map_err(|error| Failure::critical(error.to_string()))?;
        let mut new = Vec::new();
        for Tablespace { oid, location } in &old {
            let place = places.get(oid).ok_or_else(|| {
                Failure::critical(format!(
                    "the tablespace map names tablespace {oid} in {location}, the backup does not"
                ))
            })?;
            new.push((*oid, place));
        }
        let same = old.iter().zip(&new).all(|(old, (_, place))| Path::new(&old.location) == place.as_path());
        Ok(Some(if same { stored.clone() } else { written(&new) }))
    }
}

/// A tablespace map as a server reads it when it begins to recover (`read_tablespace_map`): an oid, a space and the place, a
/// line each, with a backslash before what would end the line.
fn written(places: &[(u32, &PathBuf)]) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut text = Vec::new();
    for (oid, place) in places {
        text.extend_from_slice(format!("{oid} ").as_bytes());
        for byte in place.as_os_str().as_bytes() {
            if b"\n\r\\".contains(byte) {
                text.push(b'\\');
            }
            text.push(*byte);
        }
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::sample;

    fn with_map(map: &str) -> Essentials {
        Essentials { control: Vec::new(), required: sample().required, major: 15, map: Some(map.into()) }
    }

    fn places(all: &[(u32, &str)]) -> BTreeMap<u32, PathBuf> {
        all.iter().map(|(oid, place)| (*oid, PathBuf::from(place))).collect()
    }

    #[test]
    fn a_map_that_holds_stays_as_it_is_in_its_order() {
        let map = "16400 /b\n16399 /a\n";
        let same = with_map(map).map_for(&places(&[(16399, "/a"), (16400, "/b")])).unwrap();
        assert_eq!(same.as_deref(), Some(map.as_bytes()));
    }

    #[test]
    fn moved_tablespaces_are_in_the_map_and_read_back() {
        let strange = "/new\\pla\nce\r x";
        let map = with_map("16400 /b\n16399 /a\n").map_for(&places(&[(16399, strange), (16400, "/b")])).unwrap();
        let read = parse_map(&String::from_utf8(map.unwrap()).unwrap()).unwrap();
        let expected = [(16400, "/b"), (16399, strange)].map(|(oid, place)| Tablespace { oid, location: place.into() });
        assert_eq!(read, expected);
    }

    #[test]
    fn a_map_that_names_an_unknown_tablespace_is_refused() {
        let failure = with_map("16400 /b\n7 /living\n").map_for(&places(&[(16400, "/b")])).unwrap_err();
        assert!(failure.message.contains("/living"), "{failure}");
        assert!(with_map("x\n").map_for(&places(&[])).is_err());
    }
}
