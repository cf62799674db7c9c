//! PostgreSQL's `backup_manifest`, so that `pg_verifybackup` can judge what was restored, and so that an incremental backup
//! knows the checksums of the files that it did not read.
//!
//! Version 1 of the format, which PostgreSQL 13 to 18 read (`src/backend/backup/backup_manifest.c`). Its readers are
//! strict JSON parsers; the last line is a SHA-256 of all bytes before it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crc_fast::CrcAlgorithm;
use jiff::Timestamp;
use jiff::fmt::strtime;
use ring::digest::{SHA256, digest};
use serde::Deserialize;

use super::report::CopiedFile;
use crate::lsn::Lsn;

/// Its name in the data directory.
pub const MANIFEST_NAME: &str = "backup_manifest";

const TIME: &str = "%Y-%m-%d %H:%M:%S GMT";
const LAST_LINE: &str = "\"Manifest-Checksum\"";

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// Relative to the data directory; in tablespaces `pg_tblspc/<oid>/...`.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last changed; the manifest keeps whole seconds.
    pub modified: Timestamp,
    /// CRC-32C of its bytes.
    pub crc: u32,
}

/// A part of the log that a backup needs to become consistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalRange {
    /// On which timeline.
    pub timeline: u32,
    /// From here.
    pub start: Lsn,
    /// To here.
    pub end: Lsn,
}

/// A manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The files, but for itself and those of `pg_wal`.
    pub files: Vec<ManifestFile>,
    /// The log.
    pub wal: Vec<WalRange>,
}

/// A manifest that cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// No JSON, or not that of a manifest.
    #[error("the backup_manifest cannot be understood: {0}")]
    Json(#[from] serde_json::Error),
    /// Changed since it was written, or cut off.
    #[error("the backup_manifest's own checksum does not hold: it was changed or cut off")]
    Checksum,
    /// Something in it that this program does not write.
    #[error("the backup_manifest says {what} `{value}`, which this program does not know")]
    Unknown {
        /// Of what.
        what: &'static str,
        /// What.
        value: String,
    },
    /// A file was taken over from a parent that does not have it.
    #[error(
        "{} was taken over from the parent backup, whose manifest does not have it with this size and time; \
         take a full backup", .0.display()
    )]
    NotInParent(PathBuf),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    #[serde(rename = "PostgreSQL-Backup-Manifest-Version")]
    version: u32,
    files: Vec<FileLine>,
    #[serde(rename = "WAL-Ranges")]
    wal: Vec<WalLine>,
}

#[derive(Deserialize)]
struct FileLine {
    #[serde(rename = "Path")]
    path: Option<String>,
    #[serde(rename = "Encoded-Path")]
    encoded_path: Option<String>,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Last-Modified")]
    modified: String,
    #[serde(rename = "Checksum-Algorithm")]
    algorithm: Option<String>,
    #[serde(rename = "Checksum")]
    checksum: Option<String>,
}

#[derive(Deserialize)]
struct WalLine {
    #[serde(rename = "Timeline")]
    timeline: u32,
    #[serde(rename = "Start-LSN")]
    start: Lsn,
    #[serde(rename = "End-LSN")]
    end: Lsn,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() && text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        pairs.iter().map(byte).collect()
    } else {
        None
    }
}

impl ManifestFile {
    /// A file with these bytes.
    pub fn of(path: &Path, bytes: &[u8], modified: Timestamp) -> Self {
        let crc = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32;
        ManifestFile { path: path.to_owned(), size: bytes.len() as u64, modified, crc }
    }

    fn write(&self, text: &mut String) {
        let path = match self.path.to_str() {
            Some(path) => format!("\"Path\": {}", serde_json::Value::from(path)),
            None => format!("\"Encoded-Path\": \"{}\"", hex(self.path.as_os_str().as_bytes())),
        };
        // The server writes a CRC as its bytes lie in memory.
        let (size, time, crc) = (self.size, seconds(self.modified), hex(&self.crc.to_le_bytes()));
        let _ = write!(
            text,
            "{{ {path}, \"Size\": {size}, \"Last-Modified\": \"{time}\", \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"{crc}\" }}"
        );
    }
}

