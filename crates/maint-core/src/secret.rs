//! Secrets, and text that may carry one.
//!
//! A [`Secret`] cannot be printed by accident: a log line, an error or a debug dump of what holds it says `[redacted]`.
//! It comes from the environment or from a file, never from arguments, which every user of the host can read.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use zeroize::{Zeroize as _, Zeroizing};

/// What stands where a secret was.
const REDACTED: &str = "[redacted]";

/// Larger than any key file; a wrong path to something huge must not fill the memory.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Text that is wiped from memory when dropped and never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text itself, to hand it to what needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// A secret could not be had. Never contains it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Two sources, which may differ.
    #[error("both {name} and {name}_FILE are set; unset one")]
    Both {
        /// The environment variable without `_FILE`.
        name: String,
    },
    /// Bytes that are no text.
    #[error("{from} is not valid UTF-8")]
    NotText {
        /// The variable or file.
        from: String,
    },
    /// The file has nothing in it.
    #[error("the secret file {} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Others can read the file.
    #[error("the secret file {0} can be read by others (mode {mode:04o}); run: chmod 0600 {0}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file cannot be read.
    #[error("cannot read the secret file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The secret in the environment variable `name`, or in the file that `name_FILE` names; `None` if neither is set.
pub fn from_env(name: &str) -> Result<Option<Secret>, SecretError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    match (set(name), set(&format!("{name}_FILE"))) {
        (Some(_), Some(_)) => Err(SecretError::Both { name: name.to_owned() }),
        (Some(value), None) => value
            .into_string()
            .map(|text| Some(text.into()))
            .map_err(|_| SecretError::NotText { from: name.to_owned() }),
        (None, Some(path)) => from_file(Path::new(&path)).map(Some),
        (None, None) => Ok(None),
    }
}

/// The secret in a file that only its owner may read, without the line end most editors add.
pub fn from_file(path: &Path) -> Result<Secret, SecretError> {
    let failed = |source| SecretError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file: the path may point elsewhere by now.
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode });
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large for a secret")));
    }
    // Enough room from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 64));
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    let mut text = match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => text,
        Err(error) => {
            error.into_bytes().zeroize();
            return Err(SecretError::NotText { from: path.display().to_string() });
        }
    };
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    if text.is_empty() { Err(SecretError::Empty { path: path.to_owned() }) } else { Ok(text.into()) }
}

/// The text with the password of every URL and every `password=` in it hidden.
///
/// Made for text that could not be parsed as well: where it is unclear how far a password reaches, more is hidden. A
/// `@` that is not encoded (in a password or after it) hides everything up to the last one.
pub fn redact_url(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split("://");
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        out.push_str("://");
        out.push_str(&redact_authority(part));
    }
    redact_assignments(&out, text.contains("://"))
}

/// What follows `://`: `user:password@host:port/...`, perhaps broken.
fn redact_authority(text: &str) -> String {
    if let Some((userinfo, rest)) = text.rsplit_once('@') {
        return match userinfo.split_once(':') {
            Some((user, _)) => format!("{user}:{REDACTED}@{rest}"),
            None => text.to_owned(),
        };
    }
    // Without @ what follows the colon is a port. Anything else is taken for a password that lost its host.
    let host_end = text.strip_prefix('[').and_then(|v6| v6.find(']')).map_or(0, |at| at + 1);
    let Some((host, after)) = text.split_at_checked(host_end) else { return text.to_owned() };
    let Some((name, port)) = after.split_once(':') else { return text.to_owned() };
    if name.contains(['/', '?', '#']) || name.contains(char::is_whitespace) {
        return text.to_owned();
    }
    let digits = port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len());
    let next = port.get(digits..).and_then(|rest| rest.chars().next());
    let is_port = digits > 0 && next.is_none_or(|c| c.is_whitespace() || "/?#,;.:)'\"".contains(c));
    if is_port { text.to_owned() } else { format!("{host}{name}:{REDACTED}") }
}

