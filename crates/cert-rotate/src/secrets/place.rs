//! Destinations: what is there, and putting something there.
//!
//! A file is written beside the old one, complete with its owner, mode and content on disk, before it takes the old one's
//! place by a rename. The two halves are apart ([`stage`], `Staged::commit`), so that a server can be told in between
//! and the moment in which it and the files disagree is as short as a rename. Variables that go to the same env file
//! change in one rename.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use maint_core::failure::Failure;
use maint_core::fault::point;
use rustix::fs::{Gid, OFlags, Uid, fchown};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::env_file;
use super::spec::{Destination, Form, Place, Recipe, Wish};
use super::value::Value;

/// Larger than any file of secrets; a wrong path to something huge must not fill the memory.
const MAX_BYTES: u64 = 1 << 20;

/// A file as it is.
#[derive(Debug)]
struct Whole {
    bytes: Zeroizing<Vec<u8>>,
    facts: Facts,
}

/// Whose a file is and how old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Permission bits.
    pub mode: u32,
    /// The user's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
    /// When its content changed last.
    pub modified: Timestamp,
}

/// What a destination has.
#[derive(Debug)]
pub struct Found {
    /// The value; none if the file or the variable is not there, or empty.
    pub value: Option<Value>,
    /// Of the file, if it is there.
    pub facts: Option<Facts>,
}

/// Looks at a destination.
///
/// # Errors
/// It is no plain file, cannot be read, or not be understood.
pub fn look(destination: &Destination, recipe: &Recipe) -> Result<Found, Failure> {
    let Some(whole) = read(destination.place.path())? else { return Ok(Found { value: None, facts: None }) };
    let value = match &destination.place {
        Place::Env { path, key } => env_file::get(&whole.bytes, key)
            .map_err(|error| Failure::critical(format!("{}: {error}", path.display())))?
            .map(|bytes| Value::of(&bytes)),
        _ if destination.form == Form::Value && matches!(recipe, Recipe::Random(_)) => Some(Value::of(&whole.bytes)),
        _ => Some(Value::of(without_end(&whole.bytes))),
    };
    Ok(Found { value: value.filter(|value| !value.expose().is_empty()), facts: Some(whole.facts) })
}

/// The text without the ends of line after it.
fn without_end(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rev().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
    bytes.get(..bytes.len() - end).unwrap_or_default()
}

/// The file; `None` if there is none.
fn read(path: &Path) -> Result<Option<Whole>, Failure> {
    let shown = path.display();
    let failed = |error: std::io::Error| Failure::critical(format!("cannot read {shown}: {error}"));
    // Whoever may make links beside a file must not make us read, and replace, another one.
    let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits();
    let opened = File::options().read(true).custom_flags(flags as i32).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(Failure::usage(format!("{shown} is a symbolic link"))
                .hint("name the file itself: a link would be replaced, and its target keep the old secret"));
        }
        Err(error) => return Err(failed(error)),
    };
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(Failure::usage(format!("{shown} is no file")));
    }
    if meta.len() > MAX_BYTES {
        return Err(Failure::usage(format!("{shown} is too large for a file of secrets")));
    }
    // Room enough from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(meta.len() as usize + 64));
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    let modified =
        meta.modified().ok().and_then(|time| Timestamp::try_from(time).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    let facts = Facts { mode: meta.mode() & 0o7777, user: meta.uid(), group: meta.gid(), modified };
    Ok(Some(Whole { bytes, facts }))
}

/// A file that is ready to take its place.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    file: NamedTempFile,
    before: Option<Zeroizing<Vec<u8>>>,
}

