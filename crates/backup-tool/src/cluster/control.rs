//! The control file of a cluster, `global/pg_control`: who it is, how far it got, and what a server needs to run it.
//!
//! The layout is that of `ControlFileData` in `src/include/catalog/pg_control.h`, as a 64-bit little-endian machine lays it
//! out. Up to `data_checksum_version` it is the same in PostgreSQL 13 to 18; 18 has one flag more after that, so its
//! checksum lies four bytes further on.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crc_fast::CrcAlgorithm;

use super::page::PAGE_BYTES;
use crate::backup::RequiredSettings;
use crate::lsn::Lsn;

/// Where it is, relative to the data directory.
pub const CONTROL_PATH: &str = "global/pg_control";

/// Its size in bytes.
pub const CONTROL_BYTES: usize = 8192;

/// A server may be writing while we read: so often we read again until the checksum holds, with a pause between.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// What the cluster was doing when the file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Being created, or starting.
    Starting,
    /// Stopped in order.
    ShutDown,
    /// Stopped in order while it replayed the log: a standby.
    ShutDownInRecovery,
    /// Stopping.
    ShuttingDown,
    /// Replaying the log after a crash.
    CrashRecovery,
    /// Replaying the log from an archive or a primary.
    ArchiveRecovery,
    /// Running.
    InProduction,
}

impl State {
    /// Its name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Starting => "starting up",
            State::ShutDown => "shut down",
            State::ShutDownInRecovery => "shut down in recovery",
            State::ShuttingDown => "shutting down",
            State::CrashRecovery => "in crash recovery",
            State::ArchiveRecovery => "in archive recovery",
            State::InProduction => "in production",
        }
    }

    fn numbered(number: u32) -> Option<Self> {
        Some(match number {
            0 => State::Starting,
            1 => State::ShutDown,
            2 => State::ShutDownInRecovery,
            3 => State::ShuttingDown,
            4 => State::CrashRecovery,
            5 => State::ArchiveRecovery,
            6 => State::InProduction,
            _ => return None,
        })
    }
}

/// The fields of a control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The cluster's identity.
    pub system_identifier: u64,
    /// Version of the file's format: 1300 (PostgreSQL 13 to 16), 1700 or 1800.
    pub version: u32,
    /// Version of the system catalogs.
    pub catalog_version: u32,
    /// What the cluster was doing.
    pub state: State,
    /// Position of the last checkpoint's record.
    pub checkpoint: Lsn,
    /// Where replay from that checkpoint begins.
    pub redo: Lsn,
    /// The timeline of that checkpoint.
    pub timeline: u32,
    /// A standby is not consistent before it has replayed up to here; 0 on a primary.
    pub min_recovery_point: Lsn,
    /// The timeline of that position.
    pub min_recovery_timeline: u32,
    /// How many pages a segment of a relation has.
    pub segment_pages: u32,
    /// Size of a page of the log in bytes.
    pub wal_page_bytes: u32,
    /// Size of a segment of the log in bytes.
    pub wal_segment_bytes: u64,
    /// Version of the checksums of pages; 0 means that they have none.
    pub checksum_version: u32,
    /// What a server must allow at least to replay this cluster's log.
    pub required: RequiredSettings,
}

/// A control file: what it says, and its bytes.
#[derive(Debug, Clone)]
pub struct ControlFile {
    /// Its fields.
    pub control: Control,
    /// All of it ([`CONTROL_BYTES`]), of one moment.
    pub bytes: Vec<u8>,
}

/// Why bytes are no control file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlFault {
    /// It ends too early.
    #[error("it has {0} bytes instead of {CONTROL_BYTES}")]
    Short(usize),
    /// Of a server this program does not know.
    #[error(
        "its format is number {0}; known are those of PostgreSQL 13 to 18 on 64-bit little-endian machines \
         (1300, 1700 and 1800)"
    )]
    Version(u32),
    /// Damaged, or being written.
    #[error("its checksum does not hold: it is damaged")]
    Checksum,
    /// A field cannot be.
    #[error("its field `{field}` is {value}, which cannot be")]
    Field {
        /// Which.
        field: &'static str,
        /// What it says.
        value: u32,
    },
    /// The server was built with another page size.
    #[error("the server was built with pages of {0} bytes; only {PAGE_BYTES} are supported")]
    PageSize(u32),
}