/// `password=...`, `passwd=...`, `pwd=...` and names that end so, as in a libpq conninfo or the query of a URL.
fn redact_assignments(text: &str, url: bool) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    loop {
        let tail = lower.get(at..).unwrap_or_default();
        let found = ["password", "passwd", "pwd"].iter().filter_map(|key| tail.find(key).map(|i| i + key.len())).min();
        let Some(key_end) = found.map(|end| at + end) else { break };
        out.push_str(text.get(at..key_end).unwrap_or_default());
        at = key_end;
        let rest = text.get(at..).unwrap_or_default();
        let Some(after_sign) = rest.trim_start().strip_prefix('=') else { continue };
        let value = after_sign.trim_start();
        out.push_str(rest.get(..rest.len() - value.len()).unwrap_or_default());
        out.push_str(REDACTED);
        at = text.len() - value.len() + value_length(value, url);
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// How many bytes of `text` are the value it starts with. A quote that is never closed reaches to the end.
fn value_length(text: &str, url: bool) -> usize {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let mut chars = text.char_indices().skip(usize::from(quote.is_some()));
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if let Some(quote) = quote {
            if c == quote {
                return at + c.len_utf8();
            }
        } else if c.is_whitespace() || (url && c == '&') {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::from("hunter2".to_owned());
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "[redacted] [redacted] Some([redacted])");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_private_file_gives_its_content_without_the_line_end() {
        let (_dir, path) = file(b"hunter2\r\n", 0o600);
        assert_eq!(from_file(&path).unwrap().expose(), "hunter2");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_remedy() {
        for mode in [0o644, 0o640, 0o604] {
            let (_dir, path) = file(b"hunter2", mode);
            let error = from_file(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("chmod 0600 {}", path.display())) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_file_without_a_secret_is_an_error() {
        let (_dir, path) = file(b"\n", 0o600);
        assert!(matches!(from_file(&path), Err(SecretError::Empty { .. })));
        let (_dir, path) = file(b"\xff\xfe", 0o600);
        assert!(matches!(from_file(&path), Err(SecretError::NotText { .. })));
        assert!(matches!(from_file(Path::new("/nowhere/at/all")), Err(SecretError::Io { .. })));
    }

    #[test]
    #[ignore = "is the other process of the test below"]
    fn read_the_environment_in_another_process() {
        match from_env("MAINT_TEST_SECRET") {
            Ok(secret) => println!("\ngot {:?}", secret.as_ref().map(Secret::expose)),
            Err(error) => println!("\n{error}"),
        }
    }

    #[test]
    fn the_environment_gives_the_secret_or_the_file_that_has_it() {
        let (_dir, path) = file(b"from file\n", 0o600);
        let path = path.to_str().unwrap();
        for (vars, expected) in [
            (vec![], "got None"),
            (vec![("MAINT_TEST_SECRET", "direct")], "got Some(\"direct\")"),
            (vec![("MAINT_TEST_SECRET_FILE", path)], "got Some(\"from file\")"),
            (vec![("MAINT_TEST_SECRET", "a"), ("MAINT_TEST_SECRET_FILE", path)], "both MAINT_TEST_SECRET and"),
        ] {
            let output = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "secret::tests::read_the_environment_in_another_process", "--nocapture"])
                .envs(vars)
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn what_carries_no_password_is_left_alone() {
        for text in [
            "",
            "postgres://app@db:5432/app?sslmode=require",
            "redis://cache:6379/0",
            "http://[::1]:8080/x",
            "host=db user=app dbname=password_store",
            "connect to redis://cache:6379: refused",
            "http://db/a:b",
        ] {
            assert_eq!(redact_url(text), text);
        }
    }

    #[test]
    fn a_password_is_hidden_wherever_it_stands() {
        for (text, expected) in [
            ("postgres://app:S3CRET@db/app", "postgres://app:[redacted]@db/app"),
            ("redis://:S3CRET@cache:6379", "redis://:[redacted]@cache:6379"),
            ("postgres://db/app?user=a&password=S3CRET&x=1", "postgres://db/app?user=a&password=[redacted]&x=1"),
            ("host=db password=S3CRET user=a", "host=db password=[redacted] user=a"),
            ("host=db PassWord = 'S3C \\' RET' user=a", "host=db PassWord = [redacted] user=a"),
            ("sslpassword=S3CRET&RET passwd=S3CRET", "sslpassword=[redacted] passwd=[redacted]"),
            ("password=S3C\\ RET user=a", "password=[redacted] user=a"),
            ("a://u:S3CRET@h b://v:S3CRET@i", "a://u:[redacted]@h b://v:[redacted]@i"),
        ] {
            assert_eq!(redact_url(text), expected);
        }
    }

    #[test]
    fn a_password_is_hidden_in_text_that_is_malformed() {
        for text in [
            "postgres://app:S3@CRET@db/app",
            "postgres://app:S3/CRET@db/app",
            "postgres://app:S3#RET?CRET@db/app",
            "postgres://app:S3 CRET@db/app",
            "postgres://app:1/S3CRET@db",
            "postgres://app:S3CRET",
            "postgres://app:S3CRET/db",
            "postgres://app:12S3CRET",
            "://:S3CRET@",
            "password='S3CRET user=a",
            "password=\"S3CRET x",
            "password=S3CRET\\",
            "é://é:S3CRET@é password=éS3CRET",
        ] {
            let shown = redact_url(text);
            assert!(!shown.contains("S3") && !shown.contains("RET"), "{text} became {shown}");
        }
    }
}