/// Writes what is to be at some destinations beside what is there.
///
/// # Errors
/// A value does not fit its place, or a file cannot be written. Nothing has changed then.
pub fn stage(edits: &[(&Destination, &Value)], recipe: &Recipe) -> Result<Vec<Staged>, Failure> {
    let mut paths: Vec<&Path> = Vec::new();
    for (destination, _) in edits {
        let path = destination.place.path();
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    let of = |path: &Path| {
        let here = edits.iter().filter(|(destination, _)| destination.place.path() == path);
        let before = read(path)?;
        let mut bytes = Zeroizing::new(before.as_ref().map_or_else(Vec::new, |whole| whole.bytes.to_vec()));
        let mut access = (Wish::default(), 0o600);
        for (destination, value) in here {
            access = (destination.wish, if destination.form == Form::Jwks { 0o644 } else { 0o600 });
            bytes = match &destination.place {
                Place::Env { key, .. } => env_file::set(&bytes, key, value.expose())
                    .map_err(|error| Failure::usage(format!("{}: {error}", destination.place)))?,
                place => content(place, destination.form, recipe, value),
            };
        }
        let facts = before.as_ref().map(|whole| whole.facts);
        let file = beside(path, &bytes, access.0, access.1, facts)?;
        Ok(Staged { path: path.to_owned(), file, before: before.map(|whole| whole.bytes) })
    };
    let staged = paths.into_iter().map(of).collect::<Result<Vec<_>, Failure>>()?;
    point("secret-staged");
    Ok(staged)
}

/// What a file of its own has in it. PEM ends with a line end wherever it is.
fn content(place: &Place, form: Form, recipe: &Recipe, value: &Value) -> Zeroizing<Vec<u8>> {
    let raw = form == Form::Value && matches!(recipe, Recipe::Random(_));
    let pem = matches!(recipe, Recipe::Jwt(_));
    let mut bytes = Zeroizing::new(Vec::with_capacity(value.expose().len() + 1));
    bytes.extend_from_slice(value.expose());
    if !raw && (pem || !matches!(place, Place::DockerSecret(_))) {
        bytes.push(b'\n');
    }
    bytes
}

/// A temporary file in the same directory. Nobody else may read it from the moment it exists; its owner and mode are final
/// before the first byte is in it.
///
/// What nobody asked for stays as it is with a file that is there, but for the rights of others.
fn beside(path: &Path, bytes: &[u8], wish: Wish, usual: u32, facts: Option<Facts>) -> Result<NamedTempFile, Failure> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let failed = |step: &str, error: std::io::Error| {
        let failure = Failure::critical(format!("cannot {step} {}: {error}", path.display()));
        match error.kind() {
            ErrorKind::NotFound => failure.hint(format!("make the directory {}", directory.display())),
            ErrorKind::PermissionDenied => failure.hint("run as root, or as the user who owns the directory"),
            _ => failure,
        }
    };
    let made = tempfile::Builder::new()
        .prefix(&prefix(path))
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory);
    let mut file = made.map_err(|error| failed("write beside", error))?;
    let mine = file.as_file().metadata().map_err(|error| failed("write beside", error))?;
    let user = wish.user.or(facts.map(|facts| facts.user)).filter(|user| *user != mine.uid());
    let group = wish.group.or(facts.map(|facts| facts.group)).filter(|group| *group != mine.gid());
    if user.is_some() || group.is_some() {
        fchown(file.as_file(), user.map(Uid::from_raw), group.map(Gid::from_raw))
            .map_err(|error| failed("set the owner of", error.into()))?;
    }
    let public = usual & 0o004;
    let kept = facts.map(|facts| facts.mode & (0o660 | public) | 0o400);
    let mode = wish.mode.or(kept).unwrap_or(usual);
    // After the owner: a change of owner takes bits away.
    let file_mode = Permissions::from_mode(mode);
    file.as_file().set_permissions(file_mode).map_err(|error| failed("set the mode of", error))?;
    file.write_all(bytes).map_err(|error| failed("write", error))?;
    file.as_file().sync_all().map_err(|error| failed("write", error))?;
    Ok(file)
}

fn prefix(path: &Path) -> std::ffi::OsString {
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".new-");
    prefix
}

impl Staged {
    /// Puts the file into its place, for good.
    ///
    /// # Errors
    /// Somebody changed the file meanwhile, or it cannot be replaced.
    fn commit(self) -> Result<(), Failure> {
        let shown = self.path.display();
        let now = read(&self.path)?.map(|whole| whole.bytes);
        if now != self.before {
            return Err(Failure::critical(format!("{shown} was changed by somebody else meanwhile; it is left so"))
                .hint("run again"));
        }
        let failed = |error: std::io::Error| Failure::critical(format!("cannot replace {shown}: {error}"));
        match self.before {
            Some(_) => drop(self.file.persist(&self.path).map_err(|error| failed(error.error))?),
            None => drop(self.file.persist_noclobber(&self.path).map_err(|error| failed(error.error))?),
        }
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        point("secret-placed");
        Ok(())
    }
}

/// Puts all files into their places.
///
/// # Errors
/// As `Staged::commit`; the files before the one that failed are new, the rest are as they were.
pub fn commit(staged: Vec<Staged>) -> Result<(), Failure> {
    staged.into_iter().try_for_each(Staged::commit)
}

