//! What each directory of a cluster is to its server, and by that, what of it belongs into a backup.
//!
//! What is left out follows PostgreSQL's own `pg_basebackup` (`excludeFiles` and `excludeDirContents` in `basebackup.c`):
//! what a server recreates at its start, what belongs to the running server, and what no recovery could use.

use std::collections::HashSet;
use std::ffi::OsStr;

use super::relation::{Fork, RelationFile, is_temporary};

/// Directories in the data directory whose contents a server recreates at its start.
const EMPTIED: [&str; 7] =
    ["pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"];

/// Directories in the data directory where a server removes files while it runs.
const CHANGING: [&str; 6] = ["pg_commit_ts", "pg_logical", "pg_multixact", "pg_stat", "pg_twophase", "pg_xact"];

/// Files in the data directory that belong to the running server, or to another backup.
const RUNNING: [&str; 5] =
    ["current_logfiles", "current_logfiles.tmp", "postgresql.auto.conf.tmp", "postmaster.opts", "postmaster.pid"];

/// The same, with whatever follows.
const OTHER_BACKUP: [&str; 3] = ["backup_label", "backup_manifest", "tablespace_map"];

/// What a directory is to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    /// The data directory.
    Data,
    /// `base`.
    Base,
    /// `global`.
    Global,
    /// The directory of a database.
    Database,
    /// `pg_tblspc`.
    Links,
    /// The top of our tree of tablespaces: its names are links, and are followed.
    Tablespaces,
    /// A tablespace; of interest is only this server's directory in it.
    Tablespace,
    /// This server's directory in a tablespace.
    Version,
    /// `pg_wal`.
    Wal,
    /// Stored empty.
    Emptied,
    /// Another directory in which a server removes files.
    Changing,
    /// Whatever else somebody put there.
    Other,
}

pub(super) fn is_number(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit)
}

fn begins(name: &OsStr, prefix: &str) -> bool {
    name.as_encoded_bytes().starts_with(prefix.as_bytes())
}

impl Area {
    /// What the directory `name` in this one is.
    pub(super) fn child(self, name: &OsStr) -> Area {
        let text = name.to_str().unwrap_or_default();
        match self {
            Area::Data => match text {
                "base" => Area::Base,
                "global" => Area::Global,
                "pg_tblspc" => Area::Links,
                "pg_wal" => Area::Wal,
                _ if EMPTIED.contains(&text) => Area::Emptied,
                _ if CHANGING.contains(&text) => Area::Changing,
                _ => Area::Other,
            },
            Area::Base | Area::Version if is_number(name) => Area::Database,
            Area::Links if is_number(name) => Area::Tablespace,
            Area::Tablespaces => Area::Tablespace,
            Area::Tablespace => Area::Version,
            Area::Wal | Area::Emptied => Area::Emptied,
            Area::Other => Area::Other,
            _ => Area::Changing,
        }
    }

    /// Whether `name` in this directory is left out. `unlogged` are the relations of this directory that have an
    /// initialisation fork: recovery makes their other forks from it.
    pub(super) fn leaves_out(self, name: &OsStr, unlogged: &HashSet<u32>) -> bool {
        let any = |names: &[&str]| names.iter().any(|known| *known == name);
        if self != Area::Other && (begins(name, "pgsql_tmp") || begins(name, "pg_internal.init")) {
            return true;
        }
        match self {
            Area::Data => any(&RUNNING) || OTHER_BACKUP.iter().any(|prefix| begins(name, prefix)),
            Area::Global => any(&["pg_control"]),
            Area::Wal => !any(&["archive_status", "summaries"]),
            Area::Database => {
                let reset = |file: RelationFile| file.fork != Fork::Init && unlogged.contains(&file.number);
                is_temporary(name) || RelationFile::parse(name).is_some_and(reset)
            }
            _ => false,
        }
    }

    /// Whether a server cannot start without `name` in this directory, so that it is never removed.
    pub(super) fn needs(self, name: &OsStr) -> bool {
        self == Area::Data && ["PG_", "base", "global", "pg_"].iter().any(|prefix| begins(name, prefix))
    }

    /// Whether what is removed here is removed by others than the server.
    pub(super) fn is_foreign(self) -> bool {
        matches!(self, Area::Data | Area::Other | Area::Wal)
    }

    /// Whether files with the name of a relation's are one here.
    pub(super) fn holds_relations(self) -> bool {
        matches!(self, Area::Global | Area::Database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(area: Area, name: &str) -> bool {
        area.leaves_out(OsStr::new(name), &HashSet::from([16384]))
    }

    #[test]
    fn what_belongs_to_the_running_server_or_another_backup_is_left_out() {
        for name in ["postmaster.pid", "postmaster.opts", "current_logfiles", "postgresql.auto.conf.tmp"] {
            assert!(left_out(Area::Data, name), "{name}");
        }
        for name in ["backup_label", "backup_label.old", "tablespace_map", "backup_manifest", "pgsql_tmp"] {
            assert!(left_out(Area::Data, name), "{name}");
        }
        for name in ["PG_VERSION", "postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_wal", "pg_notify"] {
            assert!(!left_out(Area::Data, name), "{name}");
        }
    }

    #[test]
    fn the_control_file_and_caches_of_the_catalog_are_left_out() {
        assert!(left_out(Area::Global, "pg_control"));
        assert!(left_out(Area::Global, "pg_internal.init"));
        assert!(left_out(Area::Database, "pg_internal.init.4711"));
        assert!(!left_out(Area::Global, "pg_filenode.map"));
        assert!(!left_out(Area::Other, "pg_control"));
    }

    #[test]
    fn temporary_files_and_relations_are_left_out() {
        assert!(left_out(Area::Base, "pgsql_tmp"));
        assert!(left_out(Area::Version, "pgsql_tmp"));
        assert!(left_out(Area::Database, "t3_16399_fsm"));
        assert!(!left_out(Area::Other, "pgsql_tmp"));
        assert!(!left_out(Area::Other, "t3_16399"));
    }

    #[test]
    fn of_an_unlogged_relation_only_the_initialisation_fork_is_kept() {
        for name in ["16384", "16384.1", "16384_fsm", "16384_vm"] {
            assert!(left_out(Area::Database, name), "{name}");
        }
        for name in ["16384_init", "16385", "16385_fsm"] {
            assert!(!left_out(Area::Database, name), "{name}");
        }
    }

    #[test]
    fn of_the_log_only_empty_directories_are_kept() {
        assert!(left_out(Area::Wal, "000000010000000000000001"));
        assert!(!left_out(Area::Wal, "archive_status"));
        assert_eq!(Area::Wal.child(OsStr::new("archive_status")), Area::Emptied);
    }

    #[test]
    fn directories_are_told_by_where_they_are() {
        let child = |area: Area, name: &str| area.child(OsStr::new(name));
        assert_eq!(child(Area::Data, "base"), Area::Base);
        assert_eq!(child(Area::Base, "5"), Area::Database);
        assert_eq!(child(Area::Data, "pg_replslot"), Area::Emptied);
        assert_eq!(child(Area::Data, "pg_logical"), Area::Changing);
        assert_eq!(child(Area::Changing, "snapshots"), Area::Changing);
        assert_eq!(child(Area::Data, "log"), Area::Other);
        assert_eq!(child(Area::Other, "base"), Area::Other);
        assert_eq!(child(Area::Tablespaces, "16400"), Area::Tablespace);
        assert_eq!(child(Area::Tablespace, "PG_15_202209061"), Area::Version);
        assert_eq!(child(Area::Version, "5"), Area::Database);
    }
}
