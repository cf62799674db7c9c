//! Names of the files of relations: `<number>[_<fork>][.<segment>]`, and `t<backend>_<number>...` of temporary ones
//! (`parse_filename_for_nontemp_relation` and `looks_like_temp_rel_name` of PostgreSQL).

use std::ffi::OsStr;

/// Which of a relation's parts a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The rows or the index.
    Main,
    /// The map of free space.
    FreeSpace,
    /// The map of pages that are visible to all.
    Visibility,
    /// What an unlogged relation is reset to after a crash.
    Init,
}

/// The file of a relation that is not temporary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationFile {
    /// The relation's number on disk.
    pub number: u32,
    /// The part.
    pub fork: Fork,
    /// Which segment of the part, counted from 0.
    pub segment: u32,
}

fn number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

impl RelationFile {
    /// Reads a file's name; `None` when it is no relation's.
    pub fn parse(name: &OsStr) -> Option<Self> {
        let (rest, segment) = match name.to_str()?.split_once('.') {
            None => (name.to_str()?, 0),
            Some((rest, segment)) => (rest, number(segment)?),
        };
        let (relation, fork) = match rest.split_once('_') {
            None => (rest, Fork::Main),
            Some((relation, "fsm")) => (relation, Fork::FreeSpace),
            Some((relation, "vm")) => (relation, Fork::Visibility),
            Some((relation, "init")) => (relation, Fork::Init),
            Some(_) => return None,
        };
        Some(RelationFile { number: number(relation)?, fork, segment })
    }
}

/// Whether the name is that of a temporary relation's file.
pub fn is_temporary(name: &OsStr) -> bool {
    let parts = name.to_str().and_then(|name| name.strip_prefix('t')?.split_once('_'));
    parts.is_some_and(|(backend, rest)| number(backend).is_some() && RelationFile::parse(OsStr::new(rest)).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> Option<(u32, Fork, u32)> {
        RelationFile::parse(OsStr::new(name)).map(|file| (file.number, file.fork, file.segment))
    }

    #[test]
    fn names_of_relations_are_read() {
        assert_eq!(parse("16384"), Some((16384, Fork::Main, 0)));
        assert_eq!(parse("16384.12"), Some((16384, Fork::Main, 12)));
        assert_eq!(parse("16384_fsm"), Some((16384, Fork::FreeSpace, 0)));
        assert_eq!(parse("16384_vm.1"), Some((16384, Fork::Visibility, 1)));
        assert_eq!(parse("16384_init"), Some((16384, Fork::Init, 0)));
        assert_eq!(parse("4294967295"), Some((u32::MAX, Fork::Main, 0)));
    }

    #[test]
    fn other_names_are_not() {
        let others =
            ["", "PG_VERSION", "pg_filenode.map", "16384_", "16384_x", "16384.", "16384.1x", "_fsm", "t3_16384"];
        for name in others.into_iter().chain(["4294967296", "16384.1_fsm", "+1", "16384.1.2"]) {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn temporary_relations_are_told_by_their_name() {
        for name in ["t3_16384", "t12_16384_fsm", "t3_16384.1", "t3_16384_vm.2"] {
            assert!(is_temporary(OsStr::new(name)), "{name}");
        }
        for name in ["16384", "t_16384", "t3_", "t3_x", "tx_16384", "t3"] {
            assert!(!is_temporary(OsStr::new(name)), "{name}");
        }
    }
}