/// Removes what a run that was killed left beside a file: it can hold a secret. Only while no other run can be
/// writing.
///
/// # Errors
/// It cannot be removed.
pub fn sweep(path: &Path) -> Result<(), Failure> {
    let Some(directory) = path.parent() else { return Ok(()) };
    let prefix = prefix(path);
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let rest = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        // As the library that makes such names has it: six letters or digits.
        let ours = rest.is_some_and(|rest| rest.len() == 6 && rest.iter().all(u8::is_ascii_alphanumeric));
        if ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            std::fs::remove_file(entry.path()).map_err(|error| {
                Failure::critical(format!(
                    "cannot remove {}, which an earlier run left: {error}",
                    entry.path().display()
                ))
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: PathBuf, key: Option<&str>) -> Destination {
        let place = match key {
            Some(key) => Place::Env { path, key: key.to_owned() },
            None => Place::File(path),
        };
        Destination { place, form: Form::Value, wish: Wish::default() }
    }

    fn put(edits: &[(&Destination, &Value)]) -> Result<(), Failure> {
        commit(stage(edits, &Recipe::Uuid)?)
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_put_is_found_and_nobody_else_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (place(dir.path().join("one"), None), place(dir.path().join("two"), Some("KEY")));
        let value = Value::of(b"value");
        put(&[(&one, &value), (&two, &value)]).unwrap();
        assert_eq!(std::fs::read(dir.path().join("one")).unwrap(), b"value\n");
        assert_eq!(std::fs::read(dir.path().join("two")).unwrap(), b"KEY=value\n");
        for destination in [&one, &two] {
            let found = look(destination, &Recipe::Uuid).unwrap();
            assert!(found.value == Some(Value::of(b"value")));
            assert_eq!(found.facts.unwrap().mode, 0o600);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn random_bytes_and_docker_secrets_have_no_end_of_line() {
        let dir = tempfile::tempdir().unwrap();
        let raw = place(dir.path().join("raw"), None);
        let value = Value::of(b"\nab\n");
        commit(stage(&[(&raw, &value)], &Recipe::Random(4)).unwrap()).unwrap();
        assert_eq!(std::fs::read(raw.place.path()).unwrap(), b"\nab\n");
        assert!(look(&raw, &Recipe::Random(4)).unwrap().value == Some(value));
        let docker = Destination { place: Place::DockerSecret(dir.path().join("docker")), ..raw };
        put(&[(&docker, &Value::of(b"x"))]).unwrap();
        assert_eq!(std::fs::read(docker.place.path()).unwrap(), b"x");
    }

    #[test]
    fn a_file_that_is_there_keeps_its_mode_but_for_others() {
        let dir = tempfile::tempdir().unwrap();
        let mut env = place(dir.path().join("env"), Some("KEY"));
        std::fs::write(env.place.path(), "OTHER=1\n").unwrap();
        for (before, wish, after) in [(0o644, None, 0o640), (0o400, None, 0o400), (0o600, Some(0o640), 0o640)] {
            std::fs::set_permissions(env.place.path(), Permissions::from_mode(before)).unwrap();
            env.wish.mode = wish;
            put(&[(&env, &Value::of(b"x"))]).unwrap();
            assert_eq!(mode(env.place.path()), after, "{before:o}");
        }
    }

    #[test]
    fn two_variables_of_one_file_change_together() {
        let dir = tempfile::tempdir().unwrap();
        let (user, password) = (place(dir.path().join("env"), Some("U")), place(dir.path().join("env"), Some("P")));
        let staged = stage(&[(&user, &Value::of(b"a")), (&password, &Value::of(b"b"))], &Recipe::Uuid).unwrap();
        assert_eq!(staged.len(), 1);
        commit(staged).unwrap();
        assert_eq!(std::fs::read(user.place.path()).unwrap(), b"U=a\nP=b\n");
    }

    #[test]
    fn a_change_by_somebody_else_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let env = place(dir.path().join("env"), Some("KEY"));
        let staged = stage(&[(&env, &Value::of(b"x"))], &Recipe::Uuid).unwrap();
        std::fs::write(env.place.path(), "OTHER=1\n").unwrap();
        assert!(commit(staged).unwrap_err().message.contains("somebody else"));
        assert_eq!(std::fs::read(env.place.path()).unwrap(), b"OTHER=1\n");
    }

    #[test]
    fn links_and_directories_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("target"), "").unwrap();
        std::os::unix::fs::symlink("target", dir.path().join("link")).unwrap();
        let error = look(&place(dir.path().join("link"), None), &Recipe::Uuid).unwrap_err();
        assert!(error.message.contains("symbolic link"), "{error}");
        assert!(look(&place(dir.path().to_owned(), None), &Recipe::Uuid).unwrap_err().message.contains("no file"));
        let nowhere = place(dir.path().join("absent/file"), None);
        assert!(put(&[(&nowhere, &Value::of(b"x"))]).unwrap_err().hint.unwrap().contains("absent"));
    }

    #[test]
    fn only_what_a_killed_run_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let destination = place(dir.path().join("db"), None);
        for name in ["db", ".db.new-a1B2c3", ".db.new-a1B2c", ".db.new-a1B2c3.bak", ".db2.new-a1B2c3"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        sweep(destination.place.path()).unwrap();
        assert!(!dir.path().join(".db.new-a1B2c3").exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4);
    }
}
