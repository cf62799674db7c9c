//! Whose a certificate's files are.
//!
//! Names of users and groups are looked up in `/etc/passwd` and `/etc/group` alone: a directory service may be what the
//! certificate is for. Where it is not enough, numbers are.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use maint_core::failure::Failure;
use rustix::fs::{Gid, Uid, fchown};

use crate::config::CertSpec;

/// A user and a group; `None` leaves what a new file gets by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// The user's number.
    pub user: Option<u32>,
    /// The group's number.
    pub group: Option<u32>,
}

/// Mode and owner of a certificate's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Of the key's file. Everything else is for everybody to read.
    pub key_mode: u32,
    /// Of every file.
    pub owner: Owner,
}

impl Default for Access {
    fn default() -> Self {
        Access { key_mode: 0o600, owner: Owner::default() }
    }
}

impl Access {
    /// As a certificate's description has it.
    ///
    /// # Errors
    /// The mode is none, or opens the key to everybody; there is no such user or group.
    pub fn of(name: &str, spec: &CertSpec) -> Result<Self, Failure> {
        let key_mode = match &spec.key_mode {
            None => 0o600,
            Some(text) => key_mode(text).map_err(|why| Failure::usage(format!("[certs.{name}] key_mode: {why}")))?,
        };
        let number = |key: &str, file: &str, wanted: &Option<String>| match wanted {
            None => Ok(None),
            Some(wanted) => {
                number(&std::fs::read_to_string(file).unwrap_or_default(), wanted).map(Some).ok_or_else(|| {
                    Failure::usage(format!("[certs.{name}] {key}: there is no `{wanted}` in {file}"))
                        .hint("give its number if a directory service knows it")
                })
            }
        };
        let user = number("owner", "/etc/passwd", &spec.owner)?;
        let group = number("group", "/etc/group", &spec.group)?;
        Ok(Access { key_mode, owner: Owner { user, group } })
    }

    /// The mode of one of the files.
    pub(super) fn mode(&self, file: &str) -> u32 {
        if file == "privkey" { self.key_mode } else { 0o644 }
    }
}

fn key_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text.trim_start_matches("0o"), 8).ok().filter(|mode| *mode <= 0o777);
    let mode = mode.ok_or_else(|| format!("`{text}` is no mode: write it in octal, as 0640"))?;
    if mode & 0o007 != 0 {
        return Err(format!("`{text}` would let every user of this host have the private key"));
    }
    if mode & 0o111 != 0 || mode & 0o400 == 0 {
        return Err(format!("`{text}` is no mode for a file that its owner reads"));
    }
    Ok(mode)
}

/// The number of a user or group in the text of passwd(5) or group(5) (name:password:number:...), or the number itself.
pub(crate) fn number(table: &str, wanted: &str) -> Option<u32> {
    let listed = table
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| if fields.next() == Some(wanted) { fields.nth(1)?.parse().ok() } else { None });
    listed.or_else(|| wanted.parse().ok())
}

/// Makes a file that must not be there yet. Its owner and mode are final before the first byte is in it; it is on disk
/// when this returns.
pub(super) fn create(path: &Path, bytes: &[u8], mode: u32, owner: Owner) -> Result<(), Failure> {
    let failed = |step: &str, error: std::io::Error| {
        let failure = Failure::critical(format!("cannot {step} {}: {error}", path.display()));
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            failure.hint("run as root, or as the user who owns the directory")
        } else {
            failure
        }
    };
    let opened = File::options().write(true).create_new(true).mode(mode & 0o600).open(path);
    let mut file = opened.map_err(|error| failed("create", error))?;
    if owner != Owner::default() {
        let (user, group) = (owner.user.map(Uid::from_raw), owner.group.map(Gid::from_raw));
        fchown(&file, user, group).map_err(|error| failed("change the owner of", error.into()))?;
    }
    // After the owner: a change of owner takes bits away.
    file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(|error| failed("set the mode of", error))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| failed("write", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_for_everybody() {
        assert_eq!(key_mode("0640"), Ok(0o640));
        assert_eq!(key_mode("400"), Ok(0o400));
        for bad in ["0644", "604", "0750", "0040", "99", "rw", "", "10640"] {
            assert!(key_mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let table = "root:x:0:0:root:/root:/bin/bash\npostgres:x:105:113::/:/bin/sh\n";
        assert_eq!(number(table, "postgres"), Some(105));
        assert_eq!(number(table, "4711"), Some(4711));
        assert_eq!(number(table, "postgre"), None);
    }

    #[test]
    fn a_file_that_is_there_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("privkey.pem");
        create(&path, b"one", 0o640, Owner::default()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert!(create(&path, b"two", 0o640, Owner::default()).unwrap_err().message.contains("exists"));
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
    }
}