/// A control file that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The system said no.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no control file, or not whole.
    #[error("{} cannot be used: {fault}", path.display())]
    Fault {
        /// The file.
        path: PathBuf,
        /// Why.
        fault: ControlFault,
    },
}

impl Control {
    /// Reads a control file's bytes.
    ///
    /// # Errors
    /// They are not those of a whole control file of a known version.
    pub fn parse(bytes: &[u8]) -> Result<Self, ControlFault> {
        let short = || ControlFault::Short(bytes.len());
        let four = |at: usize| {
            let field = bytes.get(at..at + 4).and_then(|field| field.try_into().ok());
            field.map(u32::from_le_bytes).ok_or_else(short)
        };
        let eight = |at: usize| Ok::<u64, ControlFault>(u64::from(four(at + 4)?) << 32 | u64::from(four(at)?));

        let version = four(8)?;
        let crc_at = match version {
            1300 | 1700 => 288,
            1800 => 292,
            _ => return Err(ControlFault::Version(version)),
        };
        let covered = bytes.get(..crc_at).ok_or_else(short)?;
        if crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, covered) != u64::from(four(crc_at)?) {
            return Err(ControlFault::Checksum);
        }
        if bytes.len() != CONTROL_BYTES {
            return Err(short());
        }
        if four(216)? as usize != PAGE_BYTES {
            return Err(ControlFault::PageSize(four(216)?));
        }
        let wal_segment_bytes = four(228)?;
        if !wal_segment_bytes.is_power_of_two() || !(1 << 20..=1 << 30).contains(&wal_segment_bytes) {
            return Err(ControlFault::Field { field: "xlog_seg_size", value: wal_segment_bytes });
        }
        let state = four(16)?;
        Ok(Control {
            system_identifier: eight(0)?,
            version,
            catalog_version: four(12)?,
            state: State::numbered(state).ok_or(ControlFault::Field { field: "state", value: state })?,
            checkpoint: Lsn(eight(32)?),
            redo: Lsn(eight(40)?),
            timeline: four(48)?,
            min_recovery_point: Lsn(eight(136)?),
            min_recovery_timeline: four(144)?,
            segment_pages: four(220)?,
            wal_page_bytes: four(224)?,
            wal_segment_bytes: u64::from(wal_segment_bytes),
            checksum_version: four(252)?,
            required: RequiredSettings {
                max_connections: four(180)?,
                max_worker_processes: four(184)?,
                max_wal_senders: four(188)?,
                max_prepared_transactions: four(192)?,
                max_locks_per_transaction: four(196)?,
            },
        })
    }

    /// Whether pages of relations carry checksums.
    pub fn data_checksums(&self) -> bool {
        self.checksum_version != 0
    }

    /// The directory inside of a tablespace that belongs to this cluster's server, whose major version is `major`.
    pub fn version_directory(&self, major: i32) -> String {
        format!("PG_{major}_{}", self.catalog_version)
    }
}