fn seconds(time: Timestamp) -> String {
    strtime::format(TIME, time).unwrap_or_default()
}

impl TryFrom<FileLine> for ManifestFile {
    type Error = ManifestError;

    fn try_from(line: FileLine) -> Result<Self, ManifestError> {
        let unknown = |what, value: Option<String>| ManifestError::Unknown { what, value: value.unwrap_or_default() };
        let path = match (line.path, line.encoded_path) {
            (Some(path), None) => PathBuf::from(path),
            (None, Some(encoded)) => match unhex(&encoded) {
                Some(bytes) => PathBuf::from(OsString::from_vec(bytes)),
                None => return Err(unknown("the encoded path", Some(encoded))),
            },
            (path, _) => return Err(unknown("of a file without one path", path)),
        };
        if line.algorithm.as_deref() != Some("CRC32C") {
            return Err(unknown("the checksum algorithm", line.algorithm));
        }
        let crc = line.checksum.as_deref().and_then(unhex).and_then(|bytes| bytes.try_into().ok());
        let crc = crc.map(u32::from_le_bytes).ok_or_else(|| unknown("the checksum", line.checksum))?;
        let modified = strtime::parse(TIME, &line.modified).and_then(|parsed| parsed.to_datetime());
        let modified = modified.and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC));
        let modified = modified.map_err(|_| unknown("the time", Some(line.modified)))?.timestamp();
        Ok(ManifestFile { path, size: line.size, modified, crc })
    }
}

