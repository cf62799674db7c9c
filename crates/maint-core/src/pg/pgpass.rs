//! The password file, read as libpq reads it (`passwordFromFile` in `fe-connect.c`).
//!
//! The driver has a reader of its own. It tries `~/.pgpass` even when `PGPASSFILE` names another file, does not let
//! `localhost` stand for the default socket directory, and takes everything after the fourth colon as the password where
//! libpq stops at the next unescaped colon. A password that works in `psql` has to work here, so this follows libpq.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

/// What a line of the file is matched against.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Host name, address, or socket directory.
    pub host: &'a str,
    /// TCP port, or the number in the socket's file name.
    pub port: u16,
    /// Database name.
    pub database: &'a str,
    /// Role name.
    pub user: &'a str,
}

/// Why a file that exists was not used. libpq warns and goes on without a password; so do we.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Others could read the passwords.
    #[error("password file {0} is readable by its group or by everyone; it is ignored until `chmod 0600 {0}`")]
    Permissions(String),
    /// A directory, socket or device.
    #[error("password file {0} is not a plain file; it is ignored")]
    NotPlain(String),
    /// Present but unreadable.
    #[error("password file {0} cannot be read ({1}); it is ignored")]
    Unreadable(String, io::Error),
}

/// Directories where a server's socket is by default: upstream's and Debian's. For a password, `localhost` covers them.
pub(crate) const DEFAULT_SOCKET_DIRS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// The password for `wanted`, or `None` when the file is missing or has no line for it.
pub fn lookup(path: &Path, wanted: &Wanted<'_>) -> Result<Option<Zeroizing<String>>, Refused> {
    let shown = || path.display().to_string();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Refused::Unreadable(shown(), e)),
    };
    if !metadata.is_file() {
        return Err(Refused::NotPlain(shown()));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(Refused::Permissions(shown()));
    }
    let bytes = Zeroizing::new(fs::read(path).map_err(|e| Refused::Unreadable(shown(), e))?);
    Ok(find(&String::from_utf8_lossy(&bytes), wanted))
}

fn find(text: &str, wanted: &Wanted<'_>) -> Option<Zeroizing<String>> {
    let host = if DEFAULT_SOCKET_DIRS.contains(&wanted.host) { "localhost" } else { wanted.host };
    let port = wanted.port.to_string();
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let rest =
            [host, &port, wanted.database, wanted.user].iter().try_fold(line, |rest, want| matches(rest, want))?;
        Some(unescape(rest))
    })
}

/// What follows the field's colon when the first field of `line` is `*` or, unescaped, is `want`.
fn matches<'a>(line: &'a str, want: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let mut want = want.chars();
    let mut field = line.chars();
    loop {
        match field.next()? {
            ':' => return want.next().is_none().then_some(field.as_str()),
            '\\' => {
                if field.next()? != want.next()? {
                    return None;
                }
            }
            c => {
                if c != want.next()? {
                    return None;
                }
            }
        }
    }
}

fn unescape(field: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(field.len()));
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        match c {
            ':' => break,
            '\\' => out.push(chars.next().unwrap_or('\\')),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted<'_> = Wanted { host: "db.example", port: 5432, database: "app", user: "me" };

    fn password(text: &str, wanted: &Wanted<'_>) -> Option<String> {
        find(text, wanted).map(|p| p.to_string())
    }

    #[test]
    fn the_first_line_that_matches_wins() {
        let text = "# comment\ndb.example:5433:app:me:wrong port\n*:*:app:me:first\ndb.example:5432:app:me:second\n";
        assert_eq!(password(text, &WANTED).as_deref(), Some("first"));
    }

    #[test]
    fn escapes_work_in_fields_and_in_the_password() {
        let wanted = Wanted { host: "::1", database: r"a\b", ..WANTED };
        assert_eq!(password(r"\:\:1:5432:a\\b:me:pw\:with\\all", &wanted).as_deref(), Some(r"pw:with\all"));
    }

    #[test]
    fn the_password_ends_at_an_unescaped_colon() {
        assert_eq!(password("*:*:*:*:secret:comment", &WANTED).as_deref(), Some("secret"));
    }

    #[test]
    fn a_windows_line_end_is_not_part_of_the_password() {
        assert_eq!(password("*:*:*:*:secret\r\n", &WANTED).as_deref(), Some("secret"));
    }

    #[test]
    fn a_field_that_is_a_prefix_or_longer_does_not_match() {
        for line in ["db:5432:app:me:x", "db.example.com:5432:app:me:x", "*x:5432:app:me:x", "db.example", ""] {
            assert_eq!(password(line, &WANTED), None, "{line}");
        }
    }

    #[test]
    fn localhost_covers_the_default_socket_directory_only() {
        let text = "localhost:*:*:*:secret";
        assert!(password(text, &Wanted { host: "/var/run/postgresql", ..WANTED }).is_some());
        assert!(password(text, &Wanted { host: "/srv/pg", ..WANTED }).is_none());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_and_a_missing_one_is_not_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pgpass");
        assert!(lookup(&path, &WANTED).unwrap().is_none());
        fs::write(&path, "*:*:*:*:secret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(lookup(&path, &WANTED), Err(Refused::Permissions(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(lookup(&path, &WANTED).unwrap().unwrap().as_str(), "secret");
        assert!(matches!(lookup(dir.path(), &WANTED), Err(Refused::NotPlain(_))));
    }
}