impl ControlFile {
    /// Reads the control file of the cluster in `pgdata`, again and again for a moment when a server is just writing it.
    ///
    /// # Errors
    /// It cannot be read, or it is not a whole control file of a known version.
    pub fn read(pgdata: &Path) -> Result<Self, ControlError> {
        let path = pgdata.join(CONTROL_PATH);
        let read = || {
            let mut bytes = Vec::with_capacity(CONTROL_BYTES);
            File::open(&path)?.take(CONTROL_BYTES as u64 + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match whole(read) {
            Ok(Ok(file)) => Ok(file),
            Ok(Err(fault)) => Err(ControlError::Fault { path, fault }),
            Err(source) => Err(ControlError::Io { path, source }),
        }
    }
}

/// Reads until the bytes are those of a whole control file, or the tries are used up.
fn whole(mut read: impl FnMut() -> io::Result<Vec<u8>>) -> io::Result<Result<ControlFile, ControlFault>> {
    let mut tries = 1;
    loop {
        let bytes = read()?;
        match Control::parse(&bytes) {
            Ok(control) => return Ok(Ok(ControlFile { control, bytes })),
            Err(_) if tries < TRIES => sleep(PAUSE),
            Err(fault) => return Ok(Err(fault)),
        }
        tries += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The beginning of the control file of a running PostgreSQL 15; the rest is zeros.
    const FIXTURE: &[u8] = include_bytes!("fixtures/pg_control-15.bin");

    fn fixture() -> Vec<u8> {
        let mut bytes = FIXTURE.to_vec();
        bytes.resize(CONTROL_BYTES, 0);
        bytes
    }

    /// The same with a field changed, and the checksum put right at `crc_at`.
    fn with(at: usize, value: u32, crc_at: usize) -> Vec<u8> {
        let mut bytes = fixture();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let crc = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, &bytes[..crc_at]) as u32;
        bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn fields_are_those_that_pg_controldata_shows() {
        let control = Control::parse(&fixture()).unwrap();
        let expected = Control {
            system_identifier: 7_711_395_434_255_880_673,
            version: 1300,
            catalog_version: 202_209_061,
            state: State::InProduction,
            checkpoint: Lsn(0x479F_8658),
            redo: Lsn(0x479F_8620),
            timeline: 1,
            min_recovery_point: Lsn(0),
            min_recovery_timeline: 0,
            segment_pages: 131_072,
            wal_page_bytes: 8192,
            wal_segment_bytes: 16 << 20,
            checksum_version: 1,
            required: RequiredSettings {
                max_connections: 57,
                max_worker_processes: 8,
                max_wal_senders: 10,
                max_prepared_transactions: 0,
                max_locks_per_transaction: 71,
            },
        };
        assert_eq!(control, expected);
        assert_eq!(control.version_directory(15), "PG_15_202209061");
    }

    #[test]
    fn later_formats_have_the_same_fields_and_their_checksum_where_they_keep_it() {
        for (version, crc_at) in [(1700, 288), (1800, 292)] {
            let control = Control::parse(&with(8, version, crc_at)).unwrap();
            assert_eq!((control.version, control.required.max_locks_per_transaction), (version, 71));
        }
        assert_eq!(Control::parse(&with(8, 1800, 288)), Err(ControlFault::Checksum));
        assert_eq!(Control::parse(&with(8, 1201, 288)), Err(ControlFault::Version(1201)));
    }

    #[test]
    fn what_is_no_whole_control_file_is_refused() {
        assert_eq!(Control::parse(b""), Err(ControlFault::Short(0)));
        assert_eq!(Control::parse(FIXTURE), Err(ControlFault::Short(512)));
        for at in [0, 40, 100, 255, 287, 288, 291] {
            let mut bytes = fixture();
            bytes[at] ^= 1;
            assert_eq!(Control::parse(&bytes), Err(ControlFault::Checksum), "byte {at}");
        }
    }

    #[test]
    fn fields_that_cannot_be_are_refused() {
        assert_eq!(Control::parse(&with(216, 4096, 288)), Err(ControlFault::PageSize(4096)));
        let state = ControlFault::Field { field: "state", value: 7 };
        assert_eq!(Control::parse(&with(16, 7, 288)), Err(state));
        let size = ControlFault::Field { field: "xlog_seg_size", value: 3 << 20 };
        assert_eq!(Control::parse(&with(228, 3 << 20, 288)), Err(size));
    }

    #[test]
    fn a_torn_file_is_read_again_until_it_is_whole() {
        let mut torn = fixture();
        torn[40] ^= 1;
        let mut reads = vec![fixture(), torn.clone(), b"".to_vec(), torn.clone()];
        assert_eq!(whole(|| Ok(reads.pop().unwrap())).unwrap().unwrap().bytes, fixture());
        assert!(reads.is_empty());
        assert_eq!(whole(|| Ok(torn.clone())).unwrap().unwrap_err(), ControlFault::Checksum);
    }

    #[test]
    fn a_file_on_disk_is_read() {
        let pgdata = tempfile::tempdir().unwrap();
        fs::create_dir(pgdata.path().join("global")).unwrap();
        fs::write(pgdata.path().join(CONTROL_PATH), fixture()).unwrap();
        assert_eq!(ControlFile::read(pgdata.path()).unwrap().bytes, fixture());
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let pgdata = tempfile::tempdir().unwrap();
        let error = ControlFile::read(pgdata.path()).unwrap_err().to_string();
        assert!(error.contains("global/pg_control"), "{error}");
    }
}