impl Manifest {
    /// The manifest of a backup: the files that were copied, those that were `added` (the control file, the backup label,
    /// the tablespace map), and the log. Checksums of files that were not read come from the `parent`.
    ///
    /// # Errors
    /// A file was not read, and the parent does not have it.
    pub fn build(
        copied: &[CopiedFile],
        added: Vec<ManifestFile>,
        wal: Vec<WalRange>,
        parent: Option<&Manifest>,
    ) -> Result<Self, ManifestError> {
        let known: HashMap<&Path, &ManifestFile> =
            parent.iter().flat_map(|parent| &parent.files).map(|file| (file.path.as_path(), file)).collect();
        let complete = |file: &CopiedFile| {
            let same = |known: &&&ManifestFile| {
                known.size == file.size && known.modified.as_second() == file.modified.as_second()
            };
            let taken_over = || known.get(file.path.as_path()).filter(same).map(|known| known.crc);
            let crc = file.crc.or_else(taken_over).ok_or_else(|| ManifestError::NotInParent(file.path.clone()))?;
            Ok(ManifestFile { path: file.path.clone(), size: file.size, modified: file.modified, crc })
        };
        let mut files = copied.iter().map(complete).collect::<Result<Vec<_>, ManifestError>>()?;
        files.extend(added);
        Ok(Manifest { files, wal })
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::from("{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [");
        for (index, file) in self.files.iter().enumerate() {
            text.push_str(if index == 0 { "\n" } else { ",\n" });
            file.write(&mut text);
        }
        text.push_str("\n],\n\"WAL-Ranges\": [\n");
        for (index, WalRange { timeline, start, end }) in self.wal.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { ",\n" });
            let _ = write!(text, "{{ \"Timeline\": {timeline}, \"Start-LSN\": \"{start}\", \"End-LSN\": \"{end}\" }}");
        }
        text.push_str("\n],\n");
        let sum = hex(digest(&SHA256, text.as_bytes()).as_ref());
        let _ = writeln!(text, "{LAST_LINE}: \"{sum}\"}}");
        text.into_bytes()
    }

    /// Reads a manifest that this program wrote.
    ///
    /// # Errors
    /// It is none, it was changed, or it holds something that this program does not write.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let body_end = bytes.strip_suffix(b"\n").and_then(|line| line.iter().rposition(|byte| *byte == b'\n'));
        let (body, last) = bytes.split_at_checked(body_end.map_or(0, |end| end + 1)).unwrap_or_default();
        let expected = format!("{LAST_LINE}: \"{}\"}}\n", hex(digest(&SHA256, body).as_ref()));
        if last != expected.as_bytes() {
            return Err(ManifestError::Checksum);
        }
        let document: Document = serde_json::from_slice(bytes)?;
        if document.version != 1 {
            return Err(ManifestError::Unknown { what: "its version is", value: document.version.to_string() });
        }
        let wal =
            document.wal.into_iter().map(|line| WalRange { timeline: line.timeline, start: line.start, end: line.end });
        Ok(Manifest {
            files: document.files.into_iter().map(ManifestFile::try_from).collect::<Result<_, _>>()?,
            wal: wal.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn file(path: &str, content: &[u8]) -> ManifestFile {
        ManifestFile::of(Path::new(path), content, "2026-11-23T15:04:05Z".parse().unwrap())
    }

    fn manifest() -> Manifest {
        let odd = PathBuf::from(OsStr::from_bytes(b"log/\xFF"));
        let files = vec![
            file("PG_VERSION", b"15\n"),
            file("base/5/\"quoted\"\u{e9}\n", b""),
            ManifestFile { path: odd, ..file("x", b"123456789") },
        ];
        Manifest { files, wal: vec![WalRange { timeline: 1, start: Lsn(0x0200_0028), end: Lsn(0x1_0000_0000) }] }
    }

    /// The file that a copy of this one would be.
    fn copied(file: &ManifestFile, crc: Option<u32>) -> CopiedFile {
        CopiedFile { path: file.path.clone(), size: file.size, modified: file.modified, crc }
    }

    #[test]
    fn it_reads_back_as_it_was_written() {
        assert_eq!(Manifest::parse(&manifest().to_bytes()).unwrap(), manifest());
        assert_eq!(Manifest::parse(&Manifest::default().to_bytes()).unwrap(), Manifest::default());
    }

    #[test]
    fn it_is_laid_out_as_the_server_does() {
        let text = String::from_utf8(manifest().to_bytes()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..2], ["{ \"PostgreSQL-Backup-Manifest-Version\": 1,", "\"Files\": ["]);
        let odd = "{ \"Encoded-Path\": \"6c6f672fff\", \"Size\": 9, \"Last-Modified\": \"2026-11-23 15:04:05 GMT\", \
            \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"839206e3\" }";
        assert_eq!(lines[4], odd);
        assert_eq!(lines[5..8], ["],", "\"WAL-Ranges\": [", lines[7]]);
        assert_eq!(lines[7], "{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"1/0\" }");
        assert!(lines[9].starts_with("\"Manifest-Checksum\": \"") && lines[9].ends_with("\"}"), "{}", lines[9]);
        assert!(text.ends_with("\"}\n"));
    }

    #[test]
    fn a_changed_or_cut_manifest_is_refused() {
        let bytes = manifest().to_bytes();
        for end in 0..bytes.len() {
            assert!(matches!(Manifest::parse(&bytes[..end]), Err(ManifestError::Checksum)), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Manifest::parse(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn files_that_were_not_read_keep_the_checksum_that_the_parent_knew() {
        let parent = manifest();
        let taken = [copied(&parent.files[0], None), copied(&parent.files[1], Some(7))];
        let built = Manifest::build(&taken, vec![file("backup_label", b"L")], Vec::new(), Some(&parent)).unwrap();
        let crcs: Vec<_> = built.files.iter().map(|file| file.crc).collect();
        assert_eq!(crcs, [parent.files[0].crc, 7, file("backup_label", b"L").crc]);
    }

    #[test]
    fn a_file_that_was_neither_read_nor_in_the_parent_is_an_error() {
        let parent = manifest();
        let alone = [copied(&parent.files[0], None)];
        assert!(matches!(Manifest::build(&alone, vec![], vec![], None), Err(ManifestError::NotInParent(_))));
        let grown = [CopiedFile { size: 4, ..copied(&parent.files[0], None) }];
        assert!(matches!(Manifest::build(&grown, vec![], vec![], Some(&parent)), Err(ManifestError::NotInParent(_))));
        let touched = [CopiedFile { modified: Timestamp::now(), ..copied(&parent.files[0], None) }];
        assert!(matches!(Manifest::build(&touched, vec![], vec![], Some(&parent)), Err(ManifestError::NotInParent(_))));
    }
}
