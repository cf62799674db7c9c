//! Copies of a certificate's files in places of a server's own.
//!
//! Each is replaced by rename, but two of them cannot be replaced at once: a server that reads them just then gets one of
//! each. Whoever can point the server at `live/` should; records of certificates with copies say so.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use maint_core::failure::Failure;
use maint_core::fault::point;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::access::{Access, Owner, create};
use super::{Generation, read};
use crate::config::Install;
use crate::pending::Pending;

/// The files that can be copied.
const FILES: [&str; 4] = ["cert", "chain", "fullchain", "privkey"];

/// A file that was there before the first copy took its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    path: PathBuf,
    /// Mode and owner; `None` when there was no file.
    was: Option<(u32, u32, u32)>,
}

/// What was there before the first copies were made.
pub type Kept = Vec<Original>;

/// Whether the copies that are described can be made.
///
/// # Errors
/// One is of a file that does not exist, or has no absolute path.
pub fn check(name: &str, copies: &[Install]) -> Result<(), Failure> {
    for copy in copies {
        if !FILES.contains(&copy.file.as_str()) {
            let nearest = maint_core::config::nearest(&copy.file, FILES.into_iter());
            return Err(Failure::usage(format!("[certs.{name}] install: there is no file `{}`{nearest}", copy.file)));
        }
        if !copy.path.is_absolute() {
            let path = copy.path.display();
            return Err(Failure::usage(format!("[certs.{name}] install: the path `{path}` is not absolute")));
        }
    }
    Ok(())
}

/// Makes every copy the same as the generation's file; one that is the same already is left alone.
///
/// # Errors
/// One cannot be written; those before it are the new ones.
pub fn install(name: &str, copies: &[Install], from: &Generation, access: &Access) -> Result<(), Failure> {
    check(name, copies)?;
    for copy in copies {
        let bytes = Zeroizing::new(read(&from.directory.join(format!("{}.pem", copy.file)))?);
        place(&copy.path, &bytes, access.mode(&copy.file), access.owner)?;
        point("copy-installed");
    }
    Ok(())
}

/// Keeps in `pending` what the first copies take the place of, so that it can be put back; once kept, it stays.
///
/// # Errors
/// Something cannot be read or kept.
pub fn keep(copies: &[Install], pending: &Pending) -> Result<(), Failure> {
    if copies.is_empty() || pending.read::<Kept>("originals").is_some_and(|kept| !kept.is_empty()) {
        return Ok(());
    }
    let mut kept = Kept::new();
    for (index, copy) in copies.iter().enumerate() {
        let was = match std::fs::metadata(&copy.path) {
            Ok(meta) => {
                pending.put(&format!("original-{index}"), &Zeroizing::new(read(&copy.path)?))?;
                Some((meta.mode() & 0o7777, meta.uid(), meta.gid()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::critical(format!("cannot look at {}: {error}", copy.path.display()))),
        };
        kept.push(Original { path: copy.path.clone(), was });
    }
    pending.note("originals", &kept)
}

/// Puts back what [`keep`] kept; the next first copies keep anew.
///
/// # Errors
/// Something cannot be written.
pub fn put_back(pending: &Pending) -> Result<(), Failure> {
    let kept = pending.read::<Kept>("originals").unwrap_or_default();
    for (index, original) in kept.iter().enumerate() {
        match (original.was, pending.get(&format!("original-{index}"))) {
            (Some((mode, user, group)), Some(bytes)) => {
                let owner = Owner { user: Some(user), group: Some(group) };
                place(&original.path, &Zeroizing::new(bytes), mode, owner)?;
            }
            (None, _) => match std::fs::remove_file(&original.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Failure::critical(format!("cannot remove {}: {error}", original.path.display())));
                }
                _ => {}
            },
            (Some(_), None) => {
                return Err(Failure::critical(format!("what was in {} was not kept", original.path.display())));
            }
        }
    }
    if kept.is_empty() { Ok(()) } else { pending.note("originals", &Kept::new()) }
}

fn place(path: &Path, bytes: &[u8], mode: u32, owner: Owner) -> Result<(), Failure> {
    if is_so(path, bytes, mode, owner) {
        return Ok(());
    }
    let failed =
        |step: &str, error: std::io::Error| Failure::critical(format!("cannot {step} {}: {error}", path.display()));
    let (Some(parent), Some(file)) = (path.parent(), path.file_name()) else {
        return Err(Failure::usage(format!("`{}` is no file's path", path.display())));
    };
    let beside = parent.join(format!(".{}.cert-rotate", file.to_string_lossy()));
    // A run that was killed here may have left one.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("make a file beside", error)),
        _ => {}
    }
    create(&beside, bytes, mode, owner)?;
    std::fs::rename(&beside, path).map_err(|error| failed("replace", error))?;
    std::fs::File::open(parent)
        .and_then(|opened| opened.sync_all())
        .map_err(|error| failed("sync the directory of", error))
}

fn is_so(path: &Path, bytes: &[u8], mode: u32, owner: Owner) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| {
        meta.is_file()
            && meta.mode() & 0o7777 == mode
            && owner.user.is_none_or(|user| user == meta.uid())
            && owner.group.is_none_or(|group| group == meta.gid())
            && std::fs::read(path).is_ok_and(|content| content == bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn copies_follow_and_what_was_there_can_be_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for (file, content) in [("cert", "new"), ("privkey", "secret")] {
            std::fs::write(path(&format!("{file}.pem")), content).unwrap();
        }
        std::fs::write(path("server.crt"), "old").unwrap();
        std::fs::set_permissions(path("server.crt"), std::fs::Permissions::from_mode(0o604)).unwrap();
        let from = Generation { number: 1, directory: dir.path().to_owned(), chain: Vec::new() };
        let copy = |file: &str, to: &str| Install { file: file.to_owned(), path: path(to) };
        let copies = [copy("cert", "server.crt"), copy("privkey", "server.key")];
        let pending = Pending::of(dir.path(), "web");
        keep(&copies, &pending).unwrap();
        install("web", &copies, &from, &Access::default()).unwrap();
        assert_eq!(std::fs::read(path("server.crt")).unwrap(), b"new");
        assert_eq!(
            (std::fs::read(path("server.key")).unwrap(), mode(&path("server.key"))),
            (b"secret".to_vec(), 0o600)
        );
        // A second run must not take its own copies for the originals.
        keep(&copies, &pending).unwrap();
        put_back(&pending).unwrap();
        assert_eq!((std::fs::read(path("server.crt")).unwrap(), mode(&path("server.crt"))), (b"old".to_vec(), 0o604));
        assert!(!path("server.key").exists());
    }

    #[test]
    fn a_file_that_does_not_exist_is_named() {
        let from = Generation { number: 1, directory: "/nowhere".into(), chain: Vec::new() };
        let copies = [Install { file: "privatkey".to_owned(), path: "/nowhere/key".into() }];
        let failure = install("web", &copies, &from, &Access::default()).unwrap_err();
        assert!(failure.message.contains("did you mean `privkey`?"), "{}", failure.message);
    }
}
